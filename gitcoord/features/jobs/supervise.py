"""Supervise a command: pass its streams to ours and to the log, our signals to it, and its end to the log of events.

A detached job depends on no terminal, session or agent program. The supervisor runs in the main thread of its process,
which must have no other thread.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable
from types import FrameType

from gitcoord.errors import CoordError, RepositoryError
from gitcoord.features.jobs import child as children
from gitcoord.features.jobs import files
from gitcoord.features.jobs.end import record_end
from gitcoord.features.jobs.files import Ending
from gitcoord.features.jobs.output import BoundedLog, Tail
from gitcoord.features.jobs.start import Spec, StartedJob, begin, command_known, environment, watched_process
from gitcoord.lean import Any, signal, suppress
from gitcoord.log.clone import Clone
from gitcoord.sessions.identity import Identity
from gitcoord.sessions.records import Records
from gitcoord.system import process as processes
from gitcoord.system import terminal

assert sys.platform != "win32"  # jobs do not start on Windows

BEAT_EVERY = 60.0
"""Seconds between two signs of life that a supervisor gives for its session."""
PASSED_ON = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")
CHUNK = 1 << 16
LAST_CHUNKS = 16
"""Chunks that are read after the end of the command; a pipe holds at most sixteen."""

Started = Callable[[StartedJob, int], None]
"""Called once the command runs, or with the exit code for one that could not be started."""


def run(clone: Clone, me: Identity, spec: Spec, cwd: str, detached: bool = False, started: Started | None = None) -> int:
    """Run a command as a job, to its end; returns what to exit with (its exit code, 128 + N for signal N).

    `detached` gives it no terminal and no input. Raises CoordError when the job could not begin.
    """
    if not hasattr(os, "fork"):
        raise RepositoryError("git coord run needs a POSIX system", "start the command without it")
    if spec.watch_pid:
        return _watch(clone, me, spec, cwd, started)
    with Signals() as signals:
        begun = begin(clone, me, spec, cwd)
        on_terminal = [False] * 3 if detached else terminal.terminals()
        try:
            child = children.fork(spec.argv, environment(clone, spec, dict(clone.repo.environ)), on_terminal, detached)
            begun = _let_go(clone, begun, spec, child, cwd)
        except (CoordError, OSError) as error:
            _end(clone, begun, Ending(time.time(), exit=125, tail=str(error)))
            raise
        log = BoundedLog(files.log_path(clone.repo.coord_dir, begun.running.key))
        relay = Relay(child, log, signals, on_terminal, detached, lambda: _beat(clone, me.name, begun.running.key))
        code = _accompany(relay, begun, spec, started)
        log.close()
        _end(clone, begun, _ending(code, relay.tail.text))
        return code if code >= 0 else 128 - code


def _accompany(relay: Relay, begun: StartedJob, spec: Spec, started: Started | None) -> int:
    """Let the command run, and stay with it to its end; returns its exit code, or minus the number of a signal."""
    relay.signals.group = relay.child.pid
    relay.take_keyboard()
    error_number = children.open_gate(relay.child)
    relay.signals.open()
    failed = children.exit_code(error_number) if error_number else 0
    if started:
        started(begun, failed)
    if error_number:
        relay.complain(f"{spec.argv[0]}: {_reason(error_number)}\n")
    code = relay.run()
    return failed or code


def _reason(error_number: int) -> str:
    return "command not found" if error_number == 2 else os.strerror(error_number).lower()


def _ending(code: int, tail: str) -> Ending:
    return Ending(time.time(), exit=code, tail=tail) if code >= 0 else Ending(time.time(), signal=-code, tail=tail)


def _let_go(clone: Clone, begun: StartedJob, spec: Spec, child: children.Child, cwd: str) -> StartedJob:
    try:
        command = processes.describe(child.pid)
        if command is None:
            raise RepositoryError("the command's process ended before it began", "run the command again")
        return command_known(clone, begun, spec, command, cwd)
    except BaseException:
        children.turn_away(child)
        raise


def _end(clone: Clone, begun: StartedJob, ending: Ending) -> None:
    """Record the end first in our file, so that no process can call the job lost, then in the log of events."""
    running = files.get(clone.repo.coord_dir, begun.running.key) or begun.running
    try:
        files.put(clone.repo.coord_dir, running._replace(ending=ending))
        record_end(clone, running.key, ending)
    except CoordError as error:  # the command's exit code still goes to our caller
        with suppress(OSError):
            os.write(2, f"error: {error.what}\n".encode())


def _beat(clone: Clone, name: str, key: str) -> None:
    files.give_sign(clone.repo.coord_dir, key)
    records = Records(clone.repo.coord_dir)
    record = records.get(name)
    if record is not None and record.left is None:
        records.touch(name)
        with suppress(CoordError):
            from gitcoord.sessions.housekeeping import keep_up
            from gitcoord.sessions.presence import PUBLISH_EVERY

            if not 0 <= time.time() - record.published < PUBLISH_EVERY:
                keep_up(clone, record)


def _watch(clone: Clone, me: Identity, spec: Spec, cwd: str, started: Started | None) -> int:
    """Wait for the end of a process that somebody else started. When interrupted, the job continues without a
    supervisor."""
    command = watched_process(spec)
    assert command is not None
    begun = command_known(clone, begin(clone, me, spec, cwd), spec, command, cwd)
    if started:
        started(begun, 0)
    while not processes.wait_for_end(command, BEAT_EVERY):
        _beat(clone, me.name, begun.running.key)
    _end(clone, begun, Ending(time.time()))
    return 0


class Signals:
    """Passes our signals to the command's process group; early ones as soon as it exists."""

    def __init__(self) -> None:
        self.group = 0
        self._early: list[int] = []
        self._before: dict[int, Any] = {}
        self.woken, self._wake = os.pipe()
        os.set_blocking(self.woken, False)
        os.set_blocking(self._wake, False)
        self._open = False

    def __enter__(self) -> Signals:
        self._wakeup_before = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for name in PASSED_ON:
            number = getattr(signal, name)
            if signal.getsignal(number) != signal.SIG_IGN:  # nohup(1) ignores SIGHUP
                self._before[number] = signal.signal(number, self._pass_on)
        for number in (signal.SIGCHLD, signal.SIGWINCH, signal.SIGCONT):
            self._before[number] = signal.signal(number, lambda *_: None)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self.woken)
        os.close(self._wake)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        """Pass a signal on in the handler itself, even while we are blocked on a reader that does not read."""
        if not self._open:
            self._early.append(number)
        elif self.group:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.group, number)

    def open(self) -> None:
        """Pass on the signals that came before the command ran."""
        self._open = True
        for number in self._early:
            self._pass_on(number, None)

    def taken(self) -> bytes:
        """The numbers of the signals that came since the last call."""
        try:
            return os.read(self.woken, 4096)
        except BlockingIOError:
            return b""


class Relay:
    """Carries bytes between a child and us until it ends."""

    def __init__(
        self,
        child: children.Child,
        log: BoundedLog,
        signals: Signals,
        on_terminal: list[bool],
        detached: bool,
        beat: Callable[[], None],
    ) -> None:
        self.child, self.log, self.signals, self.beat = child, log, signals, beat
        self.tail = Tail()
        self.keyboard = terminal.Keyboard() if on_terminal[0] else None
        self._screen = next((fd for fd in (1, 2, 0) if on_terminal[fd]), -1)
        self._typed = b""
        self._poller = select.poll()
        self._sinks: dict[int, int] = {}
        """The descriptor to which each source is copied."""
        for source, sink in ((child.master, self._screen), (child.out, 1), (child.err, 2)):
            if source >= 0:
                os.set_blocking(source, False)
                self._sinks[source] = -1 if detached else sink
                self._poller.register(source, select.POLLIN)
        self._poller.register(signals.woken, select.POLLIN)

    def run(self) -> int:
        """Carry bytes until the child has ended; returns its exit code, or minus the number of the signal that killed
        it."""
        next_beat = time.monotonic() + BEAT_EVERY
        try:
            while (status := self._ended()) is None:
                for fd, _ in self._poller.poll(max(0.0, next_beat - time.monotonic()) * 1000):
                    self._serve(fd)
                if time.monotonic() >= next_beat:
                    self.beat()
                    next_beat = time.monotonic() + BEAT_EVERY
            self._take_rest()
            return status
        finally:
            if self.keyboard:
                self.keyboard.give_back()
            self._close()

    def _take_rest(self) -> None:
        """Read the rest of the pipes, without waiting for processes that outlive the command and still write."""
        for source in list(self._sinks):
            for _ in range(LAST_CHUNKS):
                if not self._carry(source):
                    break

    def _ended(self) -> int | None:
        pid, status = os.waitpid(self.child.pid, os.WNOHANG)
        if not pid:
            return None
        self.signals.group = 0
        return os.waitstatus_to_exitcode(status)

    def _serve(self, fd: int) -> None:
        if fd == self.signals.woken:
            came = self.signals.taken()
            if signal.SIGWINCH in came and self.child.master >= 0:
                terminal.copy_size(self._screen, self.child.master)
            if signal.SIGCONT in came:
                self.take_keyboard()
        elif fd == 0 and self.keyboard:
            self._read_keys()
        else:
            if self._typed:
                self._type()
            self._carry(fd)

    def _carry(self, source: int) -> bool:
        """Carry the available bytes; returns False if there are no more."""
        if source not in self._sinks:
            return False
        try:
            data = os.read(source, CHUNK)
        except BlockingIOError:
            return False
        except OSError:  # EIO: no process has the pseudo-terminal open any more
            data = b""
        if not data:
            self._drop(source)
            return False
        self._keep(source, data)
        self._show(source, data)
        return True

    def _keep(self, source: int, data: bytes) -> None:
        self.log.write(data)
        if source != self.child.out:
            self.tail.write(data)

    def _show(self, source: int, data: bytes) -> None:
        sink = self._sinks[source]
        try:
            while data and sink >= 0:
                data = data[os.write(sink, data) :]
        except BlockingIOError:
            select.select([], [sink], [])  # our output was made non-blocking
            self._show(source, data)
        except BrokenPipeError:
            self._drop(source)  # our reader is gone: the command must notice that as if it ran alone
        except OSError:
            self._sinks[source] = -1  # the terminal is gone: the log continues

    def _drop(self, source: int) -> None:
        del self._sinks[source]
        self._poller.unregister(source)
        if source != self.child.master:
            os.close(source)

    def take_keyboard(self) -> None:
        """Begin, or continue, to pass on every key; does nothing while we are in the background."""
        if self.keyboard and self.keyboard.take() and not self._typed:
            terminal.end_lines(self.child.master)
            self._poller.register(0, select.POLLIN)

    def _read_keys(self) -> None:
        """Read keys. They wait in the terminal while the command does not take earlier ones."""
        try:
            self._typed = os.read(0, CHUNK)
        except OSError:
            self._typed = b""
        if not self._typed:
            self._poller.unregister(0)
            return
        self._type()

    def _type(self) -> None:
        master = self.child.master
        try:
            self._typed = self._typed[os.write(master, self._typed) :]
        except BlockingIOError:
            pass
        except OSError:  # the command has closed it
            self._typed = b""
        if master in self._sinks:
            self._poller.modify(master, select.POLLIN | (select.POLLOUT if self._typed else 0))
        if not self._typed:
            self._poller.register(0, select.POLLIN)
        else:
            with suppress(KeyError):
                self._poller.unregister(0)

    def complain(self, text: str) -> None:
        """Print a line of our own where the command's errors would have gone."""
        data = f"error: {text}".encode(errors="replace")
        self.log.write(data)
        self.tail.write(data)
        if self._sinks.get(self.child.err, self._sinks.get(self.child.master, -1)) >= 0:
            with suppress(OSError):
                os.write(2, data.replace(b"\n", b"\r\n") if self.keyboard and self.keyboard.raw else data)

    def _close(self) -> None:
        for source in list(self._sinks):
            self._drop(source)
        if self.child.master >= 0:
            os.close(self.child.master)
