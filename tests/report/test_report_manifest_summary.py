"""One pass over the manifest: right about sound rows, undisturbed by the others, and flat in memory."""

from __future__ import annotations

import json
import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from night_before import EVENING, leave, row
from support import ids

from engine.queue.making import make_queue
from engine.queue.manifest import parse_row
from engine.report import timeline
from engine.report.manifest_summary import EXAMPLES, OTHER, Rows, read, read_new
from engine.storage.timestamps import seconds, utc

NOW = EVENING + 86_400


def added(*rows: Any) -> Rows:
    item = Rows()
    for value in rows:
        item.add(parse_row(value if isinstance(value, bytes) else json.dumps(value).encode()), NOW)
    return item


def test_counts_costs_and_examples() -> None:
    names = ids(10)
    rows = added(
        *(row(name, EVENING) for name in names),
        *(row(name, EVENING + 5, "timeout", requests=7) for name in names),
    )
    assert (rows.costs["ok"].jobs, rows.costs["ok"].requests, rows.costs["ok"].bytes) == (10, 20, 400_000)
    assert rows.costs["failed"].requests == 70
    assert rows.finished.bins == {int(EVENING): 10, int(EVENING) + 5: 10}
    assert [example["video_id"] for example in rows.examples["timeout"]] == names[-EXAMPLES:]


@pytest.mark.parametrize(
    "line",
    [b"", b"\xff\n", b"[]\n", b"null\n", b'{"status": "ok"}\n', b'{"status": ["ok"]}\n', b"[" * 100_000,
     b'{"status": "odd", "requests": 1, "bytes": 1}\n', b'{"status": "ok", "requests": "x", "bytes": 1}\n',
     b'{"status": "ok", "requests": 1e999, "bytes": 1}\n'],
)  # fmt: skip
def test_what_is_no_row_is_counted_as_such(line: bytes) -> None:
    rows = added(line, row(ids(1)[0], EVENING))
    assert (rows.bad_lines, rows.costs["ok"].jobs) == (1, 1)


@pytest.mark.parametrize(
    "when", [None, 5, "", "yesterday", "2026-11-21T1x:00:00Z", "9999-12-31T23:59:59Z", "\0" * 20]
)
def test_a_row_without_a_time_counts_all_the_same(when: object) -> None:
    rows = added(row(ids(1)[0], EVENING, finished_at=when))
    assert (rows.undated, rows.costs["ok"].jobs, rows.finished.span()) == (1, 1, None)


@given(st.datetimes(datetime(1971, 1, 1), datetime(2026, 1, 1)))
def test_times_are_read_as_they_are_written(at: datetime) -> None:
    text = utc(at.replace(tzinfo=UTC).timestamp())
    assert Rows()._seconds(text) == seconds(text)


def test_kinds_that_nobody_knows_are_one() -> None:
    rows = added(*({**row(name, EVENING), "status": "failed", "kind": f"k{name}"} for name in ids(50)))
    assert rows.kinds == {OTHER: 50}
    assert list(rows.examples) == [OTHER]


def test_only_what_the_checkpoint_promises(tmp_path: Path) -> None:
    assert read(make_queue(str(tmp_path / "none")), NOW).costs["ok"].jobs == 0
    queue = leave(tmp_path / "q", [row(name, EVENING) for name in ids(5)], [])
    with open(queue.manifest, "ab") as file:
        file.write(json.dumps(row(ids(6)[-1], EVENING)).encode() + b"\n")
    assert read(queue, NOW).costs["ok"].jobs == 5
    Path(queue.manifest).unlink()
    assert read(queue, NOW).costs["ok"].jobs == 0


def test_memory_does_not_grow_with_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timeline, "MAX_BINS", 200)
    rows = Rows()
    names = ids(1000)
    peaks = []
    for part in range(4):
        tracemalloc.start()
        for number in range(700):
            at = EVENING + (part * 700 + number) * 4
            rows.add(row(names[number % 1000], at, "timeout"), NOW + 1e6)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert rows.costs["failed"].jobs == 2800
    assert len(rows.finished.bins) <= 200
    assert peaks[-1] < 1.2 * peaks[0]


def test_what_is_new_is_read_from_where_the_run_began(tmp_path: Path) -> None:
    names = ids(8)
    old = [row(name, EVENING) for name in names[:4]]
    late = row(names[4], EVENING, input={"source": "@late"})  # of the run before, filed by this one
    new = [row(name, EVENING + 60, input={"source": "@a"}) for name in names[5:7]]
    new.append(row(names[7], EVENING + 90, "private", input={"source": "@b"}))
    queue = leave(tmp_path / "q", [*old, late, *new], [])
    before = sum(len(json.dumps(each)) + 1 for each in old)
    for at in (0, before):
        found = read_new(queue, EVENING + 30, at)
        assert (found.ok, found.absent, found.sources) == (2, 1, {"@a": 2, "@b": 1}), at
        assert [each["video_id"] for each in found.examples] == names[5:7]
    assert read_new(queue, EVENING - 1, before).videos == 4  # not one line too few
    assert read_new(queue, EVENING - 1, Path(queue.manifest).stat().st_size).videos == 0
