"""The API: one pattern for every facade, a page made from the docstrings, and an example for each verb that runs."""

from __future__ import annotations

import importlib.util
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from conftest import git

from gitcoord import Coord
from gitcoord.api.facade import Facade

ROOT = Path(__file__).resolve().parents[2]


def _page() -> ModuleType:
    spec = importlib.util.spec_from_file_location("api_page", ROOT / "docs" / "api_page.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGE = _page()
FACADES: dict[str, type[Facade]] = dict(PAGE.facades())


@pytest.fixture
def coord(worktrees: tuple[Path, Path], tmp_path: Path) -> Iterator[Coord]:
    """The session alpha, with mail from beta, a folder and a remote to speak of."""
    remote = tmp_path / "remote.git"
    git(worktrees[0], "init", "-q", "--bare", str(remote))
    git(worktrees[0], "remote", "add", "origin", str(remote))
    (worktrees[0] / "src").mkdir()
    with Coord.open(worktrees[1]) as beta:
        beta.send("alpha", "are you there?", needs_ack=True)
    with Coord.open(worktrees[0]) as opened:
        yield opened


@pytest.mark.parametrize("noun", FACADES)
def test_the_example_of_a_noun_runs(noun: str, coord: Coord) -> None:
    exec(PAGE.example(FACADES[noun]), {"coord": coord})


@pytest.mark.parametrize("noun", FACADES)
def test_every_verb_is_in_the_example_of_its_noun(noun: str) -> None:
    shown = set(re.findall(rf"coord\.{noun}\.(\w+)\(", PAGE.example(FACADES[noun])))
    assert shown == {name for name, _ in PAGE.verbs(FACADES[noun])}


@pytest.mark.parametrize("noun", FACADES)
def test_flags_are_keyword_only(noun: str) -> None:
    flags = [
        f"{name}({parameter.name})"
        for name, verb in PAGE.verbs(FACADES[noun])
        for parameter in inspect.signature(verb).parameters.values()
        if isinstance(parameter.default, bool) and parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    ]
    assert flags == []


def test_the_page_is_made_from_the_docstrings() -> None:
    assert PAGE.PAGE.read_text() == PAGE.api_page(), "run: python docs/api_page.py"
    assert all(inspect.getdoc(verb) for facade in FACADES.values() for _, verb in PAGE.verbs(facade))


def _named(annotation: str) -> set[str]:
    """The names of classes in an annotation."""
    return set(re.findall(r"\b[A-Z]\w*", annotation))


def _builtin() -> set[str]:
    plain = {"None", "Sequence", "Mapping", "Iterable", "Iterator", "Callable", "Collection", "Any", "Self", "Literal"}
    return plain | {"Oid", "RemoteError", "PathLike", "Exception"}


def test_what_verbs_return_is_public_to_the_last_field() -> None:
    public = {result.__name__ for result in PAGE.results()}
    named = {
        (f"{facade.__name__}.{name}", word)
        for facade in [Coord, *FACADES.values()]
        for name, verb in PAGE.verbs(facade)
        for annotation in inspect.get_annotations(verb).values()
        for word in _named(annotation)
    }
    for result in PAGE.results():
        named |= {(f"{result.__name__}.{name}", word) for name, kind in PAGE.fields(result).items() for word in _named(kind)}
    assert {(where, word) for where, word in named if word not in public | _builtin()} == set()


def test_coord_itself_stays_small() -> None:
    lines = len(inspect.getsource(Coord).splitlines())
    assert lines <= 150, f"Coord has {lines} lines: what is new belongs to a facade"


@pytest.mark.parametrize("face", ["cli", "mcp"])
def test_the_faces_reach_for_nothing_below_the_api(face: str) -> None:
    sources = sorted((ROOT / "gitcoord" / face).glob("*.py"))
    reached = [f"{path.name}:{number}" for path in sources for number, line in enumerate(path.read_text().splitlines(), 1)
               if re.search(r"\bcoord\.clone\b", line)]  # fmt: skip
    assert reached == []
