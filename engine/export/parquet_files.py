"""Parquet as data sets have it: an explicit schema, zstd, page index, content-defined chunking, numbered files."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from operator import itemgetter
from typing import Any

from engine.errors import UsageError
from engine.export.append_stream import AppendStream
from engine.export.columns import TableColumns, as_json

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError:
    raise UsageError(
        "--to parquet needs one more package: pip install '.[parquet]' in engine's directory"
    ) from None

GROUP_BYTES = 32 << 20  # of a row group in memory
GROUP_ROWS = 10_000

_START, _DURATION, _TEXT = map(itemgetter, ("start", "duration", "text"))
_SEGMENT = pa.struct([("start", pa.float64()), ("duration", pa.float64()), ("text", pa.string())])
_TYPES = {
    "text": pa.string(),
    "json": pa.string(),
    "int": pa.int64(),
    "bool": pa.bool_(),
    "float": pa.float64(),
    "time": pa.timestamp("ms", tz="UTC"),
    "list": pa.list_(pa.string()),
    "segments": pa.list_(_SEGMENT),
}


def schema(columns: TableColumns) -> pa.Schema:
    """The schema of these columns; only the id is never null."""
    return pa.schema(
        [
            pa.field(name, _TYPES[kind], nullable=name != "id")
            for name, kind in zip(columns.names, columns.types, strict=True)
        ]
    )


def to_arrow(rows: Sequence[dict[str, Any]], columns: TableColumns) -> bytes:
    """The rows as an Arrow stream."""
    arrays = [
        _array(name, kind, [row[name] for row in rows])
        for name, kind in zip(columns.names, columns.types, strict=True)
    ]
    batch = pa.RecordBatch.from_arrays(arrays, schema=schema(columns))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def _array(name: str, kind: str, values: list[Any]) -> pa.Array:
    if kind == "segments":
        return _segments(values)
    if kind == "time":
        return _times(values)
    if kind == "json":
        values = [value if value is None or isinstance(value, str) else as_json(value) for value in values]
    return pa.array(values, _TYPES[kind])


def _segments(values: list[Any]) -> pa.Array:
    """Column by column: three times as fast as from objects."""
    offsets: list[int | None] = []
    every: list[dict[str, Any]] = []
    for value in values:
        offsets.append(None if value is None else len(every))
        if value is not None:
            every += value
    offsets.append(len(every))
    parts = [
        pa.array(list(map(_START, every)), pa.float64()),
        pa.array(list(map(_DURATION, every)), pa.float64()),
        pa.array(list(map(_TEXT, every)), pa.string()),
    ]
    inner = pa.StructArray.from_arrays(parts, fields=list(_SEGMENT))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), inner).cast(_TYPES["segments"])


def _times(values: list[Any]) -> pa.Array:
    found = []
    for value in values:
        try:
            moment = datetime.datetime.fromisoformat(value) if value else None
        except ValueError:
            moment = None
        if moment is not None and moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        found.append(moment)
    return pa.array(found, _TYPES["time"])


class ParquetFile:
    """One file that is being written, through the one way to the disk."""

    def __init__(self, path: str, columns: TableColumns) -> None:
        self._sink = AppendStream(path)
        self._schema = schema(columns)
        self._waiting: list[pa.Table] = []
        self._bytes = 0
        self.rows = 0
        self._writer = pq.ParquetWriter(
            pa.PythonFile(self._sink, mode="w"),
            self._schema,
            compression="zstd",
            write_page_index=True,
            use_content_defined_chunking=True,
            use_dictionary=True,
        )

    def add(self, table: pa.Table) -> None:
        """Add rows; a row group is written when there are enough."""
        self._waiting.append(table)
        self._bytes += table.nbytes
        self.rows += table.num_rows
        if self._bytes >= GROUP_BYTES or sum(part.num_rows for part in self._waiting) >= GROUP_ROWS:
            self._write()

    def _write(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting), row_group_size=GROUP_ROWS)
            self._waiting, self._bytes = [], 0

    def finish(self) -> None:
        """Write what is left and make the file durable."""
        self._write()
        self._writer.close()
        self._sink.finish()

    def close(self) -> None:
        """Let go of a file that is not finished."""
        self._sink.let_go()


def read_arrow(data: bytes) -> pa.Table:
    """What `to_arrow` made."""
    return pa.ipc.open_stream(data).read_all()
