"""Repairing and auditing shards: what no row names goes, the rest keeps its place, the index is made again."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import recount
from audited import intact
from support import Crash, damage, dying_at, finish, ids, output_of, worked

from engine import Batch, verify
from engine.errors import NoRecordError
from engine.model import Kind
from engine.output import shard_index, shards
from engine.output.shards import Frame
from engine.queue.directory import Queue
from engine.queue.marker import id_of
from engine.queue.segments import Chunk, split_chunks
from engine.recovery.repair import repair
from engine.recovery.requeue import reopen
from engine.recovery.shard_repair import ShardRepair
from engine.recovery.startup import recover
from engine.storage import zstd
from engine.storage.locks import take_or_say_who

pytestmark = pytest.mark.usefixtures("no_fsync")
NAMES = ids(12)
SUPERSEDED = "in shards that no ok row names"


def shard_of(queue: Queue, number: int = 0) -> Path:
    return Path(shards.path_of(output_of(queue), number))


def frames(queue: Queue) -> dict[str, Frame]:
    found = {}
    for row in recount.manifest(Path(queue.root)):
        frame = Frame.parse(row["files"].get("json", ""))
        if frame is not None:
            found[row["video_id"]] = frame
    return found


def superseded(queue: Queue) -> bool:
    return any(SUPERSEDED in note for note in verify.audit(queue.root).notes)


def with_a_superseded_record(root: Path) -> Queue:
    """A batch in which the second record of a shard is of a job that was put back and is absent now."""
    queue = worked(root, 12, store="shards")
    chunk = next(iter(_chunks(queue)))
    os.rename(queue.filed_token(chunk), queue.deferred_token(chunk))
    os.unlink(queue.checkpoint)
    reopen(queue, chunk, {NAMES[1]})
    finish(queue, lambda name: Kind.PRIVATE)
    return queue


def _chunks(queue: Queue) -> list[Chunk]:
    return list(split_chunks(queue.segment(0)))


def test_a_superseded_record_counts_as_absent_and_goes_with_a_repair(tmp_path: Path) -> None:
    queue = with_a_superseded_record(tmp_path)
    assert superseded(queue)
    assert verify.audit(queue.root).ok
    with pytest.raises(NoRecordError):
        Batch(queue.root).record(NAMES[1])
    before, size = frames(queue), shard_of(queue).stat().st_size
    assert NAMES[1].encode() in zstd.zstd.decompress(shard_of(queue).read_bytes())
    done = repair(queue.root)
    assert [text for text in done.did if "superseded" in text], done.did
    assert intact(queue.root).notes == []
    assert frames(queue) == before, "a row changed"
    assert shard_of(queue).stat().st_size == size
    whole = zstd.zstd.decompress(shard_of(queue).read_bytes())
    assert NAMES[1].encode() not in whole
    assert len(whole.splitlines()) == 11
    assert repair(queue.root).did == []


def test_a_repair_of_shards_that_is_cut_off_can_be_done_again(tmp_path: Path) -> None:
    queue = with_a_superseded_record(tmp_path)
    rows = recount.manifest(Path(queue.root))
    kept, index = shard_of(queue).read_bytes(), Path(shard_index.path_of(output_of(queue))).read_bytes()

    def act() -> None:
        list(ShardRepair(output_of(queue), id_of(queue.read_batch()), iter(rows)).run())

    for step in range(20):
        shard_of(queue).write_bytes(kept)
        Path(shard_index.path_of(output_of(queue))).write_bytes(index)
        with dying_at(step, torn=True):
            try:
                act()
                died = False
            except Crash:
                died = True
        act()
        assert not superseded(queue)
        if not died:
            break
    assert 2 < step < 19


@pytest.mark.parametrize(
    "harm", [os.unlink, lambda path: damage(path, 150), lambda path: os.truncate(path, 300)]
)
def test_a_wrong_index_is_found_and_made_again(tmp_path: Path, harm: Callable[[str], object]) -> None:
    queue = worked(tmp_path, 12, store="shards")
    harm(shard_index.path_of(output_of(queue)))
    found = verify.audit(queue.root)
    assert list(found.totals) == ["wrong index"]
    repair(queue.root)
    intact(queue.root)
    for name in NAMES:
        assert Batch(queue.root).record(name).video_id == name


@pytest.mark.parametrize("harm", ["flip", "cut", "gone"])
def test_damaged_records_are_put_back_and_fetched_again(tmp_path: Path, harm: str) -> None:
    queue = worked(tmp_path, 12, store="shards")
    last = frames(queue)[NAMES[11]]
    if harm == "flip":
        damage(str(shard_of(queue)), last.offset + last.length // 2)
    elif harm == "cut":
        os.truncate(shard_of(queue), last.end - 1)
    else:
        shard_of(queue).unlink()
    lost = 12 if harm == "gone" else 1
    found = verify.audit(queue.root)
    assert found.totals == {"bad file": lost}
    done = repair(queue.root)
    assert len([text for text in done.did if text.startswith("reopened")]) == lost
    with take_or_say_who(queue.run_lock, "run"), take_or_say_who(queue.seed_lock, "seeding"):
        recover(queue)
    finish(queue)
    intact(queue.root)
    for name in NAMES:
        assert Batch(queue.root).record(name).video_id == name


def test_files_of_others_among_the_shards_stay(tmp_path: Path) -> None:
    queue = worked(tmp_path, 12, store="shards")
    directory = shard_of(queue).parent
    (directory / "notes.txt").write_text("mine")
    (directory / "000777.zst").write_bytes(shards.header("f" * 32))
    (directory / "000778.zst").write_bytes(shard_of(queue).read_bytes())  # ours, and no row names it
    found = verify.audit(queue.root)
    assert found.ok
    assert "2 file(s) in the output directory that are not this engine's" in found.notes
    assert superseded(queue)
    repair(queue.root)
    assert sorted(os.listdir(directory)) == ["000000.zst", "000777.zst", "index", "notes.txt"]
    assert not superseded(queue)
