"""What a start repairs: tokens lost or doubled by a power cut, unfinished seedings, leftovers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from patience import cpu_s
from support import OK, Hand, add, batch, damage, file_rows, finish, ids, some_fail, worked

from engine import verify
from engine.errors import HeldError, UsageError
from engine.queue import claims, dead_workers
from engine.queue.directory import Queue, chunks_in, deferred_chunks
from engine.queue.making import make_queue
from engine.queue.manifest import Checkpoint, OpenJournal, read_checkpoint, write_checkpoint
from engine.queue.segments import SEGMENT_JOBS, Chunk, encode_segment, split_chunks
from engine.recovery.repair import repair
from engine.recovery.startup import recover, tidy
from engine.seeding.seed import publish_tokens
from engine.storage.locks import take_or_say_who

pytestmark = pytest.mark.usefixtures("no_fsync")


def _touch(path: str) -> None:
    with open(path, "w"):
        pass


def _staged(root: Path) -> Queue:
    """Chunk 0 filed, 1 done, 2 held by a dead worker, 3 deferred, 4 pending."""
    queue = batch(root, 80)
    hand = Hand(queue, lambda name: 900.0 if name in ids(1, 48) else OK)
    hand.work(1)
    file_rows(queue)
    hand.work(1)
    hand.work(1, move=False)
    hand.work(1)
    hand.output.close()
    hand.die()
    return queue


def _where(queue: Queue) -> dict[int, str]:
    found = {}
    for what in ("pending", "done", "filed"):
        for chunk in chunks_in(queue.path(what, "000000"), 0):
            found[chunk.k] = what
    for _, chunk, _ in deferred_chunks(queue):
        found[chunk.k] = "deferred"
    for worker in os.listdir(queue.workers):
        for chunk in chunks_in(os.path.join(queue.workers, worker)):
            found[chunk.k] = "workers"
    return found


def _path(queue: Queue, k: int, what: str) -> str:
    chunk = list(split_chunks(queue.segment(0)))[k]
    if what == "deferred":
        return next(
            (
                os.path.join(queue.deferred, name)
                for _, found, name in deferred_chunks(queue)
                if found == chunk
            ),
            os.path.join(queue.deferred, f"0000000000~{chunk.name}"),
        )
    if what == "workers":
        return os.path.join(queue.workers, os.listdir(queue.workers)[0], chunk.name)
    return queue.path(what, "000000", chunk.token)


STAGES = ["filed", "done", "workers", "deferred", "pending"]


def test_nothing_to_do_is_said_by_nothing(tmp_path: Path) -> None:
    queue = _staged(tmp_path)
    assert [_where(queue)[k] for k in range(5)] == STAGES
    assert recover(queue) == []
    assert [_where(queue)[k] for k in range(5)] == STAGES


@pytest.mark.parametrize("k", range(5))
def test_a_lost_token_is_made_again(tmp_path: Path, k: int) -> None:
    queue = _staged(tmp_path)
    os.unlink(_path(queue, k, STAGES[k]))
    said = recover(queue)
    assert len(said) == 1
    assert "made the token" in said[0]
    assert _where(queue)[k] == {0: "filed", 4: "pending"}.get(k, "deferred")
    assert verify.audit(queue.root).ok
    finish(queue)
    found = verify.audit(queue.root)
    assert (found.problems, found.rows) == ([], 79)


@pytest.mark.parametrize("kept", range(5))
@pytest.mark.parametrize("other", range(5))
def test_of_two_tokens_the_more_advanced_stays(tmp_path: Path, kept: int, other: int) -> None:
    if other <= kept:
        return
    queue = _staged(tmp_path)
    _touch(_path(queue, kept, STAGES[other]))
    assert len(recover(queue)) == 1
    assert [_where(queue)[k] for k in range(5)] == STAGES
    assert verify.audit(queue.root).ok


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_a_chunk_whose_rows_are_not_in_the_manifest_is_not_filed(tmp_path: Path, k: int) -> None:
    """A copy of its token lies in filed/; believed, its jobs would never be done."""
    queue = _staged(tmp_path)
    _touch(_path(queue, k, "filed"))
    assert len(recover(queue)) == 1
    assert [_where(queue)[k] for k in range(5)] == STAGES
    finish(queue)
    assert verify.audit(queue.root).rows == 79


def test_all_tokens_lost(tmp_path: Path) -> None:
    queue = worked(tmp_path, 80, some_fail, segments=2)
    before = verify.audit(queue.root)
    for segment in queue.segments():
        for chunk in chunks_in(queue.filed(segment), segment):
            os.unlink(os.path.join(queue.filed(segment), chunk.token))
    recover(queue)
    finish(queue)
    assert verify.audit(queue.root) == before


def test_a_manifest_that_lost_half_a_filed_chunk_is_derived_again(tmp_path: Path) -> None:
    queue = worked(tmp_path, 16)
    chunk = chunks_in(queue.filed(0), 0)[0]
    os.unlink(os.path.join(queue.filed(0), chunk.token))
    with open(queue.manifest, "rb") as file:
        half = b"".join(file.readlines()[:8])
    with open(queue.manifest, "wb") as file:
        file.write(half)
    known = read_checkpoint(queue)
    assert known is not None
    write_checkpoint(queue, Checkpoint(len(half), known.counts))
    said = recover(queue)
    assert any("again" in sentence for sentence in said)
    finish(queue)
    assert verify.audit(queue.root).rows == 16
    assert verify.audit(queue.root).ok


def test_a_lost_token_and_a_manifest_that_is_gone(tmp_path: Path) -> None:
    """Nobody can say by the manifest then that the chunk was filed; the journals bring its rows back."""
    queue = _staged(tmp_path)
    os.unlink(_path(queue, 0, "filed"))
    os.unlink(queue.manifest)
    recover(queue)
    assert _where(queue)[0] == "deferred"
    finish(queue)
    assert verify.audit(queue.root).rows == 79
    assert verify.audit(queue.root).ok


def test_tokens_that_belong_nowhere_are_removed(tmp_path: Path) -> None:
    queue = _staged(tmp_path)
    _touch(os.path.join(queue.deferred, "0000000000~000009.0.1.2"))
    _touch(os.path.join(queue.pending(0), "0.1.2"))
    assert len(recover(queue)) == 2
    assert verify.audit(queue.root).ok


def test_directories_lost_with_their_tokens(tmp_path: Path) -> None:
    queue = worked(tmp_path, 16)
    os.unlink(os.path.join(queue.filed(0), chunks_in(queue.filed(0), 0)[0].token))
    os.rmdir(queue.filed(0))
    os.rmdir(queue.done(0))
    os.rmdir(queue.pending(0))
    said = recover(queue)
    assert any("published" in sentence for sentence in said)
    finish(queue)
    assert verify.audit(queue.root).rows == 16
    assert verify.audit(queue.root).ok


def test_an_unfinished_seeding_is_published(tmp_path: Path) -> None:
    queue = batch(tmp_path, 20)
    jobs = ids(20, 20)
    with open(queue.segment(1), "wb") as file:
        file.write(encode_segment(1, ((name, {}) for name in jobs), 20, 16))
    assert "not published" in verify.audit(queue.root).notes[0]
    assert recover(queue) == ["published segment 000001, whose seeding was interrupted"]
    assert verify.audit(queue.root).jobs == 40


def test_leftovers_go(tmp_path: Path) -> None:
    queue = batch(tmp_path, 20)
    for name, inside in ((f"{claims.run_id()}.0.1", "lock"), ("000001", "0.41.4")):
        os.mkdir(os.path.join(queue.tmp, name))
        _touch(os.path.join(queue.tmp, name, inside))
    _touch(os.path.join(queue.tmp, ".checkpoint.json.0a1b2c3d.tmp"))
    assert recover(queue) == ["removed 3 leftover(s) in tmp/"]
    assert os.listdir(queue.tmp) == []
    assert verify.audit(queue.root).ok


def test_what_others_put_into_a_queue_stays(tmp_path: Path) -> None:
    """In tmp/, where everything went once, and wherever else an engine sweeps."""
    queue = batch(tmp_path, 20)
    left = f"{claims.run_id()}.0.1"
    texts = [
        queue.path("tmp", "notes.txt"), queue.path("tmp", ".notes.txt.0a1b2c3d.tmp"),
        queue.path("tmp", "photos", "lock"), queue.path("tmp", "000007", "letter"), queue.path("tmp", left, "letter"),
        queue.path("workers", "photos", "inflight"), queue.path("workers", "photos", "lock"),
        queue.path("workers", "photos", "0.0.1"), queue.path("notes.tmp"), queue.path("pending", "letter"),
        queue.path("deferred", "letter"), queue.path("listings", "letter"), queue.path("asked", "letter"),
        queue.path("tmp", "9", "0.0.1"),
    ]  # fmt: skip
    for path in texts:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(path).write_text("precious")
    empty = [
        queue.path("pending", "000000", "letter"),
        queue.path("done", "letter"),
        queue.path("tmp", ".x.tmp"),
    ]
    for path in empty:
        _touch(path)
    os.mkdir(queue.path("tmp", "empty"))
    os.mkdir(queue.path("tmp", ".status.json.0a1b2c3d.tmp"))
    os.symlink(queue.segment(0), queue.path("tmp", ".status.json.ffffffff.tmp"))
    os.symlink(tmp_path, queue.path("tmp", "000008"))
    before = sorted(Path(queue.root).rglob("*"))
    assert recover(queue) == []
    dead_workers.reclaim(queue, "", lambda video_id: None)
    tidy(queue)
    found = verify.audit(queue.root)
    assert (found.problems, len(found.notes)) == ([], 2), found.text()
    assert repair(queue.root).audit.ok
    assert set(before) <= set(Path(queue.root).rglob("*"))
    assert all(Path(path).read_text() == "precious" for path in texts)
    add(queue, ids(20, 20))  # its tokens are laid out in a place of their own
    assert queue.total() == 40


def test_foreign_files_where_tokens_are_prepared_are_named(tmp_path: Path) -> None:
    queue = batch(tmp_path, 20)
    letter = Path(queue.tmp, "000001", "letter")
    letter.parent.mkdir()
    letter.write_text("precious")
    with pytest.raises(UsageError, match="000001"):
        add(queue, ids(20, 20))
    assert letter.read_text() == "precious"
    letter.unlink()
    assert recover(queue) == ["published segment 000001, whose seeding was interrupted"]
    assert verify.audit(queue.root).jobs == 40


def test_it_runs_while_its_caller_keeps_seedings_away(tmp_path: Path) -> None:
    queue = batch(tmp_path, 20)
    _touch(os.path.join(queue.tmp, ".status.json.0a1b2c3d.tmp"))
    with take_or_say_who(queue.run_lock, "run"), take_or_say_who(queue.seed_lock, "seeding"):
        assert recover(queue) == ["removed 1 leftover(s) in tmp/"]


def test_a_monitor_that_stays_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.recovery.exclusive.LEAVE_S", -3.0)
    queue = batch(tmp_path, 20)
    with take_or_say_who(queue.monitor_lock, "monitor"), pytest.raises(HeldError):
        recover(queue)


def test_tokens_are_left_alone_while_a_worker_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.recovery.exclusive.LEAVE_S", 0.0)
    queue = batch(tmp_path, 20)
    hand = Hand(queue)
    os.unlink(os.path.join(queue.pending(0), chunks_in(queue.pending(0), 0)[0].token))
    assert "not checked" in recover(queue)[0]
    hand.close()
    assert "made the token" in recover(queue)[0]


def test_a_damaged_segment_is_said(tmp_path: Path) -> None:
    queue = batch(tmp_path, 20)
    damage(queue.segment(0), 0)
    with pytest.raises(UsageError, match=r"000000\.jsonl"):
        recover(queue)


def test_a_million_jobs_take_hardly_longer_than_reading_their_tokens(tmp_path: Path) -> None:
    """4,000 tokens in ten segments; the jobs themselves are only promised, nothing reads them."""
    queue = make_queue(str(tmp_path / "q"))
    for segment in range(10):
        add(queue, ids(16, 16 * segment))
        with open(queue.segment(segment), "wb") as file:
            file.write(encode_segment(segment, iter(()), SEGMENT_JOBS, 256))
        for token in os.listdir(queue.pending(segment)):
            os.unlink(os.path.join(queue.pending(segment), token))
        for k in range(391):
            jobs = min(256, SEGMENT_JOBS - 256 * k)
            _touch(os.path.join(queue.pending(segment), Chunk(segment, k, 50 + k * 256 * 22, jobs).token))
    read_once_s = cpu_s(lambda: [chunks_in(queue.pending(segment), segment) for segment in range(10)])
    said: list[list[str]] = []
    assert cpu_s(lambda: said.append(recover(queue))) < 10 * read_once_s, "twice, so far"
    assert said == [[], [], []]


def test_an_open_journal_of_the_checkpoint_waits_for_its_rows(tmp_path: Path) -> None:
    """A lost token whose chunk the checkpoint names goes on where its rows ended."""
    queue = _staged(tmp_path)
    file_rows(queue)  # chunk 1 is filed now, 2 and 3 are open with rows in the manifest
    os.unlink(_path(queue, 3, "deferred"))
    known = read_checkpoint(queue)
    assert known is not None
    assert isinstance(known.open[list(split_chunks(queue.segment(0)))[3].name], OpenJournal)
    recover(queue)
    assert _where(queue)[3] == "deferred"
    finish(queue)
    assert verify.audit(queue.root).ok


def test_publishing_tokens_is_what_recover_undoes_when_they_exist(tmp_path: Path) -> None:
    """The directory of a worked segment's tokens lost, published anew as pending: the copies go again."""
    queue = worked(tmp_path, 40)
    os.rmdir(queue.pending(0))
    publish_tokens(queue, 0)
    assert len(recover(queue)) == 3
    assert [_where(queue)[k] for k in range(3)] == ["filed"] * 3
    assert verify.audit(queue.root).ok


def test_directories_that_a_copy_left_behind_are_made_again(tmp_path: Path) -> None:
    queue = batch(tmp_path)
    for name in ("deferred", "workers", "tmp"):
        os.rmdir(queue.path(name))
    recover(queue)
    assert all(os.path.isdir(queue.path(name)) for name in ("deferred", "workers", "tmp"))


@pytest.mark.parametrize("harm", ["chunk size", "a job", "count"])
def test_a_segment_that_is_not_what_was_written_stops_the_start(tmp_path: Path, harm: str) -> None:
    """With another chunk size all tokens would be made again, beside journals that speak of other jobs."""
    queue = _staged(tmp_path)
    data = Path(queue.segment(0)).read_bytes()
    old, new = {
        "chunk size": (b'"chunk": 16', b'"chunk": 17'),
        "a job": (ids(80)[-1].encode(), ids(90)[-1].encode()),
        "count": (b'"jobs": 80', b'"jobs": 81'),
    }[harm]
    assert old in data
    Path(queue.segment(0)).write_bytes(data.replace(old, new))
    with pytest.raises(UsageError, match="not what was written"):
        recover(queue)
    assert [_where(queue)[k] for k in range(5)] == STAGES
    assert any("bad segment" in str(problem) for problem in verify.audit(queue.root).problems)


def test_a_damaged_segment_is_not_published(tmp_path: Path) -> None:
    queue = batch(tmp_path, 20)
    data = encode_segment(1, ((name, {}) for name in ids(20, 20)), 20, 16)
    Path(queue.segment(1)).write_bytes(data[:-30])
    with pytest.raises(UsageError, match="not what was written"):
        recover(queue)
    assert queue.segments() == [0]


@pytest.mark.parametrize("name", ["²", "+0.1.2", "x"])
def test_odd_names_stop_nobody(tmp_path: Path, name: str) -> None:
    queue = _staged(tmp_path)
    for place in ("pending", "segments", "deferred", "done", "workers"):
        _touch(queue.path(place, name))
    for place in (queue.pending(0), queue.done(0), queue.filed(0)):
        _touch(os.path.join(place, name))
    _touch(os.path.join(queue.deferred, f"²~{name}"))
    recover(queue)
    finish(queue)
    found = verify.audit(queue.root)
    assert found.rows == 79
    assert set(found.totals) <= {"stray file"}
