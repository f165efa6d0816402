"""Tables: CSV and TSV, with or without a header."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, TextIO

from engine.inputs.column_detection import MAX_TITLES, Columns, choose, is_known
from engine.inputs.line import Line, Physical, Returnable, physical_lines, rejected
from engine.inputs.takeout_playlists import recognise
from engine.inputs.video_ids import find, video_id

MAX_ROW_CHARS = 1 << 20
MAX_ROW_LINES = 2_000
SAMPLE_ROWS = 50
DELIMITERS = ",;\t|"

# Spreadsheets write their delimiter into a first line of its own.
_SEP_LINE = re.compile(r"sep=([,;\t|])\s*", re.IGNORECASE)


class Row(NamedTuple):
    """`line` is where the row starts; a row that cannot be read has a `reason` and one cell to show. `values`
    are what the cells hold, where that is more than their text."""

    line: int
    cells: list[str]
    reason: str | None
    values: list[Any] | None = None


def read_table(
    stream: TextIO, file: str, *, column: str | None = None, delimiter: str | None = None
) -> Iterator[Line]:
    """The rows of a table; blank ones are not counted.

    `stream` keeps its line ends (`newline=""`). `delimiter` None: whichever of `, ; tab |` fits. The other
    columns become the line's `input`, as text, unchanged; a playlist of Google Takeout gets its own. UsageError,
    before the first row is given, if no column holds videos.
    """
    rows, delimiter = _table(stream, column, delimiter)
    sample, good = _sample(rows)
    if column is None and (playlist := recognise(good, file)):
        rest = _without_head(sample, playlist.head_rows)
        return _lines(itertools.chain(rest, rows), playlist.columns, file, delimiter, playlist.common)
    return _chosen(sample, good, rows, column, file, delimiter)


def read_rows(rows: Iterator[Row], file: str, *, column: str | None = None) -> Iterator[Line]:
    """The same for rows that somebody else has read."""
    sample, good = _sample(rows)
    return _chosen(sample, good, rows, column, file, "\t")


def read_playlist(stream: TextIO, file: str) -> Iterator[Line] | None:
    """The videos of a playlist from Google Takeout, or None if the table is anything else."""
    rows, delimiter = _table(stream, None, ",")
    sample, good = _sample(rows)
    playlist = recognise(good, file, from_takeout=True)
    if playlist is None:
        return None
    rest = _without_head(sample, playlist.head_rows)
    return _lines(itertools.chain(rest, rows), playlist.columns, file, delimiter, playlist.common)


def _table(stream: TextIO, column: str | None, delimiter: str | None) -> tuple[Iterator[Row], str]:
    csv.field_size_limit(max(csv.field_size_limit(), MAX_ROW_CHARS + 1))
    lines = Returnable(physical_lines(stream, MAX_ROW_CHARS))
    delimiter = delimiter or _sniff(lines, column)
    return _rows(lines, delimiter), delimiter


def _sample(rows: Iterator[Row]) -> tuple[list[Row], list[list[str]]]:
    """The first rows, and the cells of those that can be read."""
    sample: list[Row] = []
    good: list[list[str]] = []
    for row in rows:
        sample.append(row)
        if row.reason is None:
            good.append(row.cells)
        if len(good) > SAMPLE_ROWS:
            break
    return sample, good


def _without_head(sample: list[Row], head_rows: int) -> list[Row]:
    """The sample without so many of its rows that can be read."""
    readable = itertools.count(1)
    return [row for row in sample if row.reason is not None or next(readable) > head_rows]


def _chosen(
    sample: list[Row],
    good: list[list[str]],
    rows: Iterator[Row],
    column: str | None,
    file: str,
    delimiter: str,
) -> Iterator[Line]:
    if not good:
        return (rejected(file, row.line, row.cells[0], row.reason or "") for row in sample)
    columns = choose(good, column, file)
    rest = _without_head(sample, columns.titles + int(columns.has_header))
    return _lines(itertools.chain(rest, rows), columns, file, delimiter, {})


def _lines(
    rows: Iterator[Row], columns: Columns, file: str, delimiter: str, common: dict[str, str]
) -> Iterator[Line]:
    index, names, width = columns.index, columns.names, len(columns.names)
    own = names[index] if index < width else None
    shown = f"{own} ({index + 1})" if columns.has_header and own is not None else str(index + 1)
    for line, cells, reason, values in rows:
        if reason is not None:
            yield rejected(file, line, cells[0], reason)
            continue
        text = cells[index] if index < len(cells) else ""
        found, why_not = find(text)
        if found is None:
            # A row whose own cell is empty is shown whole, or nobody would find it again.
            if not text.strip():
                text = delimiter.join(cells)
                why_not = (
                    f"no link in column {shown.rpartition(' (')[0] or shown}"
                    if text.strip(delimiter)
                    else why_not
                )
            yield rejected(file, line, text, why_not, column=shown)
            continue
        held: list[Any] = cells if values is None else values
        given: dict[str, Any] = dict(zip(names, held, strict=False))
        if len(cells) < width:
            given.update(dict.fromkeys(names[len(cells) :], ""))
        for number in range(width, len(cells)):
            if number != index:
                name = f"column_{number + 1}"
                while name in given:
                    name += "_"
                given[name] = held[number]
        # Where the cell shows a word and the video lies behind it, the word is the user's.
        if own is not None and (values is None or held[index] == "" or str(held[index]) == text):
            del given[own]
        yield Line(file, line, text, found, {**common, **given} if common else given, None, column=shown)


class _NoRowError(Exception):
    """The lines at hand make no row."""


def _rows(lines: Returnable, delimiter: str) -> Iterator[Row]:
    """The rows that are not blank. Of a row that cannot be read only its first line is lost."""
    while True:
        taken: list[Physical] = []
        try:
            for cells in csv.reader(_feed(lines, taken), delimiter=delimiter):
                number = taken[0].number
                taken.clear()
                if any(map(str.strip, cells)):
                    yield Row(number, cells, None)
            return
        except (_NoRowError, csv.Error) as exc:
            first = taken[0]
            lines.give_back(taken[1:])
            yield Row(first.number, [first.text[:MAX_ROW_CHARS].strip()], str(exc))


def _feed(lines: Returnable, taken: list[Physical]) -> Iterator[str]:
    """Lines for the reader, which asks for another within a row only if a quote is open."""
    size = 0
    for line in lines:
        size = size + len(line.text) if taken else len(line.text)
        taken.append(line)
        if line.too_long and len(taken) == 1:
            raise _NoRowError(f"longer than {MAX_ROW_CHARS} characters")
        if line.too_long or size > MAX_ROW_CHARS or len(taken) > MAX_ROW_LINES:
            raise _NoRowError('a quote (") is opened and not closed')
        yield line.text
    if taken:
        raise _NoRowError('a quote (") is opened and not closed')


def _sniff(lines: Returnable, column: str | None) -> str:
    """The delimiter that fits the first lines best; a comma if none does."""
    sample: list[Physical] = []
    size = 0
    for line in lines:
        if not sample and (found := _SEP_LINE.fullmatch(line.text.lstrip("\ufeff"))):
            return found[1]
        sample.append(line)
        size += len(line.text)
        if len(sample) >= SAMPLE_ROWS or size > MAX_ROW_CHARS:
            break
    lines.give_back(sample)
    texts = [line.text for line in sample if not line.too_long]
    return max(DELIMITERS, key=lambda delimiter: _fit(texts, delimiter, column))


def _fit(texts: list[str], delimiter: str, column: str | None) -> tuple[bool, int, int]:
    """(one of its first rows makes sense, rows as wide as its first, width), without titles of a single cell above
    them; all 0 for a single column."""
    try:
        rows = [row for row in csv.reader(texts, delimiter=delimiter) if any(map(str.strip, row))]
    except csv.Error:
        return False, 0, 0
    start = next((number for number, row in enumerate(rows[: MAX_TITLES + 1]) if len(row) > 1), None)
    if start is None:
        return False, 0, 0
    rows = rows[start:]
    wanted = column.strip().casefold() if column else None
    telling = any(
        is_known(cell) or video_id(cell) or cell.strip().casefold() == wanted
        for row in rows[: MAX_TITLES + 1]
        for cell in row
    )
    return telling, sum(len(row) == len(rows[0]) for row in rows), len(rows[0])
