"""Sockets that keep an attempt's deadline in every phase and report how far a request got.

A socket timeout bounds one wait, not their sum: a server that sends a byte now and then could hold a thread for ever.
So each wait is limited to the time that the current attempt has left. The attempt is kept in thread-local `current`,
because a connection serves one thread at a time.
"""

from __future__ import annotations

import base64
import http.client
import socket
import ssl
import threading
from typing import Any, Protocol, cast
from urllib.parse import unquote

import urllib3
from urllib3.connection import HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from engine.errors import UsageError
from engine.network.answer import RequestPhase
from engine.network.authorities import trust

NO_SOCKS = (
    "A SOCKS proxy needs one more package. Install it with: pip install '.[socks]' in engine's directory"
)

MAX_ADDRESSES = 4  # of a name, that are tried
MAX_INTERIM_ANSWERS = 10


class Waiter(Protocol):
    """What a connection needs from the attempt that uses it."""

    def wait_s(self, max_s: float | None) -> float:
        """How long the next wait may take, in seconds. Raises TimeoutError after the deadline."""

    def reached(self, phase: RequestPhase) -> None: ...

    def connected(self) -> None: ...


class _Current(threading.local):
    attempt: Waiter | None = None


current = _Current()


def _reached(phase: RequestPhase) -> None:
    if current.attempt is not None:
        current.attempt.reached(phase)


class _DeadlineMixin:
    """Mixed into a socket class: no receive waits beyond the attempt's deadline."""

    limit_s: float | None = None  # the ordinary timeout, as set by urllib3

    def settimeout(self, value: float | None) -> None:
        self.limit_s = value
        super().settimeout(value)  # type: ignore[misc]

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        if current.attempt is not None:
            super().settimeout(current.attempt.wait_s(self.limit_s))  # type: ignore[misc]
        return cast(int, super().recv_into(*args, **kwargs))  # type: ignore[misc]

    def recv(self, *args: Any, **kwargs: Any) -> bytes:
        if current.attempt is not None:
            super().settimeout(current.attempt.wait_s(self.limit_s))  # type: ignore[misc]
        return cast(bytes, super().recv(*args, **kwargs))  # type: ignore[misc]


class _PlainSocket(_DeadlineMixin, socket.socket):
    """A connection to a proxy, before TLS."""


class _TLSSocket(_DeadlineMixin, ssl.SSLSocket):
    """A connection to the site."""


class _Context(ssl.SSLContext):
    sslsocket_class = _TLSSocket

    def wrap_socket(self, sock: socket.socket, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        _reached(RequestPhase.TLS)
        if current.attempt is not None:
            sock.settimeout(current.attempt.wait_s(sock.gettimeout()))
        return super().wrap_socket(sock, *args, **kwargs)


def tls_context(ca_bundle: str | None) -> ssl.SSLContext:
    """A client's TLS context: it verifies, and speaks TLS 1.2 or newer. `ca_bundle` None means certifi's.

    Raises UsageError when the bundle cannot be read.
    """
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    trust(context, ca_bundle)
    return context


class _Final(http.client.HTTPResponse):
    """Skips interim answers such as 103 Early Hints; http.client only skips 100."""

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(MAX_INTERIM_ANSWERS):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 <= status < 200 or status == http.client.SWITCHING_PROTOCOLS:
                return version, status, reason
            http.client.parse_headers(self.fp)
        raise http.client.HTTPException(f"more than {MAX_INTERIM_ANSWERS} answers before the answer")


class _Phases(HTTPSConnection):
    response_class = _Final

    def connect(self) -> None:
        _reached(RequestPhase.CONNECT)
        super().connect()
        _reached(RequestPhase.SENT)
        if current.attempt is not None:
            current.attempt.connected()

    def _tunnel(self) -> None:
        _reached(RequestPhase.TUNNEL)
        super()._tunnel()


class _Connection(_Phases):
    def _new_conn(self) -> socket.socket:
        """Connect within one timeout for all addresses of a name; urllib3 would grant it to each."""
        try:
            host = self._dns_host.strip("[]")  # urllib3 keeps the brackets of IPv6 literals
            found = socket.getaddrinfo(host, self.port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as exc:
            raise NameResolutionError(self.host, self, socket.gaierror(str(exc))) from None
        addresses = _alternating(found)[:MAX_ADDRESSES]
        error: OSError = OSError("the name has no address")
        for family, kind, protocol, _, address in addresses:
            sock = _PlainSocket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                sock.settimeout(self.timeout / len(addresses) if self.timeout else None)
                sock.connect(address)
            except OSError as exc:
                sock.close()
                error = exc
            else:
                sock.settimeout(self.timeout)
                return sock
        if isinstance(error, TimeoutError):
            raise ConnectTimeoutError(self, "timed out")
        raise NewConnectionError(self, "failed") from error


def _alternating(found: list[Any]) -> list[Any]:
    """The resolved addresses, IPv6 and IPv4 alternating, so that a dead family does not hide the other."""
    ranked: list[tuple[int, Any]] = []
    seen: dict[int, int] = {}
    for item in found:
        rank = seen[item[0]] = seen.get(item[0], -1) + 1
        ranked.append((rank, item))
    return [item for _, item in sorted(ranked, key=lambda pair: pair[0])]


class _Pool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Connection


def pool_manager(proxy_url: str | None, context: ssl.SSLContext) -> urllib3.PoolManager:
    """A pool of one connection, direct or through a proxy, with Nagle's algorithm off.

    urllib3 leaves it on for connections to a proxy, which costs 40 ms a POST: hence `socket_options`. A proxy's user
    and password are sent as a header and never stand in an address that could be shown. Raises UsageError for a proxy
    that cannot be used.
    """
    common: dict[str, Any] = {
        "num_pools": 1,
        "maxsize": 1,
        "ssl_context": context,
        "socket_options": HTTPSConnection.default_socket_options,
    }
    if proxy_url is None:
        manager = urllib3.PoolManager(**common)
        manager.pool_classes_by_scheme = {"https": _Pool}
        return manager
    url = urllib3.util.parse_url(proxy_url)
    user, password = _credentials(url.auth)
    bare = url._replace(auth=None, path=None, query=None, fragment=None).url
    if url.scheme in ("socks5", "socks5h", "socks4", "socks4a"):
        return _socks_manager(bare, user, password, common)
    if url.scheme not in ("http", "https") or not url.host:
        raise UsageError(
            "A proxy address looks like http://host:port, https://host:port or socks5h://host:port."
        )
    headers = None if user is None else {"proxy-authorization": _basic(user, password or "")}
    proxy = urllib3.ProxyManager(bare, proxy_headers=headers, proxy_ssl_context=context, **common)
    proxy.pool_classes_by_scheme = {"https": _Pool}
    return proxy


def _basic(user: str, password: str) -> str:
    """A Basic credential (RFC 7617) in UTF-8, where urllib3 uses Latin-1. Bytes written as %XX are sent unchanged."""
    raw = f"{user}:{password}".encode("utf-8", "surrogateescape")
    return f"Basic {base64.b64encode(raw).decode('ascii')}"


def _credentials(auth: str | None) -> tuple[str | None, str | None]:
    if auth is None:
        return None, None
    user, _, password = auth.partition(":")
    return unquote(user, errors="surrogateescape"), unquote(password, errors="surrogateescape")


def _socks_manager(
    url: str, user: str | None, password: str | None, common: dict[str, Any]
) -> urllib3.PoolManager:
    try:
        import socks  # type: ignore[import-untyped]  # noqa: F401 - urllib3 only warns when it is missing
        from urllib3.contrib.socks import SOCKSHTTPSConnection, SOCKSProxyManager
    except ImportError:
        raise UsageError(NO_SOCKS) from None

    class Connection(_Phases, SOCKSHTTPSConnection):
        pass

    class Pool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Connection

    manager = SOCKSProxyManager(url, username=user, password=password, **common)
    manager.pool_classes_by_scheme = {"https": Pool}
    return manager
