"""A lap in this process, against the stand-in: what it settles, parks, gives back, and how it ends."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from patience import HANG_S, Limit, ends
from patience import until as wait_until
from support import batch, file_rows, ids, output_of, reclaim

from engine import verify
from engine.budget import BudgetSettings, Rate, snapshot
from engine.budget.limiter import Budget
from engine.errors import Exit, Interrupted
from engine.model import EgressSpec, Fetched, Permit, Refused
from engine.output import publisher
from engine.queue import claims, journal
from engine.queue.directory import Queue, chunks_in, deferred_chunks, worker_ids
from engine.queue.job_state import fold
from engine.queue.segments import Chunk, cut
from engine.rehearsal import Rehearsal, start
from engine.rehearsal import Settings as Stage
from engine.settings import Frozen, Settings
from engine.storage import disk
from engine.worker import main, retry_policy, scheduler
from engine.worker.context import Resources
from engine.worker.main import Lap, Report, run_lap

pytestmark = pytest.mark.usefixtures("no_fsync", "quick")

Fetch = Callable[[str, Permit], Fetched | Refused]


@pytest.fixture(scope="module")
def stage() -> Iterator[Rehearsal]:
    with start(Stage(latency_s=0.0)) as found:
        yield found


@pytest.fixture
def stand_in(stage: Rehearsal) -> Rehearsal:
    stage.scene(replace=True)
    return stage


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same lap with shorter times."""
    monkeypatch.setattr(retry_policy, "WAITS_S", (0.05, 0.1, 0.2))
    monkeypatch.setattr(main, "SYNC_S", 0.1)
    monkeypatch.setattr(main, "IDLE_S", 0.02)
    monkeypatch.setattr(main, "HUNG_AFTER_S", 0.2)


class Desk:
    """A queue, its resources, and one lap of work on it."""

    def __init__(self, queue: Queue, stand_in: Rehearsal, **options: Any) -> None:
        self.queue = queue
        self.stop = threading.Event()
        options = {"threads": 4, "lap_s": 600.0, "deadline_s": 60.0, **options}
        self.settings = Settings(
            queue=queue.root,
            frozen=Frozen(output_of(queue)),
            egresses=(EgressSpec("p001", stand_in.proxy_url),),
            budget=BudgetSettings(Rate("none"), 60.0),
            ca_bundle=stand_in.ca_bundle,
            **options,
        )
        Budget.open(queue.budget, self.settings.egresses, self.settings.budget, new_run=True).close()
        self.resources = Resources(self.settings, self.stop, threading.Event())
        self.fetched: list[str] = []
        self.wrap(lambda fetch, video_id, permit: fetch(video_id, permit))
        self.laps = 0

    def wrap(self, around: Callable[[Fetch, str, Permit], Fetched | Refused]) -> None:
        """Have each fetch go through `around`."""
        inner = self.resources.fetcher.fetch

        def fetch(video_id: str, permit: Permit) -> Fetched | Refused:
            self.fetched.append(video_id)
            return around(inner, video_id, permit)

        self.resources.fetcher.fetch = fetch  # type: ignore[method-assign]

    def lap(self, until: Callable[[], bool] | None = None, run: str = "") -> Report:
        """Run a lap; stop it when `until` (default: every job is final) comes true, or let it end by itself."""
        self.laps += 1
        self.stop.clear()
        self.at_work = Lap(
            self.settings, self.resources, f"{run or f'run{self.laps}'}.0.{self.laps}", self.stop
        )
        reports: list[Report] = []
        self._others = set(threading.enumerate())
        thread = threading.Thread(target=lambda: reports.append(self.at_work.run()))
        thread.start()
        limit = Limit(20.0)
        there = until or (lambda: len(self.rows()) >= self.queue.total())
        while thread.is_alive() and not there():
            assert not limit.over, "the lap does not get there"
            thread.join(0.01)
        self.stop.set()
        ends(thread, "the lap does not end")
        return reports[0]

    def die(self) -> None:
        """Let the kernel's part of this worker's death happen, after its threads' part."""
        for thread in threading.enumerate():
            if thread.name.startswith("fetch-") and thread not in self._others:
                ends(thread)
        os.close(self.at_work._worker._inflight)
        self.at_work._worker._lock._close()

    def entries(self) -> Iterator[journal.Entry]:
        for chunk in cut(self.queue.segment(0)):
            yield from journal.lines(self.queue.journal(chunk))

    def rows(self) -> dict[str, dict[str, Any]]:
        """The final rows; each job has one at most."""
        finals = [entry.body for entry in self.entries() if entry.verb == "final"]
        found = {row["video_id"]: row for row in finals}
        reopened = sum(entry.verb == "reopen" for entry in self.entries())
        assert len(finals) - reopened <= len(found) <= len(finals)
        return found

    def tries(self) -> list[dict[str, Any]]:
        return [entry.body for entry in self.entries() if entry.verb == "try"]

    def sound(self) -> None:
        """Nothing is held, everything is filed, and the audit agrees."""
        assert worker_ids(self.queue) == []
        file_rows(self.queue)
        publisher.sweep(output_of(self.queue))
        found = verify.audit(self.queue.root)
        assert found.problems == []
        assert found.rows == self.queue.total()


def note(queue: Queue, chunk: Chunk, *entries: tuple[str, dict[str, Any]]) -> None:
    """Lines in a chunk's journal, from an earlier life."""
    book = journal.Journal(queue.journal(chunk))
    for verb, body in entries:
        book.write(verb, body)
    book.close()


def first(queue: Queue) -> Chunk:
    return next(cut(queue.segment(0)))


# ---- the ordinary lap -----------------------------------------------------------------------------------
def test_everything_is_settled_durable_and_handed_on(tmp_path: Path, stand_in: Rehearsal) -> None:
    desk = Desk(batch(tmp_path, 40), stand_in)
    report = desk.lap()
    assert report == Report("stop", 40)
    assert {row["status"] for row in desk.rows().values()} <= {"ok", "absent"}
    assert Counter(desk.fetched) == dict.fromkeys(ids(40), 1)
    for chunk in cut(desk.queue.segment(0)):
        state = fold(journal.lines(desk.queue.journal(chunk)))
        assert state.unsynced_finals() == []
    assert len(chunks_in(desk.queue.done(0), 0)) == 3
    desk.sound()


def test_nothing_is_promised_before_its_files_have_durable_names(
    tmp_path: Path, stand_in: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[tuple[str, Any]] = []
    publish, sync, write = publisher.Output.publish, publisher.Output.sync, journal.Journal.write

    def published(self: publisher.Output, record: Any, *rows: Any) -> Any:
        found = publish(self, record, *rows)
        log.append(("published", record.video_id))
        return found

    def synced(self: publisher.Output, touched: set[str]) -> None:
        sync(self, touched)
        log.append(("synced", set(touched)))

    def written(self: journal.Journal, verb: str, body: dict[str, Any]) -> None:
        if verb == "synced":
            ends = [entry for entry in journal.lines(self.path) if entry.end <= body["end"]]
            log.append(("promised", [its.body for its in ends if its.verb == "final"]))
        write(self, verb, body)

    monkeypatch.setattr(publisher.Output, "publish", published)
    monkeypatch.setattr(publisher.Output, "sync", synced)
    monkeypatch.setattr(journal.Journal, "write", written)
    desk = Desk(batch(tmp_path, 60), stand_in)
    desk.lap()
    promised = 0
    for at, (what, value) in enumerate(log):
        for row in value if what == "promised" else ():
            if row["status"] == "ok":
                since = log[log.index(("published", row["video_id"])) : at]
                assert any(its == "synced" and row["video_id"][:2] in names for its, names in since), row
                promised += 1
    assert promised >= 50
    desk.sound()


def test_a_line_written_while_others_are_made_durable_gets_its_own_promise(
    tmp_path: Path, stand_in: Rehearsal
) -> None:
    desk = Desk(batch(tmp_path, 16), stand_in)
    lap = Lap(desk.settings, desk.resources, "run1.0.1", desk.stop)
    assert lap._fill() is True or lap.desk.chunks
    (home,) = lap.desk.chunks.values()
    early, late = ({"video_id": name, "status": "absent", "kind": "private"} for name in ids(2))
    lap.write(home, "final", early)
    real = home.journal.sync

    def sync() -> None:
        real()
        home.journal.sync = real  # type: ignore[method-assign]
        lap.write(home, "final", late)

    home.journal.sync = sync  # type: ignore[method-assign]
    lap._sync([home])
    state = fold(journal.lines(home.journal.path))
    assert state.unsynced_finals() == [late["video_id"]] == home.state.unsynced_finals()
    for _ in range(3):
        lap._sync([home])
    assert fold(journal.lines(home.journal.path)).unsynced_finals() == []
    assert [entry.verb for entry in journal.lines(home.journal.path)] == [
        "final",
        "final",
        "synced",
        "synced",
    ]
    home.journal.close()


def test_a_lap_ends_by_time_and_the_next_goes_on(tmp_path: Path, stand_in: Rehearsal) -> None:
    desk = Desk(batch(tmp_path, 60), stand_in, lap_s=0.05, threads=1)
    report = desk.lap(lambda: False)
    assert report.why == "time"
    assert report.finals < 60
    assert worker_ids(desk.queue) == []
    while len(desk.rows()) < 60:
        desk.lap(lambda: False)
    assert len(desk.fetched) == 60
    desk.lap()
    desk.sound()


def test_what_is_unconfirmed_when_a_lap_ends_is_fetched_again(tmp_path: Path, stand_in: Rehearsal) -> None:
    stand_in.scene("no_captions")
    desk = Desk(batch(tmp_path, 2), stand_in)
    desk.lap(lambda: len(desk.at_work.hands.unconfirmed) == 2)
    assert desk.rows() == {}
    assert [(body["gave_way"], body["requests"]) for body in desk.tries()] == [(True, 2)] * 2
    desk.lap()
    for row in desk.rows().values():
        assert (row["kind"], row["attempts"], row["requests"]) == ("no_captions", 1, 4)
        assert row["title"]
        assert row["duration_s"]
    desk.sound()


def test_what_is_unconfirmed_is_not_in_flight_and_has_no_line(tmp_path: Path, stand_in: Rehearsal) -> None:
    stand_in.scene("no_captions")
    desk = Desk(batch(tmp_path, 3), stand_in)
    seen: list[tuple[int, int]] = []

    def there() -> bool:
        if len(desk.at_work.hands.unconfirmed) == 3:
            busy = claims.in_flight(desk.at_work._worker.dir)
            seen.append((len(busy), sum(1 for _ in desk.entries())))
        return bool(seen)

    desk.lap(there)
    assert seen == [(0, 0)]


def test_a_stop_lets_what_is_in_flight_finish_and_begins_nothing(tmp_path: Path, stand_in: Rehearsal) -> None:
    desk = Desk(batch(tmp_path, 40), stand_in)
    go = threading.Event()

    def held(fetch: Fetch, video_id: str, permit: Permit) -> Fetched | Refused:
        if len(desk.fetched) == 4:
            desk.stop.set()  # all four threads have a job
            threading.Timer(0.3, go.set).start()
        go.wait(HANG_S)
        return fetch(video_id, permit)

    desk.wrap(held)
    report = desk.lap(lambda: False)
    assert report.why == "stop"
    assert (report.finals, len(desk.rows()), len(set(desk.fetched))) == (4, 4, 4)
    places = Counter(token for token in os.listdir(desk.queue.pending(0)))
    assert len(places) + len(deferred_chunks(desk.queue)) == 3
    assert worker_ids(desk.queue) == []


def test_one_process_begins_no_more_than_the_limit(tmp_path: Path, stand_in: Rehearsal) -> None:
    desk = Desk(batch(tmp_path, 40), stand_in, limit=7)
    assert desk.lap(lambda: len(desk.rows()) == 7) == Report("stop", 7)
    assert len(desk.fetched) == 7


# ---- what comes again -----------------------------------------------------------------------------------
def test_retries_are_parked_and_hold_no_thread(tmp_path: Path, stand_in: Rehearsal) -> None:
    stand_in.scene("error500", replace=True)
    desk = Desk(batch(tmp_path, 30), stand_in, threads=2)
    desk.lap()
    rows = desk.rows().values()
    assert {row["status"] for row in rows} == {"ok"}
    assert {row["attempts"] for row in rows} <= {2, 3}
    assert len(desk.tries()) == sum(row["attempts"] - 1 for row in rows)
    desk.sound()


def test_two_threads_get_through_jobs_that_are_all_to_be_tried_again_later(
    tmp_path: Path, stand_in: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry_policy, "WAITS_S", (80.0,))  # shorter than what leaves with its chunk
    stand_in.scene("error500", replace=True)
    desk = Desk(batch(tmp_path, 30), stand_in, threads=2)
    desk.lap(lambda: len(desk.fetched) >= 30)
    assert sorted(desk.fetched) == sorted(ids(30))


def test_a_long_wait_leaves_with_its_chunk(
    tmp_path: Path, stand_in: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry_policy, "WAITS_S", (900.0,))
    stand_in.scene("error500", replace=True)
    desk = Desk(batch(tmp_path, 32), stand_in)
    before = time.time()
    desk.lap(lambda: len(deferred_chunks(desk.queue)) == 2)
    found = deferred_chunks(desk.queue)
    assert [chunk.jobs for _, chunk, _ in found] == [16, 16]
    earliest = min(line["not_before"] for line in desk.tries())
    assert before + 890 < found[0][0] < time.time() + 930
    assert 0 <= found[0][0] - earliest <= 2
    assert (len(desk.rows()), len(desk.tries())) == (0, 32)
    assert len(desk.fetched) == 32
    desk.lap(lambda: not desk.stop.wait(0.2))  # it claims nothing before its time
    assert len(desk.fetched) == 32


def test_parked_retries_are_dropped_at_the_end_of_a_lap(
    tmp_path: Path, stand_in: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry_policy, "WAITS_S", (3.0,))
    stand_in.scene("error500", replace=True)
    desk = Desk(batch(tmp_path, 16), stand_in)
    desk.lap(lambda: len(desk.tries()) == 16)
    ((when, chunk, _),) = deferred_chunks(desk.queue)
    assert chunk.jobs == 16
    earliest = min(line["not_before"] for line in desk.tries())
    assert 0 <= when - earliest <= 1
    assert worker_ids(desk.queue) == []


def test_attempts_end(tmp_path: Path, stand_in: Rehearsal) -> None:
    stand_in.scene("error500", replace=True)
    desk = Desk(batch(tmp_path, 6), stand_in, attempts=1)
    desk.lap()
    rows = desk.rows().values()
    assert {(row["status"], row["kind"], row["attempts"]) for row in rows} == {("failed", "server_error", 1)}
    assert len(desk.fetched) == 6
    desk.sound()


# ---- what goes wrong ------------------------------------------------------------------------------------
@pytest.mark.parametrize(("step", "after"), [("_fdatasync", 12), ("_fsync", 0), ("_write", 12)])
def test_a_failing_disk_ends_the_lap_and_loses_nothing(
    tmp_path: Path, stand_in: Rehearsal, monkeypatch: pytest.MonkeyPatch, step: str, after: int
) -> None:
    desk = Desk(batch(tmp_path, 40), stand_in)
    desk.lap(lambda: len(desk.rows()) >= 5)
    real, calls = getattr(disk, step), []

    def failing(*args: Any) -> Any:
        calls.append(step)
        if len(calls) > after:
            raise OSError(errno.EIO, "Input/output error")
        return real(*args)

    monkeypatch.setattr(disk, step, failing)
    report = desk.lap(lambda: False)
    monkeypatch.setattr(disk, step, real)
    assert (report.why, report.exit_code) == ("error", Exit.DISK)
    assert "Input/output error" in report.message
    assert "run again" in report.message
    assert worker_ids(desk.queue) != []  # it stays, to be taken over like a dead one's
    desk.die()
    reclaim(desk.queue)
    desk.lap()
    desk.sound()


def test_a_process_that_met_a_failing_disk_writes_no_line_more(
    tmp_path: Path, stand_in: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that were at work come back to a journal that may have another owner by then."""
    desk = Desk(batch(tmp_path, 16), stand_in, threads=2)
    late, let_go, back = ids(1)[0], threading.Event(), threading.Event()

    def around(fetch: Fetch, video_id: str, permit: Permit) -> Fetched | Refused:
        if video_id == late:
            let_go.wait(HANG_S)
        return fetch(video_id, permit)

    def failing(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    desk.wrap(around)
    monkeypatch.setattr(disk, "_fdatasync", failing)
    report = desk.lap(lambda: False)
    assert report.exit_code == Exit.DISK
    monkeypatch.setattr(disk, "_fdatasync", lambda fd: None)
    before = list(desk.entries())
    fail = desk.at_work.fail
    desk.at_work.fail = lambda exc: (fail(exc), back.set())  # type: ignore[func-returns-value]
    let_go.set()
    assert back.wait(HANG_S), "its thread ended, and said why"
    assert list(desk.entries()) == before


def test_an_owner_writes_again_what_nobody_vouched_for(
    tmp_path: Path, stand_in: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An fsync over it may have failed: then the next one says "fine" for pages that were never written."""
    desk = Desk(batch(tmp_path, 8), stand_in)
    path = desk.queue.journal(first(desk.queue))
    tries = [{"job": name, "n": 1, "kind": "garbled", "not_before": 0.0} for name in ids(3)]
    note(desk.queue, first(desk.queue), ("try", tries[0]))
    vouched = os.stat(path).st_size
    note(desk.queue, first(desk.queue), ("synced", {"end": vouched}), ("try", tries[1]), ("try", tries[2]))
    with open(path, "rb") as file:
        behind = file.read()[vouched:]
    steps: list[tuple[str, bytes, int]] = []
    pwrite = disk._pwrite

    def of_journal(fd: int) -> bool:
        return os.readlink(f"/proc/self/fd/{fd}") == path

    def spy(fd: int, data: memoryview, offset: int) -> int:
        if of_journal(fd):
            steps.append(("write", bytes(data), offset))
        return pwrite(fd, data, offset)

    monkeypatch.setattr(disk, "_pwrite", spy)
    monkeypatch.setattr(
        disk, "_fdatasync", lambda fd: steps.append(("sync", b"", 0)) if of_journal(fd) else None
    )
    desk.lap()
    assert steps[:2] == [("write", behind, vouched), ("sync", b"", 0)]
    desk.sound()


def test_a_hung_thread_is_replaced_and_its_late_answer_is_nothing(
    tmp_path: Path, stand_in: Rehearsal
) -> None:
    desk = Desk(batch(tmp_path, 24), stand_in, deadline_s=0.5, attempts=1, threads=3)
    stuck, let_go = set(ids(2)), threading.Event()
    returned = threading.Semaphore(0)

    def hang(fetch: Fetch, video_id: str, permit: Permit) -> Fetched | Refused:
        (work,) = [its for its in desk.at_work.desk.in_flight.values() if its.item.job.video_id == video_id]
        assert work.permit == permit  # whose egress is told when the thread hangs
        if video_id in stuck:
            let_go.wait(HANG_S)
            try:
                return fetch(video_id, permit)
            finally:
                returned.release()
        return fetch(video_id, permit)

    desk.wrap(hang)
    report = desk.lap(lambda: False)
    assert report.why == "recycle"  # two of three threads are lost: a new process is better
    tries = {body["job"]: body for body in desk.tries()}
    assert set(tries) == stuck
    assert {(body["kind"], body["charged"]) for body in tries.values()} == {("timeout", False)}
    assert all("its thread hung" in body["message"] for body in tries.values())
    lines = sum(1 for _ in desk.entries())
    let_go.set()
    assert returned.acquire(timeout=HANG_S)
    assert returned.acquire(timeout=HANG_S)
    assert worker_ids(desk.queue) == []
    desk.lap()
    assert sum(1 for entry in desk.entries() if entry.verb == "final") == 24
    assert lines <= sum(1 for _ in desk.entries())
    desk.sound()


def test_a_leak_over_many_laps_is_one_leak(
    tmp_path: Path, stand_in: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No lap grows by the allowance, all together do: the process is replaced all the same."""
    desk = Desk(batch(tmp_path, 4), stand_in, lap_s=0.3)
    grown = [desk.resources.rss_bytes]
    monkeypatch.setattr(main, "rss_bytes", lambda: grown[0])
    whys = []
    for _ in range(4):
        whys.append(desk.lap(lambda: False).why)
        grown[0] += main.LEAK_BYTES * 2 // 5
    assert whys == ["time", "time", "time", "recycle"]


@pytest.mark.parametrize("where", ["a thread", "the keeper"])
def test_a_process_without_memory_is_replaced_and_charges_nobody(
    tmp_path: Path, stand_in: Rehearsal, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    desk = Desk(batch(tmp_path, 16), stand_in)

    def refused(*_: object) -> Fetched | Refused:
        raise MemoryError

    if where == "a thread":
        desk.wrap(refused)
    else:
        monkeypatch.setattr(main, "read_jobs", refused)
    assert run_lap(desk.settings, desk.resources, "run9.0.1", desk.stop).why == "memory"
    assert list(desk.entries()) == []


@pytest.mark.parametrize("ends", [False, True])
def test_what_an_attempt_cost_that_gave_way_is_in_the_row(
    tmp_path: Path, stand_in: Rehearsal, ends: bool
) -> None:
    """The egress closes between the two requests of an attempt: the first was sent, and row and egress know of it,
    also when the lap ends with that."""
    before = sum(stand_in.stats()["requests"].values())
    desk = Desk(batch(tmp_path, 1), stand_in)
    door = desk.resources.fetcher.door
    take = door.take

    def closed(_: int) -> Permit:
        door.take = take
        if ends:
            desk.stop.set()
        raise Interrupted

    door.take = closed
    if ends:
        desk.lap(until=lambda: False)
        assert [(body["gave_way"], body["requests"]) for body in desk.tries()] == [(True, 1)]
    desk.lap()
    assert sum(stand_in.stats()["requests"].values()) - before == 3
    [row] = desk.rows().values()
    assert (row["status"], row["attempts"], row["requests"]) == ("ok", 1, 3)
    desk.resources.budget.flush()
    state = desk.resources.budget._ledger.peek(0)
    assert state is not None and state.body_bytes == row["bytes"]
    desk.sound()


def test_waiting_for_a_permit_is_no_hanging(
    tmp_path: Path, stand_in: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keeper looks again and again at one that has waited for an hour."""
    desk = Desk(batch(tmp_path, 3), stand_in, threads=3)
    watch, looks = Lap._watch, [0]

    def counted(lap: Lap, now: float) -> None:
        watch(lap, now)
        looks[0] += 1

    def slowly(fetch: Fetch, video_id: str, permit: Permit) -> Fetched | Refused:
        (work,) = [its for its in desk.at_work.desk.in_flight.values() if its.item.job.video_id == video_id]
        work.waiting = True
        work.since -= 3600.0
        seen = looks[0]
        wait_until(lambda: looks[0] >= seen + 3, 20.0, "for the keeper to look")
        work.waiting, work.since = False, time.monotonic()
        return fetch(video_id, permit)

    monkeypatch.setattr(Lap, "_watch", counted)
    desk.wrap(slowly)
    desk.lap()
    assert not desk.tries()
    assert not any(row["kind"] == "timeout" for row in desk.rows().values())


def test_a_video_that_cannot_be_rendered_is_its_own_trouble(
    tmp_path: Path, stand_in: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(batch(tmp_path, 20), stand_in, attempts=1)
    odd, real = ids(20)[5], publisher.Output.publish

    def publish(self: publisher.Output, record: Any, *rows: Any) -> Any:
        if record.video_id == odd:
            raise ValueError("not even \ud800")
        return real(self, record, *rows)

    monkeypatch.setattr(publisher.Output, "publish", publish)
    assert desk.lap().why == "stop"
    rows = desk.rows()
    assert (rows[odd]["status"], rows[odd]["kind"]) == ("failed", "unknown")
    assert "ValueError while its record was made" in rows[odd]["message"]
    assert sum(row["status"] == "failed" for row in rows.values()) == 1
    desk.sound()


def test_a_bug_in_a_thread_is_reported_and_ends_the_lap(tmp_path: Path, stand_in: Rehearsal) -> None:
    desk = Desk(batch(tmp_path, 20), stand_in)

    def bug(fetch: Fetch, video_id: str, permit: Permit) -> Fetched | Refused:
        raise KeyError("never seen")

    desk.wrap(bug)
    report = desk.lap(lambda: False)
    assert (report.why, report.exit_code) == ("error", Exit.BUG)
    assert "never seen" in report.message
    desk.die()


def test_no_proxy_left(tmp_path: Path, stand_in: Rehearsal) -> None:
    stand_in.scene("proxy407", replace=True)
    desk = Desk(batch(tmp_path, 20), stand_in)
    desk.resources.door.close()
    report = desk.lap(lambda: False)
    assert (report.why, report.exit_code) == ("error", Exit.NO_PROXY)
    assert desk.rows() == {}
    assert all(line["charged"] is False for line in desk.tries())
    desk.die()


def test_a_lap_that_cannot_begin_says_so(tmp_path: Path, stand_in: Rehearsal) -> None:
    desk = Desk(batch(tmp_path, 4), stand_in)
    shutil.rmtree(output_of(desk.queue))
    Path(output_of(desk.queue)).write_text("in the way")
    report = run_lap(desk.settings, desk.resources, "run1.0.1", desk.stop)
    assert (report.why, report.exit_code) == ("error", Exit.DISK)
    assert report.message


# ---- what an earlier life left --------------------------------------------------------------------------
def _death(name: str, number: int, *, alone: bool) -> tuple[str, dict[str, Any]]:
    return "died", {"job": name, "worker": f"w.0.{number}", "alone": alone, "sure": True}


def test_suspects_run_alone(tmp_path: Path, stand_in: Rehearsal) -> None:
    queue = batch(tmp_path, 40)
    suspects = {ids(40)[3], ids(40)[7], ids(40)[8]}
    note(queue, first(queue), *(_death(name, 1, alone=False) for name in sorted(suspects)))
    desk = Desk(queue, stand_in)
    company: dict[str, int] = {}
    counting, now = threading.Lock(), Counter[str]()

    def watched(fetch: Fetch, video_id: str, permit: Permit) -> Fetched | Refused:
        with counting:
            now[video_id] += 1
            for name in now:
                company[name] = max(company.get(name, 0), len(now))
        try:
            return fetch(video_id, permit)
        finally:
            with counting:
                del now[video_id]

    desk.wrap(watched)
    desk.lap()
    assert {company[name] for name in suspects} == {1}
    assert max(company.values()) > 1
    desk.sound()


def test_poison_is_not_touched_again(tmp_path: Path, stand_in: Rehearsal) -> None:
    queue = batch(tmp_path, 20)
    bad, near = ids(20)[2], ids(20)[3]
    note(
        queue,
        first(queue),
        *(_death(bad, number, alone=number > 0) for number in range(3)),
        *(_death(near, number, alone=False) for number in range(3)),
    )
    desk = Desk(queue, stand_in)
    desk.lap()
    rows = desk.rows()
    assert (rows[bad]["status"], rows[bad]["kind"], rows[bad]["attempts"]) == ("failed", "poison", 3)
    assert "died 3 times" in rows[bad]["message"]
    assert bad not in desk.fetched
    assert rows[near]["kind"] != "poison"
    desk.sound()


@pytest.mark.parametrize("harm", ["gone", "cut", "none"])
def test_rows_that_nobody_vouched_for_are_believed_by_their_files(
    tmp_path: Path, stand_in: Rehearsal, harm: str
) -> None:
    desk = Desk(batch(tmp_path, 16), stand_in)
    desk.lap()
    name = ids(16)[4]
    assert desk.rows()[name]["status"] == "ok"
    # As a power cut leaves it: the rows are there, the promise is not, and the token is where it was.
    chunk = first(desk.queue)
    path = desk.queue.journal(chunk)
    kept = [entry for entry in journal.read(path).entries if entry.verb != "synced"]
    Path(path).write_bytes(b"".join(journal.encode(entry.verb, entry.body) for entry in kept))
    disk.rename(
        os.path.join(desk.queue.done(0), chunk.token),
        os.path.join(desk.queue.deferred, f"{0:010d}~{chunk.name}"),
    )
    file = Path(output_of(desk.queue), desk.rows()[name]["files"]["md"])
    if harm == "gone":
        file.unlink()
    elif harm == "cut":
        os.truncate(file, 10)
    desk.fetched.clear()
    desk.lap(lambda: chunks_in(desk.queue.done(0), 0) != [])
    again = [name] if harm != "none" else []
    assert desk.fetched == again
    assert [entry.body["job"] for entry in desk.entries() if entry.verb == "reopen"] == again
    desk.sound()


def test_a_suspended_process_gives_everybody_their_time_back(tmp_path: Path, stand_in: Rehearsal) -> None:
    desk = Desk(batch(tmp_path, 4), stand_in, threads=1)
    seen: list[float] = []

    def look(fetch: Fetch, video_id: str, permit: Permit) -> Fetched | Refused:
        (work,) = desk.at_work.desk.in_flight.values()
        now = time.monotonic()
        before = work.busy(now)
        desk.at_work._shift(100.0)
        seen.append(before - work.busy(now))
        work.since -= 100.0
        return fetch(video_id, permit)

    desk.wrap(look)
    desk.lap()
    assert seen
    assert seen == pytest.approx([100.0] * len(seen))
    assert scheduler.PARK_S == 90.0


def test_a_permit_that_went_stale_before_its_request_counts_as_none(
    tmp_path: Path, stand_in: Rehearsal
) -> None:
    """As on a busy machine, where a thread comes to its first request too late: another permit is taken."""
    before = sum(stand_in.stats()["requests"].values())
    desk = Desk(batch(tmp_path, 3), stand_in, threads=1)
    rate = BudgetSettings(Rate("fixed", 100.0), 60.0)
    desk.resources.budget.steer(rate)
    desk.resources.wanted = rate

    def late(fetch: Fetch, video_id: str, permit: Permit) -> Fetched | Refused:
        wait_until(lambda: time.monotonic() > permit.expires_s, 20.0, "it to go stale", each_s=0.005)
        return fetch(video_id, permit)

    desk.wrap(late)
    desk.lap()
    sent = sum(stand_in.stats()["requests"].values()) - before
    desk.resources.budget.flush()
    assert [its.requests for its in snapshot(desk.queue.budget)] == [sent]
    assert sum(row["requests"] for row in desk.rows().values()) == sent
    desk.sound()


def test_another_rate_is_followed_amid_a_lap(tmp_path: Path, stand_in: Rehearsal) -> None:
    """Its word comes by any thread; a lap that waits for an hour's slot goes on at once."""
    desk = Desk(batch(tmp_path, 8), stand_in, threads=2)
    slow = BudgetSettings(Rate("fixed", 1 / 3600), 60.0)
    desk.resources.budget.steer(slow)
    desk.resources.wanted = slow

    def faster() -> None:
        while not stand_in.stats()["requests"]:
            time.sleep(0.01)
        desk.resources.wanted = BudgetSettings(Rate("fixed", 100.0), 60.0)

    word = threading.Thread(target=faster)
    word.start()
    assert desk.lap() == Report("stop", 8)
    word.join()
    assert [its.rate_per_s for its in snapshot(desk.queue.budget)] == [pytest.approx(100.0)]
    desk.sound()
