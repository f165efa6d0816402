"""The scripts that one would write instead of `engine export`: one process, orjson, pyarrow or pandas.

python export_scripts.py jsonl|parquet|pandas ROOM
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

NAMES = (
    "status", "kind", "message", "title", "channel", "channel_id", "duration_s", "language", "is_generated",
    "requests", "bytes", "finished_at",
)  # fmt: skip


def rows(room: Path) -> Iterator[dict[str, Any]]:
    with open(room / "q" / "manifest.jsonl", "rb") as file:
        for line in file:
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


def parquet(room: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, whole = pa.string(), pa.int64()
    segment = pa.struct([("start", pa.float64()), ("duration", pa.float64()), ("text", text)])
    types = {
        "duration_s": whole, "requests": whole, "bytes": whole, "words": whole, "views": whole, "row": whole,
        "is_generated": pa.bool_(), "paths": pa.list_(text), "segments": pa.list_(segment),
    }  # fmt: skip
    every = rows(room)
    first = next(every)
    schema = pa.schema([(name, types.get(name, text)) for name in first])
    options: dict[str, Any] = {"write_page_index": True, "use_content_defined_chunking": True}
    with pq.ParquetWriter(room / "script.parquet", schema, compression="zstd", **options) as writer:
        every = itertools.chain([first], every)
        while some := list(itertools.islice(every, 1000)):
            writer.write_table(pa.Table.from_pylist(some, schema=schema))


def pandas(room: Path) -> None:
    import pandas as pd

    pd.DataFrame(rows(room)).to_parquet(room / "script.parquet", compression="zstd")


if __name__ == "__main__":
    {"jsonl": jsonl, "parquet": parquet, "pandas": pandas}[sys.argv[1]](Path(sys.argv[2]))
