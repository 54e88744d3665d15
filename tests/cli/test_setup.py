"""A new user's first ten minutes: init, demo, purge, help, the README's commands, the pages generated from the program."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest
from conftest import Cli, git, make_repo

from gitcoord import Coord, RepositoryError
from gitcoord.cli import verbs
from gitcoord.features import REGISTRY
from gitcoord.log.event import canonical_json, decode
from gitcoord.log.schemas import complaint
from gitcoord.store.objects import Oid
from gitcoord.store.ref_names import owner

ROOT = Path(__file__).resolve().parents[2]
VERBS = [verb for group in verbs.VERBS.values() for verb in group]


def everything(repo: Path) -> dict[str, tuple[int, bytes]]:
    """Every file of the git directory but the objects, with its mode and content; and every folder."""
    root = repo / ".git"
    paths = [path for path in sorted(root.rglob("*")) if path.relative_to(root).parts[0] != "objects"]
    return {str(path.relative_to(root)): (path.lstat().st_mode, b"" if path.is_dir() else path.read_bytes()) for path in paths}


@pytest.fixture
def reference() -> ModuleType:
    """docs/reference.py as a module."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# init


def test_init_expects_a_session_in_each_linked_worktree_and_says_what_it_did(repo: Path, cli: Cli) -> None:
    git(repo, "worktree", "add", "-q", "../alpha")
    git(repo, "worktree", "add", "-q", "../beta")
    ran = cli(repo, "init", "--no-hooks", "--no-agents")
    clone = git(repo, "for-each-ref", "--format=%(refname)", "refs/coord/log").split("/")[3]
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        f"This clone is {clone}.\n"
        "Expected in their worktrees: alpha, beta.\n"
        "Hooks: none installed (git coord hooks install).\n"
        "\n"
        "Nothing leaves this machine until you name a remote for it. What would be sent then: messages, notes, names of\n"
        "sessions, branches and changed files. Never: local messages, paths on disk, host names, processes.\n"
        "\n"
        "Try:\n"
        "  git coord sessions\n"
        "  git coord send alpha hello\n"
    )
    assert cli(repo, "send", "alpha", "hello").code == 0


def test_init_twice_changes_nothing_more(repo: Path, cli: Cli) -> None:
    git(repo, "worktree", "add", "-q", "../alpha")
    first = json.loads(cli(repo, "init", "--json").out)
    assert (first["expected"], {hook["runs"] for hook in first["hooks"]}, first["remote"]) == (["alpha"], {True}, None)
    refs = git(repo, "for-each-ref")
    second = json.loads(cli(repo, "init", "--json").out)
    assert second == {**first, "expected": []}
    assert git(repo, "for-each-ref") == refs


def test_init_leaves_sessions_alone_that_are_there_already(worktrees: tuple[Path, Path], cli: Cli) -> None:
    assert json.loads(cli(worktrees[0], "init", "--json").out)["expected"] == []
    assert json.loads(cli(worktrees[0], "sessions", "alpha", "--json").out)["state"] == "active"


def test_init_changes_neither_status_nor_branches_nor_reflogs(repo: Path, cli: Cli) -> None:
    git(repo, "worktree", "add", "-q", "../alpha")
    asked = (["status", "--porcelain"], ["branch", "-av"], ["reflog", "--all"], ["stash", "list"])
    before = [git(repo, *args) for args in asked]
    cli(repo, "init")
    assert [git(repo, *args) for args in asked] == before


def test_init_in_a_repository_that_cannot_be_written_is_one_clear_error(repo: Path, cli: Cli) -> None:
    (repo / ".git" / "coord").write_text("a file is in the way\n")
    ran = cli(repo, "init")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith(f"error: {repo}/.git/coord is not used: ")


def test_init_outside_of_a_repository_says_so(tmp_path: Path, cli: Cli) -> None:
    ran = cli(tmp_path, "init")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err == "error: not a git repository\nhint: cd into one, or make one: git init\n"


# purge


def test_purge_leaves_the_git_directory_as_it_was_before_init(repo: Path, cli: Cli) -> None:
    git(repo, "worktree", "add", "-q", "../alpha")
    before, refs = everything(repo), git(repo, "for-each-ref")
    cli(repo, "init")
    cli(repo.parent / "alpha", "join")
    cli(repo, "send", "alpha", "hello")
    git(repo, "config", "coord.guard", "warn")
    would = cli(repo, "purge", "--everyone")
    assert would.out.endswith("Nothing was removed: git coord purge --everyone --yes\n")
    assert git(repo, "for-each-ref", "refs/coord") != ""
    done = cli(repo, "purge", "--everyone", "--yes")
    assert (done.code, done.err) == (0, "")
    assert done.out == would.out.replace("would remove", "removed").replace(
        "Nothing was removed: git coord purge --everyone --yes", "The objects go with git's next gc."
    )
    assert (everything(repo), git(repo, "for-each-ref")) == (before, refs)
    assert cli(repo, "purge").out == "There is nothing of gitcoord here.\n"


def test_purge_takes_packed_refs_too_and_keeps_the_users(repo: Path, cli: Cli) -> None:
    cli(repo, "note", "packed")
    git(repo, "pack-refs", "--all")
    cli(repo, "purge", "--yes")
    assert git(repo, "for-each-ref", "--format=%(refname)") == "refs/heads/main\n"


def test_purge_keeps_other_clones_and_other_peoples_refs_unless_it_is_for_everyone(repo: Path, cli: Cli) -> None:
    other = make_repo(repo.parent / "other")
    cli(other, "note", "from afar")
    cli(repo, "note", "from here")
    git(repo, "fetch", "-q", str(other), "refs/coord/log/*:refs/coord/log/*")
    git(repo, "update-ref", "refs/coord/elsewhere/thing", "HEAD")
    foreign = git(other, "for-each-ref", "--format=%(refname)", "refs/coord/log").strip()
    cli(repo, "purge", "--yes")
    assert git(repo, "for-each-ref", "--format=%(refname)", "refs/coord").split() == ["refs/coord/elsewhere/thing", foreign]
    cli(repo, "purge", "--yes", "--everyone")
    assert git(repo, "for-each-ref", "--format=%(refname)", "refs/coord").split() == ["refs/coord/elsewhere/thing"]


def test_purge_removes_a_ref_that_cannot_be_read(repo: Path, cli: Cli) -> None:
    cli(repo, "note", "then the power went")
    ref = git(repo, "for-each-ref", "--format=%(refname)", "refs/coord/log").strip()
    (repo / ".git" / ref).write_text("")
    document = json.loads(cli(repo, "purge", "--yes", "--json").out)
    assert (document["removed"], ref in document["refs"]) == (True, True)
    assert not (repo / ".git" / "refs" / "coord").exists()


def test_a_purged_repository_can_be_used_again(repo: Path, cli: Cli) -> None:
    cli(repo, "note", "before")
    cli(repo, "purge", "--yes")
    assert cli(repo, "note", "after").code == 0
    assert [note["text"] for note in json.loads(cli(repo, "notes", "--json").out)] == ["after"]


# the demo


def demo(where: Path, *args: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "gitcoord", "demo", *args]
    return subprocess.run(argv, cwd=where, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)


def test_the_demo_shows_a_message_that_crosses_and_leaves_nothing(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hermetic: Path
) -> None:
    (hermetic / ".gitconfig").unlink()  # no identity
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    before = everything(repo)
    ran = demo(repo)
    assert (ran.returncode, ran.stderr) == (0, "")
    commands = [line for line in ran.stdout.splitlines() if re.match(r"\w*\$ ", line)]
    assert [line for line in commands if "worktree add" in line or "coord sen" in line] == [
        "shop$ git worktree add --quiet -b api ../api",
        "shop$ git worktree add --quiet -b web ../web",
        "api$ git coord send web --needs-ack 'total() takes the VAT rate now; please pass it'",
        "api$ git coord sent",
        "laptop$ git coord send api 'the receipt is mine; shall it round?'",
        "laptop$ git coord sent",
    ]
    assert "  > total() takes the VAT rate now; please pass it\n" in ran.stdout
    assert re.search(r"^api\$ git coord sent\n\w+ .*: web acked$", ran.stdout, re.MULTILINE)
    claims = (
        r"^laptop\$ git coord task next --claim\n(\w+) claimed .*^api\$ git coord task claim \1\nerror: \1 is held by laptop@"
    )
    assert re.search(claims, ran.stdout, re.MULTILINE | re.DOTALL), "one winner, across clones"
    crossed = r"^api\$ git coord inbox\n.*^\w+ from laptop@grace-.*^laptop\$ git coord sent\n\w+ .*: api@demo-\w+ read$"
    assert re.search(crossed, ran.stdout, re.MULTILINE | re.DOTALL), "there and back"
    assert list((tmp_path / "tmp").iterdir()) == []
    assert everything(repo) == before


def test_the_demo_runs_outside_of_a_repository_and_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    ran = demo(tmp_path, "--keep", "--json")
    assert ran.returncode == 0, ran.stderr
    document = json.loads(ran.stdout)
    refused = {command["command"].split()[2]: command["exit"] for command in document["commands"] if command["exit"]}
    assert refused == {"check": 1, "conflicts": 1, "run": 3, "task": 1}
    kept = Path(document["directory"])
    at_remote = git(kept / "shop.git", "for-each-ref", "--format=%(refname)", "refs/coord").splitlines()
    assert len({owner(ref) for ref in at_remote if "/log/" in ref}) == 2
    assert git(kept / "api", "worktree", "list").count("\n") == 3
    shown = git(kept / "web", "log", "--format=%(trailers:key=Coord,valueonly)", "--glob=refs/coord/presence")
    assert sorted(json.loads(shown)["sessions"]) == ["api", "web"]


def test_the_demo_cleans_up_when_it_is_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    argv = [sys.executable, "-m", "gitcoord", "demo"]
    with subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout
        for line in running.stdout:
            if "git coord init" in line:
                break
        running.send_signal(signal.SIGINT)
        running.stdout.read()
        assert running.wait() == 130
    assert list(tmp_path.iterdir()) == []


# help, pages, completion


def tokens(text: str) -> float:
    """About as many as a model would count."""
    return max(len(text.split()) * 1.4, len(text) / 4)


@pytest.mark.parametrize("args", [[], ["help"], ["-h"]])
def test_the_verbs_fit_500_tokens(tmp_path: Path, cli: Cli, args: list[str]) -> None:
    ran = cli(tmp_path, *args)
    assert (ran.code, ran.err) == (0, "")
    assert tokens(ran.out) < 500
    assert [verb for verb in VERBS if not re.search(rf"^  (.* )?{verb}\b", ran.out, re.MULTILINE)] == []


def test_every_verbs_help_fits_150_tokens_has_an_example_and_takes_json(reference: ModuleType) -> None:
    wrong = {}
    for _group, name, command in reference.verbs():
        text = reference.help_of(name, command)
        takes_json = "--json " in text or isinstance(command, click.Group)
        if tokens(text) >= 150 or f"Example: git coord {name}" not in text or not takes_json:
            wrong[name] = tokens(text)
    assert wrong == {}


def test_help_of_a_verb_is_what_the_command_page_says(tmp_path: Path, cli: Cli) -> None:
    page = (ROOT / "docs" / "commands.md").read_text()
    assert f"### send\n\n```\n{cli(tmp_path, 'send', '--help').out}```\n" in page


def test_the_command_page_and_the_man_page_are_up_to_date(reference: ModuleType) -> None:
    hint = "run: python docs/reference.py"
    assert reference.COMMANDS.read_text() == reference.commands_page(), hint
    assert reference.JSON.read_text() == reference.json_page(), hint
    present = reference.MAN.read_text()
    assert present == reference.man_page(present), hint
    described = reference.PLUGIN.read_text()
    assert described == reference.plugin(described), hint
    assert [verb for verb in VERBS if f"\n.B git coord {verb}\n" not in present] == []


def test_the_format_page_lists_the_fields_that_are_checked(reference: ModuleType) -> None:
    present = reference.FORMAT.read_text()
    assert present == reference.format_page(present), "run: python docs/reference.py"
    known = reference.schemas()
    for trailer in re.findall(r"^Coord: (.*)$", present, re.MULTILINE):
        data = json.loads(trailer)
        if data["type"] == "retired":  # the list of retired clones, which is checked where it is read (log/apart/retired)
            continue
        schema = known[data["type"]]
        assert complaint(schema.fields, schema.needed, data) == "", "the examples are what they are examples of"


def test_the_plugin_of_claude_code_has_the_hooks_of_its_settings(reference: ModuleType) -> None:
    assert reference.PLUGIN_HOOKS.read_text() == reference.plugin_hooks(), "run: python docs/reference.py"


def test_the_pages_name_only_verbs_that_exist() -> None:
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    named = {
        (page.name, verb) for page in pages for verb in re.findall(r"(?:^    |`)git coord ([a-z]+)", page.read_text(), re.M)
    }
    assert {(page, verb) for page, verb in named if verb not in {*VERBS, "help"}} == set()


def test_the_readmes_commands_exist_and_run(repo: Path, cli: Cli) -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) < 150
    assert text.count("python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/git-coord demo") == 1
    assert [link for link in re.findall(r"\]\(([^)]+)\)", text) if not (ROOT / link).exists()] == []
    assert re.search(r"^<!-- test command -->\n    python3 .*pytest\n<!-- end -->$", text, re.MULTILINE)


def test_the_readmes_two_terminals_work_as_written(repo: Path, tmp_path: Path) -> None:
    shim = tmp_path / "bin" / "git-coord"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m gitcoord "$@"\n')
    shim.chmod(0o755)
    text = (ROOT / "README.md").read_text()
    blocks = [re.sub("^    ", "", b, flags=re.M) for b in re.findall(r"^<!-- \w+ terminal.* -->\n((?:    .*\n)+)", text, re.M)]
    assert len(blocks) == 3
    join = re.search(r"^    cd \.\./parser\n(?:    .*\n)+", text, re.MULTILINE)
    assert join
    first, second, last = blocks
    script = [first, re.sub("^    ", "", join[0], flags=re.M), second, "cd ../parser\n" + last]
    env = {**os.environ, "PATH": f"{shim.parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-ec", "".join(script)], cwd=repo, env=env, capture_output=True, text=True, start_new_session=True,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "  > the grammar has a new rule, please document it\n" in done.stdout
    listed = done.stdout.split("joined as")[0]
    assert "no session" in listed and "parser expected" in listed and "docs expected" in listed, "right after they were added"
    assert "  > on it\n" in done.stdout


def test_the_shell_completes_verbs_and_options(tmp_path: Path, cli: Cli) -> None:
    def complete(*words: str) -> str:
        env = {
            "_GIT_COORD_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(["git-coord", *words]),
            "COMP_CWORD": str(len(words)),
        }
        return cli(tmp_path, env=env).out

    assert complete("se") == "plain,send\nplain,sent\nplain,search\nplain,sessions\n"
    assert "plain,--needs-ack\n" in complete("send", "--n")


def test_an_api_user_gets_the_same_verbs(repo: Path) -> None:
    with Coord.open(repo) as coord:
        assert coord.repository.init(hooks=False).expected == ()
        assert [hook.how for hook in coord.repository.hooks()] == ["none"] * 5
        assert coord.repository.traces().files == str(repo / ".git" / "coord")
        assert coord.repository.purge().files == str(repo / ".git" / "coord")
    assert not (repo / ".git" / "coord").exists()
    with pytest.raises(RepositoryError):
        Coord.open(repo.parent / "nowhere")


def test_the_examples_of_the_format_page_are_real_events() -> None:
    page = (ROOT / "docs" / "format.md").read_text()
    (commit,) = re.findall(r"^```\n(tree .*?)^```$", page, re.MULTILINE | re.DOTALL)
    event = decode(Oid("0" * 40), commit.encode())
    assert (event.type, event.author, event.lc, event.text) == ("leave", "gamma", 9, "gamma left")
    trailers = re.findall(r"^Coord: (.*)$", page, re.MULTILINE)
    assert [canonical_json(json.loads(trailer)) for trailer in trailers] == trailers
    pages = "".join(path.read_text() for path in sorted((ROOT / "docs").glob("*.md")))
    known = {kind for feature in REGISTRY.features() for kind in feature.types}
    assert {kind for kind in known if f"`{kind}`" not in pages} == set()
