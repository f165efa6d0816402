"""A small site on loopback: a CONNECT proxy that terminates TLS and answers what the test says."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import trustme

from engine.model import Permit

ASSETS = resources.files("youtube_transcript_api") / "test" / "assets"
VIDEO = "GJLlxj_dtq8"


def asset(name: str) -> bytes:
    return (ASSETS / f"{name}.static").read_bytes()


def player(name: str = "youtube", **changes: Any) -> dict[str, Any]:
    """A captured player answer."""
    return {**json.loads(asset(f"{name}.innertube.json")), **changes}


@dataclass
class Asked:
    """One request as the site saw it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def client(self) -> str:
        """The client that a player request names."""
        return str(json.loads(self.body)["context"]["client"]["clientName"]) if self.body else ""


@dataclass
class Reply:
    """An ordinary answer."""

    body: bytes | str | dict[str, Any] = b""
    status: int = 200
    media: str = "text/html; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)
    zipped: bool = False

    def raw(self) -> bytes:
        body = self.body
        if isinstance(body, dict):
            body, self.media = json.dumps(body), "application/json; charset=utf-8"
        if isinstance(body, str):
            body = body.encode()
        headers = {"Content-Type": self.media, **self.headers}
        if self.zipped:
            body = gzip.compress(body)
            headers["Content-Encoding"] = "gzip"
        headers.setdefault("Content-Length", str(len(body)))
        head = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        return f"HTTP/1.1 {self.status} X\r\n{head}\r\n".encode() + body


class Site:
    """`answers` maps a path to a Reply, or to a function of (Asked, socket) that returns one or None (it has
    written what it wanted and the connection ends)."""

    def __init__(self, ca: trustme.CA, tmp: str) -> None:
        self.ca_bundle = tmp + "/ca.pem"
        ca.cert_pem.write_to_path(self.ca_bundle)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("www.youtube.com", "consent.youtube.com").configure_cert(self._context)
        self.answers: dict[str, Any] = {}
        self.asked: list[Asked] = []
        self.tunnel: Callable[[socket.socket, bytes], bool] | None = None
        self.handshakes = self.connections = 0
        self.open = self.most_open = 0
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.through_proxy = True
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def proxy_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def paths(self) -> list[str]:
        return [a.path for a in self.asked]

    def video(self, answer: Any = None, xml: bytes | None = None) -> None:
        """Answer as for an ordinary video."""
        self.answers["/youtubei/v1/player"] = Reply(answer or player(), zipped=True)
        self.answers["/watch"] = Reply(asset("youtube.html"), zipped=True)
        self.answers["/api/timedtext"] = Reply(
            xml or asset("transcript.xml"), media="text/xml; charset=UTF-8"
        )

    def close(self) -> None:
        self.stopping.set()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with self._lock:
            self.connections += 1
            self.open += 1
            self.most_open = max(self.most_open, self.open)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.through_proxy:
                head = _head(sock)
                if not head or (self.tunnel and not self.tunnel(sock, head)):
                    return
                sock.sendall(b"HTTP/1.1 200 ok\r\n\r\n")
            sock = self._context.wrap_socket(sock, server_side=True)
            with self._lock:
                self.handshakes += 1
            while asked := _read(sock):
                with self._lock:
                    self.asked.append(asked)
                answer = self.answers.get(asked.path, Reply("no such page", 404))
                if callable(answer):
                    answer = answer(asked, sock)
                if answer is None:
                    return
                sock.sendall(answer.raw())
        except OSError:
            pass
        finally:
            with self._lock:
                self.open -= 1
            sock.close()


def _head(sock: socket.socket) -> bytes:
    head = b""
    while b"\r\n\r\n" not in head:
        got = sock.recv(4096)
        if not got:
            return b""
        head += got
    return head


def _read(sock: socket.socket) -> Asked | None:
    head = _head(sock)
    if not head:
        return None
    top, _, body = head.partition(b"\r\n\r\n")
    first, *lines = top.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)):
        body += sock.recv(65536)
    return Asked(method, target, headers, body)


def reset(sock: socket.socket) -> None:
    """End a connection with RST instead of FIN, below TLS."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def permit(egress: int = 0, *, for_s: float = 60.0) -> Permit:
    return Permit(egress, 0, time.monotonic() + for_s)
