"""A short campaign (bench/campaign): damage beside writers, then a check of all promises."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SECONDS = float(os.environ.get("GITCOORD_CAMPAIGN_SECONDS", "10"))
"""For all kinds of harm together."""


@pytest.mark.skipif(os.name == "nt", reason="kills process groups")
@pytest.mark.parametrize("harm", ["upkeep", "losses", "journal"])
def test_nothing_acknowledged_is_lost_in_a_short_campaign(tmp_path: Path, harm: str) -> None:
    argv = [sys.executable, "-m", "bench", "campaign", "--minutes", f"{SECONDS / 180:.3f}", "--harm", harm]
    ran = subprocess.run([*argv, "--keep", str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "nothing lost" in ran.stdout
