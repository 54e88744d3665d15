"""Pack our loose refs and leave the user's as they are: for git before 2.42, which packs all refs or none.

It is done as git does it (files-backend). The new `packed-refs` is written beside the old one, becomes `packed-refs.lock`
by a link, which fails if another program holds the lock, and is renamed. All lines but ours stay as they are. Then each
loose file is removed under its own lock, if it still has the value that was packed. A kill leaves the loose refs, which
count more; in the short time between link and rename, it leaves the lock, as a killed git does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from gitcoord.lean import contextmanager, suppress
from gitcoord.store.objects import Oid
from gitcoord.store.ref_names import NAMESPACE
from gitcoord.store.repository import Repository
from gitcoord.system.files import read_if_there

_HEADER = b"# pack-refs with: peeled fully-peeled sorted \n"


def pack(repo: Repository, loose: Mapping[str, Oid]) -> None:
    """Pack refs that name commits and have these values in loose files. If another program holds a lock, or the file is
    not as git writes it now, nothing happens. Raises OSError."""
    path = os.path.join(repo.common_dir, "packed-refs")
    if os.path.islink(path):
        return
    before = read_if_there(path)
    after = _merged(before or _HEADER, loose)
    if after is not None and _replace(path, before, after):
        for ref, oid in loose.items():
            _prune(repo, ref, oid)


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
