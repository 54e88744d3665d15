"""The libraries of an extra: a command that installs them. No registry has gitcoord itself under this name yet."""

from __future__ import annotations

import re
import shlex
import sys


def install_command(extra: str) -> str:
    """The command that installs the libraries of an extra of this installation."""
    from importlib.metadata import PackageNotFoundError, requires

    try:
        wanted = [line for line in requires("gitcoord") or () if re.search(rf"extra == ['\"]{extra}['\"]", line)]
    except PackageNotFoundError:
        wanted = []
    names = [line.partition(";")[0].strip() for line in wanted if not line.startswith("gitcoord[")]
    return shlex.join([sys.executable, "-m", "pip", "install", *names])
