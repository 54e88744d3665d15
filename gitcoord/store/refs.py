"""Refs through git itself: how both stores list, create and delete them (libgit2 may only move one that exists)."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Mapping, Sequence

from gitcoord.errors import NotACommit, ObjectMissing, RefMoved, RepositoryError, Unreadable
from gitcoord.lean import contextmanager, re, suppress
from gitcoord.store.absent import absent
from gitcoord.store.contract import Tips
from gitcoord.store.objects import Oid
from gitcoord.store.ref_files import are_plain
from gitcoord.store.ref_lock import RefLocked, patiently
from gitcoord.store.ref_names import NAMESPACE, is_coordination
from gitcoord.store.repository import Repository
from gitcoord.system.files import read_if_there
from gitcoord.system.lock import unwritable
from gitcoord.system.spawn import Result
from gitcoord.text import shell_word

LOOSE_REFS = 100
"""Number of loose refs of ours from which they are packed: a thousand make a fetch of the user's 3 to 6 times as long
(docs/decisions.md)."""
_PACKED_HEADER = b"# pack-refs with: peeled fully-peeled sorted \n"
_BROKEN = r"ignoring (?:broken ref|dangling symref|ref with broken name) (\S+)"
_LOCK_FILE = r"'([^'\n]*\.lock)': File exists"
_MOVED = ("but expected", "already exists", "unable to resolve reference", "is missing")
_HELD = ("cannot be locked", "data is locked")
_NO_OBJECT = ("nonexistent object", "not a valid SHA1", "not a valid object")


def list_refs(repo: Repository) -> Tips:
    """The refs below `refs/coord/`, as git lists them. Raises RepositoryError."""
    result = repo.git("for-each-ref", "--format=%(objectname) %(refname)", NAMESPACE)
    if result.code and "packed-refs" in result.error_text:
        raise _broken_packed_refs(repo, result)
    if result.code:
        raise failure(repo, "cannot list refs", result)
    lines = (line.split(" ", 1) for line in result.out.decode("utf-8", "replace").splitlines())
    broken = re.findall(_BROKEN, result.error_text) if result.err else []
    found = {ref: Oid(oid) for oid, ref in lines}
    return Tips(found, tuple(r for r in [*broken, *_dangling(repo, found)] if r.startswith(NAMESPACE)))


def _broken_packed_refs(repo: Repository, result: Result) -> RepositoryError:
    """The error for a damaged `packed-refs`: no ref can be read until its damaged lines are gone. The command in the hint
    keeps the old file beside it."""
    path = os.path.join(repo.common_dir, "packed-refs")
    said = result.error_text.splitlines()[-1].removeprefix("fatal: ")
    whole = r"/^(#.*|[0-9a-f]{40,64} refs\/[^ ]+|\^[0-9a-f]{40,64})$/!d"
    return RepositoryError(f"git cannot read refs: {said}", f"sed -i.broken -E '{whole}' {shell_word(path)}; git fsck")


def _dangling(repo: Repository, found: dict[str, Oid]) -> list[str]:
    """Symbolic refs whose target is missing: for-each-ref silently leaves them out, and fsck complains about them."""
    start = len(repo.common_dir) + 1
    below = os.walk(os.path.join(repo.common_dir, NAMESPACE))
    files = (os.path.join(directory, name) for directory, _, names in below for name in names if not name.endswith(".lock"))
    return [file[start:].replace(os.sep, "/") for file in files if file[start:] not in found and _is_symbolic(file)]


def _is_symbolic(file: str) -> bool:
    try:
        with open(file, "rb") as content:
            return content.read(4) == b"ref:"
    except OSError:
        return False


def move(repo: Repository, ref: str, new: Oid | None, old: Oid | None, keep_fd: int | None = None) -> None:
    """`Store.move` by `git update-ref`, without the reading back."""
    patiently(lambda: _update(repo, ref, new, old, keep_fd), f"{repo.common_dir}/{ref}.lock")


def _update(repo: Repository, ref: str, new: Oid | None, old: Oid | None, keep_fd: int | None) -> None:
    before = old or repo.zero
    change = ("-d", ref, before) if new is None else (ref, new, before)
    result = repo.git("update-ref", "--no-deref", *change, keep_fd=keep_fd)
    if result.code == 0:
        return
    said = result.error_text
    if any(phrase in said for phrase in _NO_OBJECT):
        raise ObjectMissing(new or "", ref)
    lock = re.search(_LOCK_FILE, said)
    if lock or any(phrase in said for phrase in _HELD):
        raise RefLocked(lock[1] if lock else ref)
    if any(phrase in said for phrase in _MOVED):
        raise RefMoved(ref)
    if "non-commit object" in said:
        raise NotACommit(new or "")
    raise _in_the_way(repo, ref) or failure(repo, f"cannot move {ref}", result)


def delete(repo: Repository, values: Mapping[str, Oid], keep_fd: int) -> None:
    """Delete refs that still have these values, in one step; if one has moved, or is locked, all stay."""
    if values:
        asked = "".join(f"delete {ref} {oid}\n" for ref, oid in values.items())
        repo.git("update-ref", "--no-deref", "--stdin", stdin=asked.encode(), keep_fd=keep_fd)


def _in_the_way(repo: Repository, ref: str) -> RepositoryError | None:
    """The error for a file where the ref needs a directory: a ref of that name, or damage."""
    parts = ref.split("/")
    for end in range(1, len(parts)):
        above = "/".join(parts[:end])
        path = os.path.join(repo.common_dir, above)
        if os.path.lexists(path) and not os.path.isdir(path):
            is_ref = repo.git("rev-parse", "--verify", "--quiet", above).code == 0
            mended = f"git update-ref --no-deref -d {shell_word(above)}" if is_ref else f"rm {shell_word(path)}"
            return RepositoryError(f"{path} is a file where git needs a directory for {ref}", mended)
    return None


def create_many(repo: Repository, values: Mapping[str, Oid], keep_fd: int) -> set[str]:
    """Create thousands of refs that do not exist, and that name commits; returns those that were created. To be called
    under the write lock."""
    found = zip(values, kinds(repo, list(values.values())), strict=True)
    commits = {ref: values[ref] for ref, kind in found if kind == "commit"}
    with suppress(OSError):
        if are_plain(repo) and _add_packed(repo, commits):
            return set(commits)
    asked = "".join(f"create {ref} {oid}\n" for ref, oid in commits.items())
    return set() if repo.git("update-ref", "--stdin", stdin=asked.encode(), keep_fd=keep_fd).code else set(commits)


def pack(repo: Repository, keep_fd: int) -> None:
    """Pack the refs below `refs/coord/`, where there are many loose ones, and leave the user's as they are; to be called
    under the write lock."""
    loose = _loose(repo)
    if len(loose) <= LOOSE_REFS:
        return
    if repo.git("pack-refs", "--include", f"{NAMESPACE}*", keep_fd=keep_fd).code and are_plain(repo):  # git before 2.42
        names = list(loose)
        found = zip(names, kinds(repo, [loose[ref] for ref in names]), strict=True)
        with suppress(OSError):
            _pack_as_git_does(repo, {ref: loose[ref] for ref, kind in found if kind == "commit"})


def _loose(repo: Repository) -> dict[str, Oid]:
    """Our refs that are in files of their own, with their values; not those that are damaged or held by another git."""
    found = {}
    for directory, _, names in os.walk(os.path.join(repo.common_dir, NAMESPACE)):
        below = os.path.relpath(directory, repo.common_dir).replace(os.sep, "/")
        for name in names:
            value = (read_if_there(os.path.join(directory, name)) or b"").strip()
            if len(value) == len(repo.zero) and not name.endswith(".lock") and is_coordination(f"{below}/{name}"):
                found[f"{below}/{name}"] = Oid(value.decode("ascii", "replace"))
    return found


def _pack_as_git_does(repo: Repository, loose: Mapping[str, Oid]) -> None:
    """Pack refs that name commits and have these values in loose files. If another program holds a lock, or the file is
    not as git writes it now, nothing happens. Raises OSError.

    The new `packed-refs` is written beside the old one, becomes `packed-refs.lock` by a link, which fails if another
    program holds the lock, and is renamed. All lines but ours stay as they are. Then each loose file is removed under its
    own lock, if it still has the packed value. A kill leaves the loose refs, which count more; in the short time between
    link and rename, it leaves the lock, as a killed git does.
    """
    if _add_packed(repo, loose):
        for ref, oid in loose.items():
            _prune(repo, ref, oid)


def _add_packed(repo: Repository, values: Mapping[str, Oid]) -> bool:
    """Write refs into `packed-refs`; returns whether that was done. Raises OSError."""
    path = os.path.join(repo.common_dir, "packed-refs")
    if os.path.islink(path):
        return False
    before = read_if_there(path)
    after = _merged(before or _PACKED_HEADER, values)
    return after is not None and _replace(path, before, after)


def _merged(content: bytes, loose: Mapping[str, Oid]) -> bytes | None:
    """The content with these refs, in the order of their names; None if it is not sorted, or does not say all that git
    has to know of tags."""
    header, _, rest = content.partition(b"\n")
    if not header.startswith(b"# pack-refs with:") or not {b"sorted", b"fully-peeled"} <= set(header.split()):
        return None
    entries: dict[bytes, bytes] = {}
    name = b""
    for line in rest.splitlines(keepends=True):
        if not line.endswith(b"\n") or (line.startswith(b"^") and not name):
            return None
        if line.startswith(b"^"):
            entries[name] += line
        else:
            name = line[:-1].partition(b" ")[2]
            entries[name] = line
    entries.update({ref.encode(): f"{oid} {ref}\n".encode() for ref, oid in loose.items()})
    return header + b"\n" + b"".join(entries[name] for name in sorted(entries))


def _replace(path: str, before: bytes | None, after: bytes) -> bool:
    """Write the file anew under git's lock, if it still has the content `before`; returns whether that was so."""
    fresh, lock = f"{path}.gitcoord", f"{path}.lock"
    with suppress(FileNotFoundError):
        os.unlink(fresh)  # of a process that was killed
    with open(fresh, "xb") as file:
        file.write(after)
        file.flush()
        os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            os.chmod(fresh, os.stat(path).st_mode & 0o777)
    try:
        os.link(fresh, lock)
    except OSError:  # another program holds it, or the file system has no links
        os.unlink(fresh)
        return False
    os.unlink(fresh)
    if read_if_there(path) != before:
        os.unlink(lock)
        return False
    os.replace(lock, path)
    return True


def _prune(repo: Repository, ref: str, oid: Oid) -> None:
    """Remove a loose file, under its lock, if it still has the packed value; and directories that are empty then."""
    path = os.path.join(repo.common_dir, ref)
    with suppress(OSError), _locked(f"{path}.lock"):
        if (read_if_there(path) or b"").strip() == oid.encode():
            os.unlink(path)
    above = os.path.dirname(ref)
    with suppress(OSError):
        while above != NAMESPACE.rstrip("/"):
            os.rmdir(os.path.join(repo.common_dir, above))
            above = os.path.dirname(above)


@contextmanager
def _locked(path: str) -> Iterator[None]:
    """Hold git's lock on a ref. Raises FileExistsError if another has it."""
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield
    finally:
        os.unlink(path)


def check_value(repo: Repository, ref: str, expected: Oid | None) -> None:
    """Read a ref back after its move. Raises RefMoved when it does not have the value it was given."""
    if _value(repo, ref) != expected:
        raise RefMoved(ref)


def _value(repo: Repository, ref: str) -> Oid | None:
    """Read a loose file without a process; otherwise ask git."""
    text = ""
    with suppress(OSError):
        fd = os.open(f"{repo.common_dir}/{ref}", os.O_RDONLY)
        try:
            text = os.read(fd, 256).strip().decode("ascii", "replace")
        finally:
            os.close(fd)
    if len(text) == len(repo.zero):
        return Oid(text)
    result = repo.git("rev-parse", "--verify", "--quiet", ref)
    if result.code not in (0, 1):
        raise _could_not_tell(f"where {ref} points", result)
    return Oid(result.out.decode().strip()) if result.code == 0 else None


def failure(repo: Repository, what: str, result: Result) -> RepositoryError:
    """The error for a failed git, in git's own words."""
    said = result.error_text
    last = said.splitlines()[-1] if said else f"git ended with {result.code}"
    return explained(repo, what, said, last.removeprefix("fatal: ").removeprefix("error: "))


def explained(repo: Repository, what: str, said: str, last: str) -> RepositoryError:
    """The error for a full disk or a read-only place; for anything else, `what` and git's last line."""
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
        if os.strerror(code) in said:
            return unwritable(repo.common_dir, OSError(code, os.strerror(code)))
    if "insufficient permission" in said:
        return unwritable(repo.common_dir, OSError(errno.EACCES, os.strerror(errno.EACCES)))
    untold = _untold(repo)
    if untold:
        return unwritable(repo.common_dir, OSError(untold, os.strerror(untold)))
    return RepositoryError(f"{what}: {last}", "git coord doctor")


def _untold(repo: Repository) -> int:
    """The errno behind a failed write, which git and libgit2 do not always report; 0 if unknown."""
    if sys.platform == "win32":
        return 0
    facts = os.statvfs(repo.common_dir)
    if facts.f_flag & os.ST_RDONLY:
        return errno.EROFS
    if facts.f_bavail == 0:
        return errno.ENOSPC
    return 0 if os.access(os.path.join(repo.common_dir, "refs"), os.W_OK) else errno.EACCES


def kinds(repo: Repository, oids: Sequence[Oid]) -> list[str]:
    """The kind of each object: `commit`, `tree`, `blob`, `tag`, or `missing`. Raises Unreadable if git cannot tell."""
    if not oids:
        return []
    stdin = "".join(f"{oid}\n" for oid in oids).encode()
    result = repo.git("cat-file", "--batch-check=%(objecttype)", stdin=stdin)
    found = [line.split()[-1] for line in result.out.decode().splitlines()]
    if result.code or len(found) != len(oids):
        raise _could_not_tell("the types of the fetched objects", result)
    lost = set(absent(repo, [oid for oid, kind in zip(oids, found, strict=True) if kind == "missing"]))
    if any(kind == "missing" and oid not in lost for oid, kind in zip(oids, found, strict=True)):
        raise _could_not_tell("the types of the fetched objects", result)
    return found


def is_ancestor(repo: Repository, old: Oid, new: Oid) -> bool:
    """Whether `old` is `new` or an ancestor of it; False where either is lost.

    Raises Unreadable where git cannot tell.
    """
    if old == new:
        return True
    result = repo.git("merge-base", "--is-ancestor", old, new)
    if result.code > 1 or result.code < 0:
        _unless_lost(repo, (old, new), result)
    return result.code == 0


def merge_base(repo: Repository, one: Oid, other: Oid) -> Oid | None:
    """The last common ancestor of both commits; None if there is none. Raises Unreadable where git cannot tell."""
    result = repo.git("merge-base", one, other)
    if result.code > 1 or result.code < 0:
        _unless_lost(repo, (one, other), result)
    return Oid(result.out.decode().strip()) if result.code == 0 else None


def _unless_lost(repo: Repository, oids: Sequence[Oid], result: Result) -> None:
    """Raise Unreadable, unless git failed to compare two commits because one of them, or an ancestor, is lost."""
    named = re.findall(r"[0-9a-f]{64}|[0-9a-f]{40}", result.error_text)
    if not absent(repo, list(dict.fromkeys([*oids, *map(Oid, named)]))):
        raise _could_not_tell("whether one commit is an ancestor of another", result)


def _could_not_tell(what: str, result: Result) -> Unreadable:
    said = result.error_text.splitlines()
    how = f"it was killed by signal {-result.code}" if result.code < 0 else f"it ended with {result.code}"
    return Unreadable(f"git could not tell {what}: {said[-1].removeprefix('fatal: ') if said else how}")
