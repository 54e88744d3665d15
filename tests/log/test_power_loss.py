"""Power losses, simulated (`bench.powerloss`): the last seconds at most without coord.fsync, nothing with it, git well."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.powerloss import lose_power


@pytest.mark.parametrize("seed", range(3))
def test_without_fsync_only_the_last_seconds_are_lost_and_git_is_well(tmp_path: Path, seed: int) -> None:
    loss = lose_power(tmp_path, seed, fsync=False, new=8)
    assert (loss.old_lost, loss.well) == (0, True), loss.said


@pytest.mark.parametrize("seed", range(2))
def test_with_fsync_nothing_is_lost(tmp_path: Path, seed: int) -> None:
    if shutil.which("strace") is None or subprocess.run(["strace", "-qq", "true"], capture_output=True).returncode:
        pytest.skip("strace(1), which sees what is synced, does not run here")
    loss = lose_power(tmp_path, seed, fsync=True, new=8)
    assert (loss.old_lost, loss.new, loss.new_lost, loss.well) == (0, 8, 0, True), loss.said
