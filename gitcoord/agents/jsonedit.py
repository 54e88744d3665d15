"""Add to and remove from JSON settings without changing any other byte.

Parsing and writing the document again would lose its layout and its comments. So this module finds values in the text
and cuts the text there. It accepts comments and trailing commas, as several programs do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from gitcoord.lean import Any, NamedTuple

_SPACE = " \t\r\n\ufeff"
_WAS_OPEN = " "
"""A mark before our line end in a container whose `{` and `}` were on lines of their own."""


class BadJson(ValueError):
    """The text is not a JSON document."""


class ValueSpan(NamedTuple):
    """The place of a value in the text; members of an object with their keys, elements of an array without."""

    start: int
    end: int
    kind: str
    """`{`, `[`, or `"` for anything else."""
    members: tuple[tuple[str, int, ValueSpan], ...] = ()
    """Key (empty in an array), where the member begins, and its value."""

    def get(self, key: str) -> ValueSpan | None:
        """The member of that name; of several the last, as parsers do."""
        return next((value for name, _, value in reversed(self.members) if name == key), None)


def parse(text: str) -> ValueSpan:
    """The places of all values. Raises BadJson."""
    value, end = _value(text, _skip(text, 0))
    if _skip(text, end) != len(text):
        raise BadJson(f"there is text after the document at {_place(text, end)}")
    return value


def load(text: str) -> Any:
    """The document's value, without comments and trailing commas. Raises BadJson."""
    return _python(text, parse(text))


def _python(text: str, value: ValueSpan) -> Any:
    if value.kind == "{":
        return {key: _python(text, inner) for key, _, inner in value.members}
    if value.kind == "[":
        return [_python(text, inner) for _, _, inner in value.members]
    return json.loads(text[value.start : value.end])


def _value(text: str, at: int) -> tuple[ValueSpan, int]:
    kind = text[at : at + 1]
    if kind in ("{", "["):
        members = tuple(_members(text, at, kind))
        end = _closing(text, members[-1][2].end if members else at + 1, "}" if kind == "{" else "]")
        return ValueSpan(at, end, kind, members), end
    try:
        _, end = json.JSONDecoder().raw_decode(text, at)
    except ValueError:
        raise BadJson(f"no value at {_place(text, at)}") from None
    return ValueSpan(at, end, '"'), end


def _members(text: str, start: int, kind: str) -> Iterator[tuple[str, int, ValueSpan]]:
    at = _skip(text, start + 1)
    while text[at : at + 1] not in ("}", "]"):
        key, begin = "", at
        if kind == "{":
            key, at = _key(text, at)
        value, at = _value(text, at)
        yield key, begin, value
        at = _skip(text, at)
        if text[at : at + 1] not in (",", "}", "]"):
            raise BadJson(f"a comma is missing at {_place(text, at)}")
        at = _skip(text, at + 1) if text[at] == "," else at


def _key(text: str, at: int) -> tuple[str, int]:
    try:
        key, at = json.JSONDecoder().raw_decode(text, at)
    except ValueError:
        key = None
    at = _skip(text, at)
    if not isinstance(key, str) or text[at : at + 1] != ":":
        raise BadJson(f"no key at {_place(text, at)}")
    return key, _skip(text, at + 1)


def _closing(text: str, at: int, bracket: str) -> int:
    at = _skip(text, at)
    at = _skip(text, at + 1) if text[at : at + 1] == "," else at
    if text[at : at + 1] != bracket:
        raise BadJson(f"{bracket} is missing at {_place(text, at)}")
    return at + 1


def _skip(text: str, at: int) -> int:
    """The next place that is neither a space nor in a comment."""
    while True:
        while at < len(text) and text[at] in _SPACE:
            at += 1
        if text.startswith("//", at):
            at = text.find("\n", at) if "\n" in text[at:] else len(text)
        elif text.startswith("/*", at):
            end = text.find("*/", at + 2)
            if end < 0:
                raise BadJson(f"a comment has no end at {_place(text, at)}")
            at = end + 2
        else:
            return at


def _place(text: str, at: int) -> str:
    return f"line {text.count(chr(10), 0, at) + 1}"


def insert(text: str, into: ValueSpan, key: str, new: Any) -> str:
    """The text with a further member at the end of an object (with an empty `key`, an element of an array)."""
    close = into.end - 1
    inside = text[into.start + 1 : close]
    outer = _indent_of(text, into.start)
    if into.members:
        step = _indent_of(text, into.members[0][1]) if "\n" in text[into.start : into.members[0][1]] else None
    else:
        step = outer + _unit(text) if "\n" in text or not text[: into.start].strip() else None
    body = _dumped(new, step, _unit(text))
    item = f"{json.dumps(key)}: {body}" if key else body
    if not into.members:
        return text[: into.start + 1] + _alone(item, inside, step, outer) + text[close:]
    last = into.members[-1][2].end
    joint = "," if step is None else f",\n{step}"
    joint = joint + " " if step is None else joint
    return text[:last] + joint + item + text[last:]


def _alone(item: str, inside: str, step: str | None, outer: str) -> str:
    """The only member of a formerly empty container, written so that `remove` can tell whether it had a line end in it."""
    if step is None:
        return item + inside
    if not inside:
        return f"\n{step}{item}\n{outer}"
    comment = inside.rstrip(_SPACE)
    before = _WAS_OPEN if inside == _line_end(outer) else comment
    return f"{before}\n{step}{item}{inside[len(comment) :]}"


def _line_end(outer: str) -> str:
    return "\n" + outer


def _dumped(new: Any, step: str | None, unit: str) -> str:
    if step is None:
        return json.dumps(new, ensure_ascii=False)
    return json.dumps(new, indent=unit, ensure_ascii=False).replace("\n", "\n" + step)


def _indent_of(text: str, at: int) -> str:
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _unit(text: str) -> str:
    """The document's indentation; two spaces if it has none."""
    for line in text.split("\n")[1:]:
        indent = line[: len(line) - len(line.lstrip(" \t"))]
        if indent and line.strip():
            return indent
    return "  "


def remove(text: str, of: ValueSpan, number: int) -> str:
    """The text without one member of `of`; removing what `insert` added leaves no trace."""
    begin, end = of.members[number][1], of.members[number][2].end
    if len(of.members) == 1:
        before, after = text[of.start + 1 : begin], text[end : of.end - 1]
        closed = (
            not before.startswith(_WAS_OPEN + "\n") and not before.strip() and after == _line_end(_indent_of(text, of.start))
        )
        return text[: of.start + 1] + before.rstrip(_SPACE) + ("" if closed else after) + text[of.end - 1 :]
    if number:
        return text[: of.members[number - 1][2].end] + text[end:]
    return text[:begin] + text[of.members[1][1] :]
