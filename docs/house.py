"""Writes the picture of the rooms in docs/architecture.md from the contracts: python docs/house.py."""

from __future__ import annotations

import ast
import re
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
_PICTURE = re.compile(r"(?<=<!-- rooms -->\n).*(?=<!-- end -->)", re.DOTALL)


def layers(contract: str) -> list[list[str]]:
    """The layers of a contract in `.importlinter`, from the top down; rooms of one layer do not know each other."""
    config = ConfigParser()
    config.read(ROOT / ".importlinter")
    lines = config[f"importlinter:contract:{contract}"]["layers"].split("\n")
    return [[room.strip() for room in line.split("|")] for line in lines if line.strip()]


def purpose(room: str) -> str:
    """The first sentence of a room's docstring."""
    path = ROOT / "gitcoord" / room
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    text = " ".join((ast.get_docstring(ast.parse(source.read_text())) or "").split("\n\n")[0].split())
    return text.split(". ")[0].rstrip(".")


def picture() -> str:
    """A row for each layer."""
    rows = ["| layer | what it is for |", "| --- | --- |"]
    for rooms in layers("floors"):
        says = "; ".join(purpose(room) for room in rooms)
        rows.append(f"| {' · '.join(f'`{room}`' for room in rooms)} | {says.replace('|', '/')} |")
    inside = f"Inside `features`: `deaths` over {' · '.join(f'`{name}`' for name in features())} over `messages`."
    return "\n".join([*rows, "", inside, ""])


def features() -> list[str]:
    """The features that do not know each other: all except `messages`, which each may use, and `deaths`, which may use
    each."""
    found = {path.stem for path in (ROOT / "gitcoord" / "features").iterdir() if not path.name.startswith("_")}
    return sorted(found - {"deaths", "messages"})


def page(present: str) -> str:
    """The page with its picture brought up to date."""
    return _PICTURE.sub(lambda _: picture(), present)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
