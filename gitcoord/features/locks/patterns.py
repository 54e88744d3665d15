"""The patterns of a lock: a path, or a gitignore(5) pattern, relative to the repository's root.

`matches` compares a path with a pattern, by the library pathspec. `overlap` compares two patterns by walking both as
automata side by side. It is exact for all of gitignore except bracket expressions beyond plain characters and ranges,
which count as any character: two patterns that match a common path always overlap.

One rule differs from gitignore: a name with an ending (`a.py`, `*.py`) and no slash after it means files, not folders.
Otherwise `*.py` and `*.js` would conflict because of a possible file `x.py/y.js`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextvars import ContextVar
from functools import lru_cache

from gitcoord.errors import UsageError
from gitcoord.lean import NamedTuple, re
from gitcoord.log.schemas import is_one_line
from gitcoord.store.repository import Repository
from gitcoord.store.worktrees import place_of
from gitcoord.text import inert, is_unicode, shell_word

MAX_LENGTH = 4096
MAX_STARS = 4
"""Largest number of stars in one segment of a pattern, and of `**` in the whole pattern: more would make matching slow."""
EVERYTHING = "*"
_WILD = frozenset("*?[")
_STARS = frozenset("*?")
_ESCAPE = r"\\[*?\[]"


# text that a user typed


def typed_pattern(repo: Repository, cwd: str, text: str) -> str:
    """Turn what a user typed in `cwd` into a pattern from the root. Text that can be a path is one:
    `app/[slug]/page.tsx` is that file, whether it exists or not, so that the same text means the same lock in every
    worktree.

    `:/` at the beginning means the root, as in git's own paths. Raises UsageError for a path outside of the repository
    and for an invalid pattern.
    """
    base = cwd
    if text.startswith(":/"):
        base, text = repo.worktree or cwd, text[2:] or "."
    if not text or text.startswith("!") or "\0" in text:
        raise UsageError(f"{text!a} is not a pattern", "name a path, or a pattern as in .gitignore, such as 'src/*.py'")
    segments = text.split("/")
    wild = next((n for n, segment in enumerate(segments) if _is_wild(segment)), None)
    if wild is None:
        text = _without_escapes(text)
        path = _inside(repo, base, text)
        folder = text.endswith("/") or (_means_files(path) and os.path.isdir(os.path.join(base, text)))
        return check_pattern(path_pattern(path, folder))
    above = _inside(repo, base, "/".join(segments[:wild]) or ("/" if wild else "."))
    if any(segment in (".", "..") for segment in segments[wild:]):
        raise UsageError(f"{text!a}: '..' cannot follow a wildcard", "name the folder first")
    rest = "/".join(_plain(segment) if _is_wild(segment) else _escaped(segment) for segment in segments[wild:])
    prefix = "" if above == "." else _escaped(above) + "/"
    if wild == 0 and "/" not in rest.rstrip("/"):
        return check_pattern(prefix + "**/" + rest if prefix else rest)
    return check_pattern(_anchored(prefix + rest))


def remark_on(repo: Repository, cwd: str, text: str) -> str:
    """A remark about text that can mean a path or a pattern; empty for other text."""
    base, rest = (repo.worktree or cwd, text[2:]) if text.startswith(":/") else (cwd, text)
    wild = any(_is_wild(segment) for segment in rest.split("/"))
    if wild and os.path.lexists(os.path.join(base, rest)):
        return f"{inert(text)} was read as a pattern; for the file of that name alone: {shell_word(_escaped(rest))}"
    if not wild and "[" in rest:
        return f"{inert(text)} was read as a path; [ ] is a pattern only with a range ([0-9]) or beside * or ?"
    return ""


def _is_wild(segment: str) -> bool:
    """Whether a name can only be a pattern: it has a star or a question mark, or a range of characters in brackets."""
    segment = re.sub(_ESCAPE, "", segment) if "\\" in segment else segment
    return not _STARS.isdisjoint(segment) or ("[" in segment and _has_range(segment))


def _without_escapes(text: str) -> str:
    return re.sub(_ESCAPE, lambda found: found[0][1], text) if "\\" in text else text


def _has_range(segment: str) -> bool:
    ranges = re.findall(r"\[([!^]?)((?:[0-9A-Za-z]-[0-9A-Za-z])+[_.-]*)\]", segment)
    return any(all(a <= b for a, b in re.findall(r"([0-9A-Za-z])-([0-9A-Za-z])", body)) for _, body in ranges)


def _inside(repo: Repository, base: str, text: str) -> str:
    place = place_of(repo, base, text)
    if place is None:
        raise UsageError(f"{text!a} is outside of this repository", "name a path in one of its worktrees; ':/' is the root")
    return place.path


def path_pattern(path: str, folder: bool = False) -> str:
    """The pattern for one path from the root, and everything below it; with `folder`, only for what is below it."""
    if path == ".":
        return EVERYTHING
    return _anchored(_escaped(path) + ("/" if folder else ""))


def _escaped(path: str) -> str:
    escaped = _plain("".join("\\" + c if c in "*?[\\" else c for c in path))
    return escaped[:-1] + "\\ " if escaped.endswith(" ") else escaped


def _plain(text: str) -> str:
    """Replace characters that a line of text cannot have (a newline, bytes that are not UTF-8) by a question mark, which
    matches any character. So a little more is locked, and the same in every worktree."""
    return "".join(c if is_one_line(c) and is_unicode(c) else "?" for c in text)


def _anchored(pattern: str) -> str:
    """The pattern with a slash in front, if it would otherwise match in every folder, or be a comment or a negation."""
    return pattern if "/" in pattern.rstrip("/") and pattern[0] not in "#!" else "/" + pattern


def check_pattern(pattern: str) -> str:
    """Check a pattern and return it. Raises UsageError."""
    why = why_not(pattern)
    if why is None and literal(pattern) is None:
        why = None if _regex(pattern) is not None else "not a valid pattern"
    if why is not None:
        raise UsageError(f"{pattern[:80]!a} cannot be locked: {why}", "write it as in .gitignore, such as 'src/*.py'")
    return pattern


def why_not(pattern: str) -> str | None:
    """The reason why a pattern cannot be stored; empty if it can. Found without the matcher, because the fold calls this,
    too."""
    if not pattern or pattern[0] in "!#" or "\0" in pattern:
        return "not a pattern"
    if not is_one_line(pattern):
        return "not on one line"
    if len(pattern) > MAX_LENGTH:
        return f"longer than {MAX_LENGTH} characters"
    if pattern[-1].isspace() and not pattern.endswith("\\ ") and literal(pattern) is None:
        return "it ends in white space"
    segments = pattern.split("/")
    if max(segment.count("*") for segment in segments) > MAX_STARS:
        return f"more than {MAX_STARS} stars in one name"
    return f"more than {MAX_STARS} times **" if segments.count("**") > MAX_STARS else None


# a path against a pattern

_any_case: ContextVar[bool] = ContextVar("any_case", default=False)
"""Whether upper and lower case are the same in paths of this repository."""


def spell_as(repo: Repository) -> None:
    """Compare by `core.ignorecase` of this repository from now on; called before locks are compared."""
    _any_case.set(repo.boolean("core.ignorecase"))


def literal(pattern: str) -> str | None:
    """The one path that an anchored pattern without wildcards means (with a slash at its end if only its content is
    meant)."""
    if "\\" in pattern or not _WILD.isdisjoint(pattern) or "/" not in pattern.rstrip("/") or pattern.endswith(" "):
        return None
    return pattern.removeprefix("/")


def word_of(pattern: str) -> str:
    """A text that is in every command that names a path which the pattern matches: its longest part without wildcards, or
    the last component of a plain path. Empty if there is none."""
    plain = pattern.replace("\\", "").rstrip("/ ")
    if _WILD.isdisjoint(plain):
        return plain.rpartition("/")[2]
    pieces = "".join("\0" if char in _WILD else char for char in plain).split("\0")
    return max((piece.strip("/") for piece in pieces), key=len)


def matches(pattern: str, path: str) -> bool:
    """Whether a pattern matches a path from the root, or a folder above it."""
    if _any_case.get():
        pattern, path = pattern.lower(), path.lower()
    plain = literal(pattern)
    if plain is not None:
        return _covers(plain, path)
    return _machine(pattern).accepts(path) and by_pathspec(pattern, path)  # its import takes 10 ms


def by_pathspec(pattern: str, path: str) -> bool:
    """The answer of pathspec, which decides."""
    regex = _regex(pattern)
    if regex is None:
        return False
    path = path.replace("\n", "\v")  # the dot of a regular expression does not match a newline
    return (regex.fullmatch(path) if _means_files(pattern) else regex.search(path)) is not None


def _covers(plain: str, path: str) -> bool:
    return path == plain or (path.startswith(plain.rstrip("/") + "/") and not _means_files(plain))


def _means_files(pattern: str) -> bool:
    stem, _, ending = pattern.rpartition("/")[2].rpartition(".")
    return ending.isalnum() and stem != ""


@lru_cache(1024)
def _regex(pattern: str) -> re.Pattern[str] | None:
    """The regular expression that pathspec makes of a pattern; None if it matches nothing."""
    import warnings

    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings about nested brackets, which a later Python may read differently
            made = GitIgnoreSpecPattern(pattern.replace("\n", "\v"))
    except (ValueError, re.error):
        return None
    return made.regex if made.include else None


# a pattern against a pattern


class _Chars(NamedTuple):
    """A set of characters: those in the ranges, or all others."""

    negated: bool
    ranges: tuple[tuple[str, str], ...]

    def has(self, c: str) -> bool:
        return any(low <= c <= high for low, high in self.ranges) != self.negated


_ANY = _Chars(True, ())
_IN_NAME = _Chars(True, (("/", "/"),))
_SLASH = _Chars(False, (("/", "/"),))


class _Machine:
    """An automaton that reads a path: for each state, characters and the states to which they lead."""

    def __init__(self) -> None:
        self.edges: list[list[tuple[_Chars, int]]] = [[]]
        self.final: set[int] = set()
        self.at = 0
        """The state to which transitions are being added."""

    def accepts(self, path: str) -> bool:
        """Whether the path leads to an end state."""
        states = {0}
        for c in path:
            states = {to for state in states for chars, to in self.edges[state] if chars.has(c)}
        return not states.isdisjoint(self.final)

    def then(self, chars: _Chars) -> None:
        """Add one character."""
        self.edges[self.at].append((chars, len(self.edges)))
        self.at = len(self.edges)
        self.edges.append([])

    def loop(self, chars: _Chars) -> None:
        """Add any number of such characters."""
        self.edges[self.at].append((chars, self.at))

    def folders(self) -> None:
        """Add any number of whole folders."""
        inside = len(self.edges)
        self.edges.append([(_IN_NAME, inside), (_SLASH, self.at)])
        self.edges[self.at].append((_IN_NAME, inside))


@lru_cache(1024)
def _machine(pattern: str) -> _Machine:
    """The automaton for the paths of a pattern, as gitignore(5) defines and pathspec reads it."""
    segments = (pattern if pattern.endswith("\\ ") else pattern.rstrip()).split("/")
    below_only = segments[-1] in ("", "**") and len(segments) > 1
    if not segments[0]:
        segments = segments[1:]
    elif len(segments) == 1 or (len(segments) == 2 and not segments[1]):
        segments = ["**", *segments]
    while segments and segments[-1] in ("", "**"):
        segments.pop()
    if not segments:
        segments, below_only = ["*"], pattern.endswith("/")
    machine = _wire(segments)
    if not below_only:
        machine.final.add(machine.at)
    if not _means_files(pattern):
        machine.then(_SLASH)
        machine.loop(_ANY)
        machine.final.add(machine.at)
    return machine


def _wire(segments: list[str]) -> _Machine:
    machine = _Machine()
    for number, segment in enumerate(segments):
        if number and segments[number - 1] != "**":
            machine.then(_SLASH)
        if segment != "**":
            _wire_name(machine, segment)
        elif segments[number - 1 : number] != ["**"]:
            machine.folders()
    return machine


def _wire_name(machine: _Machine, segment: str) -> None:
    if segment == "*":
        machine.then(_IN_NAME)  # not the empty name
    at = 0
    while at < len(segment):
        c, at = segment[at], at + 1
        if c == "*":
            machine.loop(_IN_NAME)
        elif c == "?":
            machine.then(_IN_NAME)
        elif c == "[":
            chars, at = _bracket(segment, at)
            machine.then(chars)
        else:
            if c == "\\" and at < len(segment):
                c, at = segment[at], at + 1
            machine.then(_Chars(False, ((c, c),)))


def _bracket(segment: str, start: int) -> tuple[_Chars, int]:
    """The bracket expression that begins before `start`, and its end."""
    negated = segment[start : start + 1] in ("!", "^")
    first = start + negated
    end = segment.find("]", first + 1)
    if end < 0:
        return _ANY, len(segment)
    body = segment[first:end]
    if not all(c.isalnum() or c in "_.- " for c in body):
        return _ANY, end + 1
    return _Chars(negated, tuple(_ranges(body))), end + 1


def _ranges(body: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(body):
        step = 3 if body[at + 1 : at + 2] == "-" and at + 2 < len(body) else 1
        yield body[at], body[at + step - 1]
        at += step


def overlap(a: str, b: str) -> bool:
    """Whether some path matches both patterns."""
    if _any_case.get():
        a, b = a.lower(), b.lower()
    one, two = literal(a), literal(b)
    if one is not None and two is not None:
        return one.rstrip("/") == two.rstrip("/") or _covers(one, two) or _covers(two, one)
    return common_path(a, b) is not None


def common_path(a: str, b: str) -> str | None:
    """A path that both patterns match, or None: both automata are walked at once."""
    one, two = _machine(a), _machine(b)
    start = (0, 0, True)  # a state of each, and whether we are at the beginning of a name
    ways = {start: ""}
    todo = [start]
    for state in todo:
        i, j, fresh = state
        if not fresh and i in one.final and j in two.final:
            return ways[state]
        for chars, p in one.edges[i]:
            for others, q in two.edges[j]:
                for c in _common(chars, others):
                    after = (p, q, c == "/")
                    if after not in ways and not (fresh and c == "/"):
                        ways[after] = ways[state] + c
                        todo.append(after)
    return None


@lru_cache(1024)
def _common(a: _Chars, b: _Chars) -> tuple[str, ...]:
    """Characters that two sets share: at most one that can be in a name, and the slash. If they share any, they share one
    at an edge of a range or next to it."""
    edges = [ord(c) for pair in (*a.ranges, *b.ranges, ("/", "/"), ("a", "a")) for c in pair]
    near = [c for n in edges for c in (chr(n), chr(max(1, n - 1)), chr(min(n + 1, 0x10FFFF))) if a.has(c) and b.has(c)]
    in_name = [c for c in sorted(near, reverse=True) if c != "/"]
    return (*in_name[:1], *("/" for _ in near[:1] if a.has("/") and b.has("/")))
