"""The public guard, against real servers on loopback."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from byhand import make_clones
from conftest import Cli, git
from servers import BASIC, LIGHTTPD, PASSWORD, USER, accesses, answering, git_daemon, http_server, netrc

from gitcoord import Coord, RemoteError
from gitcoord.errors import without_password
from gitcoord.store import anonymous
from gitcoord.store.anonymous import _refusal, _ssh_place
from gitcoord.store.transport import push_urls
from gitcoord.sync import remotes
from gitcoord.sync.public_guard import check_public, guard

needs_http = pytest.mark.skipif(LIGHTTPD is None, reason="no smart HTTP here: lighttpd is not installed")
LISTING = {"message": 2, "note": 1}


@pytest.fixture
def ada(tmp_path: Path) -> Path:
    (ada,) = make_clones(tmp_path, "ada")
    git(tmp_path / "remote.git", "config", "http.receivepack", "true")
    return ada


def refusal(where: Path, url: str) -> str:
    """The guard's error for a URL; empty if it allows it."""
    with Coord.open(where) as coord:
        try:
            check_public(coord.clone, url, LISTING)
        except RemoteError as error:
            assert error.hint and "coord.allowPublic true" in error.hint
            return error.what
    return ""


def refs_at(where: Path) -> list[str]:
    return git(where, "for-each-ref", "--format=%(refname)", "refs/coord").splitlines()


# public remotes


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
            "hint: use a private repository: git config coord.remote URL; or allow it: git config coord.allowPublic true\n"
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
        assert json.loads(kept) == {f"{url}/remote.git": "refused"} and PASSWORD not in kept
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


@pytest.mark.parametrize("path", ["team403/x.git", "could not read Username/x.git", "' not found", "returned error: 401"])
def test_words_in_a_path_are_no_answer(ada: Path, path: str) -> None:
    with Coord.open(ada) as coord:
        assert anonymous.is_public(coord.clone.repo, f"http://127.0.0.1:1/{path}") is None


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_the_refusal_of_a_proxy_is_no_answer(ada: Path, scheme: str) -> None:
    with answering(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n") as proxy:
        git(ada, "config", "http.proxy", proxy)
        assert "everybody" in refusal(ada, f"{scheme}://example.com/x.git")


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


# kinds of URLs


@pytest.mark.parametrize(("url", "place"), [
    ("git@github.com:o/r.git", ("github.com", "o/r.git")), ("ssh://git@github.com/o/r", ("github.com", "o/r")),
    ("ssh://git@example.org:2222/o/r", ("example.org", "o/r")), ("git+ssh://example.org/o/r", ("example.org", "o/r")),
    ("/srv/git/r.git", ("", "")), ("../r.git", ("", "")), ("C:/r.git", ("", "")), ("C:\\r.git", ("", "")),
    ("./a:b", ("", "")), ("file:///srv/r", ("", "")), ("[git@github.com:22]:o/r", ("github.com", "o/r")),
    ("git@[github.com:22]:o/r", ("github.com", "o/r")), ("[::1]:o/r", ("::1", "o/r")),
])  # fmt: skip
def test_the_host_of_an_ssh_url(url: str, place: tuple[str, str]) -> None:
    assert (_ssh_place(url).host, _ssh_place(url).path) == place


@pytest.mark.parametrize(("url", "shown"), [
    ("https://u:p@h/x", "https://h/x"), ("https://token@h/x@y", "https://h/x@y"), ("git@h:x", "git@h:x"), ("/a/b", "/a/b"),
    ("https://u:p@ss@h/x", "https://h/x"), ("ssh://git@h/x", "ssh://git@h/x"), ("ssh://git:pw@h/x", "ssh://git@h/x"),
    ("fatal: 'HTTPS://t0ken@h/x' is", "fatal: 'HTTPS://h/x' is"), ("https://h/x?private_token=abc", "https://h/x?private_token=…"),
])  # fmt: skip
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


# remotes that cannot be judged


def asked_of(monkeypatch: pytest.MonkeyPatch, answers: dict[str, bool]) -> list[str]:
    """The URLs that a stranger asks for, each answered from `answers`, else not at all."""
    asked: list[str] = []

    def answer(_: object, url: str, by_ssh: bool = False) -> bool | None:
        asked.append(url)
        return answers.get(url)

    monkeypatch.setattr(anonymous, "_answers", answer)
    return asked


@pytest.mark.parametrize(
    "url", ["git@git.example.org:o/r", "ssh://git@git.example.org/o/r", "ext::sh -c true", "s3://bucket/r"]
)
def test_unknown_is_not_private_and_is_asked_again(ada: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    asked = asked_of(monkeypatch, {})
    assert refusal(ada, url).startswith("cannot find out whether everybody can read")
    assert refusal(ada, url).startswith("cannot find out whether everybody can read")
    assert asked == (["https://git.example.org/o/r"] * 2 if "example" in url else [])


def test_what_is_not_found_at_the_path_of_ssh_may_be_published_at_another() -> None:
    url = "https://git.example.org/srv/git/r.git"
    said = f"fatal: repository '{url}/' not found"
    assert _refusal(said, url) is False and _refusal(said, url, by_ssh=True) is None
    assert _refusal("fatal: could not read Username for 'https://git.example.org'", url, by_ssh=True) is False


def test_the_users_word_is_for_one_remote_and_remembered(ada: Path, tmp_path: Path, cli: Cli) -> None:
    git(ada, "config", "protocol.ext.allow", "always")
    url = f"ext::git %s {tmp_path / 'remote.git'}"
    git(ada, "remote", "set-url", "origin", url)
    with Coord.open(ada) as coord:
        coord.notes.add("one")
    ran = cli(ada, "sync")
    assert ran.code == 4 and "hint: if it is private: git coord sync origin --yes-private;" in ran.err, ran
    assert refs_at(tmp_path / "remote.git") == []
    assert cli(ada, "sync", "origin", "--yes-private").code == 0
    assert len(refs_at(tmp_path / "remote.git")) == 2
    with Coord.open(ada) as coord:
        coord.notes.add("two")
    assert cli(ada, "sync").code == 0
    assert refusal(ada, "s3://another/r")


def test_a_setting_says_it_by_name_or_url(ada: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked_of(monkeypatch, {})
    for name, url in (("one", "git@a.example.org:x"), ("two", "git@b.example.org:x"), ("three", "git@c.example.org:x")):
        git(ada, "remote", "add", name, url)
    git(ada, "config", "--add", "coord.privateRemote", "one")
    git(ada, "config", "--add", "coord.privateRemote", "git@b.example.org:x")
    with Coord.open(ada) as coord:
        guard(coord.clone, "one", LISTING)
        guard(coord.clone, "two", LISTING)
        with pytest.raises(RemoteError, match="cannot find out"):
            guard(coord.clone, "three", LISTING)


def test_an_alias_of_the_ssh_configuration_is_the_host_behind_it(
    ada: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text("#!/bin/sh\nfor last; do :; done\ncase $last in git@github-work) echo hostname ssh.github.com ;; esac\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", f"{ssh} -F nowhere")
    asked = asked_of(monkeypatch, {"https://github.com/o/r.git": True})
    assert refusal(ada, "git@github-work:o/r.git").startswith("everybody can read")
    assert asked == ["https://github.com/o/r.git", "https://ssh.github.com/o/r.git"]
    assert refusal(ada, "ssh://git@ssh.github.com:443/o/r.git").startswith("everybody can read")


def test_every_place_that_is_pushed_to_is_asked_about(ada: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked_of(monkeypatch, {"https://public.example.org/r": True})
    hub = str(tmp_path / "remote.git")
    git(ada, "config", "url.https://public.example.org/.pushInsteadOf", "work:")
    git(ada, "remote", "add", "two", hub)
    git(ada, "config", "--add", "remote.two.pushurl", hub)
    git(ada, "config", "--add", "remote.two.pushurl", "https://public.example.org/r")
    with Coord.open(ada) as coord:
        assert push_urls(coord.clone.repo, "work:r") == ["https://public.example.org/r"]
        for name in ("work:r", "two"):
            with pytest.raises(RemoteError, match="everybody can read"):
                guard(coord.clone, name, LISTING)


def test_no_token_is_kept_or_shown(ada: Path, cli: Cli, tmp_path: Path) -> None:
    ran = cli(ada, "sync", "https://me:t0ken@127.0.0.1:1/r.git")
    assert ran.code == 4 and "t0ken" not in ran.err + ran.out
    with Coord.open(ada) as coord:
        coord.notes.add("one")
        known = remotes.KnownRemote("https://me:t0ken@h/r", "https://me:t0ken@h/r", "refs/coord/", 1.0, {})
        remotes.save(coord.clone.repo, known._replace(failing="https://me:t0ken@h/r", error="no https://me:t0ken@h/r"))
        remembered = remotes.load(coord.clone.repo)
    assert remembered and remembered.is_of("https://me:t0ken@h/r") and remembered.url == "https://h/r"
    found = [path for path in (ada / ".git" / "coord").rglob("*") if path.is_file() and b"t0ken" in path.read_bytes()]
    assert found == []


def test_a_stranger_has_no_variables_of_the_users(ada: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gitcoord.store.anonymous import _environment

    for name, value in {"GIT_SSL_CERT": "x", "GIT_CONFIG_COUNT": "0", "GIT_CONFIG_PARAMETERS": "'a.b=c'"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GIT_ASKPASS", os.devnull)
    with Coord.open(ada) as coord:
        found = _environment(coord.clone.repo)
    assert not {"GIT_SSL_CERT", "GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS"} & set(found)
    assert found["GIT_ASKPASS"] == ""
