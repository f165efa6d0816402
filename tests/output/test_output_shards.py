"""Shards: a frame a record, durable before it is named, cut off behind the last that is; the index; one reader."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import recount
from hypothesis import given
from hypothesis import strategies as st
from support import Crash, Hand, batch, dying_at, every_step, finish, ids, output_of, some_fail, worked

from engine import Batch, verify
from engine.errors import NoRecordError, UsageError
from engine.model import Cue, Kind, Metadata, Record, Transcript
from engine.output import shard_index, shards, stored
from engine.output.formats import from_json
from engine.output.publisher import TakenError, intact
from engine.output.shard_output import ShardFile, ShardOutput
from engine.output.shards import Frame
from engine.queue import marker
from engine.queue.directory import Queue
from engine.queue.job_state import ChunkState
from engine.queue.segments import Chunk
from engine.queue.sweeping import sweep_queue
from engine.storage import disk, zstd
from engine.storage.fsyncs import Fsyncs
from engine.storage.timestamps import utc

BATCH, OTHER = "a" * 32, "b" * 32
CHUNK, OTHER_CHUNK = Chunk(2, 17, 100, 16), Chunk(2, 18, 116, 16)
SHARD = "shards/020017.zst"
NAMES = ids(6)


def a_record(name: str, text: str = "Hello") -> Record:
    transcript = Transcript("en", "English", False, (Cue(0.0, 1.0, text),))
    return Record(name, Metadata(title="A title"), transcript, {"row": 1}, utc(0), batch=BATCH)


@pytest.fixture
def root(tmp_path: Path) -> str:
    found = tmp_path / "out"
    found.mkdir()
    for name in (BATCH, OTHER):
        marker.write(str(found), marker.Note(name))
    return str(found)


@pytest.fixture
def output(root: str) -> Iterator[ShardOutput]:
    found = ShardOutput(root, "run.0.1", BATCH)
    found.open_chunk(CHUNK, ChunkState())
    yield found
    found.close()


def row_of(name: str, published: tuple[dict[str, str], dict[str, str]]) -> dict[str, object]:
    return {"video_id": name, "status": "ok", "files": published[0], "sha256": published[1]}


def state_of(*rows: dict[str, object]) -> ChunkState:
    state = ChunkState()
    for row in rows:
        state.job(str(row["video_id"])).final = row
    return state


# ---- places and frames -----------------------------------------------------------------------------------
@given(st.integers(0, 10**16), st.integers(0, 10**14), st.integers(0, 10**9))
def test_a_place_is_read_as_it_was_written(shard: int, offset: int, length: int) -> None:
    frame = Frame(shard, offset, length)
    assert Frame.parse(str(frame)) == frame


@pytest.mark.parametrize(
    "place",
    ["", "shards/000000.zst", "shards/000000.zst#1", "shards/00000.zst#1+2", "shards/000000.zst#01+2",
     "shards/../000000.zst#1+2", "/shards/000000.zst#1+2", "shards/000000.zst#1+2\n", "shards/0000000.zst#1+2"],
)  # fmt: skip
def test_what_is_no_place(place: str, root: str) -> None:
    assert Frame.parse(place) is None
    assert stored.read(root, place) is None
    assert not stored.is_there(root, place)


@given(st.binary(max_size=2000))
def test_a_frame_holds_what_was_put_in_and_is_exactly_one(data: bytes) -> None:
    frame = zstd.compress(data)
    assert zstd.decompress(frame, 2000) == data
    for wrong in (frame[:-1], frame + b"\0", frame + frame, b"", shards.skippable(data)):
        assert zstd.decompress(wrong, 2000) in (None, b"")
    if data:
        assert zstd.decompress(frame, len(data) - 1) is None


# ---- publishing ------------------------------------------------------------------------------------------
def test_a_record_is_read_back_from_its_place(output: ShardOutput) -> None:
    published = [output.publish(a_record(name, name), (), CHUNK) for name in NAMES]
    for name, (files, sums) in zip(NAMES, published, strict=True):
        assert files["json"].startswith(SHARD + "#")
        data = stored.read(output.root, files["json"])
        assert data is not None
        assert from_json(data).transcript.cues[0].text == name
        assert intact(output.root, row_of(name, (files, sums)))
        assert not intact(output.root, row_of(name, (files, {"json": "0" * 64})))
    whole = Path(output.root, SHARD).read_bytes()
    lines = zstd.zstd.decompress(whole).splitlines()  # as any zstd program unpacks it
    assert [json.loads(line)["video_id"] for line in lines] == NAMES


def test_a_frame_is_durable_before_publish_returns(
    output: ShardOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    for name in ("_pwrite", "_fdatasync", "_fsync"):
        real = getattr(disk, name)
        monkeypatch.setattr(disk, name, lambda *a, n=name, r=real: (steps.append(n), r(*a))[1])
    output.publish(a_record(NAMES[0]), (), CHUNK)
    # The header and the shard's name are durable before the first frame is written.
    assert steps == ["_pwrite", "_fdatasync", "_fsync", "_pwrite", "_fdatasync"]


def test_threads_share_an_fsync_and_after_a_failed_one_nobody_writes(
    root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkdir(os.path.join(root, shards.DIR))
    file = ShardFile(root, 3, BATCH, 0, Fsyncs())
    frames = [file.append(b"frame") for _ in range(3)]
    calls: list[int] = []
    monkeypatch.setattr(disk, "_fdatasync", calls.append)
    threads = [threading.Thread(target=file.sync, args=(frame.end,)) for frame in frames]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1

    def fails(fd: int) -> None:
        calls.append(fd)
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(disk, "_fdatasync", fails)
    frame = file.append(b"frame")
    for _ in range(2):
        with pytest.raises(OSError, match="broken"):
            file.sync(frame.end)
    assert len(calls) == 2
    with pytest.raises(OSError, match="broken"):
        file.append(b"frame")
    file.close()


@pytest.mark.parametrize("failing", ["shard", "its name", "index", "index name"])
def test_after_a_failed_fsync_the_worker_tries_none_again(
    root: str, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """Neither the other threads, which open the shard anew, nor what the main thread does meanwhile."""
    fsynced: list[str] = []
    fails_at = {"shard": 0, "its name": 1, "index": 3, "index name": 4}[failing]

    def fsync(fd: int) -> None:
        fsynced.append(os.path.relpath(os.readlink(f"/proc/self/fd/{fd}"), root))
        if len(fsynced) == fails_at + 1:
            raise OSError(errno.EIO, "broken")

    output = ShardOutput(root, "run.0.1", BATCH)
    for name in ("_fsync", "_fdatasync"):
        monkeypatch.setattr(disk, name, fsync)
    for chunk in (CHUNK, OTHER_CHUNK):
        output.open_chunk(chunk, ChunkState())

    def work() -> None:
        output.publish(a_record(NAMES[0]), (), CHUNK)
        output.sync(output.touched())

    steps = [
        work,
        lambda: output.publish(a_record(NAMES[1]), (), CHUNK),
        lambda: output.publish(a_record(NAMES[2]), (), OTHER_CHUNK),
        lambda: output.sync([b"a line"]),
        lambda: output.sync_names(os.path.join(root, shards.DIR)),
    ]
    for step in steps:
        with pytest.raises(OSError, match="broken") as caught:
            step()
        assert caught.value.filename, "it does not say where"
    expected = [SHARD, shards.DIR, SHARD, f"{shards.DIR}/index", shards.DIR]
    assert fsynced == expected[: fails_at + 1]
    output.close()


def test_a_failed_write_leaves_the_shard_as_it_was(
    output: ShardOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    output.publish(a_record(NAMES[0]), (), CHUNK)
    before = Path(output.root, SHARD).read_bytes()
    real = os.pwrite

    def full(fd: int, data: bytes, offset: int) -> int:
        real(fd, data[: len(data) // 2], offset)
        raise OSError(errno.ENOSPC, "no room")

    monkeypatch.setattr(disk, "_pwrite", full)
    with pytest.raises(OSError, match="no room"):
        output.publish(a_record(NAMES[1]), (), CHUNK)
    assert Path(output.root, SHARD).read_bytes() == before


@pytest.mark.parametrize("tail", [b"", b"torn", b"\0" * 5000])
def test_who_takes_a_chunk_over_cuts_off_what_no_row_names(output: ShardOutput, tail: bytes) -> None:
    kept = row_of(NAMES[0], output.publish(a_record(NAMES[0]), (), CHUNK))
    whole = Path(output.root, SHARD).read_bytes()
    output.publish(a_record(NAMES[1]), (), CHUNK)
    output.sync(output.touched())
    with open(Path(output.root, SHARD), "ab") as file:
        file.write(tail)
    successor = ShardOutput(output.root, "run.0.2", BATCH)
    successor.open_chunk(CHUNK, state_of(kept))
    assert Path(output.root, SHARD).read_bytes() == whole
    successor.sync(successor.touched())
    assert shard_index.find(output.root, NAMES[1]) is None, "the index names what is gone"
    assert shard_index.find(output.root, NAMES[0]) == kept["files"]["json"]  # type: ignore[index]
    files, _ = successor.publish(a_record(NAMES[2]), (), CHUNK)
    assert Frame.parse(files["json"]).offset == len(whole)  # type: ignore[union-attr]
    successor.close()


def test_the_index_forgets_a_frame_before_it_is_cut_off(output: ShardOutput) -> None:
    """Who takes over next sees no sign of a frame that was cut off, so it could not tell that the index names it."""
    kept = row_of(NAMES[0], output.publish(a_record(NAMES[0]), (), CHUNK))
    output.publish(a_record(NAMES[1]), (), CHUNK)
    output.sync(output.touched())  # the row of the second one is lost
    for number in (2, 3):  # the first of them dies before it syncs anything
        ShardOutput(output.root, f"run.0.{number}", BATCH).open_chunk(CHUNK, state_of(kept))
    assert shard_index.find(output.root, NAMES[1]) is None
    assert shard_index.find(output.root, NAMES[0]) == kept["files"]["json"]  # type: ignore[index]


@pytest.mark.parametrize(
    "start", [b"", shards.header(BATCH)[:9], bytes(20), shards.header(BATCH)[:4] + bytes(8)]
)
def test_a_header_that_a_crash_took_is_written_again(root: str, start: bytes) -> None:
    os.mkdir(os.path.join(root, shards.DIR))
    Path(root, SHARD).write_bytes(start)
    output = ShardOutput(root, "run.0.1", BATCH)
    output.open_chunk(CHUNK, ChunkState())
    files, _ = output.publish(a_record(NAMES[0]), (), CHUNK)
    output.close()
    assert Path(root, SHARD).read_bytes().startswith(shards.header(BATCH))
    assert stored.read(root, files["json"]) is not None


@pytest.mark.parametrize("content", [b"somebody's", shards.header(OTHER) + zstd.compress(b"x"), b"\0" * 500])
def test_a_file_of_somebody_else_is_left_alone_unless_it_may_be_replaced(root: str, content: bytes) -> None:
    os.mkdir(os.path.join(root, shards.DIR))
    Path(root, SHARD).write_bytes(content)
    output = ShardOutput(root, "run.0.1", BATCH)
    output.open_chunk(CHUNK, ChunkState())
    with pytest.raises(TakenError, match=SHARD):
        output.publish(a_record(NAMES[0]), (), CHUNK)
    assert Path(root, SHARD).read_bytes() == content
    output.close()
    output = ShardOutput(root, "run.0.2", BATCH, replace=True)
    output.open_chunk(CHUNK, ChunkState())
    files, _ = output.publish(a_record(NAMES[0]), (), CHUNK)
    output.close()
    assert stored.read(root, files["json"]) is not None


def test_nothing_is_written_through_a_link(root: str, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", os.path.join(root, shards.DIR))
    with pytest.raises(UsageError, match="symbolic link"):
        ShardOutput(root, "run.0.1", BATCH)


# ---- the index -------------------------------------------------------------------------------------------
def test_the_last_line_of_a_video_counts(output: ShardOutput) -> None:
    first, _ = output.publish(a_record(NAMES[0]), (), CHUNK)
    second, _ = output.publish(a_record(NAMES[0], "again"), (), CHUNK)
    output.sync(output.touched())
    assert shard_index.find(output.root, NAMES[0]) == second["json"] != first["json"]
    output.remove(NAMES[0], (row_of(NAMES[0], (second, {})),))
    output.remove(NAMES[1])
    output.sync(output.touched())
    assert [shard_index.find(output.root, name) for name in NAMES[:2]] == [None, None]


@pytest.mark.parametrize("tail", [b"torn", NAMES[0].encode() + b" shards/000000.zst#1+2 00000000\n"])
def test_a_damaged_line_counts_as_missing(output: ShardOutput, tail: bytes) -> None:
    files, _ = output.publish(a_record(NAMES[0]), (), CHUNK)
    output.sync(output.touched())
    path = Path(shard_index.path_of(output.root))
    path.write_bytes(path.read_bytes() + tail)
    assert shard_index.find(output.root, NAMES[0]) == files["json"]
    more, _ = output.publish(a_record(NAMES[1]), (), CHUNK)
    output.sync(output.touched())
    assert shard_index.find(output.root, NAMES[1]) == more["json"]


def test_shards_of_another_queue_are_refused(output: ShardOutput) -> None:
    output.publish(a_record(NAMES[0]), (), CHUNK)
    output.sync(output.touched())
    with pytest.raises(UsageError, match="shards of another queue"):
        ShardOutput(output.root, "run.0.3", OTHER)


# ---- whole batches ---------------------------------------------------------------------------------------
def sound(queue: Queue) -> verify.Audit:
    recount.check_files(Path(queue.root), Path(output_of(queue)))
    found = verify.audit(queue.root)
    assert found.ok, found.text()
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Queue:
    return worked(tmp_path_factory.mktemp("shards"), 60, some_fail, store="shards")


def test_a_batch_lies_in_a_shard_a_chunk_and_an_index(finished: Queue) -> None:
    assert sound(finished).notes == []
    names = sorted(os.listdir(os.path.join(output_of(finished), shards.DIR)))
    assert names == ["000000.zst", "000001.zst", "000002.zst", "000003.zst", "index"]
    assert Path(finished.root, "FORMAT").read_text() == "2\n"


def test_all_readers_read_it(finished: Queue, tmp_path: Path) -> None:
    batch = Batch(finished.root)
    rows = list(batch.rows())
    for row in rows:
        if row.status == "ok":
            assert batch.record(row.video_id).transcript.cues[0].text == f"Hello {row.video_id}"
        else:
            with pytest.raises(NoRecordError):
                batch.record(row.video_id)
    good = {row.video_id for row in rows if row.status == "ok"}
    batch.export("jsonl", tmp_path / "rows.jsonl")
    made = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_bytes().splitlines()]
    assert {row["id"] for row in made if row["text"]} == good
    batch.export("txt", tmp_path / "texts")
    assert len(list((tmp_path / "texts").rglob("*.txt"))) == len(good)
    assert {hit.video_id for hit in batch.search("hello", limit=None)} == good


@pytest.mark.parametrize("torn", [False, True])
def test_death_at_every_step_loses_nothing(tmp_path: Path, no_fsync: None, torn: bool) -> None:
    """A worker dies at each step of its work on a chunk; the next one finishes it, and the audit finds nothing."""
    step = 0
    while True:
        queue = batch(tmp_path / str(step), 5, store="shards")
        hand = None
        with dying_at(step, torn=torn):
            try:
                hand = Hand(queue, lambda name: Kind.PRIVATE if name == NAMES[1] else "ok")
                hand.work()
                hand.close()
                died = False
            except Crash:
                died = True
        if not died:
            assert step > 20
            break
        if hand is not None:
            hand.die()
        sweep_queue(queue.root)
        finish(queue, lambda name: Kind.PRIVATE if name == NAMES[1] else "ok")
        sound(queue)
        with pytest.raises(NoRecordError):
            Batch(queue.root).record(NAMES[1])
        step += 1


def test_a_lost_frame_is_found_before_its_row_is_believed(tmp_path: Path) -> None:
    """As a disk that lied leaves it: the journal line is there, not synced, and the frame is not."""
    queue = batch(tmp_path, 5, store="shards")
    hand = Hand(queue)
    hand.work(sync=False, move=False)
    hand.die()
    path = Path(output_of(queue), "shards", "000000.zst")
    os.truncate(path, path.stat().st_size - 3)
    finish(queue)
    sound(queue)
    assert len(recount.manifest(Path(queue.root))) == 5
    reopened = [body["job"] for verb, body in recount.journal_lines(Path(queue.root)) if verb == "reopen"]
    assert reopened == [ids(5)[4]]


def test_an_index_that_was_cut_off_goes_on(root: str) -> None:
    """A crash while the index is written leaves each line whole or missing, and the next writer goes on."""
    os.mkdir(os.path.join(root, shards.DIR))
    line = shard_index.line(NAMES[0], "shards/000000.zst#87+5")
    for number, died in every_step(lambda: shard_index.append(root, BATCH, [line]), torn=True):
        shard_index.append(root, BATCH, [shard_index.line(NAMES[1], f"shards/000000.zst#{number + 87}+5")])
        assert shard_index.find(root, NAMES[1]) == f"shards/000000.zst#{number + 87}+5"
        assert shard_index.find(root, NAMES[0]) in (None, "shards/000000.zst#87+5")
        if died:
            os.unlink(shard_index.path_of(root))
    assert shard_index.find(root, NAMES[0]) == "shards/000000.zst#87+5"
