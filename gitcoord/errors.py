"""What can go wrong, as one line that says what and one hint that says which command to run next."""

from __future__ import annotations


class CoordError(Exception):
    """An error that a user can cause or meet. `exit_code` is what the command line returns for it."""

    exit_code = 3

    def __init__(self, what: str, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


class Refused(CoordError):
    """A valid question answered no: a claim that somebody else holds, a key that is not set."""

    exit_code = 1


class UsageError(CoordError):
    """Bad input: unknown or ambiguous name or id, text that cannot be stored. Nothing was written."""

    exit_code = 2


class RepositoryError(CoordError):
    """The repository or its surroundings: not a repository, not writable, disk full."""

    exit_code = 3


class Busy(RepositoryError):
    """A lock that another process held for longer than the caller had time. Nothing was written."""


class RemoteError(CoordError):
    """A remote that cannot be reached or that refuses. A password in its URL is not repeated."""

    exit_code = 4

    def __init__(self, what: str, hint: str | None = None) -> None:
        super().__init__(without_password(what), without_password(hint) if hint else None)


def without_password(text: str) -> str:
    """`text` less what identifies somebody in the URLs in it."""
    import re

    return re.sub(r"\b(https?|ftps?)://[^/@\s]*@", r"\1://", text)


class RefMoved(CoordError):
    """A compare-and-swap on a ref lost: the ref no longer has the value the decision was read from."""

    def __init__(self, ref: str) -> None:
        super().__init__(f"{ref} moved meanwhile", "run the command again")
        self.ref = ref


class ObjectMissing(CoordError):
    """An object that a ref or a commit names is not in the object database."""

    def __init__(self, oid: str, ref: str = "") -> None:
        super().__init__(f"object {oid} is missing" + (f" below {ref}" if ref else ""), "run 'git coord doctor'")
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
        super().__init__(f"{oid} is no commit")
        self.oid = oid
