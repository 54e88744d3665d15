"""The parts of a clone that repair needs, while the write lock is held."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gitcoord.log.apart.store import PartedStore
from gitcoord.log.index import Index
from gitcoord.log.journal import Journal
from gitcoord.log.pen import Pen
from gitcoord.store.contract import Tips
from gitcoord.store.objects import Oid
from gitcoord.store.ref_names import belongs_to, is_log


class Ground:
    """The store, the journal and the index of a clone, its pen, and the descriptor of its write lock."""

    def __init__(self, store: PartedStore, journal: Journal, index: Index, pen: Pen, fd: int) -> None:
        self.store = store
        self.journal = journal
        self.index = index
        self.pen = pen
        self.fd = fd

    def note(self, dropped: Iterable[str], added: Mapping[str, Oid]) -> None:
        """Note the tips of our logs after a change of ours, never from a listing of the refs: if a fetch with pruning has
        just deleted one of them, it would be forgotten."""
        gone = set(dropped)
        known = {ref: oid for ref, oid in self.journal.tips().items() if ref not in gone}
        self.journal.note({**known, **added})

    def own_logs(self, tips: Tips) -> dict[str, Oid]:
        """Our logs, synced and local, among the refs."""
        return own_logs(tips.refs, self.pen.clone)


def own_logs(refs: Mapping[str, Oid], clone: str) -> dict[str, Oid]:
    """The logs of `clone`, synced and local, among `refs`."""
    return {ref: oid for ref, oid in refs.items() if is_log(ref) and belongs_to(ref, clone)}
