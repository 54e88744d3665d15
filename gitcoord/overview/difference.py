"""Show what a session has changed, committed on its branch and not, as one diff against the commit that it and we began from.

A session of another clone has its files elsewhere: of its work only the commits that were fetched can be shown.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from gitcoord.errors import RepositoryError, UsageError
from gitcoord.lean import NamedTuple, suppress
from gitcoord.log.clone import Clone
from gitcoord.names import split_mailbox
from gitcoord.sessions.mailboxes import resolve_name
from gitcoord.sessions.presence import facts_of
from gitcoord.sessions.records import Record, Records
from gitcoord.store.worktrees import list_worktrees


class Difference(NamedTuple):
    """The diff of a session's work against `base`; `only_commits` if its uncommitted changes are not here."""

    session: str
    branch: str
    base: str
    text: str
    only_commits: bool = False


def difference(clone: Clone, name: str, paths: Sequence[str] = (), stat: bool = False) -> Difference:
    """The work of a session, of some paths if given (relative to the worktree's root, as git's pathspecs). Raises UsageError
    for an unknown session, RepositoryError where git fails."""
    known, at = split_mailbox(clone.read(lambda db: resolve_name(db, name, clone.id)))
    record = Records(clone.repo.coord_dir).get(known) if clone.is_ours(at) else None
    if record and record.git_dir:
        return _of_worktree(clone, record, paths, stat)
    facts = clone.read(lambda db: facts_of(db, at, known))
    head = facts.get("head")
    if not isinstance(head, str) or not head:
        raise UsageError(f"{name!a} has no worktree whose changes could be shown", "git coord sessions")
    if clone.repo.git("cat-file", "-e", f"{head}^{{commit}}").code:
        raise RepositoryError(f"the commits of {name} are not in this repository", "git fetch --all")
    base = _base(clone, head)
    result = clone.repo.git("diff", *_options(stat), base, head, "--", *paths)
    return Difference(known, str(facts.get("branch", "")), base, _text(result.out), only_commits=True)


def _of_worktree(clone: Clone, record: Record, paths: Sequence[str], stat: bool) -> Difference:
    worktree = next((w for w in list_worktrees(clone.repo) if w.git_dir == record.git_dir), None)
    if worktree is None:
        raise RepositoryError(f"the worktree of {record.name} is gone", "git coord sessions")
    base = _base(clone, worktree.head) if worktree.head else _empty_tree(clone)
    out = _with_new_files(clone, worktree.path, worktree.git_dir, ["diff", *_options(stat), base, "--", *paths])
    return Difference(record.name, worktree.branch or "", base, _text(out))


def _empty_tree(clone: Clone) -> str:
    return clone.repo.git("hash-object", "-t", "tree", "--stdin").out.decode().strip()


def _with_new_files(clone: Clone, worktree: str, git_dir: str, argv: Sequence[str]) -> bytes:
    """The output of git in a worktree, with a copy of its index that also has the untracked files: the index itself
    is not touched."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="gitcoord-") as place:
        index = os.path.join(place, "index")
        with suppress(OSError):
            shutil.copyfile(os.path.join(git_dir, "index"), index)
        env = {"GIT_INDEX_FILE": index}
        fresh = clone.repo.git_in(worktree, git_dir, "ls-files", "-z", "--others", "--exclude-standard", env=env).out
        if fresh:
            add = ("add", "--intent-to-add", "--pathspec-from-file=-", "--pathspec-file-nul")
            objects = {"GIT_OBJECT_DIRECTORY": place, "GIT_ALTERNATE_OBJECT_DIRECTORIES": clone.path(os.pardir, "objects")}
            clone.repo.git_in(worktree, git_dir, "--literal-pathspecs", *add, stdin=fresh, env=env | objects)
        result = clone.repo.git_in(worktree, git_dir, *argv, env=env)
    if result.code:
        said = result.err.decode("utf-8", "replace").strip().splitlines()
        raise RepositoryError(f"git diff failed: {said[-1] if said else result.code}", f"look at {worktree}")
    return result.out


def _base(clone: Clone, head: str) -> str:
    """The commit that our HEAD and that one have in common; that one itself if there is none."""
    repo = clone.repo
    here = repo.git_in(repo.worktree or repo.common_dir, repo.git_dir, "rev-parse", "-q", "--verify", "HEAD")
    found = repo.git("merge-base", here.out.decode().strip(), head) if not here.code else here
    return found.out.decode().strip() if not found.code else head


def _options(stat: bool) -> list[str]:
    return ["--no-color", "--no-ext-diff", "--no-textconv", "-M", *(["--stat=80"] if stat else [])]


def _text(out: bytes) -> str:
    return out.decode("utf-8", "replace")


def size(clone: Clone, name: str, path: str) -> str:
    """The size of a session's uncommitted change of a path, as `+12 -3`; empty if it cannot be told."""
    record = Records(clone.repo.coord_dir).get(name)
    if record is None or not record.git_dir or not record.worktree:
        return ""
    result = clone.repo.git_in(record.worktree, record.git_dir, "diff", "--numstat", "HEAD", "--", path)
    plus, _, rest = result.out.decode("utf-8", "replace").partition("\t")
    minus = rest.partition("\t")[0]
    return f"+{plus} -{minus}" if plus.isdigit() and minus.isdigit() else ""
