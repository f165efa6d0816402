"""Who is let in: a request as the page's own script sends it passes, and with any one thing wrong it does not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from engine.page import access
from engine.page.access import HEADERS, AccessControl, Refusal, Rules, Secrets

SECRETS = Secrets(token="the-token-of-the-address", cookie="the-cookie", metrics="the-token-of-the-file")
RULES = Rules(8600, SECRETS)
GOOD = {
    "host": "127.0.0.1:8600",
    "cookie": "engine-8600=the-cookie; other=1",
    "origin": "http://127.0.0.1:8600",
    "x-engine": "1",
    "sec-fetch-site": "same-origin",
}
SCRAPER = {"host": "127.0.0.1:8600", "authorization": "Bearer the-token-of-the-file"}


def refusal(
    headers: dict[str, Any], method: str = "POST", path: str = "/do/stop", rules: Rules = RULES
) -> Refusal | None:
    """Of a request with these headers; a list is a header given several times, None one left out."""
    pairs = [
        (name, each)
        for name, value in headers.items()
        for each in (value if isinstance(value, list) else [value])
        if each is not None
    ]
    return rules.refusal(method, path, pairs)


def test_what_the_page_itself_sends_passes() -> None:
    assert refusal(GOOD) is None
    assert refusal({**GOOD, "host": "localhost:8600", "origin": "http://localhost:8600"}) is None
    reads = {"host": GOOD["host"], "cookie": GOOD["cookie"]}
    assert refusal(reads, "GET", "/") is None
    assert refusal(reads, "HEAD", "/metrics") is None
    by_link = {**reads, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert refusal(by_link, "GET", "/") is None


WRONG = [
    ("a name that resolves to this host", {"host": "evil.example:8600"}, 403),
    ("another port", {"host": "127.0.0.1:8601"}, 403),
    ("no port", {"host": "127.0.0.1"}, 403),
    ("no host", {"host": None}, 403),
    ("two hosts", {"host": ["127.0.0.1:8600", "evil.example"]}, 403),
    ("every address", {"host": "0.0.0.0:8600"}, 403),
    ("user information", {"host": "evil@127.0.0.1:8600"}, 403),
    ("this host by IPv6", {"host": "[::1]:8600"}, 403),
    ("IPv4 in IPv6", {"host": "[::ffff:127.0.0.1]:8600"}, 403),
    ("another loopback address", {"host": "127.0.0.2:8600"}, 403),
    ("the address in short", {"host": "127.1:8600"}, 403),
    ("the address as a number", {"host": "2130706433:8600"}, 403),
    ("a name with a dot behind it", {"host": "localhost.:8600"}, 403),
    ("a name below localhost", {"host": "evil.localhost:8600"}, 403),
    ("the port with a zero before it", {"host": "127.0.0.1:08600"}, 403),
    ("a blank before the port", {"host": "127.0.0.1 :8600"}, 403),
    ("an empty host", {"host": ""}, 403),
    ("no cookie", {"cookie": None}, 401),
    ("another cookie", {"cookie": "engine-8600=the-cookiE"}, 401),
    ("an empty cookie", {"cookie": "engine-8600="}, 401),
    ("another port's cookie", {"cookie": "engine-8601=the-cookie"}, 401),
    ("the token as the cookie", {"cookie": f"engine-8600={SECRETS.token}"}, 401),
    ("two cookies of that name", {"cookie": ["engine-8600=the-cookie", "engine-8600=x"]}, 401),
    ("a cookie that is no ASCII", {"cookie": "engine-8600=\udcff\xe4"}, 401),
    ("no origin", {"origin": None}, 403),
    ("another origin", {"origin": "https://evil.example"}, 403),
    ("another port's origin", {"origin": "http://127.0.0.1:3000"}, 403),
    ("an opaque origin", {"origin": "null"}, 403),
    ("the other name's origin", {"origin": "http://localhost:8600"}, 403),
    ("another scheme", {"origin": "https://127.0.0.1:8600"}, 403),
    ("two origins", {"origin": ["http://127.0.0.1:8600", "http://evil.example"]}, 403),
    ("no mark of our script", {"x-engine": None}, 403),
    ("another mark", {"x-engine": "0"}, 403),
    ("asked for by another site", {"sec-fetch-site": "cross-site"}, 403),
    ("asked for by another port of this host", {"sec-fetch-site": "same-site"}, 403),
    ("asked for by nobody knows whom", {"sec-fetch-site": "?"}, 403),
    ("asked for by this site and another", {"sec-fetch-site": ["same-origin", "cross-site"]}, 403),
]


@pytest.mark.parametrize(("what", "change", "status"), WRONG, ids=[each[0] for each in WRONG])
def test_each_thing_wrong_is_refused(what: str, change: dict[str, Any], status: int) -> None:
    found = refusal({**GOOD, **change})
    assert found is not None
    assert found.status == status


@pytest.mark.parametrize(
    "change",
    [change for _, change, _ in WRONG if "x-engine" not in change and change != {"origin": None}],
)
def test_reading_is_refused_as_well(change: dict[str, Any]) -> None:
    assert refusal({**GOOD, **change}, "GET", "/") is not None


@pytest.mark.parametrize(
    ("path", "dest"),
    [("/", "iframe"), ("/", "embed"), ("/", "object"), ("/download/table.db", "document"), ("/rows", "document"),
     ("/video/1/dQw4w9WgXcQ", "document")],
)  # fmt: skip
def test_a_link_of_another_site_leads_to_the_main_page_alone(path: str, dest: str) -> None:
    """In a frame it leads nowhere; a download is made by nobody but the user."""
    link = {"host": GOOD["host"], "cookie": GOOD["cookie"], "sec-fetch-mode": "navigate"}
    for site in ("cross-site", "same-site"):
        assert refusal({**link, "sec-fetch-site": site, "sec-fetch-dest": "document"}, "GET", "/") is None
        assert refusal({**link, "sec-fetch-site": site, "sec-fetch-dest": dest}, "GET", path) is not None
    assert refusal({**link, "sec-fetch-site": "none", "sec-fetch-dest": dest}, "GET", path) is None


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:3000"])
def test_a_preflight_gets_nothing(origin: str) -> None:
    asks = {"access-control-request-method": "POST", "access-control-request-headers": "x-engine"}
    preflight = {"host": GOOD["host"], "origin": origin, **asks}
    found = answered("OPTIONS", "/do/start", "", preflight)
    assert (found["status"], found["called"]) == (401, False)
    found = answered("OPTIONS", "/do/start", "", {**preflight, "cookie": GOOD["cookie"]})
    assert (found["status"], found["called"]) == (403, False)
    assert not [name for name in found["headers"] if name.startswith(b"access-control-")]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_a_page_that_only_shows_changes_nothing(method: str) -> None:
    found = refusal(GOOD, method, rules=Rules(8600, SECRETS, read_only=True))
    assert found is not None
    assert found.status == 405
    assert refusal(GOOD, "GET", "/", Rules(8600, SECRETS, read_only=True)) is None


def test_the_token_of_a_file_reads_the_metrics_and_nothing_else() -> None:
    assert refusal(SCRAPER, "GET", "/metrics") is None
    for method, path in (("GET", "/"), ("GET", "/metrics/"), ("POST", "/metrics"), ("GET", "/events")):
        assert refusal(SCRAPER, method, path) is not None
    for change in (
        {"host": "evil.example:8600"},
        {"authorization": "Bearer the-token-of-the-address"},
        {"authorization": "Basic the-token-of-the-file"},
        {"authorization": "Bearer"},
        {"authorization": ["Bearer the-token-of-the-file", "Bearer x"]},
    ):
        assert refusal({**SCRAPER, **change}, "GET", "/metrics") is not None
    without = Rules(8600, Secrets())
    assert refusal({**SCRAPER, "authorization": "Bearer "}, "GET", "/metrics", without) is not None
    assert refusal({**SCRAPER, "authorization": "Bearer None"}, "GET", "/metrics", without) is not None


def answered(method: str, path: str, query: str, headers: dict[str, str], **more: Any) -> dict[str, Any]:
    """What the checks send for a request: status, headers, and whether the application was called."""
    called, sent = [], []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        called.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"public")]})

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), **more}
    scope["headers"] = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    asyncio.run(AccessControl(app, RULES)(scope, None, send))  # type: ignore[arg-type]
    found = {"called": bool(called), "sent": sent, "status": sent[0].get("status"), "headers": {}}
    for name, value in sent[0].get("headers", []):
        assert name not in found["headers"], name
        found["headers"][name] = value.decode()
    return found


def test_the_printed_address_gives_the_cookie_and_leaves_the_address_bar() -> None:
    host = {"host": GOOD["host"]}
    found = answered("GET", "/", f"token={SECRETS.token}", host)
    assert (found["status"], found["called"]) == (303, False)
    assert found["headers"][b"location"] == "/"
    assert found["headers"][b"set-cookie"] == "engine-8600=the-cookie; Path=/; HttpOnly; SameSite=Strict"
    again = answered("GET", "/", "token=of-yesterday", {**host, "cookie": GOOD["cookie"]})
    assert (again["status"], again["headers"][b"location"]) == (303, "/")


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_link_of_another_site_gives_the_cookie_without_a_redirect(site: str) -> None:
    """A strict cookie does not go along with a redirect of what another site began."""
    found = answered("GET", "/", f"token={SECRETS.token}", {"host": GOOD["host"], "sec-fetch-site": site})
    assert (found["status"], found["called"]) == (200, False)
    assert b"location" not in found["headers"] and b"set-cookie" in found["headers"]
    assert b'content="0;url=/"' in found["sent"][1]["body"]
    assert b"token" not in found["sent"][1]["body"]


def test_a_ticket_lets_in_once_and_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    host = {"host": GOOD["host"]}
    tickets = [SECRETS.tickets.issue() for _ in range(3)]
    assert len({SECRETS.token, SECRETS.cookie, *tickets}) == 5
    for ticket in tickets[:2]:
        assert answered("POST", "/", f"token={ticket}", host)["status"] == 401
        assert answered("GET", "/rows", f"token={ticket}", host)["status"] == 401
        assert answered("GET", "/", f"token={ticket}", host)["status"] == 303
        assert answered("GET", "/", f"token={ticket}", host)["status"] == 401
    now = access.time.monotonic()
    monkeypatch.setattr(access.time, "monotonic", lambda: now + access.TICKET_S + 1)
    assert answered("GET", "/", f"token={tickets[2]}", host)["status"] == 401
    assert answered("GET", "/", f"token={SECRETS.token}", host)["status"] == 303


@pytest.mark.parametrize(
    ("method", "path", "query"),
    [
        ("GET", "/", "token=another"),
        ("GET", "/", "token="),
        ("GET", "/", f"token={SECRETS.token}&token={SECRETS.token}"),
        ("GET", "/rows", f"token={SECRETS.token}"),
        ("GET", "/", f"token={SECRETS.metrics}"),
        ("GET", "/", f"token={SECRETS.cookie}"),
        ("POST", "/", f"token={SECRETS.token}"),
        ("HEAD", "/", f"token={SECRETS.token}"),
    ],
)
def test_only_the_right_token_at_the_right_place_enters(method: str, path: str, query: str) -> None:
    found = answered(method, path, query, {"host": GOOD["host"]})
    assert (found["status"], found["called"]) == (401, False)
    assert b"set-cookie" not in found["headers"]


@pytest.mark.parametrize("headers", [{}, {"host": GOOD["host"]}, GOOD], ids=["no host", "no cookie", "good"])
def test_every_answer_has_the_same_headers(headers: dict[str, str]) -> None:
    found = answered("GET", "/", "", headers)
    for name, value in HEADERS.items():
        assert found["headers"][name.encode()] == value
    assert "unsafe" not in found["headers"][b"content-security-policy"]
    assert not [name for name in found["headers"] if name.startswith(b"access-control-")]


def test_sockets_of_another_kind_are_closed() -> None:
    found = answered("GET", "/", "", GOOD, type="websocket")
    assert found["sent"] == [{"type": "websocket.close", "code": 1008}]
    assert not found["called"]
