"""Read a shell command that an agent is about to run: its simple commands, where each runs, and the files it would change.

This is no shell: what it cannot read counts as changing nothing. It serves warnings, never a permission.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence

from gitcoord.lean import NamedTuple, re

MAX_WORDS = 2000
MAX_DEPTH = 3
"""Depth of `sh -c '…'` inside of another."""
_SEPARATORS = ";|&()\n<>"
_BEFORE = frozenset("sudo env command time nohup xargs exec builtin then do else if ! {".split())
_SHELLS = frozenset(["sh", "bash", "zsh", "dash", "ksh"])
_CHANGES_ALL = frozenset(["rm", "mv", "tee", "truncate", "touch", "patch", "shred", "unlink", "rmdir"])
"""Programs that change each file that they are given."""
_CHANGES_LAST = frozenset(["cp", "install", "ln", "rsync"])
_IN_PLACE = {
    "sed": "-i",
    "perl": "-i",
    "ruby": "-i",
    "gofmt": "-w",
    "prettier": "--write",
    "black": "",
    "isort": "",
}
"""Programs that change the files they are given, with the option for it, if they need one."""
_HEREDOC = re.compile(r"<<-?\s*(['\"]?)([\w.-]+)\1([^\n]*)\n.*?(?:^\s*\2\s*$|\Z)", re.DOTALL | re.MULTILINE)
_ASSIGNS = re.compile(r"[A-Za-z_]\w*=")


class Simple(NamedTuple):
    """One simple command: its words, the directory that it runs in, and the files that it redirects its output to."""

    words: tuple[str, ...]
    cwd: str
    writes: tuple[str, ...] = ()


def commands(text: str, cwd: str, depth: int = 0) -> list[Simple]:
    """The simple commands in `text`, in their order; `cd` changes the directory of those behind it."""
    found: list[Simple] = []
    for words, writes in _split(_HEREDOC.sub(r"\3\n", text)):
        words = _without_prefix(words)
        if words[:1] == ["cd"] and len(words) == 2:
            cwd = os.path.join(cwd, os.path.expanduser(words[1]))
            continue
        inner = _inner(words)
        if inner is not None and depth < MAX_DEPTH:
            found += commands(inner, cwd, depth + 1)
        if words or writes:
            found.append(Simple(tuple(words), cwd, tuple(writes)))
    return found


def _split(text: str) -> Iterator[tuple[list[str], list[str]]]:
    """The words of each simple command, and the files that its output goes to."""
    words: list[str] = []
    writes: list[str] = []
    target = ""
    for word in _words(text):
        if not word or word.strip(_SEPARATORS):
            if target:
                writes += [word] if target == "write" else []
                target = ""
            else:
                words.append(word)
        elif ">" in word or "<" in word:
            if words and words[-1].isdigit():
                words.pop()
            target = "" if word.endswith("(") else "write" if ">" in word and not word.endswith("&") else "read"
        else:
            yield words, writes
            words, writes, target = [], [], ""
    yield words, writes


def _words(text: str) -> list[str]:
    """The words of a command, and its operators as words of their own; plain pieces if its quotes do not match."""
    import shlex

    lexer = shlex.shlex(text, posix=True, punctuation_chars=_SEPARATORS)
    lexer.whitespace, lexer.commenters, lexer.whitespace_split = " \t\r", "", True
    try:
        return [word for word, _ in zip(lexer, range(MAX_WORDS), strict=False)]
    except ValueError:
        return text.split()[:MAX_WORDS]


def _without_prefix(words: list[str]) -> list[str]:
    while words and (words[0] in _BEFORE or _ASSIGNS.match(words[0])):
        words = words[1:]
    return words


def _inner(words: Sequence[str]) -> str | None:
    """The command in `bash -lc COMMAND`."""
    if not words or os.path.basename(words[0]) not in _SHELLS:
        return None
    at = next((n for n, word in enumerate(words[1:], 1) if re.fullmatch(r"-[a-z]*c", word)), None)
    return words[at + 1] if at is not None and at + 1 < len(words) else None


def changed_by(command: Simple) -> list[str]:
    """The files and folders, as absolute paths, that a simple command would change, as far as its words say that."""
    name = os.path.basename(command.words[0]) if command.words else ""
    operands = [word for word in command.words[1:] if not word.startswith("-")]
    option = _IN_PLACE.get(name)
    if name in _CHANGES_ALL or (option is not None and any(word.startswith(option) for word in command.words[1:])):
        changed = operands
    elif name in _CHANGES_LAST:
        changed = operands[-1:]
    else:
        changed = []
    return _absolute(command.cwd, [*command.writes, *changed])


def named_by(command: Simple) -> list[str]:
    """Every word, as an absolute path, that could be a file."""
    return _absolute(
        command.cwd, [word.rpartition("=")[2] for word in (*command.words[1:], *command.writes) if word[:1] != "-"]
    )


def _absolute(cwd: str, words: Sequence[str]) -> list[str]:
    found: list[str] = []
    for word in words:
        path = os.path.join(cwd, os.path.expanduser(word))
        found += sorted(glob.glob(path))[:100] if glob.has_magic(word) else [path]
    return list(dict.fromkeys(os.path.normpath(path) for path in found))
