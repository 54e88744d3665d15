"""Lines on a terminal: how wide a text is, and where a line that does not fit is broken.

A terminal breaks a long line anywhere and goes on in its first column, where another's words could pass for a line of ours.
So a line is broken here, at words, and each of its parts is indented, or has the mark of the quotation.
"""

from __future__ import annotations

import re

LEAST = 20
"""The least width in characters; narrower terminals break lines themselves."""
TAB = 8
_MARK = re.compile(r"\s*(?:[>|] ?)?")
_WORDS = re.compile(r"git coord [^,;()“]*[^,;()“\s]|\s+|\S+")
"""A command to copy stays in one piece."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def cells(text: str) -> int:
    """The width of `text` on a terminal, without its colours."""
    if "\x1b" in text:
        text = _COLOUR.sub("", text)
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def cut(text: str, width: int) -> str:
    """`text` in at most `width` cells."""
    if cells(text) <= width:
        return text
    while cells(text) >= width:
        text = text[:-1]
    return text + "…"


def pad(text: str, width: int) -> str:
    """`text` with spaces behind it, `width` cells wide."""
    return text + " " * (width - cells(text))


def fitted(line: str, width: int) -> str:
    """A line broken at words, so that no part is wider than `width`; each part has the mark or the indentation of the
    first, and of a line of ours four more spaces."""
    if width < LEAST or (len(line) <= width and line.isascii() and "\t" not in line):
        return line
    line = line.expandtabs(TAB)
    if cells(line) <= width:
        return line
    mark = _MARK.match(line)[0][: width // 2]  # type: ignore[index]
    again = mark if mark.strip() else mark + "    "
    parts, current, space = list[str](), mark, ""
    for word in _words(line[len(mark) :], width - cells(again)):
        if word.isspace():
            space = word
            continue
        if cells(current + space + word) <= width:
            current += space + word
        else:
            parts.append(current)
            current = again + word
        space = ""
    return "\n".join([*parts, current])


def _words(text: str, width: int) -> list[str]:
    """Words and the spaces between them; what is wider than `width` comes in pieces."""
    found = list[str]()
    for word in _WORDS.findall(text):
        if cells(word) > width and " " in word and not word.isspace():
            found += re.findall(r"\s+|\S+", word)
        else:
            found.append(word)
    return [piece for word in found for piece in ([word] if word.isspace() else _pieces(word, width))]


def _pieces(word: str, width: int) -> list[str]:
    pieces = list[str]()
    while cells(word) > width:
        end = width
        while cells(word[:end]) > width:
            end -= 1
        pieces.append(word[: max(end, 1)])
        word = word[max(end, 1) :]
    return [*pieces, word]
