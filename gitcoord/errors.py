"""The errors a user can cause: one line that says what failed, and one hint with the command to run next."""

from __future__ import annotations


class CoordError(Exception):
    """An error that a user can cause or meet. `exit_code` is the exit code of the command line. The message does not repeat
    credentials in URLs."""

    exit_code = 3

    def __init__(self, what: str, hint: str | None = None) -> None:
        what = without_password(what)
        super().__init__(what)
        self.what = what
        self.hint = without_password(hint) if hint else None


class Refused(CoordError):
    """A valid question answered no: a claim that another session holds, a key that is not set."""

    exit_code = 1
    more: dict[str, object] | None = None
    """More about it, for the document that a program gets."""


class UsageError(CoordError):
    """Bad input: unknown or ambiguous name or id, text that cannot be stored. Nothing was written."""

    exit_code = 2


class RepositoryError(CoordError):
    """The repository or its surroundings: not a repository, not writable, disk full."""

    exit_code = 3


class Unwritable(RepositoryError):
    """A place that we may not write to, or that is full."""


class Busy(RepositoryError):
    """A lock that another process held for longer than the caller could wait. Nothing was written."""


class Unreadable(RepositoryError):
    """Something that exists, or may exist, could not be read. Never treat it as lost. The reason is git's or the
    system's."""

    def __init__(self, what: str, hint: str = "run the command again; if it fails again: git fsck") -> None:
        super().__init__(what, hint)


class RemoteError(CoordError):
    """A remote that cannot be reached or that refuses."""

    exit_code = 4


def without_password(text: str) -> str:
    """`text` without the user names, passwords and tokens of the URLs in it; ssh URLs keep their user, which they need."""
    if "://" not in text:
        return text
    import re

    text = re.sub(r"\b(?!ssh|git\+ssh)([a-z][a-z0-9+.-]*://)[^/\s]*@", r"\1", text, flags=re.IGNORECASE)
    text = re.sub(r"\b([a-z][a-z0-9+.-]*://[^/:@\s]*):[^/\s]*@", r"\1@", text, flags=re.IGNORECASE)
    return re.sub(r"([?&][\w.-]*(?:token|secret|password|key|auth)[\w.-]*=)[^&#\s]+", r"\1…", text, flags=re.IGNORECASE)


class RefMoved(CoordError):
    """A compare-and-swap on a ref lost: the ref no longer has the value the decision was read from."""

    def __init__(self, ref: str) -> None:
        super().__init__(f"another process moved {ref}", "run the command again")
        self.ref = ref


class ObjectMissing(CoordError):
    """An object that a ref or a commit names is not in the object database."""

    def __init__(self, oid: str, ref: str = "") -> None:
        super().__init__(f"object {oid} is missing" + (f" below {ref}" if ref else ""), "git coord doctor")
        self.oid = oid
        self.ref = ref


class NotDescendant(CoordError):
    """A log no longer contains the commit that was its tip when it was last read."""

    def __init__(self, new: str, old: str) -> None:
        super().__init__(f"{new} does not descend from {old}")
        self.new = new
        self.old = old


class NotACommit(CoordError):
    """A ref of ours names a blob, a tree or a tag."""

    def __init__(self, oid: str) -> None:
        super().__init__(f"{oid} is not a commit")
        self.oid = oid
