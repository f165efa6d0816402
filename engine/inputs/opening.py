"""Opening an input: what cannot be read is said before anything is seeded."""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from engine.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

HEAD_BYTES = 8192
_BUFFER_BYTES = 1 << 18
_UTF16_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_UTF32_BOMS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)


@dataclass(slots=True)
class Opened:
    """An input that is open. `head` is its first bytes, which `stream` gives again."""

    file: str
    head: bytes
    stream: BinaryIO
    encoding: str
    _owned: BinaryIO | None

    def text(self, newline: str | None) -> io.TextIOWrapper:
        """The input as text, decoding on the way. Bytes that are not UTF-8 become lone surrogates."""
        errors = "replace" if self.encoding == "utf-16" else "surrogateescape"
        return io.TextIOWrapper(self.stream, encoding=self.encoding, errors=errors, newline=newline)

    def head_text(self) -> str:
        return self.head.decode(self.encoding, "replace")

    def close(self) -> None:
        """Close what was opened here; a stream that was given stays open."""
        if self._owned is not None:
            self._owned.close()


def open_input(path: str) -> Opened:
    """Open a file or named pipe. UsageError if it is missing, a directory, not allowed or binary."""
    try:
        stream = open(path, "rb", buffering=0)
    except OSError as exc:
        raise UsageError(_why_unreadable(path, exc)) from None
    except ValueError:  # a NUL in the name
        raise UsageError(f"{path!a}: not a file name") from None
    try:
        return _opened(path, stream, owned=stream)
    except BaseException:
        stream.close()
        raise


def open_stdin(stdin: BinaryIO | None) -> Opened:
    """The standard input, or the stream given in its place. UsageError if it is binary."""
    if stdin is None:
        if sys.stdin is None:
            raise UsageError("standard input is closed: give a file")
        stdin = sys.stdin.buffer
    return _opened("stdin", stdin, owned=None)


def _opened(file: str, stream: BinaryIO, *, owned: BinaryIO | None) -> Opened:
    rest = _Rest(file, stream)
    head = b""
    while len(head) < HEAD_BYTES and (more := rest.take(HEAD_BYTES - len(head))):
        head += more
    encoding = "utf-8-sig"
    if head.startswith(_UTF16_BOMS) and not head.startswith(_UTF32_BOMS):
        encoding = "utf-16"
    elif b"\0" in head:
        raise UsageError(
            f"{file}: a binary file (or UTF-16 without a byte-order mark), not text. "
            "Export it as CSV or as one address a line, in UTF-8."
        )
    rest.head = head
    buffered = io.BufferedReader(rest, _BUFFER_BYTES)
    return Opened(file, head, buffered, encoding, owned)


class _Rest(io.RawIOBase):
    """The head that was read for a look, then the rest of the stream. Closing it closes nothing else."""

    def __init__(self, file: str, stream: BinaryIO) -> None:
        self.head = b""
        self._file = file
        self._take = getattr(stream, "read1", stream.read)

    def take(self, max_bytes: int) -> bytes:
        """Some bytes of the stream, none at its end."""
        try:
            data: bytes = self._take(max_bytes)
        except OSError as exc:
            raise UsageError(_why_unreadable(self._file, exc)) from None
        return data

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        if self.head:
            data, self.head = self.head[: len(view)], self.head[len(view) :]
        else:
            data = self.take(len(view))
        view[: len(data)] = data
        return len(data)


def _why_unreadable(path: str, exc: OSError) -> str:
    if exc.errno == errno.ENOENT:
        return f"{path}: no such file. Its folder would be {os.path.dirname(os.path.abspath(path))}."
    if exc.errno == errno.EISDIR:
        return f"{path}: a directory, not a file. Name the file in it."
    if exc.errno in (errno.EACCES, errno.EPERM):
        return f"{path}: no permission to read it. Check its owner and mode (ls -l)."
    return f"{path}: cannot be read: {exc.strerror or exc}"
