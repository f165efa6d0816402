"""What is done to a slice of the manifest, in whichever process: surveying it, and converting it."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.export import delimited, json_lines
from engine.export.columns import FoundColumns, TableColumns, needs_record, table_row
from engine.export.file_names import folded
from engine.export.input_order import COLUMN, InputOrder
from engine.export.numbers import read_numbers, row_number
from engine.export.record_reader import RecordReader, parse_record
from engine.export.request import TEXTS
from engine.export.row_filter import RowFilter
from engine.queue.manifest import parse_row

Row = dict[str, Any]
NO_COLUMNS = TableColumns((), ())


@dataclass(frozen=True, slots=True)
class SliceSpec:
    """What all slices of an export have in common; goes to other processes. Without columns it is for surveying.

    `old_rows` is a file with the numbers of rows that were exported before, `order` one with the places of videos in
    the input, `staging` where text files are put.
    """

    kind: str
    output: str | None
    columns: TableColumns = NO_COLUMNS
    where: str | None = None
    name: str = ""
    flat: bool = False
    words: int = 0
    overlap: int = 0
    twins: frozenset[int] = frozenset()
    old_rows: str | None = None
    staging: str = ""
    order: str | None = None


@dataclass(slots=True)
class SliceSurvey:
    """What a slice holds: rows, the user's columns, numbers of all rows, and for text files the folded ids."""

    found: FoundColumns = field(default_factory=FoundColumns)
    fresh: int = 0
    numbers: array[int] = field(default_factory=lambda: array("Q"))
    folded: array[int] = field(default_factory=lambda: array("Q"))


@dataclass(slots=True)
class ConvertedSlice:
    """A slice as it is to be written: `data` for the writer of its kind, how many rows, what they hold.

    `unreadable` are ids whose record cannot be read, `long_cells` texts that are too long for a cell of Excel.
    """

    data: Any
    rows: int
    stats: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)
    long_cells: int = 0


class SliceWork:
    """The work of one process."""

    def __init__(self, spec: SliceSpec) -> None:
        self._spec = spec
        self._reader = RecordReader(spec.output)
        self._old = read_numbers(spec.old_rows) if spec.old_rows else None
        self._order = InputOrder(spec.order) if spec.order else None
        self._filter: RowFilter | None = None
        self._convert: Callable[[int, list[tuple[Row, Row | None]], ConvertedSlice], None]
        if spec.columns.ours:
            self._filter = RowFilter(spec.where, spec.columns) if spec.where else None
            self._convert = self._text_files() if spec.kind in TEXTS else getattr(self, f"_{spec.kind}")

    # ---- the first reading -----------------------------------------------------------------------------
    def survey(self, data: bytes) -> SliceSurvey:
        """Look at all rows; the user's columns are those of rows that are to be exported."""
        survey = SliceSurvey()
        for row in _rows(data):
            number = row_number(row)
            survey.numbers.append(number)
            if self._spec.kind in TEXTS:
                survey.folded.append(folded(str(row["video_id"])))
            if self._old is not None and number in self._old:
                continue
            survey.fresh += 1
            given = row.get("input")
            if isinstance(given, dict):
                survey.found.add(given)
        return survey

    def count(self, data: bytes) -> int:
        """How many rows of the slice are exported."""
        return len(self._chosen(data))

    # ---- the second ------------------------------------------------------------------------------------
    def convert(self, data: bytes, number: int) -> ConvertedSlice:
        """The slice as it is written; `number` tells it from others."""
        chosen = self._chosen(data)
        found = ConvertedSlice(None, len(chosen))
        self._convert(number, chosen, found)
        return found

    def _chosen(self, data: bytes) -> list[tuple[Row, Row | None]]:
        """(row, its record if that had to be read) of the rows that are exported."""
        rows = [row for row in _rows(data) if self._old is None or row_number(row) not in self._old]
        if self._order is not None:
            for row in rows:
                row[COLUMN] = self._order.of(row["video_id"])
        if self._filter is None:
            return [(row, None) for row in rows]
        columns, reads = self._spec.columns, self._filter.reads
        records = [self._record(row) if needs_record(row, reads) else None for row in rows]
        values = [table_row(row, record, columns) for row, record in zip(rows, records, strict=True)]
        return [(rows[at], records[at]) for at in self._filter.chosen(values)]

    def _record(self, row: Row) -> Row | None:
        return parse_record(self._reader.read(row), row["video_id"])

    def _values(
        self, chosen: list[tuple[Row, Row | None]], found: ConvertedSlice, columns: TableColumns
    ) -> Iterator[dict[str, Any]]:
        """The values of each row; counts what they hold."""
        for row, known in chosen:
            record = known
            if record is None and needs_record(row, columns.ours):
                record = self._record(row)
                if record is None:
                    found.unreadable.append(row["video_id"])
            values = table_row(row, record, columns)
            _add_stats(found.stats, values)
            yield values

    # ---- by kind ---------------------------------------------------------------------------------------
    def _csv(self, number: int, chosen: list[tuple[Row, Row | None]], found: ConvertedSlice) -> None:
        columns = self._spec.columns.without("segments")
        values = self._values(chosen, found, columns)
        found.data, found.long_cells = delimited.to_csv(values, columns)

    def _xlsx(self, number: int, chosen: list[tuple[Row, Row | None]], found: ConvertedSlice) -> None:
        from engine.export import workbook_file

        columns = self._spec.columns.without("segments")
        found.data, found.long_cells = workbook_file.to_cells(self._values(chosen, found, columns), columns)

    def _jsonl(self, number: int, chosen: list[tuple[Row, Row | None]], found: ConvertedSlice) -> None:
        found.data = b"".join(map(json_lines.line, self._values(chosen, found, self._spec.columns)))

    def _sqlite(self, number: int, chosen: list[tuple[Row, Row | None]], found: ConvertedSlice) -> None:
        from engine.export import database

        values = self._values(chosen, found, self._spec.columns)
        found.data = [database.to_tuple(row) for row in values]

    def _parquet(self, number: int, chosen: list[tuple[Row, Row | None]], found: ConvertedSlice) -> None:
        from engine.export import parquet_files

        columns = self._spec.columns
        found.data = parquet_files.to_arrow(list(self._values(chosen, found, columns)), columns)

    def _passages(self, number: int, chosen: list[tuple[Row, Row | None]], found: ConvertedSlice) -> None:
        columns = self._spec.columns.without("text", "segments")
        lines: list[bytes] = []
        for row, known in chosen:
            if row.get("status") != "ok":
                continue
            record = known or self._record(row)
            if record is None:
                found.unreadable.append(row["video_id"])
                continue
            values = table_row(row, record, columns)
            _add_stats(found.stats, values)
            lines += json_lines.passage_lines(values, record, self._spec.words, self._spec.overlap)
        found.data, found.rows = b"".join(lines), len(lines)

    def _text_files(self) -> Callable[[int, list[tuple[Row, Row | None]], ConvertedSlice], None]:
        from engine.export.text_files import TextRenderer

        renderer = TextRenderer(self._spec, self._spec.columns)

        def convert(number: int, chosen: list[tuple[Row, Row | None]], found: ConvertedSlice) -> None:
            files: list[tuple[str, str]] = []
            for row, known in chosen:
                if row.get("status") != "ok":
                    continue
                data = self._reader.read(row)
                record = known
                if record is None and data is not None and renderer.needs_record(row):
                    record = parse_record(data, row["video_id"])
                file = renderer.stage(row, record, data, f"{number:08d}-{len(files):04d}")
                if file is None:
                    found.unreadable.append(row["video_id"])
                else:
                    files.append(file)
            found.stats["ok"] += len(files)
            found.data, found.rows = files, len(files)

        return convert


def _rows(data: bytes) -> Iterator[Row]:
    """The good rows of a slice. `engine verify` names the others."""
    for line in data.splitlines():
        row = parse_row(line)
        if row is not None and "status" in row:
            yield row


def _add_stats(stats: Counter[str], values: Mapping[str, Any]) -> None:
    stats[str(values.get("status"))] += 1
    if values.get("status") == "ok":
        stats["words"] += values.get("words") or 0
        stats["duration_s"] += values.get("duration_s") or 0
        stats[f"language {values.get('language')}"] += 1
