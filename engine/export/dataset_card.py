"""What lies beside the Parquet files: statistics, and a README.md with the YAML that the Hugging Face Hub reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from engine.export.columns import TableColumns

README = "README.md"
STATS = "stats.json"
_MEANINGS = {
    "id": "the video's id",
    "status": "`ok`, `absent` (there is nothing to fetch) or `failed`",
    "kind": "why it is not `ok`",
    "published": "date or time of publication, ISO 8601",
    "is_generated": "whether the captions were generated",
    "text": "what is said, a caption line a line",
    "segments": "captions: start and duration in seconds, text",
    "paths": "the files of the video in the output directory",
    "way": "how it was fetched",
    "finished_at": "when it was fetched, UTC",
    "input_order": "sorted by it, the videos stand in the order in which they were given",
}
_SIZES = (1_000, 10_000, 100_000, 1_000_000, 10_000_000)


def stats_json(stats: Mapping[str, Any]) -> bytes:
    """The statistics as a JSON document."""
    return json.dumps({"schema_version": 1, **stats}, indent=1, ensure_ascii=False).encode() + b"\n"


def readme(stats: Mapping[str, Any], columns: TableColumns) -> bytes:
    """The card: where the data is, how large it is, what the columns are."""
    head = [
        "---",
        "configs:",
        "- config_name: default",
        "  data_files:",
        "  - split: train",
        '    path: "data/train-*.parquet"',
        "tags:",
        "- youtube",
        "- transcripts",
        "size_categories:",
        f'- "{_size(int(stats["videos"]))}"',
        "---",
        "",
        "# Transcripts",
        "",
        f"{stats['videos']:,} videos, {stats['ok']:,} of them with a transcript: {stats['words']:,} words, "
        f"{stats['duration_s'] / 3600:,.0f} hours.",
        "",
        "Read it in Python, here or with `s3://bucket/place` in front:",
        "",
        "```python",
        'pandas.read_parquet("data")',
        'datasets.load_dataset("parquet", data_files="data/*.parquet", split="train")',
        "```",
        "",
        "| column | type | meaning |",
        "|---|---|---|",
    ]
    rows = [
        f"| `{name.replace('|', ' ')}` | {kind} | {_MEANINGS.get(name, '')} |"
        for name, kind in zip(columns.names, columns.types, strict=True)
    ]
    return "\n".join([*head, *rows, ""]).encode()


def _size(videos: int) -> str:
    """The Hub's word for how many rows there are."""
    names = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M")
    return names[sum(videos >= size for size in _SIZES)]
