"""Needs of a release; `.ci/package` builds, checks and installs the packages."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import gitcoord
from gitcoord.log.event import VERSION
from gitcoord.system.extras import install_command

ROOT = Path(__file__).resolve().parents[1]


def test_the_version_stands_in_one_place() -> None:
    assert not re.search(r"^version\b", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert f"## {gitcoord.__version__} " in (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^\| writes \| {VERSION} \|$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_no_hint_installs_gitcoord_from_a_registry() -> None:
    assert "gitcoord" not in install_command("mcp").partition(" -m ")[2] + install_command("ui").partition(" -m ")[2]
    assert "mcp" in install_command("mcp") and "textual" in install_command("ui")
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("gitcoord/**/*.py")]
    assert [page.name for page in pages if re.search(r"install '?gitcoord", page.read_text())] == []


def test_actions_are_pinned() -> None:
    text = (ROOT / ".github" / "workflows" / "publish.yml").read_text()
    used = re.findall(r"uses: (\S+)", text)
    assert used and all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", one) for one in used)


def test_the_launcher_reads_the_first_line_that_pipx_writes(tmp_path: Path) -> None:
    launcher = tmp_path / "git-coord"
    launcher.write_text((ROOT / "scripts" / "git-coord").read_text())
    python = tmp_path / "a - python"
    python.write_text('#!/bin/sh\necho "$0 $1"\n')
    python.chmod(0o755)
    for line in (f"#!{python}", f"#!{python} -E", f"#!{python} -sE"):
        (tmp_path / "gitcoord").write_text(f"{line}\n# -*- coding: utf-8 -*-\n")
        done = subprocess.run(["sh", str(launcher)], capture_output=True, text=True)
        assert done.stdout == f"{python} -E\n", line
