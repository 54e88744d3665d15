"""Writes docs/api.md from the docstrings of `gitcoord.api`: python docs/api_page.py; a test fails when it was forgotten."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from gitcoord.api import Coord
from gitcoord.api.facade import Facade

PAGE = Path(__file__).resolve().parents[1] / "docs" / "api.md"
INTRODUCTION = """\
# The Python API

    from gitcoord import Coord

Made from the docstrings by `python docs/api_page.py`; the examples are run by `tests/api/test_api.py`. Everything that a
user can cause is raised as a `CoordError`: `UsageError`, `Refused`, `RepositoryError` or `RemoteError`, each with `what`
and a `hint`.
"""


def facades() -> Iterator[tuple[str, type[Facade]]]:
    """The nouns of `Coord` and their facades, in the order of the class."""
    for name, kind in vars(Coord)["__annotations__"].items():
        yield name, getattr(import_module(f"gitcoord.api.{name}"), kind)


def verbs(facade: type[Any]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The public methods of a class, in its order."""
    for name, value in vars(facade).items():
        found = value.__func__ if isinstance(value, classmethod) else value
        if not name.startswith("_") and inspect.isfunction(found):
            yield name, found


def example(facade: type[Facade]) -> str:
    """The indented block at the end of a facade's docstring."""
    return "\n".join(line[8:] for line in (facade.__doc__ or "").splitlines() if line.startswith(" " * 8))


def about(facade: type[Any]) -> str:
    """The docstring of a class without its example."""
    lines = (facade.__doc__ or "").splitlines()
    kept = [line for line in lines if not line.startswith(" " * 8) and line.strip() != "Example:"]
    return inspect.cleandoc("\n".join(kept)).strip()


def _entry(owner: str, name: str, verb: Callable[..., Any]) -> str:
    signature = re.sub(r"^\((self|cls)(, )?", "(", str(inspect.signature(verb))).replace("'", "")
    return f"- **`{owner}.{name}{signature}`**  \n  " + inspect.cleandoc(verb.__doc__ or "").replace("\n", "\n  ")


def api_page() -> str:
    """The whole page."""
    parts = [INTRODUCTION, "## Coord\n", about(Coord) + "\n"]
    parts.append("\n".join(_entry("coord", name, verb) for name, verb in verbs(Coord)) + "\n")
    for noun, facade in facades():
        parts += [f"## coord.{noun}\n", about(facade) + "\n", f"```python\n{example(facade)}\n```\n"]
        parts.append("\n".join(_entry(f"coord.{noun}", name, verb) for name, verb in verbs(facade)) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(api_page())
