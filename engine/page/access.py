"""Who may talk to the page: the checks in front of every request, as plain ASGI.

Any program on this machine, and any site that the user visits, can send requests to a port on loopback. So each
request must name our own host (a foreign name that resolves to 127.0.0.1 does not), and carry the cookie that only
the printed address gives. What changes something must also come from our own page: it has our origin and a header
that no foreign page can add without a CORS answer, which is never given.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl

LOOPBACK = "127.0.0.1"
HOSTS = (LOOPBACK, "localhost")
MARK = "x-engine"  # the header of our own script
METRICS = "/metrics"
ENTRY = "/"
TICKET_S = 300.0  # a browser has opened it by then
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
_READS = ("GET", "HEAD")

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Tickets:
    """Tokens that let in once, and soon. Whoever lists the processes sees what a browser was started with, as long as
    it runs: so that is never the token itself."""

    def __init__(self) -> None:
        self._until_s: dict[str, float] = {}

    def issue(self) -> str:
        """A new one."""
        ticket = secrets.token_urlsafe(24)
        self._until_s[ticket] = time.monotonic() + TICKET_S
        return ticket

    def spend(self, given: str) -> bool:
        """Whether this is one that nobody has used yet; from now on it is used."""
        found = next((ticket for ticket in self._until_s if same(given, ticket)), None)
        return found is not None and time.monotonic() < self._until_s.pop(found, 0.0)


@dataclass(frozen=True, slots=True)
class Secrets:
    """What lets in: the token of the printed address, tickets, the cookie they are exchanged for, and the token of a
    file, with which a program may read `/metrics` and nothing else (None: there is no file)."""

    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    cookie: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    metrics: str | None = field(default=None, repr=False)
    tickets: Tickets = field(default_factory=Tickets, repr=False)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer of these checks instead of the page's: its status, and a sentence."""

    status: int
    why: str


@dataclass(frozen=True, slots=True)
class Rules:
    """What a request must have. `port` is the one the page listens on."""

    port: int
    secrets: Secrets
    read_only: bool = False

    @property
    def cookie_name(self) -> str:
        """Cookies know no ports: two pages on one host need two names."""
        return f"engine-{self.port}"

    def refusal(self, method: str, path: str, headers: list[tuple[str, str]]) -> Refusal | None:
        """Why a request is refused; None when it may pass. Names of headers are in lower case."""
        hosts = _values(headers, "host")
        if len(hosts) != 1 or hosts[0].lower() not in {f"{name}:{self.port}" for name in HOSTS}:
            return Refusal(403, "this is not the host that the page is on")
        if self._is_scraper(method, path, headers):
            return None
        if not self._has_cookie(headers):
            return Refusal(401, "open the address that `engine page` printed: it holds the token")
        origins = _values(headers, "origin")
        foreign = _is_foreign(path, headers) or any(each != f"http://{hosts[0].lower()}" for each in origins)
        if foreign:
            return Refusal(403, "another site asked for this")
        if method in _READS:
            return None
        if self.read_only:
            return Refusal(405, "this page was started with --read-only")
        if len(origins) != 1:
            return Refusal(403, "this does not come from a page of this site")
        if _values(headers, MARK) != ["1"]:
            return Refusal(403, "this does not come from the page's own script")
        return None

    def enters(self, path: str, query: str) -> bool:
        """Whether this is the printed address with the right token, or that of a browser with a ticket."""
        given = [value for name, value in parse_qsl(query) if name == "token"]
        if path != ENTRY or len(given) != 1:
            return False
        return same(given[0], self.secrets.token) or self.secrets.tickets.spend(given[0])

    def _has_cookie(self, headers: list[tuple[str, str]]) -> bool:
        found = []
        for text in _values(headers, "cookie"):
            try:
                jar = SimpleCookie(text)
            except CookieError:
                return False
            found += [jar[self.cookie_name].value] if self.cookie_name in jar else []
        return len(found) == 1 and same(found[0], self.secrets.cookie)

    def _is_scraper(self, method: str, path: str, headers: list[tuple[str, str]]) -> bool:
        """Whether a program asks for the metrics with the token of the file."""
        given = _values(headers, "authorization")
        if self.secrets.metrics is None or method not in _READS or path != METRICS or len(given) != 1:
            return False
        scheme, _, token = given[0].partition(" ")
        return scheme.lower() == "bearer" and same(token.strip(), self.secrets.metrics)


class AccessControl:
    """The checks around the page's application. Every answer gets the same headers, those of a refusal too."""

    def __init__(self, app: App, rules: Rules) -> None:
        self._app, self._rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await self._app(scope, receive, send)
            return
        headers = [
            (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]
        ]
        refusal = self._rules.refusal(scope["method"], scope["path"], headers)
        query = scope["query_string"].decode("latin-1")
        unknown = refusal is not None and refusal.status == 401 and scope["method"] == "GET"
        if unknown and self._rules.enters(scope["path"], query):
            await self._let_in(send, headers)
        elif refusal is not None:
            await _answer(send, refusal.status, [("content-type", "text/plain; charset=utf-8")], refusal.why)
        elif "token" in dict(parse_qsl(query)):  # out of the address bar and the history
            await _answer(send, 303, [("location", ENTRY)], "")
        else:
            await self._app(scope, receive, _with_headers(send))

    async def _let_in(self, send: Send, headers: list[tuple[str, str]]) -> None:
        """Give the cookie, and lead to the address without the token.

        A browser that followed a link of another site (a terminal or a chat in a tab) would not send a strict cookie
        along with a redirect: there the page is opened by a page of ours, which takes its place in the history.
        """
        rules = self._rules
        cookie = f"{rules.cookie_name}={rules.secrets.cookie}; Path=/; HttpOnly; SameSite=Strict"
        if set(_values(headers, "sec-fetch-site")) <= {"none", "same-origin"}:
            await _answer(send, 303, [("location", ENTRY), ("set-cookie", cookie)], "")
        else:
            html = [("content-type", "text/html; charset=utf-8"), ("set-cookie", cookie)]
            await _answer(send, 200, html, _ONWARD)


_ONWARD = (
    f'<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={ENTRY}">'
    f'<title>engine</title><p><a href="{ENTRY}">To the page</a>'
)


def _is_foreign(path: str, headers: list[tuple[str, str]]) -> bool:
    """Whether a browser says that another page wants this. To come to the main page by a link is no harm.

    A server on another port of this host is of the same site, and the cookie goes along with what it asks for.
    """
    by_link = path == ENTRY and _values(headers, "sec-fetch-mode") == ["navigate"]
    by_link = by_link and set(_values(headers, "sec-fetch-dest")) <= {"document"}
    return not by_link and not set(_values(headers, "sec-fetch-site")) <= {"same-origin", "none"}


def _values(headers: list[tuple[str, str]], name: str) -> list[str]:
    return [value for key, value in headers if key == name]


def same(given: str, wanted: str) -> bool:
    """Whether two secrets are the same, in constant time."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = {name.encode() for name in HEADERS}
            kept = [pair for pair in message.get("headers", []) if pair[0].lower() not in own]
            message["headers"] = kept + _encoded(HEADERS.items())
        await send(message)

    return sent


async def _answer(send: Send, status: int, headers: list[tuple[str, str]], text: str) -> None:
    body = f"{text}\n".encode() if text else b""
    head = [*headers, ("content-length", str(len(body))), *HEADERS.items()]
    await send({"type": "http.response.start", "status": status, "headers": _encoded(head)})
    await send({"type": "http.response.body", "body": body})


def _encoded(headers: Any) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
