"""One attempt: a session of one egress, a deadline, and the count of what was sent.

Each request, redirects included, takes a permit first, keeps the timeouts and the deadline, and is counted; its
decoded body is capped.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import requests
import urllib3

from engine.errors import Interrupted
from engine.model import Failure, Kind, Permit, RequestCost
from engine.network.answer import Answer, FailureError, RequestPhase, retry_after_s
from engine.network.large_answers import LARGE_BYTES, large_slot
from engine.network.session import Session
from engine.network.sockets import current
from engine.process import suspends

if TYPE_CHECKING:
    from engine.network.client import Client

MAX_BODIES = 4  # all bodies of an attempt together may be this many times as large as one
_CHUNK_BYTES = 64 << 10
# The encodings in which an answer is read. Some others take quadratic time (`punycode`), and where an answer names
# none, `requests` would try them all.
_ENCODINGS = {"iso-8859-1": "iso-8859-1", "us-ascii": "ascii", "utf-16": "utf-16"}
_KINDS = {
    "/watch": "page",
    "/youtubei/v1/player": "player",
    "/youtubei/v1/next": "next",
    "/api/timedtext": "timedtext",
    "/youtubei/v1/navigation/resolve_url": "listing",
    "/youtubei/v1/browse": "listing",
    "/youtubei/v1/search": "listing",
}


class Attempt:
    """One attempt's use of a session, as a context manager; `cost` and `answer` stay readable after it.

    The deadline runs while a request is under way, from its permit to its last byte, summed over the requests.
    Waiting for permits does not count. The session of an attempt with `drop_session` is closed instead of reused.
    """

    def __init__(self, client: Client, permit: Permit, deadline_s: float) -> None:
        self.client = client
        self.egress = permit.egress
        self.permit = permit  # of the latest request
        self.answer = Answer(proxied=client.specs[permit.egress].proxy_url is not None)
        self.drop_session = False
        self._prepaid = True  # the first request uses `permit`
        self._deadline = _Deadline(deadline_s)
        self.wait_s = self._deadline.wait_s  # for the sockets, see `sockets.Waiter`
        self._requests = self._bytes = self._decoded_bytes = 0
        self._scope = ExitStack()
        self._session: Session | None = None

    def __enter__(self) -> Attempt:
        self._scope.enter_context(large_slot.scope())
        self._session = self.client.checkout(self)
        self._session.adapter.attempt = self
        return self

    def __exit__(self, *_: object) -> None:
        session, self._session = self.session, None
        session.adapter.attempt = None
        with self._scope:
            self.client.checkin(self, session, keep=not self.drop_session)

    @property
    def time_is_up(self) -> bool:
        """Whether the deadline is over."""
        return not self._deadline.whole_left_s

    @contextlib.contextmanager
    def part(self, limit_s: float | None) -> Iterator[None]:
        """Let the requests inside take `limit_s` at most, of what the deadline has left; None: all of that."""
        self._deadline.begin_part(limit_s)
        try:
            yield
        finally:
            self._deadline.begin_part(None)

    @property
    def session(self) -> Session:
        if self._session is None:
            raise RuntimeError("an attempt has a session only inside its `with` block")
        return self._session

    @property
    def cost(self) -> RequestCost:
        """Requests sent so far, and their body bytes as transferred."""
        return RequestCost(self._requests, self._bytes)

    def request(self, method: str, url: str, **kwargs: Any) -> requests.Response:
        return self.session.request(method, url, **kwargs)

    def get(self, url: str, **kwargs: Any) -> requests.Response:
        return self.session.get(url, **kwargs)

    def reached(self, phase: RequestPhase) -> None:
        self.answer = replace(self.answer, phase=phase)
        self.wait_s(self.client.connect_s)

    def connected(self) -> None:
        self.client.count_handshake()

    def send(self, request: requests.PreparedRequest, host: str) -> requests.Response:
        """Send one request; called by the session's adapter.

        Raises FailureError, errors.Interrupted, and what `requests` raises.
        """
        kind = _KINDS.get(urlsplit(str(request.url)).path, "other")
        self.answer = Answer(
            kind="page" if host == "consent.youtube.com" else kind,
            proxied=self.answer.proxied,
            phase=RequestPhase.SENT,
        )
        if not self._deadline.left_s:
            raise self._late()
        self._pay()
        self._requests += 1
        self._deadline.start()
        if self.client.log:
            self.client.log(self.egress, time.monotonic())
        current.attempt = self
        try:
            timeout_s = (self.wait_s(self.client.connect_s), self.wait_s(self.client.read_s))
            adapter = self.session.adapter
            response = adapter.transmit(request, timeout_s)
            self._receive(response)
            if self.session.rotating:
                adapter.poolmanager.clear()  # some gateways ignore `Connection: close`
            return response
        except (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError, requests.ConnectionError):
            self._deadline.stop()
            if not self._deadline.left_s:
                raise self._late() from None
            raise
        finally:
            current.attempt = None
            self._deadline.stop()

    def _pay(self) -> None:
        """Use the prepaid permit, or acquire another."""
        if self._prepaid and time.monotonic() > self.permit.expires_s:
            self.client.unused(self.permit)
            self._prepaid = False
        if not self._prepaid:
            self.permit = self.client.acquire(self.egress)
        self._prepaid = False

    def _receive(self, response: requests.Response) -> None:
        """Read the body within deadline and cap, and store it in the response."""
        raw = response.raw
        self.answer = replace(
            self.answer,
            status=response.status_code,
            retry_after_s=retry_after_s(response.headers.get("Retry-After")),
            phase=RequestPhase.BODY,
        )
        parts: list[bytes] = []
        size, max_bytes = 0, self.client.max_bytes
        try:
            # read1 returns what has arrived, in chunks of bounded size however well it was compressed.
            while data := raw.read1(_CHUNK_BYTES, decode_content=True):
                parts.append(data)
                size += len(data)
                if size > LARGE_BYTES and not large_slot.mine:
                    self._take_large_slot()
                if size > max_bytes or self._decoded_bytes + size > MAX_BODIES * max_bytes:
                    message = f"the {self.answer.kind} answer is larger than {max_bytes / (1 << 20):g} MB"
                    raise FailureError(Failure(Kind.TOO_LARGE, message))
        except BaseException:
            raw.close()
            raise
        finally:
            self._bytes += raw.tell()
        self._decoded_bytes += size
        body = b"".join(parts)
        parts.clear()
        # `Response.content` sets the same two fields; requests has no public way to hand it a body.
        response._content = body
        response._content_consumed = True  # type: ignore[attr-defined]
        media = response.headers.get("Content-Type", "").lower()
        charset = media.partition("charset=")[2].partition(";")[0].strip(" \t\"'")
        response.encoding = _ENCODINGS.get(charset, "utf-8")  # requests would read text/xml as Latin-1
        captcha = "html" in media and b"g-recaptcha" in body and self.answer.kind != "page"
        self.answer = replace(self.answer, size_bytes=size, captcha=captcha)

    def _take_large_slot(self) -> None:
        """Wait until no other thread holds a large answer. This does not count against the deadline."""
        self._deadline.stop()
        try:
            taken = self.client.take_large_slot()
        finally:
            self._deadline.start()
        if not taken:
            raise Interrupted

    def _late(self) -> FailureError:
        limit_s, what = (
            (self._deadline.part_s, "way")
            if self._deadline.whole_left_s
            else (self._deadline.limit_s, "attempt")
        )
        message = f"not done within the {limit_s:g} s of one {what}"
        return FailureError(Failure(Kind.TIMEOUT, message))


class _Deadline:
    """The time an attempt has left: from `start` to `stop`, less what this process was suspended for."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self.part_s = limit_s  # of the part under way
        self._part_ends_s = limit_s  # in time used
        self._used_s = 0.0
        self._since_s: float | None = None  # None: stopped

    @property
    def left_s(self) -> float:
        """Seconds left, 0.0 when it is over. A wait may end slightly early, so a few milliseconds count as none."""
        return _unless_over(self._part_ends_s - self._used_s)

    @property
    def whole_left_s(self) -> float:
        """Seconds left of the whole deadline, whatever part is under way."""
        return _unless_over(self.limit_s - self._used_s)

    def begin_part(self, limit_s: float | None) -> None:
        """From now on `left_s` counts towards the end of a part; None: of the whole."""
        self.part_s = self.limit_s if limit_s is None else min(limit_s, self.limit_s)
        self._part_ends_s = min(self.limit_s, self._used_s + self.part_s)

    def start(self) -> None:
        self._since_s = time.monotonic()

    def wait_s(self, max_s: float | None) -> float:
        """How long the next wait may take, at most `max_s`. Raises TimeoutError when no time is left."""
        self._count()
        left_s = self.left_s
        if not left_s:
            raise TimeoutError("the attempt's deadline is over")
        return left_s if max_s is None else min(max_s, left_s)

    def stop(self) -> None:
        self._count()
        self._since_s = None

    def _count(self) -> None:
        if self._since_s is None:
            return
        since_s, self._since_s = self._since_s, time.monotonic()
        used_s = self._since_s - since_s
        if used_s > suspends.GAP_S:  # less than that can hold no suspend
            used_s = max(0.0, used_s - suspends.lost_s(since_s))
        self._used_s += used_s


def _unless_over(left_s: float) -> float:
    return left_s if left_s > 0.005 else 0.0
