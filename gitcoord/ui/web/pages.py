"""Answer requests: the page and its modules, the stream of news, questions and acts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from gitcoord.errors import CoordError, UsageError
from gitcoord.text import inert, is_unicode
from gitcoord.ui.desk import Desk, News
from gitcoord.ui.model.screen import plain
from gitcoord.ui.web.gate import LARGEST, Door, Gate
from gitcoord.ui.web.hub import Hub

KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
STATUSES = {1: 409, 2: 400, 3: 503, 4: 502}
"""HTTP statuses for the exit codes of our errors."""


def static() -> dict[str, tuple[str, bytes]]:
    """The files of the page, by path: their content type and their content."""
    found = {}
    for file in files("gitcoord.ui.web").joinpath("static").iterdir():
        kind = KINDS.get(file.name[file.name.rfind(".") :])
        if kind:
            found["/" if file.name == "index.html" else f"/static/{file.name}"] = (kind, file.read_bytes())
    return found


def application(desk: Desk, door: Door) -> Starlette:
    """The application; its desk runs as long as it is served."""
    hub, held = Hub(desk.read_only), static()

    async def page(request: Request) -> Response:
        kind, body = held.get(request.url.path, ("", b""))
        if not kind:
            return PlainTextResponse("there is nothing here\n", 404)
        return Response(body, media_type=kind)

    async def news(request: Request) -> Response:
        return StreamingResponse(hub.stream(), media_type="text/event-stream")

    async def further(name: str, given: Mapping[str, Any]) -> str:
        desk.more(name, given.get("whole") is True)
        return ""

    @asynccontextmanager
    async def looking(app: Starlette) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()

        def tell(news: News) -> None:
            with suppress(RuntimeError):  # the server ends
                loop.call_soon_threadsafe(hub.put, news)

        def wrote(job: str) -> None:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(hub.wrote, job)

        desk.start(tell, wrote)
        yield
        desk.stop()
        hub.end()

    routes = [
        Route("/", page),
        Route("/static/{name}", page),
        Route("/news", news),
        Route("/act", _answering(lambda name, given: asyncio.wrap_future(desk.act(name, given))), methods=["POST"]),
        Route("/ask", _answering(lambda name, given: asyncio.wrap_future(desk.ask(name, given))), methods=["POST"]),
        Route("/more", _answering(further), methods=["POST"]),
    ]
    return Starlette(routes=routes, middleware=[Middleware(Gate, door=door)], lifespan=looking)


def _answering(do: Callable[[str, Mapping[str, Any]], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
    """Answers `{name, given}` with `{answer}`, or with `{error, hint}` and a status that fits."""

    async def answer(request: Request) -> Response:
        try:
            name, given = await _read(request)
            return JSONResponse({"answer": plain(await do(name, given))})
        except CoordError as error:
            told = {"error": inert(error.what), "hint": inert(error.hint or "")}
            return JSONResponse(told, STATUSES.get(error.exit_code, 500))
        except OSError as error:
            return JSONResponse({"error": inert(str(error)), "hint": "git coord doctor"}, 503)

    return answer


async def _read(request: Request) -> tuple[str, Mapping[str, Any]]:
    """The request's body. Raises UsageError for a body that is not ours."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST:
            raise UsageError(f"a request has at most {LARGEST} bytes", "send less")
    try:
        data = json.loads(body)
        name, given = data["name"], data["given"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UsageError("the request is not what this page sends", "load the page again") from None
    if not isinstance(name, str) or not isinstance(given, dict) or not is_unicode(json.dumps(data, ensure_ascii=False)):
        raise UsageError("the request is not what this page sends", "load the page again")
    return name, given
