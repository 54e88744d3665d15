"""Tell sessions about tasks: messages of gitcoord, written with the event that they report. No session is told of its
own act."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from gitcoord.features.messages.ledger import my_boxes
from gitcoord.features.tasks.read import TaskFacts, rows
from gitcoord.features.tasks.ready import UNMET
from gitcoord.lean import sqlite3
from gitcoord.log.clone import Clone
from gitcoord.log.event import Draft
from gitcoord.names import clone_in
from gitcoord.sessions.identity import Identity
from gitcoord.sessions.mailboxes import address, canonical, display

SHORT = 10
QUOTED = 2000
"""Largest number of characters of a text that a notice repeats; `task show` has all of it."""
DEEDS = {
    "done": "finished",
    "block": "blocked",
    "release": "released",
    "drop": "dropped",
    "reopen": "reopened",
    "comment": "on",
}
Sentence = Callable[[Callable[[str], str]], str]
"""Makes a line from a function that writes a mailbox as its reader sees it."""


class Telling:
    """Collects, for one append, the lines for each mailbox; `drafts` makes the messages."""

    def __init__(self, db: sqlite3.Connection, clone: Clone, me: Identity) -> None:
        self.db = db
        self.me = clone.box(me.name)
        self._author = me.name
        self._mine = {self.me, *my_boxes(db, clone, me.name)}
        self._lines: dict[str, list[str]] = {}
        self._about: dict[str, str] = {}

    def tell(self, boxes: Collection[str], about: str, sentence: Sentence, of: str = "") -> None:
        """Tell `boxes`, the present names of sessions of the task `of` (or `about`), the line of `sentence`."""
        named = self._named_in(of or about)
        for box in sorted(boxes):
            if box and box not in self._mine:
                here = clone_in(box)
                line = sentence(lambda name, here=here: display(name, here))  # type: ignore[misc]
                for to in named.get(box, [box]):
                    self._lines.setdefault(to, []).append(line)
                    self._about.setdefault(to, about)

    def _named_in(self, task: str) -> dict[str, list[str]]:
        """For the present name of each of a task's people, where mail to the name in the task goes: a clone that adopted
        the name reads it there, and its owner, too, once it takes the name back."""
        row = self.db.execute("SELECT creator, assignee, holder FROM tasks WHERE id = ?", (task,)).fetchone() or ()
        named: dict[str, list[str]] = {}
        for box in dict.fromkeys(filter(None, row)):
            to = named.setdefault(canonical(self.db, box), [])
            if (at := address(self.db, box)) not in to:
                to.append(at)
        return named

    def drafts(self) -> list[Draft]:
        """One message for all mailboxes with the same lines."""
        groups: dict[tuple[str, str], list[str]] = {}
        for box, lines in self._lines.items():
            text = "\n".join(dict.fromkeys(lines))
            groups.setdefault((text, self._about[box]), []).append(box)
        return [
            Draft("message", text, {"to": boxes, "notice": "task", "about": about}, author=self._author)
            for (text, about), boxes in groups.items()
        ]


def _named(row: TaskFacts) -> str:
    return f"{row.id[:SHORT]} {row.title}"


def _spoken(words: str) -> str:
    """The text of an act, on lines of its own if it has several."""
    if not words.strip():
        return ""
    cut = words if len(words) <= QUOTED else words[:QUOTED] + "…"
    return f":\n{cut}" if "\n" in cut else f": {cut}"


def tell_of_deed(telling: Telling, row: TaskFacts, verb: str, words: str) -> None:
    """Tell the creator, the holder and the assignee of a task what happened to it; of a comment, the holder alone."""
    told = (row.holder,) if verb == "comment" else {row.creator, row.holder, row.assignee}
    telling.tell(told, row.id, lambda shown: f"{shown(telling.me)} {DEEDS[verb]} {_named(row)}{_spoken(words)}")


def tell_of_ready(telling: Telling, row: TaskFacts) -> None:
    """Tell the holders and assignees of tasks that waited only for this one."""
    condition = (
        "t.status IN ('open', 'claimed') AND t.id IN (SELECT task FROM task_needs WHERE need = ? AND ignored = 0)"
        f" AND NOT EXISTS ({UNMET} AND n.need <> ?)"
    )
    for waiting in rows(telling.db, condition, (row.id, row.id)):
        told = {waiting.creator, waiting.assignee, waiting.holder}
        telling.tell(told, row.id, lambda _, waiting=waiting: f"ready now: {_named(waiting)}", waiting.id)  # type: ignore[misc]


def tell_of_takeover(telling: Telling, row: TaskFacts) -> None:
    """Tell the creator and the former holder, which may come back."""
    told = {row.creator, row.holder}
    telling.tell(told, row.id, lambda shown: f"{shown(telling.me)} took over {_named(row)}, which {shown(row.holder)} held")


def tell_of_claim_for(telling: Telling, row: TaskFacts, holder: str) -> None:
    """Tell a session, and the task's creator, that a person claimed the task for the session."""
    telling.tell([holder], row.id, lambda shown: f"{shown(telling.me)} claimed {_named(row)} for you: you hold it")
    others = {row.creator} - {holder}
    telling.tell(others, row.id, lambda shown: f"{shown(telling.me)} claimed {_named(row)} for {shown(holder)}")


def tell_of_assignments(telling: Telling, assigned: Mapping[str, Sequence[tuple[str, str]]]) -> None:
    """Tell each assignee of all their new tasks (id, title) at once."""
    for box, tasks in assigned.items():
        listed = [f"{oid[:SHORT]} {title}" for oid, title in tasks]
        what = listed[0] if len(listed) == 1 else f"{len(listed)} tasks:\n" + "\n".join(listed[:50])
        telling.tell([box], tasks[0][0], lambda shown, what=what: f"{shown(telling.me)} assigned you {what}")  # type: ignore[misc]
