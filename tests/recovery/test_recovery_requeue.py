"""Putting jobs back: exactly those asked for, and a crash at any step is finished by the next start."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path

import pytest
from audited import intact
from support import (
    OK,
    Crash,
    Hand,
    batch,
    batch_of,
    damage,
    dying_at,
    every_step,
    file_rows,
    finish,
    ids,
    open_jobs,
    output_of,
    reclaim,
    some_fail,
    worked,
)

from engine import verify
from engine.errors import HeldError, UsageError
from engine.model import Kind
from engine.monitor import status
from engine.queue import journal
from engine.queue.directory import Queue, deferred_chunks
from engine.queue.segments import split_chunks
from engine.recovery.requeue import complete, retry
from engine.recovery.startup import recover
from engine.storage import disk
from engine.storage.locks import take_or_say_who

pytestmark = pytest.mark.usefixtures("no_fsync")


def _rows(queue: Queue) -> dict[str, dict[str, object]]:
    with open(queue.manifest, encoding="utf-8") as file:
        return {row["video_id"]: row for row in map(json.loads, file)}


def _with(queue: Queue, *kinds: str) -> set[str]:
    return {name for name, row in _rows(queue).items() if row["kind"] in kinds}


def test_failed_jobs_come_back_and_nothing_else(tmp_path: Path) -> None:
    queue = worked(tmp_path, 80, some_fail, segments=2)
    failed = _with(queue, "network", "blocked")
    assert 0 < len(failed) < 80
    kept = {name: row for name, row in _rows(queue).items() if name not in failed}
    assert retry(queue) == len(failed)
    assert open_jobs(queue) == failed
    assert _rows(queue) == kept
    found = intact(queue.root)
    assert (found.states["pending"], found.states["failed"]) == (len(failed), 0)
    assert retry(queue) == 0
    finish(queue)
    after = _rows(queue)
    assert intact(queue.root).rows == 80
    assert {name: after[name] for name in kept} == kept
    assert all(after[name]["status"] == "ok" for name in failed)


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ({"kinds": {"network"}}, ["network"]),
        ({"kinds": {"private"}}, ["private"]),
        ({"kinds": {"network", "private"}}, ["network", "private"]),
        ({"absent": True}, ["network", "blocked", "private"]),
        ({"absent": True, "kinds": {"blocked"}}, ["blocked"]),
        ({"kinds": {"poison"}}, []),
        ({"older_than_s": 3600.0}, []),
        ({"older_than_s": -3600.0}, ["network", "blocked"]),
    ],
)
def test_what_is_asked_for(tmp_path: Path, options: dict[str, object], kinds: list[str]) -> None:
    queue = worked(tmp_path, 60, some_fail)
    wanted = _with(queue, *kinds)
    assert retry(queue, dry_run=True, **options) == len(wanted)  # type: ignore[arg-type]
    assert open_jobs(queue) == set()
    assert retry(queue, **options) == len(wanted)  # type: ignore[arg-type]
    assert open_jobs(queue) == wanted
    assert verify.audit(queue.root).ok


def test_status_follows(tmp_path: Path) -> None:
    queue = worked(tmp_path, 60, some_fail)
    failed = len(_with(queue, "network", "blocked"))
    before = status.collect(queue.root)
    assert before["failed"] == failed
    retry(queue)
    after = status.collect(queue.root)
    assert (after["failed"], after["pending"], after["ok"]) == (0, failed, before["ok"])
    finish(queue, some_fail)
    assert status.collect(queue.root)["failed"] == failed
    assert verify.audit(queue.root).ok


def test_jobs_whose_rows_are_not_filed_yet(tmp_path: Path) -> None:
    """A stopped run: one chunk filed, one done, one waiting, one held by a dead worker, one untouched."""
    queue = batch(tmp_path, 80)
    waiting = set(ids(2, 34))
    failing = {*ids(3), *ids(3, 16), *ids(3, 36), *ids(3, 48)}
    hand = Hand(queue, lambda name: 900.0 if name in waiting else Kind.NETWORK if name in failing else OK)
    hand.work(1)
    file_rows(queue)
    hand.work(2)
    hand.work(1, sync=False, move=False)
    hand.output.close()
    hand.die()
    assert retry(queue) == len(failing)
    assert open_jobs(queue) == failing | waiting | set(ids(16, 64))
    assert verify.audit(queue.root).problems == []
    finish(queue)
    found = verify.audit(queue.root)
    assert (found.problems, found.rows, found.states["deferred"]) == ([], 78, 2)


def test_waiting_chunks_are_due_at_once(tmp_path: Path) -> None:
    queue = batch(tmp_path, 16)
    hand = Hand(queue, lambda name: 900.0 if name in ids(2) else Kind.NETWORK)
    hand.work(1)
    hand.close()
    assert deferred_chunks(queue)[0][0] > 0
    assert retry(queue) == 14
    assert [when for when, _, _ in deferred_chunks(queue)] == [0]


def test_what_the_jobs_left_is_removed(tmp_path: Path) -> None:
    queue = worked(tmp_path, 16, lambda name: Kind.NETWORK)
    paths = [os.path.join(output_of(queue), name[:2], f"{name}.json") for name in ids(2)]
    for name, path, batch_id in zip(ids(2), paths, (batch_of(queue), "f" * 32), strict=True):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            json.dump({"video_id": name, "batch": batch_id}, file)
    retry(queue)
    assert [os.path.exists(path) for path in paths] == [False, True]  # the other one is another queue's


def test_not_beside_a_run_a_monitor_a_seeding_or_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.recovery.exclusive.LEAVE_S", -1.0)
    queue = worked(tmp_path, 16, lambda name: Kind.NETWORK)
    for path in (queue.run_lock, queue.monitor_lock, queue.seed_lock):
        with take_or_say_who(path, "run"), pytest.raises(HeldError):
            retry(queue)
    hand = Hand(queue)
    with pytest.raises(HeldError):
        retry(queue)
    hand.close()
    assert retry(queue) == 16


@pytest.mark.parametrize("torn", [False, True])
def test_a_crash_at_any_step_is_finished(tmp_path: Path, torn: bool) -> None:
    template = worked(tmp_path / "a", 40, some_fail)
    wanted = _with(template, "network", "blocked")
    roots = iter(range(1000))

    def fresh() -> Queue:
        queue = Queue(str(tmp_path / str(next(roots))))
        shutil.copytree(template.root, queue.root)
        queues.append(queue)
        return queue

    queues: list[Queue] = []  # all of them copies, over one output directory
    steps = 0
    for step, died in every_step(lambda: retry(fresh()), torn=torn):
        queue = queues[-1]
        begun = os.path.exists(queue.retry)
        if step % 2 == torn:  # the next start is a run, or another retry
            recover(queue)
        else:
            retry(queue, kinds=set())
        assert not os.path.exists(queue.retry), step
        assert open_jobs(queue) in ((wanted,) if begun or not died else (wanted, set())), step
        if not os.listdir(queue.tmp):
            assert verify.audit(queue.root).problems == [], step
        else:
            assert set(verify.audit(queue.root).totals) == {"stray temporary file"}, step
        if step % 5 == 0 or not died:
            reclaim(queue)
            finish(queue, some_fail)
            recover(queue)
            found = verify.audit(queue.root)
            assert (found.problems, found.rows) == ([], 40), step
        shutil.rmtree(queue.root)
        steps = step
    assert steps > 30


def test_dying_again_while_finishing(tmp_path: Path) -> None:
    queue = worked(tmp_path, 40, some_fail)
    wanted = _with(queue, "network", "blocked")
    for step in range(200):
        with dying_at(step):
            try:
                if os.path.exists(queue.retry):
                    complete(queue)
                else:
                    retry(queue)
                break
            except BaseException as exc:
                assert type(exc).__name__ == "Crash"
    assert step > 20
    recover(queue)
    assert open_jobs(queue) == wanted
    assert verify.audit(queue.root).problems == []


def test_a_manifest_that_cannot_be_read_is_derived_again(tmp_path: Path) -> None:
    queue = worked(tmp_path, 40, some_fail)
    failed = _with(queue, "network", "blocked")
    ok_line = next(i for i, row in enumerate(_rows(queue).values()) if row["status"] == "ok")
    with open(queue.manifest, "rb") as file:
        lines = file.readlines()
    lines[ok_line] = b"#" * (len(lines[ok_line]) - 1) + b"\n"
    with open(queue.manifest, "wb") as file:
        file.writelines(lines)
    assert retry(queue) == len(failed)
    file_rows(queue)
    assert len(_rows(queue)) == 40 - len(failed)
    finish(queue)
    assert verify.audit(queue.root).problems == []


def test_a_job_whose_line_was_damaged_since_has_no_row_twice(tmp_path: Path) -> None:
    """Its row is in the manifest, its journal knows nothing of it, and its chunk is claimed once more."""
    queue = worked(tmp_path, 40, some_fail)
    failed = _with(queue, "network", "blocked")
    chunk = next(each for each in split_chunks(queue.segment(0)) if each.k == 0)
    first = next(entry for entry in journal.lines(queue.journal(chunk)) if entry.body.get("status") == "ok")
    damage(queue.journal(chunk), first.end - 20)
    retry(queue)
    recover(queue)
    assert open_jobs(queue) == failed | {first.body["video_id"]}
    assert first.body["video_id"] not in _rows(queue)
    finish(queue)
    with open(queue.manifest, "rb") as file:
        assert len(file.readlines()) == 40
    found = verify.audit(queue.root)
    assert found.rows == 40
    assert set(found.totals) <= {"damaged journal line"}


@pytest.mark.parametrize("harm", ["twice", "swapped"])
def test_a_manifest_that_is_not_what_was_written_is_derived_again(tmp_path: Path, harm: str) -> None:
    """Rows that are whole, but one of them twice and another not at all."""
    queue = worked(tmp_path, 40, some_fail)
    failed = _with(queue, "network", "blocked")
    with open(queue.manifest, "rb") as file:
        lines = file.readlines()
    if harm == "twice":
        lines[3:3] = [lines[3]]  # the last one is then behind the checkpoint's length, in part
    else:
        lengths = [len(line) for line in lines]
        first, second = next((i, j) for i in range(40) for j in range(i + 1, 40) if lengths[i] == lengths[j])
        lines[first] = lines[second]
    with open(queue.manifest, "wb") as file:
        file.writelines(lines)
    assert retry(queue, kinds=None) >= len(failed) - 1
    recover(queue)
    finish(queue)
    assert verify.audit(queue.root).problems == []
    assert len(_rows(queue)) == 40


def _die_amid_retry(queue: Queue) -> None:
    """A retry that dies as soon as its intent is on the disk."""
    for step in range(200):
        with dying_at(step):
            with contextlib.suppress(Crash):
                retry(queue)
        if os.path.exists(queue.retry):
            break


def test_a_manifest_cut_while_a_retry_was_under_way_is_derived_again(tmp_path: Path) -> None:
    """It is as long as the new one might be that a crash left without its checkpoint."""
    queue = worked(tmp_path, 40, some_fail)
    failed = _with(queue, "network", "blocked")
    _die_amid_retry(queue)
    with open(queue.manifest, "r+b") as file:
        file.truncate(len(file.readline()))
    recover(queue)
    assert open_jobs(queue) == failed
    finish(queue)
    assert verify.audit(queue.root).problems == []
    assert len(_rows(queue)) == 40


def test_a_damaged_intent_is_said(tmp_path: Path) -> None:
    queue = worked(tmp_path, 16)
    disk.publish(queue.retry, b'{"chunks": {"x": 1}}')
    with pytest.raises(UsageError, match=r"retry\.json"):
        retry(queue)


def test_an_intent_that_was_changed_is_damaged(tmp_path: Path) -> None:
    """A chunk that is another's, a job that is another: nothing of it is believed."""
    queue = worked(tmp_path, 40, some_fail)
    _die_amid_retry(queue)
    data = Path(queue.retry).read_bytes()
    for at in range(len(data) - 1):
        Path(queue.retry).write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(UsageError, match="damaged"):
            complete(queue)
    Path(queue.retry).write_bytes(data)
    assert complete(queue)


@pytest.mark.parametrize("chunk", ["000009.0.41.4", "000000.7.1.2", "000000.0.1.99"])
def test_an_intent_for_a_chunk_that_is_not_there_is_damaged(tmp_path: Path, chunk: str) -> None:
    """Taken at its word it would open jobs whose token nobody frees."""
    queue = worked(tmp_path, 16, some_fail)
    Path(queue.retry).write_text(json.dumps({"schema_version": 1, "chunks": {chunk: ids(1)}}))
    with pytest.raises(UsageError, match=r"retry\.json is damaged"):
        complete(queue)
    assert not Path(queue.journal_dir(0), "7.jsonl").exists()
