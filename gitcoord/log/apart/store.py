"""The store for the log room: local logs in files of ours, logs of retired clones from their list, everything else in git.

A local log has the name of a ref, `refs/coord/local/CLONE/EPOCH`, which is in no git repository. If a version before 0.2
left such a ref, it is read until the next writer has moved it (`take_in`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from gitcoord.errors import NotDescendant, ObjectMissing, RefMoved
from gitcoord.lean import TYPE_CHECKING, suppress
from gitcoord.log.apart.files import LocalLogs
from gitcoord.store.contract import Store, Tips
from gitcoord.store.objects import GitObject, Oid, named_in, parent_of
from gitcoord.store.ref_names import RETIRED, is_local, is_log, is_of, owner

if TYPE_CHECKING:
    from gitcoord.log.apart.retired import Retired


class PartedStore:
    """See `Store`."""

    def __init__(self, git: Store, here: Callable[[], str] = str) -> None:
        self.git = git
        self.repo = git.repo
        self.logs = LocalLogs(git.repo)
        self._here = here
        self._retired: Retired | None = None
        self.retired: frozenset[str] = frozenset()
        """The clones whose logs the last listing found only in the list of retired clones."""
        self.left: dict[str, Oid] = {}
        """Local logs that the last listing found among git's refs, where an earlier version left them."""
        self._staged: dict[Oid, GitObject] = {}

    def tips(self) -> Tips:
        found = self.git.tips()
        self.left = {ref: oid for ref, oid in found.refs.items() if is_local(ref)}
        retired = self._list.ours(found.refs[RETIRED]) if RETIRED in found.refs else {}
        if retired:
            shown = {self._here(), *(owner(ref) for ref in found.refs if is_log(ref))}
            retired = {ref: oid for ref, oid in retired.items() if not is_of(ref, shown)}
        self.retired = frozenset(map(owner, retired))
        local = self.logs.tips()
        return Tips({**found.refs, **retired, **local}, found.broken) if retired or local else found

    def listed(self, tip: Oid) -> Mapping[str, Oid]:
        """The logs in a list of retired clones, with their tips."""
        return self._list.at(tip)

    @property
    def _list(self) -> Retired:
        if self._retired is None:
            from gitcoord.log.apart.retired import Retired

            self._retired = Retired(self.git)
        return self._retired

    def keeps(self, ref: str) -> bool:
        """Whether a log is in a file of ours, into which no other program writes."""
        return is_local(ref) and ref in self.logs.files()

    def chain(self, new: Oid, old: Oid | None) -> Iterator[tuple[Oid, bytes]]:
        if new in self.logs.tips().values():
            yield from self._local_chain(new, old)
            return
        found = self.git.chain(new, old)
        try:
            first = next(found, None)
        except ObjectMissing:
            if self.logs.find(new) is None:
                raise
            yield from self._local_chain(new, old)
            return
        if first is not None:
            yield first
            yield from found

    def _local_chain(self, new: Oid, old: Oid | None) -> Iterator[tuple[Oid, bytes]]:
        ids: list[Oid] = []
        at: Oid | None = new
        while at is not None and at != old:
            ids.append(at)
            at = parent_of(self._local(at).data)
        if at != old:
            raise NotDescendant(new, old or "")
        for oid in reversed(ids):
            yield oid, self._local(oid).data

    def _local(self, oid: Oid) -> GitObject:
        item = self.logs.read(oid)
        if item is None:
            raise ObjectMissing(oid)
        return item

    def read(self, oids: Iterable[Oid]) -> Iterator[GitObject]:
        asked: list[Oid] = []
        left = iter(oids)

        def each() -> Iterator[Oid]:
            for oid in left:
                asked[:] = [oid]
                yield oid

        while True:
            try:
                yield from self.git.read(each())
                return
            except ObjectMissing:
                item = self.logs.read(asked[0])
                if item is None:
                    raise
                yield item

    def missing(self, oids: Sequence[Oid]) -> list[Oid]:
        return [oid for oid in self.git.missing(oids) if self.logs.find(oid) is None]

    def sizes(self, oids: Sequence[Oid]) -> list[int | None]:
        found = self.git.sizes(oids)
        for place, (oid, size) in enumerate(zip(oids, found, strict=True)):
            if size is None and (item := self.logs.read(oid)):
                found[place] = len(item.data)
        return found

    def write(self, objects: Sequence[GitObject], ref: str = "") -> None:
        """Objects of a local log are kept until `move`, which writes all at once."""
        if is_local(ref):
            self._staged = {item.oid: item for item in objects}
        else:
            self.git.write(objects)

    def move(self, ref: str, new: Oid | None, old: Oid | None, keep_fd: int | None = None) -> None:
        if not is_local(ref) or (old and not self.keeps(ref)):
            self.git.move(ref, new, old, keep_fd)
            return
        objects, self._staged = self._staged, {}
        if self.logs.tips().get(ref) != old:
            raise RefMoved(ref)
        if new is None:
            self.logs.remove(ref)
        else:
            self.logs.append(ref, new, self._with_what_git_has(new, old, objects))

    def take_in(self, ref: str, keep_fd: int) -> None:
        """Move a log of an earlier version out of git's refs. Raises NotDescendant if our file does not continue it."""
        tip, known = self.left[ref], self.logs.tips().get(ref)
        if known is None or (known != tip and self.logs.find(tip) is None):
            for _ in self.git.chain(tip, known):
                pass
            self.logs.append(ref, tip, self._with_what_git_has(tip, known, {}))
        self.git.move(ref, None, tip, keep_fd)

    def _with_what_git_has(self, new: Oid, old: Oid | None, staged: dict[Oid, GitObject]) -> list[GitObject]:
        """`staged`, and the other objects that a log with the tip `new` needs, which git may have from an earlier version;
        oldest first. Raises ObjectMissing for a lost commit."""
        commits: list[GitObject] = []
        at: Oid | None = new
        while at is not None and at != old and (at in staged or self.logs.find(at) is None):
            commits.append(staged[at] if at in staged else next(iter(self.git.read([at]))))
            at = parent_of(commits[-1].data)
        rest = [item for item in staged.values() if item.kind != "commit"]
        for item in commits:
            if item.oid not in staged:
                rest += self._files(named_in(item)[0])
        return [*rest, *reversed(commits)]

    def _files(self, tree: Oid) -> list[GitObject]:
        """A tree and all below it, as far as git has them and the logs do not."""
        found: list[GitObject] = []
        todo = [tree]
        with suppress(ObjectMissing):
            while todo:
                item = next(iter(self.git.read([todo.pop()])))
                found.append(item)
                todo += named_in(item)
        return found

    def close(self) -> None:
        self.git.close()
