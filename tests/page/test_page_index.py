"""The index of the manifest's rows: whatever is asked of it is what a recount of the manifest says."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.page import index, index_file
from engine.page.index import RowIndex, TableFilter
from engine.queue.directory import Queue
from engine.queue.making import make_queue
from engine.queue.manifest import Checkpoint, write_checkpoint
from engine.queue.manifest_row import ManifestRow
from engine.report.timeline import STEPS_S
from engine.storage.timestamps import utc

KINDS = {"ok": None, "private": "absent", "no_captions": "absent", "timeout": "failed", "network": "failed"}


def a_row(n: int, kind: str, title: str = "") -> dict[str, Any]:
    return {
        "video_id": f"{n:011d}",
        "status": KINDS[kind] or "ok",
        "kind": None if kind == "ok" else kind,
        "title": title,
        "channel": "Someone",
        "finished_at": "2026-11-22T21:03:11Z",
        "input": {"topic": n % 3},
    }


def write(queue: Queue, rows: list[dict[str, Any]], *, again: bool = False, extra: bytes = b"") -> None:
    """The manifest with these rows and their checkpoint; `again`: as another file."""
    data = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    path = Path(queue.manifest)
    if again:
        path.rename(path.with_suffix(".old"))  # its inode is not free: no other file can have it
    path.write_bytes(data + extra)
    write_checkpoint(queue, Checkpoint(len(data), rows_crc32=zlib.crc32(data)))


def followed(queue: Queue, path: Path) -> RowIndex:
    found = RowIndex(queue.root, str(path))
    while found.follow():
        pass
    return found


def all_pages(found: RowIndex, wanted: TableFilter, count: int) -> list[ManifestRow]:
    rows: list[ManifestRow] = []
    before = None
    while True:
        page = found.page(wanted, before=before, count=count)
        assert len(page.rows) <= count
        rows += [each.row for each in page.rows]
        if page.next_before is None:
            return rows
        assert before is None or page.next_before < before
        before = page.next_before


def recount(rows: list[dict[str, Any]], status: str, kind: str, text: str) -> list[dict[str, Any]]:
    def has(row: dict[str, Any]) -> bool:
        words = f"{row['video_id']} {row['title']} {row['channel']} {row['input']['topic']}".casefold()
        return (
            status in ("", row["status"])
            and kind in ("", row["kind"] or "")
            and all(word in words for word in text.casefold().split())
        )

    return [row for row in reversed(rows) if has(row)]


made = st.lists(
    st.tuples(st.sampled_from(sorted(KINDS)), st.text(alphabet="aBß ÄéZ", max_size=6)), max_size=40
)


@pytest.fixture(autouse=True)
def _no_fsync(no_fsync: None) -> None:
    pass


@given(
    made,
    made,
    made,
    st.sampled_from(["", "ok", "absent", "failed"]),
    st.sampled_from(["", "private", "timeout"]),
    st.sampled_from(["", "SS", "ä", "b z", "00001", "nothing at all"]),
    st.integers(1, 9),
)
def test_what_it_says_is_a_recount(
    tmp_path_factory: pytest.TempPathFactory,
    first: list[tuple[str, str]],
    later: list[tuple[str, str]],
    retried: list[tuple[str, str]],
    status: str,
    kind: str,
    text: str,
    count: int,
) -> None:
    """After some rows, after more, and after a retry has taken some out; in steps and scans of a few rows."""
    root = tmp_path_factory.mktemp("q")
    queue = make_queue(str(root / "queue"))
    wanted = TableFilter.of(status, kind, text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "STEP_ROWS", 7)
        patch.setattr(index, "SCAN_ROWS", 5)
        rows: list[dict[str, Any]] = []
        for more, again in ((first, False), (later, False), (retried, True)):
            rows = [row for n, row in enumerate(rows) if not again or n % 3]
            rows += [a_row(len(rows) + n, *each) for n, each in enumerate(more)]
            write(queue, rows, again=again, extra=b'{"video_id": "a row behind the checkpoint"')
            found = followed(queue, root / "index")
            expected = [ManifestRow.from_json(row) for row in recount(rows, status, kind, text)]
            assert all_pages(found, wanted, count) == expected
            counted = Counter((row["status"], row["kind"] or "") for row in rows)
            assert {key: n for key, n in found.counts().items() if n} == dict(counted)
            assert found.size() == len(rows)
            assert sum(found.finished().bins.values()) == len(rows)


def test_a_filter_without_words_is_one_page_however_many_rows_lie_between(tmp_path: Path) -> None:
    queue = make_queue(str(tmp_path / "queue"))
    rows = [a_row(n, "timeout" if n < 3 else "ok") for n in range(300)]
    write(queue, rows)
    found = followed(queue, tmp_path / "index")
    page = found.page(TableFilter.of("failed"))
    assert [each.n for each in page.rows] == [3, 2, 1]
    assert page.complete and page.next_before is None


@pytest.mark.parametrize(
    ("wanted", "reads"),
    [
        (TableFilter.of("", "timeout"), "COVERING INDEX by_sort"),
        (TableFilter.of("failed"), "COVERING INDEX by_sort"),
        (TableFilter.of(), "rows USING INTEGER PRIMARY KEY"),
    ],
)
def test_a_filter_reads_one_index_in_the_order_of_its_rows(
    tmp_path: Path, wanted: TableFilter, reads: str
) -> None:
    """Neither a table beside it nor a sort: whoever waits does not wait for the rows in between."""
    queue = make_queue(str(tmp_path / "queue"))
    write(queue, [a_row(n, kind) for n, kind in enumerate(sorted(KINDS))])
    found = followed(queue, tmp_path / "index")
    asked: list[str] = []
    with sqlite3.connect(found.path) as db:
        db.set_trace_callback(asked.append)
        list(index._search(db, wanted, 10, 1, 5))
        db.set_trace_callback(None)
        for query in [each for each in asked if " rows " in each and "FROM sorts" not in each]:
            plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {query}")]
            assert len(plan) == 1 and reads in plan[0], plan
    db.close()
    assert len(asked) > 1 or not wanted.status + wanted.kind


@given(st.lists(st.integers(0, 100_000), max_size=60))
def test_bins_are_as_fine_as_so_many_allow(
    tmp_path_factory: pytest.TempPathFactory, times: list[int]
) -> None:
    root = tmp_path_factory.mktemp("q")
    queue = make_queue(str(root / "queue"))
    times = [1_790_000_000 + at for at in times]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "STEP_ROWS", 7)
        patch.setattr(index, "MAX_BINS", 5)
        write(queue, [{**a_row(n, "ok"), "finished_at": utc(at)} for n, at in enumerate(times)])
        found = followed(queue, root / "index").finished()
    finest = next(step_s for step_s in STEPS_S if len({at // step_s for at in times}) <= 5)
    assert found.step_s == finest
    assert found.bins == Counter(at // finest for at in times)


def test_rows_that_come_while_one_reads_move_no_page(tmp_path: Path) -> None:
    queue = make_queue(str(tmp_path / "queue"))
    rows = [a_row(n, "ok") for n in range(60)]
    write(queue, rows[:50])
    found = followed(queue, tmp_path / "index")
    first = found.page(TableFilter())
    write(queue, rows)
    followed(queue, tmp_path / "index")
    second = found.page(TableFilter(), before=first.next_before)
    assert [each.n for each in (*first.rows, *second.rows)] == list(range(50, 0, -1))


@pytest.mark.parametrize(
    "damage", [b"this is no database, and longer than a header " * 9, b"", b"SQLite format 3\0"]
)
def test_a_damaged_index_is_made_anew(tmp_path: Path, damage: bytes) -> None:
    queue = make_queue(str(tmp_path / "queue"))
    write(queue, [a_row(n, "ok") for n in range(30)])
    followed(queue, tmp_path / "index")
    for path in tmp_path.glob("index*"):
        path.unlink()
    (tmp_path / "index").write_bytes(damage)
    assert followed(queue, tmp_path / "index").size() == 30


def test_an_index_damaged_inside_is_made_anew(tmp_path: Path) -> None:
    queue = make_queue(str(tmp_path / "queue"))
    rows = [a_row(n, "ok", "x" * 200) for n in range(3000)]
    write(queue, rows)
    found = followed(queue, tmp_path / "index")
    with sqlite3.connect(found.path) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    data = bytearray(Path(found.path).read_bytes())
    for at in range(4096, len(data), 4096):
        data[at : at + 64] = b"\xff" * 64
    Path(found.path).write_bytes(data)
    rows += [a_row(n, "ok") for n in range(3000, 3010)]
    write(queue, rows)
    assert len(all_pages(followed(queue, tmp_path / "index"), TableFilter(), 500)) == len(rows)


def test_an_index_of_another_version_is_made_anew(tmp_path: Path) -> None:
    queue = make_queue(str(tmp_path / "queue"))
    write(queue, [a_row(n, "ok") for n in range(30)])
    found = followed(queue, tmp_path / "index")
    with sqlite3.connect(found.path) as db:
        db.execute("DROP TABLE rows")
        db.execute("PRAGMA user_version = 99")
    db.close()
    assert len(all_pages(followed(queue, tmp_path / "index"), TableFilter(), 9)) == 30


def test_two_pages_follow_at_once(tmp_path: Path) -> None:
    """By turns and with threads: each row is there once."""
    import threading

    queue = make_queue(str(tmp_path / "queue"))
    rows = [a_row(n, "ok") for n in range(20_000)]
    write(queue, rows)
    errors: list[BaseException] = []

    def follow() -> None:
        try:
            followed(queue, tmp_path / "index")
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=follow) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    found = RowIndex(queue.root, str(tmp_path / "index"))
    assert found.size() == 20_000
    assert len(all_pages(found, TableFilter(), 5000)) == 20_000


def test_an_index_that_another_page_is_just_making_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite itself waits for most locks, but not for all: here it waits for none."""
    queue = make_queue(str(tmp_path / "queue"))
    write(queue, [a_row(n, "ok") for n in range(9)])
    path = tmp_path / "index"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("CREATE TABLE t (n)")
    other.execute("BEGIN")
    other.execute("SELECT * FROM t").fetchall()  # from here on it has the file locked, for reading
    waits: list[float] = []

    def sleep(wait_s: float) -> None:
        waits.append(wait_s)
        if len(waits) == 3:
            other.close()

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **how: connect(path, **{**how, "timeout": 0.0}))
    monkeypatch.setattr(index_file.time, "sleep", sleep)
    assert followed(queue, path).size() == 9
    assert len(waits) == 3


def test_a_row_is_given_only_with_the_right_id(tmp_path: Path) -> None:
    """A number may be another video's after a retry."""
    queue = make_queue(str(tmp_path / "queue"))
    write(queue, [a_row(n, "ok") for n in range(9)])
    found = followed(queue, tmp_path / "index")
    assert found.get(3, "00000000002")
    assert found.get(3, "00000000003") is None
    assert found.get(99, "00000000002") is None


def test_without_a_manifest_there_are_no_rows(tmp_path: Path) -> None:
    queue = make_queue(str(tmp_path / "queue"))
    found = followed(queue, tmp_path / "index")
    assert found.page(TableFilter()).rows == ()
    assert found.progress() == 1.0
    write(queue, [a_row(1, "ok")])
    followed(queue, tmp_path / "index")
    Path(queue.manifest).unlink()
    assert found.page(TableFilter()).rows == ()
