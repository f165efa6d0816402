"""Status: each state, counts that are a recount, and numbers that never go backwards."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import recount
from patience import ends, until
from support import (
    OK,
    Hand,
    Outcome,
    add,
    batch,
    every_step,
    file_rows,
    ids,
    open_jobs,
    reclaim,
    some_fail,
    worked,
)

from engine import budget as budget_module
from engine.budget import BudgetSettings, EgressView, Rate
from engine.budget.limiter import Budget
from engine.errors import UsageError
from engine.model import EgressSpec, Kind
from engine.monitor import recount as recount_module
from engine.monitor import status
from engine.monitor.monitor import Monitor
from engine.queue import journal, journal_follower, listings
from engine.queue.control import RunState, publish_run_state
from engine.queue.directory import Queue, chunks_in
from engine.queue.making import make_queue
from engine.queue.manifest import read_checkpoint
from engine.queue.segments import Chunk
from engine.run.supervisor import hold
from engine.storage.locks import take_or_say_who

pytestmark = pytest.mark.usefixtures("no_fsync")

STATES = ("pending", "in_flight", "deferred", "ok", "absent", "failed")
SECRET = "hunter2canary"


def collect(queue: Queue) -> dict[str, Any]:
    """The status, after the checks that hold in every state."""
    value = status.collect(queue.root)
    assert json.loads(status.dumps(value)) == value
    assert value["total"] == sum(value[name] for name in STATES), value
    assert min(value[name] for name in STATES) >= 0
    assert sum(value["kinds"].values()) == value["absent"] + value["failed"]
    return value


def snapshot_of(queue: Queue, **values: object) -> None:
    with open(queue.status, "w") as file:
        json.dump(values, file)


# ---- each state -----------------------------------------------------------------------------------------
def test_no_queue(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "none"):
        value = status.collect(str(place))
        assert (value["state"], value["total"], value["eta_s"]) == ("empty", 0, None)
    fields = set(status.collect(worked(tmp_path, 4).root)) - {"bad_lines"}
    assert fields == set(value)  # the same document everywhere


def test_seeded_and_nobody_at_work(tmp_path: Path) -> None:
    value = collect(batch(tmp_path, 20))
    assert (value["state"], value["pending"]) == ("stopped", 20)
    assert (value["limited_by"], value["eta_s"], value["workers"]) == ("nothing", None, [])


def test_a_queue_with_nothing_in_it(tmp_path: Path) -> None:
    assert collect(make_queue(str(tmp_path / "q")))["state"] == "stopped"


def test_running(tmp_path: Path) -> None:
    queue = batch(tmp_path, 20)
    hand = Hand(queue)
    chunk = hand.worker.claim(time.time())
    assert chunk is not None
    hand.worker.begin(1, chunk.name, ids(1)[0])
    assert collect(queue)["state"] == "stopped"  # a worker without a supervisor is on its way out
    assert collect(queue)["in_flight"] == 0
    with hold(queue):
        value = collect(queue)
        assert (value["state"], value["in_flight"], value["pending"]) == ("running", 1, 19)
        assert value["workers"] == [{"slot": 0, "pid": os.getpid(), "in_flight": 1}]
        assert value["limited_by"] == "workers"
        assert value["started_at"].endswith("Z")
    hand.die()


def test_after_a_crash_nothing_is_in_flight(tmp_path: Path) -> None:
    queue = batch(tmp_path, 20)
    hand = Hand(queue)
    hand.work(1, sync=False, move=False)
    chunk = hand.worker.claim(time.time())
    assert chunk is not None
    hand.worker.begin(0, chunk.name, ids(20)[-1])
    hand.die()
    value = collect(queue)
    assert (value["state"], value["in_flight"], value["ok"], value["pending"]) == ("stopped", 0, 16, 4)


def test_finished(tmp_path: Path) -> None:
    queue = worked(tmp_path, 20, some_fail)
    assert collect(queue)["state"] == "finished"
    with hold(queue):
        assert collect(queue)["eta_s"] == {"low": 0.0, "high": 0.0}
    add(queue, ids(5, 20))
    assert collect(queue)["state"] == "stopped"


def test_finished_means_that_the_rows_are_there(tmp_path: Path) -> None:
    """All jobs are final, and the run was killed before their rows were in the manifest, and their tokens filed."""
    queue = batch(tmp_path, 48)
    hand = Hand(queue)
    hand.work(1)
    file_rows(queue)
    hand.work()
    hand.close()
    value = collect(queue)
    assert (value["ok"], value["rows"], value["state"]) == (48, 16, "stopped")
    assert status.exit_code(value) == 23
    assert status.finished(queue) is False
    for step, died in every_step(lambda: file_rows(queue)):
        value, rows = collect(queue), len(recount.manifest(Path(queue.root)))
        over = not chunks_in(queue.done(0), 0)
        assert value["ok"] == 48, step
        assert value["rows"] <= rows, step
        assert (value["state"] == "finished") is over is (status.exit_code(value) == 0), step
        assert not over or value["rows"] == 48, step
        assert status.finished(queue) is over, step
        assert over or died
    os.truncate(queue.manifest, os.stat(queue.manifest).st_size - 1)
    value = collect(queue)
    assert (value["rows"], value["state"], status.exit_code(value)) == (0, "stopped", 23)
    assert status.finished(queue) is False


def test_halted_until_something_is_added(tmp_path: Path) -> None:
    queue = batch(tmp_path, 20)
    snapshot_of(queue, halted=True, total=20)
    assert collect(queue)["state"] == "halted"
    with hold(queue):
        assert collect(queue)["state"] == "running"
    add(queue, ids(5, 20))
    assert collect(queue)["state"] == "stopped"


def test_stalled(tmp_path: Path) -> None:
    queue = batch(tmp_path, 20)
    with hold(queue):
        for pid, ago_s, state in (
            (os.getpid(), 200, "stalled"),
            (os.getpid(), 60, "running"),
            (os.getpid() + 1, 200, "running"),  # the snapshot of another run
        ):
            snapshot_of(queue, run_pid=pid, progressed_at=time.time() - ago_s)
            assert collect(queue)["state"] == state
        # The wall clock was set by an hour, forward and back; the other clock knows better.
        wall, own = time.time(), time.monotonic()
        snapshot_of(queue, run_pid=os.getpid(), progressed_at=wall - 3600, progressed_s=own - 1)
        assert collect(queue)["state"] == "running"
        snapshot_of(queue, run_pid=os.getpid(), progressed_at=wall + 3600, progressed_s=own - 200)
        assert collect(queue)["state"] == "stalled"
        snapshot_of(queue, run_pid=os.getpid(), progressed_at=time.time() - 200)
        hand = Hand(queue, lambda _: 900.0)
        hand.work()
        hand.close()
        assert collect(queue)["state"] == "running"  # everything waits for its time


def test_paused(tmp_path: Path) -> None:
    queue = batch(tmp_path, 20)
    run_state = RunState("2/s", 4, 16)
    now = time.time()
    history = [[now - 60, 0], [now, 30]]
    with hold(queue):
        snapshot_of(queue, run_pid=os.getpid(), progressed_at=now - 200, history=history)
        for paused, state, moving in (
            (False, "stalled", True),
            (True, "paused", False),
            (False, "stalled", True),
        ):
            publish_run_state(queue, replace(run_state, paused=paused))
            value = collect(queue)
            assert value["state"] == state, "a pause is no stall"
            assert bool(value["eta_s"]) is bool(value["rate_per_s"]["1m"]) is moving
        publish_run_state(queue, replace(run_state, paused=True))
        assert collect(queue)["limited_by"] == "nothing"
    assert collect(queue)["state"] == "stopped", "a run that is gone is not paused"


COUNTS = dict.fromkeys((*STATES, "total"), 0)


@pytest.mark.parametrize(
    ("state", "counts", "code"),
    [
        ("empty", {}, 10),
        ("finished", {"ok": 3}, 0),
        ("finished", {"ok": 3, "failed": 1}, 3),
        ("stopped", {"ok": 3, "failed": 1, "pending": 1}, 23),
        ("stopped", {"deferred": 1}, 23),
        ("stopped", {"ok": 3, "rows": 2}, 23),
        ("stopped", {"ok": 3, "rows": 3}, 23),  # a token still lies in done/
        ("stopped", {}, 0),  # nothing was seeded, nothing is left
        ("halted", {"pending": 1}, 23),
        ("running", {"pending": 1}, 20),
        ("running", {"ok": 1}, 20),
        ("paused", {"pending": 1}, 21),
        ("stalled", {"pending": 1}, 22),
        ("stopped", {"ok": 3, "listings": {"open": 1, "failed": 0}}, 23),
        ("finished", {"ok": 3, "listings": {"open": 0, "failed": 1}}, 3),
    ],
)
def test_what_a_script_is_told(state: str, counts: dict[str, Any], code: int) -> None:
    assert status.exit_code({**status.empty(), "state": state, **COUNTS, **counts}) == code


def test_a_cool_down_is_no_stall(tmp_path: Path) -> None:
    queue = batch(tmp_path, 20)
    specs = (EgressSpec("p001 host:1", f"http://u:{SECRET}@host:1"),)
    budget = Budget.open(queue.budget, specs, BudgetSettings(Rate("fixed", 5.0)), new_run=True)
    permit = budget.take(stop=threading.Event())
    assert permit is not None
    with hold(queue):
        snapshot_of(queue, run_pid=os.getpid(), progressed_at=time.time() - 200, requests=50, bytes=7)
        assert collect(queue)["limited_by"] in ("rate", "nothing")
        budget.report(permit, budget_module.Outcome.BLOCKED, job=ids(1)[0])
        value = collect(queue)
        assert (value["state"], value["limited_by"]) == ("running", "blocks")
        (egress,) = value["egresses"]
        assert (egress["name"], egress["state"], egress["blocked"]) == ("p001 host:1", "blocked", 1)
        assert egress["open_in_s"] > 0
        assert (value["requests"], value["bytes"]) == (50, 7)  # what was seen before is not taken back
        assert SECRET not in status.dumps(value)
    budget.close()


# ---- counts ---------------------------------------------------------------------------------------------
def test_waiting_jobs_are_deferred_until_their_time(tmp_path: Path) -> None:
    queue = batch(tmp_path, 32)
    late = set(ids(5))
    hand = Hand(queue, lambda name: 900.0 if name in late else OK)
    hand.work()
    hand.close()
    for _ in range(2):
        value = collect(queue)
        assert (value["deferred"], value["ok"], value["pending"]) == (5, 27, 0)
        file_rows(queue)
    with hold(queue):
        snapshot_of(queue, history=[[time.time() - 50, 0], [time.time(), 27]])
        eta = collect(queue)["eta_s"]
        assert 880 < eta["low"] <= eta["high"] < 901  # the last one is not due before


def test_when_deferred_jobs_are_due_and_why(tmp_path: Path) -> None:
    """As told by the journals, and by the checkpoint once it has gone over them."""
    queue = batch(tmp_path, 32)
    waits = dict(zip(ids(3), (300.0, 900.0, 100.0), strict=True))
    hand = Hand(queue, lambda name: waits.get(name, OK))
    hand.work()
    hand.close()
    for _ in range(2):
        found = collect(queue)["waits"]
        assert found["kinds"] == {"network": 3}
        assert 0 < found["first_s"] <= 100 < 800 < found["last_s"] <= 900
        file_rows(queue)
    path = queue.journal(Chunk(0, 0, 0, 16))
    book = journal.Journal(path)
    book.write("try", {"job": ids(1)[0], "kind": "timeout", "not_before": time.time() + 400})
    book.close()
    assert collect(queue)["waits"]["kinds"] == {"network": 2, "timeout": 1}
    assert collect(worked(tmp_path / "other", 4))["waits"] is None


def test_what_a_listing_found_is_counted_when_it_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A listing seeds what it found and is done, all between two looks of a status: never 100 %."""
    queue = worked(tmp_path, 20)
    listing = listings.Listing(0, "@someone", "channel")
    listings.save(queue, listing)
    real = listings.summary

    def then_done(at: Queue) -> dict[str, Any]:
        found = real(at)
        add(queue, ids(10, 20))
        listing.state = listings.DONE
        listings.save(queue, listing)
        return found

    monkeypatch.setattr(listings, "summary", then_done)
    value = collect(queue)
    monkeypatch.undo()
    assert value["listings"]["open"] or value["pending"] == 10
    assert (value["total"], value["pending"]) == (30, 10)
    assert collect(queue)["total"] == 30


@pytest.mark.parametrize("filed", [False, True])
def test_a_recount_after_torn_journals(tmp_path: Path, filed: bool) -> None:
    """Cut a journal at every byte of its last lines: complete lines count, the rest never does."""
    queue = batch(tmp_path, 16)
    hand = Hand(queue, lambda name: Kind.PRIVATE if name == ids(16)[14] else OK)
    hand.work(1, sync=False)
    path = os.path.join(queue.journal_dir(0), "0.jsonl")
    whole = Path(path).read_bytes()
    ends = [entry.end for entry in journal.read(path).entries]
    if filed:
        book = journal.Journal(path)
        book.write("synced", {"end": ends[7]})
        book.close()
        with take_or_say_who(queue.monitor_lock, "monitor"):
            monitor = Monitor(queue)
            monitor._publish()
            monitor.close()
    hand.close()
    for length in range(ends[-3], ends[-1] + 1):
        Path(path).write_bytes(whole[:length])
        kept = sum(end <= length for end in ends)
        value = collect(queue)
        assert value["ok"] + value["absent"] == kept, length
        assert value["absent"] == (1 if kept >= 15 else 0)
        assert value["bad_lines"] == 0
    Path(path).write_bytes(whole[: ends[3]] + b"x" * (ends[4] - ends[3] - 1) + b"\n" + whole[ends[4] :])
    if not filed:
        assert (collect(queue)["ok"], collect(queue)["bad_lines"]) == (14, 1)


def test_a_chunk_given_back_while_it_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = batch(tmp_path, 16)
    hand = Hand(queue, lambda name: 900.0 if name == ids(1)[0] else OK)
    chunk = hand.worker.claim(time.time())
    assert chunk is not None
    hand.chunk(chunk, move=False)
    assert collect(queue)["ok"] == 15
    real = journal_follower.worker_ids

    def moved(queue_: Queue) -> list[str]:
        hand.worker.give_back(chunk, time.time() + 900)
        return real(queue_)

    monkeypatch.setattr(journal_follower, "worker_ids", moved)
    assert collect(queue)["ok"] == 15
    monkeypatch.undo()
    hand.close()


def test_a_chunk_filed_while_it_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = batch(tmp_path, 32)
    hand = Hand(queue)
    hand.work()
    hand.close()
    real = recount_module.touched_chunks

    def filed(queue_: Queue) -> Any:
        monkeypatch.setattr(recount_module, "touched_chunks", real)  # once: the monitor counts as well
        file_rows(queue_)
        return real(queue_)

    monkeypatch.setattr(recount_module, "touched_chunks", filed)
    assert status.recount(queue, time.time()).counts.ok == 32


def test_never_backwards_beside_a_monitor_and_workers_that_die(tmp_path: Path) -> None:
    queue = batch(tmp_path, 600, segments=3)
    ended, errors = threading.Event(), []
    values: list[dict[str, Any]] = []

    def guarded(act: Callable[[], object]) -> Callable[[], None]:
        def run() -> None:
            try:
                act()
            except BaseException as exc:
                errors.append(exc)
                raise

        return run

    def look() -> None:
        while not ended.is_set():
            values.append(collect(queue))

    def follow() -> None:
        with take_or_say_who(queue.monitor_lock, "monitor"):
            monitor = Monitor(queue)
            while not ended.is_set():
                monitor.tick()
            monitor.finish()
            monitor.close()

    def late(name: str) -> Outcome:
        return -1.0 if name[-1] in "AEIMQ" else some_fail(name)

    def settle() -> None:
        turn = 0
        while open_jobs(queue):
            hand = Hand(queue, late if turn == 0 else some_fail)
            hand.work(20, sync=turn != 1)
            if hand.work(1, sync=False, move=False):
                hand.die()
                reclaim(queue)
            else:
                hand.close()
            turn += 1
            assert turn < 60

    threads = [threading.Thread(target=guarded(act)) for act in (look, follow)]
    for thread in threads:
        thread.start()
    with hold(queue):
        try:
            settle()
            until(lambda: status.finished(queue), 20.0, "for everything to be filed")
        finally:
            ended.set()
            for thread in threads:
                ends(thread)
    assert errors == []
    values.append(collect(queue))
    assert len(values) > 10
    for before, after in pairwise(values):
        for name in ("total", "ok", "absent", "failed", "requests", "bytes", "updated_at"):
            assert before[name] <= after[name], name
    last = values[-1]
    assert (last["state"], last["total"]) == ("finished", 600)
    checkpoint = read_checkpoint(queue)
    assert checkpoint is not None
    assert checkpoint.counts.final == 600


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"5",
        b"\0" * 40,
        b'{"history": 5}',
        b'{"history": [1]}',
        b'{"history": [[1, 2, 3]]}',
        b'{"requests": "x"}',
        b'{"bytes": {}}',
        b'{"progressed_at": "x"}',
        b'{"progressed_s": [1]}',
    ],
)
def test_a_damaged_snapshot_is_no_snapshot(tmp_path: Path, data: bytes) -> None:
    queue = batch(tmp_path, 4)
    Path(queue.status).write_bytes(data)
    with hold(queue):
        assert collect(queue)["state"] == "running"
    file_rows(queue)


@pytest.mark.parametrize("data", [b"", b"nonsense\n", b"[]\n", b'{"segment": 0}\n', None])
def test_a_segment_that_cannot_be_read_is_named(tmp_path: Path, data: bytes | None) -> None:
    queue = batch(tmp_path, 4)
    if data is None:
        os.unlink(queue.segment(0))
    else:
        Path(queue.segment(0)).write_bytes(data)
    with pytest.raises(UsageError, match=r"segments/000000\.jsonl"):
        status.collect(queue.root)


def test_a_damaged_checkpoint_is_no_checkpoint(tmp_path: Path) -> None:
    queue = worked(tmp_path, 20)
    Path(queue.checkpoint).write_bytes(b"{")
    assert status.finished(queue) is False
    assert collect(queue)["total"] == 20


# ---- the parts that compute -----------------------------------------------------------------------------
def view(state: str = "ok", *, limited: bool = False) -> EgressView:
    return EgressView("p", state, 1.0, 0.0, 0, 0, 0, 0, limited)


@pytest.mark.parametrize(
    ("egresses", "workers", "pending", "limited_by"),
    [
        ([], [], 5, "nothing"),
        ([], [{}], 5, "workers"),
        ([view()], [{}], 5, "workers"),
        ([view()], [{}], 0, "nothing"),
        ([view(limited=True)], [{}], 5, "rate"),
        ([view("blocked"), view(limited=True)], [{}], 5, "rate"),
        ([view("blocked"), view("probing")], [{}], 5, "blocks"),
        ([view("blocked"), view("network")], [{}], 5, "blocks"),
        ([view("network"), view("network")], [{}], 5, "network"),
        ([view("network"), replace(view("probing"), offline=True)], [{}], 5, "network"),
        ([replace(view("probing"), offline=True)], [{}], 5, "network"),
        ([view("probing")], [{}], 5, "blocks"),
        ([view("network"), view("retired")], [{}], 5, "network"),
        ([view("retired"), view()], [{}], 5, "workers"),
    ],
)
def test_what_limits_a_run(
    egresses: list[EgressView], workers: list[dict[str, Any]], pending: int, limited_by: str
) -> None:
    assert status._limited_by({"pid": 1}, "running", egresses, workers, pending) == limited_by
    assert status._limited_by(None, "stopped", egresses, workers, pending) == "nothing"


@pytest.mark.parametrize("value", ["1e999", "-1e999", "NaN"])
@pytest.mark.parametrize("name", ["requests", "bytes", "progressed_at", "history"])
def test_numbers_that_are_none_are_no_snapshot(tmp_path: Path, name: str, value: str) -> None:
    queue = batch(tmp_path, 4)
    text = f"[[1, {value}], [2, 3]]" if name == "history" else value
    Path(queue.status).write_text(f'{{"{name}": {text}}}')
    with hold(queue):
        assert "Infinity" not in status.dumps(collect(queue))
        assert "NaN" not in status.dumps(collect(queue))
