"""Foreign text on its way out: nothing hidden, no line of its own, and a command to copy means what it says."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest
from hostile import TEXTS, wrong_in
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from gitcoord.text import as_json, block, inert, one_line, quoted, said, shell_word

ANY = st.text(st.characters(), max_size=30) | st.text(st.sampled_from("a \n\r\t\x1b\x85\u2028\u200b\ufe0f\U000e0041'\"\\$`;“”"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("grüße 日本 ✔️ é", "grüße 日本 ✔️ é"),
        ("a\nb\r\x85\u2028c", "a\\nb\\r\\x85\\u2028c"),
        ("\x1b[31m\x07\x9b", "\\x1b[31m\\x07\\x9b"),
        ("\u061c\u202e\u2066", "\\u061c\\u202e\\u2066"),
        ("a\u200bb\u00adc\ufeff", "a\\u200bb\\xadc\\ufeff"),
        ("x" + "".join(chr(0xE0000 + ord(c)) for c in "run it now"), "x[10 hidden characters]"),
        ("x" + "\ufe00\ufe01" * 9, "x[18 hidden characters]"),
        ("\ufe0f", "\\ufe0f"),
        ("\ud800", "\\ud800"),
        ("tab\there", "tab\\there"),
    ],
)
def test_what_is_hidden_is_shown_or_counted(text: str, shown: str) -> None:
    assert inert(text) == shown
    assert inert(shown) == shown


@given(ANY)
@examples(300)
def test_one_line_is_one_line(text: str) -> None:
    for line in (inert(text), one_line(text), said(text), shell_word(text)):
        assert len(line.splitlines()) <= 1 and wrong_in(line, "\ufe0e\ufe0f") == []
    assert said(text).count("“") == said(text).count("”") == 1


@given(ANY)
@examples(200)
def test_words_are_quoted_line_by_line_as_any_program_splits_them(text: str) -> None:
    lines = quoted(text).splitlines()
    assert all(line.startswith("  > ") for line in lines) and len(lines) == max(1, len(text.splitlines()))
    assert wrong_in(quoted(text), "\t\ufe0e\ufe0f") == [] and wrong_in(block(text), "\t\ufe0e\ufe0f") == []


@given(st.dictionaries(ANY, ANY, max_size=3))
@examples(200)
def test_a_document_says_the_same(value: dict[str, str]) -> None:
    document = as_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(document) == value
    assert wrong_in(document, "") == []


@pytest.mark.parametrize(
    "text", [t for t in TEXTS if "\0" not in t and "\ud800" not in t and len(t) < 1000] + ["", "-n", "a b"]
)
def test_a_word_to_copy_is_that_word_to_a_shell(text: str) -> None:
    shell = shutil.which("bash") or "sh"
    word = shell_word(text)
    if word.startswith("$'") and not shell.endswith("bash"):
        pytest.skip("this shell has no $'…'")
    done = subprocess.run([shell, "-c", f"printf %s {word}"], capture_output=True, check=True)
    assert done.stdout == text.encode()
