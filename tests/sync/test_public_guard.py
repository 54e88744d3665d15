"""The public guard, against real servers on loopback."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from byhand import make_clones
from conftest import Cli, git
from servers import BASIC, LIGHTTPD, PASSWORD, USER, accesses, git_daemon, http_server, netrc

from gitcoord import Coord, RemoteError
from gitcoord.store.anonymous import _ssh_place
from gitcoord.sync.public_guard import check_public, without_password

needs_http = pytest.mark.skipif(LIGHTTPD is None, reason="no smart HTTP here: lighttpd is not installed")
LISTING = {"message": 2, "note": 1}


@pytest.fixture
def ada(tmp_path: Path) -> Path:
    (ada,) = make_clones(tmp_path, "ada")
    git(tmp_path / "remote.git", "config", "http.receivepack", "true")
    return ada


def refusal(where: Path, url: str) -> str:
    """What the guard says of a URL; empty if nothing."""
    with Coord.open(where) as coord:
        try:
            check_public(coord.clone, url, LISTING)
        except RemoteError as error:
            assert error.hint and "coord.allowPublic true" in error.hint
            return error.what
    return ""


def refs_at(where: Path) -> list[str]:
    return git(where, "for-each-ref", "--format=%(refname)", "refs/coord").splitlines()


# what can be read by everybody


@pytest.mark.parametrize(
    "form", ["{path}", "file://{path}", "ada@localhost:{path}", "ssh://ada@127.0.0.1{path}", "../remote.git"]
)
def test_paths_and_nameless_hosts_are_not_public(ada: Path, tmp_path: Path, form: str) -> None:
    assert refusal(ada, form.format(path=tmp_path / "remote.git")) == ""


def test_what_git_daemon_serves_is_public_until_allowed(ada: Path, tmp_path: Path, cli: Cli) -> None:
    with git_daemon(tmp_path) as url:
        git(ada, "remote", "set-url", "origin", f"{url}/remote.git")
        with Coord.open(ada) as coord:
            coord.notes.add("one")
            coord.notes.add("two")
        ran = cli(ada, "sync")
        assert (ran.code, ran.out) == (4, "")
        assert ran.err == (
            f"error: everybody can read {url}/remote.git; not sent: 1 join, 2 note, 1 presence\n"
            "hint: use a private repository: git config coord.remote URL; or, if they may: git config coord.allowPublic true\n"
        )
        assert refs_at(tmp_path / "remote.git") == []
        git(ada, "config", "coord.allowPublic", "true")
        assert cli(ada, "sync").code == 0
        assert len(refs_at(tmp_path / "remote.git")) == 2


@needs_http
def test_smart_http_without_a_password_is_public(ada: Path, tmp_path: Path, cli: Cli) -> None:
    with http_server(tmp_path, tmp_path / "logs", password=False) as url:
        git(ada, "remote", "set-url", "origin", f"{url}/remote.git")
        ran = cli(ada, "sync")
        assert ran.code == 4 and f"everybody can read {url}/remote.git; not sent: 1 join, 1 presence" in ran.err, ran
        assert refs_at(tmp_path / "remote.git") == []
        git(ada, "config", "coord.allowPublic", "true")
        assert cli(ada, "sync").code == 0
        assert len(refs_at(tmp_path / "remote.git")) == 2


WAYS = ["helper", "netrc", "url", "header", "cookie"]


def let_in(ada: Path, url: str, way: str, home: Path) -> str:
    """Give git what it takes to get in; returns the URL to use."""
    if way == "helper":
        git(ada, "config", "credential.helper", f"!f() {{ echo username={USER}; echo password={PASSWORD}; }}; f")
    elif way == "netrc":
        netrc(home)
    elif way == "header":
        git(ada, "config", f"http.{url}.extraHeader", f"Authorization: {BASIC}")
    elif way == "cookie":
        (home / "cookies").write_text("127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\tsecret\n")
        git(ada, "config", "http.cookieFile", str(home / "cookies"))
        netrc(home)
    return url.replace("://", f"://{USER}:{PASSWORD}@") if way == "url" else url


@needs_http
@pytest.mark.parametrize("way", WAYS)
def test_what_asks_for_a_password_is_not_public_however_git_knows_it(
    ada: Path, tmp_path: Path, hermetic: Path, cli: Cli, way: str
) -> None:
    with http_server(tmp_path, tmp_path / "logs", password=True) as url:
        mine = let_in(ada, url, way, hermetic)
        assert refusal(ada, f"{mine}/remote.git") == ""
    asked = accesses(tmp_path / "logs")
    assert [line.split(" ", 2)[2] for line in asked] == ["401 - - -"], "as a stranger, with nothing in hand"
    with http_server(tmp_path, tmp_path / "logs2", password=True) as url:
        mine = let_in(ada, url, way, hermetic)
        git(ada, "remote", "set-url", "origin", f"{mine}/remote.git")
        ran = cli(ada, "sync")
        assert ran.code == 0, ran
        assert len(refs_at(tmp_path / "remote.git")) == 2


@needs_http
def test_the_answer_is_remembered_for_the_url_without_its_password(ada: Path, tmp_path: Path) -> None:
    with http_server(tmp_path, tmp_path / "logs", password=True) as url:
        assert refusal(ada, f"{url.replace('://', f'://{USER}:{PASSWORD}@')}/remote.git") == ""
        assert refusal(ada, f"{url}/remote.git") == ""
        kept = (ada / ".git/coord/public").read_text()
        assert json.loads(kept) == {f"{url}/remote.git": "private"} and PASSWORD not in kept
    assert len(accesses(tmp_path / "logs")) == 1


@needs_http
def test_what_was_public_is_asked_again(ada: Path, tmp_path: Path) -> None:
    with http_server(tmp_path, tmp_path / "logs", password=False) as url:
        assert "everybody can read" in refusal(ada, f"{url}/remote.git")
        (tmp_path / "remote.git").rename(tmp_path / "moved.git")
        assert refusal(ada, f"{url}/remote.git") == "", "not found: not for everybody"


def test_a_server_that_does_not_answer_is_not_taken_for_private(ada: Path) -> None:
    with git_daemon(ada) as url:
        gone = url.replace("git://", "http://")  # speaks another protocol
        assert f"cannot find out whether everybody can read {gone}/x; not sent: 2 message, 1 note" == refusal(ada, f"{gone}/x")


def test_an_instead_of_is_followed(ada: Path, tmp_path: Path) -> None:
    with git_daemon(tmp_path) as url:
        git(ada, "config", f"url.{url}/.insteadOf", "work:")
        assert "everybody can read work:remote.git" in refusal(ada, "work:remote.git")


@needs_http
def test_nothing_of_a_claim_goes_to_a_public_remote_either(ada: Path, tmp_path: Path, cli: Cli) -> None:
    with http_server(tmp_path, tmp_path / "logs", password=False) as url:
        git(ada, "remote", "set-url", "origin", f"{url}/remote.git")
        git(ada, "config", "coord.remote", "origin")
        with Coord.open(ada) as coord:
            coord.tasks.add("one")
            (task,) = coord.tasks.list()
        ran = cli(ada, "task", "claim", task.id)
        assert ran.code == 4 and "everybody can read" in ran.err, ran
        assert refs_at(tmp_path / "remote.git") == []


# what a URL is taken for


@pytest.mark.parametrize(("url", "place"), [
    ("git@github.com:o/r.git", ("github.com", "o/r.git")), ("ssh://git@github.com/o/r", ("github.com", "o/r")),
    ("ssh://git@example.org:2222/o/r", ("example.org", "o/r")), ("git+ssh://example.org/o/r", ("example.org", "o/r")),
    ("/srv/git/r.git", ("", "")), ("../r.git", ("", "")), ("C:/r.git", ("", "")), ("C:\\r.git", ("", "")),
    ("./a:b", ("", "")), ("file:///srv/r", ("", "")),
])  # fmt: skip
def test_the_host_of_an_ssh_url(url: str, place: tuple[str, str]) -> None:
    assert _ssh_place(url) == place


@pytest.mark.parametrize(("url", "shown"), [
    ("https://u:p@h/x", "https://h/x"), ("https://token@h/x@y", "https://h/x@y"), ("git@h:x", "git@h:x"), ("/a/b", "/a/b"),
])  # fmt: skip
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_a_stranger_has_no_variables_of_the_users(ada: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gitcoord.store.anonymous import _environment

    for name, value in {"GIT_SSL_CERT": "x", "GIT_CONFIG_COUNT": "0", "GIT_CONFIG_PARAMETERS": "'a.b=c'"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GIT_ASKPASS", os.devnull)
    with Coord.open(ada) as coord:
        found = _environment(coord.clone.repo)
    assert not {"GIT_SSL_CERT", "GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS"} & set(found)
    assert found["GIT_ASKPASS"] == ""
