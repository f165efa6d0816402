"""Sockets that keep an attempt's deadline in every phase, and tell how far a request came.

A socket timeout bounds one wait, not their sum: a server that sends a byte now and then holds a thread for
ever. So before each wait the timeout is cut to what the current attempt has left. Which attempt that is, the
thread knows (`current`): a connection serves one thread at a time.
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
from engine.network.answer import Phase

NO_SOCKS = (
    "A SOCKS proxy needs one more package. Install it with: pip install '.[socks]' in engine's directory"
)

MAX_ADDRESSES = 4  # of a name are tried
MAX_INTERIM = 10


class Waiter(Protocol):
    """What a connection needs to know of the attempt it works for."""

    def wait_s(self, limit_s: float | None) -> float:
        """How long the next wait may take; raises TimeoutError when the deadline is over."""

    def reached(self, phase: Phase) -> None: ...

    def connected(self) -> None: ...


class _Current(threading.local):
    attempt: Waiter | None = None


current = _Current()


def _reached(phase: Phase) -> None:
    if current.attempt is not None:
        current.attempt.reached(phase)


class _Deadline:
    """Mixed into a socket class: each receive waits no longer than the attempt may."""

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


class _PlainSocket(_Deadline, socket.socket):
    """To a proxy, before TLS."""


class _TLSSocket(_Deadline, ssl.SSLSocket):
    """To the site."""


class _Context(ssl.SSLContext):
    sslsocket_class = _TLSSocket

    def wrap_socket(self, sock: socket.socket, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        _reached(Phase.TLS)
        if current.attempt is not None:
            sock.settimeout(current.attempt.wait_s(sock.gettimeout()))
        return super().wrap_socket(sock, *args, **kwargs)


def tls_context(ca_bundle: str | None) -> ssl.SSLContext:
    """The one TLS context of a door: verifying, TLS 1.2 or newer; `ca_bundle` None means certifi's.

    Raises UsageError when the bundle cannot be read.
    """
    if ca_bundle is None:
        import certifi

        ca_bundle = certifi.where()
    context = _Context(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_verify_locations(cafile=ca_bundle)
    except OSError as exc:
        what = "holds no certificates" if isinstance(exc, ssl.SSLError) else exc.strerror
        raise UsageError(f"CA bundle {ca_bundle}: {what}. Name a PEM file with --ca-bundle.") from None
    return context


class _Final(http.client.HTTPResponse):
    """Passes over answers that are only on the way to one (103 Early Hints); http.client knows 100 alone."""

    def _read_status(self) -> tuple[str, int, str]:
        for _ in range(MAX_INTERIM):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 100 <= status < 200 or status == http.client.SWITCHING_PROTOCOLS:
                return version, status, reason
            http.client.parse_headers(self.fp)
        raise http.client.HTTPException(f"more than {MAX_INTERIM} answers before the answer")


class _Phases(HTTPSConnection):
    response_class = _Final

    def connect(self) -> None:
        _reached(Phase.CONNECT)
        super().connect()
        _reached(Phase.SENT)
        if current.attempt is not None:
            current.attempt.connected()

    def _tunnel(self) -> None:
        _reached(Phase.TUNNEL)
        super()._tunnel()


class _Connection(_Phases):
    def _new_conn(self) -> socket.socket:
        """Connect within the timeout as a whole: urllib3 grants it anew to each of a name's addresses."""
        try:
            host = self._dns_host.strip("[]")  # urllib3 writes IPv6 literals as addresses of the web do
            found = socket.getaddrinfo(host, self.port, type=socket.SOCK_STREAM)
        except (socket.gaierror, UnicodeError) as exc:
            raise NameResolutionError(self.host, self, socket.gaierror(str(exc))) from None
        addresses = _alternating(found)[:MAX_ADDRESSES]
        trouble: OSError = OSError("the name has no address")
        for family, kind, protocol, _, address in addresses:
            sock = _PlainSocket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                sock.settimeout(self.timeout / len(addresses) if self.timeout else None)
                sock.connect(address)
            except OSError as exc:
                sock.close()
                trouble = exc
            else:
                sock.settimeout(self.timeout)
                return sock
        if isinstance(trouble, TimeoutError):
            raise ConnectTimeoutError(self, "timed out")
        raise NewConnectionError(self, "failed") from trouble


def _alternating(found: list[Any]) -> list[Any]:
    """Addresses as resolved, IPv6 and IPv4 by turns, so that one that is dead does not hide the other."""
    ranked: list[tuple[int, Any]] = []
    seen: dict[int, int] = {}
    for item in found:
        rank = seen[item[0]] = seen.get(item[0], -1) + 1
        ranked.append((rank, item))
    return [item for _, item in sorted(ranked, key=lambda pair: pair[0])]


class _Pool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _Connection


def pool_manager(proxy_url: str | None, context: ssl.SSLContext) -> urllib3.PoolManager:
    """One connection, direct or through a proxy, without Nagle's wait on either way.

    urllib3 sets no socket options on connections to a proxy, which costs 40 ms a POST: they are named here.
    A proxy's user and password go into its headers, never into an address that could be shown.
    Raises UsageError for a proxy that cannot be used.
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
    """RFC 7617, in UTF-8: urllib3 knows Latin-1 alone. The bytes that were written with % are sent as they were."""
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
