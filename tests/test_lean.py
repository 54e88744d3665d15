"""The light stand-ins do what the real ones do, in all that this program asks of them."""

from __future__ import annotations

import contextlib
import copy
import functools
import pickle
import typing
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gitcoord import lean


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
    except (TypeError, ValueError, AttributeError):  # 3.13 says TypeError where 3.11 says ValueError
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
    """What a block in it met, and what came out."""
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


def test_what_is_remembered_is_as_functools_has_it() -> None:
    def calls(decorate: Any) -> list[int]:
        asked: list[int] = []

        @decorate
        def find(number: int) -> int:
            asked.append(number)
            return number

        assert [find(number) for number in (1, 2, 1, 3, 1, 2)] == [1, 2, 1, 3, 1, 2]
        return asked

    assert calls(lean.cache) == calls(functools.cache)
    assert calls(lean.lru_cache(2)) == calls(functools.lru_cache(2))


def test_a_cached_property_is_found_once() -> None:
    class Thing:
        found = 0

        @lean.cached_property
        def fact(self) -> int:
            """A fact."""
            self.found += 1
            return self.found

    thing, other = Thing(), Thing()
    assert (thing.fact, thing.fact, other.fact, Thing.__dict__["fact"].__doc__) == (1, 1, 1, "A fact.")
    del thing.fact
    assert thing.fact == 2
