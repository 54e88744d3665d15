"""Find the repository of the current directory.

git decides what a repository is and whether this user may use it. Asking it costs two processes, one for the places and one
for the settings. In the common case the second is enough: where `.git` is an ordinary directory or link, git reads the
settings from it only if it accepts the repository. All other cases are left to `git rev-parse`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from gitcoord.errors import RepositoryError
from gitcoord.store.repository import LOCAL_ENV_VARS, OURS, SETTINGS, Repository, collect
from gitcoord.system.files import read_bytes
from gitcoord.system.spawn import Result, collect_children, run
from gitcoord.text import shell_word

_SEPARATOR = "--gitcoord-next"
"""rev-parse prints an unknown option unchanged: a divider that survives newlines in paths."""
_STEERING = LOCAL_ENV_VARS | {"GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM"}
_ASKED = rf"^({SETTINGS}|core\.(repositoryformatversion|bare|worktree)$|extensions\.objectformat$)"


def find_repository(path: str | os.PathLike[str] = ".", environ: Mapping[str, str] | None = None) -> Repository:
    """Find the repository as git would from `path`, with GIT_DIR and similar variables.

    Raises RepositoryError outside of a repository, or when git refuses it.
    """
    collect_children()
    environ = dict(os.environ if environ is None else environ)
    return _find_plain(path, environ) or _find_by_git(path, environ)


def _find_plain(path: str | os.PathLike[str], environ: Mapping[str, str]) -> Repository | None:
    """The repository, if it is an ordinary worktree, main or linked, that git reads its settings from; else None."""
    if not _STEERING.isdisjoint(environ):
        return None
    try:
        worktree = _root_above(os.path.realpath(path, strict=True))
        places = _places(worktree) if worktree and os.pathsep not in worktree else None
        if worktree is None or places is None:
            return None
        config = _config_from(worktree, places[1], environ)
    except (OSError, ValueError):
        return None
    return Repository(*places, worktree, "sha1", environ, config) if config is not None else None


def _root_above(directory: str) -> str | None:
    """The nearest directory with a `.git`; None if git might stop before it, at a bare repository or a mount point."""
    device = os.stat(directory).st_dev
    while not os.path.lexists(os.path.join(directory, ".git")):
        above = os.path.dirname(directory)
        if above == directory or os.path.lexists(os.path.join(directory, "HEAD")) or os.stat(above).st_dev != device:
            return None
        directory = above
    return directory


def _places(worktree: str) -> tuple[str, str] | None:
    """The git directory and the common one; None where they are neither a main nor a linked worktree's. Raises OSError."""
    dot_git = os.path.join(worktree, ".git")
    if os.path.islink(dot_git):
        return None
    if os.path.isdir(dot_git):
        return None if os.path.lexists(os.path.join(dot_git, "commondir")) else (dot_git, dot_git)
    said = os.fsdecode(read_bytes(dot_git))
    if not said.startswith("gitdir: "):
        return None
    git_dir = os.path.realpath(os.path.join(worktree, said[len("gitdir: ") :].rstrip("\r\n")))
    common = os.fsdecode(read_bytes(os.path.join(git_dir, "commondir"))).rstrip("\r\n")
    return git_dir, os.path.realpath(os.path.join(git_dir, common))


def _config_from(worktree: str, common_dir: str, environ: Mapping[str, str]) -> dict[str, str] | None:
    """The settings, if git finds the repository in `worktree` and accepts it; None for anything unusual. git silently
    leaves out the settings of a repository that it refuses. So a format version that comes from the repository's own file
    shows that git accepts it."""
    env = {**environ, **OURS, "GIT_CEILING_DIRECTORIES": os.path.dirname(worktree)}
    result = run(["git", "-C", worktree, "config", "-z", "--show-origin", "--get-regexp", _ASKED], env)
    if result.code not in (0, 1):  # 1: nothing is set
        return None  # a part of the settings could lack `coord.clone`; git rev-parse says what is wrong
    own = ("file:.git/config", f"file:{common_dir}/config")
    accepted = False
    config: list[tuple[str, str]] = []
    for origin, key, value in _entries(result.out):
        if key == "core.repositoryformatversion":
            accepted = accepted or origin in own
        elif key in ("core.worktree", "extensions.objectformat") or (key == "core.bare" and value != "false"):
            return None
        elif key != "core.bare":
            config.append((key, value))
    return collect(config) if accepted else None


def _entries(out: bytes) -> Iterator[tuple[str, str, str]]:
    """The settings, each with its place, key and value."""
    words = os.fsdecode(out).split("\0")
    for origin, entry in zip(words[::2], words[1::2], strict=False):
        key, _, value = entry.partition("\n")
        yield origin, key, value


def _find_by_git(path: str | os.PathLike[str], environ: Mapping[str, str]) -> Repository:
    result = _rev_parse(path, environ)
    parts = os.fsdecode(result.out).split(_SEPARATOR + "\n")
    if len(parts) < 4:
        raise _refusal(path, result)
    object_format, git_dir, common_dir, toplevel = parts  # outside a work tree git fails on the last one alone
    worktree = toplevel[:-1] if toplevel else None
    return Repository(git_dir[:-1], common_dir[:-1], worktree, object_format.strip(), environ)


def _rev_parse(path: str | os.PathLike[str], environ: Mapping[str, str]) -> Result:
    args = ["rev-parse", "--show-object-format", "--path-format=absolute"]
    args += [_SEPARATOR, "--git-dir", _SEPARATOR, "--git-common-dir", _SEPARATOR, "--show-toplevel"]
    try:
        return run(["git", "-C", str(path), *args], {**environ, "LC_ALL": "C"})
    except FileNotFoundError:
        raise RepositoryError("git is not installed or not on PATH", "install git 2.31 or newer") from None


def _refusal(path: str | os.PathLike[str], result: Result) -> RepositoryError:
    said = result.error_text
    if "dubious ownership" in said:
        where = said.partition(" repository at '")[2].partition("'\n")[0] or os.path.abspath(path)
        return RepositoryError(
            "git refuses this repository: it belongs to another user",
            f"git config --global --add safe.directory {shell_word(where)}",
        )
    if "safe.bareRepository" in said:
        return RepositoryError(
            "git refuses the bare repository here: safe.bareRepository is explicit", "git --git-dir=PATH coord VERB"
        )
    if "not a git repository: " in said:
        gone, here = said.partition("not a git repository: ")[2].partition("\n")[0], os.path.abspath(path)
        what = f"the link of this worktree to its repository is broken: {gone} is missing"
        return RepositoryError(what, f"in the main worktree: git worktree repair {shell_word(here)}")
    if "not a git repository" in said:
        return RepositoryError("not a git repository", "cd into one, or make one: git init")
    if "unknown option" in said or "path-format" in said:
        return RepositoryError("this git is too old", "install git 2.31 or newer")
    last = said.splitlines()[-1] if said else "git rev-parse failed"
    return RepositoryError(last.removeprefix("fatal: "), "git status")
