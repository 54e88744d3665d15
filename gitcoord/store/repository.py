"""Call git in a repository.

`discovery` finds the place once per process. All later calls name the git directory outright and drop the variables
that tie a process to a repository (git-rev-parse(1), `--local-env-vars`): inside a hook of a linked worktree they would
point every git call at the hook's repository.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import cached_property
from types import MappingProxyType

from gitcoord.errors import Unreadable
from gitcoord.system.files import read_bytes
from gitcoord.system.spawn import Result, run
from gitcoord.text import seconds_in

LOCAL_ENV_VARS = frozenset(
    """
    GIT_ALTERNATE_OBJECT_DIRECTORIES GIT_CONFIG GIT_CONFIG_PARAMETERS GIT_CONFIG_COUNT GIT_OBJECT_DIRECTORY GIT_DIR
    GIT_WORK_TREE GIT_IMPLICIT_WORK_TREE GIT_GRAFT_FILE GIT_INDEX_FILE GIT_NO_REPLACE_OBJECTS GIT_REPLACE_REF_BASE
    GIT_PREFIX GIT_INTERNAL_SUPER_PREFIX GIT_SHALLOW_FILE GIT_COMMON_DIR GIT_NAMESPACE GIT_QUARANTINE_PATH
    """.split()
)
OURS = {
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",  # a missing coordination object must not reach for the network
    "GIT_GRAFT_FILE": os.devnull + "/none",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
LISTS = ("coord.ignoreclone", "coord.privateremote", "coord.remotes")
"""Settings that may have several values, which all count."""
_HOOKED = ("update-ref", "pack-refs")
SETTINGS = (
    r"(user|author|committer|commit|coord|hook)\.|core\.(sharedrepository|logallrefupdates|ignorecase|precomposeunicode)$"
    r"|color\.(ui|coord|pager)$"
)
"""The part of the configuration that we look at."""
_CALM = ("-c", "core.warnAmbiguousRefs=false", "-c", "core.logAllRefUpdates=false", "-c", f"core.hooksPath={os.devnull}")


class Repository:
    """A repository and, unless it is bare, the current worktree.

    `environ` is the environment the process was started with; git's children get `env`, in which no transport works, or
    `online_env` for the few that are meant to reach a remote (`transport`). `coord_dir` is where our own files are:
    `$GIT_COMMON_DIR/coord`.
    """

    def __init__(
        self,
        git_dir: str,
        common_dir: str,
        worktree: str | None,
        object_format: str,
        environ: Mapping[str, str],
        config: dict[str, str] | None = None,
    ) -> None:
        self.git_dir = git_dir
        self.common_dir = common_dir
        self.worktree = worktree
        self.object_format = object_format
        self.environ = environ
        self.coord_dir = os.path.join(common_dir, "coord")
        self.online_env = {**{k: v for k, v in environ.items() if k not in LOCAL_ENV_VARS}, **OURS}
        self.env = {**self.online_env, "GIT_ALLOW_PROTOCOL": "none"}  # for gits before GIT_NO_LAZY_FETCH
        if config is not None:
            self.config = config

    @property
    def zero(self) -> str:
        """The id that means "no such ref" in a compare-and-swap."""
        return "0" * (64 if self.object_format == "sha256" else 40)

    def git(
        self, *args: str, stdin: bytes = b"", keep_fd: int | None = None, env: Mapping[str, str] = MappingProxyType({})
    ) -> Result:
        """Run git on the common directory: for refs and objects. The user's hooks are off; `env` is added to ours."""
        argv = [
            "git",
            f"--git-dir={self.common_dir}",
            *_CALM,
            *(self.hooks_off() if args[:1] and args[0] in _HOOKED else ()),
            *self._durably(args),
            *args,
        ]
        return run(argv, {**self.env, **env}, stdin, keep_fd)

    def git_in(
        self,
        worktree: str,
        git_dir: str,
        *args: str,
        stdin: bytes = b"",
        env: Mapping[str, str] = MappingProxyType({}),
    ) -> Result:
        """Run git in one of the worktrees, for what depends on its index, HEAD or files; `env` is added to ours.

        Both places are named: if git looked for them again, it might refuse a repository that the user allowed for this
        command alone.
        """
        argv = ["git", "-C", worktree, f"--git-dir={git_dir}", f"--work-tree={worktree}", *_CALM, *args]
        return run(argv, {**self.env, **env}, stdin)

    def shallow_roots(self) -> frozenset[str]:
        """Commits whose parents a shallow clone does not have."""
        try:
            return frozenset(read_bytes(os.path.join(self.common_dir, "shallow")).decode().split())
        except OSError:
            return frozenset()

    @cached_property
    def config(self) -> dict[str, str]:
        """The settings we look at (SETTINGS), read once; the last value wins."""
        env = {**self.environ, **OURS}
        argv = ["git", f"--git-dir={self.git_dir}", "config", "-z", "--get-regexp", f"^({SETTINGS})"]
        result = run(argv, env)
        if result.code not in (0, 1):  # 1: nothing is set
            said = result.error_text.splitlines() or [f"git config ended with {result.code}"]
            raise Unreadable(f"git cannot read its settings: {said[-1].removeprefix('fatal: ')}", "git config --list")
        return _parse_config(result.out)

    def setting(self, name: str, default: str = "") -> str:
        """A `coord.` setting, as git spells it on output (section and key in lower case)."""
        return self.config.get("coord." + name.lower(), default)

    def flag(self, name: str, default: bool = False) -> bool:
        """A `coord.` setting read as git reads booleans."""
        return self.boolean("coord." + name.lower(), default)

    def seconds(self, name: str, default: float) -> float:
        """A `coord.` setting that is a duration, such as `2h` or `30d`; the default where it is none."""
        return seconds_in(self.setting(name)) or default

    def boolean(self, key: str, default: bool = False) -> bool:
        """A setting of SETTINGS, its key in lower case, read as git reads booleans."""
        value = self.config.get(key)
        return default if value is None else value.lower() in ("", "true", "yes", "on", "1")

    @property
    def shared(self) -> int:
        """The value of core.sharedRepository: permission bits that are added to those of files; if negative, they replace
        them."""
        value = self.config.get("core.sharedrepository", "umask").lower()
        if value.isdigit() and value not in ("0", "1", "2"):
            return -(int(value, 8) & 0o666) if set(value) <= set("01234567") else 0
        named = {"umask": 0, "0": 0, "2": 0o664, "all": 0o664, "world": 0o664, "everybody": 0o664, "group": 0o660}
        return named.get(value, 0o660 if self.boolean("core.sharedrepository") else 0)

    def _durably(self, args: tuple[str, ...]) -> tuple[str, ...]:
        """Git's settings for `coord.fsync`; the second one is for git before 2.36. packed-refs has the user's branches,
        too, so it is always synced when gitcoord has it written."""
        if args[:1] == ("pack-refs",):
            return "-c", "core.fsync=reference"
        if not args or args[0] not in ("hash-object", "update-ref") or not self.flag("fsync"):
            return ()
        return "-c", "core.fsync=loose-object,reference", "-c", "core.fsyncObjectFiles=true"

    def hooks_off(self) -> list[str]:
        """Switch off each config-based hook (git 2.54) by name, because core.hooksPath does not affect them."""
        names = {key[5 : -len(".event")] for key in self.config if key.startswith("hook.") and key.endswith(".event")}
        return [word for name in sorted(names) for word in ("-c", f"hook.{name}.enabled=false")]


def _parse_config(out: bytes) -> dict[str, str]:
    return collect(entry.partition("\n")[::2] for entry in os.fsdecode(out).split("\0") if entry)


def collect(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Settings by key: the last value wins, except for lists (LISTS)."""
    found: dict[str, str] = {}
    for key, value in pairs:
        found[key] = f"{found[key]} {value}" if key in LISTS and key in found else value
    return found
