"""A server's connection that can start TLS and can be cut at any byte.

TLS runs over memory buffers inside the protocol. asyncio's own TLS transport takes a quarter of a megabyte for each
connection, and a fault must be able to cut a connection at any byte.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from abc import ABC, abstractmethod


class TLSConnection(asyncio.Protocol, ABC):
    """Puts what arrives into `_buffer`, decrypted once TLS was started, and calls `_work`."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._tls: ssl.SSLObject | None = None
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._is_encrypted = False

    @abstractmethod
    def _work(self) -> None:
        """Handle what is in the buffer."""

    def _handshake_done(self, resumed: bool) -> None: ...

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None

    def data_received(self, data: bytes) -> None:
        if self._tls is None:
            self._buffer += data
        elif not self._feed(data):
            return
        self._work()

    def _start_tls(self, context: ssl.SSLContext) -> None:
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        if self._buffer:
            data = bytes(self._buffer)
            self._buffer.clear()
            self._feed(data)

    def _feed(self, data: bytes) -> bool:
        """Decrypt bytes into the buffer. False when there is nothing to read, yet or ever."""
        assert self._tls is not None
        self._incoming.write(data)
        try:
            if not self._is_encrypted:
                self._tls.do_handshake()
                self._is_encrypted = True
                self._handshake_done(bool(self._tls.session_reused))
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
