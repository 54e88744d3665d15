"""A short campaign (bench/campaign): harm beside writers, and then everything that is promised."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SECONDS = float(os.environ.get("GITCOORD_CAMPAIGN_SECONDS", "20"))
HARM = os.environ.get("GITCOORD_CAMPAIGN_HARM", "upkeep")
"""`upkeep`, `losses` or `journal`."""


@pytest.mark.skipif(os.name == "nt", reason="kills process groups")
def test_nothing_acknowledged_is_lost_in_a_short_campaign(tmp_path: Path) -> None:
    argv = [
        sys.executable,
        "-m",
        "bench",
        "campaign",
        "--minutes",
        f"{SECONDS / 60:.2f}",
        "--harm",
        HARM,
        "--keep",
        str(tmp_path),
    ]
    ran = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "nothing lost" in ran.stdout
