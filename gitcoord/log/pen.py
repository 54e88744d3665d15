"""Make the commits of one clone, with its name, its time and the mark that only it can make."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gitcoord.log.clone_id import KnownClone
from gitcoord.log.event import Draft, Envelope, Event, LaterDraft, compose, decode, encode, header_text, is_marked
from gitcoord.store.objects import GitObject, Oid, make_object, make_tree
from gitcoord.store.repository import Repository

Sign = Callable[[bytes], bytes]
Written = tuple[Event, bytes]
"""An event and the raw commit that it was read from."""


class Pen:
    """Made again when the clone takes another id. `now` gives Unix seconds; `check` raises for an event that readers
    would reject."""

    def __init__(
        self, repo: Repository, known: KnownClone, now: Callable[[], float], check: Callable[[Event], None] = lambda event: None
    ) -> None:
        self.repo = repo
        self.clone = known.id
        self._key = known.key
        self._now = now
        self._check = check
        self.committer = _identity(repo)
        """Name and email, from git; either may be empty."""

    def envelope(self, lc: int, ref: str = "", at: int | None = None) -> Envelope:
        """The author, clone and time (`at`; otherwise now) of a commit of ours; if `ref` names its log, the event gets a
        mark."""
        name, email = self.committer
        committer = f"{name} <{email}>" if name and email else f"gitcoord <{self.clone}@coord.invalid>"
        key = self._key if ref else b""
        at = max(0, int(self._now())) if at is None else at
        return Envelope(lc, self.clone, email or f"{self.clone}@coord.invalid", committer, at, key, ref)

    def tree(self, attachments: Mapping[str, bytes]) -> list[GitObject]:
        """The objects of a tree of attachments, the tree last."""
        blobs = {name: make_object("blob", data, self.repo.object_format) for name, data in attachments.items()}
        tree = make_tree({name: blob.oid for name, blob in blobs.items()}, self.repo.object_format)
        return [*blobs.values(), tree]

    def chain(
        self, ref: str, lc: int, drafts: Sequence[Draft | LaterDraft], parent: Oid | None, sign: Sign | None = None
    ) -> tuple[list[Written], list[GitObject]]:
        """The events of `drafts`, to follow `parent` in the log `ref`, and every object they need."""
        ids: list[Oid] = []
        written: list[Written] = []
        objects: list[GitObject] = []
        for number, item in enumerate(drafts):
            draft = item if isinstance(item, Draft) else item(ids)
            tree = self.tree(draft.attachments)
            raw, event = compose(draft, self.envelope(lc + number, ref), tree[-1].oid, parent)
            self._check(event)
            if sign is not None and number == len(drafts) - 1:
                raw = sign(raw)
                event = decode(Oid(""), raw)
            commit = make_object("commit", raw, self.repo.object_format)
            if parent is None and draft.attachments:
                objects += self.tree({})  # later events need the empty tree to exist
            objects += tree if draft.attachments or parent is None else []
            objects.append(commit)
            written.append((event._replace(id=commit.oid), raw))
            ids.append(commit.oid)
            parent = commit.oid
        return written, objects

    def alone(self, draft: Draft, lc: int, at: int | None = None) -> list[GitObject]:
        """A commit without a parent that is in no log: the empty tree, and the commit last."""
        tree = self.tree({})[-1]
        raw, event = compose(draft, self.envelope(lc, at=at), tree.oid, None)
        self._check(event)
        return [tree, make_object("commit", raw, self.repo.object_format)]

    def root(self, ref: str, draft: Draft, lc: int, tree: Oid) -> GitObject:
        """The root of an epoch, whose tree carries earlier events."""
        return make_object("commit", encode(draft, self.envelope(lc, ref), tree, None), self.repo.object_format)

    def made(self, ref: str, raw: bytes) -> bool:
        """Whether a commit of the log `ref` bears the mark of this clone."""
        return is_marked(raw, ref, self._key)


def _identity(repo: Repository) -> tuple[str, str]:
    """The git user's name and email, as far as git would know them, made safe for a commit header."""
    environ, config = repo.environ, repo.config
    name = environ.get("GIT_COMMITTER_NAME") or config.get("committer.name") or config.get("user.name", "")
    email = environ.get("GIT_COMMITTER_EMAIL") or config.get("committer.email") or config.get("user.email", "")
    return header_text(name), header_text(email).replace(" ", "")
