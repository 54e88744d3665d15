"""Let in only a browser on this machine whose person had the link, and no page of another origin.

The link has a token that works once; it is exchanged for a cookie that scripts cannot read and other sites do not send.
A request is refused after reading no more than its head.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Iterable
from typing import NamedTuple

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER, MARK = "x-gitcoord", "1"
"""The header that our own page sends with each POST: a form cannot send it, and a foreign script only after asking us."""
UNKNOWN = "open the link that git coord ui --web printed; it works once, and Enter there prints another"
LARGEST = 256 * 1024
"""Largest size of a request's body in bytes."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; font-src 'none';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Refusal(NamedTuple):
    """The reason why a request is refused."""

    status: int
    why: str


class Door:
    """The unused tokens, and the cookie of browsers that were let in.

    `hosts` are the names that a browser may call us by; without a port each, any port may follow (a forwarded socket).
    """

    def __init__(self, hosts: Iterable[str], cookie: str, room: str = "") -> None:
        self.hosts = frozenset(hosts)
        self.cookie = cookie
        self.room = f"/{room or secrets.token_urlsafe(16)}"
        """The path below which the view is. Browsers send the cookie there alone: a server of another user at another port of
        this machine, which is the same site to them, does not get it."""
        self._key = secrets.token_urlsafe(32)
        self._tokens: set[str] = set()

    def invite(self) -> str:
        """A new token, which works once."""
        token = secrets.token_urlsafe(32)
        self._tokens.add(token)
        return token

    def enter(self, token: str) -> bool:
        """Use a token; it works once."""
        found = next((known for known in self._tokens if hmac.compare_digest(known.encode(), token.encode())), None)
        self._tokens.discard(found or "")
        return found is not None

    def key(self) -> str:
        return self._key

    def knows(self, key: str) -> bool:
        return hmac.compare_digest(self._key.encode(), key.encode())

    def is_called(self, host: str) -> bool:
        """Whether a Host header names us."""
        name, _, port = host.partition(":")
        return host in self.hosts or (name in self.hosts and port.isdigit())


def refusal(request: Request, door: Door) -> Refusal | None:
    """The reason to refuse a request for anything but `/enter`; None lets it in."""
    headers = request.headers
    if request.method not in ("GET", "POST"):
        return Refusal(405, "only GET and POST are answered")
    if not door.knows(request.cookies.get(door.cookie, "")):
        return Refusal(401, UNKNOWN)
    site = headers.get("sec-fetch-site")
    if site not in (None, "same-origin", "none"):
        return Refusal(403, "a page of another origin cannot read this")
    return _refused_post(headers) if request.method == "POST" else None


def _refused_post(headers: Headers) -> Refusal | None:
    if headers.get("origin") != f"http://{headers.get('host')}" or headers.get("sec-fetch-site") != "same-origin":
        return Refusal(403, "a page of another origin cannot write here")
    if headers.get(HEADER) != MARK or headers.get("content-type") != "application/json":
        return Refusal(403, "only the page of this view can write here")
    if not headers.get("content-length", "").isdigit() or int(headers["content-length"]) > LARGEST:
        return Refusal(413, f"a request has at most {LARGEST} bytes, and says how many")
    return None


class Gate:
    """Stand before the application, and add to every answer the headers that keep others out."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app, self._door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)  # the application's start and end; there are no WebSockets
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        answer = self._answer(Request(scope))
        path = scope["path"].removeprefix(self._door.room)
        await (answer or self._app)({**scope, "path": path, "raw_path": path.encode()}, receive, guarded)

    def _answer(self, request: Request) -> Response | None:
        hosts = request.headers.getlist("host")
        if len(hosts) != 1 or not self._door.is_called(hosts[0]):
            return PlainTextResponse("the view is not served under this name\n", 403)
        if request.url.path == "/enter":
            return self._enter(request)
        inside = request.url.path.startswith(f"{self._door.room}/")
        refused = refusal(request, self._door) if inside else Refusal(401, UNKNOWN)
        return PlainTextResponse(f"{refused.why}\n", refused.status) if refused else None

    def _enter(self, request: Request) -> Response:
        if request.method != "GET" or not self._door.enter(request.query_params.get("token", "")):
            return PlainTextResponse("this link is not valid, or was used already; Enter in the terminal prints another\n", 403)
        answer = RedirectResponse(f"{self._door.room}/", 303)
        answer.set_cookie(self._door.cookie, self._door.key(), httponly=True, samesite="strict", path=f"{self._door.room}/")
        return answer
