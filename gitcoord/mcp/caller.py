"""Find out who makes a call. The server may outlive a conversation and serve several, so every call asks anew."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from gitcoord import Coord
from gitcoord.errors import RepositoryError
from gitcoord.sessions.identity import HARNESS_IDS, Identity, is_agent


class CallOrigin(NamedTuple):
    """The directory of a call and its session; `placed` when the caller itself named the directory."""

    cwd: str
    environ: Mapping[str, str]
    placed: bool = False
    as_name: str | None = None
    session: str = ""
    """The session that the call itself names, for this call alone."""
    lent: set[str] = set()  # shared by the calls of one server
    """Sessions that exist only because a call named them; nameless calls of the worktree do not speak for them."""


def caller(
    arguments: Mapping[str, Any], meta: Mapping[str, Any], as_name: str | None = None, lent: set[str] | None = None
) -> CallOrigin:
    """The caller: by the call's arguments, then by its client's metadata (Codex names its thread), then by our
    environment."""
    own = dict(os.environ)
    if not is_agent(own):
        own["AI_AGENT"] = "mcp"  # a caller of a tool is not a person at a terminal
    thread = meta.get("threadId")
    if isinstance(thread, str) and thread:
        own = {key: value for key, value in own.items() if key not in HARNESS_IDS} | {"CODEX_THREAD_ID": thread}
    session, cwd = arguments.get("session"), arguments.get("cwd")
    if isinstance(session, str) and session:
        own["GIT_COORD_SESSION"] = session
    placed = isinstance(cwd, str) and bool(cwd)
    where = os.path.join(os.getcwd(), str(cwd)) if placed else os.getcwd()
    named = session if isinstance(session, str) else ""
    return CallOrigin(where, own, placed, as_name, named, set() if lent is None else lent)


@contextmanager
def opened(call: CallOrigin) -> Iterator[Coord]:
    """The caller's repository, for one call. Raises RepositoryError."""
    with _open(_settled(call)) as coord, coord.repository.around_a_command():
        yield coord


def _open(call: CallOrigin) -> Coord:
    try:
        return Coord.open(call.cwd, as_name=call.as_name, environ=call.environ)
    except RepositoryError as error:
        if call.placed or "repair" in (error.hint or ""):
            raise
        raise RepositoryError(f"{call.cwd}: {error.what}", "call it again with cwd, the path of your worktree") from None


def _settled(call: CallOrigin) -> CallOrigin:
    """The session's present id and worktree, because ours may be from before a clear, or from another worktree."""
    with _open(call) as coord:
        me, worktree = coord.identity, coord.worktree
        if call.session and me.record is None:
            call.lent.add(call.session)
        elif me.rule == "worktree" and me.name in call.lent:
            own = coord.sessions.nameless(besides=call.lent)
            return call._replace(environ={**call.environ, "GIT_COORD_SESSION": own})
    if me.record is None or me.rule not in ("harness", "process"):
        return call
    if me.harness_id != me.record.harness_id:
        fresh = call._replace(environ={key: value for key, value in call.environ.items() if value != me.harness_id})
        if _is_bound(fresh, me):
            call = fresh
    if not call.placed and me.record.worktree != worktree and os.path.isdir(me.record.worktree):
        return call._replace(cwd=me.record.worktree)
    return call


def _is_bound(call: CallOrigin, me: Identity) -> bool:
    """Whether the process above us is that session, without an id from the environment."""
    with _open(call) as coord:
        found = coord.identity
    return found.rule == "process" and found.name == me.name
