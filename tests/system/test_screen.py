from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from gitcoord.system.screen import cells, cut, fitted, pad


@pytest.mark.parametrize(
    ("line", "parts"),
    [
        ("short", ["short"]),
        ("  > padded" + " " * 40 + "12345abcde from w, just now", ["  > padded", "  > 12345abcde from w, just", "  > now"]),
        ("1234567890 ready p0 a title that goes on", ["1234567890 ready p0 a title", "    that goes on"]),
        ("  a line that is indented, and goes on", ["  a line that is indented, and", "      goes on"]),
        ("x from w, please ack: git coord ack 1234567890", ["x from w, please ack:", "    git coord ack 1234567890"]),
        ("  > " + "x" * 60, [*["  > " + "x" * 26] * 2, "  > " + "x" * 8]),
        ("  > \tone\ttwo three four five", ["  >     one     two three four", "  > five"]),
        (
            "\x1b[33m1234567890\x1b[0m \x1b[31mnot signed\x1b[0m words",
            ["\x1b[33m1234567890\x1b[0m \x1b[31mnot signed\x1b[0m words"],
        ),
    ],
)
def test_a_line_is_broken_at_words_and_each_part_keeps_its_mark(line: str, parts: list[str]) -> None:
    assert fitted(line, 30).split("\n") == parts


@examples(200)
@given(
    st.text(st.sampled_from("ab >\t漢é|,“git coord"), max_size=200),
    st.sampled_from(["", "  > ", "    | "]),
    st.integers(20, 90),
)
def test_no_part_is_wider_than_the_screen_and_no_word_is_lost(text: str, mark: str, width: int) -> None:
    parts = fitted(mark + text, width).split("\n")
    assert all(cells(part) <= width for part in parts)
    assert "".join("".join(part.removeprefix(mark) for part in parts).split()).endswith("".join(text.split())[-5:])
    assert all(part.startswith(mark if mark else "    ") for part in parts[1:])


def test_wide_characters_count_twice() -> None:
    assert (cells("漢字"), cut("漢字漢字", 5), pad("漢", 4)) == (4, "漢字…", "漢  ")
