"""`rejects.csv`: what was not taken, and why, for a person with a spreadsheet."""

from __future__ import annotations

import csv
import io
import os
import re
from types import TracebackType

from engine.errors import DiskError, UsageError
from engine.inputs.line import Line
from engine.storage import append_file, disk

HEADER = b"file,line,text,reason\n"
MAX_TEXT_CHARS = 200
MAX_ROWS = 10_000
"""So many lines of one seeding are named; a last one says how many more there were."""
MAX_BYTES = 8 << 20
MAX_FILE_BYTES = 64 << 20
"""A file of this size gets no more than such last lines, and twice as large nothing."""
_BUFFER_CHARS = 65_536

# Proxy lists get fed to `seed` by mistake; their passwords must not settle in a file.
_USERINFO = re.compile(r"(?<=//)[^\s/@:]*:(?!\d+[/?#])\S*@")
_HOST_PORT_USER_PASSWORD = re.compile(r"([^\s:/@]+:\d{1,5}:[^\s:]+:)\S+")
_USER_PASSWORD_HOST = re.compile(r"[^\s:/@]+:[^\s/]+(@[^\s@/:]+:\d{1,5})")


def escape(text: str, max_chars: int | None = None) -> str:
    r"""One visible line: control, format and other unprintable characters as `\xNN`, `\uNNNN` or
    `\UNNNNNNNN`; cut to `max_chars` characters before that."""
    text = text[:max_chars]
    return text if text.isprintable() else "".join(map(_visible, text))


def guard(text: str) -> str:
    """With a `'` in front where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text


def without_password(text: str) -> str:
    """With `***` for the password of an address or of a line from a proxy list."""
    text = _USERINFO.sub("***@", text)
    if found := _HOST_PORT_USER_PASSWORD.fullmatch(text.strip()):
        return f"{found[1]}***"
    if found := _USER_PASSWORD_HOST.fullmatch(text.strip()):
        return f"***{found[1]}"
    return text


def row_of(line: Line) -> tuple[str, str, str, str]:
    """A line's row, as it is written."""
    text = guard(escape(without_password(line.text), MAX_TEXT_CHARS))
    return guard(escape(line.file)), str(line.line), text, guard(escape(line.reason or ""))


class Rejects:
    """Appends to a `rejects.csv`, one physical line each, up to a bound; nothing is made before the first one.

    Raises DiskError when the disk is full or failing, UsageError when the file cannot be written.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.count = 0
        self._rows = io.StringIO()
        self._writer = csv.writer(self._rows, lineterminator="\n")
        self._file: append_file.AppendFile | None = None
        self._bytes_left: int | None = None  # not known before the first one
        self._left_out: Line | None = None  # the first of those that go unnamed
        self._named = 0

    def add(self, line: Line) -> None:
        """Add a line that was not taken."""
        self.count += 1
        if self._bytes_left is None:
            self._bytes_left = min(MAX_BYTES, MAX_FILE_BYTES - _size(self.path))
        if self._named >= MAX_ROWS or self._bytes_left <= 0:
            self._left_out = self._left_out or line
            return
        self._named += 1
        before = self._rows.tell()
        self._writer.writerow(row_of(line))
        self._bytes_left -= self._rows.tell() - before  # in characters, which is near enough
        if self._rows.tell() >= _BUFFER_CHARS:
            self.flush()

    def flush(self) -> None:
        """Hand what was added to the file."""
        data = self._rows.getvalue().encode()
        if not data:
            return
        try:
            if self._file is None:
                self._file = append_file.AppendFile(self.path)
            self._file.append(data if self._file.size else HEADER + data)
        except OSError as exc:
            raise self._error(exc) from None
        self._rows.seek(0)
        self._rows.truncate()

    def close(self) -> None:
        """Flush, make it durable and close. Closing twice is fine."""
        try:
            self._say_how_many_more()
            self.flush()
            if self._file is not None:
                self._file.sync()
        except OSError as exc:
            raise self._error(exc) from None
        finally:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _say_how_many_more(self) -> None:
        line, self._left_out = self._left_out, None
        if line is not None and _size(self.path) < 2 * MAX_FILE_BYTES:
            more = self.count - self._named
            reason = f"{more:,} more were rejected from this line on and are not named here"
            self._writer.writerow((guard(escape(line.file)), line.line, "", reason))

    def __enter__(self) -> Rejects:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _error(self, exc: OSError) -> DiskError | UsageError:
        if disk.is_disk_error(exc):
            return disk.disk_error(exc, f"writing {self.path}")
        return UsageError(
            f"{self.path}: cannot be written: {exc.strerror or exc}. Move it away or correct its mode."
        )


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:  # opening it will say so
        return 0


def _visible(char: str) -> str:
    if char.isprintable():
        return char
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
