"""Facts that are made up: everything that the view can show, at one moment."""

from __future__ import annotations

from typing import Any

from gitcoord.features.jobs.read import Job
from gitcoord.features.locks.read import Lock
from gitcoord.features.messages.inbox import Inbox, Message
from gitcoord.features.messages.ledger import Delivery
from gitcoord.features.messages.talk import Said, Talk
from gitcoord.features.overlaps.conflicts import Collision
from gitcoord.features.tasks.board import Board, Lost
from gitcoord.features.tasks.read import TaskFacts
from gitcoord.log.event import Event
from gitcoord.log.trust.doubts import Doubt
from gitcoord.overview.roster import Session
from gitcoord.overview.status import Syncing, Trouble
from gitcoord.store.objects import Oid
from gitcoord.ui.facts import Facts, Merges

NOW = 1_800_000_000.0
HERE = "ada-11111111"
FAR = "bob-22222222"


def oid(number: int) -> Oid:
    return Oid(f"{number:040x}"[::-1])


def box(name: str, clone: str = HERE) -> str:
    return f"{name}@{clone}"


def session(name: str | None, **facts: Any) -> Session:
    plain: dict[str, Any] = {
        "session": name, "clone": HERE, "worktree": f"/work/{name or 'shop'}", "branch": f"{name or 'main'}",
        "head": "f" * 40, "state": "active" if name else None, "since": None, "focus": "", "files": (),
        "beat": NOW - 30 if name else None, "harness": "", "role": "", "unread": 0, "local": True,
    }  # fmt: skip
    return Session(**{**plain, **facts})


def message(number: int, sender: str, text: str, *to: str, **facts: Any) -> Message:
    plain: dict[str, Any] = {
        "id": oid(number), "sender": sender, "to": to, "text": text, "at": int(NOW) - number * 60, "thread": oid(number),
        "reply_to": None, "urgent": False, "needs_ack": False, "state": "queued", "attachments": (), "notice": "",
    }  # fmt: skip
    return Message(**{**plain, **facts})


def said(it: Message, *states: str, held: bool = False) -> Said:
    ledger = (Delivery(to, state, it.at + 5) for to, state in zip(it.to, states, strict=True))
    return Said(it, tuple(ledger), held)


def task(number: int, title: str, status: str = "open", **facts: Any) -> TaskFacts:
    plain: dict[str, Any] = {
        "id": oid(number), "lc": number, "creator": box("api"), "at": int(NOW) - 7200, "title": title, "text": "",
        "status": status, "priority": 2, "assignee": "", "labels": (), "holder": "", "claim": "", "tentative": False,
        "words": "", "lease": "", "last": "", "changed": int(NOW) - 3600, "ready": status == "open",
    }  # fmt: skip
    return TaskFacts(**{**plain, **facts})


def job(number: int, name: str, state: str = "running", **facts: Any) -> Job:
    plain: dict[str, Any] = {
        "id": oid(number), "name": name, "session": box("web"), "runs": "", "state": state, "command": ("make", name),
        "cwd": "/work/web", "pid": 1, "exit": None, "signal": None, "started": int(NOW) - 600,
        "ended": None if state == "running" else int(NOW) - 300, "ms": None, "stderr_tail": "", "key": "k",
        "supervised": True,
    }  # fmt: skip
    return Job(**{**plain, **facts})


def event(number: int, kind: str, text: str, author: str = "api", clone: str = HERE, **data: Any) -> Event:
    return Event(oid(number), kind, number, clone, author, "a@example.org", int(NOW) - number * 60, text, data, 1)


QUIET = Facts(
    user="ada",
    clone=HERE,
    project="shop",
    sessions=(session(None), session("api"), session("web")),
    awaiting=Inbox((), 0),
    talk=Talk((), False),
    board=Board((), {}, {}, frozenset()),
    jobs=(),
    locks=(),
    events=(event(5, "join", "api joined"),),
    more_events=False,
    lost=(),
    trouble=Trouble((), (), (), (), None),
)
"""A repository in which all is well."""

MAY_I = message(3, box("api"), "May I change the rounding of old invoices too?", box("ada"), needs_ack=True)
READY = message(4, box("web"), "The receipt page is ready\nfor a look.", box("ada"), urgent=True)
VAT = message(20, box("api"), "total() takes the VAT rate now", box("web"), box("tests", FAR))
YES = message(19, box("web"), "Yes, after lunch", box("api"), thread=oid(20), reply_to=oid(20))

BUSY = QUIET._replace(
    sessions=(
        session(None),
        session("api", focus="prices with VAT", unread=2, branch="api-work"),
        session("web", state="waiting", beat=NOW - 240, focus="the receipt page", harness="claude"),
        session("docs", state="idle", beat=NOW - 900),
        session("ada", worktree=None, branch=None, person=True),
        session("tests", clone=FAR, local=False, worktree=None, state="unknown", since=NOW - 5400, focus="slow tests"),
    ),
    awaiting=Inbox((READY, MAY_I), 0),
    talk=Talk((said(VAT, "read", "queued"), said(YES, "acked"), said(READY, "queued"), said(MAY_I, "queued")), True),
    board=Board(
        (
            task(30, "Charge VAT in the basket", "claimed", holder=box("api"), claim="c", priority=1, labels=("prices",)),
            task(31, "Show VAT on the receipt", ready=False),
            task(32, "Round to cents", priority=0, assignee=box("web")),
            task(33, "The checkout tests take nine minutes", "blocked", words="needs a database", holder=box("web"), claim="c"),
            task(34, "Move the logo", "claimed", holder=box("old"), claim="c"),
            task(35, "Say how refunds work", "done", holder=box("docs")),
        ),
        {oid(31): (oid(30),)},
        {box("api"): "active", box("web"): "waiting", box("old"): "gone"},
        frozenset(),
    ),
    jobs=(
        job(40, "lint", "exited", exit=1, started=int(NOW) - 5000, ended=int(NOW) - 4900),
        job(41, "lint", "exited", exit=0),
        job(42, "pytest", "exited", exit=1, stderr_tail="collected\nAssertionError: 2 failed\n"),
        job(43, "devserver"),
    ),
    locks=(Lock(oid(50), box("web"), ("templates/",), "the new page", False, int(NOW) - 60, int(NOW) + 7300, False, 1, HERE),),
    events=tuple(event(n, "message", f"event number {n}") for n in range(1, 40)),
    more_events=True,
    lost=(Lost(oid(60), box("web"), int(NOW) - 3600, oid(30), "offline claim", False),),
    trouble=Trouble(
        (), (), (), (Doubt(FAR, "its key changed", f"git coord trust accept {FAR}"),),
        Syncing("origin", NOW - 120, 3, "could not read from remote repository"),
    ),
)  # fmt: skip
"""A repository in which everything happens at once."""

MERGES = Merges(
    {box("api"): ("prices.py", "rates.py")},
    (
        Collision((box("api"),), (box("web"),), "readme.md", "both"),
        Collision((box("api"),), (box("web"),), "prices.py", "conflict"),
    ),
)
