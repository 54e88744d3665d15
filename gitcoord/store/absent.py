"""The one place that decides whether an object is lost, or merely could not be read.

git says "missing" of both: of an object that it does not have, and of one in a pack that it may not open or has no
memory for. Code that acts on a loss (carries a log over a hole, deletes a ref) must never act on an object that merely
could not be read. So an object counts as absent only if git says so twice, without a complaint, while every place where
it could be can be read from here. A loose file with wrong bytes counts as absent: nothing can repair it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from gitcoord.errors import CoordError, ObjectMissing, Unreadable
from gitcoord.store.objects import Oid, make_object
from gitcoord.store.repository import Repository
from gitcoord.system.files import read_bytes
from gitcoord.system.spawn import Result

MAX_PACKS = 10_000
"""The largest number of packs that are looked at; real repositories have fewer."""


def absent(repo: Repository, oids: Sequence[Oid]) -> list[Oid]:
    """Those of `oids` that are lost. Raises Unreadable if that cannot be told."""
    found = _not_found(repo, oids)
    if not found:
        return []
    _look_for_obstacles(repo, found)
    return _not_found(repo, found)


def why_unread(repo: Repository, oid: Oid, said: str = "") -> CoordError:
    """The error for an object that could not be read: ObjectMissing if it is lost, else Unreadable. `said`: the reader's
    error text."""
    try:
        if absent(repo, [oid]) or is_damaged(repo, oid):
            return ObjectMissing(oid)
    except Unreadable as error:
        return error
    result = repo.git("cat-file", "-t", oid)
    return _unreadable(said or result.error_text or "git stopped while it read it", oid)


def is_damaged(repo: Repository, oid: Oid) -> bool:
    """Whether the object has a loose file with other content. Raises Unreadable where the file cannot be read."""
    import zlib

    for directory in _object_directories(repo):
        try:
            data = zlib.decompress(read_bytes(os.path.join(directory, oid[:2], oid[2:])))
        except FileNotFoundError:
            continue
        except OSError as error:
            raise _unreadable(f"{error.filename}: {error.strerror}", oid) from error
        except zlib.error:
            return True
        head, _, body = data.partition(b"\0")
        kind = head.partition(b" ")[0].decode("ascii", "replace")
        if make_object(kind, body, repo.object_format).oid != oid:  # type: ignore[arg-type]
            return True
    return False


def _not_found(repo: Repository, oids: Sequence[Oid]) -> list[Oid]:
    """Those of `oids` that git does not find. Raises Unreadable when git reports an error about anything but their own
    files."""
    found: list[Oid] = []
    left = list(oids)
    while left:
        result = repo.git("cat-file", "--batch-check", stdin="".join(f"{oid}\n" for oid in left).encode())
        lines = result.out.decode("ascii", "replace").splitlines()
        gone = [oid for oid, line in zip(left, lines, strict=False) if line.endswith(" missing")]
        found += gone
        if result.code == 0:
            if _complains(result) and not any(is_damaged(repo, oid) for oid in gone):
                raise _unreadable(result.error_text, gone[0] if gone else left[0])
            break
        if not _is_promised(result) or len(lines) >= len(left):
            raise _unreadable(result.error_text or _how_it_ended(result), left[min(len(lines), len(left) - 1)])
        found.append(left[len(lines)])  # git stopped at an object of its promisor remote, and we fetch nothing here
        left = left[len(lines) + 1 :]
    return found


def _complains(result: Result) -> bool:
    """Whether git named an error; warnings and the user's GIT_TRACE do not count."""
    return any(line.startswith(("error: ", "fatal: ")) for line in result.error_text.splitlines())


def _is_promised(result: Result) -> bool:
    """Whether git ended because a partial clone lacks the object: git wanted to fetch it, and we forbid that."""
    return result.code == 128 and "promisor" in result.error_text


def _how_it_ended(result: Result) -> str:
    return f"git cat-file was killed by signal {-result.code}" if result.code < 0 else f"git cat-file ended with {result.code}"


def _unreadable(said: str, oid: Oid) -> Unreadable:
    last = said.strip().splitlines()[-1] if said.strip() else "git does not say why"
    return Unreadable(f"git cannot read object {oid[:10]}: {last.removeprefix('fatal: ').removeprefix('error: ')}")


# obstacles: places that git skips without an error


def _look_for_obstacles(repo: Repository, oids: Sequence[Oid]) -> None:
    """Check that we can read every place where an object could be. Raises Unreadable."""
    for directory in _object_directories(repo):
        for path in (*_packs(directory, oids[0]), *(os.path.join(directory, oid[:2], oid[2:]) for oid in oids)):
            _must_open(path, oids[0])


def _packs(directory: str, oid: Oid) -> Iterator[str]:
    place = os.path.join(directory, "pack")
    try:
        names = sorted(os.listdir(place))
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unreadable(f"{place}: {error.strerror}", oid) from error
    for name in names[: 4 * MAX_PACKS]:
        if name.endswith((".idx", ".pack")):
            yield os.path.join(place, name)


def _must_open(path: str, oid: Oid) -> None:
    try:
        os.close(os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0)))
    except FileNotFoundError:
        pass
    except OSError as error:
        raise _unreadable(f"{path}: {error.strerror}", oid) from error


def _object_directories(repo: Repository) -> Iterable[str]:
    """Our object directories and those they borrow from (gitrepository-layout(5), objects/info/alternates)."""
    todo = [os.path.join(repo.common_dir, "objects")]
    seen: set[str] = set()
    while todo:
        directory = todo.pop(0)
        if directory in seen or len(seen) > 100:
            continue
        seen.add(directory)
        yield directory
        try:
            lines = os.fsdecode(read_bytes(os.path.join(directory, "info", "alternates"))).splitlines()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise Unreadable(f"cannot read {error.filename}: {error.strerror}") from error
        todo += [os.path.normpath(os.path.join(directory, line)) for line in lines if line and not line.startswith("#")]
