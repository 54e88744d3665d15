"""`coord.repository`: set-up, health and removal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence

from gitcoord.api.facade import Facade
from gitcoord.errors import CoordError
from gitcoord.lean import TYPE_CHECKING, contextmanager
from gitcoord.system.files import read_ours

if TYPE_CHECKING:
    from gitcoord.doctor import Finding
    from gitcoord.log.retention import Collected
    from gitcoord.setup import Initialized, Traces
    from gitcoord.store.hooks import Hook


class Repository(Facade):
    """Install, repair and remove gitcoord in this repository.

    Example:

        coord.repository.init(hooks=True)
        coord.repository.hooks("status")
        coord.repository.in_background("refresh")
        with coord.repository.around_a_command() as mended:
            coord.repository.last_hook_error()
        coord.repository.lfs_remark()
        coord.repository.colour_setting("color.ui")
        coord.repository.refuse_ignored(["README.md"], "add --local")
        coord.repository.report(ValueError("of ours"), ["git coord", "example"])
        [finding.what for finding in coord.repository.doctor() if not finding.well]
        coord.repository.gc(keep=30 * 24 * 3600)
        coord.repository.traces()
        coord.repository.purge()
    """

    __slots__ = ()

    def init(self, *, hooks: bool = True) -> Initialized:
        """Install the git hooks and register placeholders for the worktrees; idempotent."""
        from gitcoord import setup

        return setup.init(self._clone, hooks)

    def hooks(self, action: str = "status") -> list[Hook]:
        """`install`, `uninstall` or `status` of the git hooks."""
        from gitcoord.store import hooks

        actions = {"install": hooks.install, "uninstall": hooks.uninstall, "status": hooks.status}
        return actions[action](self._clone.repo)

    def colour_setting(self, key: str) -> str | None:
        """The value of `color.ui`, `color.coord` or `color.pager` in git's settings."""
        return self._clone.repo.config.get(key)

    def lfs_remark(self) -> str:
        """A remark about git-lfs's hooks beside ours; empty if there is nothing to say."""
        from gitcoord.store import hooks

        return hooks.lfs_remark(self._clone.repo)

    def refuse_ignored(self, files: Sequence[str], instead: str) -> None:
        """Refuse to publish the names of files, if git ignores one. Raises Refused; `instead` is its hint."""
        from gitcoord.sessions import ignored

        ignored.refuse(ignored.ignored_files(self._clone, files, self._coord.cwd), instead)

    def in_background(self, event: str, args: Sequence[str] = (), *, moves: bool = False) -> None:
        """Do the background work of a git hook or a command: `worktree-added`, `sync` or `refresh [SESSION]`.

        `refresh` with a session publishes and tidies for it; without one, it notes that git moved HEAD in this worktree.
        Does nothing in a repository where gitcoord was never used. `moves` is for a process that was started for this
        alone: it works from our folder, with a umask to match.
        """
        from gitcoord.sessions import housekeeping, presence
        from gitcoord.system import background

        clone = self._clone
        if not os.path.isdir(clone.repo.coord_dir):
            return
        if moves:
            background.move_into(clone.repo.coord_dir)
        if event == "worktree-added":
            housekeeping.worktree_added(clone)
        elif event == "sync":
            from gitcoord.sync import background as autosync

            autosync.run(clone)
        elif event == "refresh" and args:
            if not housekeeping.publish_changes(clone, args[0]):  # a second edit in one second changes no fact
                presence.presence_changed(clone, args[0], clone.clock())
            housekeeping.refresh(clone, args[0])
        elif event == "refresh":
            housekeeping.publish_changes(clone, mover=housekeeping.moved(clone))

    @contextmanager
    def around_a_command(
        self, *, notice: bool = True, allow_secrets: bool = False, tell_user: Callable[[str], object] | None = None
    ) -> Iterator[list[str]]:
        """Run a command within this context: before it, deaths are told; after it, others' events are fetched in the
        background. Yields a list that has, at the end, a line for each repair. With `notice=False` the command looks for
        deaths itself. `allow_secrets` lets text that looks like a secret leave the clone. `tell_user` is called with a line
        when the command waits."""
        from gitcoord.overview import around

        self._clone.allows_secrets = allow_secrets
        self._clone.tell_user = tell_user or self._clone.tell_user
        mended: list[str] = []
        try:
            if notice:
                self._coord._seen = around.notice_deaths(self._coord)
            yield mended
        except CoordError as error:
            if error.exit_code in (3, 4):
                around.settle_refs(self._coord, error.what)
            raise
        finally:
            mended += self._clone.mended
            around.look_out_if_due(self._coord)

    def last_hook_error(self) -> tuple[str, str] | None:
        """The last failure of an agent's hook, which does not report it itself, and the file that has it; or None."""
        path = self._clone.path("agents", "@error")
        try:
            return read_ours(path).decode("utf-8", "replace"), path
        except OSError:
            return None

    def report(self, error: Exception, words: Sequence[str]) -> str:
        """Write the report of a bug of ours; returns a line for the user. `words` name the command."""
        from gitcoord.system import reports

        return reports.tell(error, words, lambda: self._clone.repo.coord_dir)

    def doctor(self, *, fix: bool = False) -> list[Finding]:
        """The findings of all checks; with `fix`, after repairing what can be repaired."""
        from gitcoord import doctor

        return doctor.examine(self._clone, fix)

    def gc(self, keep: float = 90 * 24 * 3600, *, dry_run: bool = False) -> Collected:
        """Drop events from this clone's log about things that ended more than `keep` seconds ago; with `dry_run` only count
        them."""
        from gitcoord.log import retention

        return retention.gc(self._clone, keep, dry_run=dry_run)

    def traces(self, *, everyone: bool = False) -> Traces:
        """The traces that `purge` would remove; `everyone` includes the refs of other clones that are here."""
        from gitcoord import setup

        return setup.traces(self._clone, everyone)

    def purge(self, *, everyone: bool = False) -> Traces:
        """Remove our refs, files, hooks and settings from the repository."""
        from gitcoord import setup

        return setup.purge(self._clone, everyone)
