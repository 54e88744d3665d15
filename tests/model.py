"""A model that gives a test's scripted answers to agent programs on loopback, so that they run without a login.

Speaks as much of the Anthropic Messages, OpenAI Responses and chat, and Gemini APIs as the programs need. A script is a
list of `Turn`s, taken one by one by requests that offer tools (programs also ask for titles and summaries on the side).
What each request showed the model is kept in `seen`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Tool(NamedTuple):
    """A tool call that the model makes; the input is text for a tool that takes no object. `NAMESPACE.NAME` is for
    Codex."""

    name: str
    input: Any


class Turn(NamedTuple):
    """One answer of the model."""

    text: str = ""
    tools: tuple[Tool, ...] = ()
    until: threading.Event | None = None
    """The event that it waits for before it answers."""


class Model:
    """A running server. `seen` are the texts that each scripted request showed, oldest first."""

    def __init__(self) -> None:
        self.script: list[Turn] = []
        self.talks: dict[str, Sequence[Turn]] = {}
        self.seen: list[str] = []
        self.aside: list[str] = []
        self.refuses = False
        """Every request is an error, and a program need not try it again."""
        self._lock = threading.Lock()
        self._asked = threading.Condition(self._lock)
        self._number = 0
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def says(self, *turns: Turn) -> None:
        """The next answers."""
        self.script[:] = turns

    def says_to(self, prompt: str, *turns: Turn) -> None:
        """The answers in the conversation that begins with this text, independent of other conversations."""
        self.talks[prompt] = turns

    def next_turn(self, request: dict[str, Any]) -> Turn:
        turn = self._choose(request)
        if turn.until:
            turn.until.wait(300)
        return turn

    def _choose(self, request: dict[str, Any]) -> Turn:
        found = (request.get(key) for key in ("messages", "input", "contents"))
        items = next((value for value in found if value), "")
        shown = "\n".join(_texts(items))
        with self._lock:
            if not _offers_tools(request):
                self.aside.append(shown)
                return Turn("a summary of it")
            self.seen.append(shown)
            self._asked.notify_all()
            begun = "\n".join(_texts(next((item for item in items if item.get("role") == "user"), "")))
            talk = next((turns for prompt, turns in self.talks.items() if prompt in begun), None)
            if talk is not None:
                said = sum(1 for item in items if item.get("role") == "assistant")
                return talk[said] if said < len(talk) else Turn("done")
            return self.script.pop(0) if self.script else Turn("done")

    def all_shown(self) -> list[str]:
        """The texts that every request showed, also those without tools."""
        with self._lock:
            return [*self.seen, *self.aside]

    def asked(self, times: int, seconds: float = 60) -> bool:
        """Wait until it was asked so often; whether it was."""
        with self._asked:
            return self._asked.wait_for(lambda: len(self.seen) >= times, seconds)

    def number(self) -> int:
        with self._lock:
            self._number += 1
            return self._number

    def _handler(model) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_HEAD(self) -> None:
                self._send("application/json", b"{}")

            def do_GET(self) -> None:
                self._send("application/json", b'{"object":"list","data":[{"id":"mock","object":"model"}],"models":[]}')

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                try:
                    request = json.loads(body)
                except ValueError:
                    request = {}
                if model.refuses:
                    error = {"type": "invalid_request_error", "message": "no such model"}
                    self._send("application/json", json.dumps({"type": "error", "error": error}).encode(), 400)
                    return
                kind, answer = _answer(model, self.path, request)
                self._send(kind, answer)

            def _send(self, kind: str, body: bytes, status: int = 200) -> None:
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

        return Handler


def _offers_tools(request: dict[str, Any]) -> bool:
    """Some models of Codex's get their tools as the first item of the conversation; so do its requests for a title."""
    if any(isinstance(item, dict) and item.get("type") == "additional_tools" for item in request.get("input") or ()):
        return "format" not in request.get("text", {})
    return bool(request.get("tools"))


def _texts(value: Any) -> Iterator[str]:
    """Every string in a part of a request."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


@contextmanager
def running() -> Iterator[Model]:
    """A model on a port of its own."""
    model = Model()
    thread = threading.Thread(target=model.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield model
    finally:
        model.server.shutdown()
        model.server.server_close()
        thread.join()


def _answer(model: Model, path: str, request: dict[str, Any]) -> tuple[str, bytes]:
    path = path.partition("?")[0]
    if path.endswith("/count_tokens"):
        return "application/json", b'{"input_tokens":10}'
    if path.endswith("/v1/messages"):
        return _anthropic(model, request)
    if path.endswith("/responses"):
        return _responses(model, model.next_turn(request))
    if path.endswith("/chat/completions"):
        return _chat(model, model.next_turn(request), bool(request.get("stream")))
    if "enerateContent" in path:
        return _gemini(model.next_turn(request), path)
    return "application/json", b"{}"


def _stream(events: Sequence[tuple[str, dict[str, Any]]]) -> tuple[str, bytes]:
    lines = "".join(
        f"event: {name}\ndata: {json.dumps(data)}\n\n" if name else f"data: {json.dumps(data)}\n\n" for name, data in events
    )
    return "text/event-stream", lines.encode()


def _anthropic(model: Model, request: dict[str, Any]) -> tuple[str, bytes]:
    turn = model.next_turn(request)
    blocks: list[dict[str, Any]] = [{"type": "text", "text": turn.text}] if turn.text else []
    blocks += [{"type": "tool_use", "id": f"toolu_{model.number()}", "name": t.name, "input": t.input} for t in turn.tools]
    stop = "tool_use" if turn.tools else "end_turn"
    message = {
        "id": f"msg_{model.number()}", "type": "message", "role": "assistant", "model": request.get("model", "mock"),
        "content": blocks, "stop_reason": stop, "stop_sequence": None, "usage": {"input_tokens": 9, "output_tokens": 9},
    }  # fmt: skip
    if not request.get("stream"):
        return "application/json", json.dumps(message).encode()
    events = [("message_start", {"type": "message_start", "message": {**message, "content": [], "stop_reason": None}})]
    for index, block in enumerate(blocks):
        events += _anthropic_block(index, block)
    ending = {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}, "usage": {"output_tokens": 9}}
    return _stream([*events, ("message_delta", ending), ("message_stop", {"type": "message_stop"})])


def _anthropic_block(index: int, block: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    if block["type"] == "text":
        empty, delta = {**block, "text": ""}, {"type": "text_delta", "text": block["text"]}
    else:
        empty, delta = {**block, "input": {}}, {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
    names = ("content_block_start", "content_block_delta", "content_block_stop")
    values: tuple[dict[str, Any], ...] = ({"content_block": empty}, {"delta": delta}, {})
    return [(name, {"type": name, "index": index, **value}) for name, value in zip(names, values, strict=True)]


def _responses(model: Model, turn: Turn) -> tuple[str, bytes]:
    reply = f"resp_{model.number()}"
    said = [{"type": "output_text", "text": turn.text}]
    items: list[dict[str, Any]] = (
        [{"type": "message", "role": "assistant", "id": f"msg_{reply}", "content": said}] if turn.text else []
    )
    for tool in turn.tools:
        number = model.number()
        namespace, _, name = tool.name.rpartition(".")
        call = {"id": f"fc_{number}", "call_id": f"call_{number}", "name": name}
        call |= {"namespace": namespace} if namespace else {}
        if isinstance(tool.input, str):
            items.append({**call, "type": "custom_tool_call", "input": tool.input})
        else:
            items.append({**call, "type": "function_call", "arguments": json.dumps(tool.input)})
    usage = {
        "input_tokens": 9,
        "input_tokens_details": None,
        "output_tokens": 9,
        "output_tokens_details": None,
        "total_tokens": 18,
    }
    events: list[dict[str, Any]] = [{"type": "response.created", "response": {"id": reply}}]
    for index, item in enumerate(items):
        events += [{"type": f"response.output_item.{step}", "output_index": index, "item": item} for step in ("added", "done")]
    events.append({"type": "response.completed", "response": {"id": reply, "output": items, "usage": usage}})
    return _stream([(event["type"], event) for event in events])


def _chat(model: Model, turn: Turn, stream: bool) -> tuple[str, bytes]:
    calls = [
        {
            "index": n,
            "id": f"call_{model.number()}",
            "type": "function",
            "function": {"name": t.name, "arguments": json.dumps(t.input)},
        }
        for n, t in enumerate(turn.tools)
    ]
    message = {"role": "assistant", "content": turn.text, **({"tool_calls": calls} if calls else {})}
    end, usage = "tool_calls" if calls else "stop", {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
    base = {"id": f"c{model.number()}", "created": 1, "model": "mock"}
    if not stream:
        choice = {"index": 0, "message": message, "finish_reason": end}
        return "application/json", json.dumps(
            {**base, "object": "chat.completion", "choices": [choice], "usage": usage}
        ).encode()
    base["object"] = "chat.completion.chunk"
    chunks = [{**base, "choices": [{"index": 0, "delta": message, "finish_reason": None}]},
              {**base, "choices": [{"index": 0, "delta": {}, "finish_reason": end}], "usage": usage}]  # fmt: skip
    kind, body = _stream([("", chunk) for chunk in chunks])
    return kind, body + b"data: [DONE]\n\n"


def _gemini(turn: Turn, path: str) -> tuple[str, bytes]:
    parts: list[dict[str, Any]] = [{"text": turn.text}] if turn.text else []
    parts += [{"functionCall": {"name": tool.name, "args": tool.input}} for tool in turn.tools]
    candidate = {"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 9, "totalTokenCount": 18}
    answer = {"candidates": [candidate], "usageMetadata": usage}
    return _stream([("", answer)]) if "stream" in path else ("application/json", json.dumps(answer).encode())
