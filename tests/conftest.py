"""Hermetic ground for every test: own HOME, no system git config, fixed identity, no inherited GIT_*, real git."""

from __future__ import annotations

import ctypes
import gc
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import profiles  # noqa: F401  registers the profiles of Hypothesis before an option of pytest chooses one
import pytest
from forkserver import Program
from templates import LASTS, Templates

from gitcoord import Coord
from gitcoord.sessions.identity import AGENT_MARKS, HARNESS_IDS

# Started in the background of a shell or below nohup, all programs below would inherit ignored signals, which no shell can
# trap any more. They do not inherit a handler; pytest itself goes on after SIGHUP, as nohup promises.
HANDLERS = {"SIGINT": signal.default_int_handler, "SIGQUIT": signal.SIG_DFL, "SIGHUP": lambda *_: None}
for name, handler in HANDLERS.items():
    if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is signal.SIG_IGN:
        signal.signal(getattr(signal, name), handler)


def pytest_xdist_auto_num_workers() -> int:
    """Three workers for each processor: two thirds of a test's time are waits, for processes, locks and the disk (1,360 s
    of tests take 410 s of processor)."""
    return 3 * (os.cpu_count() or 1)


def _own_mounts() -> None:
    """Have a mount namespace of our own, where the system grants it: what a test mounts ends with us, killed or not."""
    if sys.platform != "linux":
        return
    libc, new_namespace, recursive_private = ctypes.CDLL(None), 0x20000, 0x4000 | 0x40000
    if libc.unshare(new_namespace) == 0:
        libc.mount(None, b"/", None, recursive_private, None)


_own_mounts()

# Where nobody keeps compiled modules, each worker would rewrite all 170 of the tests, and each program compile its own.
sys.dont_write_bytecode = False


@pytest.hookimpl(tryfirst=True)
def pytest_collection(session: pytest.Session) -> None:
    """In a whole run, each worker begins to import at another module: on a fresh clone they share the compiling."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    root = Path(__file__).parent
    if not number or [Path(arg).resolve() for arg in session.config.args] != [root]:
        return
    modules = sorted(root.rglob("test_*.py"))
    for path in modules[len(modules) * number // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]) :]:
        sys.path.insert(0, str(path.parent))
        with suppress(Exception, pytest.skip.Exception):  # pytest will say so
            import_module(path.stem)
        sys.path.remove(str(path.parent))


def pytest_collection_finish() -> None:
    """Modules and tests stay: no later collection of garbage has to go through them."""
    gc.collect()
    gc.freeze()


USER = "Ada Lovelace"
EMAIL = "ada@example.org"
PROGRAMS = ("CLAUDE", "CODEX", "COPILOT", "GEMINI", "CURSOR", "OPENCODE")
DROPPED = ("GIT_", "COORD_", "PYTHONDONTWRITEBYTECODE", *PROGRAMS, *AGENT_MARKS, *HARNESS_IDS)


@pytest.fixture(autouse=True)
def hermetic(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test sees the machine's HOME, git configuration, agent program or identity.

    `tmp_path` comes first, so that it is removed after everything that was replaced is back.
    """
    home = tmp_path_factory.mktemp("home")
    keep_store = os.environ.get("GIT_COORD_STORE")
    for name in list(os.environ):
        if name.startswith(DROPPED):
            monkeypatch.delenv(name)
    if keep_store:
        monkeypatch.setenv("GIT_COORD_STORE", keep_store)
    for name, value in {
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "NO_COLOR": "1",
        "COLUMNS": "100",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }.items():
        monkeypatch.setenv(name, value)
    (home / ".gitconfig").write_text(
        f"[user]\n\tname = {USER}\n\temail = {EMAIL}\n[init]\n\tdefaultBranch = main\n"
        "[coord]\n\tautosync = false\n\tlookout = false\n"
        '[gc]\n\tauto = 0\n[protocol "file"]\n\tallow = always\n[advice]\n\tdetachedHead = false\n'
    )
    return home


def git(where: Path, *args: str, env: Mapping[str, str] | None = None, check: bool = True) -> str:
    """Run git in `where` and return its standard output."""
    done = subprocess.run(
        ["git", "-C", str(where), *args],
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        errors="surrogateescape",
    )
    if check and done.returncode:
        raise AssertionError(f"git {' '.join(args)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def version_of(program: str) -> tuple[int, int]:
    found = re.search(r"(\d+)\.(\d+)", subprocess.run([program, "--version"], capture_output=True, text=True).stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def need_git(major: int, minor: int) -> None:
    """Put a git that is new enough first on PATH, or skip."""
    named = os.environ.get("GITCOORD_NEW_GIT", "")
    for program in ("git", named):
        if program and version_of(program) >= (major, minor):
            if program != "git":
                os.environ["PATH"] = os.pathsep.join([os.path.dirname(program), os.environ["PATH"]])
            return
    pytest.skip(f"needs git {major}.{minor}: name one in GITCOORD_NEW_GIT (tests/newgit.sh builds it)")


_templates: Templates | None = None


@pytest.fixture(scope="session", autouse=True)
def templates(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The folder of the templates."""
    global _templates
    _templates = Templates(tmp_path_factory.mktemp("templates"))


def copy_of(key: Hashable, make: Callable[[Path], object], to: Path, lasts: float = float("inf")) -> None:
    """Put into the directory `to` the files that `make` makes in an empty one; see `Templates.copy`."""
    if _templates is None:  # in a process that a test started
        to.mkdir(parents=True, exist_ok=True)
        make(to)
    else:
        _templates.copy((key, os.environ["PATH"]), make, to, lasts)  # there is more than one git


def make_repo(path: Path, *options: str) -> Path:
    """A repository with one file and one commit; `options` are those of git-init(1)."""

    def make(place: Path) -> None:
        git(place, "init", "-q", *options)
        (place / "readme.txt").write_text("hello\n")
        git(place, "add", "readme.txt")
        git(place, "commit", "-q", "-m", "first")

    copy_of(("repo", *options), make, path)
    return path


@pytest.fixture
def repo(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A fresh repository called `project`; where a test wants `worktrees`, too, with these."""
    path = tmp_path / "project"
    if "worktrees" in request.fixturenames:
        copy_of("worktrees", lambda place: with_worktrees(make_repo(place / "project")), tmp_path, LASTS)
        return path
    return make_repo(path)


def with_worktrees(repo: Path) -> tuple[Path, Path]:
    """Add two linked worktrees to `repo`, `alpha` and `beta`, each with a session of its name."""
    pair = repo.parent / "alpha", repo.parent / "beta"
    for path in pair:
        git(repo, "worktree", "add", "-q", str(path))
        with Coord.open(path) as coord:
            coord.sessions.join()
    return pair


@pytest.fixture
def worktrees(repo: Path) -> tuple[Path, Path]:
    """Two linked worktrees of `repo`, `alpha` and `beta`, each with a session of its name."""
    return repo.parent / "alpha", repo.parent / "beta"


def nameless(text: str) -> str:
    """Output with its ids made literal, and as if no time had passed."""
    text = re.sub(r"\b[0-9a-f]{40}\b", "FULLID", re.sub(r"\b[0-9a-f]{10}\b", "ID", text))
    return re.sub(r"\b\d+ s ago\b|\b\d\d \w{3} \d\d:\d\d UTC\b", "just now", text)


class Ran:
    """The result of a command."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    def __repr__(self) -> str:
        return f"exit {self.code}\n--- out\n{self.out}--- err\n{self.err}"


Cli = Callable[..., Ran]


def _interpreter(argv: Sequence[str], where: Path, env: Mapping[str, str]) -> subprocess.Popen[str]:
    """As `Program`, started by Python itself, for tests about variables that Python reads."""
    pipe = subprocess.PIPE
    argv = [sys.executable, *argv]
    return subprocess.Popen(argv, cwd=where, env=env, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


@pytest.fixture
def cli() -> Cli:
    """Run the program to its end: `cli(where, "send", "beta", "hi")`."""

    def run(where: Path, *args: str, stdin: str | None = "", env: Mapping[str, str] | None = None) -> Ran:
        start = _interpreter if env and any(name.startswith("PYTHON") for name in env) else Program
        program = start(["-m", "gitcoord", *args], where, {**os.environ, **(env or {})})
        try:
            out, err = program.communicate(stdin)
        finally:
            program.kill()
        return Ran(program.wait(), out, err)

    return run
