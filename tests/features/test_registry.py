"""The table of features says what their modules say."""

from __future__ import annotations

from importlib import import_module

import pytest

from gitcoord.features import REGISTRY
from gitcoord.log.index.feature import Entry


@pytest.mark.parametrize("entry", REGISTRY.entries, ids=lambda entry: entry.module)
def test_an_entry_names_the_event_types_and_hooks_of_its_modules(entry: Entry) -> None:
    assert set(entry.types.split()) == import_module(entry.module).FEATURE.types
    if entry.hooks_module:
        hooks = import_module(entry.hooks_module).HOOKS
        assert set(entry.hooks.split()) == {name for name, hook in hooks._asdict().items() if hook is not None}


def test_no_event_type_belongs_to_two_features() -> None:
    types = [kind for entry in REGISTRY.entries for kind in entry.types.split()]
    assert len(types) == len(set(types))
    assert REGISTRY.folding("no.such") is None
