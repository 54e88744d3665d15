"""Every kind of repository git can open: two worktrees talk, and the user's things stay as they were."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import EMAIL, USER, Cli, git, make_repo, need_git, version_of
from test_store import in_own_mounts

from gitcoord import Coord, RepositoryError
from gitcoord.errors import ObjectMissing
from gitcoord.store import open_store
from gitcoord.store.discovery import find_repository
from gitcoord.store.libgit2 import why_not
from gitcoord.store.objects import Oid
from gitcoord.store.plumbing import PlumbingStore
from gitcoord.store.worktrees import list_worktrees


class Pair(NamedTuple):
    """Two worktrees of one repository."""

    alpha: Path
    beta: Path


Build = Callable[[Path], Pair]


@pytest.fixture(autouse=True)
def free_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is what these tests are about: it is chosen as it is for users."""
    monkeypatch.delenv("GIT_COORD_STORE", raising=False)


@pytest.fixture(autouse=True)
def own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore PATH, which `need_git` changes, after the test."""
    monkeypatch.setenv("PATH", os.environ["PATH"])


def linked(main: Path, beta: Path, *options: str) -> Pair:
    git(main, "worktree", "add", "-q", *options, str(beta))
    return Pair(main, beta)


def plain(place: Path) -> Pair:
    return linked(make_repo(place / "alpha"), place / "beta")


def sha256(place: Path) -> Pair:
    return linked(make_repo(place / "alpha", "--object-format=sha256"), place / "beta")


def reftable(place: Path) -> Pair:
    need_git(2, 45)
    return linked(make_repo(place / "alpha", "--ref-format=reftable"), place / "beta")


def reftable_sha256(place: Path) -> Pair:
    need_git(2, 45)
    return linked(make_repo(place / "alpha", "--ref-format=reftable", "--object-format=sha256"), place / "beta")


def relative(place: Path) -> Pair:
    need_git(2, 48)
    pair = linked(make_repo(place / "alpha"), place / "beta", "--relative-paths")
    assert (pair.beta / ".git").read_text() == "gitdir: ../alpha/.git/worktrees/beta\n"
    return pair


def bare(place: Path) -> Pair:
    source = make_repo(place / "source")
    git(place, "clone", "-q", "--bare", str(source), "hub.git")
    git(place / "hub.git", "worktree", "add", "-q", str(place / "alpha"))
    git(place / "hub.git", "worktree", "add", "-q", str(place / "beta"))
    return Pair(place / "alpha", place / "beta")


def shallow(place: Path) -> Pair:
    source = make_repo(place / "source")
    git(source, "commit", "-q", "--allow-empty", "-m", "second")
    git(place, "clone", "-q", "--depth=1", f"file://{source}", "alpha")
    return linked(place / "alpha", place / "beta")


def partial(place: Path) -> Pair:
    source = make_repo(place / "source")
    git(source, "config", "uploadpack.allowFilter", "true")
    git(place, "clone", "-q", "--filter=blob:none", f"file://{source}", "alpha")
    return linked(place / "alpha", place / "beta")


def submodule(place: Path) -> Pair:
    source = make_repo(place / "source")
    above = make_repo(place / "above")
    git(above, "submodule", "--quiet", "add", str(source), "alpha")
    git(above, "commit", "-q", "-m", "with a submodule")
    return linked(above / "alpha", place / "beta")


def separate_git_dir(place: Path) -> Pair:
    return linked(make_repo(place / "alpha", f"--separate-git-dir={place / 'elsewhere'}"), place / "beta")


def symlinked_git_dir(place: Path) -> Pair:
    main = make_repo(place / "alpha")
    (main / ".git").rename(place / "elsewhere")
    (main / ".git").symlink_to(place / "elsewhere")
    return linked(main, place / "beta")


def worktree_config(place: Path) -> Pair:
    pair = plain(place)
    git(pair.alpha, "config", "extensions.worktreeConfig", "true")
    git(pair.beta, "config", "--worktree", "user.name", "Betty")
    return pair


def strange_path(name: str) -> Build:
    def build(place: Path) -> Pair:
        return linked(make_repo(place / name / "alpha"), place / name / "beta")

    return build


def logs_everything(place: Path) -> Pair:
    pair = plain(place)
    git(pair.alpha, "config", "core.logAllRefUpdates", "always")
    return pair


def unknown_to_libgit2(place: Path) -> Pair:
    """An extension that git knows and libgit2 does not."""
    source = make_repo(place / "source")
    git(source, "config", "uploadpack.allowFilter", "true")
    git(place, "clone", "-q", f"file://{source}", "alpha")
    git(place / "alpha", "config", "core.repositoryFormatVersion", "1")
    git(place / "alpha", "config", "extensions.partialClone", "origin")
    return linked(place / "alpha", place / "beta")


KINDS: dict[str, Build] = {
    "plain": plain,
    "sha256": sha256,
    "reftable": reftable,
    "reftable with sha256": reftable_sha256,
    "relative worktrees": relative,
    "bare": bare,
    "shallow": shallow,
    "partial": partial,
    "submodule": submodule,
    "separate git dir": separate_git_dir,
    "symlinked git dir": symlinked_git_dir,
    "worktree config": worktree_config,
    "reflogs for everything": logs_everything,
    "old partial clone": unknown_to_libgit2,
    "spaces and quotes": strange_path('it\'s a "dir" $HOME'),
    "newlines": strange_path("two\nlines\n"),
    "not ASCII": strange_path("größe 🙂 日本"),
    "not UTF-8": strange_path(os.fsdecode(b"caf\xe9 \xff")),
}
ONLY_PLUMBING = {
    "sha256": "its objects are sha256",
    "reftable": "its refs are in reftable",
    "reftable with sha256": "its objects are sha256",
    "reflogs for everything": "core.logAllRefUpdates=always would make it write reflogs",
    "old partial clone": "unsupported extension name extensions.partialclone",
}


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pair(kind: str, tmp_path: Path) -> Pair:
    try:
        return KINDS[kind](tmp_path)
    except OSError as error:
        pytest.skip(f"this file system does not take such names: {error}")


def users_things(pair: Pair) -> dict[str, object]:
    """Everything that must stay as it is: work trees, indexes byte for byte, branches, reflogs, configuration."""
    found: dict[str, object] = {}
    for side, path in zip(("alpha", "beta"), pair, strict=True):
        git_dir = Path(git(path, "rev-parse", "--absolute-git-dir").removesuffix("\n"))
        found |= {
            f"{side} status": git(path, "--no-optional-locks", "status", "--porcelain=v2", "--branch"),
            f"{side} index": (git_dir / "index").read_bytes(),
            f"{side} head": git(path, "reflog", "HEAD"),
            f"{side} files": sorted(str(p) for p in path.rglob("*") if ".git" not in p.relative_to(path).parts),
        }
    common = Path(git(pair.alpha, "rev-parse", "--path-format=absolute", "--git-common-dir").removesuffix("\n"))
    found["refs"] = [r for r in git(pair.alpha, "for-each-ref").splitlines() if "\trefs/coord/" not in r]
    found["config"] = (common / "config").read_bytes()
    found["reflogs"] = sorted(str(p) for p in (common / "logs").rglob("*"))
    return found


def test_two_worktrees_of_any_repository_talk_and_nothing_of_the_users_changes(pair: Pair, cli: Cli) -> None:
    before = users_things(pair)
    for side, path in zip(("alpha", "beta"), pair, strict=True):
        assert cli(path, "join", side).code == 0
    sent = cli(pair.alpha, "send", "beta", "it", "works")
    assert (sent.code, sent.err) == (0, ""), sent
    inbox = cli(pair.beta, "inbox")
    assert (inbox.code, inbox.err) == (0, ""), inbox
    assert inbox.out.splitlines()[1] == "  > it works"
    assert cli(pair.beta, "reply", inbox.out.split()[0], "so it does").code == 0
    with Coord.open(pair.alpha) as alpha:
        assert [m.text for m in alpha.messages.receive().messages] == ["so it does"]
        alpha.notes.add("from the API")
        shown = {s.session: s.worktree for s in alpha.sessions.list() if s.session in ("alpha", "beta")}
        assert shown == {"alpha": str(pair.alpha), "beta": str(pair.beta)}
    assert cli(pair.beta, "notes").out.splitlines()[1] == "  > from the API"
    assert users_things(pair) == before
    assert git(pair.beta, "fsck", "--strict", "--no-dangling") == ""


def test_what_lies_changed_in_a_worktree_is_seen_there_and_only_there(pair: Pair) -> None:
    (pair.alpha / "new.txt").write_text("new\n")
    (pair.beta / "readme.txt").write_text("changed\n")
    for side, path in zip(("alpha", "beta"), pair, strict=True):
        with Coord.open(path) as coord:
            coord.sessions.join(side)
    with Coord.open(pair.alpha) as coord:
        files = {s.session: [f.path for f in s.files] for s in coord.sessions.list()}
    assert (files["alpha"], files["beta"]) == (["new.txt"], ["readme.txt"])


def test_where_libgit2_cannot_serve_git_does_and_forcing_it_says_why(kind: str, pair: Pair, cli: Cli) -> None:
    repo = find_repository(pair.alpha)
    store = open_store(repo, long_lived=True)
    reason = why_not(repo)
    store.close()
    assert isinstance(store, PlumbingStore) == (kind in ONLY_PLUMBING)
    ran = cli(pair.alpha, "note", "through libgit2", env={"GIT_COORD_STORE": "libgit2"})
    if kind not in ONLY_PLUMBING:
        assert (reason, ran.code, ran.err) == (None, 0, "")
        return
    assert reason == ONLY_PLUMBING[kind]
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"error: libgit2 cannot serve this repository: {reason}\nhint: unset GIT_COORD_STORE\n"


# seen from elsewhere


def test_in_the_bare_repository_itself_the_user_is_a_person(tmp_path: Path, cli: Cli) -> None:
    pair = bare(tmp_path)
    with Coord.open(pair.alpha) as coord:
        coord.sessions.join("alpha")
    ran = cli(tmp_path / "hub.git", "send", "alpha", "from the hub")
    assert (ran.code, ran.err) == (0, "")
    assert "from ada-lovelace" in cli(pair.alpha, "inbox").out
    assert [w.path for w in list_worktrees(find_repository(tmp_path / "hub.git"))] == [str(p) for p in pair]


def test_a_bare_repository_that_the_user_keeps_git_out_of_is_refused_and_its_worktrees_serve(tmp_path: Path, cli: Cli) -> None:
    pair = bare(tmp_path)
    hub = tmp_path / "hub.git"
    explicit = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.bareRepository", "GIT_CONFIG_VALUE_0": "explicit"}
    assert version_of("git") >= (2, 38)
    assert cli(pair.alpha, "join", "alpha", env=explicit).code == 0
    assert cli(pair.beta, "send", "alpha", "hello", env=explicit).code == 0
    assert "  > hello\n" in cli(pair.alpha, "inbox", env=explicit).out
    ran = cli(hub, "sessions", env=explicit)
    assert (ran.code, ran.out, ran.err) == (
        3,
        "",
        "error: git refuses the bare repository here: safe.bareRepository is explicit\nhint: git --git-dir=PATH coord VERB\n",
    )
    assert cli(hub, "sessions", env={**explicit, "GIT_DIR": str(hub)}).code == 0


def test_settings_given_for_one_command_count(tmp_path: Path, cli: Cli) -> None:
    pair = plain(tmp_path)
    given = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "coord.clone", "GIT_CONFIG_VALUE_0": "pinned-00000001"}
    assert cli(pair.alpha, "note", "hello", env=given).code == 0
    assert "refs/coord/log/pinned-00000001/0001" in git(pair.alpha, "for-each-ref")


def test_GIT_DIR_leads_to_the_repository_from_anywhere(tmp_path: Path, cli: Cli) -> None:
    pair = plain(tmp_path)
    with Coord.open(pair.beta) as beta:
        beta.sessions.join("beta")
    away = tmp_path / "away"
    away.mkdir()
    env = {"GIT_DIR": str(pair.alpha / ".git"), "GIT_WORK_TREE": str(pair.alpha)}
    assert cli(away, "send", "beta", "from away", env=env).code == 0
    assert "  > from away\n" in cli(pair.beta, "inbox").out
    assert (cli(away, "sessions").code, cli(away, "sessions", env=env).code) == (3, 0)


def test_the_main_worktree_is_found_with_its_git_directory_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    pair = submodule(tmp_path / "a")
    for path in pair:
        assert [w.path for w in list_worktrees(find_repository(path))] == [str(p) for p in pair]
    (tmp_path / "b").mkdir()
    pair = separate_git_dir(tmp_path / "b")
    assert [w.path for w in list_worktrees(find_repository(pair.alpha))] == [str(p) for p in pair]
    assert [w.path for w in list_worktrees(find_repository(pair.beta))] == [str(pair.beta)]


def test_core_worktree_names_the_work_tree_of_a_git_directory(tmp_path: Path, cli: Cli) -> None:
    main = make_repo(tmp_path / "alpha")
    linked(main, tmp_path / "beta")
    (main / ".git").rename(tmp_path / "dots")
    git(tmp_path / "dots", "config", "core.worktree", str(main))
    git(tmp_path / "dots", "worktree", "repair", str(tmp_path / "beta"))
    (main / "new.txt").write_text("new\n")
    env = {"GIT_DIR": str(tmp_path / "dots")}
    assert cli(main, "join", "alpha", env=env).code == 0
    assert cli(tmp_path / "beta", "join", "beta").code == 0
    assert cli(tmp_path / "beta", "send", "alpha", "hello").code == 0
    assert "  > hello\n" in cli(main, "inbox", env=env).out
    with Coord.open(tmp_path / "beta") as coord:
        shown = {s.session: (s.worktree, [f.path for f in s.files]) for s in coord.sessions.list()}
    assert shown == {"alpha": (str(main), ["new.txt"]), "beta": (str(tmp_path / "beta"), [])}


HOOK = f"""#!/bin/sh
env | grep -q ^GIT_INDEX_FILE= || echo "no index in the environment" >&2
{sys.executable} -m gitcoord send alpha "commit from $(basename "$PWD")" >"$COORD_OUT" 2>&1
echo "exit $?" >>"$COORD_OUT"
{sys.executable} -m gitcoord sessions --json >>"$COORD_OUT" 2>&1
"""


@pytest.mark.parametrize("name", ["pre-commit", "post-commit"])
def test_a_hook_of_a_linked_worktree_speaks_for_it_and_touches_no_wrong_index(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    pair = plain(tmp_path)
    for side, path in zip(("alpha", "beta"), pair, strict=True):
        assert cli(path, "join", side).code == 0
    (tmp_path / "alpha" / "staged.txt").write_text("staged in alpha\n")
    git(pair.alpha, "add", "staged.txt")
    before = (pair.alpha / ".git" / "index").read_bytes()
    hook = pair.alpha / ".git" / "hooks" / name
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(HOOK)
    hook.chmod(0o755)
    said = tmp_path / "said"
    monkeypatch.setenv("COORD_OUT", str(said))
    (pair.beta / "readme.txt").write_text("changed\n")
    (pair.beta / "other.txt").write_text("other\n")
    git(pair.beta, "add", "other.txt")
    git(pair.beta, "commit", "-q", "-m", "only one path", "--", "readme.txt")
    assert "exit 0\n" in said.read_text()
    seen = {s["session"]: [f["path"] for f in s["files"]] for s in json.loads(said.read_text().splitlines()[-1])}
    assert seen["alpha"] == ["staged.txt"]  # by alpha's own index, not by the one the hook was given
    inbox = cli(pair.alpha, "inbox")
    assert "from beta" in inbox.out
    assert "  > commit from beta\n" in inbox.out
    assert (pair.alpha / ".git" / "index").read_bytes() == before
    assert git(pair.beta, "status", "--porcelain") == "A  other.txt\n"
    assert git(pair.beta, "show", "--name-only", "--format=%s", "HEAD") == "only one path\n\nreadme.txt\n"
    assert git(pair.beta, "fsck", "--strict", "--no-dangling") == ""


def test_a_hook_that_receives_a_push_writes_to_the_repository_and_not_to_the_quarantine(tmp_path: Path, cli: Cli) -> None:
    pair = bare(tmp_path)
    hub = tmp_path / "hub.git"
    assert cli(pair.alpha, "join", "alpha").code == 0
    hook = hub / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f'#!/bin/sh\n{sys.executable} -m gitcoord send alpha "somebody pushes" || exit 0\nexit 1\n')
    hook.chmod(0o755)
    source = tmp_path / "source"
    git(source, "commit", "-q", "--allow-empty", "-m", "second")
    git(source, "push", "-q", str(hub), "HEAD:refs/heads/new", check=False)  # refused, so its quarantine is dropped
    assert "refs/heads/new" not in git(hub, "for-each-ref")
    assert "  > somebody pushes\n" in cli(pair.alpha, "inbox").out
    assert git(hub, "fsck", "--strict", "--no-dangling") == ""


def test_a_missing_object_of_a_partial_clone_is_not_fetched(tmp_path: Path) -> None:
    pair = partial(tmp_path)
    reached = tmp_path / "reached"
    git(pair.alpha, "config", "remote.origin.url", f"ext::sh -c 'touch \"{reached}\"'")
    git(pair.alpha, "config", "protocol.ext.allow", "always")
    with Coord.open(pair.alpha) as coord:
        coord.sessions.join("alpha")
    repo = find_repository(pair.alpha)
    head = Oid(git(pair.alpha, "rev-parse", "HEAD").strip())
    gone = Oid("1" * 40)
    for store in (PlumbingStore(repo), open_store(repo, long_lived=True)):
        assert store.missing([gone, head, gone]) == [gone, gone]
        with pytest.raises(ObjectMissing):
            list(store.read([gone]))
        with pytest.raises(ObjectMissing):
            list(store.chain(gone, None))
        with pytest.raises(ObjectMissing):
            store.move("refs/coord/log/x-00000001/0001", gone, None)
    assert not reached.exists()


# refused


def test_outside_of_a_repository_every_verb_says_so(tmp_path: Path, cli: Cli) -> None:
    for words in (["inbox"], ["send", "a", "b"], ["sessions", "--json"], ["note", "x"]):
        ran = cli(tmp_path, *words)
        expected = "error: not a git repository\nhint: cd into one, or make one: git init\n"
        assert (ran.code, ran.out, ran.err) == (3, "", expected)
    with pytest.raises(RepositoryError, match="not a git repository"):
        Coord.open(tmp_path)


def test_a_repository_of_another_owner_is_refused_as_git_refuses_it(tmp_path: Path, cli: Cli) -> None:
    repo = make_repo(tmp_path / "project")
    try:
        for path in (repo, repo / ".git"):
            os.chown(path, 4242, -1)
    except PermissionError:
        pytest.skip("only root may give a repository to another owner")
    ran = cli(repo, "inbox")
    assert (ran.code, ran.out, ran.err) == (
        3,
        "",
        "error: git refuses this repository: it belongs to another user\n"
        f"hint: git config --global --add safe.directory {repo}\n",
    )
    allowed = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    (repo / "new.txt").write_text("new\n")
    assert cli(repo, "join", "alpha", env=allowed).code == 0
    assert '"path": "new.txt"' in cli(repo, "sessions", "--json", env=allowed).out


def test_without_git_the_error_says_what_to_install(tmp_path: Path, cli: Cli) -> None:
    ran = cli(tmp_path, "inbox", env={"PATH": str(tmp_path)})
    assert (ran.code, ran.out, ran.err) == (
        3,
        "",
        "error: git is not installed or not on PATH\nhint: install git 2.31 or newer\n",
    )


MOUNTED = """
import subprocess, sys
from pathlib import Path
from gitcoord import Coord

host, inside = Path(sys.argv[1]), Path(sys.argv[2])
inside.mkdir()
with Coord.open(host) as coord:
    coord.sessions.join("outside")
    clone = coord.clone.id
subprocess.run(["mount", "--bind", str(host), str(inside)], check=True)
with Coord.open(inside) as coord:
    assert coord.clone.id == clone, (coord.clone.id, clone)
    coord.send("outside", "from inside")
    assert coord.clone.id == clone
with Coord.open(host) as coord:
    print([m.text for m in coord.inbox().messages], coord.clone.id == clone)
print(subprocess.run(["git", "-C", str(host), "fsck", "--strict", "--no-dangling"], capture_output=True, text=True))
"""


def test_a_repository_seen_through_a_bind_mount_is_the_same_clone(tmp_path: Path) -> None:
    repo = make_repo(tmp_path / "project")
    done = in_own_mounts(MOUNTED, str(repo), str(tmp_path / "inside"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "['from inside'] True"
    assert "returncode=0, stdout='', stderr=''" in done.stdout


def test_the_users_name_is_on_every_commit_whatever_the_repository(pair: Pair) -> None:
    with Coord.open(pair.beta) as coord:
        coord.notes.add("signed")
    ref = git(pair.beta, "for-each-ref", "--format=%(refname)", "refs/coord/log").strip()
    name = "Betty" if "Betty" in git(pair.beta, "config", "user.name") else USER
    assert git(pair.beta, "log", "-1", "--format=%cn <%ce>", ref) == f"{name} <{EMAIL}>\n"
