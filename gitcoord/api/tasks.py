"""`coord.tasks`: filed, claimed by one session at a time, and done; needs say which tasks are ready."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from gitcoord.api.facade import Facade
from gitcoord.lean import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gitcoord.features.tasks.board import Board, Lost
    from gitcoord.features.tasks.file import NewTask
    from gitcoord.features.tasks.read import Task
    from gitcoord.store.objects import Oid


class Tasks(Facade):
    """The tasks of a repository, as one session sees and changes them. Ids may be given as unique prefixes.

    A method that changes a task returns it as it is then. Raises Refused if the state of the task forbids it, UsageError
    for an unknown id or name and for input that cannot be stored; then nothing was written.

    Example:

        task = coord.tasks.add("merge the schema", priority=1, labels=["db"])
        from gitcoord.features.tasks.file import NewTask
        coord.tasks.add_all([NewTask("write the docs"), NewTask("publish them")])
        coord.tasks.list(ready=True)
        [row.title for row in coord.tasks.board(ended=5).tasks]
        coord.tasks.lost(since=0)
        coord.tasks.claim(task.id)
        me = coord.identity
        coord.speak_as(coord.sessions.user())
        coord.tasks.claim_for("alpha", task.id)
        coord.speak_as(me)
        coord.tasks.comment(task.id, "half of it is there")
        coord.tasks.edit(task.id, priority=0)
        coord.tasks.block(task.id, "waits for the review")
        coord.tasks.reopen(task.id)
        coord.tasks.next(claim=True)
        coord.tasks.release(task.id)
        coord.tasks.wait_next(timeout=1, claim=True)
        coord.tasks.done(task.id, "on main")
        coord.tasks.show(task.id).status
        coord.tasks.drop(coord.tasks.next().id)
    """

    __slots__ = ()

    def add(
        self,
        title: str,
        text: str = "",
        *,
        priority: int = 2,
        labels: Sequence[str] = (),
        needs: Sequence[str] = (),
        assignee: str | None = None,
    ) -> Task:
        """File a task. `priority` is 0 (highest) to 4; `assignee` is a session, which is told."""
        from gitcoord.features.tasks.file import NewTask

        return self.show(self.add_all([NewTask(title, text, priority, tuple(labels), tuple(needs), assignee)])[0])

    def add_all(self, tasks: Sequence[NewTask]) -> list[Oid]:
        """File several tasks, all or none; they may need each other by their `local` names."""
        from gitcoord.features.tasks import write

        return self._write(lambda me: write.add(self._clone, me, tasks))

    def list(
        self,
        *,
        ready: bool = False,
        mine: bool = False,
        filed: bool = False,
        status: str | None = None,
        everything: bool = False,
        labels: Sequence[str] = (),
        holder: str = "",
        assignee: str = "",
        sort: str = "worth",
    ) -> list[Task]:
        """Tasks that are not done or dropped, unless `status` or `everything` says otherwise.

        `mine` are those I hold or am assigned to, `filed` those I filed; `labels` are all of them. `sort` is `worth` (ready
        ones first, then by priority and age), `age` or `changed` (the latest first).
        """
        from gitcoord.features.tasks import read

        which = read.Which(ready, mine, filed, status, everything, tuple(labels), holder, assignee, sort)
        return read.list_tasks(self._clone, self._me, which)

    def board(self, *, ended: int = 20) -> Board:
        """All unfinished tasks at a glance, and those that `ended` last: without comments and history, so it is quick."""
        from gitcoord.features.tasks import board

        return board.board(self._clone, ended)

    def lost(self, *, since: int) -> Sequence[Lost]:
        """The acts of this clone's sessions on tasks that turned out, since a time in Unix seconds, not to count."""
        from gitcoord.features.tasks import board

        return board.lost(self._clone, since)

    def show(self, task_id: str) -> Task:
        """One task."""
        from gitcoord.features.tasks import read

        return read.get_task(self._clone, task_id)

    def claim(self, task_id: str, *, offline: bool = False) -> Task:
        """Take a task; one of several callers gets it, the others are refused. A task whose holder is gone is taken
        over."""
        from gitcoord.features.tasks import claims

        taken = self._write(lambda me: claims.claim(self._clone, me, task_id, offline), waits=self._is_connected)
        return self.show(taken)

    def claim_for(self, session: str, task_id: str, *, offline: bool = False) -> Task:
        """Claim a task for a session of this clone, as this repository's user. The session is told, and holds the task as
        if it had claimed it. Raises Refused for agents, and for sessions that are gone or of another clone."""
        from gitcoord.features.tasks import claims

        taken = self._write(lambda me: claims.claim_for(self._clone, me, task_id, session, offline), waits=self._is_connected)
        return self.show(taken)

    def next(self, *, claim: bool = False, offline: bool = False) -> Task | None:
        """The best ready task for me, claimed with `claim`; None if there is none. Callers never get the same one."""
        from gitcoord.features.tasks import claims, read
        from gitcoord.features.tasks.ready import held_tasks

        clone = self._clone
        if claim:
            taken = self._write(lambda me: claims.take_next(clone, me, offline), waits=self._is_connected)
            return self.show(taken) if taken else None
        held, me = held_tasks(clone), self._me
        row = clone.read(lambda db: read.best(db, clone, me, taken=held))
        return self.show(row.id) if row else None

    def wait_next(
        self, timeout: float | None, *, claim: bool = False, offline: bool = False, output: int | None = None
    ) -> Task | None:
        """As `next`, waiting up to `timeout` seconds (None: for ever) until something is ready.

        Raises BrokenPipeError when the reader of `output`, a descriptor, goes away meanwhile.
        """
        if timeout == 0:
            return self.next(claim=claim, offline=offline)
        from gitcoord.features.deaths import watched_pids
        from gitcoord.store.watch import wait_until

        # the end of a process frees what its session holds
        pids = partial(watched_pids, self._clone)
        return wait_until(self._clone.repo, lambda: self.next(claim=claim, offline=offline), timeout, pids, output)

    def done(self, task_id: str, text: str = "", *, force: bool = False) -> Task:
        """Finish a task, with `force` even if another live session holds it. Its creator is told, and those whose tasks are
        ready now."""
        return self._change(task_id, "done", text, force)

    def block(self, task_id: str, reason: str, *, force: bool = False) -> Task:
        """Block a task, and say why. Its holder keeps it."""
        return self._change(task_id, "block", reason, force)

    def release(self, task_id: str, *, force: bool = False) -> Task:
        """Give a task back."""
        return self._change(task_id, "release", "", force)

    def drop(self, task_id: str) -> Task:
        """Drop a task: it will not be done."""
        return self._change(task_id, "drop", "", False)

    def reopen(self, task_id: str) -> Task:
        """Open a blocked, done or dropped task again, without a holder."""
        return self._change(task_id, "reopen", "", False)

    def _change(self, task_id: str, verb: str, text: str, force: bool) -> Task:
        from gitcoord.features.tasks import write

        return self.show(self._write(lambda me: write.change(self._clone, me, task_id, verb, text, force)))

    def edit(self, task_id: str, **changes: Any) -> Task:
        """Change facts of a task; `changes` are the fields of `gitcoord.features.tasks.write.Edit`."""
        from gitcoord.features.tasks import write

        return self.show(self._write(lambda me: write.edit(self._clone, me, task_id, write.Edit(**changes))))

    def comment(self, task_id: str, text: str) -> Task:
        """Comment on a task; its holder is told."""
        from gitcoord.features.tasks import write

        return self.show(self._write(lambda me: write.comment(self._clone, me, task_id, text)))
