"""One client connection: a proxy up to CONNECT, then TLS, then HTTP/1.1 as the site.

TLS runs over memory buffers inside the protocol. asyncio's own TLS transport takes a quarter of a megabyte for each
connection, and a fault must be able to cut a connection at any byte.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
from typing import Any, Protocol

from engine.rehearsal.canned_responses import Response
from engine.rehearsal.request import Request, read_request

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

_REASONS = {
    200: "OK",
    204: "No Content",
    302: "Found",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    407: "Proxy Authentication Required",
    411: "Length Required",
    413: "Content Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
}


class Host(Protocol):
    """What a connection needs from the server it belongs to."""

    loop: asyncio.AbstractEventLoop
    tls: ssl.SSLContext

    def opened(self, connection: Connection) -> None: ...
    def closed(self, connection: Connection) -> None: ...
    def handshake_done(self, resumed: bool) -> None: ...
    def connect_status(self, authorization: str) -> tuple[int, str]: ...
    def answer(self, request: Request, egress: str) -> Response: ...
    def unknown(self, target: str, egress: str, status: int) -> None: ...
    def sent(self, egress: str, n: int) -> None: ...
    def control(self, method: str, target: str, body: bytes) -> tuple[int, dict[str, Any]]: ...


class Connection(asyncio.Protocol):
    """One connection. `egress` is the proxy user name, empty before CONNECT and for clients without one."""

    def __init__(self, host: Host, *, control_only: bool = False) -> None:
        self._host = host
        self._control_only = control_only
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._tls: ssl.SSLObject | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._handshake_done = False
        self._busy = False
        self._timer: asyncio.TimerHandle | None = None
        self.egress = ""

    # --- what asyncio calls -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if not self._control_only:
            self._host.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._transport = None
        self._host.closed(self)

    def data_received(self, data: bytes) -> None:
        if self._tls is None:
            self._buffer += data
        elif not self._feed(data):
            return
        self._work()

    # --- TLS ----------------------------------------------------------------------------------------------

    def _feed(self, data: bytes) -> bool:
        """Decrypt bytes into the buffer. False when there is nothing to read, yet or ever."""
        assert self._tls is not None
        self._incoming.write(data)
        try:
            if not self._handshake_done:
                self._tls.do_handshake()
                self._handshake_done = True
                self._host.handshake_done(bool(self._tls.session_reused))
            while True:
                piece = self._tls.read(65536)
                if not piece:
                    self.close()
                    return False
                self._buffer += piece
        except ssl.SSLWantReadError:
            self._flush()
            return bool(self._buffer)
        except ssl.SSLError:
            # Send the alert that says why.
            self._flush()
            self.close()
            return False

    def _flush(self) -> None:
        if self._outgoing.pending and self._transport is not None:
            self._transport.write(self._outgoing.read())

    def _write(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._tls is None:
            self._transport.write(data)
        else:
            self._tls.write(data)
            self._flush()

    def close(self) -> None:
        """Close the connection after what is still to be sent."""
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """End the connection at once by a TCP reset."""
        if self._transport is None:
            return
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    # --- HTTP ---------------------------------------------------------------------------------------------

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
        head = f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}\r\nContent-Type: {content_type}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers)
        self._write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    def _handle_proxy_request(self, method: str, target: str, headers: dict[str, str], body: bytes) -> None:
        """Handle a request to the proxy itself: CONNECT or control."""
        if target.startswith("/__"):
            status, found = self._host.control(method, target, body)
            self._reply(status, "application/json", json.dumps(found).encode() + b"\n")
            return
        if method != "CONNECT" or self._control_only:
            self._refuse(
                400, "this proxy answers as www.youtube.com over https: use CONNECT, or GET /__stats"
            )
            return
        status, self.egress = self._host.connect_status(headers.get("proxy-authorization", ""))
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
        self._tls = self._host.tls.wrap_bio(self._incoming, self._outgoing, server_side=True)
        if self._buffer:
            data = bytes(self._buffer)
            self._buffer.clear()
            self._feed(data)

    def _handle_site_request(self, method: str, target: str, headers: dict[str, str], body: bytes) -> None:
        """Handle a request to the site."""
        try:
            request = read_request(method, target, headers, body)
        except ValueError as exc:
            self._host.unknown(target, self.egress, 400)
            self._reply(400, "text/plain; charset=utf-8", f"{exc}\n".encode())
            return
        if request is None:
            self._host.unknown(target, self.egress, 404)
            self._reply(404, "text/html; charset=utf-8", b"<html><title>404 Not Found</title></html>")
            return
        response = self._host.answer(request, self.egress)
        gzip = "gzip" in headers.get("accept-encoding", "")
        head_only = method == "HEAD"
        close = headers.get("connection", "").lower() == "close"
        if response.delivery == "hang":
            self._busy = True
        elif response.delay_s > 0:
            self._busy = True
            self._timer = self._host.loop.call_later(
                response.delay_s, self._deliver, response, gzip, head_only, close
            )
        else:
            self._deliver(response, gzip, head_only, close)

    def _deliver(self, response: Response, gzip: bool, head_only: bool, close: bool) -> None:
        was_busy, self._busy, self._timer = self._busy, False, None
        if response.delivery == "reset":
            self.reset()
            return
        if response.early_hints:
            self._write(b"HTTP/1.1 103 Early Hints\r\nLink: </s.css>; rel=preload; as=style\r\n\r\n")
        body = response.body.gzipped(response.end) if gzip else response.body.plain(response.end)
        head = (
            f"HTTP/1.1 {response.status} {_REASONS.get(response.status, 'Status')}\r\n"
            f"Content-Type: {response.body.content_type}\r\n"
            + ("Content-Encoding: gzip\r\n" if gzip else "")
            + "".join(f"{name}: {value}\r\n" for name, value in response.headers)
            + ("Connection: close\r\n" if close else "")
            + f"Content-Length: {len(body)}\r\n\r\n"
        ).encode()
        if head_only:
            self._write(head)
        elif response.delivery == "truncated":
            self._host.sent(self.egress, len(body) // 2)
            self._write(head + body[: len(body) // 2])
            close = True
        elif response.delivery == "trickle":
            self._busy = True
            self._write(head)
            self._trickle(body, 0)
            return
        else:
            self._host.sent(self.egress, len(body))
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
        self._host.sent(self.egress, 1)
        self._write(body[at : at + 1])
        self._timer = self._host.loop.call_later(TRICKLE_S, self._trickle, body, at + 1)
