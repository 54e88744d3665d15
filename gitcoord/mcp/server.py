"""The protocol side, on the official SDK, which speaks both versions of it on stdin and stdout.

Each call opens the repository anew in a thread of its own, because a `Coord` belongs to one thread, and because the
caller and the directory can change between two calls. A message counts as read once the answer with it has left for the
client.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, cast

import anyio
import anyio.to_thread
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from mcp import types
from mcp.server import Server, ServerRequestContext
from mcp.server.stdio import stdio_server

from gitcoord import Coord, CoordError, UsageError, __version__
from gitcoord.features.messages.inbox import Inbox
from gitcoord.mcp import tools
from gitcoord.mcp.bell import Tower
from gitcoord.mcp.caller import CallOrigin, caller, opened
from gitcoord.mcp.forms import short
from gitcoord.store.discovery import find_repository
from gitcoord.store.repository import Repository
from gitcoord.system import reports
from gitcoord.system.lock import removed
from gitcoord.system.streams import reached_reader, remark
from gitcoord.text import is_unicode, one_line

POLLS_AT_ONCE = 2
"""The largest number of polls that look at the same time, so that other calls never wait for them."""
GOODBYE = 0.7
"""Seconds for which answers to the last requests may still leave once stdin has ended."""
PROGRESS_EVERY = 10.0
"""Seconds between two signs of life of a call that waits; clients give up on a silent one after 60."""
BY_NAME = {tool.name: tool for tool in tools.TOOLS}

Context = ServerRequestContext[Any]
Answer = dict[str, Any]
Shown = Callable[[], None]


def run(as_name: str | None = None) -> None:
    """Serve until stdin ends. A signal ends the server at once: acknowledged events are on a ref, and nothing is
    half-written."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    anyio.run(_serve, as_name)


async def _serve(as_name: str | None) -> None:
    reads, wire = _take(0, os.open(os.devnull, os.O_RDONLY)), Wire(_take(1, 2))
    calls = Calls(wire, as_name)
    server = Server(
        "gitcoord",
        version=__version__,
        instructions=tools.INSTRUCTIONS,
        on_list_tools=_list_tools,
        on_call_tool=calls.call,
    )
    stdin = cast("anyio.AsyncFile[str]", Requests(reads, wire))
    async with stdio_server(stdin, cast("anyio.AsyncFile[str]", wire)) as (requests, answers):
        await server.run(requests, answers, server.create_initialization_options())


class Requests:
    """Stdin, line by line. Its end ends the server: calls that still wait, or take longer than a moment, are given up."""

    def __init__(self, fd: int, wire: Wire) -> None:
        self._file = anyio.wrap_file(open(fd, encoding="utf-8", errors="replace"))  # noqa: SIM115 - closes with the process
        self._wire = wire

    async def __aiter__(self) -> AsyncIterator[str]:
        async for line in self._file:
            if "\\u" in line and (answer := _refusal_of(line)):
                await self._wire.write(answer)
            else:
                yield line
        last = threading.Timer(GOODBYE, os._exit, [0])  # safe at any moment: a process of ours leaves nothing half-written
        last.daemon = True
        last.start()


def _refusal_of(line: str) -> str:
    """The answer to a request with half of a surrogate pair in it, which the SDK would not answer at all; otherwise
    empty."""
    with suppress(ValueError, AttributeError):
        message = json.loads(line)
        if not is_unicode(json.dumps(message, ensure_ascii=False)):
            what = "the request is not valid Unicode: it contains half of a surrogate pair"
            return json.dumps({"jsonrpc": "2.0", "id": message.get("id"), "error": {"code": -32602, "message": what}}) + "\n"
    return ""


def _take(fd: int, instead: int) -> int:
    """Keep a standard stream for the protocol alone: all other code gets `instead`."""
    kept = os.dup(fd)
    os.dup2(instead, fd)
    return kept


class Wire:
    """Stdout. After an answer has left, its follow-up runs, before any later call."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._file = anyio.wrap_file(open(fd, "w", encoding="utf-8"))  # noqa: SIM115 - closes with the process
        self._busy = anyio.Lock()
        self.shown: dict[object, Shown] = {}
        """The follow-ups of requests, by id, for when they are answered."""

    async def write(self, line: str) -> None:
        """Send one message. A client that is gone is not an error: the end of stdin follows."""
        async with self._busy:
            done = self.shown.pop(json.loads(line).get("id"), None) if self.shown else None
            try:
                await self._file.write(line)
                await self._file.flush()
            except OSError:
                return
            if done is not None:
                await anyio.to_thread.run_sync(self._after, done)

    async def flush(self) -> None:
        """Do nothing, because every write is flushed already."""

    def _after(self, done: Shown) -> None:
        if reached_reader(self._fd):
            done()

    async def settled(self) -> None:
        """Wait until the follow-ups of the answers so far have run."""
        async with self._busy:
            pass


async def _list_tools(context: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
    return types.ListToolsResult(tools=[listed(tool) for tool in tools.TOOLS])


def listed(tool: tools.Tool) -> types.Tool:
    """A tool as clients list it."""
    hint = types.ToolAnnotations(read_only_hint=True) if tool.reads else types.ToolAnnotations(destructive_hint=False)
    annotations = hint.model_copy(update={"open_world_hint": False})
    return types.Tool(name=tool.name, description=tool.about, input_schema=tool.schema, annotations=annotations)


class Done(NamedTuple):
    """The answer to a call, and its follow-up once it was shown. `repo` is set if a poll found nothing yet, and `pids` are
    processes whose end may bring news."""

    answer: types.CallToolResult
    shown: Shown | None = None
    repo: Repository | None = None
    pids: tuple[int, ...] = ()


class Calls:
    """The calls of one client."""

    def __init__(self, wire: Wire, as_name: str | None) -> None:
        self._wire = wire
        self._as_name = as_name
        self._lent: set[str] = set()
        self._tower = Tower()
        self._polls = anyio.CapacityLimiter(POLLS_AT_ONCE)

    async def call(self, context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        """Answer one call, in a thread of its own; a waiting poll holds no thread."""
        await self._wire.settled()
        whose = partial(caller, params.arguments or {}, dict(context.meta or {}), self._as_name, self._lent)
        async with anyio.create_task_group() as beside:
            beside.start_soon(_stay_alive, context)
            done = await self._settled(params, whose)
            beside.cancel_scope.cancel()
        if done.shown is not None:
            self._wire.shown[context.request_id] = done.shown
        return done.answer.model_copy(update={"structured_content": None}) if _shows_both(context) else done.answer

    async def _settled(self, params: types.CallToolRequestParams, whose: Callable[[], CallOrigin]) -> Done:
        """Answer a call, even if it fails, so that the server continues."""
        try:
            return await self._answered(params, whose)
        except Exception as error:
            return Done(_result(_failure(error, params), is_error=True))

    async def _answered(self, params: types.CallToolRequestParams, whose: Callable[[], CallOrigin]) -> Done:
        began, limiter = anyio.current_time(), self._polls if params.name == tools.POLL else None
        look = partial(anyio.to_thread.run_sync, _answer, params, whose, limiter=limiter)
        done = await look()
        if done.repo is None:
            return done
        until = began + (params.arguments or {})["wait"]
        async with self._tower.bell(done.repo) as bell:
            while True:
                done = await look()
                left = until - anyio.current_time()
                if done.repo is None or left <= 0:
                    return done
                used = os.path.isdir(done.repo.coord_dir)
                await bell.wait(left, done.pids)
                if used and not os.path.isdir(done.repo.coord_dir):
                    raise removed(done.repo.coord_dir)


def _shows_both(context: Context) -> bool:
    """Whether the client would show a model both the text and the structure, which say the same."""
    client = context.session.client_params
    return client is not None and client.client_info.name == "copilot-cli"


async def _stay_alive(context: Context) -> None:
    """Tell a client that asks for progress that its call is still waiting."""
    began = anyio.current_time()
    while True:
        await anyio.sleep(PROGRESS_EVERY)
        await context.session.report_progress(anyio.current_time() - began, message="still waiting")


def _answer(params: types.CallToolRequestParams, whose: Callable[[], CallOrigin]) -> Done:
    arguments = params.arguments or {}
    tool = _checked(params.name, arguments)
    call = whose()
    with opened(call) as coord:
        if tool.name == tools.POLL:
            return _polled(coord, call, arguments)
        return Done(_result(tool.verbs[arguments.get("action", "")](coord, arguments)))


def _failure(error: Exception, params: types.CallToolRequestParams) -> Answer:
    """The error and its hint; for a bug of ours, the place of its report."""
    if isinstance(error, CoordError):
        return {"error": error.what} | ({"hint": error.hint} if error.hint else {})
    if isinstance(error, OSError):
        return {"error": str(error), "hint": "git coord doctor"}
    return {"error": reports.tell(error, _names_in(params), partial(_coord_dir, (params.arguments or {}).get("cwd")))}


def _names_in(params: types.CallToolRequestParams) -> list[str]:
    """The tool, its action and its parameters, without values."""
    tool = BY_NAME.get(params.name)
    if tool is None:
        return ["MCP"]
    arguments = params.arguments or {}
    action = [name for name in tool.verbs if name and name == arguments.get("action")]
    return ["MCP", tool.name, *action, *(name for name in tool.schema["properties"] if name in arguments)]


def _coord_dir(cwd: object = None) -> str:
    return find_repository(os.path.join(os.getcwd(), cwd if isinstance(cwd, str) else "")).coord_dir


def _polled(coord: Coord, call: CallOrigin, arguments: dict[str, Any]) -> Done:
    found = tools.poll(coord, arguments)
    waits = not found.page.messages and arguments.get("wait", 0) > 0
    shown = partial(_mark, call, found.page) if found.page.messages else None
    return Done(_result(tools.told(coord, found.page)), shown, found.place if waits else None, found.pids)


def _checked(name: str, arguments: dict[str, Any]) -> tools.Tool:
    """The tool called. Raises UsageError for an unknown tool, and for arguments that it does not take."""
    tool = BY_NAME.get(name)
    if tool is None:
        raise UsageError(f"{name!a} is not a tool", "one of " + ", ".join(BY_NAME))
    if "\0" in json.dumps(arguments, ensure_ascii=False) or r"\u0000" in json.dumps(arguments):
        raise UsageError("an argument contains a NUL byte", "call it again without it")
    wrong = best_match(Draft202012Validator(tool.schema).iter_errors(arguments))
    if wrong is not None:
        where = "".join(f"{part}: " for part in wrong.absolute_path)
        raise UsageError(f"{where}{one_line(wrong.message, 200)}", f"{name} takes " + ", ".join(tool.schema["properties"]))
    return tool


def _mark(call: CallOrigin, page: Inbox) -> None:
    """Mark messages read after the answer has left. An error cannot be reported any more: unmarked messages are shown
    again."""
    try:
        with suppress(CoordError, OSError), opened(call) as coord:
            coord.messages.mark_read(page.messages)
    except Exception as error:
        remark(reports.tell(error, ["MCP", tools.POLL, "mark read"], partial(_coord_dir, call.cwd)))


def _result(value: Answer, is_error: bool = False) -> types.CallToolResult:
    """The same answer twice: some clients (Claude Code, Codex) show a model only the structure, others only the text."""
    told = {key: short(item, key) for key, item in value.items()}
    text = json.dumps(told, ensure_ascii=False)
    return types.CallToolResult(content=[types.TextContent(text=text)], structured_content=told, is_error=is_error)
