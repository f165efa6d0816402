"""A listening socket that can stop and start again on the same port."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from engine.errors import UsageError

BACKLOG = 1024


class Listener:
    """Listens on 127.0.0.1, or does not: then connections are refused, as where nothing listens.

    A second socket, bound but never listening, reserves the port meanwhile. Raises UsageError when the port cannot be
    bound.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, port: int, protocol: Callable[[], asyncio.Protocol]
    ) -> None:
        self._loop = loop
        self._protocol = protocol
        if port:
            # The port may be shared between our own two sockets, but not with another server.
            _bound(port, shared=False).close()
        self._holder = _bound(port)
        self.port: int = self._holder.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._wanted = False
        self._opening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        self._wanted = True
        if self._server is None:
            self._server = await self._loop.create_server(
                self._protocol, sock=_bound(self.port), backlog=BACKLOG
            )
        if not self._wanted:
            self._shut()

    def listen(self, wanted: bool) -> None:
        """Listen from now on, or do not."""
        if wanted == self._wanted:
            return
        self._wanted = wanted
        if not wanted:
            self._shut()
        elif self._opening is None or self._opening.done():
            self._opening = self._loop.create_task(self.open())

    def close(self) -> None:
        """Release the port."""
        self._wanted = False
        self._shut()
        self._holder.close()

    def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None


def _bound(port: int, *, shared: bool = True) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as exc:
        sock.close()
        why = getattr(exc, "strerror", None) or str(exc)
        raise UsageError(
            f"The rehearsal server cannot listen on 127.0.0.1:{port}: {why}. Choose another port (0: any)."
        ) from exc
    return sock
