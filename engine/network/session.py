"""One attempt's line to YouTube: a session under the door's rules, and the attempt's clock and counts.

For each request, redirects included: only YouTube's own hosts over https, a permit first, connect and read
timeouts, the attempt's deadline, a cap on the decoded body, no hidden retry, and a count.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from engine.errors import Interrupted
from engine.model import Cost, EgressSpec, Failure, Kind, Permit
from engine.network.answer import Answer, FailureError, Phase, retry_after_s
from engine.network.cookies import Jar, worth_reading
from engine.network.sockets import current
from engine.network.turns import LARGE_BYTES, turns
from engine.process import suspends

if TYPE_CHECKING:
    from engine.network.client import Door

HOSTS = frozenset({"www.youtube.com", "youtube.com", "m.youtube.com", "consent.youtube.com"})
MAX_REDIRECTS = 5
MAX_ADDRESS_CHARS = 10_000
BODIES = 4  # times what one body may have: so much may all bodies of an attempt have
_CHUNK_BYTES = 64 << 10
# The only encodings that an answer is read in. Of others some take a time that grows with the square of the
# length (`punycode`), and where none is named `requests` would try them all.
_ENCODINGS = {"iso-8859-1": "iso-8859-1", "us-ascii": "ascii", "utf-16": "utf-16"}
_KINDS = {
    "/watch": "page",
    "/youtubei/v1/player": "player",
    "/api/timedtext": "timedtext",
    "/youtubei/v1/navigation/resolve_url": "listing",
    "/youtubei/v1/browse": "listing",
    "/youtubei/v1/search": "listing",
}


def youtube_host(url: str | bytes | None) -> str:
    """The host of an address the door opens to; raises FailureError for any other."""
    text = url.decode("latin-1") if isinstance(url, bytes) else url or ""
    try:
        parts = urlsplit(text)
        host, port, plain = parts.hostname or "", parts.port, parts.username is None
    except ValueError:
        raise FailureError(Failure(Kind.GARBLED, "YouTube's answer leads to a malformed address")) from None
    if parts.scheme == "https" and host in HOSTS and port in (None, 443) and plain:
        return host
    if parts.path.startswith("/sorry") and host.split(".")[-2:-1] == ["google"]:
        # Google's own page for "unusual traffic": where a refused address is sent.
        raise FailureError(Failure(Kind.BLOCKED, "YouTube redirects to Google's page for unusual traffic"))
    shown = "".join(c for c in host if c.isalnum() or c in ".-")[:80] or "nowhere"
    message = f"YouTube's answer leads away from youtube.com (to {shown} by {parts.scheme or 'no scheme'})"
    raise FailureError(Failure(Kind.GARBLED, message))


class Adapter(HTTPAdapter):
    """Hands each request to the attempt that holds the session, which transmits it when it may."""

    def __init__(self, manager: urllib3.PoolManager) -> None:
        self._manager = manager
        self.attempt: Attempt | None = None
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=Retry(0, read=False))

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        self.poolmanager = self._manager

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, *args: Any, **kwargs: Any
    ) -> Any:
        # Connects to a word of HOSTS, however anyone else would read the address.
        return self._manager.connection_from_host(youtube_host(request.url), 443, scheme="https")

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to do: the door's TLS context verifies always."""

    def request_url(self, request: requests.PreparedRequest, proxies: Mapping[str, str] | None) -> str:
        return request.path_url

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        if self.attempt is None:
            raise RuntimeError("a session is used outside an attempt")
        return self.attempt.send(request)

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        message = getattr(getattr(resp, "_original_response", None), "msg", None)  # where requests looks, too
        if message is not None and "Set-Cookie" in message:
            kept = worth_reading(message.get_all("Set-Cookie"))
            del message["Set-Cookie"]
            for header in kept:
                message["Set-Cookie"] = header
        return super().build_response(req, resp)

    def transmit(
        self, request: requests.PreparedRequest, timeout_s: tuple[float, float]
    ) -> requests.Response:
        return super().send(request, stream=True, timeout=timeout_s, proxies={})


class Session(requests.Session):
    """A session of one egress. `companion` is for what its users keep with it; it lives as long.

    `instead`: the beginning of addresses that are not fetched, and what who gets them is given.
    """

    def __init__(self, spec: EgressSpec, manager: urllib3.PoolManager) -> None:
        super().__init__()
        self.trust_env = False  # proxies and trust are set by hand, and it is twice as fast
        self.max_redirects = MAX_REDIRECTS
        self.adapter = Adapter(manager)
        self.adapters.clear()
        self.mount("https://", self.adapter)
        self.mount("http://", self.adapter)
        self.cookies = Jar()
        self.companion: Any = None
        self.instead: tuple[str, requests.Response] | None = None
        self.rotating = spec.rotating
        if spec.rotating:
            self.headers["Connection"] = "close"

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        if len(url) > MAX_ADDRESS_CHARS:
            raise FailureError(Failure(Kind.GARBLED, "YouTube's answer leads to an address of absurd length"))
        return super().request(method, url, *args, **kwargs)

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """As requests does it, for what most requests are made of at a third of the cost."""
        asked = (request.headers, request.params, request.cookies, request.auth, request.files)
        if any(asked) or any(request.hooks.values()):
            return super().prepare_request(request)
        prepared = requests.PreparedRequest()
        prepared.prepare(
            method=request.method,
            url=request.url,
            headers=self.headers,
            data=request.data,
            json=request.json,
            cookies=self.cookies,
        )
        return prepared

    def get(self, url: str | bytes, **kwargs: Any) -> requests.Response:
        if self.instead is not None and str(url).startswith(self.instead[0]):
            return self.instead[1]
        return super().get(url, **kwargs)

    def merge_environment_settings(self, *args: Any, **kwargs: Any) -> Any:
        """Nothing to merge: the adapter knows its proxy and trust."""
        return {}


class Attempt:
    """One attempt's hold on a session. Use as a context manager; `cost` and `answer` stay readable after it.

    The deadline runs while a request is under way, from its permit to its last byte, and is summed over the
    requests; waiting for permits does not count.
    """

    def __init__(self, door: Door, permit: Permit, deadline_s: float) -> None:
        self.door = door
        self.index = permit.egress
        self.permit = permit  # of the latest request: what a loss is to be stamped with
        self.answer = Answer(proxied=door.specs[permit.egress].proxy_url is not None)
        self.spoilt = False  # the session is not to be used again
        self._prepaid = True
        self._clock = _Clock(deadline_s)
        self._requests = self._bytes = self._decoded = 0
        self._scope = ExitStack()
        self._session: Session | None = None

    def __enter__(self) -> Attempt:
        self._scope.enter_context(turns.scope())
        self._session = self.door.checkout(self)
        self._session.adapter.attempt = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        session, self._session = self.session, None
        session.adapter.attempt = None
        with self._scope:
            self.door.checkin(self, session, keep=not self.spoilt)

    @property
    def session(self) -> Session:
        if self._session is None:
            raise RuntimeError("an attempt is used before it began or after its end")
        return self._session

    @property
    def cost(self) -> Cost:
        """Requests sent so far, and their body bytes as transferred."""
        return Cost(self._requests, self._bytes)

    def request(self, method: str, url: str, **kwargs: Any) -> requests.Response:
        return self.session.request(method, url, **kwargs)

    def get(self, url: str, **kwargs: Any) -> requests.Response:
        return self.session.get(url, **kwargs)

    # What the sockets ask (`sockets.Waiter`).

    def wait_s(self, limit_s: float | None) -> float:
        """How long the next wait may take; raises TimeoutError when the deadline is over."""
        return self._clock.wait_s(limit_s)

    def reached(self, phase: Phase) -> None:
        self.answer = replace(self.answer, phase=phase)
        self._clock.wait_s(self.door.connect_s)

    def connected(self) -> None:
        self.door.count_handshake()

    # One request.

    def send(self, request: requests.PreparedRequest) -> requests.Response:
        host = youtube_host(request.url)
        kind = _KINDS.get(urlsplit(str(request.url)).path, "other")
        self.answer = Answer(
            kind="page" if host == "consent.youtube.com" else kind,
            proxied=self.answer.proxied,
            phase=Phase.SENT,
        )
        if self._clock.is_over():
            raise self._late()
        if self._prepaid and self.door.stale(self.permit):
            self.door.unused(self.permit)
            self._prepaid = False
        if not self._prepaid:
            self.permit = self.door.take(self.index)
        self._prepaid = False
        self._requests += 1
        self._clock.start()
        if self.door.log:
            self.door.log(self.index, time.monotonic())
        current.attempt = self
        try:
            timeout_s = (self.wait_s(self.door.connect_s), self.wait_s(self.door.read_s))
            response = self.session.adapter.transmit(request, timeout_s)
            self._receive(response)
            if self.session.rotating:
                self.session.adapter.poolmanager.clear()  # a gateway may keep it open all the same
            return response
        except (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError, requests.ConnectionError):
            self._clock.stop()
            if self._clock.is_over():
                raise self._late() from None
            raise
        finally:
            current.attempt = None
            self._clock.stop()

    def _receive(self, response: requests.Response) -> None:
        """Read the body within deadline and cap, and hang it into the response."""
        raw = response.raw
        self.answer = replace(
            self.answer,
            status=response.status_code,
            retry_after_s=retry_after_s(response.headers.get("Retry-After")),
            phase=Phase.BODY,
        )
        parts: list[bytes] = []
        size = 0
        try:
            # read1 hands over what has come, in pieces of bounded size however well it was compressed.
            while data := raw.read1(_CHUNK_BYTES, decode_content=True):
                parts.append(data)
                size += len(data)
                if size > LARGE_BYTES and not turns.mine:
                    self._take_turn()
                if size > self.door.max_bytes or self._decoded + size > BODIES * self.door.max_bytes:
                    limit = f"{self.door.max_bytes / (1 << 20):g} MB"
                    message = f"the {self.answer.kind} answer is larger than {limit}"
                    raise FailureError(Failure(Kind.TOO_LARGE, message))
        except BaseException:
            raw.close()
            raise
        finally:
            self._bytes += raw.tell()
        self._decoded += size
        body = b"".join(parts)
        parts.clear()
        # As `Response.content` itself does it: there is no public place for a body read by the clock.
        response._content = body
        response._content_consumed = True  # type: ignore[attr-defined]
        media = response.headers.get("Content-Type", "").lower()
        charset = media.partition("charset=")[2].partition(";")[0].strip(" \t\"'")
        response.encoding = _ENCODINGS.get(charset, "utf-8")  # requests would take text/xml for Latin-1
        captcha = "html" in media and b"g-recaptcha" in body and self.answer.kind != "page"
        self.answer = replace(self.answer, size_bytes=size, captcha=captcha)

    def _take_turn(self) -> None:
        """Wait until no other thread has a large answer in hand. That is not the attempt's time."""
        self._clock.stop()
        try:
            taken = self.door.turn()
        finally:
            self._clock.start()
        if not taken:
            raise Interrupted

    def _late(self) -> FailureError:
        message = f"not done within the {self._clock.deadline_s:g} s of one attempt"
        return FailureError(Failure(Kind.TIMEOUT, message))


class _Clock:
    """What is left of an attempt's time. The time that this process was suspended does not count."""

    def __init__(self, deadline_s: float) -> None:
        self.deadline_s = deadline_s
        self._used_s = 0.0
        self._since_s: float | None = None  # None: stopped

    @property
    def left_s(self) -> float:
        return self.deadline_s - self._used_s

    def is_over(self) -> bool:
        return self.left_s < 0.005  # a wait may end a little early

    def start(self) -> None:
        self._since_s = time.monotonic()

    def wait_s(self, limit_s: float | None) -> float:
        self._count()
        if self.is_over():
            raise TimeoutError("the attempt's deadline is over")
        return self.left_s if limit_s is None else min(limit_s, self.left_s)

    def stop(self) -> None:
        self._count()
        self._since_s = None

    def _count(self) -> None:
        if self._since_s is None:
            return
        since_s, self._since_s = self._since_s, time.monotonic()
        self._used_s += max(0.0, self._since_s - since_s - suspends.lost_s(since_s))
