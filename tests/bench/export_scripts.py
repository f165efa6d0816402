"""The scripts that one would write instead of `engine export`: one process with orjson, pyarrow or pandas, or two of
datatrove's with its writers.

python export_scripts.py jsonl|parquet|pandas|datatrove-jsonl|datatrove-parquet ROOM
"""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson

NAMES = (
    "status", "kind", "message", "title", "channel", "channel_id", "duration_s", "language", "is_generated",
    "requests", "bytes", "finished_at",
)  # fmt: skip


def rows(room: Path, share: int = 0, of: int = 1) -> Iterator[dict[str, Any]]:
    with open(room / "q" / "manifest.jsonl", "rb") as file:
        for line in itertools.islice(file, share, None, of):
            row = orjson.loads(line)
            value = {"id": row["video_id"], **{name: row[name] for name in NAMES}, **row["input"]}
            value["url"] = f"https://www.youtube.com/watch?v={row['video_id']}"
            value["paths"] = list(row["files"].values())
            value["text"] = value["segments"] = value["words"] = value["views"] = None
            if row["status"] == "ok":
                record = orjson.loads((room / "o" / row["files"]["json"]).read_bytes())
                value["segments"] = record["transcript"]["segments"]
                value["text"] = "\n".join(segment["text"] for segment in value["segments"])
                value["words"] = len(value["text"].split())
                value["views"] = record["metadata"]["view_count"]
            yield value


def jsonl(room: Path) -> None:
    with open(room / "script.jsonl", "wb") as file:
        for row in rows(room):
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


def schema_of(names: Iterable[str]) -> Any:
    import pyarrow as pa

    text, whole = pa.string(), pa.int64()
    segment = pa.struct([("start", pa.float64()), ("duration", pa.float64()), ("text", text)])
    types = {
        "duration_s": whole, "requests": whole, "bytes": whole, "words": whole, "views": whole, "row": whole,
        "is_generated": pa.bool_(), "paths": pa.list_(text), "segments": pa.list_(segment),
    }  # fmt: skip
    return pa.schema([(name, types.get(name, text)) for name in names])


def parquet(room: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    every = rows(room)
    first = next(every)
    schema = schema_of(first)
    options: dict[str, Any] = {"write_page_index": True, "use_content_defined_chunking": True}
    with pq.ParquetWriter(room / "script.parquet", schema, compression="zstd", **options) as writer:
        every = itertools.chain([first], every)
        while some := list(itertools.islice(every, 1000)):
            writer.write_table(pa.Table.from_pylist(some, schema=schema))


def pandas(room: Path) -> None:
    import pandas as pd

    pd.DataFrame(rows(room)).to_parquet(room / "script.parquet", compression="zstd")


def datatrove(room: Path, kind: str) -> None:
    """Two tasks in two processes, each with every second row."""
    from datatrove.data import Document
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.writers import JsonlWriter, ParquetWriter

    def read(data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        for row in rows(room, rank, world_size):
            yield Document(text=row["text"] or "", id=row["id"], metadata=row)

    def as_row(writer: Any, document: Any) -> dict[str, Any]:
        found: dict[str, Any] = document.metadata
        return found

    made = str(room / "made-datatrove")
    writer = (
        JsonlWriter(made, compression=None, adapter=as_row)
        if kind == "jsonl"
        else ParquetWriter(made, compression="zstd", adapter=as_row, schema=schema_of(next(rows(room))))
    )
    logs = str(room / "logs-datatrove")
    LocalPipelineExecutor(
        pipeline=[read, writer], tasks=2, workers=2, logging_dir=logs, skip_completed=False
    ).run()


if __name__ == "__main__":
    contenders = {
        "jsonl": jsonl,
        "parquet": parquet,
        "pandas": pandas,
        "datatrove-jsonl": functools.partial(datatrove, kind="jsonl"),
        "datatrove-parquet": functools.partial(datatrove, kind="parquet"),
    }
    contenders[sys.argv[1]](Path(sys.argv[2]))
