"""From what a person names on the command line to lines of input."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import BinaryIO

from engine.errors import UsageError
from engine.inputs.column_detection import is_known
from engine.inputs.csv_table import DELIMITERS, read_table
from engine.inputs.foreign import is_old_workbook, named
from engine.inputs.json_input import read_json, read_json_lines
from engine.inputs.line import Line, rejected
from engine.inputs.opener import Opened, open_input, open_stdin
from engine.inputs.pages import read_page
from engine.inputs.parquet import MAGIC, read_parquet
from engine.inputs.plain_text import read_text
from engine.inputs.sources import MAX_WORDS_CHARS, find_source
from engine.inputs.takeout_zip import read_takeout
from engine.inputs.video_ids import video_id, why_not
from engine.inputs.workbook import read_workbook

ARGUMENT = "argument"
"""What `Line.file` says of a video given on the command line."""

_FORMATS = {
    ".txt": "text",
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".html": "html",
    ".htm": "html",
}
_NO_CHANNEL = (
    "no channel: a handle has 3 to 30 letters, digits, . _ - ·; behind it /videos, /shorts or /streams"
)
_NO_SEARCH = (
    f"no search: behind search: come 1 to {MAX_WORDS_CHARS} characters, as in search:how glaciers move"
)
_WORKBOOKS = (".xlsx", ".xlsm", ".xlsb", ".ods")
_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_HTML = re.compile("<html|<!doctype (?:html|netscape-bookmark)", re.IGNORECASE)
_GZ = re.compile(r"\.gz$", re.IGNORECASE)
_DELIMITER = re.compile(f"[{DELIMITERS}]")


def read(
    source: str,
    *,
    column: str | None = None,
    sheet: str | None = None,
    encoding: str | None = None,
    stdin: BinaryIO | None = None,
    on_note: Callable[[str], None] | None = None,
) -> Iterator[Line]:
    """The lines of a source: a video id, `-` for standard input, a file, a YouTube address, a channel, playlist or
    search by name; looked for in that order, so a file whose name is an id is given as `./name`. gzip is unpacked on
    the way.

    `column` names the column of a table or the key of an object (or, in a table, is its number from 1), `sheet`
    the sheet of a workbook, `encoding` that of text (else it is found out). `on_note` is told what a person should
    know of the source besides its lines. Memory stays flat for any length, but for JSON lists. UsageError when the
    source cannot be read: at the call if that can be known from its beginning, else while reading.
    """
    if _ID.fullmatch(source):
        return iter([Line(ARGUMENT, 1, source, source, {}, None)])
    if not source.strip():
        raise UsageError("an empty argument names nothing: give a file, an address or an id")
    if source == "-":
        return _read(open_stdin(stdin, encoding, on_note), None, column)
    if "\0" not in source and os.path.exists(source):
        ending = _ending(_GZ.sub("", source))
        if ending == ".zip":
            return read_takeout(source, on_note)
        if ending in _WORKBOOKS or (ending == ".xls" and is_old_workbook(_head(source))):
            return read_workbook(source, column=column, sheet=sheet)
        if _is_parquet(source, ending):
            return read_parquet(source, column=column)
        return _read(open_input(source, encoding, on_note), _FORMATS.get(ending), column)
    if found := video_id(source):
        return iter([Line(ARGUMENT, 1, source, found, {}, None)])
    searches = source.startswith("search:")
    if "://" in source or source.startswith("@") or searches or find_source(source):
        reason = _NO_CHANNEL if source.startswith("@") else _NO_SEARCH if searches else why_not(source)
        return iter([rejected(ARGUMENT, 1, source, reason)])
    try:
        return _read(open_input(source, encoding, on_note), None, column)
    except UsageError as exc:
        raise UsageError(f"{exc} It is no video either: {why_not(source)}.") from None


def _is_parquet(path: str, ending: str) -> bool:
    """By its first bytes; a name alone makes none."""
    head = _head(path)
    packed = ending in (".parquet", ".pq") and head.startswith(b"\x1f\x8b")
    return packed or (head.startswith(MAGIC) and named(head) is not None)


def _head(path: str) -> bytes:
    """The first bytes of a file; none of a pipe, which gives them once, or when it cannot be opened."""
    if os.path.isfile(path):
        with suppress(OSError), open(path, "rb") as file:  # opening it again will say why not
            return file.read(len(MAGIC) + 60)
    return b""


def _ending(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _read(opened: Opened, form: str | None, column: str | None) -> Iterator[Line]:
    try:
        if form in (None, "text"):  # Excel's "Unicode text" is a table under the name of a text
            found = _sniff(opened.head_text())
            form = found if form is None or found in ("csv", "html") else form
        lines = _lines(opened, form, column)
    except BaseException:
        opened.close()
        raise
    return _closing(lines, opened)


def _closing(lines: Iterator[Line], opened: Opened) -> Iterator[Line]:
    try:
        yield from lines
    finally:
        opened.close()


def _lines(opened: Opened, form: str | None, column: str | None) -> Iterator[Line]:
    if form in ("csv", "tsv"):
        delimiter = "\t" if form == "tsv" else None
        return read_table(opened.text(""), opened.file, column=column, delimiter=delimiter)
    if form == "jsonl":
        return read_json_lines(opened.text(None), opened.file, column=column)
    if form == "json":
        return read_json(opened.stream, opened.file, column=column)
    if form == "html":
        return read_page(opened.text(None), opened.file)
    return read_text(opened.text(None), opened.file)


def _sniff(head: str) -> str:
    """What a source of unknown name holds, by its first bytes."""
    text = head.lstrip("\ufeff \t\r\n")
    if text.startswith("["):
        return "json"
    if text.startswith("{"):
        # One object a line, unless the first line leaves its object open.
        first = text.partition("\n")[0].rstrip()
        return "jsonl" if first.endswith("}") or "\n" not in text else "json"
    if text[:1] == "<" and _HTML.search(text):
        return "html"
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    if _DELIMITER.search(first) and any(is_known(cell.strip(' "')) for cell in _DELIMITER.split(first)):
        return "csv"
    cells = first.split("\t")
    if len(cells) > 1 and any(map(video_id, cells)):
        return "csv"
    return "text"
