"""Writes docs/api.md from the docstrings of `gitcoord.api`: python docs/api_page.py; a test fails when it was forgotten."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from gitcoord.api import Coord, types
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


def results() -> Iterator[type[Any]]:
    """The types of what verbs take and return."""
    for name in types.__all__:
        yield getattr(types, name)


def fields(result: type[Any]) -> dict[str, str]:
    """The fields of a result and their types, as they are written; nothing for what is not looked into."""
    if result in types.OPAQUE:
        return {}
    found = inspect.get_annotations(result)
    return {name: _spelled_out(getattr(kind, "__forward_arg__", kind), result.__module__) for name, kind in found.items()}


def _spelled_out(kind: str, module: str) -> str:
    """An annotation with the values of a `Literal` in place of its alias."""
    source = inspect.getsource(import_module(module))
    found = re.search(rf"^{re.escape(kind)} = (Literal\[.*\])$", source, re.MULTILINE)
    return found[1].replace('"', "'") if found else kind


def _result(result: type[Any]) -> str:
    of = ", ".join(f"{name}: {kind}" for name, kind in fields(result).items())
    said = inspect.cleandoc(result.__doc__ or "")
    said = said.partition("\n")[0] if result in types.OPAQUE else said.replace("\n", "\n  ")
    return f"- **`{result.__name__}({of})`**  \n  {said}"


def api_page() -> str:
    """The whole page."""
    parts = [INTRODUCTION, "## Coord\n", about(Coord) + "\n"]
    parts.append("\n".join(_entry("coord", name, verb) for name, verb in verbs(Coord)) + "\n")
    for noun, facade in facades():
        parts += [f"## coord.{noun}\n", about(facade) + "\n", f"```python\n{example(facade)}\n```\n"]
        parts.append("\n".join(_entry(f"coord.{noun}", name, verb) for name, verb in verbs(facade)) + "\n")
    parts += ["## Types\n", "`from gitcoord.api.types import …`. " + inspect.cleandoc(types.__doc__ or "") + "\n"]
    parts.append("\n".join(map(_result, results())) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(api_page())
