"""One client connection: a proxy up to CONNECT, then TLS, then HTTP/1.1 as the site."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from engine.rehearsal import control
from engine.rehearsal.canned_responses import Response
from engine.rehearsal.request import read_request
from engine.rehearsal.tls_connection import TLSConnection

if TYPE_CHECKING:
    from engine.rehearsal.server import Server

HOSTS = (
    "www.youtube.com",
    "youtube.com",
    "m.youtube.com",
    "music.youtube.com",
    "consent.youtube.com",
    "youtubei.googleapis.com",
    "www.youtube-nocookie.com",
)
MAX_HEAD_BYTES = 65536
MAX_BODY_BYTES = 1 << 20
TRICKLE_S = 0.2


class ServerConnection(TLSConnection):
    """One connection. `egress` is the proxy user name, empty before CONNECT and for clients without one."""

    def __init__(self, server: Server, *, control_only: bool = False) -> None:
        super().__init__()
        self._server = server
        self._control_only = control_only
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None
        self.egress = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if not self._control_only:
            self._server.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)
        self._server.closed(self)

    def _handshake_done(self, resumed: bool) -> None:
        self._server.handshake_done(resumed)

    def _work(self) -> None:
        """Handle the requests in the buffer, one after another. Each waits until the one before is answered."""
        while not self._busy and self._transport is not None and not self._transport.is_closing():
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > MAX_HEAD_BYTES:
                    self._refuse(400, "the head of the request is too long")
                return
            lines = self._buffer[:end].decode("latin-1").split("\r\n")
            headers = {}
            for line in lines[1:]:
                name, _, value = line.partition(":")
                headers[name.strip().lower()] = value.strip()
            first = lines[0].split(" ")
            length_text = headers.get("content-length", "0")
            if len(first) != 3 or not length_text.isascii() or not length_text.isdigit():
                self._refuse(400, "this is not an HTTP/1.1 request")
                return
            if "transfer-encoding" in headers:
                self._refuse(411, "send the body with a Content-Length")
                return
            length = int(length_text)
            if length > MAX_BODY_BYTES:
                self._refuse(413, f"a body of more than {MAX_BODY_BYTES} bytes is not taken")
                return
            if len(self._buffer) < end + 4 + length:
                return
            body = bytes(self._buffer[end + 4 : end + 4 + length])
            del self._buffer[: end + 4 + length]
            if self._tls is None:
                self._handle_proxy_request(first[0], first[1], headers, body)
            else:
                self._handle_site_request(first[0], first[1], headers, body)

    def _refuse(self, status: int, why: str) -> None:
        self._reply(status, "text/plain; charset=utf-8", f"{why}\n".encode(), (("Connection", "close"),))
        self.close()

    def _reply(
        self, status: int, content_type: str, body: bytes, headers: tuple[tuple[str, str], ...] = ()
    ) -> None:
        self._write(_head(status, content_type, len(body), headers) + body)

    def _handle_proxy_request(self, method: str, target: str, headers: dict[str, str], body: bytes) -> None:
        """Handle a request to the proxy itself: CONNECT or control."""
        if target.startswith("/__"):
            status, found = control.handle(self._server, method, target, body)
            self._reply(status, "application/json", json.dumps(found).encode() + b"\n")
            return
        if method != "CONNECT" or self._control_only:
            self._refuse(
                400, "this proxy answers as www.youtube.com over https: use CONNECT, or GET /__stats"
            )
            return
        status, self.egress = self._server.connect_status(headers.get("proxy-authorization", ""))
        if status == 0:
            self.reset()
            return
        if status != 200:
            self._reply(
                status,
                "text/plain",
                b"",
                (("Proxy-Authenticate", 'Basic realm="rehearsal"'), ("Connection", "close")),
            )
            self.close()
            return
        name, _, port = target.rpartition(":")
        if name.lower() not in HOSTS or port != "443":
            self._refuse(502, f"this rehearsal server does not answer for {target}")
            return
        self._write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self._start_tls(self._server.tls)

    def _handle_site_request(self, method: str, target: str, headers: dict[str, str], body: bytes) -> None:
        """Handle a request to the site."""
        try:
            request = read_request(method, target, headers, body)
        except ValueError as exc:
            self._log_unknown(target, 400)
            self._reply(400, "text/plain; charset=utf-8", f"{exc}\n".encode())
            return
        if request is None:
            self._log_unknown(target, 404)
            self._reply(404, "text/html; charset=utf-8", b"<html><title>404 Not Found</title></html>")
            return
        response = self._server.answer(request, self.egress)
        gzip = "gzip" in headers.get("accept-encoding", "")
        head_only = method == "HEAD"
        close = headers.get("connection", "").lower() == "close"
        if response.delivery == "hang":
            self._busy = True
        elif response.delay_s > 0:
            self._busy = True
            self._timer = self._server.loop.call_later(
                response.delay_s, self._deliver, response, gzip, head_only, close
            )
        else:
            self._deliver(response, gzip, head_only, close)

    def _log_unknown(self, target: str, status: int) -> None:
        """Log a request for a page that the server does not have. Its path takes the place of the id."""
        self._server.log.note("other", urlsplit(target).path[:60], self.egress, status, None)

    def _deliver(self, response: Response, gzip: bool, head_only: bool, close: bool) -> None:
        was_busy, self._busy, self._timer = self._busy, False, None
        if response.delivery == "reset":
            self.reset()
            return
        if response.early_hints:
            self._write(b"HTTP/1.1 103 Early Hints\r\nLink: </s.css>; rel=preload; as=style\r\n\r\n")
        body = response.body.gzipped(response.end) if gzip else response.body.plain(response.end)
        headers = response.headers
        if gzip:
            headers += (("Content-Encoding", "gzip"),)
        if close:
            headers += (("Connection", "close"),)
        head = _head(response.status, response.body.content_type, len(body), headers)
        if head_only:
            self._write(head)
        elif response.delivery == "truncated":
            self._server.log.sent(self.egress, len(body) // 2)
            self._write(head + body[: len(body) // 2])
            close = True
        elif response.delivery == "trickle":
            self._busy = True
            self._write(head)
            self._trickle(body, 0)
            return
        else:
            self._server.log.sent(self.egress, len(body))
            self._write(head + body)
        if close:
            self.close()
        elif was_busy and self._buffer:
            self._work()

    def _trickle(self, body: bytes, at: int) -> None:
        if at >= len(body):
            self._busy = False
            self._timer = None
            self._work()
            return
        self._server.log.sent(self.egress, 1)
        self._write(body[at : at + 1])
        self._timer = self._server.loop.call_later(TRICKLE_S, self._trickle, body, at + 1)


def _head(status: int, content_type: str, length: int, headers: tuple[tuple[str, str], ...]) -> bytes:
    """The status line and headers of a response."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Content-Type: {content_type}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()
