"""Whether this is the first command since the machine was started: by the kernel's word, or by the time of a file."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from gitcoord.log import boots
from gitcoord.system.uptime import uptime


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "coord").mkdir()
    return str(tmp_path / "coord" / "boots")


@pytest.mark.parametrize("boot", ["3b5c", ""], ids=["linux", "another system"])
def test_the_first_command_of_a_boot_looks_and_the_next_does_not(path: str, monkeypatch: pytest.MonkeyPatch, boot: str) -> None:
    monkeypatch.setattr(boots, "kernel_boot_id", lambda: boot)
    assert boots.is_new(path)
    boots.note(path)
    assert not boots.is_new(path)
    boots.note(path)
    assert not boots.is_new(path)


def test_where_the_kernel_tells_no_id_a_file_from_before_the_start_is_old(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boots, "kernel_boot_id", lambda: "")
    boots.note(path)
    before = time.time() - uptime() - 60
    os.utime(path, (before, before))
    assert boots.is_new(path)
    boots.note(path)
    assert not boots.is_new(path)


def test_another_kernel_that_shares_the_repository_takes_no_turn_from_ours(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for boot in ("host", "guest"):
        monkeypatch.setattr(boots, "kernel_boot_id", lambda boot=boot: boot)
        assert boots.is_new(path)
        boots.note(path)
    monkeypatch.setattr(boots, "kernel_boot_id", lambda: "host")
    assert not boots.is_new(path)
