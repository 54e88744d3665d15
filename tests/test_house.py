"""The house keeps its rules: tables have one owner, and what is loaded late is loaded late for a reason."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from gitcoord.features import REGISTRY
from gitcoord.log.index.feature import Entry

PACKAGE = Path(import_module("gitcoord").__file__ or "").parent
_AFTER = r"\b(?:FROM|JOIN|INTO|UPDATE|TABLE)\s+"


def _owner(entry: Entry) -> str:
    """The module or folder that a feature is, relative to the package."""
    return entry.module.removeprefix("gitcoord.").removesuffix(".fold").replace(".", "/")


def _strings(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


@pytest.mark.parametrize("entry", REGISTRY.entries, ids=_owner)
def test_a_table_is_named_in_sql_only_by_its_own_feature(entry: Entry) -> None:
    tables = re.findall(r"CREATE TABLE (\w+)", import_module(entry.module).FEATURE.tables)
    named = re.compile(_AFTER + "(" + "|".join(tables) + r")\b") if tables else re.compile(r"(?!)")
    others = [
        f"{path.relative_to(PACKAGE)}:{line} names {found[1]}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if not str(path.relative_to(PACKAGE)).startswith(_owner(entry))
        for line, text in _strings(path)
        if (found := named.search(text))
    ]
    assert others == []
