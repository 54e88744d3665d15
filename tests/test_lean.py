"""The light stand-ins behave as the real modules, in all uses of this program."""

from __future__ import annotations

import contextlib
import copy
import json
import pickle
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from gitcoord import lean, lean_json

ROOT = Path(__file__).parents[1]


class Ours(lean.NamedTuple):
    """As `Real`."""

    first: int
    second: str = "b"

    @property
    def both(self) -> str:
        return f"{self.first}{self.second}"


class Real(typing.NamedTuple):
    first: int
    second: str = "b"

    @property
    def both(self) -> str:
        return f"{self.first}{self.second}"


class Below(Ours):
    """A class below has the fields of the one above."""


def outcome(ask: Callable[[], Any]) -> object:
    try:
        return ask()
    except (TypeError, ValueError, AttributeError, RecursionError):  # 3.13 says TypeError where 3.11 says ValueError
        return "refused"


USES: list[Callable[[Any], Any]] = [
    lambda kind: tuple(kind(1)),
    lambda kind: tuple(kind(second="x", first=2)),
    lambda kind: kind(),
    lambda kind: kind(1, "b", 3),
    lambda kind: kind(third=1),
    lambda kind: tuple(kind(1)._replace(second="c")),
    lambda kind: kind(1)._replace(third=1),
    lambda kind: kind(1)._asdict(),
    lambda kind: tuple(kind._make([1, "z"])),
    lambda kind: kind._make([1, 2, 3]),
    lambda kind: (kind._fields, kind._field_defaults, kind.__match_args__),
    lambda kind: repr(kind(1)).partition("(")[2],
    lambda kind: kind(1).both,
    lambda kind: kind(1) == (1, "b"),
    lambda kind: hash(kind(1)) == hash((1, "b")),
    lambda kind: sorted([kind(2), kind(1)])[0].first,
    lambda kind: tuple(pickle.loads(pickle.dumps(kind(5)))),
    lambda kind: type(copy.copy(kind(5))) is kind,
    lambda kind: setattr(kind(1), "first", 2),
    lambda kind: setattr(kind(1), "more", 2),
]


@pytest.mark.parametrize("number", range(len(USES)))
def test_a_named_tuple_is_as_typing_has_it(number: int) -> None:
    assert outcome(lambda: USES[number](Ours)) == outcome(lambda: USES[number](Real))
    if number < 14:
        assert outcome(lambda: USES[number](Below)) == outcome(lambda: USES[number](Real))


class Awkward(lean.NamedTuple):
    """Names that a constructor might use itself."""

    cls: int
    new: int
    tuple: int = 3


def test_a_field_may_have_any_name() -> None:
    assert tuple(Awkward(1, 2)) == tuple(Awkward(new=2, cls=1)) == (1, 2, 3)


def test_a_class_below_keeps_its_kind() -> None:
    assert type(Below(1)) is Below and type(Below(1)._replace(first=2)) is Below and isinstance(Below(1), Ours)


def steps(seen: list[str], fault: Callable[[], object] = lambda: None) -> Iterator[int]:
    seen.append("in")
    try:
        yield 7
    except LookupError:
        seen.append("caught")
        fault()
    finally:
        seen.append("out")


def within(make: Any, raised: BaseException | None, fault: Callable[[], object]) -> tuple[list[str], object]:
    """The errors inside and outside a block."""
    seen: list[str] = []
    try:
        with make(steps)(seen, fault) as found:
            seen.append(str(found))
            if raised:
                raise raised
    except BaseException as error:
        return seen, error
    return seen, None


def boom() -> None:
    raise ValueError("boom")


@pytest.mark.parametrize("raised", [None, KeyError("k"), OSError("o"), KeyboardInterrupt(), StopIteration("s")])
@pytest.mark.parametrize("fault", [lambda: None, boom])
def test_a_context_manager_is_as_contextlib_has_it(raised: BaseException | None, fault: Callable[[], object]) -> None:
    ours, real = within(lean.contextmanager, raised, fault), within(contextlib.contextmanager, raised, fault)
    assert ours[0] == real[0] and repr(ours[1]) == repr(real[1])


def test_what_is_suppressed_is_as_contextlib_has_it() -> None:
    for kinds in ((), (OSError,), (KeyError, OSError)):
        for error in (FileNotFoundError(), ValueError(), KeyboardInterrupt()):
            out = []
            for suppress in (lean.suppress, contextlib.suppress):
                try:
                    with suppress(*kinds):
                        raise error
                    out.append("silent")
                except BaseException:
                    out.append("raised")
            assert out[0] == out[1]


def test_a_module_is_imported_when_it_is_used() -> None:
    code = "import sys; from gitcoord.lean import re; a = 're' in sys.modules; re.escape('b'); print(a, 're' in sys.modules)"
    done = subprocess.run([sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "False True\n", done.stderr


DOCUMENTS = [
    "{}", " [1, 2.5, -0, 1e400, NaN, -Infinity] ", '"\\ud800"', '"é\u2028"', '{"a": 1, "a": 2}', "[1", "1 2", "", "nul",
    "\ufeff1", '{"a" 1}', "[1,]", "\t\n{\"x\": null}\r", '"\x01"', "12345678901234567890", "[" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_are_read_as_json_reads_them(document: str) -> None:
    assert repr(outcome(lambda: lean_json.loads(document))) == repr(outcome(lambda: json.loads(document)))
    assert repr(outcome(lambda: lean_json.loads(document.encode()))) == repr(outcome(lambda: json.loads(document.encode())))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
)


@examples(60)
@given(VALUES, st.booleans(), st.booleans(), st.booleans())
def test_values_are_written_as_json_writes_them(value: object, ascii_: bool, ordered: bool, nan: bool) -> None:
    for separators in ((", ", ": "), (",", ":")):
        settings: dict[str, Any] = {"ensure_ascii": ascii_, "sort_keys": ordered, "allow_nan": nan, "separators": separators}
        assert outcome(lambda: lean_json.dumps(value, **settings)) == outcome(lambda: json.dumps(value, **settings))  # noqa: B023


@pytest.mark.parametrize("value", [object(), {1, 2}, {(1,): 2}, {1: 2}, {None: 1.5}, b"x"])
def test_what_json_cannot_say_is_refused(value: object) -> None:
    assert outcome(lambda: lean_json.dumps(value)) == outcome(lambda: json.dumps(value))


TORN = ["{", '{"a"', '"', '{"a":"\\u12', '"\\', "[1,", "nul", "", "\0"]


def test_a_torn_document_is_a_value_error_also_where_json_was_never_loaded() -> None:
    code = f"""
import sys
from gitcoord import lean_json
assert "json.decoder" not in sys.modules
for text in {TORN!r}:
    try:
        lean_json.loads(text)
    except ValueError:
        continue
    raise AssertionError(text)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
