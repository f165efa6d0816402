"""`--where`: SQL over the columns that can read them and do nothing else."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import canned_batch
import pytest
from canned_batch import Canned
from support import ids

from engine import Batch, UsageError
from engine.export.columns import FoundColumns, table_columns
from engine.export.row_filter import RowFilter, _as_time
from engine.model import Cue, Kind

IDS = ids(6)
VIDEOS = [
    Canned(IDS[0], "One", generated=True, input={"topic": "music", "row": 1}),
    Canned(IDS[1], "Two", cues=(Cue(0, 1, "a rare word"),), input={"topic": "talk", "row": 2}),
    Canned(IDS[2], "Three", input={"topic": None, "row": 30}),
    Canned(IDS[3], kind=Kind.PRIVATE, input={"topic": "music"}, finished_at=canned_batch.AT.format(10)),
    Canned(IDS[4], kind=Kind.NETWORK, finished_at=canned_batch.AT.format(12)),
    Canned(IDS[5], "Été"),
]


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    return Batch(canned_batch.batch(tmp_path_factory.mktemp("where"), VIDEOS).root)


@pytest.mark.parametrize(
    ("condition", "chosen"),
    [
        ("status = 'ok'", [0, 1, 2, 5]),
        ("language = 'en' and duration_s > 600", []),
        ("is_generated", [0]),
        ("kind = 'private' or kind = 'network'", [3, 4]),
        ("topic = 'music'", [0, 3]),
        ("text like '%rare%'", [1]),
        ("words < 4 and views = 1234", [0, 1, 2, 5]),
        ('row > 2 -- and a comment, "it\'s"', [2]),
        ('"Topic" = \'music\' /* "x" */ or title = \'"x"\'', [0, 3]),
        ("title in (select title from videos where title like 'T%')", [1, 2]),
        ("1", [0, 1, 2, 3, 4, 5]),
        ("segments is null", [3, 4]),
        ("json_array_length(segments) = 1", [1]),
        ("finished_at > '2026-11-22 21:03:11'", [4]),
        ("finished_at > '2026-11-22T21:03:11Z'", [4]),
        ("finished_at = '2026-11-22 21:03:11'", [0, 1, 2, 5]),
        ("'2026-11-22 21:03:11' > finished_at", [3]),
        ("finished_at between '2026-11-22 21:03:10' and '2026-11-22 21:03'", []),
        ("finished_at in ('2026-11-22 21:03:12', '2026-11-22T22:03:10+01:00')", [3, 4]),
        ("finished_at like '2026-11-22T21:03:10Z'", [3]),
        ("published < '2024-02-29 00:00'", [0, 1, 2, 5]),
        ("finished_at >= '2026-11-22' and url like '%' || id", [0, 1, 2, 3, 4, 5]),
    ],
)
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_what_is_chosen(batch: Batch, tmp_path: Path, kind: Any, condition: str, chosen: list[int]) -> None:
    result = batch.export(kind, tmp_path / "x", where=condition)
    assert result.rows == len(chosen)
    if kind == "jsonl":
        lines = (tmp_path / "x/videos.jsonl").read_bytes().splitlines()
        assert [json.loads(line)["id"] for line in lines] == [IDS[n] for n in chosen]
    else:
        assert result.files == ("data/train-00000-of-00001.parquet",)


@pytest.mark.parametrize(
    "condition",
    [
        "langauge = 'en'",
        "\"langauge\" = 'en'",
        'title = "One"',
        "status = 'ok') or (1 = 1",
        "1); drop table videos; --",
        "1) union select 999 --(",
        "",
        "(",
        "1; attach database 'x.db' as x",
        "load_extension('x')",
        "zeroblob(1000000000) is not null",
        "id in (select name from sqlite_master)",
        "id in (with recursive r(n) as (select 1 union all select n + 1 from r) select n from r)",
        "\0",
    ],
)
def test_what_is_refused(batch: Batch, tmp_path: Path, condition: str) -> None:
    with pytest.raises(UsageError, match="--where"):
        batch.export("csv", tmp_path / "x", where=condition or " ")
    assert not (tmp_path / "x").exists() or os.listdir(tmp_path / "x") == []


def test_a_column_with_a_typing_error_is_named(batch: Batch, tmp_path: Path) -> None:
    for condition in ("langage = 'en'", "\"langage\" = 'en'"):
        with pytest.raises(UsageError, match="did you mean 'language'"):
            batch.export("csv", tmp_path / "x", where=condition)
    assert _as_time("2026-11-26T12:05:28+01:00") == _as_time("2026-11-26 11:05:28") == "2026-11-26 11:05:28"


def test_only_what_it_reads_is_loaded() -> None:
    columns = table_columns(FoundColumns())
    assert RowFilter("words > 5 and title = 'text'", columns).reads == ("title", "words")
