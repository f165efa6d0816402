"""Parquet: the rows of a file, read piece by piece. It takes pyarrow, an extra."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from engine.errors import UsageError
from engine.inputs.csv_table import Row, read_rows
from engine.inputs.line import Line, without_surrogates
from engine.inputs.opener import open_seekable

MAGIC = b"PAR1"
BATCH_ROWS = 4096


def read_parquet(path: str, *, column: str | None = None) -> Iterator[Line]:
    """The rows of a Parquet file; columns as in a table, their names are the first row.

    `Line.line` counts rows from 1. Numbers, truth values, lists and objects stay what they are, times become ISO
    8601, anything else its text. UsageError when it cannot be read or pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UsageError(
            f"{path}: a Parquet file: pip install '.[parquet]' in engine's directory to read it, or export it as CSV."
        ) from None
    stream = open_seekable(path)
    try:
        file = parquet.ParquetFile(stream)
        lines = read_rows(_rows(path, file, pyarrow.ArrowException), path, column=column)
    except UsageError:
        stream.close()
        raise
    except (pyarrow.ArrowException, OSError, ValueError) as exc:
        stream.close()
        raise _broken(path, exc) from None
    return _closing(lines, stream)


def _closing(lines: Iterator[Line], stream: BinaryIO) -> Iterator[Line]:
    with stream:
        yield from lines


def _rows(path: str, file: Any, broken: type[Exception]) -> Iterator[Row]:
    names = [without_surrogates(name) for name in file.schema_arrow.names]
    yield Row(0, names, None)
    number = 0
    try:
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            held = [column.to_pylist() for column in batch.columns]
            for row in zip(*held, strict=True):
                number += 1
                values = [_plain(value) for value in row]
                cells = [value if isinstance(value, str) else str(value) for value in values]
                if any(map(str.strip, cells)):
                    yield Row(number, cells, None, values)
    except (broken, OSError, ValueError) as exc:
        raise _broken(path, exc) from None


def _plain(value: Any) -> Any:
    """What a cell holds as JSON has it; an empty one is an empty text, as in a CSV."""
    if value is None:
        return ""
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if hasattr(value, "isoformat"):
        return value.isoformat()
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (ValueError, TypeError, RecursionError):  # a decimal, a duration, nan
        return str(value)


def _broken(path: str, exc: BaseException) -> UsageError:
    said = str(exc).splitlines()[0][:120] if str(exc) else type(exc).__name__
    return UsageError(
        f"{path}: not a Parquet file that can be read ({said}). Make it again, or export it as CSV."
    )
