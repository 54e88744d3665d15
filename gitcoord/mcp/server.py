"""The protocol side, on the official SDK, which speaks both eras of it on stdin and stdout.

Each call opens the repository anew, in a thread of its own: a `Coord` belongs to one thread, and who the caller is and
where can change between two calls. A message counts as read once the answer that carries it has left for the client.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, cast

import anyio
import anyio.to_thread
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from mcp import types
from mcp.server import Server, ServerRequestContext
from mcp.server.stdio import stdio_server

from gitcoord import CoordError, UsageError, __version__
from gitcoord.features.messages.inbox import Inbox
from gitcoord.mcp import tools
from gitcoord.mcp.caller import Caller, caller, opened
from gitcoord.mcp.forms import short
from gitcoord.system.streams import reached_reader
from gitcoord.text import one_line

PROGRESS_EVERY = 10.0
"""Seconds between two signs of life of a call that waits; clients give up on a silent one after 60."""
BY_NAME = {tool.name: tool for tool in tools.TOOLS}

Context = ServerRequestContext[Any]
Answer = dict[str, Any]
Shown = Callable[[], None]


def run(as_name: str | None = None) -> None:
    """Serve until stdin ends. A signal ends it at once: what was acknowledged is on a ref, and nothing is half-written."""
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
    stdin = anyio.wrap_file(open(reads, encoding="utf-8", errors="replace"))  # noqa: SIM115 - closes with the process
    async with stdio_server(stdin, cast("anyio.AsyncFile[str]", wire)) as (requests, answers):
        await server.run(requests, answers, server.create_initialization_options())


def _take(fd: int, instead: int) -> int:
    """Keep a standard stream for the protocol alone: what else writes to or reads from it gets `instead`."""
    kept = os.dup(fd)
    os.dup2(instead, fd)
    return kept


class Wire:
    """Stdout. After an answer has left, what was to happen then happens, before any call that follows it."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._file = anyio.wrap_file(open(fd, "w", encoding="utf-8"))  # noqa: SIM115 - closes with the process
        self._busy = anyio.Lock()
        self.shown: dict[object, Shown] = {}
        """What to do once the request of this id is answered."""

    async def write(self, line: str) -> None:
        """Send one message. A client that is gone is no error: its end of stdin is on the way."""
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
        """Every write is flushed already."""

    def _after(self, done: Shown) -> None:
        if reached_reader(self._fd):
            done()

    async def settled(self) -> None:
        """Wait until the answers so far have been dealt with."""
        async with self._busy:
            pass


async def _list_tools(context: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
    return types.ListToolsResult(tools=[listed(tool) for tool in tools.TOOLS])


def listed(tool: tools.Tool) -> types.Tool:
    """A tool as a client gets it."""
    hint = types.ToolAnnotations(read_only_hint=True) if tool.reads else types.ToolAnnotations(destructive_hint=False)
    annotations = hint.model_copy(update={"open_world_hint": False})
    return types.Tool(name=tool.name, description=tool.about, input_schema=tool.schema, annotations=annotations)


class Calls:
    """The calls of one client."""

    def __init__(self, wire: Wire, as_name: str | None) -> None:
        self._wire = wire
        self._as_name = as_name

    async def call(self, context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        """Answer one call, in a thread that ends early when the client takes the call back."""
        await self._wire.settled()
        whose = partial(caller, params.arguments or {}, dict(context.meta or {}), self._as_name)
        reader, writer = os.pipe()
        try:
            async with anyio.create_task_group() as beside:
                beside.start_soon(_stay_alive, context, reader)
                answer, shown = await anyio.to_thread.run_sync(_answer, params, whose, writer)
                beside.cancel_scope.cancel()
        finally:
            os.close(writer)
        if shown is not None:
            self._wire.shown[context.request_id] = shown
        return answer.model_copy(update={"structured_content": None}) if _shows_both(context) else answer


def _shows_both(context: Context) -> bool:
    """Whether the client would show a model the text and the structure, which say the same."""
    client = context.session.client_params
    return client is not None and client.client_info.name == "copilot-cli"


async def _stay_alive(context: Context, reader: int) -> None:
    """Tell a client that wants to know that its call goes on; when it is over or taken back, tell the thread."""
    began = anyio.current_time()
    try:
        while True:
            await anyio.sleep(PROGRESS_EVERY)
            await context.session.report_progress(anyio.current_time() - began, message="still waiting")
    finally:
        os.close(reader)


def _answer(
    params: types.CallToolRequestParams, whose: Callable[[], Caller], output: int
) -> tuple[types.CallToolResult, Shown | None]:
    """What a user can cause is an answer too: what went wrong, and what to do about it."""
    arguments = params.arguments or {}
    try:
        tool = _checked(params.name, arguments)
        call = whose()
        with opened(call) as coord:
            if tool.name == tools.POLL:
                page = tools.poll(coord, arguments, output)
                return _result(tools.told(coord, page)), partial(_mark, call, page) if page.messages else None
            return _result(tool.verbs[arguments.get("action", "")](coord, arguments)), None
    except CoordError as error:
        return _result({"error": error.what} | ({"hint": error.hint} if error.hint else {}), is_error=True), None
    except BrokenPipeError:
        return _result({"error": "taken back"}, is_error=True), None
    except OSError as error:
        return _result({"error": str(error), "hint": "git coord doctor"}, is_error=True), None


def _checked(name: str, arguments: dict[str, Any]) -> tools.Tool:
    """The tool called. Raises UsageError for one that is none, and for arguments that it does not take."""
    tool = BY_NAME.get(name)
    if tool is None:
        raise UsageError(f"{name!a} is no tool", "one of " + ", ".join(BY_NAME))
    wrong = best_match(Draft202012Validator(tool.schema).iter_errors(arguments))
    if wrong is not None:
        where = "".join(f"{part}: " for part in wrong.absolute_path)
        raise UsageError(f"{where}{one_line(wrong.message, 200)}", f"{name} takes " + ", ".join(tool.schema["properties"]))
    return tool


def _mark(call: Caller, page: Inbox) -> None:
    with suppress(CoordError), opened(call) as coord:
        coord.messages.mark_read(page.messages)


def _result(value: Answer, is_error: bool = False) -> types.CallToolResult:
    """Twice the same: some clients (Claude Code, Codex) show a model the structure alone, others only the text."""
    told = {key: short(item, key) for key, item in value.items()}
    text = json.dumps(told, ensure_ascii=False)
    return types.CallToolResult(content=[types.TextContent(text=text)], structured_content=told, is_error=is_error)
