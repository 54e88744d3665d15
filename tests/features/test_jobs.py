"""Jobs: real commands under a real supervisor; their ends, notices, privacy, and survival of kills."""

from __future__ import annotations

import itertools
import json
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from conftest import Cli, git
from hypothesis import given
from hypothesis import strategies as st
from profiles import examples

from gitcoord import Coord, Refused, UsageError
from gitcoord.features.jobs import files
from gitcoord.features.jobs.end import reap
from gitcoord.features.jobs.fold import FEATURE
from gitcoord.features.jobs.output import HEAD, LIMIT, TAIL, plain
from gitcoord.features.jobs.read import Job
from gitcoord.log.event import Event
from gitcoord.log.schemas import objection
from gitcoord.store.discovery import find_repository
from gitcoord.store.objects import Oid
from gitcoord.store.watch import wait_until
from gitcoord.system import own_boots
from gitcoord.system import process as processes
from gitcoord.system.uptime import uptime

Pair = tuple[Path, Path]
T = TypeVar("T")
FOR_EVER = 60.0
GITCOORD = [sys.executable, "-m", "gitcoord"]


def shown(text: str) -> str:
    """Output with ids, pids and durations made literal."""
    text = re.sub(r"\b[0-9a-f]{10}\b", "ID", re.sub(r"\b\d+\.\d s\b", "N s", text))
    return re.sub(r"pid \d+", "pid PID", re.sub(r"(\d+ s ago|just now)", "just now", text))


def until(where: Path, question: Callable[[], T | None]) -> T:
    """Wait for events until there is an answer."""
    found = wait_until(find_repository(where), question, FOR_EVER)
    assert found is not None
    return found


def ended(where: Path, name: str) -> Job:
    """The job of this name, once it ended."""
    with Coord.open(where) as coord:

        def question() -> Job | None:
            job = coord.jobs.get(name)
            return job if job.state != "running" else None

        return until(where, question)


def notices(where: Path) -> list[str]:
    """gitcoord's messages to the session of this worktree, oldest first."""
    with Coord.open(where) as coord:
        return [m.text for m in coord.messages.receive(everything=True, limit=1000).messages if m.notice]


def running(where: Path, name: str) -> files.Running:
    """The facts of a running job."""
    coord_dir = find_repository(where).coord_dir
    found = [facts for key in files.keys(coord_dir) if (facts := files.get(coord_dir, key)) and facts.name == name]
    assert len(found) == 1
    return found[0]


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """A fifo from which a command reads a line, to wait for the test."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


# how they end


def test_a_failing_command_is_told_with_its_last_words(worktrees: Pair, cli: Cli) -> None:
    ran = cli(worktrees[0], "run", "--name", "build", "--", "sh", "-c", "echo out; echo bad >&2; exit 3")
    assert (ran.code, ran.out, ran.err) == (3, "out\n", "bad\n")
    assert shown(cli(worktrees[0], "inbox").out) == (
        "ID from gitcoord, just now, urgent\n"
        "  > build failed with exit code 3 after N s: sh -c 'echo out; echo bad >&2; exit 3'\n"
        "  > bad\n"
        "  > (the whole output: git coord job log ID)\n"
    )
    assert cli(worktrees[0], "job", "log", "build").out == "out\nbad\n"
    assert shown(cli(worktrees[0], "jobs").out) == (
        "ID build failed with exit code 3 after N s, just now, of alpha: sh -c 'echo out; echo bad >&2; exit 3'\n"
    )
    assert shown(cli(worktrees[0], "job", "show", "build").out) == (
        "ID build failed with exit code 3 after N s, just now, of alpha: sh -c 'echo out; echo bad >&2; exit 3'\n"
        f"  in {worktrees[0]}\n"
        "  > bad\n"
    )


def test_a_good_end_is_not_urgent(worktrees: Pair, cli: Cli) -> None:
    assert cli(worktrees[0], "run", "true").code == 0
    assert shown(cli(worktrees[0], "inbox").out) == (
        "ID from gitcoord, just now\n  > true is done, after N s: true\n  > (the whole output: git coord job log ID)\n"
    )


@pytest.mark.parametrize(
    ("command", "code"),
    [("exit 0", 0), ("exit 255", 255), ("kill -9 $$", 137), ("kill -TERM $$", 143), ("kill -SEGV $$", 139)],
)
def test_exit_codes_are_those_of_the_command(worktrees: Pair, cli: Cli, command: str, code: int) -> None:
    assert cli(worktrees[0], "run", "--", "sh", "-c", command).code == code
    (job,) = json.loads(cli(worktrees[0], "jobs", "--json").out)
    assert job["state"] == ("killed" if code in (137, 143, 139) else "exited")


def test_what_cannot_be_run_ends_as_in_a_shell(worktrees: Pair, cli: Cli) -> None:
    missing = cli(worktrees[0], "run", "--", "no-such-program")
    assert (missing.code, missing.out, missing.err) == (127, "", "error: no-such-program: command not found\n")
    denied = cli(worktrees[0], "run", "--", "./readme.txt")
    assert (denied.code, denied.out, denied.err) == (126, "", "error: ./readme.txt: permission denied\n")
    assert cli(worktrees[0], "run", "--", "./readme.txt/x").code == 127
    assert cli(worktrees[0], "run", "--", "/").code == 126
    script = worktrees[0] / "plain-script"
    script.write_text("echo $1\nexit 5\n")
    script.chmod(0o755)
    ran = cli(worktrees[0], "run", "--", "./plain-script", "word")
    assert (ran.code, ran.out) == (5, "word\n")


def test_a_failure_of_our_own_is_125(worktrees: Pair, cli: Cli, tmp_path: Path) -> None:
    unknown = cli(worktrees[0], "run", "--notify", "nobody", "--", "true")
    assert (unknown.code, unknown.out, unknown.err.splitlines()[0]) == (125, "", "error: no session is called nobody")
    assert cli(tmp_path, "run", "--", "true").code == 125
    assert cli(worktrees[0], "run").code == 125
    assert cli(worktrees[0], "jobs").out == "No jobs (older ones: git coord jobs --all).\n"


def test_json_of_a_job(worktrees: Pair, cli: Cli) -> None:
    cli(worktrees[0], "run", "--name", "unit tests", "--", "sh", "-c", "echo bad >&2; exit 3")
    (job,) = json.loads(cli(worktrees[1], "jobs", "--json").out)
    assert len(job.pop("id")) == 40 and isinstance(job.pop("pid"), int)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", job.pop(key)) for key in ("started", "ended"))
    assert job == {
        "name": "unit tests", "command": ["sh", "-c", "echo bad >&2; exit 3"], "cwd": str(worktrees[0]), "session": "alpha",
        "runs": None, "state": "exited", "supervised": None, "exit": 3, "signal": None, "stderr_tail": "bad",
    }  # fmt: skip


def test_unknown_jobs_are_an_error(worktrees: Pair, cli: Cli) -> None:
    for verb in ("show", "log", "kill"):
        ran = cli(worktrees[0], "job", verb, "build")
        assert (ran.code, ran.out) == (2, "")
        assert ran.err == "error: no job is called build or has this id\nhint: git coord jobs --all\n"
    cli(worktrees[0], "run", "--name", "build", "true")
    over = cli(worktrees[0], "job", "kill", "build")
    assert (over.code, over.err.splitlines()[0]) == (1, "error: build has ended already")


# streams


def test_binary_output_passes_unchanged_and_apart(worktrees: Pair) -> None:
    every_byte = bytes(range(256)) * 1000
    (worktrees[0] / "data").write_bytes(every_byte)
    argv = [*GITCOORD, "run", "--name", "b", "--", "sh", "-c", "cat data; cat >&2"]
    ran = subprocess.run(argv, cwd=worktrees[0], input=every_byte[::-1], capture_output=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, every_byte, every_byte[::-1])
    raw = subprocess.run([*GITCOORD, "job", "log", "--raw", "b"], cwd=worktrees[0], capture_output=True).stdout
    assert sorted(raw) == sorted(every_byte * 2)


def test_the_log_keeps_the_beginning_and_the_end(worktrees: Pair) -> None:
    with Coord.open(worktrees[0]) as coord:
        numbers = "".join(f"{n}\n" for n in range(700_000)).encode()
        job = coord.jobs.start(["seq", "0", "699999"])
        ended(worktrees[0], "seq")
        log = coord.jobs.log(job.id)
        assert log == Path(job.log).read_bytes()
    assert len(numbers) > 4 * LIMIT
    assert HEAD + TAIL < len(log) <= LIMIT
    head, mark, rest = re.split(rb"\n(\[\.\.\. \d+ bytes left out \.\.\.\])\n", log)
    assert numbers.startswith(head) and len(head) == HEAD
    assert numbers.endswith(rest) and len(rest) >= TAIL
    assert int(mark.split()[1]) == len(numbers) - len(head) - len(rest)


def test_the_told_tail_is_short_plain_text(worktrees: Pair) -> None:
    script = r"""
        for n in $(seq 100); do printf 'line %s\n' $n >&2; done
        printf '10 %%\r50 %%\r100 %%\n\033[31mred\033[0m \033]0;title\007end\a\377\n' >&2; exit 1"""
    subprocess.run([*GITCOORD, "run", "--", "sh", "-c", script], cwd=worktrees[0], stderr=subprocess.DEVNULL)
    (notice,) = notices(worktrees[0])
    lines = notice.split("\n")
    assert lines[1:-1] == [*(f"line {n}" for n in range(83, 101)), "100 %", "red end\ufffd"]


def test_plain_text_of_a_terminals_output() -> None:
    assert plain(b"a\r\n\x1b[1;31mb\x1b[0m\x1b(B\r\nold\rnew\r\n\x00\x08c\xe2\x80\xaed") == "a\nb\nnew\ncd"


def test_who_reads_no_further_ends_the_command_as_in_a_pipe(worktrees: Pair) -> None:
    line = f"set -o pipefail; {sys.executable} -m gitcoord run -- yes | head -1"
    ran = subprocess.run(["bash", "-c", line], cwd=worktrees[0], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (141, "y\n", "")
    assert ended(worktrees[0], "yes").signal == signal.SIGPIPE


def test_without_any_stream_it_still_runs(worktrees: Pair) -> None:
    command = "test ! -t 0 && echo out && echo err >&2 && exit 6"
    line = f"{sys.executable} -m gitcoord run --name bare -- sh -c '{command}' <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", line], cwd=worktrees[0]).returncode == 6
    with Coord.open(worktrees[0]) as coord:
        assert coord.jobs.log("bare") == b"out\nerr\n"


def test_what_outlives_the_command_is_not_waited_for(worktrees: Pair, cli: Cli, fifo: Path) -> None:
    ran = cli(worktrees[0], "run", "--", "sh", "-c", f"(read x <{fifo}; echo late) & echo out")
    assert (ran.code, ran.out) == (0, "out\n")
    fifo.write_text("go\n")


# terminals


class OnTerminal:
    """A program on a terminal of its own."""

    def __init__(self, where: Path, *argv: str, size: tuple[int, int] = (24, 80)) -> None:
        self.out = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(where)
            termios.tcsetwinsize(0, size)
            os.execv(sys.executable, [*GITCOORD, *argv])

    def expect(self, text: str) -> None:
        while text.encode() not in self.out:
            self.out += os.read(self.fd, 4096)

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def end(self) -> tuple[int, str]:
        try:
            while data := os.read(self.fd, 4096):
                self.out += data
        except OSError:
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1]), self.out.decode().replace("\r\n", "\n")


def test_on_a_terminal_the_command_has_one_too(worktrees: Pair) -> None:
    script = "test -t 0 && test -t 1 && test -t 2 && stty size && echo ask >/dev/tty; read x; echo got $x; exit 7"
    program = OnTerminal(worktrees[0], "run", "--name", "ask", "--", "sh", "-c", script, size=(33, 44))
    program.expect("ask")
    program.type("answer\n")
    assert program.end() == (7, "33 44\nask\nanswer\ngot answer\n")
    (notice,) = notices(worktrees[0])
    assert notice.split("\n")[1:-1] == ["33 44", "ask", "answer", "got answer"]


def test_ctrl_c_reaches_the_command(worktrees: Pair) -> None:
    program = OnTerminal(worktrees[0], "run", "--", "sh", "-c", "trap 'echo caught; exit 9' INT; echo ready; read x")
    program.expect("ready")
    program.type("\x03")
    assert program.end() == (9, "ready\n^Ccaught\n")


def test_a_new_size_of_the_window_reaches_the_command(worktrees: Pair) -> None:
    script = (
        "import os, signal; signal.pthread_sigmask(0, [signal.SIGWINCH]); print('ready', flush=True);"
        " signal.sigwait([signal.SIGWINCH]); print(*os.get_terminal_size())"
    )
    program = OnTerminal(worktrees[0], "run", "--", sys.executable, "-c", script)
    program.expect("ready")
    termios.tcsetwinsize(program.fd, (50, 132))
    assert program.end() == (0, "ready\n132 50\n")


def test_the_terminal_is_left_as_it_was(worktrees: Pair) -> None:
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    line = f"{sys.executable} -m gitcoord run -- stty raw -echo"
    ran = subprocess.run(
        ["setsid", "--ctty", "--wait", "sh", "-c", line], cwd=worktrees[0], stdin=slave, stdout=slave, stderr=slave
    )
    assert ran.returncode == 0
    assert termios.tcgetattr(slave) == before
    os.close(master), os.close(slave)


def test_the_end_of_the_terminal_is_passed_on_and_told(worktrees: Pair, fifo: Path) -> None:
    script = f"trap 'echo hung up >{fifo}; exit 4' HUP; echo ready; while :; do read x || sleep 0.01; done"
    program = OnTerminal(worktrees[0], "run", "--name", "tty", "--", "sh", "-c", script)
    program.expect("ready")
    os.close(program.fd)
    assert fifo.read_text() == "hung up\n"
    assert ended(worktrees[0], "tty").exit == 4
    os.waitpid(program.pid, 0)


# signals


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "QUIT"])
def test_signals_reach_the_whole_process_group(worktrees: Pair, fifo: Path, name: str) -> None:
    inner = f"trap 'echo inner >{fifo}; exit' {name}; echo ready; while :; do sleep 9; done"
    argv = [*GITCOORD, "run", "--", "sh", "-c", f"trap 'exit 5' {name}; sh -c \"{inner}\"; exit 1"]
    program = subprocess.Popen(argv, cwd=worktrees[0], stdout=subprocess.PIPE, start_new_session=True)
    assert program.stdout is not None and program.stdout.readline() == b"ready\n"
    program.send_signal(getattr(signal, f"SIG{name}"))
    assert fifo.read_text() == "inner\n"
    assert program.wait() == 5
    program.stdout.close()


def test_kill_ends_everything_that_the_job_started(worktrees: Pair, fifo: Path) -> None:
    with Coord.open(worktrees[0]) as coord:
        script = f"(trap '' TERM; exec 5<>{fifo}; flock 5; echo ready; while :; do sleep 9; done) & wait"
        job = coord.jobs.start(["sh", "-c", script], name="stubborn")
        log = Path(job.log)
        until_written(log, b"ready")
        killed = coord.jobs.kill("stubborn", grace=0.1)
        assert (killed.state, killed.signal) == ("killed", signal.SIGTERM)
        with pytest.raises(ProcessLookupError):
            _await_group_end(job.pid)
        with pytest.raises(Refused, match="has ended already"):
            coord.jobs.kill("stubborn")


def until_written(path: Path, text: bytes) -> None:
    """Wait for a command to have written to its log: the watch of refs sees the file system, too."""
    with path.open("rb") as file:
        got = b""
        while text not in got:
            got += file.read()


def _await_group_end(group: int) -> None:
    """Raises ProcessLookupError once nobody alive is in the group (a zombie that init has yet to reap is not)."""
    while any(_group_of(pid) == group for pid in Path("/proc").iterdir() if pid.name.isdigit()):
        pass
    raise ProcessLookupError


def _group_of(proc: Path) -> int:
    try:
        fields = (proc / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in (b"Z", b"X") else int(fields[2])


# in the background


def test_a_detached_job_outlives_its_starter(worktrees: Pair, fifo: Path) -> None:
    line = f"{sys.executable} -m gitcoord run --detach --json --name bg -- sh -c 'read x <{fifo}; echo $x; exit 4'; cat"
    starter = subprocess.Popen(
        ["sh", "-c", line], cwd=worktrees[0], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert starter.stdout is not None and starter.stdin is not None
    said = json.loads(starter.stdout.readline())
    assert set(said) == {"id", "pid", "log"}
    supervisor = running(worktrees[0], "bg").supervisor.pid
    assert os.getsid(supervisor) not in (os.getsid(0), starter.pid) and os.getsid(said["pid"]) == said["pid"]
    assert starter.pid not in processes.ancestors(supervisor)
    os.killpg(starter.pid, signal.SIGKILL)
    starter.wait()
    starter.stdin.close(), starter.stdout.close()
    fifo.write_text("word\n")
    job = ended(worktrees[0], "bg")
    assert (job.id, job.state, job.exit) == (said["id"], "exited", 4)
    assert Path(said["log"]).read_bytes() == b"word\n"
    assert len(notices(worktrees[0])) == 1


def test_detached_output_says_what_was_started(worktrees: Pair, cli: Cli) -> None:
    ran = cli(worktrees[0], "run", "--detach", "true")
    log = Path(files.log_path(find_repository(worktrees[0]).coord_dir, ended(worktrees[0], "true").key))
    assert (ran.code, shown(ran.out), ran.err) == (0, f"ID started, pid PID\n  log: {log}\n", "")
    missing = cli(worktrees[0], "run", "--detach", "no-such-program")
    assert (missing.code, missing.out) == (127, "")
    assert shown(missing.err) == "error: no-such-program: cannot be run\nhint: git coord job show ID\n"
    refused = cli(worktrees[0], "run", "--detach", "--notify", "nobody", "true")
    assert (refused.code, refused.err.splitlines()[0]) == (125, "error: no session is called nobody")


def test_twenty_jobs_at_once_are_told_once_each(worktrees: Pair) -> None:
    argv = [[*GITCOORD, "run", "--name", f"n{n}", "--", "sh", "-c", f"echo {n} >&2; exit {n}"] for n in range(20)]
    programs = [subprocess.Popen(args, cwd=worktrees[0], stderr=subprocess.PIPE, start_new_session=True) for args in argv]
    assert [program.communicate()[1] for program in programs] == [f"{n}\n".encode() for n in range(20)]
    assert [program.returncode for program in programs] == list(range(20))
    told = sorted(text.split()[0] for text in notices(worktrees[0]))
    assert told == sorted(f"n{n}" for n in range(20))
    assert files.keys(find_repository(worktrees[0]).coord_dir) == []


# supervisors that die


def kill_supervisor(where: Path, name: str) -> files.Running:
    facts = running(where, name)
    os.kill(facts.supervisor.pid, signal.SIGKILL)
    assert processes.wait_for_end(facts.supervisor, FOR_EVER)
    return facts


def test_a_job_without_supervisor_runs_on_and_is_lost_once_when_it_ends(worktrees: Pair, cli: Cli, fifo: Path) -> None:
    with Coord.open(worktrees[0]) as coord:
        coord.jobs.start(["sh", "-c", f"read x <{fifo}"], name="orphan", notify=["beta"])
        assert coord.jobs.get("orphan").supervised
        facts = kill_supervisor(worktrees[0], "orphan")
        alone = coord.jobs.get("orphan")
        assert (alone.state, alone.supervised) == ("running", False)
        assert ", unsupervised, of alpha" in cli(worktrees[1], "jobs").out
        assert notices(worktrees[0]) == []
        fifo.write_text("go\n")
        assert facts.command is not None and processes.wait_for_end(facts.command, FOR_EVER)
        crowd = [subprocess.Popen([*GITCOORD, "sessions"], cwd=worktrees[1], stdout=subprocess.DEVNULL) for _ in range(8)]
        assert [program.wait() for program in crowd] == [0] * 8
        assert coord.jobs.get("orphan").state == "lost"
        assert [event.type for event in coord.events.log(limit=1000)].count("job.lost") == 1
    for where in worktrees:
        (notice,) = notices(where)
        assert notice.startswith("orphan was lost: it and its supervisor ended, nobody saw how: sh -c 'read x <")


def test_a_job_without_supervisor_can_be_killed(worktrees: Pair, fifo: Path) -> None:
    with Coord.open(worktrees[0]) as coord:
        coord.jobs.start(["sh", "-c", f"read x <{fifo}"], name="orphan")
        kill_supervisor(worktrees[0], "orphan")
        assert coord.jobs.kill("orphan").state == "lost"
        assert len(notices(worktrees[0])) == 1


def test_a_later_process_with_the_same_pid_is_not_taken_for_the_job(worktrees: Pair, fifo: Path) -> None:
    with Coord.open(worktrees[0]) as coord:
        coord.jobs.start(["sh", "-c", f"read x <{fifo}"], name="old")
        facts = kill_supervisor(worktrees[0], "old")
        assert facts.command is not None
        os.kill(facts.command.pid, signal.SIGKILL)
        assert processes.wait_for_end(facts.command, FOR_EVER)
        recycled = processes.describe(os.getpid())
        assert recycled is not None
        recycled = recycled._replace(start="1")
        files.put(coord.clone.repo.coord_dir, facts._replace(supervisor=recycled, command=recycled))
        with pytest.raises(Refused):
            coord.jobs.kill("old")
        assert coord.jobs.get("old").state == "lost"


def test_after_a_new_start_of_the_machine_a_job_is_lost(
    worktrees: Pair, fifo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_boots, "PLACE", str(tmp_path))
    monkeypatch.setattr(own_boots, "boot_id", lambda: "an-earlier-boot")
    own_boots.note()
    monkeypatch.undo()
    monkeypatch.setattr(own_boots, "PLACE", str(tmp_path))
    facts = _as_if_elsewhere(worktrees[0], fifo, boot="an-earlier-boot")
    _no_sign_since_the_start(worktrees[0], facts)
    assert ended(worktrees[0], "far").state == "lost"
    fifo.write_text("go\n")
    assert facts.command is not None and processes.wait_for_end(facts.command, FOR_EVER)


@pytest.mark.parametrize(
    "elsewhere",
    [{"namespace": "pid:[1]"}, {"boot": "another kernel", "machine": "another machine"}, {"boot": "another kernel"}],
    ids=["container", "machine", "virtual machine with our machine id"],
)
@pytest.mark.parametrize("supervisor", ["lives", "died before this kernel began"])
def test_what_cannot_be_judged_from_here_is_never_lost(
    worktrees: Pair, fifo: Path, elsewhere: dict[str, str], supervisor: str
) -> None:
    facts = _as_if_elsewhere(worktrees[0], fifo, **elsewhere)
    if supervisor != "lives":
        _no_sign_since_the_start(worktrees[0], facts)
    with Coord.open(worktrees[0]) as coord:
        assert reap(coord.clone) == []
        job = coord.jobs.get("far")
        assert (job.state, job.supervised) == ("running", None)
        with pytest.raises(Refused, match="another container or machine"):
            coord.jobs.kill("far")
    fifo.write_text("go\n")
    assert ended(worktrees[0], "far").state == "exited"


def _no_sign_since_the_start(where: Path, facts: files.Running) -> None:
    before = time.time() - uptime() - 1
    os.utime(files.running_dir(str(find_repository(where).coord_dir)) + f"/{facts.key}.json", (before, before))


def _as_if_elsewhere(where: Path, fifo: Path, machine: str = "", **facts: str) -> files.Running:
    """A running job, with the facts of its processes changed."""
    with Coord.open(where) as coord:
        coord.jobs.start(["sh", "-c", f"read x <{fifo}"], name="far")
    real = running(where, "far")
    assert real.command is not None
    changed = real._replace(supervisor=real.supervisor._replace(**facts), command=real.command._replace(**facts))
    files.put(find_repository(where).coord_dir, changed._replace(machine=machine or real.machine))
    return real


def test_a_supervisor_killed_while_it_tells_the_end_loses_nothing(worktrees: Pair, fifo: Path) -> None:
    """The end is in its file before it is in the log; the next process completes what is missing."""
    with Coord.open(worktrees[0]) as coord:
        coord.jobs.start(["sh", "-c", f"read x <{fifo}"], name="told")
        facts = kill_supervisor(worktrees[0], "told")
        ending = files.Ending(facts.started + 2, exit=3, tail="bad")
        files.put(coord.clone.repo.coord_dir, facts._replace(ending=ending))
        job = coord.jobs.get("told")
        assert (job.state, job.exit, job.stderr_tail, job.ms) == ("exited", 3, "bad", 2000)
        files.put(coord.clone.repo.coord_dir, facts._replace(ending=ending))  # killed before it removed its file
        assert coord.jobs.get("told") == job
        assert len(notices(worktrees[0])) == 1
        fifo.write_text("go\n")


def test_a_supervisor_killed_before_the_command_ran_leaves_no_command(worktrees: Pair, tmp_path: Path) -> None:
    code = f"""
import os, signal
from gitcoord import Coord
from gitcoord.features.jobs import child, supervise
from gitcoord.features.jobs.start import Spec
child.open_gate = lambda child: os.kill(os.getpid(), signal.SIGKILL)
with Coord.open({str(worktrees[0])!r}) as coord:
    supervise.run(coord.clone, coord.identity, Spec(("touch", {str(tmp_path / "ran")!r})), "/")
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    facts = running(worktrees[0], "touch")
    assert facts.command is not None and processes.wait_for_end(facts.command, FOR_EVER)
    assert ended(worktrees[0], "touch").state == "lost"
    assert not (tmp_path / "ran").exists()


def test_a_copy_of_the_clone_has_no_say_in_its_jobs(repo: Path, worktrees: Pair, tmp_path: Path, fifo: Path) -> None:
    with Coord.open(repo, as_name="alpha") as coord:
        coord.jobs.start(["sh", "-c", f"read x <{fifo}"], name="here")
    supervisor = running(repo, "here").supervisor
    subprocess.run(["cp", "-a", str(repo), str(tmp_path / "copy")], check=True)
    fifo.write_text("go\n")
    assert ended(repo, "here").state == "exited" and processes.wait_for_end(supervisor, FOR_EVER)
    with Coord.open(tmp_path / "copy", as_name="other") as copy:
        copy.notes.add("mine now")
        assert [(job.name, job.state) for job in copy.jobs.list()] == [("here", "running")]
        assert files.keys(copy.clone.repo.coord_dir) == []
        with pytest.raises(Refused, match="in another clone"):
            copy.jobs.log(copy.jobs.list()[0].id)


# who sees what


def synced(where: Path) -> str:
    """All objects that a sync would send."""
    return "".join(git(where, "log", "--format=%B", f"--glob=refs/coord/{kind}") for kind in ("log", "sessions"))


SECRETIVE = ("run", "--name", "build", "--", "sh", "-c", "echo hush >&2; : token; exit 3")


def test_command_directory_and_output_stay_in_the_clone(worktrees: Pair, cli: Cli) -> None:
    assert cli(worktrees[0], *SECRETIVE).code == 3
    text = synced(worktrees[0])
    assert "build failed with exit code 3" in text
    assert not [word for word in ("hush", "token", str(worktrees[0]), "pid") if word in text]


def test_published_jobs_leave_it(worktrees: Pair, cli: Cli) -> None:
    assert cli(worktrees[0], "run", "--publish", *SECRETIVE[1:]).code == 3
    text = synced(worktrees[0])
    assert "hush" in text and "token" in text
    assert len(notices(worktrees[0])) == 1


@pytest.mark.parametrize("published", [False, True])
def test_other_clones_are_told_what_may_leave(worktrees: Pair, cli: Cli, tmp_path: Path, published: bool) -> None:
    far = tmp_path / "far"
    git(tmp_path, "clone", "-q", str(worktrees[0]), str(far))
    cli(far, "join", "zoe")
    git(worktrees[0], "fetch", "-q", str(far), *(f"refs/coord/{kind}/*:refs/coord/{kind}/*" for kind in ("log", "sessions")))
    options = ["--publish"] if published else []
    assert cli(worktrees[0], "run", *options, "--notify", "zoe,beta", *SECRETIVE[1:]).code == 3
    git(far, "fetch", "-q", str(worktrees[0]), "refs/coord/log/*:refs/coord/log/*")
    (notice,) = notices(far)
    assert shown(notice).split("\n")[0].startswith("build failed with exit code 3 after N s")
    assert ("hush" in notice, "token" in notice) == (published, published)
    (job,) = json.loads(cli(far, "jobs", "--json").out)
    assert (job["state"], job["exit"], job["name"]) == ("exited", 3, "build")
    assert (job["command"] is not None, job["stderr_tail"]) == (published, "hush" if published else None)
    for where in worktrees:
        assert ["hush" in text for text in notices(where)] == [True]


def test_a_worker_is_session_and_job_at_once(worktrees: Pair, cli: Cli, fifo: Path) -> None:
    script = f"{sys.executable} -m gitcoord whoami; read x <{fifo}"
    with Coord.open(worktrees[0]) as coord:
        job = coord.jobs.start(["sh", "-c", script], name="worker", session="w1")
        until_written(Path(job.log), b"\n")
        assert (
            coord.jobs.log("worker") == f"w1 of the clone {coord.clone.id}, by the rule: named by GIT_COORD_SESSION\n".encode()
        )
        assert coord.sessions.get("w1").state == "active"
        assert (coord.jobs.get("worker").session.split("@")[0], coord.jobs.get("worker").runs) == ("alpha", "w1")
        with pytest.raises(Refused, match="w1 is bound to another process"):
            coord.jobs.start(["true"], session="w1")
        with pytest.raises(UsageError, match="is a person"):
            coord.jobs.start(["true"], session="ada-lovelace")
        assert cli(worktrees[1], "send", "w1", "stop", "--urgent").code == 0
        coord.jobs.kill("worker")
        assert coord.sessions.get("w1").state == "gone"
        assert coord.jobs.get("worker").state == "killed"
    assert "as the session w1" in cli(worktrees[1], "jobs").out
    assert [text.split("\n")[0] for text in notices(worktrees[1])] == ["w1 is gone: its process ended."]


def test_a_process_that_somebody_else_started_is_watched(worktrees: Pair, cli: Cli) -> None:
    other = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    with Coord.open(worktrees[0]) as coord:
        job = coord.jobs.start(name="server", watch_pid=other.pid)
        assert job.pid == other.pid
        assert coord.jobs.get("server").state == "running"
        assert other.stdin is not None
        other.stdin.close()
        other.wait()
        over = ended(worktrees[0], "server")
        assert (over.state, over.exit, over.signal) == ("exited", None, None)
    assert shown(notices(worktrees[0])[0]).startswith("server ended after N s with an unknown exit code")
    ran = cli(worktrees[0], "run", "--watch-pid", str(other.pid))
    assert (ran.code, ran.err.splitlines()[0]) == (125, f"error: no process has the pid {other.pid}")


def test_killing_a_watched_process_spares_its_group(worktrees: Pair) -> None:
    other = subprocess.Popen(["cat"], stdin=subprocess.PIPE)  # in our own process group
    with Coord.open(worktrees[0]) as coord:
        coord.jobs.start(name="server", watch_pid=other.pid)
        assert coord.jobs.kill("server").state == "exited"
    assert other.wait() == -signal.SIGTERM
    assert other.stdin is not None
    other.stdin.close()


def test_only_the_newest_logs_are_kept(worktrees: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = Path(find_repository(worktrees[0]).coord_dir, "jobs")
    directory.mkdir()
    for number in range(files.KEEP_LOGS + 20):
        (directory / f"{number:016x}.log").touch()
        os.utime(directory / f"{number:016x}.log", (number, number))
    with Coord.open(worktrees[0]) as coord:
        coord.jobs.start(["true"])
    ended(worktrees[0], "true")
    kept = sorted(path.stem for path in directory.glob("00000000*.log"))
    assert kept == [f"{number:016x}" for number in range(20, files.KEEP_LOGS + 20)]


# the fold

CLONES = ("a", "b")
IDS = ("job-1", "job-2")


def _events() -> st.SearchStrategy[list[Event]]:
    start = st.builds(lambda job: ("job.start", job, "a", {"name": job, "key": job}), st.sampled_from(IDS))
    end = st.builds(
        lambda job, clone, code: ("job.end", "", clone, {"job": job, "exit": code, "ms": 1}),
        st.sampled_from(IDS), st.sampled_from(CLONES), st.integers(0, 3),
    )  # fmt: skip
    lost = st.builds(lambda job, clone: ("job.lost", "", clone, {"job": job}), st.sampled_from(IDS), st.sampled_from(CLONES))
    detail = st.builds(
        lambda job, clone, tail: ("job.detail", "", clone, {"job": job, "part": "end", "tail": tail}),
        st.sampled_from(IDS), st.sampled_from(CLONES), st.sampled_from("xyz"),
    )  # fmt: skip
    return st.lists(st.one_of(start, end, lost, detail), max_size=6).map(_numbered)


def _numbered(rows: list[tuple[str, str, str, dict[str, object]]]) -> list[Event]:
    return [
        Event(Oid(oid or f"{n:040x}"), kind, n if not oid else 1, clone, "alpha", "", 0, "", data)
        for n, (kind, oid, clone, data) in enumerate(rows, 2)
    ]


def _folded(events: list[Event]) -> list[object]:
    db = sqlite3.connect(":memory:")
    db.executescript(FEATURE.tables)
    for event in events:
        FEATURE.fold(db, event)
    return [sorted(db.execute(f"SELECT * FROM {table}")) for table in ("jobs", "job_ends", "job_details")]


@examples(60)
@given(_events())
def test_any_order_of_arrival_gives_the_same_tables(events: list[Event]) -> None:
    expected = _folded(events)
    for order in itertools.islice(itertools.permutations(events), 0, 720, 13):
        assert _folded(list(order)) == expected


def test_an_end_that_was_seen_counts_more_than_a_loss() -> None:
    lost = Event(Oid("1" * 40), "job.lost", 2, "a", "alpha", "", 5, "", {"job": "j"})
    end = Event(Oid("2" * 40), "job.end", 3, "a", "alpha", "", 6, "", {"job": "j", "exit": 0, "ms": 1})
    assert _folded([lost, end])[1] == [("j", "a", 0, 3, "2" * 40, 6, 0, None, 1)]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("job.start", {"name": 3, "key": "k"}),
        ("job.start", {"name": "n"}),
        ("job.end", {"job": "j", "exit": "0"}),
        ("job.end", {"exit": 0}),
        ("job.detail", {"job": "j", "part": "middle"}),
        ("job.detail", {"job": "j", "part": "end"}),
        ("job.detail", {"job": "j", "part": "start", "command": [1], "cwd": "", "pid": 1}),
    ],
)
def test_payloads_that_make_no_sense_are_malformed(kind: str, data: dict[str, object]) -> None:
    assert objection(FEATURE.schemas[kind], Event(Oid("1" * 40), kind, 2, "a", "alpha", "", 5, "", data))
