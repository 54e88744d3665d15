"""`coord.sessions`: the sessions of the repository, and the caller's own."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gitcoord.api.facade import Facade
from gitcoord.lean import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from gitcoord.overview.difference import Difference
    from gitcoord.overview.roster import Session
    from gitcoord.sessions.identity import Identity
    from gitcoord.sessions.places import Place
    from gitcoord.sessions.records import Record


class Registered(NamedTuple):
    """The caller's own session, as it is registered now."""

    name: str
    worktree: str
    role: str
    focus: str


class Sessions(Facade):
    """The sessions of the repository. Raises UsageError for an unknown name, Refused for a name that belongs to another
    session.

    Example:

        coord.sessions.join("parser", role="worker", focus="the new grammar")
        coord.sessions.focus("the old grammar")
        coord.sessions.editing(["grammar.py"])
        [session.session for session in coord.sessions.list(everyone=True)]
        coord.sessions.get("beta").state
        coord.sessions.diff("beta", ["grammar.py"]).text
        coord.sessions.mailboxes("beta")
        coord.sessions.nameless(besides=["parser"])
        coord.sessions.add_worktree("../tests", branch="more-tests").session
        coord.sessions.remove_worktree("../tests", force=True)
        coord.sessions.leave()
        coord.speak_as(coord.sessions.user(looks_on=True))
    """

    __slots__ = ()

    def list(self, *, everyone: bool = False, files: bool = True) -> list[Session]:
        """The sessions; `everyone` includes those that are gone. Without `files` no worktree is looked at, because that
        takes git a while for each."""
        from gitcoord.overview import roster

        return roster.list_sessions(self._clone, everyone, files=files)

    def get(self, name: str) -> Session:
        """One session."""
        from gitcoord.overview import roster

        return roster.find_session(self._clone, name)

    def diff(self, name: str, paths: Sequence[str] = (), *, stat: bool = False) -> Difference:
        """The changes of a session, committed on its branch and not, as one diff against the commit that it and the
        caller's HEAD have in common; `paths` are typed relative to `coord.cwd`."""
        from gitcoord.overview import difference
        from gitcoord.sessions.membership import relative_to_worktree

        root = self._clone.repo.worktree
        inside = [relative_to_worktree(root, self._coord.cwd, path) if root else path for path in paths]
        return difference.difference(self._clone, name, inside, stat)

    def mailboxes(self, name: str) -> Collection[str]:
        """The mailboxes under which a session has written or held anything, its present one first."""
        from gitcoord.sessions.mailboxes import boxes_of

        return self._clone.read(lambda db: boxes_of(db, name, self._clone.id or ""))

    def add_worktree(self, path: str, *, branch: str | None = None, base: str | None = None) -> Place:
        """Make a worktree with a branch of its name, and expect a session there. Raises RepositoryError."""
        from gitcoord.sessions import places

        return places.add(self._clone, self._coord.cwd, path, branch, base)

    def remove_worktree(self, path_or_name: str, *, force: bool = False) -> Place:
        """Remove a worktree. Raises Refused while a live session or work that would be lost is there."""
        from gitcoord.sessions import places

        return places.remove(self._clone, self._coord.cwd, path_or_name, force)

    def user(self, *, looks_on: bool = False) -> Identity:
        """The repository's own user, for `Coord.speak_as`; with `looks_on` it leaves no trace. Raises Refused for an
        agent."""
        from gitcoord.sessions import identity

        return identity.the_user(self._clone, looks_on)

    def nameless(self, *, besides: Collection[str] = ()) -> str:
        """The name of the session that a call without a name speaks for in this worktree, leaving out `besides`."""
        from gitcoord.sessions import identity

        return identity.nameless(self._clone, besides)

    def join(
        self,
        name: str | None = None,
        *,
        role: str | None = None,
        focus: str | None = None,
        pid: int | None = None,
        origin: str | None = None,
    ) -> Registered:
        """Register, or rename the caller's session; its old name stays an alias. A free or gone name is taken over.

        `pid` is the process that the session lives with, `origin` the clone to adopt `name` from.
        """
        from gitcoord.sessions import membership

        return self._changed(membership.join(self._clone, self._me, name, role, focus, pid, origin))

    def leave(self) -> Registered:
        """End the caller's session; its mailbox and history stay."""
        from gitcoord.sessions import membership

        return self._changed(membership.leave(self._clone, self._me))

    def focus(self, text: str) -> Registered:
        """Say what the session works on."""
        from gitcoord.sessions import membership

        return self._changed(self._write(lambda me: membership.set_focus(self._clone, me, text)))

    def editing(self, paths: Sequence[str]) -> Registered:
        """Say which files the session edits."""
        from gitcoord.sessions import membership

        return self._changed(self._write(lambda me: membership.editing(self._clone, me, paths, self._coord.cwd)))

    def _changed(self, record: Record) -> Registered:
        self._coord.renamed(record.name)
        return Registered(record.name, record.worktree, record.role, record.focus)
