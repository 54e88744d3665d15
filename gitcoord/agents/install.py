"""Install our hooks into the settings of agent programs, beside the user's own, and remove them again.

These are the user's own settings, because a project's do not reach linked worktrees. Each hook's command ends in a
mark, which also names what was made for it (`+event`, `+hooks`, `+file`). So there is no separate record that could be
lost.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Collection, Iterator, Mapping

from gitcoord import lean_json as json
from gitcoord.agents import HARNESSES, MOMENTS, extras, jsonedit, skill, slash
from gitcoord.agents.settings import SCRIPT_MARK, SETTINGS, Settings
from gitcoord.errors import RepositoryError
from gitcoord.lean import Any, NamedTuple, suppress
from gitcoord.store.hooks import SCRIPT

MARK = re.compile(r"# gitcoord((?: \+\w+)*)")
FOLDER = os.path.dirname(SCRIPT)
_PYTHON = re.compile(r"python='?(.*?)'? hooks=")


class Installed(NamedTuple):
    """The state of our hooks in one program's settings. `why` says what keeps them from running."""

    harness: str
    title: str
    path: str
    found: bool
    """Whether the program, or its settings, are on this machine."""
    moments: tuple[str, ...] = ()
    program: str = ""
    why: str = ""
    skill: str = ""
    """The file of our skill, if it is installed, too."""

    @property
    def runs(self) -> bool:
        """Whether the hooks are installed and nothing keeps them from running."""
        return bool(self.moments) and not self.why


def found_here(environ: Mapping[str, str]) -> list[str]:
    """The programs that are, or were, on this machine."""
    return [name for name in HARNESSES if _is_here(SETTINGS[name], environ)]


def with_ours(environ: Mapping[str, str]) -> list[str]:
    """The programs that have hooks of ours in their settings, as far as these can be read, without asking the program."""
    found = []
    for name in HARNESSES:
        with suppress(RepositoryError):
            text = _read(SETTINGS[name].path(environ)) or ""
            if text.startswith(SCRIPT_MARK) or MARK.search(text):
                found.append(name)
    return found


def _is_here(settings: Settings, environ: Mapping[str, str]) -> bool:
    return shutil.which(settings.program, path=environ.get("PATH")) is not None or os.path.isdir(settings.home(environ))


def install(name: str, environ: Mapping[str, str], more: Collection[str] = ()) -> Installed:
    """Add our hooks, or bring them up to date; writes nothing if they are. `more` are extras.WORDS, for Claude Code alone;
    those that were added before are kept. Raises RepositoryError."""
    settings = SETTINGS[name]
    path = settings.path(environ)
    text = _read(path)
    if settings.script is not None:
        _check_script(text, path)
        _write(path, text, settings.script(sys.executable, FOLDER))
    else:
        had = with_extras(text)
        wanted = {*had, *more} if name == "claude" else set()
        if text is None or _ours(text, path) != _wanted(settings) or wanted != had:
            _write(path, text, _with(settings, _without(settings, text, path), path, wanted))
    with suppress(RepositoryError):  # another program's skill has that name; the hooks matter more
        skill.install(_skills(settings, environ))
    if name == "claude":
        slash.install(settings.home(environ))
    return status(name, environ)


def with_extras(text: str | None) -> set[str]:
    """The extras that were added to settings."""
    marks = " ".join(found[1] for found in MARK.finditer(text or ""))
    return {word for word in extras.WORDS if f"+{word}" in marks.split()}


def uninstall(name: str, environ: Mapping[str, str]) -> Installed:
    """Remove our hooks, and restore the file byte for byte; returns what was found. Raises RepositoryError."""
    settings = SETTINGS[name]
    before = status(name, environ)
    skill.uninstall(_skills(settings, environ))
    if name == "claude":
        slash.uninstall(settings.home(environ))
    path = settings.path(environ)
    text = _read(path)
    if settings.script is not None:
        _write(path, text, None if text and text.startswith(SCRIPT_MARK) else text)
    elif text is not None:
        _write(path, text, _without(settings, text, path))
    return before


def status(name: str, environ: Mapping[str, str]) -> Installed:
    """The state of the hooks. Raises RepositoryError for settings that cannot be read."""
    settings = SETTINGS[name]
    path = settings.path(environ)
    text = _read(path) or ""
    skills = _skills(settings, environ)
    there = skill.path_in(skills) if skill.is_installed(skills) else ""
    here = Installed(name, settings.title, path, _is_here(settings, environ), skill=there)
    if settings.script is not None:
        return _script_status(here, settings.script, text)
    ours = _ours(text, path)
    if not ours:
        return here._replace(why="not installed")
    wanted = _wanted(settings)
    program = next((m[1] for _, command in ours if (m := _PYTHON.search(command))), "")
    moments = tuple(dict.fromkeys(moment for _, command in ours for moment in re.findall(r"moment=(\w+)", command)))
    here = here._replace(moments=moments, program=program)
    if not os.access(program, os.X_OK):
        return here._replace(why="the gitcoord that installed it is gone")
    if ours != wanted:
        return here._replace(why="it differs from what this gitcoord installs")
    return here._replace(why=settings.why_not(path, environ) if settings.why_not else "")


def _skills(settings: Settings, environ: Mapping[str, str]) -> str:
    """The folder of skills, which has the same name for all of them."""
    return os.path.join(settings.home(environ), "skills")


def _check_script(text: str | None, path: str) -> None:
    if text is not None and not text.startswith(SCRIPT_MARK):
        raise RepositoryError(f"gitcoord did not write {path}", "move it away, then run the command again")


def _script_status(here: Installed, script: Callable[[str, str], str], text: str) -> Installed:
    found = re.search(r'^const PYTHON = (".*")$', text, re.MULTILINE)
    if not text.startswith(SCRIPT_MARK) or found is None:
        return here._replace(why="not installed")
    program = str(json.loads(found[1]))
    here = here._replace(moments=tuple(moment for moment in MOMENTS if f'"{moment}"' in text), program=program)
    if not os.access(program, os.X_OK):
        return here._replace(why="the gitcoord that installed it is gone")
    return here if text == script(program, FOLDER) else here._replace(why="it differs from what this gitcoord installs")


def command(name: str, moment: str) -> str:
    """The command of a hook, for `sh -c`, without its mark. Does nothing once gitcoord is gone."""
    python, hooks = shlex.quote(sys.executable), shlex.quote(FOLDER)
    script = '"$hooks/agent-hook"'
    return f"python={python} hooks={hooks} harness={name} moment={moment}; test ! -f {script} || . {script}"


# the text


def _wanted(settings: Settings) -> list[tuple[str, str]]:
    """Event and command of every hook that should be installed."""
    entries = settings.entries(lambda moment: command(settings.name, moment))
    return sorted((event, f"{c} # gitcoord") for event, entry in entries for c in _commands(entry))


def _ours(text: str, path: str) -> list[tuple[str, str]]:
    """Event and command of every hook of ours in the text, without what was made for it."""
    if not text.strip():
        return []
    document = _parsed(jsonedit.load, text, path)
    hooks = document.get("hooks") if isinstance(document, dict) else None
    found = [(event, c) for event, entries in (hooks if isinstance(hooks, dict) else {}).items() for c in _commands(entries)]
    return sorted((event, MARK.sub("# gitcoord", c)) for event, c in found if MARK.search(c))


def _commands(value: Any) -> Iterator[str]:
    """The commands of hooks, at any depth."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from [inner] if key in ("command", "bash") and isinstance(inner, str) else _commands(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _commands(inner)


def _with(settings: Settings, text: str | None, path: str, wanted: Collection[str] = ()) -> str:
    """The text with our hooks, each marked with what was made for it; with extras."""
    made = "" if text is not None else " +file"
    text = settings.empty if text is None or not text.strip() else text
    _check(_parsed(jsonedit.parse, text, path), None, None, path)
    if wanted:
        text, added = extras.add(text, wanted)
        made += added
    for event, entry in settings.entries(lambda moment: command(settings.name, moment)):
        root = _parsed(jsonedit.parse, text, path)
        hooks = root.get("hooks")
        entries = hooks.get(event) if hooks else None
        _check(root, hooks, entries, path)
        if entries:
            text = jsonedit.insert(text, entries, "", _marked(entry, made))
        elif hooks:
            text = jsonedit.insert(text, hooks, event, [_marked(entry, f"{made} +event")])
        else:
            text = jsonedit.insert(text, root, "hooks", {event: [_marked(entry, f"{made} +event +hooks")]})
        made = ""
    return text


def _check(root: jsonedit.ValueSpan, hooks: jsonedit.ValueSpan | None, entries: jsonedit.ValueSpan | None, path: str) -> None:
    if root.kind != "{" or (hooks and hooks.kind != "{") or (entries and entries.kind != "["):
        raise RepositoryError(f"{path} does not have the expected hooks", "look at the file, then run the command again")


def _marked(entry: Any, made: str) -> Any:
    if isinstance(entry, dict):
        return {k: f"{v} # gitcoord{made}" if k in ("command", "bash") else _marked(v, made) for k, v in entry.items()}
    return [_marked(inner, made) for inner in entry] if isinstance(entry, list) else entry


def _without(settings: Settings, text: str | None, path: str) -> str | None:
    """The text without our hooks; None for a file that was made for them."""
    if text is None or not text.strip():
        return text
    made: set[str] = set()
    while True:
        root = _parsed(jsonedit.parse, text, path)
        place = _first(text, root)
        if place is None:
            break
        of, number = place
        found = MARK.search(text, of.members[number][1], of.members[number][2].end)
        made |= {f"{word} {_event_of(root, of)}" if word == "+event" else word for word in (found[1] if found else "").split()}
        text = jsonedit.remove(text, of, number)
    text = extras.remove(_pruned_hooks(text, made, path), made)
    return _pruned(settings, text, made)


def _first(text: str, root: jsonedit.ValueSpan) -> tuple[jsonedit.ValueSpan, int] | None:
    """The place of a hook of ours: a whole entry, or one of several hooks in it."""
    hooks = root.get("hooks")
    for _, _, entries in hooks.members if hooks else ():
        for number, (_, _, entry) in enumerate(entries.members):
            inner = entry.get("hooks") if entry.kind == "{" else None
            own = [n for n, (_, _, hook) in enumerate(inner.members if inner else ()) if _is_ours(text, hook)]
            if inner and own and len(own) < len(inner.members):
                return inner, own[0]
            if _is_ours(text, entry):
                return entries, number
    return None


def _is_ours(text: str, value: jsonedit.ValueSpan) -> bool:
    return MARK.search(text, value.start, value.end) is not None


def _event_of(root: jsonedit.ValueSpan, of: jsonedit.ValueSpan) -> str:
    hooks = root.get("hooks")
    members = hooks.members if hooks else ()
    return next((event for event, _, entries in members if entries.start <= of.start < entries.end), "")


def _pruned_hooks(text: str, made: set[str], path: str) -> str:
    for event in (word.split()[1] for word in sorted(made) if word.startswith("+event ")):
        text = _drop_empty(text, ("hooks", event), path)
    if "+hooks" in made:
        text = _drop_empty(text, ("hooks",), path)
    return text


def _pruned(settings: Settings, text: str, made: set[str]) -> str | None:
    return None if "+file" in made and text.strip() == settings.empty.strip() else text


def _drop_empty(text: str, keys: tuple[str, ...], path: str) -> str:
    """Drop a container that was made for us, unless it has other content now."""
    of = _parsed(jsonedit.parse, text, path)
    for key in keys[:-1]:
        of = of.get(key) or of
    names = [name for name, _, _ in of.members]
    if keys[-1] not in names:
        return text
    number = names.index(keys[-1])
    return text if of.members[number][2].members else jsonedit.remove(text, of, number)


def _parsed(parser: Any, text: str, path: str) -> Any:
    try:
        return parser(text)
    except RecursionError:
        raise RepositoryError(f"{path} is nested too deep", "repair the file, then run the command again") from None
    except ValueError as error:
        raise RepositoryError(f"{path} is not JSON: {error}", "repair the file, then run the command again") from None


# the file


def _read(path: str) -> str | None:
    if os.path.exists(path) and not os.path.isfile(path):  # a device would be replaced by a file
        raise RepositoryError(f"{path} is not a regular file", "look at what it is")
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise RepositoryError(f"cannot read {path}: {error}", "look at the file") from None


def _write(path: str, before: str | None, after: str | None) -> None:
    """Replace the file at once, through symbolic links, because its program may be reading it. Writes nothing without a
    change."""
    from gitcoord.system.lock import unwritable

    if before == after:
        return
    target = os.path.realpath(path)
    try:
        if after is None:
            os.unlink(target)
            with suppress(OSError):  # other files are in it
                os.rmdir(os.path.dirname(target))
            return
        os.makedirs(os.path.dirname(target), exist_ok=True)
        fresh = f"{target}.{os.getpid()}"
        mode = os.stat(target).st_mode & 0o7777 if before is not None else 0o600
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8", newline="") as file:
            file.write(after)
        os.chmod(fresh, mode)
        os.replace(fresh, target)
    except OSError as error:
        raise unwritable(target, error) from error
