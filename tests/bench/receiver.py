"""When what was sent arrives: datagrams on loopback, each stamped by the kernel as it comes in.

So the receiver may be late to read without moving a stamp; it only must not be so late that its buffer runs over,
which the caller sees by the count. It is a process of its own: it takes no turn from the threads it measures.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Iterator
from typing import Any

_STAMPED = getattr(
    socket, "SO_TIMESTAMPNS", 35
)  # Linux; Python has no name for it. In nanoseconds of the wall clock
_BUFFER_BYTES = 8 << 20
_STAMP = struct.Struct("@qq")
_LAST = b"last"


class Arrivals:
    """What came in; complete when the context it belongs to has been left."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.times_s: list[float] = []

    def sender(self) -> socket.socket:
        """A socket whose every `send` is an arrival; one for all threads of a process."""
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.connect(("127.0.0.1", self.port))
        return sender


@contextlib.contextmanager
def arrivals(context: Any) -> Iterator[Arrivals]:
    """Receive in a process of this `multiprocessing` context until the end of the block."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as inbox:
        inbox.bind(("127.0.0.1", 0))
        inbox.setsockopt(socket.SOL_SOCKET, _STAMPED, 1)
        with contextlib.suppress(OSError):  # past the system's limit, where that is allowed
            inbox.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_RCVBUFFORCE", 33), _BUFFER_BYTES)
        mine, item = context.Pipe(duplex=False)
        receiver = context.Process(target=_receive, args=(inbox, item), daemon=True)
        receiver.start()
        found = Arrivals(inbox.getsockname()[1])
        try:
            yield found
            with found.sender() as sender:
                sender.send(_LAST)  # behind all that was sent before: loopback keeps the order
            if not mine.poll(30.0):
                raise SystemExit("the receiver did not come back")
            found.times_s = mine.recv()
        finally:
            receiver.kill()
            receiver.join()


def _receive(inbox: socket.socket, out: Any) -> None:
    times_s = []
    while True:
        data, extra, _, _ = inbox.recvmsg(8, 64)
        if data == _LAST:
            break
        seconds, nanoseconds = _STAMP.unpack(extra[0][2])
        times_s.append(seconds + nanoseconds * 1e-9)
    out.send(times_s)
