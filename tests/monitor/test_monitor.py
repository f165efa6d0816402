"""The monitor: exactly one row for each final job, wherever it dies, and the counts are a recount."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from patience import HANG_S
from support import OK, Crash, Hand, add, batch, dying_at, file_rows, finish, ids, reclaim, some_fail, worked

from engine import verify
from engine.errors import HeldError
from engine.model import Kind
from engine.monitor import status
from engine.monitor.monitor import Monitor
from engine.queue import journal
from engine.queue.control import RunState, publish_run_state
from engine.queue.directory import Queue, chunks_in
from engine.queue.manifest import read_checkpoint, write_checkpoint
from engine.queue.segments import split_chunks
from engine.run.supervisor import hold
from engine.storage.locks import take_or_say_who

pytestmark = pytest.mark.usefixtures("no_fsync")


def rows(queue: Queue) -> list[str]:
    """The ids in the promised part of the manifest."""
    known = read_checkpoint(queue)
    if not os.path.exists(queue.manifest):
        return []
    with open(queue.manifest, "rb") as file:
        data = file.read(known.length if known else 0)
    assert not data or data.endswith(b"\n")
    return [json.loads(line)["video_id"] for line in data.splitlines()]


def _die(hand: Hand) -> None:
    hand.output.close()
    hand.die()


def test_rows_are_the_journals_finals(tmp_path: Path) -> None:
    queue = worked(tmp_path, 40, some_fail)
    assert sorted(rows(queue)) == sorted(ids(40))
    written = {
        entry.raw
        for chunk in split_chunks(queue.segment(0))
        for entry in journal.lines(queue.journal(chunk))
        if entry.verb == "final"
    }
    assert set(Path(queue.manifest).read_bytes().splitlines()) == written  # byte for byte
    assert verify.audit(queue.root).problems == []
    assert len(chunks_in(queue.filed(0), 0)) == 3
    assert os.listdir(queue.done(0)) == []


def test_only_what_is_promised(tmp_path: Path) -> None:
    queue = batch(tmp_path, 16)
    hand = Hand(queue)
    hand.work(1, sync=False, move=False)
    file_rows(queue)
    assert rows(queue) == []
    assert status.collect(queue.root)["ok"] == 16
    path = queue.journal(next(split_chunks(queue.segment(0))))
    book = journal.Journal(path)
    first = journal.read(path).entries[4].end
    book.write("synced", {"end": first})
    file_rows(queue)
    assert rows(queue) == ids(5)
    assert status.collect(queue.root)["ok"] == 16
    book.write("synced", {"end": book.end})
    file_rows(queue)
    assert rows(queue) == ids(16)
    book.close()
    _die(hand)


def test_a_death_between_manifest_and_checkpoint(tmp_path: Path) -> None:
    queue = batch(tmp_path, 32)
    hand = Hand(queue)
    hand.work(1)
    file_rows(queue)
    before = read_checkpoint(queue)
    assert before is not None
    hand.work()
    hand.close()
    file_rows(queue)
    # What a crash leaves: the rows are there, the checkpoint is the old one, the tokens lie in done/.
    write_checkpoint(queue, before)
    second = chunks_in(queue.filed(0), 0)[1]
    os.rename(os.path.join(queue.filed(0), second.token), os.path.join(queue.done(0), second.token))
    with open(queue.manifest, "ab") as file:
        file.write(b'{"video_id": "half of a')
    file_rows(queue)
    assert rows(queue) == ids(32)
    assert verify.audit(queue.root).problems == []


@pytest.mark.parametrize("torn", [False, True])
def test_a_death_at_any_step(tmp_path: Path, torn: bool) -> None:
    queue = batch(tmp_path, 32)
    expected = 32
    for step in range(300):
        hand = Hand(queue, some_fail)
        hand.work()
        hand.close()
        with dying_at(step, torn=torn), take_quietly(queue) as monitor_lock:
            try:
                monitor = Monitor(queue)
                monitor.finish()
                break
            except Crash:
                assert monitor_lock.held
        found = rows(queue)
        assert len(set(found)) == len(found), step
        file_rows(queue)
        found = rows(queue)
        assert sorted(found) == sorted(ids(expected)), step
        assert status.collect(queue.root)["total"] == status.collect(queue.root)["ok"] + sum(
            status.collect(queue.root)["kinds"].values()
        )
        add(queue, ids(16, expected))
        expected += 16
    assert step > 10
    assert sorted(rows(queue)) == sorted(ids(expected))
    found_all = verify.audit(queue.root)
    assert (set(found_all.totals) - {"stray temporary file"}, found_all.rows) == (set(), expected)


def test_rows_gather_as_long_as_anybody_works_on_more_of_them(tmp_path: Path) -> None:
    queue = batch(tmp_path, 64)
    held, finished_hand = Hand(queue), Hand(queue)
    with take_or_say_who(queue.monitor_lock, "monitor"):
        monitor = Monitor(queue)
        monitor.tick()
        chunk = held.worker.claim(time.time())
        assert chunk is not None
        assert finished_hand.work() > 0
        assert not monitor.tick(now=False)  # one second has not passed, and a chunk is held
        held.chunk(chunk)
        assert monitor.tick(now=False)  # nobody has anything: the run's end would wait for this alone
        monitor.close()
    assert sorted(rows(queue)) == sorted(ids(64))


def take_quietly(queue: Queue):  # type: ignore[no-untyped-def]
    """monitor.lock without a note: taking it is no step to disk."""
    from engine.storage.locks import Lock

    lock = Lock(queue.monitor_lock)
    assert lock.take(wait_s=1.0)
    return lock


def test_without_its_checkpoint_all_is_derived_again(tmp_path: Path) -> None:
    queue = worked(tmp_path, 40, some_fail)
    before = verify.audit(queue.root)
    os.unlink(queue.checkpoint)
    file_rows(queue)
    assert verify.audit(queue.root) == before
    with open(queue.checkpoint, "w") as file:
        file.write("{")
    os.truncate(queue.manifest, 10)
    file_rows(queue)
    assert verify.audit(queue.root) == before


@pytest.mark.parametrize("steps", [1, 3, 4, 5, 7])
def test_dying_while_deriving_again(tmp_path: Path, steps: int) -> None:
    queue = worked(tmp_path, 80)
    os.unlink(queue.checkpoint)
    with dying_at(steps), pytest.raises(Crash):
        file_rows(queue)
    file_rows(queue)
    assert sorted(rows(queue)) == sorted(ids(80))
    assert set(verify.audit(queue.root).totals) <= {"stray temporary file"}


def test_damaged_lines_are_counted_once(tmp_path: Path) -> None:
    queue = batch(tmp_path, 32)
    for k in range(2):
        with open(os.path.join(queue.journal_dir(0), f"{k}.jsonl"), "wb") as file:
            file.write(b"nonsense\n")
    hand = Hand(queue, lambda name: 900.0 if name == ids(1)[0] else OK)
    hand.work()
    hand.close()
    for _ in range(3):  # one chunk is filed, the other stays open over the restarts
        file_rows(queue)
        assert status.collect(queue.root)["bad_lines"] == 2


def test_a_chunk_done_too_early_goes_back(tmp_path: Path) -> None:
    """A power cut took the last lines of a journal whose token had been moved."""
    queue = batch(tmp_path, 16)
    hand = Hand(queue)
    hand.work(1)
    hand.close()
    path = os.path.join(queue.journal_dir(0), "0.jsonl")
    os.truncate(path, journal.read(path).entries[9].end)
    file_rows(queue)
    assert os.listdir(queue.done(0)) == []
    assert len(os.listdir(queue.deferred)) == 1
    finish(queue)
    assert rows(queue) == ids(16)
    assert verify.audit(queue.root).problems == []


def test_a_chunk_that_is_handed_on_and_on(tmp_path: Path) -> None:
    queue = batch(tmp_path, 16)
    names = ids(16)
    for number in range(16):
        hand = Hand(queue, lambda name, upto=number: OK if name in names[: upto + 1] else -2.0)
        hand.work(1)
        hand.close()
        file_rows(queue)
        assert rows(queue) == names[: number + 1]
        assert status.collect(queue.root)["ok"] == number + 1
    assert verify.audit(queue.root).problems == []


def test_counts_are_a_recount_at_every_stage(tmp_path: Path) -> None:
    queue = batch(tmp_path, 64)
    hand = Hand(
        queue, lambda name: Kind.PRIVATE if name in ids(3, 10) else 900.0 if name in ids(2, 20) else OK
    )
    for stage in range(8):
        if stage % 2:
            file_rows(queue)
        else:
            hand.work(1, sync=stage != 4, move=stage != 4)
        if stage == 5:
            _die(hand)
            reclaim(queue)
            hand = Hand(queue)
        value = status.collect(queue.root)
        assert value["total"] == 64
        found = [
            entry.body["status"]
            for chunk in split_chunks(queue.segment(0))
            for entry in journal.lines(queue.journal(chunk))
            if entry.verb == "final"
        ]
        assert [value["ok"], value["absent"]] == [found.count("ok"), found.count("absent")], stage
        assert (
            sum(value[state] for state in ("pending", "in_flight", "deferred", "ok", "absent", "failed"))
            == 64
        )
        assert value["deferred"] == (2 if stage >= 2 else 0), stage


def _process(queue: Queue) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "engine.monitor.monitor", queue.root],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_the_process_files_what_is_there_when_asked_to_finish(tmp_path: Path) -> None:
    queue = batch(tmp_path, 40)
    hand = Hand(queue, some_fail)
    hand.work()
    hand.close()
    process = _process(queue)
    process.send_signal(signal.SIGCONT)
    _, said = process.communicate(b"finish\n", timeout=HANG_S)
    assert (process.returncode, said) == (0, b"")
    assert sorted(rows(queue)) == sorted(ids(40))
    assert verify.audit(queue.root).problems == []


def test_the_process_leaves_when_its_input_ends_and_a_second_is_refused(tmp_path: Path) -> None:
    queue = batch(tmp_path, 16)
    with take_or_say_who(queue.monitor_lock, "monitor"):
        with pytest.raises(HeldError):
            take_or_say_who(queue.monitor_lock, "monitor")
    process = _process(queue)
    process.communicate(timeout=HANG_S)
    assert process.returncode == 0


def test_no_queue_is_said_not_raised(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "engine.monitor.monitor", str(tmp_path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert process.returncode == 10
    assert b"Traceback" not in process.stderr


@pytest.mark.parametrize("harm", ["flipped", "cut", "doubled"])
def test_an_open_journal_damaged_since_brings_no_row_twice(tmp_path: Path, harm: str) -> None:
    """Rows of it are in the manifest already; both are derived anew from what the journals still say."""
    queue = batch(tmp_path, 16)
    late = set(ids(4, 12))
    hand = Hand(queue, lambda name: -1.0 if name in late else OK)
    hand.work(1)
    hand.close()
    file_rows(queue)
    assert len(rows(queue)) == 12
    path = Path(queue.journal(next(split_chunks(queue.segment(0)))))
    lines = path.read_bytes().splitlines(keepends=True)
    if harm == "flipped":
        lines[3] = lines[3].replace(b"ok", b"oh")
    elif harm == "cut":
        lines = lines[:5]
    else:
        lines.insert(2, lines[7])
    path.write_bytes(b"".join(lines))
    file_rows(queue)
    finish(queue)
    assert sorted(rows(queue)) == sorted(ids(16))
    assert verify.audit(queue.root).problems == []


@pytest.mark.parametrize("key", ["length", "ok", "offset"])
def test_a_checkpoint_with_another_number_in_it_is_none(tmp_path: Path, key: str) -> None:
    queue = worked(tmp_path, 16, lambda name: 900.0 if name == ids(1)[0] else OK)
    text = Path(queue.checkpoint).read_text()
    known = read_checkpoint(queue)
    assert known is not None
    (part,) = known.open.values()
    old, new = {
        "length": (f'"length": {known.length}', f'"length": {known.length - 1}'),
        "ok": ('"ok": 15', '"ok": 16'),
        "offset": (f"[{part.offset}, ", f"[{part.offset + 8}, "),
    }[key]
    assert old in text
    Path(queue.checkpoint).write_text(text.replace(old, new))
    assert read_checkpoint(queue) is None


@pytest.mark.parametrize("by_s", [3600.0, -3600.0])
def test_rates_begin_again_when_the_clock_was_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_s: float
) -> None:
    queue = batch(tmp_path, 16)
    real, at = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real() + at[0])
    with take_or_say_who(queue.monitor_lock, "monitor"):
        monitor = Monitor(queue)
        monitor.finish()
        before = status.read_snapshot(queue)["history"]
        at[0] = by_s
        monitor.finish()
        monitor.close()
    snapshot = status.read_snapshot(queue)
    assert len(before) == 1
    assert [abs(point[0] - real() - by_s) < 60 for point in snapshot["history"]] == [True]
    assert abs(snapshot["progressed_at"] - real() - by_s) < 60


@pytest.mark.parametrize("paused", [True, False])
def test_a_pause_is_no_time_in_which_nothing_got_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, paused: bool
) -> None:
    """An hour of it: the rates, the ETA and the idle time go on behind it as they were before it."""
    queue = batch(tmp_path, 32)
    wall, own, at = time.time(), time.monotonic(), [0.0]
    monkeypatch.setattr(time, "time", lambda: wall + at[0])
    monkeypatch.setattr(time, "monotonic", lambda: own + at[0])
    hand = Hand(queue)
    with hold(queue), take_or_say_who(queue.monitor_lock, "monitor"):
        monitor = Monitor(queue)
        for _ in range(2):
            monitor.finish()
            hand.work(1)
            at[0] += 30.0
        monitor.finish()
        before = status.collect(queue.root)
        publish_run_state(queue, RunState("none", 1, 1, paused=paused))
        for _ in range(60):
            monitor.finish()
            at[0] += 60.0
        publish_run_state(queue, RunState("none", 1, 1))
        monitor.finish()
        after = status.collect(queue.root)
        idle_s = time.monotonic() - status.read_snapshot(queue)["progressed_s"]
        monitor.close()
    hand.close()
    assert before["rate_per_s"]["15m"] > 0.3
    if paused:
        assert after["rate_per_s"]["15m"] == pytest.approx(before["rate_per_s"]["15m"], rel=0.05)
        assert after["eta_s"]["high"] == pytest.approx(before["eta_s"]["high"], rel=0.05)
        assert idle_s < 60.0
    else:
        assert after["rate_per_s"]["15m"] == 0.0
        assert idle_s > 3000.0
