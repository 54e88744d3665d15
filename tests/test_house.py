"""The rules of the house: tables have one owner, late imports have a reason, English is plain."""

from __future__ import annotations

import ast
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import grimp
import pytest

from gitcoord.features import REGISTRY
from gitcoord.log.index.feature import Entry

PACKAGE = Path(import_module("gitcoord").__file__ or "").parent
ROOT = Path(__file__).resolve().parents[1]
_AFTER = r"\b(?:FROM|JOIN|INTO|UPDATE|TABLE)\s+"


def _owner(entry: Entry) -> str:
    """The module or folder that a feature is, relative to the package."""
    return entry.module.removeprefix("gitcoord.").removesuffix(".fold").replace(".", "/")


class Text(NamedTuple):
    """A string literal of the package. What stands alone, as a docstring does, is prose."""

    path: str
    line: int
    text: str
    prose: bool


@cache
def _strings() -> list[Text]:
    """All string literals, read once for all rules."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        prose = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        texts = (node for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
        found += [Text(str(path.relative_to(PACKAGE)), n.lineno, str(n.value), id(n) in prose) for n in texts]
    return found


@pytest.mark.parametrize("entry", REGISTRY.entries, ids=_owner)
def test_a_table_is_named_in_sql_only_by_its_own_feature(entry: Entry) -> None:
    tables = re.findall(r"CREATE TABLE (\w+)", import_module(entry.module).FEATURE.tables)
    named = re.compile(_AFTER + "(" + "|".join(tables) + r")\b") if tables else re.compile(r"(?!)")
    others = [
        f"{path}:{line} names {found[1]}"
        for path, line, text, _ in _strings()
        if not path.startswith(_owner(entry)) and (found := named.search(text))
    ]
    assert others == []


# docs/architecture.md


def test_the_picture_of_the_rooms_is_made_from_the_contracts() -> None:
    spec = importlib.util.spec_from_file_location("house", ROOT / "docs" / "house.py")
    assert spec and spec.loader
    house = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(house)
    assert house.PAGE.read_text() == house.page(house.PAGE.read_text()), "run: python docs/house.py"


def test_who_follows_the_page_adds_a_feature_that_passes_the_contracts(tmp_path: Path) -> None:
    for name in ("gitcoord", "tests", "hooks", "plugin"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".importlinter", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    page = (ROOT / "docs" / "architecture.md").read_text()
    for what, name, code in re.findall(r"<!-- (file|in): (\S+) -->\n```\w*\n(.*?)```", page, re.DOTALL):
        path = tmp_path / name
        if what == "file":
            path.write_text(code)
        else:
            first = code.splitlines()[0]  # the line that is there already
            assert path.read_text().count(first + "\n") == 1, first
            path.write_text(path.read_text().replace(first + "\n", code))
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    test = [
        sys.executable,
        "-m",
        "pytest",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        "--basetemp",
        str(tmp_path / "tests-tmp"),
        "tests/features/test_poll.py",
    ]
    for argv in ([str(Path(sys.executable).parent / "lint-imports"), "--no-cache"], test):
        done = subprocess.run(argv, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


# English


_ODD = re.compile(
    r"\b(?:is|are) no (?!more\b|longer\b|remote\b|command\b|worktree\b|coordination\b|task in\b|number left\b)\w+"
)


def test_messages_say_is_not_a_and_never_is_no() -> None:
    odd = [f"{path}:{line} {text[:60]!r}" for path, line, text, prose in _strings() if not prose and _ODD.search(text)]
    assert odd == []


_FSTRING = getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)  # Python 3.12 and newer
_NOBODY_NAMED = re.compile(r"\b[Ww]hoever\b|(?:^|[.:;!?/] )Whatever\b|\b(?:[Hh]e|[Hh]im|[Hh]is|[Hh]imself|[Ss]he|[Hh]ers?)\b")


_WORTH_A_LOOK = re.compile(r"\b(?:whoever|whatever|he|him|his|himself|she|hers?)\b", re.IGNORECASE)


def _prose_lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a page or a script; of a module those of its strings and comments. None of a file without such words."""
    text = path.read_text()
    if not _WORTH_A_LOOK.search(text):
        return
    if path.suffix != ".py":
        yield from enumerate(text.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.STRING, tokenize.COMMENT, _FSTRING):
            for number, line in enumerate(token.string.splitlines()):
                yield token.start[0] + number, line.strip(" \"'#")


def test_sentences_name_their_actor_and_say_they() -> None:
    folders = [path for name in ("gitcoord", "docs", "hooks", "plugin") for path in (ROOT / name).rglob("*")]
    read = (".md", ".py", ".js", "")
    odd = [
        f"{path.relative_to(ROOT)}:{number} {line[:80]}"
        for path in sorted([ROOT / "README.md", *folders])
        if path.is_file() and path.suffix in read
        for number, line in _prose_lines(path)
        if _NOBODY_NAMED.search(line)
    ]
    assert odd == []


@pytest.mark.parametrize("line", ["Whoever is first has it.", "A task. Whatever it is, do it.", "It tells him and his clone."])
def test_the_rule_finds_such_a_sentence(line: str) -> None:
    assert _NOBODY_NAMED.search(line)
    assert not _NOBODY_NAMED.search("They take it, whatever it is; the rest of this is theirs.")


_CLAUSE = re.compile(r'"""(?:What|Who|Whom|Whose|Whoever|Whatever|How|Where|Which|Why|When|That)\b')


def test_a_docstring_begins_with_a_noun_or_an_imperative() -> None:
    """`What is left` has to be read twice, `The rest` or `Return the rest` once."""
    read = [path for name in ("gitcoord", "bench", "docs", "tests") for path in sorted((ROOT / name).rglob("*.py"))]
    odd = [
        f"{path.relative_to(ROOT)}:{number} {line.strip()[:80]}"
        for path in read
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if _CLAUSE.match(line.lstrip())
    ]
    assert odd == [], "begin with a noun or an imperative"


@pytest.mark.parametrize("line", ['"""What is left."""', '"""Who may write."""', '"""How many there are."""'])
def test_the_rule_finds_such_a_docstring(line: str) -> None:
    assert _CLAUSE.match(line)
    assert not _CLAUSE.match('"""The number of them, and what is left."""')


def test_no_page_has_a_heading_twice() -> None:
    """A merge of two rewritten pages keeps both."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    heads = {page: re.findall(r"^##+ .*", page.read_text(), re.MULTILINE) for page in pages}
    assert {str(page): head for page, found in heads.items() for head in found if found.count(head) > 1} == {}


def test_modules_of_tests_have_names_of_their_own() -> None:
    """pytest refuses a whole run in which two folders have a module of one name."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


def test_no_import_goes_in_a_circle() -> None:
    """The contract on siblings does not see a package and a module inside of it that import each other."""
    graph = grimp.build_graph("gitcoord", cache_dir=None)
    order = TopologicalSorter({module: graph.find_modules_directly_imported_by(module) for module in graph.modules})
    try:
        order.prepare()
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None


MAY_COMPARE_CLONES = ("log/trust/", "names.py", "store/ref_names.py", "log/opened.py")
"""The first decides whose word counts; the others say what is local (`same_clone`, `lives_in`, `is_of`, `belongs_to`,
`Clone.is_ours`, `Clone.has`)."""
_GIVE_CLONES = ("clone_in", "owner", "_owner", "speaker", "settled_id", "former_ids", "read_clone_id")
_NAMES_OF_CLONES = ("origin", "clone", "whose", "at_clone", "clone_id")


def _is_clone_id(node: ast.expr) -> bool:
    """Whether an expression is the id of a clone, as far as its spelling tells."""
    if isinstance(node, ast.Attribute):
        of = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
        return node.attr in ("clone", "clone_id") or (node.attr == "id" and of in ("clone", "_clone"))
    if isinstance(node, ast.Call):
        return getattr(node.func, "attr", getattr(node.func, "id", "")) in _GIVE_CLONES
    if isinstance(node, ast.Subscript):
        return isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "split_mailbox"
    if isinstance(node, ast.NamedExpr | ast.Starred):
        return _is_clone_id(node.value)
    if isinstance(node, ast.Set | ast.Tuple | ast.List):
        return any(map(_is_clone_id, node.elts))
    return isinstance(node, ast.Name) and node.id in _NAMES_OF_CLONES


def _clone_comparisons(source: str) -> Iterator[str]:
    """Comparisons of clone ids, in Python and in SQL; SQL that looks one up is none."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq | ast.In | ast.NotIn):
            of = [side for side in (node.left, *node.comparators) if _is_clone_id(side)]
            if any(isinstance(node.ops[0], ast.Eq | ast.NotEq) or not isinstance(side, ast.Name) for side in of):
                yield f"{node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "endswith" and "f'@{" in ast.unparse(node):
            yield f"{node.lineno}: {ast.unparse(node)}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"\bclone (!=|<>)", node.value):
            yield f"{node.lineno}: {node.value.strip()[:100]}"


def test_nothing_outside_of_the_room_of_trust_compares_clones() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if not str(path.relative_to(PACKAGE)).startswith(MAY_COMPARE_CLONES)
        for line in _clone_comparisons(path.read_text())
    ]
    assert found == [], "ask log/trust whose word counts, and names.same_clone or Clone.is_ours what is local"


@pytest.mark.parametrize(
    "line",
    [
        "event.clone == here",
        "lock.clone != clone.id",
        "at not in (self._clone.id, '')",
        "owner(ref) in names",
        "(whose := owner(ref)) != mine",
        "split_mailbox(box)[1] == at",
        "box.endswith(f'@{here}')",
        "origin != here",
        "db.execute('SELECT 1 FROM presence WHERE clone != ?')",
    ],
)
def test_the_rule_finds_such_a_comparison(line: str) -> None:
    assert len(list(_clone_comparisons(line))) == 1
