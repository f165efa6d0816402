"""Small segments become one: nothing is lost or doubled, whatever dies and whoever works meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import recount
from support import (
    Crash,
    Hand,
    Outcome,
    add,
    batch,
    dying_at,
    file_rows,
    finish,
    ids,
    open_jobs,
    output_of,
    reclaim,
    some_fail,
)  # fmt: skip

from engine import verify
from engine.monitor import status
from engine.monitor.monitor import Monitor
from engine.output.publisher import sweep
from engine.queue import claims, gathering, joined_segment
from engine.queue.claims import Worker
from engine.queue.directory import Queue, chunks_in, worker_ids
from engine.queue.id_index import QueueIds
from engine.queue.segments import Chunk
from engine.recovery import requeue
from engine.recovery.startup import recover
from engine.storage import disk
from engine.storage.locks import take_or_say_who

pytestmark = pytest.mark.usefixtures("no_fsync")
FEW = 3  # of as many as make one here: fewer steps to die at
LAST = FEW - 1
MANY = gathering.MANY


@pytest.fixture(autouse=True)
def sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "MANY", FEW)


def gathered(queue: Queue, *, filed: bool = True) -> int:
    with take_or_say_who(queue.seed_lock, "seeding"):
        return gathering.gather(queue, filed=filed)


def nothing_lost(queue: Queue, names: list[str]) -> None:
    """By the files alone: each job once, each of its tokens once, no trace of what was gathered."""
    root = Path(queue.root)
    assert sorted(recount.seeded(root)) == sorted(names)
    assert not os.path.exists(queue.gathering)
    numbers = {f"{number:06d}" for number in queue.segments()}
    for place in ("pending", "journal", "done", "filed"):
        assert set(os.listdir(queue.path(place))) == numbers, place
    assert {name[:6] for name in os.listdir(queue.path("segments"))} == numbers
    assert {name[:6] for name in os.listdir(queue.path("ids"))} == numbers
    assert QueueIds(queue, read_only=True).missing(names) == []


def ones(root: Path, count: int) -> Queue:
    """A queue that was seeded so often with one job; the last few of them are gathered by the next seeding."""
    queue = batch(root, 0)
    for number in range(count):
        add(queue, ids(1, number))
    return queue


def nights(root: Path, count: int, decide: Callable[[str], Outcome] = lambda _: "ok", jobs: int = 1) -> Queue:
    """A queue that was seeded with so many jobs and worked through, so often; nothing of it is gathered yet."""
    queue = batch(root, 0)
    for number in range(count):
        add(queue, ids(jobs, jobs * number))
        hand = Hand(queue, decide)
        hand.work()
        hand.close()
    return queue


def filed_few(root: Path, decide: Callable[[str], Outcome] = lambda _: "ok") -> Queue:
    """Eight segments that are through, ready to be gathered."""
    queue = nights(root, FEW, decide, jobs=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gathering, "MANY", 1 << 30)
        file_rows(queue)
    return queue


def few(root: Path) -> Queue:
    """Eight segments that nobody has touched."""
    queue = batch(root, 0)
    for number in range(FEW):
        add(queue, ids(3, 3 * number))
    return queue


# ---- what comes of it -------------------------------------------------------------------------------------
def test_untouched_ones_become_one(tmp_path: Path) -> None:
    queue = few(tmp_path)
    assert gathered(queue, filed=False) == FEW
    assert [(header.jobs, header.chunk) for header in map(queue.header, queue.segments())] == [(3 * FEW, 16)]
    assert recount.seeded(Path(queue.root)) == ids(3 * FEW), "in the order they came in"
    nothing_lost(queue, ids(3 * FEW))
    assert worker_ids(queue) == []
    assert verify.audit(queue.root).problems == []
    finish(queue)
    assert verify.audit(queue.root).rows == 3 * FEW


def test_finished_ones_become_one(tmp_path: Path) -> None:
    queue = filed_few(tmp_path, some_fail)
    before = recount.folded(Path(queue.root))
    manifest = Path(queue.manifest).read_bytes()
    with take_or_say_who(queue.monitor_lock, "monitor"):
        assert gathered(queue) == FEW
    assert len(queue.segments()) == 1
    nothing_lost(queue, ids(3 * FEW))
    assert recount.folded(Path(queue.root)) == before
    assert Path(queue.manifest).read_bytes() == manifest
    assert status.finished(queue)
    assert verify.audit(queue.root).problems == []


def test_what_was_gathered_can_be_put_back_and_derived_again(tmp_path: Path) -> None:
    queue = filed_few(tmp_path, some_fail)
    gathered(queue)
    failed = status.collect(queue.root)["failed"]
    assert requeue.retry(queue) == failed > 0
    assert len(open_jobs(queue)) == failed
    finish(queue)
    assert verify.audit(queue.root).problems == []
    os.unlink(queue.checkpoint)
    file_rows(queue)
    assert verify.audit(queue.root).problems == []
    assert status.collect(queue.root)["ok"] + status.collect(queue.root)["absent"] == 3 * FEW


def test_many_seedings_make_few_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "MANY", MANY)
    queue = ones(tmp_path, 150)
    assert len(queue.segments()) <= 3 * MANY
    nothing_lost(queue, ids(150))
    assert verify.audit(queue.root).problems == []


def test_many_nights_make_few_segments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "MANY", MANY)
    queue = batch(tmp_path, 0)
    for number in range(80):
        add(queue, ids(2, 2 * number))
        hand = Hand(queue, some_fail)
        hand.work()
        hand.close()
        file_rows(queue)
    assert len(queue.segments()) <= 3 * MANY
    nothing_lost(queue, ids(160))
    assert (verify.audit(queue.root).problems, verify.audit(queue.root).rows) == ([], 160)


def _calls(act: Callable[[], object]) -> int:
    """How many functions of the system and of files are called."""
    count = 0

    def look(frame: object, event: str, function: object) -> None:
        nonlocal count
        count += event == "c_call" and getattr(function, "__module__", None) in ("posix", "_io", "io")

    sys.setprofile(look)
    try:
        act()
    finally:
        sys.setprofile(None)
    return count


def test_the_cost_does_not_follow_the_seedings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted calls, as ratios: of seven times the seedings nothing costs even four times as much."""
    monkeypatch.setattr(gathering, "MANY", MANY)
    queue = batch(tmp_path, 0)
    found: list[tuple[int, int, int]] = []
    names = iter(ids(600))
    for count in (60, 420):
        for _ in range(count):
            add(queue, [next(names)])
        seeding = sum(_calls(lambda: add(queue, [next(names)])) for _ in range(MANY)) // MANY
        copy = Queue(str(tmp_path / f"copy{count}"))
        shutil.copytree(queue.root, copy.root)
        start = _calls(lambda: recover(copy))  # noqa: B023
        found.append((seeding, _calls(lambda: status.collect(queue.root)), start))
    for few, many in zip(*found, strict=True):
        assert many < 4 * few, found


def test_an_old_queue_of_many_small_segments_becomes_small_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "MANY", 1 << 30)
    queue = ones(tmp_path, 60)
    finish(queue)
    for number in range(60, 100):
        add(queue, ids(1, number))
    assert len(queue.segments()) == 100
    monkeypatch.setattr(gathering, "MANY", MANY)
    with take_or_say_who(queue.seed_lock, "seeding"):
        recover(queue)
    assert len(queue.segments()) <= 2 * MANY
    nothing_lost(queue, ids(100))
    finish(queue)
    assert verify.audit(queue.root).rows == 100


def test_big_ones_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = filed_few(tmp_path)
    monkeypatch.setattr(gathering, "FILED_JOBS", 2)
    monkeypatch.setattr(gathering, "UNTOUCHED_JOBS", 2)
    assert gathered(queue) == 0
    monkeypatch.setattr(gathering, "FILED_JOBS", 3)
    monkeypatch.setattr(joined_segment, "FILED_BYTES", 100)
    assert gathered(queue) == 0
    assert verify.audit(queue.root).problems == []


@pytest.mark.parametrize(
    "what", ["held", "deferred", "done", "torn", "bad line", "stranger", "segment", "reckoned"]
)
def test_what_is_in_use_or_not_right_stays(tmp_path: Path, what: str) -> None:
    queue = few(tmp_path) if what in ("held", "deferred", "segment") else filed_few(tmp_path)
    book = os.path.join(queue.journal_dir(LAST), "0.jsonl")
    if what in ("held", "deferred"):
        hand = Hand(queue, lambda _: 900.0)
        hand.work(1, move=what == "deferred")
    elif what == "done":
        token = os.listdir(queue.filed(LAST))[0]
        os.rename(os.path.join(queue.filed(LAST), token), os.path.join(queue.done(LAST), token))
    elif what in ("torn", "bad line"):
        with open(book, "ab") as file:
            file.write(b"final {" if what == "torn" else b"final {} 00000000\n")
    elif what == "stranger":
        Path(queue.journal_dir(LAST), "notes.txt").write_text("mine")
    elif what == "segment":
        with open(queue.segment(LAST), "r+b") as file:
            file.seek(-5, 2)
            file.write(b"X")
    else:
        value = json.loads(Path(queue.checkpoint).read_bytes())
        value.pop("crc32")
        chunk = chunks_in(queue.filed(LAST), LAST)[0]
        value["open"][chunk.name] = [0, {}, 0, None]
        value["crc32"] = zlib.crc32(json.dumps(value).encode())
        Path(queue.checkpoint).write_text(json.dumps(value))
    before = sorted(os.walk(queue.path("segments")))
    assert gathered(queue) == 0
    assert sorted(os.walk(queue.path("segments"))) == before
    assert not os.path.exists(queue.gathering)
    if what == "held":
        assert worker_ids(queue) == [hand.worker.id]


# ---- deaths -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("sort", "after", "torn", "first"),
    [
        ("untouched", "seeding", False, 0),
        ("untouched", "start", True, 1),
        ("untouched", "lap", False, 2),
        ("untouched", "damaged note", False, 1),
        ("filed", "seeding", True, 0),
        ("filed", "start", False, 1),
        ("filed", "damaged note", False, 2),
    ],
)
def test_a_death_at_any_step(tmp_path: Path, sort: str, torn: bool, after: str, first: int) -> None:
    """Whoever comes next finds each job once, and what it makes of the rest is the same as if nothing had happened.

    Every third step, of each sort each once."""
    (few if sort == "untouched" else filed_few)(tmp_path / "made")
    names = ids(3 * FEW)
    place = tmp_path / "queue"
    for step in range(first, 1000, 3):
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(tmp_path / "made", place)
        queue = Queue(str(place / "queue"))
        batch_json = queue.read_batch()
        queue.write_batch({**batch_json, "frozen": {**batch_json["frozen"], "output": str(place / "out")}})
        with dying_at(step, torn=torn):
            try:
                gathered(queue)
                break
            except Crash:
                pass
        assert status.collect(queue.root)["total"] == len(names), step
        if after == "damaged note" and os.path.exists(queue.gathering):
            Path(queue.gathering).write_bytes(b"{")
        if after == "lap":  # a live run, beside which somebody died
            reclaim(queue)
            hand = Hand(queue)
            hand.work()
            hand.close()
            reclaim(queue)
            assert status.collect(queue.root)["total"] == len(names), step
        elif after != "start":
            add(queue, ["AAAAAAAAAAE"])
            assert status.collect(queue.root)["total"] == len(names) + 1, step
            add(queue, ["AAAAAAAAAAE", *names])
            assert status.collect(queue.root)["total"] == len(names) + 1, step
        with take_or_say_who(queue.seed_lock, "seeding"):
            recover(queue)
        everything = names if after in ("start", "lap") else [*names, "AAAAAAAAAAE"]
        assert sorted(recount.seeded(Path(queue.root))) == sorted(everything), step
        finish(queue)
        with take_or_say_who(queue.seed_lock, "seeding"):
            recover(queue)
        nothing_lost(queue, everything)
        found = verify.audit(queue.root)
        assert (found.problems, found.rows) == ([], len(everything)), step
    assert step > 30


def test_a_second_death_while_it_is_completed(tmp_path: Path) -> None:
    filed_few(tmp_path / "made")
    names = ids(3 * FEW)
    place, queue = tmp_path / "queue", Queue(str(tmp_path / "queue" / "queue"))
    for first in range(5, 1000, 9):
        for second in range(0, 60, 13):
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(tmp_path / "made", place)
            lived = True
            for step in (first, second):
                with dying_at(step):
                    try:
                        gathered(queue)
                    except Crash:
                        lived = False
            assert status.collect(queue.root)["total"] == len(names)
            gathered(queue)
            nothing_lost(queue, names)
            if lived:
                break
        if lived:
            break
    assert first > 30


# ---- beside others ----------------------------------------------------------------------------------------
def test_who_looks_sees_each_job_once_at_every_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Status takes no lock: the count is the same before and after every single step."""
    for queue in (few(tmp_path / "a"), filed_few(tmp_path / "b")):
        before = {name: status.collect(queue.root)[name] for name in ("total", "ok", "pending", "deferred")}
        looks, reals = 0, {}
        for name in ("_rename", "_unlink", "_mkdir", "_rmdir"):
            reals[name] = real = getattr(disk, name)

            def looked(*args: object, real: Callable[..., None] = real) -> None:
                nonlocal looks
                real(*args)
                looks += 1
                value = status.collect(queue.root)  # noqa: B023
                assert {name: value[name] for name in before} == before, args  # noqa: B023

            monkeypatch.setattr(disk, name, looked)
        assert gathered(queue) == FEW
        for name, real in reals.items():
            monkeypatch.setattr(disk, name, real)
        assert looks > 20


def test_beside_a_worker_that_claims(tmp_path: Path) -> None:
    """Each job is done once, whoever is first with a token."""
    queue = batch(tmp_path, 0)
    over = threading.Event()

    def work() -> None:
        hand = Hand(queue, lambda _: "ok")
        while not over.is_set():
            hand.work(2)
        hand.work()
        hand.close()

    worker = threading.Thread(target=work)
    worker.start()
    for number in range(120):
        add(queue, ids(2, 2 * number))
        if number % 10 == 0:
            file_rows(queue)
    over.set()
    worker.join(60.0)
    finish(queue)
    found = verify.audit(queue.root)
    assert (found.problems, found.rows) == ([], 240)
    nothing_lost(queue, ids(240))


def test_an_idle_run_gathers_what_is_seeded_beside_it(tmp_path: Path) -> None:
    queue = batch(tmp_path, 0)
    with take_or_say_who(queue.monitor_lock, "monitor"):
        monitor = Monitor(queue)
        hand = Hand(queue)
        for number in range(100):
            add(queue, ids(1, number))
            hand.work()
            while monitor.tick():
                pass
        hand.close()
        monitor.close()
    assert len(queue.segments()) <= 2 * MANY
    assert (verify.audit(queue.root).problems, verify.audit(queue.root).rows) == ([], 100)


def test_a_busy_run_gathers_too(tmp_path: Path) -> None:
    """One in which something is filed at every pass of the monitor."""
    queue = batch(tmp_path, 0)
    with take_or_say_who(queue.monitor_lock, "monitor"):
        monitor = Monitor(queue)
        hand = Hand(queue)
        for number in range(60):
            add(queue, ids(1, number))
            hand.work()
            assert monitor.tick()
        hand.close()
        monitor.close()
    assert len(queue.segments()) <= 2 * MANY


@pytest.mark.parametrize("step", [28, 45, 60, 75])
def test_a_live_run_completes_what_a_seeding_was_killed_over(tmp_path: Path, step: int) -> None:
    queue = few(tmp_path)
    with take_or_say_who(queue.monitor_lock, "monitor"):
        monitor = Monitor(queue)
        with pytest.raises(Crash), dying_at(step):
            gathered(queue, filed=False)
        monitor.tick()
        assert not os.path.exists(queue.gathering)
        hand = Hand(queue)
        reclaim(queue)
        hand.work()
        hand.close()
        while monitor.tick():
            pass
        monitor.close()
    assert status.finished(queue)
    found = verify.audit(queue.root)
    assert (set(found.totals) - {"stray temporary file"}, found.rows) == (set(), 3 * FEW)


def test_the_monitor_waits_for_a_seeding(tmp_path: Path) -> None:
    queue = nights(tmp_path, FEW)
    with take_or_say_who(queue.seed_lock, "seeding"):
        file_rows(queue)
        assert len(queue.segments()) == FEW
    file_rows(queue)
    assert len(queue.segments()) == 1


def test_a_dead_gatherer_s_claims_are_freed(tmp_path: Path) -> None:
    queue = few(tmp_path)
    with pytest.raises(Crash), dying_at(30):
        gathered(queue)
    assert worker_ids(queue)
    assert claims.living(queue) == [], "it is no worker, alive or dead"
    reclaim(queue)
    finish(queue)
    assert status.finished(queue)


def test_a_worker_that_comes_between_keeps_its_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = few(tmp_path)
    hand = Hand(queue)
    real = Worker.take
    taken: list[Chunk] = []

    def take(self: Worker, chunk: object) -> bool:
        if not taken and self is not hand.worker:
            taken.extend(filter(None, [hand.worker.claim(time.time())]))
        return real(self, chunk)  # type: ignore[arg-type]

    monkeypatch.setattr(Worker, "take", take)
    assert gathered(queue) == 0
    monkeypatch.setattr(Worker, "take", real)
    assert len(queue.segments()) == FEW
    hand.chunk(taken[0])
    hand.close()
    finish(queue)
    assert verify.audit(queue.root).problems == []
    sweep(output_of(queue))
