"""docs/trust.md agrees with the code: its table of permissions, and a test for every claim."""

from __future__ import annotations

import re
from pathlib import Path

from gitcoord.features import REGISTRY
from gitcoord.log import trust

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "trust.md").read_text()


def test_the_table_of_the_page_is_the_one_in_the_code() -> None:
    found = re.findall(r"^\| `([a-z.]+)` \| (.*) \| (.*) \|$", PAGE, re.MULTILINE)
    assert found == [(kind, rule.who, rule.unsigned) for kind, rule in trust.RULES.items()]


def test_every_type_of_event_has_a_rule_and_every_rule_names_a_field_of_its_type() -> None:
    schemas = {kind: schema for feature in REGISTRY.features() for kind, schema in feature.schemas.items()} | trust.SCHEMAS
    assert set(trust.RULES) == set(schemas)
    for kind, rule in trust.RULES.items():
        assert {rule.items, rule.boxes} - {""} <= set(schemas[kind].fields), kind


def test_every_claim_names_a_test_that_is_there() -> None:
    claims = re.findall(r"^\| (.*) \| `(tests/[\w/.]+)::(\w+)` \|$", PAGE, re.MULTILINE)
    assert len(claims) > 40
    missing = [name for _, path, name in claims if f"def {name}(" not in (ROOT / path).read_text()]
    assert missing == []


def test_nothing_outside_the_room_looks_into_it() -> None:
    """The room has one door: others import `gitcoord.log.trust`, and no module of it. The page of types only names them."""
    inside = ROOT / "gitcoord" / "log" / "trust"
    looking = [
        f"{path.relative_to(ROOT)}: {line}"
        for path in sorted((ROOT / "gitcoord").rglob("*.py"))
        if inside not in path.parents and path != ROOT / "gitcoord" / "api" / "types.py"
        for line in path.read_text().splitlines()
        if re.search(r"gitcoord\.log\.trust\.\w", line)
    ]
    assert looking == []
