"""Where an export goes: what may be replaced, what `--new` adds, and what a killed one leaves."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import canned_batch
import pytest
from canned_batch import AT, some
from commands import environment
from patience import HANG_S
from support import every_step

from engine import Batch, DiskError, HeldError, UsageError
from engine.export.file_list import FileList
from engine.export.place import LocalPlace
from engine.export.request import KINDS, parse_run_export
from engine.model import Kind
from engine.storage import disk


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return Batch(canned_batch.batch(tmp_path, some(5)).root)


def files(where: Path) -> dict[str, bytes]:
    """All files but our own, with their content."""
    return {
        path.relative_to(where).as_posix(): path.read_bytes()
        for path in where.rglob("*")
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(where).parts)
    }


def no_staged(where: Path) -> bool:
    return not [name for name in os.listdir(where / ".engine-export") if name.startswith("staged")]


def ids_in(path: Path) -> list[str]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        return [row["id"] for row in csv.DictReader(file)]


# ---- what may be written to ------------------------------------------------------------------------------
@pytest.mark.parametrize("kind", KINDS)
def test_done_again_it_replaces_its_own_files(batch: Batch, tmp_path: Path, kind: Any) -> None:
    where = tmp_path / "x"
    batch.export(kind, where)
    first = files(where)
    assert first
    batch.export(kind, where)
    if kind not in ("sqlite", "parquet", "xlsx"):  # a workbook says when it was made
        assert files(where) == first
    assert files(where).keys() == first.keys()


def test_a_hidden_file_of_another_is_one_too(batch: Batch, tmp_path: Path) -> None:
    for hidden in (".git/config", ".notes"):
        where = tmp_path / hidden.replace("/", "")
        (where / hidden).parent.mkdir(parents=True)
        (where / hidden).write_text("precious")
        with pytest.raises(UsageError, match="is not of an export of this batch"):
            batch.export("csv", where)
        assert [path for path in where.rglob("*") if path.is_file()] == [where / hidden]


def test_our_directory_is_no_link_to_anothers(batch: Batch, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "staged-0a1b2c3d").mkdir(parents=True)
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / ".engine-export").symlink_to(elsewhere)
    with pytest.raises(UsageError, match="is a link"):
        batch.export("csv", tmp_path / "x")
    assert os.listdir(elsewhere) == ["staged-0a1b2c3d"]


def test_only_what_an_export_stages_is_swept(batch: Batch, tmp_path: Path) -> None:
    own = tmp_path / "x" / ".engine-export"
    (own / "staged-by-hand").mkdir(parents=True)
    (own / "staged-0a1b2c3d").mkdir()
    batch.export("csv", tmp_path / "x")
    assert (own / "staged-by-hand").is_dir()
    assert not (own / "staged-0a1b2c3d").exists()


def test_a_list_of_an_earlier_version_is_gone_on_from(batch: Batch, tmp_path: Path) -> None:
    header = tmp_path / "x" / ".engine-export" / "csv.json"
    batch.export("csv", tmp_path / "x")
    assert str(tmp_path) not in header.read_text()
    for by_path in (False, True):  # a queue without an id was called by its path
        path = os.path.realpath(batch.root)
        old = json.loads(header.read_bytes()) | {"queue": path} | ({"batch": path} if by_path else {})
        header.write_text(json.dumps(old))
        assert batch.export("csv", tmp_path / "x", new=True).resumed
        batch.export("csv", tmp_path / "x")
        assert path not in header.read_text()


@pytest.mark.parametrize("name", ["../precious", "a/../../precious", "/{root}/precious"])
def test_a_list_names_nothing_outside(batch: Batch, tmp_path: Path, name: str) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    batch.export("csv", tmp_path / "x")
    with open(tmp_path / "x" / ".engine-export" / "csv.files", "a") as listed:
        listed.write(json.dumps(name.format(root=tmp_path)) + "\n")
    batch.export("csv", tmp_path / "x")
    assert precious.read_text() == "mine"


def test_a_file_that_comes_meanwhile_stays(
    batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def then(listed: FileList) -> None:
        checked(listed)
        (tmp_path / "x" / "videos.csv").write_text("mine")

    checked = FileList.check
    monkeypatch.setattr(FileList, "check", then)
    with pytest.raises(UsageError, match="not of an export of this batch"):
        batch.export("csv", tmp_path / "x")
    assert (tmp_path / "x" / "videos.csv").read_text() == "mine"


def test_several_kinds_share_a_place(batch: Batch, tmp_path: Path) -> None:
    for _ in range(2):
        for kind in ("csv", "txt", "srt"):
            batch.export(kind, tmp_path / "x")  # type: ignore[arg-type]
    assert len(files(tmp_path / "x")) == 11


def test_anything_else_is_refused_and_stays(batch: Batch, tmp_path: Path) -> None:
    where = tmp_path / "x"
    where.mkdir()
    (where / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"mine\.txt"):
        batch.export("csv", where)
    assert os.listdir(where) == ["mine.txt"]
    (where / "mine.txt").unlink()
    batch.export("txt", where)
    (where / "Someone/notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"notes\.txt"):
        batch.export("txt", where)
    assert (where / "Someone/notes.txt").read_text() == "mine"


def test_the_export_of_another_batch_is_refused(batch: Batch, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Batch(canned_batch.batch(tmp_path / "other", some(2)).root)
    other.export("csv", tmp_path / "x")
    before = files(tmp_path / "x")
    for kind in ("csv", "txt"):
        with pytest.raises(UsageError, match="another batch"):
            batch.export(kind, tmp_path / "x")  # type: ignore[arg-type]
    assert files(tmp_path / "x") == before


@pytest.mark.parametrize("place", ["queue", "queue/x", "out", "out/x"])
def test_not_among_the_queue_or_the_transcripts(batch: Batch, tmp_path: Path, place: str) -> None:
    with pytest.raises(UsageError, match="lies in"):
        batch.export("csv", tmp_path / place)


def test_a_file(batch: Batch, tmp_path: Path) -> None:
    for name, kind in (("a.csv", "csv"), ("b.jsonl", "jsonl"), ("c.db", "sqlite"), ("d.parquet", "parquet")):
        result = batch.export(kind, tmp_path / name)  # type: ignore[arg-type]
        assert result.files == (name,)
        assert (tmp_path / name).is_file()
        batch.export(kind, tmp_path / name)  # type: ignore[arg-type]
    (tmp_path / "mine.csv").write_text("mine")
    with pytest.raises(UsageError, match=r"mine\.csv"):
        batch.export("csv", tmp_path / "mine.csv")
    assert (tmp_path / "mine.csv").read_text() == "mine"
    with pytest.raises(UsageError, match="this is a file"):
        batch.export("txt", tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("kind", "name", "why"),
    [
        ("csv", "table.xlsx", r"ends in \.csv, or a directory; --to xlsx -o table\.xlsx"),
        ("xlsx", "table.csv", r"ends in \.xlsx"),
        ("jsonl", "lines.json", r"\.jsonl or \.ndjson, or a directory"),
        ("parquet", "data.csv", r"ends in \.parquet"),
        ("txt", "all.txt", "one file a video: give a directory"),
        ("csv", "-", "stdout"),
    ],
)
def test_a_directory_is_not_named_like_a_file(
    batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any, name: str, why: str
) -> None:
    place = tmp_path / "exports"
    (place / "old.xlsx").mkdir(parents=True)  # one that is there already stays what it is
    monkeypatch.chdir(place)
    with pytest.raises(UsageError, match=why):
        batch.export(kind, name)
    assert os.listdir(place) == ["old.xlsx"]
    for fine in ("v1.5", "old.xlsx"):
        assert batch.export("csv", fine).files == ("videos.csv",)


def test_two_at_once(batch: Batch, tmp_path: Path) -> None:
    place = LocalPlace(str(tmp_path / "x"), is_file=False)
    with pytest.raises(HeldError, match=rf"another export is writing to .*/x \(pid {os.getpid()}\)") as held:
        batch.export("csv", tmp_path / "x")
    assert held.value.pid == os.getpid()
    place.close()
    batch.export("csv", tmp_path / "x")


def test_files_of_before_that_are_no_more_are_removed(tmp_path: Path) -> None:
    queue = canned_batch.batch(tmp_path, some(3))
    batch, where = Batch(queue.root), tmp_path / "x"
    batch.export("txt", where)
    batch.export("parquet", tmp_path / "p", rows_per_file=1)
    gone = some(3)[0].video_id
    canned_batch.grow(queue, [], without=[gone])
    batch.export("txt", where, flat=True)
    assert len(files(where)) == 2
    assert not (where / "Someone").exists()
    assert not any(gone in name for name in files(where))
    batch.export("parquet", tmp_path / "p", rows_per_file=1)
    assert sorted(files(tmp_path / "p")) == [
        "README.md", "data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "stats.json",
    ]  # fmt: skip


# ---- only what is new ------------------------------------------------------------------------------------
def test_new_takes_each_row_once(tmp_path: Path) -> None:
    queue = canned_batch.batch(tmp_path, some(4))
    batch, where = Batch(queue.root), tmp_path / "x"
    first = batch.export("csv", where, new=True)
    assert (first.resumed, first.rows) == (False, 4)
    assert batch.export("csv", where, new=True).rows == 0
    canned_batch.grow(queue, some(3, 4))
    second = batch.export("csv", where, new=True)
    assert (second.resumed, second.rows, second.files) == (True, 3, ("videos-0002.csv",))
    assert ids_in(where / "videos.csv") + ids_in(where / "videos-0002.csv") == [v.video_id for v in some(7)]
    assert batch.export("csv", where, new=True).rows == 0
    batch.export("csv", where)
    assert list(files(where)) == ["videos.csv"]


def test_new_after_a_retry_takes_what_became_final_again(tmp_path: Path) -> None:
    """The manifest was made anew by the retry: no row of before comes again."""
    found = some(4)
    queue = canned_batch.batch(tmp_path, [*found[:3], *some(1, 3, kind=Kind.NETWORK)])
    batch = Batch(queue.root)
    for kind in ("sqlite", "jsonl"):
        batch.export(kind, tmp_path / kind)  # type: ignore[arg-type]
    again = some(1, 3, finished_at=AT.format(59), input={"added": "column"})
    canned_batch.grow(queue, again, without=[again[0].video_id])
    for kind in ("sqlite", "jsonl"):
        assert batch.export(kind, tmp_path / kind, new=True).rows == 1  # type: ignore[arg-type]
    (line,) = (tmp_path / "jsonl/videos-0002.jsonl").read_text().splitlines()
    assert json.loads(line)["added"] == "column"
    with sqlite3.connect(tmp_path / "sqlite/videos.db") as db:
        rows = dict(db.execute("SELECT id, status FROM videos"))
        assert rows == dict.fromkeys((video.video_id for video in found), "ok")
        assert db.execute("SELECT added FROM videos WHERE added IS NOT NULL").fetchall() == [("column",)]
        db.execute("INSERT INTO videos_fts (videos_fts) VALUES ('integrity-check')")
        (hits,) = db.execute("SELECT count(*) FROM videos_fts WHERE videos_fts MATCH 'hello'").fetchone()
        assert hits == 4


def test_new_of_a_data_set_adds_files_and_counts_all(tmp_path: Path) -> None:
    queue = canned_batch.batch(tmp_path, some(4))
    batch, where = Batch(queue.root), tmp_path / "x"
    batch.export("parquet", where)
    canned_batch.grow(queue, some(3, 4))
    result = batch.export("parquet", where, new=True, rows_per_file=2)
    assert result.files == (
        "data/train-0002-00000-of-00002.parquet", "data/train-0002-00001-of-00002.parquet",
    )  # fmt: skip
    stats = json.loads((where / "stats.json").read_text())
    assert (stats["videos"], stats["ok"], stats["languages"]) == (7, 7, {"en": 7})
    assert len(stats["files"]) == 3


# ---- interrupted -----------------------------------------------------------------------------------------
def half(where: Path, meant: dict[str, bytes], kind: str) -> list[str]:
    """Files that are not as they should be under their names."""
    if not where.exists():
        return []
    exact = kind not in ("sqlite", "parquet")
    return [
        name
        for name, data in files(where).items()
        if len(data) != len(meant[name]) or (exact and data != meant[name])
    ]


def deaths(tmp_path: Path, kind: Any) -> tuple[int, list[str]]:
    """Every step to disk in turn is the last: how many there are, and what was half there after any of them."""
    queue = canned_batch.batch(tmp_path, some(3))
    batch = Batch(queue.root)
    batch.export(kind, tmp_path / "expected")
    meant = files(tmp_path / "expected")
    found: list[str] = []
    number = 0
    for number, _ in every_step(lambda: batch.export(kind, tmp_path / "x")):
        found += half(tmp_path / "x", meant, kind)
        batch.export(kind, tmp_path / "x")  # the next one replaces whatever was left
        assert files(tmp_path / "x").keys() == meant.keys()
        assert no_staged(tmp_path / "x")
        if number % 2:
            shutil.rmtree(tmp_path / "x")  # every other time into a place that is new
    return number, found


@pytest.mark.parametrize("kind", ["csv", "txt", "sqlite", "parquet"])
def test_death_at_any_step_leaves_nothing_half(tmp_path: Path, kind: Any, no_fsync: None) -> None:
    steps, found = deaths(tmp_path, kind)
    assert steps > 5
    assert found == []


def test_a_place_that_writes_under_the_name_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_fsync: None
) -> None:
    def give(self: LocalPlace, given: Any) -> None:
        for staged, name in given:
            data = Path(staged).read_bytes()
            fd = disk.open_append(self._path(name), 0o644)
            try:
                disk.write_all(fd, data[:10])
                disk.write_all(fd, data[10:])
                disk.truncate(fd, len(data))
            finally:
                os.close(fd)

    monkeypatch.setattr(LocalPlace, "give", give)
    with pytest.raises((AssertionError, UsageError, ValueError)):
        assert deaths(tmp_path, "csv")[1] == []


WORK = """
import sys, time
from engine.export import exporting
from engine.export import writers
from engine import Batch
exporting.FEW_ROWS = 0
add = {writer}.add
def slow(self, data, rows):
    add(self, data, rows)
    print("added", flush=True)
    time.sleep(600)
{writer}.add = slow
Batch(sys.argv[1]).export(sys.argv[2], sys.argv[3], processes=2)
"""


@pytest.mark.crash
@pytest.mark.parametrize(
    ("kind", "writer"),
    [("csv", "writers._OneFile"), ("txt", "writers._TextFiles"), ("sqlite", "writers._Database")],
)
def test_kill_9(tmp_path: Path, kind: Any, writer: str) -> None:
    """The files of before are as they were, nothing is half there, and no process stays."""
    queue = canned_batch.batch(tmp_path, some(400))
    batch, where = Batch(queue.root), tmp_path / "x"
    batch.export(kind, where)
    before = files(where)
    canned_batch.grow(queue, some(300, 400))
    child = subprocess.Popen(
        [sys.executable, "-c", WORK.format(writer=writer), queue.root, kind, str(where)],
        stdout=subprocess.PIPE,
        env=environment(),
        start_new_session=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"added\n"
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait(HANG_S) == -signal.SIGKILL
    assert child.stdout.read() == b""  # its children have the same pipe and end when their input does
    child.stdout.close()
    assert files(where) == before
    result = batch.export(kind, where, new=True)  # what was interrupted was a full one: all of it again
    assert (result.resumed, result.rows) == (False, 700)
    assert no_staged(where)


def test_a_full_disk_is_said_so(batch: Batch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    batch.export("csv", tmp_path / "x")
    before = files(tmp_path / "x")
    monkeypatch.setattr(disk, "_write", full)
    with pytest.raises(DiskError):
        batch.export("csv", tmp_path / "x")
    assert files(tmp_path / "x") == before


@pytest.mark.parametrize("kind", ["csv", "txt", "sqlite", "parquet"])
def test_transcripts_that_go_meanwhile_replace_nothing(tmp_path: Path, kind: Any) -> None:
    """As when their disk is unmounted: the export of before stays, and the next one is whole."""
    batch = Batch(canned_batch.batch(tmp_path, some(300)).root)
    where = tmp_path / "x"
    batch.export(kind, where)
    before = files(where)

    def gone(what: str, done: int, total: int) -> None:
        if what == "exported" and (tmp_path / "out").exists():
            (tmp_path / "out").rename(tmp_path / "away")

    with pytest.raises(DiskError, match="is not there"):
        batch.export(kind, where, on_progress=gone)
    assert files(where) == before
    (tmp_path / "away").rename(tmp_path / "out")
    batch.export(kind, where)
    assert files(where).keys() == before.keys()


def test_no_directory_is_made_in_the_root(batch: Batch) -> None:
    for where in ("/nope-of-engine/deep/x.csv", "/nope-of-engine", "/nope-of-engine.csv"):
        with pytest.raises(UsageError, match="nothing in the root directory"):
            batch.export("csv", where)
    assert not [name for name in os.listdir("/") if "nope-of-engine" in name]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("table.csv", "did you mean `--export csv:table.csv`?"),
        ("Table.XLSX", "did you mean `--export xlsx:Table.XLSX`?"),
        ("texts.srt", "did you mean `--export srt:texts`?"),
        ("nonsense", "no kind of export 'nonsense': choose from csv"),
    ],
)
def test_a_place_without_a_kind(text: str, meant: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_run_export(text)
    assert meant in str(raised.value)
