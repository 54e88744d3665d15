"""`git coord ui` as it is started: in the browser, at a port or a socket, and where it cannot be."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import sys
from pathlib import Path

import pytest
from conftest import Cli, git
from served import Visitor, serve

from gitcoord import Coord
from gitcoord import ui as view
from gitcoord.errors import RepositoryError
from gitcoord.ui.web.options import Options

Pair = tuple[Path, Path]


def test_the_link_of_the_real_program_opens_the_view(worktrees: Pair, cli: Cli) -> None:
    cli(worktrees[0], "send", "ada-lovelace", "which one first?", "--needs-ack")
    with serve(worktrees[1]) as served:
        assert served.link.startswith("http://127.0.0.1:")
        visitor = served.visitor()
        for name, value in visitor.news():
            if name == "needs":
                assert [(need["kind"], need["who"]) for need in value] == [("ack", "alpha")]
                (choice,) = (choice for choice in value[0]["choices"] if choice["offer"] == "ack")
                break
        assert json.loads(visitor.post("/act", "ack", **choice["given"]).body)["answer"].startswith("acked")
    assert "ada-lovelace acked" in cli(worktrees[0], "sent").out


def test_what_another_session_sends_arrives_by_itself(worktrees: Pair, cli: Cli) -> None:
    with serve(worktrees[1]) as served:
        stream = served.visitor().news()
        next(value for name, value in stream if name == "threads")
        with Coord.open(worktrees[0]) as alpha:
            alpha.send("beta", "did you see?")
        threads = next(value for name, value in stream if name == "threads")
        assert threads[0]["subject"] == "did you see?"


def test_nothing_is_written_by_looking(worktrees: Pair, cli: Cli) -> None:
    cli(worktrees[0], "send", "beta", "for beta alone")
    before = git(worktrees[0], "for-each-ref")
    with serve(worktrees[1], "--read-only") as served:
        visitor = served.visitor()
        next(value for name, value in visitor.news() if name == "threads")
        refused = visitor.post("/act", "send", to="alpha", text="no")
        assert refused.status == 409 and "--read-only" in json.loads(refused.body)["error"]
        task = visitor.post("/ask", "session", name="alpha")
        assert task.status == 200
    assert git(worktrees[0], "for-each-ref") == before
    assert "for beta alone" in cli(worktrees[1], "inbox").out


def test_a_port_that_is_taken_is_one_clear_line(repo: Path, cli: Cli) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = cli(repo, "ui", "--web", "--port", str(port))
    assert (ran.code, ran.out) == (3, "")
    why = f"error: port {port} cannot be used: Address already in use\nhint: git coord ui --web takes a free one\n"
    assert ran.err == why


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no sockets in files")
def test_a_socket_is_its_owners_alone_and_goes_with_the_server(worktrees: Pair, cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "view.sock"
    with serve(worktrees[0], "--socket", str(path)) as served:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        visitor = Visitor("localhost", 8080, path=str(path))
        assert visitor.enter(served.link.replace("PORT", "8080")).status == 303
        assert visitor.ask("GET", "/").status == 200
        assert visitor.ask("GET", "/", host="evil.example:8080").status == 403
        assert visitor.ask("POST", "/act", b"{}", origin="http://evil.example:8080").status == 403
        taken = cli(worktrees[0], "ui", "--web", "--socket", str(path))
        assert taken.code == 3 and "cannot be used" in taken.err
        served.program.send_signal(signal.SIGINT)
        served.program.wait(20)
    assert not path.exists()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with serve(worktrees[0], "--socket", str(path)):
        assert path.exists()


def test_a_file_is_never_taken_for_a_socket(repo: Path, cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("mine")
    assert cli(repo, "ui", "--web", "--socket", str(path)).code == 3
    assert path.read_text() == "mine"


def test_an_agent_is_refused(worktrees: Pair, cli: Cli) -> None:
    for words in (["ui"], ["ui", "--web"], ["ui", "--json"]):
        ran = cli(worktrees[0], *words, env={"CLAUDECODE": "1"})
        assert (ran.code, '"refused"' in ran.out) == (1, "--json" in words) and "an agent cannot be the user" in ran.err
        assert len(ran.err.splitlines()) == 2


def test_without_a_terminal_one_line_says_what_to_do(repo: Path, cli: Cli) -> None:
    ran = cli(repo, "ui")
    assert (
        ran.code == 3
        and ran.err == "error: the live view needs a terminal\nhint: git coord ui --web, or: git coord ui --json\n"
    )


def test_a_terminal_that_cannot_be_drawn_on_is_told_what_else_there_is(
    worktrees: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    with pytest.raises(RepositoryError, match="the live view needs a terminal"):
        view.in_terminal(str(worktrees[0]))


@pytest.mark.parametrize("words", [["--as", "alpha"], ["--port", "80"], ["--open"], ["--socket", "x"]])
def test_what_makes_no_sense_is_refused(repo: Path, cli: Cli, words: list[str]) -> None:
    assert cli(repo, "ui", *words).code == 2


def test_as_json_it_prints_the_rows_once(worktrees: Pair, cli: Cli) -> None:
    cli(worktrees[0], "task", "add", "first")
    document = json.loads(cli(worktrees[1], "ui", "--json").out)
    assert document["head"]["user"] == "ada-lovelace" and document["board"][0]["rows"][0]["title"] == "first"


@pytest.mark.parametrize("library", ["starlette", "uvicorn", "textual"])
def test_without_the_libraries_one_line_says_which_command_installs_them(
    repo: Path, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = ("gitcoord.ui.web.", "gitcoord.ui.terminal.", f"{library}.")
    for name in [name for name in sys.modules if name.startswith(loaded)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(os, "isatty", lambda fd: True)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with pytest.raises(RepositoryError, match="needs the packages textual, starlette and uvicorn") as raised:
        view.in_terminal(str(repo)) if library == "textual" else view.in_browser(str(repo), Options())
    assert raised.value.hint is not None and "'textual<9,>=8'" in raised.value.hint


def test_outside_of_a_repository_it_is_said(tmp_path: Path, cli: Cli) -> None:
    ran = cli(tmp_path, "ui", "--web")
    assert ran.code == 3 and "Traceback" not in ran.err
