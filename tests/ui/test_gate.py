"""The gate of the web view, with requests by hand: every refusal, and the headers of every answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from made import BUSY, QUIET, box, message, said
from served import Visitor, in_process
from told import Told

from gitcoord.errors import Refused
from gitcoord.features.messages.talk import Talk
from gitcoord.ui.web.gate import LARGEST, Door

ACT = json.dumps({"name": "ack", "given": {"id": "abcd"}}).encode()


@pytest.fixture(scope="module")
def told() -> Told:
    return Told()


@pytest.fixture(scope="module")
def place(told: Told) -> Iterator[tuple[Visitor, Door]]:
    with in_process(told) as found:
        yield found


@pytest.fixture
def visitor(place: tuple[Visitor, Door]) -> Visitor:
    return place[0]


def link(place: tuple[Visitor, Door]) -> str:
    return f"http://{place[0].called}/enter?token={place[1].invite()}"


# in by the link


def test_the_link_is_exchanged_for_a_cookie_that_scripts_and_other_sites_do_not_get(place: tuple[Visitor, Door]) -> None:
    guest = Visitor(place[0].host, place[0].port)
    answer = guest.enter(link(place))
    assert (answer.status, answer.headers["location"]) == (303, f"{place[1].room}/")
    flags = answer.headers["set-cookie"].lower()
    assert flags.startswith(f"gitcoord_{guest.port}=") and "httponly" in flags and "samesite=strict" in flags
    assert f"Path={place[1].room}/" in answer.headers["set-cookie"], "another port of this machine does not get it"
    assert guest.ask("GET", "/").status == 200


def test_a_link_works_once(place: tuple[Visitor, Door]) -> None:
    url = link(place)
    assert Visitor(place[0].host, place[0].port).enter(url).status == 303
    replayed = Visitor(place[0].host, place[0].port).enter(url)
    assert replayed.status == 403 and "set-cookie" not in replayed.headers


@pytest.mark.parametrize("token", ["", "x", "%00", "a" * 5000, "%F0%9F%92%A9"])
def test_a_token_that_was_never_given_out_opens_nothing(visitor: Visitor, token: str) -> None:
    answer = Visitor(visitor.host, visitor.port).ask("GET", f"/enter?token={token}")
    assert answer.status == 403 and "set-cookie" not in answer.headers


@pytest.mark.parametrize("method", ["HEAD", "POST", "OPTIONS"])
def test_only_a_get_uses_a_link_up(place: tuple[Visitor, Door], method: str) -> None:
    url = link(place)
    path = url.partition(place[0].called)[2]
    assert Visitor(place[0].host, place[0].port).ask(method, path).status == 403
    assert Visitor(place[0].host, place[0].port).enter(url).status == 303


@pytest.mark.parametrize("path", ["/", "/static/main.js", "/static/style.css", "/news", "/nowhere"])
@pytest.mark.parametrize("cookie", ["", "gitcoord_{port}=wrong", "gitcoord_1={key}", "other={key}"])
def test_without_the_cookie_nothing_is_read(place: tuple[Visitor, Door], path: str, cookie: str) -> None:
    spelled = cookie.format(port=place[0].port, key=place[1].key())
    assert Visitor(place[0].host, place[0].port, spelled, room=place[1].room).ask("GET", path).status == 401


@pytest.mark.parametrize("path", ["/", "/static/main.js", "/news"])
def test_the_cookie_alone_opens_nothing(place: tuple[Visitor, Door], path: str) -> None:
    guest = Visitor(place[0].host, place[0].port, place[0].cookie)
    assert guest.ask("GET", path).status == guest.ask("GET", f"/x{path}").status == 401


@pytest.mark.parametrize("path", ["/act", "/ask", "/more"])
def test_without_the_cookie_nothing_is_done(visitor: Visitor, told: Told, path: str) -> None:
    before = list(told.acts)
    assert Visitor(visitor.host, visitor.port).ask("POST", path, ACT).status == 401
    assert told.acts == before


# the Host


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1",
        "127.0.0.1:1",
        "localhost",
        "127.0.0.1:{port}.evil.example",
        "",
        "localhost.:{port}",
        "[::1]:{port}",
        "0.0.0.0:{port}",
        "127.0.0.1:{port}@evil.example",
    ],
)
@pytest.mark.parametrize("path", ["/", "/enter?token=x"])
def test_a_foreign_host_is_refused(visitor: Visitor, host: str, path: str) -> None:
    assert visitor.ask("GET", path, host=host.format(port=visitor.port)).status == 403


def test_two_hosts_are_refused(visitor: Visitor) -> None:
    lines = f"{visitor.called}\r\nhost: evil.example"
    assert visitor.ask("GET", "/", host=lines).status in (400, 403)


def test_it_answers_to_localhost_too(visitor: Visitor) -> None:
    assert visitor.ask("GET", "/", host=f"localhost:{visitor.port}").status == 200


# other origins


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "http://evil.example",
        "https://127.0.0.1:{port}",
        "http://127.0.0.1:1",
        "http://localhost:{port}",
        "http://127.0.0.1:{port}.evil.example",
        "",
    ],
)
def test_a_post_of_another_origin_is_refused(visitor: Visitor, told: Told, origin: str | None) -> None:
    before = list(told.acts)
    spelled = origin and origin.format(port=visitor.port)
    assert visitor.ask("POST", "/act", ACT, origin=spelled).status == 403
    assert told.acts == before


@pytest.mark.parametrize("site", [None, "cross-site", "same-site", "none", "SAME-ORIGIN"])
def test_a_post_that_the_browser_does_not_call_its_own_is_refused(visitor: Visitor, told: Told, site: str | None) -> None:
    before = list(told.acts)
    assert visitor.ask("POST", "/act", ACT, sec_fetch_site=site).status == 403
    assert told.acts == before


@pytest.mark.parametrize(
    "headers",
    [
        {"x_gitcoord": None},
        {"x_gitcoord": "2"},
        {"content_type": "text/plain"},
        {"content_type": "application/x-www-form-urlencoded"},
        {"content_type": None},
    ],
)
def test_a_post_as_a_form_could_send_it_is_refused(visitor: Visitor, told: Told, headers: dict[str, Any]) -> None:
    before = list(told.acts)
    assert visitor.ask("POST", "/act", ACT, **headers).status == 403
    assert told.acts == before


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("path", ["/", "/news", "/static/main.js"])
def test_a_page_of_another_origin_reads_nothing(visitor: Visitor, site: str, path: str) -> None:
    assert visitor.ask("GET", path, sec_fetch_site=site, origin="http://evil.example").status == 403


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE"])
def test_other_methods_are_refused(visitor: Visitor, method: str) -> None:
    answer = visitor.ask(method, "/act")
    assert answer.status == 405 and not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_no_web_socket_is_opened(visitor: Visitor) -> None:
    answer = visitor.ask(
        "GET", "/news", upgrade="websocket", sec_websocket_key="x", sec_websocket_version="13", sec_fetch_site="cross-site"
    )
    assert answer.status == 403


# every answer


@pytest.mark.parametrize("path", ["/", "/static/main.js", "/nowhere", "/enter?token=x"])
def test_every_answer_keeps_others_out(visitor: Visitor, path: str) -> None:
    headers = visitor.ask("GET", path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
    assert headers["cross-origin-resource-policy"] == "same-origin" and headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers


def test_the_page_names_nothing_elsewhere_and_has_no_code_inline(visitor: Visitor) -> None:
    page = visitor.ask("GET", "/").body
    assert "http://" not in page and "https://" not in page and "<script>" not in page and "style=" not in page
    for name in ("main", "dom", "rows", "detail", "forms", "server", "ages"):
        module = visitor.ask("GET", f"/static/{name}.js")
        assert module.status == 200 and module.headers["content-type"].startswith("text/javascript")
        assert not [
            word for word in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(") if word in module.body
        ]


@pytest.mark.parametrize(
    "path",
    ["/static/../gate.py", "/static/%2e%2e/gate.py", "/static/..%2fgate.py", "//etc/passwd", "/static/", "/static/main.js/"],
)
def test_nothing_but_the_page_is_read(visitor: Visitor, path: str) -> None:
    assert visitor.ask("GET", path).status in (307, 404)


# the words of refusals


def test_an_act_is_done_and_answered(visitor: Visitor, told: Told) -> None:
    answer = visitor.post("/act", "ack", id="abcd")
    assert (answer.status, json.loads(answer.body)) == (200, {"answer": "ack is done"})
    assert told.acts[-1] == ("ack", {"id": "abcd"})


def test_what_is_refused_is_said(visitor: Visitor, told: Told) -> None:
    told.fails = Refused("old\u202e holds it", "git coord sessions")
    answer = visitor.post("/act", "ack", id="abcd")
    told.fails = None
    assert answer.status == 409
    assert json.loads(answer.body) == {"error": "old\\u202e holds it", "hint": "git coord sessions"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"1",
        b'{"name": 1, "given": {}}',
        b'{"name": "a"}',
        b'{"name": "a", "given": []}',
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"name": "a", "given": {"x": "\\ud800"}}',
    ],
)
def test_a_request_that_the_page_never_sends_is_refused_whole(visitor: Visitor, told: Told, body: bytes) -> None:
    before = list(told.acts)
    assert visitor.ask("POST", "/act", body).status == 400
    assert told.acts == before


def test_a_request_is_bounded(visitor: Visitor) -> None:
    assert visitor.ask("POST", "/act", b"x" * 10, content_length=str(LARGEST + 1)).status == 413
    assert visitor.ask("POST", "/act", b"", content_length=None, transfer_encoding="chunked").status == 413


def test_the_news_are_the_sections_and_then_only_what_changed(visitor: Visitor, told: Told) -> None:
    stream = visitor.news()
    first = dict(_until_beat(stream))
    assert first["hello"]["read_only"] is False and len(first["needs"]) == 10 and first["wrong"] == ""
    told.show(BUSY._replace(jobs=()))
    assert {name for name, _ in _until_beat(stream)} == {"jobs", "needs"}
    told.show(BUSY, "the repository is gone")
    again = dict(_until_beat(stream))
    assert again["wrong"] == "the repository is gone"
    told.show(BUSY)


def _until_beat(stream: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    for name, value in stream:
        if name == "beat":
            return
        yield name, value


def test_a_text_cannot_forge_news(visitor: Visitor, told: Told) -> None:
    forged = 'x\n\nevent: hello\ndata: {"offers": {}}\n\n\u2028<script>alert(1)</script>'
    told.show(QUIET._replace(talk=Talk((said(message(1, box("api"), forged, box("web")), "queued"),), False)))
    news = list(_until_beat(visitor.news()))
    told.show(BUSY)
    assert [name for name, _ in news].count("hello") == 1
    (thread,) = dict(news)["threads"]
    assert thread["said"][0]["text"].startswith("x\n\nevent: hello")
