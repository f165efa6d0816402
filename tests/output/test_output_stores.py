"""Which way records are stored: fixed by the first run, and all that follows from it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from audited import intact
from support import add, batch, ids, worked

from engine import Batch
from engine.cli import invoke
from engine.errors import UsageError
from engine.output import publisher, shard_output, stores
from engine.page import downloads
from engine.queue.directory import Queue
from engine.queue.making import make_queue
from engine.settings import Frozen, freeze, frozen_or

NAMES = ids(4)
REAL = ("dQw4w9WgXcQ", "jNQXAC9IVRw")  # a file name must look like an id
SHARDS = ("--store", "shards")
NOWHERE = ("--proxy", "http://127.0.0.1:9", "--limit", "1", "--progress", "none")


def fixed(root: Path, store: str) -> Queue:
    """A queue with the videos, whose first run has fixed this store."""
    queue = make_queue(str(root / "q"))
    add(queue, NAMES)
    (root / "o").mkdir()
    formats = () if store == "shards" else ("md",)
    freeze(queue, Frozen(str(root / "o"), formats=formats, store=store), frozenset())  # type: ignore[arg-type]
    return queue


def test_a_queue_with_files_stays_format_1_and_says_nothing_of_stores(tmp_path: Path) -> None:
    queue = fixed(tmp_path, "files")
    assert (tmp_path / "q" / "FORMAT").read_text() == "1\n"
    assert "store" not in queue.read_batch()["frozen"]


def test_a_queue_with_shards_is_format_2_for_good(tmp_path: Path) -> None:
    queue = fixed(tmp_path, "shards")
    assert (tmp_path / "q" / "FORMAT").read_text() == "2\n"
    assert queue.read_batch()["frozen"]["store"] == "shards"
    assert freeze(queue, Frozen(str(tmp_path / "o")), frozenset()).store == "shards"
    assert make_queue(queue.root).read_batch()["frozen"]["formats"] == []
    assert (tmp_path / "q" / "FORMAT").read_text() == "2\n"


@pytest.mark.parametrize("store", ["files", "shards"])
def test_another_store_later_is_refused_with_both(tmp_path: Path, store: str) -> None:
    queue = fixed(tmp_path, store)
    other = "files" if store == "shards" else "shards"
    with pytest.raises(UsageError, match=f"--store: this queue was begun with {store}, not {other}"):
        frozen_or(queue, Frozen(str(tmp_path / "o"), store=other), frozenset({"store"}))  # type: ignore[arg-type]


def test_other_formats_are_refused_with_shards(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ("-q", str(tmp_path / "q"), "-o", str(tmp_path / "o"))
    assert invoke(["run", NAMES[0], *place, *SHARDS, "-f", "srt", *NOWHERE]) == 2
    assert "engine export --to srt" in capsys.readouterr().err
    assert not (tmp_path / "q").exists()
    fixed(tmp_path, "shards")
    assert invoke(["run", *place, "-f", "srt", *NOWHERE]) == 2
    assert "engine export --to srt" in capsys.readouterr().err


def test_shards_of_another_queue_are_refused_before_anything_is_fixed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = worked(tmp_path, 4, store="shards")
    place = ("-q", str(tmp_path / "q2"), "-o", str(tmp_path / "out"))
    assert invoke(["run", NAMES[0], *place, *SHARDS, *NOWHERE]) == 2
    assert "shards of another queue" in capsys.readouterr().err
    assert Queue(str(tmp_path / "q2")).read_batch()["frozen"] is None
    assert (tmp_path / "q2" / "FORMAT").read_text() == "1\n"
    intact(first.root)


@pytest.mark.parametrize(
    ("store", "kind"), [("files", publisher.Output), ("shards", shard_output.ShardOutput)]
)
def test_who_writes_gets_the_store_that_was_fixed(tmp_path: Path, store: str, kind: type) -> None:
    queue = batch(tmp_path, 4, store=store)
    frozen = Frozen.from_json(queue.read_batch()["frozen"])
    found = stores.open_store(frozen, "run.0.1", queue.read_batch()["id"])
    assert isinstance(found, kind)
    found.close()


def test_the_page_offers_all_formats_of_a_record_in_a_shard(tmp_path: Path) -> None:
    made = Batch(worked(tmp_path, 4, store="shards").root)
    row = next(made.rows())
    assert downloads.formats_of(made, row) == ["md", "txt", "srt", "vtt", "json"]
    record = downloads.content_of(made, row, "json")
    assert record is not None
    assert json.loads(record)["video_id"] == row.video_id
    for suffix in ("md", "txt", "srt", "vtt"):
        assert f"Hello {row.video_id}".encode() in (downloads.content_of(made, row, suffix) or b"")
    assert downloads.content_of(made, row, "exe") is None


def test_an_import_goes_into_shards(tmp_path: Path) -> None:
    queue = fixed(tmp_path, "shards")
    folder = tmp_path / "others"
    folder.mkdir()
    for name in REAL:
        said = [{"text": "imported", "start": 0.0, "duration": 1.0}]
        (folder / f"{name}.json").write_text(json.dumps(said))
    assert invoke(["import", str(folder), "-q", queue.root, "-o", str(tmp_path / "o")]) == 0
    intact(queue.root)
    for name in REAL:
        assert Batch(queue.root).record(name).transcript.cues[0].text == "imported"
    assert all(row.files["json"].startswith("shards/") for row in Batch(queue.root).rows())
