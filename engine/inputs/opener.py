"""Opening an input: what cannot be read is said before anything is seeded."""

from __future__ import annotations

import errno
import gzip
import io
import os
import shutil
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

from engine.errors import UsageError
from engine.inputs.encodings import Recoded, for_head, told
from engine.inputs.foreign import document, named

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

HEAD_BYTES = 8192
FREE_BYTES = 64 << 20
MAX_RATIO = 200
"""What is packed may become `FREE_BYTES`, and beyond that so many times its size. An id alone is eight bytes
that no packing saves, so a list that shrinks further has rows of 1,600 characters that say nothing."""

_BUFFER_BYTES = 1 << 18
_GZIP = b"\x1f\x8b"
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile)


class ForeignInputError(UsageError):
    """An input that holds no text, or none that is a list."""


@dataclass(slots=True)
class Opened:
    """An input that is open, as UTF-8 whatever it was. `head` is its first bytes, which `stream` gives again."""

    file: str
    head: bytes
    stream: BinaryIO
    _owned: BinaryIO | io.RawIOBase | None

    def text(self, newline: str | None) -> io.TextIOWrapper:
        """The input as text, decoding on the way."""
        return io.TextIOWrapper(self.stream, encoding="utf-8-sig", errors="replace", newline=newline)

    def head_text(self) -> str:
        return self.head.decode("utf-8-sig", "replace")

    def close(self) -> None:
        """Close what was opened here; a stream that was given stays open."""
        if self._owned is not None:
            self._owned.close()


Note = Callable[[str], None]


def open_input(path: str, encoding: str | None = None, on_note: Note | None = None) -> Opened:
    """Open a file or named pipe, unpacking gzip. UsageError if it is missing, a directory, not allowed, damaged
    or holds no text.

    `encoding` None: UTF-8, or what it turns out to be, of which `on_note` is told.
    """
    return open_stream(path, open_raw(path), encoding, on_note)


def open_raw(path: str) -> io.FileIO:
    """The bytes of a file as they lie there. UsageError as above."""
    try:
        return open(path, "rb", buffering=0)
    except OSError as exc:
        raise UsageError(_why_unreadable(path, exc)) from None
    except ValueError:  # a NUL in the name
        raise UsageError(f"{path!a}: not a file name") from None


def open_seekable(path: str) -> BinaryIO:
    """The same for those who read to and fro. What is packed with gzip, or comes through a pipe, goes into a file
    without a name first, within the bounds of `unpacks_too_far`."""
    raw = open_raw(path)
    try:
        rest = _Rest(path, raw)
        rest.look()
        if rest.head.startswith(_GZIP):
            rest = _Unpacked(path, rest)
        elif raw.seekable():
            raw.seek(0)
            return cast(BinaryIO, raw)
        file = cast(BinaryIO, tempfile.TemporaryFile())
        try:
            shutil.copyfileobj(rest, file, _BUFFER_BYTES)
            file.seek(0)
        except BaseException:
            file.close()
            raise
    except OSError as exc:
        raw.close()
        raise UsageError(_why_unreadable(path, exc)) from None
    except BaseException:
        raw.close()
        raise
    raw.close()
    return file


def open_zip(path: str, *, workbook: bool = False) -> BinaryIO:
    """The same for what is a zip, or a workbook, by its name. UsageError when its first bytes show something else."""
    file = open_seekable(path)
    try:
        said = document(file.read(HEAD_BYTES), workbook=workbook)
        file.seek(0)
        if said:
            raise ForeignInputError(f"{path}: {said}")
    except BaseException:
        file.close()
        raise
    return file


def open_stream(
    file: str, stream: BinaryIO | io.RawIOBase, encoding: str | None = None, on_note: Note | None = None
) -> Opened:
    """The same for a stream that is open, which is closed with it; `file` is its name."""
    try:
        return _opened(file, stream, encoding, on_note, owned=stream)
    except BaseException:
        stream.close()
        raise


def open_stdin(stdin: BinaryIO | None, encoding: str | None = None, on_note: Note | None = None) -> Opened:
    """The standard input, or the stream given in its place. UsageError if it is binary."""
    if stdin is None:
        if sys.stdin is None:
            raise UsageError("standard input is closed: give a file")
        stdin = sys.stdin.buffer
    return _opened("stdin", stdin, encoding, on_note, owned=None)


def unpacks_too_far(packed_bytes: int, bytes_: int) -> bool:
    """Whether this is made to fill memory or time rather than to be read."""
    return bytes_ > FREE_BYTES and bytes_ > MAX_RATIO * packed_bytes


def too_far(file: str) -> UsageError:
    """What is said of such an input."""
    return UsageError(
        f"{file}: unpacks to more than {MAX_RATIO} times its size, as no list does. "
        "If it is yours, unpack it and give what was in it."
    )


def _opened(
    file: str,
    stream: BinaryIO | io.RawIOBase,
    encoding: str | None,
    on_note: Note | None,
    *,
    owned: BinaryIO | io.RawIOBase | None,
) -> Opened:
    rest = _Rest(file, stream)
    rest.look()
    if rest.head.startswith(_GZIP):
        rest = _Unpacked(file, rest)
        rest.look()
    if said := named(rest.head):
        raise ForeignInputError(f"{file}: {said}")
    asked, encoding = encoding, for_head(encoding, rest.head)
    if encoding and not asked and on_note:
        on_note(told(file, encoding))
    if encoding is None and b"\0" in rest.head:
        raise ForeignInputError(
            f"{file}: a binary file, not text. Export it as CSV or as one address a line, in UTF-8."
        )
    recoded = Recoded(file, rest, encoding, on_note, eager=_is_file(stream))
    recoded.look(HEAD_BYTES)
    head = recoded.head
    return Opened(file, head, io.BufferedReader(recoded, _BUFFER_BYTES), owned)


def _is_file(stream: BinaryIO | io.RawIOBase) -> bool:
    """Whether all there is to read is there already, rather than being written by somebody meanwhile."""
    try:
        return stream.seekable()
    except (AttributeError, ValueError):
        return False


class _Rest(io.RawIOBase):
    """The head that was read for a look, then the rest of the stream. Closing it closes nothing else."""

    def __init__(self, file: str, stream: BinaryIO | io.RawIOBase | gzip.GzipFile) -> None:
        self.head = b""
        self.taken_bytes = 0
        self._file = file
        self._take = getattr(stream, "read1", stream.read)

    def look(self) -> None:
        """Fill the head."""
        while len(self.head) < HEAD_BYTES and (more := self.take(HEAD_BYTES - len(self.head))):
            self.head += more

    def take(self, max_bytes: int) -> bytes:
        """Some bytes of the stream, none at its end."""
        try:
            data: bytes = self._take(max_bytes)
        except _DAMAGED as exc:
            raise UsageError(f"{self._file}: damaged: {exc}. Make it or download it again.") from None
        except OSError as exc:
            raise UsageError(_why_unreadable(self._file, exc)) from None
        self.taken_bytes += len(data)
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


class _Unpacked(_Rest):
    """What a gzip stream holds, unpacked on the way."""

    def __init__(self, file: str, packed: _Rest) -> None:
        super().__init__(file, gzip.GzipFile(fileobj=packed))
        self._packed = packed

    def take(self, max_bytes: int) -> bytes:
        data = super().take(max_bytes)
        if unpacks_too_far(self._packed.taken_bytes, self.taken_bytes):
            raise too_far(self._file)
        return data


def _why_unreadable(path: str, exc: OSError) -> str:
    if exc.errno == errno.ENOENT:
        return f"{path}: no such file. Its folder would be {os.path.dirname(os.path.abspath(path))}."
    if exc.errno == errno.EISDIR:
        return f"{path}: a directory, not a file. Name the file in it."
    if exc.errno in (errno.EACCES, errno.EPERM):
        return f"{path}: no permission to read it. Check its owner and mode (ls -l)."
    return f"{path}: cannot be read: {exc.strerror or exc}"
