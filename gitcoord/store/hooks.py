"""The git hooks: where they are installed, beside the user's own, and how they are removed again.

git 2.54 and newer take hooks from the configuration, which leaves every hook file and hook manager alone. For older
ones each hook is a file; an existing shell script gets a few marked lines after its first one, and exits as before.
Where neither is safe (a hook manager's file, a hook in another language, a `core.hooksPath` outside of the git
directory) nothing is changed, and the line to add by hand is printed. The marks are enough to find everything again, so
there is no separate record that could be lost.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from gitcoord.errors import RepositoryError
from gitcoord.lean import Literal, suppress
from gitcoord.store.repository import Repository
from gitcoord.system.files import make_top, remove_ours, replace_ours
from gitcoord.system.lock import unwritable
from gitcoord.system.spawn import Result, run

_LEFTHOOK = ("yml", "yaml", "toml", "json")
_LFS = ("post-checkout", "post-commit", "post-merge")
"""The hooks that git-lfs and we both have."""
EVENTS = ("post-checkout", "post-commit", "post-merge", "post-rewrite", "pre-commit")
CONFIG_HOOKS = (2, 54)
"""The first git that takes hooks from its configuration."""

_PACKAGE = Path(__file__).parent.parent
_FOLDERS = (_PACKAGE / "hooks", _PACKAGE.parent / "hooks")
"""The places of the scripts: beside this module when installed, beside the package in a source tree."""
SCRIPT = next((path for folder in _FOLDERS if (path := folder / "git-hook").is_file()), _FOLDERS[0] / "git-hook")
_SHELL = re.compile(rb"#!\s*\S*?/?(?:env\s+(?:-\S+\s+)*)?(?:\S*/)?(?:sh|bash|dash|ash|ksh|mksh|zsh)(?:\s|$)")
_BLOCK = re.compile(rb"^# >>> gitcoord (block|file|folder)\b.*?\n(.*?)^# <<< gitcoord(?:\n|\Z)", re.MULTILINE | re.DOTALL)

How = Literal["config", "file", "block", "line", "none"]


@dataclass(frozen=True, slots=True)
class Hook:
    """One event's hook. `how`: in the `config`, as a `file` of its own, as a `block` in another's file, as the `line` that
    the user added by hand, or not at all.

    `why` says what keeps it from running, and `line` is what to add by hand where we do not touch anything.
    """

    event: str
    how: How
    where: str = ""
    program: str = ""
    why: str = ""
    line: str = ""

    @property
    def runs(self) -> bool:
        """Installed, and nothing keeps it from running."""
        return self.how != "none" and not self.why


class HookPlaces:
    """The facts that an installation needs, read once: git's version, its settings and its folder of hook files."""

    def __init__(self, repo: Repository) -> None:
        self.repo = repo

    @cached_property
    def takes_config(self) -> bool:
        """Whether this git runs hooks from its configuration."""
        match = re.search(rb"(\d+)\.(\d+)", run(["git", "version"], self.repo.env).out)
        return match is not None and (int(match[1]), int(match[2])) >= CONFIG_HOOKS

    @cached_property
    def hooks_path(self) -> str:
        """`core.hooksPath`, empty where it is not set."""
        where = ["-C", self.repo.worktree] if self.repo.worktree else [f"--git-dir={self.repo.git_dir}"]
        result = run(["git", *where, "config", "--type=path", "core.hooksPath"], self.repo.env)
        return os.fsdecode(result.out).removesuffix("\n")

    @cached_property
    def folder(self) -> Path:
        """The folder in which git looks for hook files."""
        if not self.hooks_path:
            return Path(self.repo.common_dir, "hooks")
        return Path(os.path.normpath(os.path.join(self.repo.worktree or self.repo.git_dir, self.hooks_path)))

    def places(self, event: str) -> list[Path]:
        """The files that may have our lines for `event`: pre-commit moves a file to .legacy (and runs it), lefthook to
        .old."""
        folders = dict.fromkeys((self.folder, Path(self.repo.common_dir, "hooks")))
        return [folder / f"{event}{suffix}" for folder in folders for suffix in ("", ".legacy", ".old")]

    def config(self, *args: str) -> Result:
        """Run git-config(1) on the settings that all worktrees share."""
        return run(["git", f"--git-dir={self.repo.common_dir}", "config", "--local", *args], self.repo.env)

    def all_config(self, pattern: str) -> Result:
        """Get the settings whose names match, from every scope."""
        return run(["git", f"--git-dir={self.repo.common_dir}", "config", "--get-regexp", pattern], self.repo.env)

    @cached_property
    def config_lines(self) -> dict[str, str]:
        """The commands of our configured hooks, by event."""
        out = os.fsdecode(self.config("-z", "--get-regexp", r"^hook\.gitcoord-.*\.command$").out)
        pairs = (entry.partition("\n") for entry in out.split("\0") if entry)
        return {key.removeprefix("hook.gitcoord-").removesuffix(".command"): line for key, _, line in pairs}


def install(repo: Repository) -> list[Hook]:
    """Install every hook that can be; idempotent, and brings the path of the program up to date. Raises RepositoryError."""
    ground = HookPlaces(repo)
    _make_top(repo)  # a hook does nothing in a repository without it
    for event in EVENTS:
        if ground.takes_config and not _in_files(ground, event).runs:
            _put_in_config(ground, event)
        elif not ground.takes_config:
            _put_in_file(ground, event)
    found = status(repo)
    if any(hook.line or hook.how == "line" for hook in found):
        replace_ours(_stub(repo), _stub_text())
        found = status(repo)
    return found


def uninstall(repo: Repository) -> list[Hook]:
    """Remove every hook of ours and restore the files as they were, byte for byte; returns the hooks that were found."""
    ground = HookPlaces(repo)
    found = [look(ground, event) for look in (_in_config, _in_files) for event in EVENTS]
    for event in EVENTS:
        if event in ground.config_lines:
            _remove_from_config(ground, event)
    made = [folder for event in EVENTS for path in ground.places(event) if (folder := _take_out(path))]
    with suppress(OSError):
        remove_ours(_stub(repo))
    for folder in (*made, Path(repo.coord_dir)):
        with suppress(OSError):
            folder.rmdir()
    return [hook for hook in found if hook.how != "none"]


def status(repo: Repository) -> list[Hook]:
    """The state of each hook: how it is installed, or why not and the line that would install it."""
    ground = HookPlaces(repo)
    both = [(_in_config(ground, event), _in_files(ground, event)) for event in EVENTS]
    return [min(pair, key=lambda hook: (not hook.runs, hook.how == "none", not hook.line)) for pair in both]


# the command of a hook


def command_line(event: str) -> str:
    """The command that the hook of `event` runs, to be followed by "$@". It does nothing once gitcoord is gone."""
    script, python = shlex.quote(str(SCRIPT)), shlex.quote(sys.executable)
    return f"python={python} event={event}; test ! -f {script} || . {script}"


def _program(line: str) -> tuple[str, str]:
    """The program that a hook's line runs, and what keeps it from running."""
    try:
        words = shlex.split(line.lstrip("("))
        python, script = words[0].removeprefix("python="), words[words.index("-f") + 1]
    except (ValueError, IndexError):
        return "", "it was changed by hand"
    if not os.path.isfile(script) or not os.access(python, os.X_OK):
        return python, "the gitcoord that installed it is gone"
    return python, ""


def _stub(repo: Repository) -> str:
    return os.path.join(repo.coord_dir, "hook")


def _stub_text() -> bytes:
    line = command_line('"$1"').replace("; ", "; shift; ", 1)
    return f'# Called by hook managers, as: sh hook EVENT ARGS...\n{line} "$@"\n'.encode()


def _by_hand(event: str, args: str = '"$@"') -> str:
    """The line for a file that is shared with others: it names no path of this machine."""
    return f'f=$(git rev-parse --git-common-dir)/coord/hook; test ! -f "$f" || sh "$f" {event} {args}'


# hooks in the configuration


def _in_config(ground: HookPlaces, event: str) -> Hook:
    line = ground.config_lines.get(event)
    if line is None:
        return Hook(event, "none", why="not installed")
    program, why = _program(line)
    if not ground.takes_config:
        why = "this git is older than 2.54"
    return Hook(event, "config", f"hook.gitcoord-{event}", program, why)


def _put_in_config(ground: HookPlaces, event: str) -> None:
    for key, value in (("command", command_line(event)), ("event", event)):
        result = ground.config("--replace-all", f"hook.gitcoord-{event}.{key}", value)
        if result.code:
            raise RepositoryError(f"cannot write the configuration: {result.error_text}", "git config --local --list")


def _remove_from_config(ground: HookPlaces, event: str) -> None:
    for key in ("command", "event"):
        result = ground.config("--unset-all", f"hook.gitcoord-{event}.{key}")
        if result.code not in (0, 5):  # 5: there was none
            raise RepositoryError(f"cannot write the configuration: {result.error_text}", "git config --local --list")


# hooks in files


def _in_files(ground: HookPlaces, event: str) -> Hook:
    for path in ground.places(event):
        match = _BLOCK.search(_content(path))
        if match:
            program, why = _program(os.fsdecode(match[2].strip()))
            how: How = "block" if match[1] == b"block" else "file"
            aside = _not_run(ground, path)
            refusal, line = _why_not(ground, event) if aside else ("", "")
            return Hook(event, how, str(path), program, refusal or aside or why, line)
    refusal, line = _why_not(ground, event)
    if refusal and (added := next((file for file in _by_hand_places(ground, event) if _has_line(file, event)), None)):
        gone = "" if os.path.isfile(_stub(ground.repo)) else "the file that the line runs is gone"
        return Hook(event, "line", str(added), sys.executable, gone, "git coord hooks install" if gone else "")
    return Hook(event, "none", why=refusal or "not installed", line=line)


def _by_hand_places(ground: HookPlaces, event: str) -> list[Path]:
    """Files in which a user may have added the line that we printed."""
    path = ground.folder / event
    beside = [ground.folder.parent / event] if ground.folder.parent.name == ".husky" else []
    root = Path(ground.repo.worktree or ground.repo.git_dir)
    names = [f"{dot}lefthook{local}.{kind}" for dot in ("", ".") for local in ("", "-local") for kind in _LEFTHOOK]
    return [*beside, path, *(root / name for name in names), *(root / ".config" / f"lefthook.{kind}" for kind in _LEFTHOOK)]


def _has_line(file: Path, event: str) -> bool:
    """Whether the file runs our hook for the event, by a line that the user added and that is not a comment."""
    wanted = re.compile(rb"^(?!\s*#).*coord/hook.*\bsh\b.*\s" + event.encode() + rb"\b", re.MULTILINE)
    return wanted.search(_content(file)) is not None


def lfs_remark(repo: Repository) -> str:
    """A remark about git-lfs's hooks beside ours in the same files; empty if there is nothing to say."""
    ground = HookPlaces(repo)
    if ground.takes_config or ground.all_config(r"^filter\.lfs\.").code:
        return ""
    ours = [event for event in _LFS if _BLOCK.search(_content(ground.folder / event))]
    alone = [event for event in ours if b"git lfs" not in _content(ground.folder / event)]
    if not ours:
        return ""
    what = f"its lines are missing in {', '.join(alone)}; see git lfs update --manual" if alone else "it runs beside gitcoord's"
    return f"git-lfs: {what}. Its --force overwrites gitcoord's hooks; git coord hooks install restores them"


def _not_run(ground: HookPlaces, path: Path) -> str:
    if path.parent != ground.folder:
        return f"core.hooksPath is {ground.hooks_path}"
    if path.name.endswith(".old"):
        return "another hook took its place"
    if not os.access(path, os.X_OK):
        return "the file is not executable"
    return ""


def _why_not(ground: HookPlaces, event: str) -> tuple[str, str]:
    """The reason why the hook's file is not touched, and the line to add by hand; empty if we may change it."""
    folder, hooks_path = ground.folder, ground.hooks_path
    path = folder / event
    if hooks_path and not folder.is_relative_to(ground.repo.common_dir):
        where = f"{folder.parent.name}/{event}" if folder.parent.name == ".husky" else f"{hooks_path}/{event}"
        return f"core.hooksPath is {hooks_path}; add to {where}", _by_hand(event)
    content = _content(path)
    if b"lefthook" in content:
        return f"lefthook owns it; add a command to {event} in lefthook.yml", f"run: {_by_hand(event, '{0}')}"
    if path.is_symlink():
        return f"{path} is a symbolic link; add to its target", _by_hand(event)
    if path.exists() and not os.access(path, os.X_OK):
        return f"{path} exists but is not executable; add to it", _by_hand(event)
    if not _is_shell(content):
        return f"{path} is not a shell script; make it run", _by_hand(event)
    return "", ""


def _is_shell(content: bytes) -> bool:
    """Whether the file is a shell script, so that our lines fit into it; git runs a file without a `#!` line with sh."""
    return b"\0" not in content and (not content.startswith(b"#!") or _SHELL.match(content) is not None)


def _put_in_file(ground: HookPlaces, event: str) -> None:
    for present in ground.places(event):
        if _BLOCK.search(_content(present)):
            _bring_up_to_date(present, event)
            if not _not_run(ground, present):
                return
    if _why_not(ground, event)[0]:
        return
    path = ground.folder / event
    if b"pre-commit.com" in _content(path):
        path = path.with_name(f"{event}.legacy")  # where pre-commit keeps an earlier hook, which it still runs
    if path.exists():
        _write(path, _with_block(_content(path), _block(event, "block")), path)
    else:
        kind = "file" if path.parent.is_dir() else "folder"
        _make_folder(path.parent)
        _write(path, b"#!/bin/sh\n" + _block(event, kind), None, executable=True)


def _bring_up_to_date(path: Path, event: str) -> None:
    content = _content(path)
    fresh = _BLOCK.sub(lambda m: _block(event, m[1].decode()).removesuffix(b"" if m[0].endswith(b"\n") else b"\n"), content)
    if fresh != content:
        _write(path, fresh, path)


def _make_top(repo: Repository) -> None:
    try:
        make_top(repo.coord_dir, repo.shared)
    except OSError as error:
        raise unwritable(repo.common_dir, error) from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(str(folder.parent), error) from error


def _block(event: str, kind: str) -> bytes:
    """Our lines. The first one says what we made for them: only these lines, the file, or its folder, too."""
    otherwise = "exit 1" if event == "pre-commit" else ":"
    return (
        f"# >>> gitcoord {kind} ('git coord hooks uninstall' removes it)\n"
        f'({command_line(event)} "$@") || {otherwise}\n'
        "# <<< gitcoord\n"
    ).encode()


def _with_block(content: bytes, block: bytes) -> bytes:
    if not content.startswith(b"#!"):
        return block + content
    first, end, rest = content.partition(b"\n")
    return first + end + block + rest if end else first + b"\n" + block.rstrip(b"\n")


def _without_block(content: bytes) -> bytes:
    match = _BLOCK.search(content)
    if match is None:
        return content
    start = match.start() if match[0].endswith(b"\n") else match.start() - 1
    return content[: max(0, start)] + content[match.end() :]


def _take_out(path: Path) -> Path | None:
    """Remove our lines, or the file made for them; returns its folder if that was made for it too."""
    content = _content(path)
    match = _BLOCK.search(content)
    if match is None:
        return None
    rest = _without_block(content)
    if match[1] == b"block" or rest != b"#!/bin/sh\n":
        _write(path, rest, path)
    else:
        try:
            path.unlink()
        except OSError as error:
            raise unwritable(str(path.parent), error) from error
    return path.parent if match[1] == b"folder" else None


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _write(path: Path, content: bytes, mode_of: Path | None, executable: bool = False) -> None:
    """Replace a file at once: a shell may be reading it."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        mode = mode_of.stat().st_mode & 0o7777 if mode_of else None
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o777 if executable else 0o666)
        with os.fdopen(fd, "wb") as file:
            file.write(content)
        if mode is not None:
            fresh.chmod(mode)
        os.replace(fresh, path)
    except OSError as error:
        raise unwritable(str(path.parent), error) from error
