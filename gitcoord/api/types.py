"""The types that the API takes and returns: plain named tuples, safe to keep, to compare and to pass on.

`Identity`, `Repository` and `Vigil` are opaque: pass them back to the API, because their content may change.
"""

from gitcoord.api.messages import Polled
from gitcoord.api.sessions import Registered
from gitcoord.doctor import Finding
from gitcoord.features.jobs.launch import Launched
from gitcoord.features.jobs.read import Job
from gitcoord.features.locks.guard import CommitVerdict
from gitcoord.features.locks.read import Lock
from gitcoord.features.messages.debts import Balance, Debt
from gitcoord.features.messages.inbox import Inbox, Message
from gitcoord.features.messages.ledger import Delivery, SentMessage
from gitcoord.features.messages.sending import Recipient, Sent
from gitcoord.features.messages.talk import Said, Talk
from gitcoord.features.notes import Note
from gitcoord.features.numbers import Allocation
from gitcoord.features.overlaps.conflicts import Collision
from gitcoord.features.state import Value
from gitcoord.features.tasks.board import Board, Lost
from gitcoord.features.tasks.file import NewTask
from gitcoord.features.tasks.read import Comment, Step, Task, TaskFacts
from gitcoord.log.event import Event
from gitcoord.log.index.intake import LeftOut
from gitcoord.log.retention import Collected, Redacted
from gitcoord.log.trust.doubts import Doubt, Signer
from gitcoord.overview.brief import Brief
from gitcoord.overview.checks import Check, Touch
from gitcoord.overview.counts import Short
from gitcoord.overview.difference import Difference
from gitcoord.overview.roster import Session
from gitcoord.overview.status import Holding, Status, Strange, Syncing, Trouble
from gitcoord.overview.vigil import Vigil
from gitcoord.overview.waiting import MetCondition
from gitcoord.sessions.identity import Identity
from gitcoord.sessions.places import Place
from gitcoord.setup import Initialized, Traces
from gitcoord.store.hooks import Hook
from gitcoord.store.repository import Repository
from gitcoord.store.signing import Signature
from gitcoord.store.worktrees import TouchedFile
from gitcoord.sync.exchange import Report
from gitcoord.sync.link import Refusal
from gitcoord.sync.moving import Moved
from gitcoord.sync.purge_remote import RemoteRefs

__all__ = [
    "Allocation",
    "Balance",
    "Board",
    "Brief",
    "Check",
    "Collected",
    "Collision",
    "Comment",
    "CommitVerdict",
    "Debt",
    "Delivery",
    "Difference",
    "Doubt",
    "Event",
    "Finding",
    "Holding",
    "Hook",
    "Identity",
    "Inbox",
    "Initialized",
    "Job",
    "Launched",
    "LeftOut",
    "Lock",
    "Lost",
    "Message",
    "MetCondition",
    "Moved",
    "NewTask",
    "Note",
    "Place",
    "Polled",
    "Recipient",
    "Redacted",
    "Refusal",
    "Registered",
    "RemoteRefs",
    "Report",
    "Repository",
    "Said",
    "Sent",
    "SentMessage",
    "Session",
    "Short",
    "Signature",
    "Signer",
    "Status",
    "Step",
    "Strange",
    "Syncing",
    "Talk",
    "Task",
    "TaskFacts",
    "Touch",
    "TouchedFile",
    "Traces",
    "Trouble",
    "Value",
    "Vigil",
]  # fmt: skip
OPAQUE = (Identity, Repository, Vigil)
"""The opaque types."""
