"""Small files that a person names in an option: proxies, yt-dlp's options, cookies.

A pipe, as `<(gpg -d …)` makes it, will do. Nothing is waited for in vain: not for a pipe that nobody writes to, nor
for the end of a file that has none.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import time

from engine.errors import UsageError

WAIT_S = 60.0  # for whoever writes to a pipe: a person may have to type a passphrase
_BOM = b"\xef\xbb\xbf"


def read_option_file(path: str, what: str, max_bytes: int, *, wait_s: float = WAIT_S) -> tuple[bytes, int]:
    """(content without a byte order mark, mode). Raises UsageError, which begins with `what` and names the path."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (OSError, ValueError) as exc:  # ValueError: a NUL in it
        raise UsageError(f"{what} {path}: cannot be read: {getattr(exc, 'strerror', None) or exc}") from None
    try:
        mode = os.fstat(fd).st_mode
        data = _read(fd, max_bytes + 1, None if stat.S_ISREG(mode) else time.monotonic() + wait_s)
    except OSError as exc:
        raise UsageError(f"{what} {path}: cannot be read: {exc.strerror}") from None
    finally:
        os.close(fd)
    if len(data) > max_bytes:
        raise UsageError(f"{what} {path}: larger than {max_bytes >> 20} MB: is it the right file?")
    return data.removeprefix(_BOM), mode


def _read(fd: int, max_bytes: int, until_s: float | None) -> bytes:
    """At most so many bytes; of what is no plain file only what comes until then. Raises OSError."""
    pieces, size = [], 0
    while size < max_bytes:
        if until_s is not None:
            poll = select.poll()
            poll.register(fd, select.POLLIN)
            if not poll.poll(max(0.0, until_s - time.monotonic()) * 1000):
                raise OSError(errno.ETIMEDOUT, "it is a pipe, and nobody writes to it")
        try:
            piece = os.read(fd, max_bytes - size)
        except BlockingIOError:
            continue
        if not piece:
            break
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)
