"""What people and agents see: lines, JSON, colour; and whether it really reached its reader."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection
from typing import Any

from gitcoord.system.streams import shows_everything
from gitcoord.text import ago as ago
from gitcoord.text import has_power
from gitcoord.text import inert as inert
from gitcoord.text import one_line as one_line
from gitcoord.text import quoted as quoted
from gitcoord.text import rfc3339 as rfc3339
from gitcoord.text import said as said


def say(text: str = "") -> None:
    """Print one line or block of output."""
    sys.stdout.write(text + "\n")


def not_signed(oid: str, held: Collection[str]) -> str:
    """The mark beside what `coord.requireSigned` holds back, where it was asked for."""
    return f"  ({paint('not signed', '31')})" if oid in held else ""


def say_json(value: Any) -> None:
    """Print one JSON document; characters with power over a terminal stay escaped."""
    text = json.dumps(value, ensure_ascii=not shows_everything(), separators=(", ", ": "))
    say(text if text.isascii() and "\x7f" not in text else "".join(f"\\u{ord(c):04x}" if has_power(c) else c for c in text))


def coloured() -> bool:
    """Colour only on a terminal, and not where the user asked for none (no-color.org)."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def paint(text: str, code: str) -> str:
    """`text` in an ANSI colour, on a terminal."""
    return f"\x1b[{code}m{text}\x1b[0m" if coloured() else text
