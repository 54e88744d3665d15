"""The verbs: a line for each, in the order of the help page."""

from __future__ import annotations

from gitcoord.cli.command import Command
from gitcoord.lean import import_module

VERBS: dict[str, dict[str, tuple[str, str]]] = {
    "talk": {
        "send": ("talk", "send a message to sessions, a role or all"),
        "reply": ("talk", "answer a message in its thread"),
        "ack": ("talk", "acknowledge a message"),
        "inbox": ("talk", "print unread messages and mark them read"),
        "sent": ("talk", "what I sent and how far it got"),
        "chat": ("account", "what one session and I said"),
        "wait": ("waits", "sleep until something concerns me"),
    },
    "work": {
        "task": ("work", "add, claim, next, done, block, … a task"),
        "tasks": ("work", "the tasks that are not done"),
        "board": ("work", "the tasks as columns"),
        "work": ("work", "run agents, one for each ready task"),
        "alloc": ("work", ""),
    },
    "remember": {
        "note": ("history", "leave a note for everybody"),
        "notes": ("history", "read the notes"),
        "thread": ("history", "a whole conversation"),
        "show": ("history", "anything by its id"),
        "search": ("history", "find words in messages and notes"),
        "log": ("history", "everything that happened, newest first"),
        "day": ("account", "what a session did today"),
        "watch": ("waits", ""),
    },
    "files": {
        "lock": ("locks", "lock paths or patterns for my session"),
        "unlock": ("locks", "end my locks"),
        "locks": ("locks", "who holds what"),
        "check": ("locks", "may I touch this path?"),
        "conflicts": ("overview", "files that will conflict"),
        "worktree": ("people", "add one, remove one safely"),
        "diff": ("overview", "what a session has changed"),
    },
    "who": {
        "sessions": ("people", "who works here, where, on what"),
        "whoami": ("people", "which session I am, and why"),
        "join": ("people", "register or rename my session"),
        "leave": ("people", ""),
        "focus": ("people", "say what I work on"),
        "editing": ("people", ""),
    },
    "run": {
        "run": ("jobs", "run a command, report how it ended"),
        "jobs": ("jobs", "running and recently ended jobs"),
        "job": ("jobs", "show, log or kill one job"),
    },
    "keep track": {
        "overdue": ("account", "who owes whom an ack"),
        "ui": ("ui", "one live screen of it all"),
        "status": ("overview", "where I stand, on one screen"),
        "brief": ("overview", "what a session needs to continue"),
        "state": ("overview", "keys and values that outlive a restart"),
    },
    "other clones": {
        "sync": ("sync", "exchange with the remote"),
        "remote": ("sync", "where coordination happens"),
    },
    "set-up": {
        "init": ("setup", "install git hooks, register worktrees"),
        "hooks": ("setup", "install, remove or show the hooks"),
        "doctor": ("setup", "what is well, what is not"),
        "demo": ("setup", ""),
    },
    "more": {
        "mcp": ("agents", ""),
        "skill": ("agents", ""),
        "trust": ("trust", ""),
        "redact": ("trust", ""),
        "gc": ("trust", ""),
        "purge": ("setup", ""),
    },
}
"""By group: the verb, the module of `gitcoord.cli` that has a command of that name, and its text on the help page.
Verbs without a text share one line, so that the page stays short: an agent pays for all of it."""

HIDDEN = {"hook": "setup"}
"""Verbs that are not on the help page, and their modules."""


def find(name: str) -> Command | None:
    """The declaration of a verb; its module is loaded for it."""
    module = HIDDEN.get(name) or next((verbs[name][0] for verbs in VERBS.values() if name in verbs), None)
    if module is None:
        return None
    command: Command = getattr(import_module(f"gitcoord.cli.{module}"), name)
    return command
