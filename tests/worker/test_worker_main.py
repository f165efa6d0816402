"""A worker's main loop in this process, against the rehearsal server: what it finishes, parks, gives back, and how
it ends."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from patience import HANG_S
from patience import until as wait_until
from support import batch, ids, output_of, reclaim
from worker_rig import Fetch, Rig

from engine.budget import BudgetSettings, Rate, snapshot
from engine.errors import Exit, Interrupted, UsageError
from engine.model import Fetched, NotFetched, Permit
from engine.output import publisher
from engine.queue import claims, journal
from engine.queue.directory import Queue, chunks_in, deferred_chunks, worker_ids
from engine.queue.job_state import fold
from engine.queue.segments import Chunk, split_chunks
from engine.rehearsal import Rehearsal
from engine.storage import disk
from engine.worker import held_chunks, main, retry_policy
from engine.worker.further_permits import FurtherPermits
from engine.worker.main import MainLoop, WorkerReport, report_of
from engine.worker.results import JournalLine

pytestmark = pytest.mark.usefixtures("no_fsync", "quick")


def note(queue: Queue, chunk: Chunk, *entries: tuple[str, dict[str, Any]]) -> None:
    """Lines in a chunk's journal, from an earlier life."""
    book = journal.Journal(queue.journal(chunk))
    for verb, body in entries:
        book.write(verb, body)
    book.close()


def first(queue: Queue) -> Chunk:
    return next(split_chunks(queue.segment(0)))


# ---- the ordinary work ----------------------------------------------------------------------------------
def test_everything_is_settled_durable_and_handed_on(tmp_path: Path, stand_in: Rehearsal) -> None:
    rig = Rig(batch(tmp_path, 40), stand_in)
    report = rig.work()
    assert report == WorkerReport("stop", 40)
    assert {row["status"] for row in rig.rows().values()} <= {"ok", "absent"}
    assert Counter(rig.fetched) == dict.fromkeys(ids(40), 1)
    for chunk in split_chunks(rig.queue.segment(0)):
        state = fold(journal.lines(rig.queue.journal(chunk)))
        assert state.unsynced_finals() == []
    assert len(chunks_in(rig.queue.done(0), 0)) == 3
    rig.sound()


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

    def written(self: journal.Journal, verb: str, body: dict[str, Any]) -> int:
        if verb == "synced":
            ends = [entry for entry in journal.lines(self.path) if entry.end <= body["end"]]
            log.append(("promised", [end.body for end in ends if end.verb == "final"]))
        return write(self, verb, body)

    monkeypatch.setattr(publisher.Output, "publish", published)
    monkeypatch.setattr(publisher.Output, "sync", synced)
    monkeypatch.setattr(journal.Journal, "write", written)
    rig = Rig(batch(tmp_path, 60), stand_in)
    rig.work()
    promised = 0
    for at, (what, value) in enumerate(log):
        for row in value if what == "promised" else ():
            if row["status"] == "ok":
                since = log[log.index(("published", row["video_id"])) : at]
                assert any(text == "synced" and row["video_id"][:2] in names for text, names in since), row
                promised += 1
    assert promised >= 50
    rig.sound()


def test_a_line_written_while_others_are_made_durable_gets_its_own_promise(
    tmp_path: Path, stand_in: Rehearsal
) -> None:
    rig = Rig(batch(tmp_path, 16), stand_in)
    loop = MainLoop(rig.control, rig.resources, "run1.0.1")
    assert loop._fill() is True or loop.scheduler.chunks
    (home,) = loop.scheduler.chunks.values()
    early, late = ({"video_id": name, "status": "absent", "kind": "private"} for name in ids(2))
    loop.chunks.write(home, JournalLine("final", early))
    real = home.journal.sync

    def sync() -> None:
        real()
        home.journal.sync = real  # type: ignore[method-assign]
        loop.chunks.write(home, JournalLine("final", late))

    home.journal.sync = sync  # type: ignore[method-assign]
    loop.chunks.sync([home])
    state = fold(journal.lines(home.journal.path))
    assert state.unsynced_finals() == [late["video_id"]] == home.state.unsynced_finals()
    for _ in range(3):
        loop.chunks.sync([home])
    assert fold(journal.lines(home.journal.path)).unsynced_finals() == []
    assert [entry.verb for entry in journal.lines(home.journal.path)] == [
        "final",
        "final",
        "synced",
        "synced",
    ]
    home.journal.close()


def test_one_that_is_drained_early_leaves_the_rest_to_the_next(tmp_path: Path, stand_in: Rehearsal) -> None:
    rig = Rig(batch(tmp_path, 60), stand_in, threads=1)
    report = rig.work(lambda: len(rig.fetched) >= 5)
    assert report.why == "stop"
    assert report.finals < 60
    assert worker_ids(rig.queue) == []
    while len(rig.rows()) < 60:
        before = len(rig.fetched)
        rig.work(lambda: len(rig.fetched) >= min(60, before + 20))  # noqa: B023
    assert len(rig.fetched) == 60
    rig.work()
    rig.sound()


def test_what_is_unconfirmed_at_the_end_is_fetched_again(tmp_path: Path, stand_in: Rehearsal) -> None:
    stand_in.play("no_captions")
    rig = Rig(batch(tmp_path, 2), stand_in)
    rig.work(lambda: len(rig.at_work.fetch_loop.unconfirmed) == 2)
    assert rig.rows() == {}
    assert [(body["gave_way"], body["requests"]) for body in rig.tries()] == [(True, 2)] * 2
    rig.work()
    for row in rig.rows().values():
        assert (row["kind"], row["attempts"], row["requests"]) == ("no_captions", 1, 4)
        assert row["title"]
        assert row["duration_s"]
    rig.sound()


def test_what_is_unconfirmed_is_not_in_flight_and_has_no_line(tmp_path: Path, stand_in: Rehearsal) -> None:
    stand_in.play("no_captions")
    rig = Rig(batch(tmp_path, 3), stand_in)
    seen: list[tuple[int, int]] = []

    def there() -> bool:
        if len(rig.at_work.fetch_loop.unconfirmed) == 3:
            busy = claims.in_flight(rig.at_work._worker.dir)
            seen.append((len(busy), sum(1 for _ in rig.entries())))
        return bool(seen)

    rig.work(there)
    assert seen == [(0, 0)]


def test_a_stop_lets_what_is_in_flight_finish_and_begins_nothing(tmp_path: Path, stand_in: Rehearsal) -> None:
    rig = Rig(batch(tmp_path, 40), stand_in)
    go = threading.Event()

    def held(fetch: Fetch, video_id: str, permit: Permit) -> Fetched | NotFetched:
        if len(rig.fetched) == 4:
            rig.control.stop.set()  # all four threads have a job
            threading.Timer(0.3, go.set).start()
        go.wait(HANG_S)
        return fetch(video_id, permit)

    rig.wrap(held)
    report = rig.work(lambda: False)
    assert report.why == "stop"
    assert (report.finals, len(rig.rows()), len(set(rig.fetched))) == (4, 4, 4)
    places = Counter(token for token in os.listdir(rig.queue.pending(0)))
    assert len(places) + len(deferred_chunks(rig.queue)) == 3
    assert worker_ids(rig.queue) == []


def test_one_process_begins_no_more_than_the_limit(tmp_path: Path, stand_in: Rehearsal) -> None:
    rig = Rig(batch(tmp_path, 40), stand_in, limit=7)
    assert rig.work(lambda: len(rig.rows()) == 7) == WorkerReport("stop", 7)
    assert len(rig.fetched) == 7


# ---- what comes again -----------------------------------------------------------------------------------
def test_retries_are_parked_and_hold_no_thread(tmp_path: Path, stand_in: Rehearsal) -> None:
    stand_in.play("error500", replace=True)
    rig = Rig(batch(tmp_path, 30), stand_in, threads=2)
    rig.work()
    rows = rig.rows().values()
    assert {row["status"] for row in rows} == {"ok"}
    assert {row["attempts"] for row in rows} <= {2, 3}
    assert len(rig.tries()) == sum(row["attempts"] - 1 for row in rows)
    rig.sound()


def test_two_threads_get_through_jobs_that_are_all_to_be_tried_again_later(
    tmp_path: Path, stand_in: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry_policy, "WAITS_S", (80.0,))  # shorter than what leaves with its chunk
    stand_in.play("error500", replace=True)
    rig = Rig(batch(tmp_path, 30), stand_in, threads=2)
    rig.work(lambda: len(rig.fetched) >= 30)
    assert sorted(rig.fetched) == sorted(ids(30))


def test_a_long_wait_leaves_with_its_chunk(
    tmp_path: Path, stand_in: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry_policy, "WAITS_S", (900.0,))
    stand_in.play("error500", replace=True)
    rig = Rig(batch(tmp_path, 32), stand_in)
    before = time.time()
    rig.work(lambda: len(deferred_chunks(rig.queue)) == 2)
    found = deferred_chunks(rig.queue)
    assert [chunk.jobs for _, chunk, _ in found] == [16, 16]
    earliest = min(line["not_before"] for line in rig.tries())
    assert before + 890 < found[0][0] < time.time() + 930
    assert 0 <= found[0][0] - earliest <= 2
    assert (len(rig.rows()), len(rig.tries())) == (0, 32)
    assert len(rig.fetched) == 32
    rig.work(lambda: not rig.control.stop.wait(0.2))  # it claims nothing before its time
    assert len(rig.fetched) == 32


def test_parked_retries_are_dropped_at_the_end(
    tmp_path: Path, stand_in: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry_policy, "WAITS_S", (3.0,))
    stand_in.play("error500", replace=True)
    rig = Rig(batch(tmp_path, 16), stand_in)
    rig.work(lambda: len(rig.tries()) == 16)
    ((when, chunk, _),) = deferred_chunks(rig.queue)
    assert chunk.jobs == 16
    earliest = min(line["not_before"] for line in rig.tries())
    assert 0 <= when - earliest <= 1
    assert worker_ids(rig.queue) == []


def test_attempts_end(tmp_path: Path, stand_in: Rehearsal) -> None:
    stand_in.play("error500", replace=True)
    rig = Rig(batch(tmp_path, 6), stand_in, attempts=1)
    rig.work()
    rows = rig.rows().values()
    assert {(row["status"], row["kind"], row["attempts"]) for row in rows} == {("failed", "server_error", 1)}
    assert len(rig.fetched) == 6
    rig.sound()


# ---- what goes wrong ------------------------------------------------------------------------------------
@pytest.mark.parametrize(("step", "after"), [("_fdatasync", 12), ("_fsync", 0), ("_write", 12)])
def test_a_failing_disk_ends_the_work_and_loses_nothing(
    tmp_path: Path, stand_in: Rehearsal, monkeypatch: pytest.MonkeyPatch, step: str, after: int
) -> None:
    rig = Rig(batch(tmp_path, 40), stand_in)
    rig.work(lambda: len(rig.rows()) >= 5)
    real, calls = getattr(disk, step), []

    def failing(*args: Any) -> Any:
        calls.append(step)
        if len(calls) > after:
            raise OSError(errno.EIO, "Input/output error")
        return real(*args)

    monkeypatch.setattr(disk, step, failing)
    report = rig.work(lambda: False)
    monkeypatch.setattr(disk, step, real)
    assert (report.why, report.exit_code) == ("error", Exit.DISK)
    assert "Input/output error" in report.message
    assert "run again" in report.message
    assert worker_ids(rig.queue) != []  # it stays, to be taken over like a dead one's
    rig.die()
    reclaim(rig.queue)
    rig.work()
    rig.sound()


def test_a_process_that_met_a_failing_disk_writes_no_line_more(
    tmp_path: Path, stand_in: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads that were at work come back to a journal that may have another owner by then."""
    rig = Rig(batch(tmp_path, 16), stand_in, threads=2)
    late, let_go, back = ids(1)[0], threading.Event(), threading.Event()

    def around(fetch: Fetch, video_id: str, permit: Permit) -> Fetched | NotFetched:
        if video_id == late:
            let_go.wait(HANG_S)
        return fetch(video_id, permit)

    def failing(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    rig.wrap(around)
    monkeypatch.setattr(disk, "_fdatasync", failing)
    report = rig.work(lambda: False)
    assert report.exit_code == Exit.DISK
    monkeypatch.setattr(disk, "_fdatasync", lambda fd: None)
    before = list(rig.entries())
    fail = rig.at_work.chunks.fail
    rig.at_work.chunks.fail = lambda exc: (fail(exc), back.set())  # type: ignore[func-returns-value]
    let_go.set()
    assert back.wait(HANG_S), "its thread ended, and said why"
    assert list(rig.entries()) == before


def test_an_owner_writes_again_what_nobody_vouched_for(
    tmp_path: Path, stand_in: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An fsync over it may have failed: then the next one says "fine" for pages that were never written."""
    rig = Rig(batch(tmp_path, 8), stand_in)
    path = rig.queue.journal(first(rig.queue))
    tries = [{"job": name, "n": 1, "kind": "garbled", "not_before": 0.0} for name in ids(3)]
    note(rig.queue, first(rig.queue), ("try", tries[0]))
    vouched = os.stat(path).st_size
    note(rig.queue, first(rig.queue), ("synced", {"end": vouched}), ("try", tries[1]), ("try", tries[2]))
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
    rig.work()
    assert steps[:2] == [("write", behind, vouched), ("sync", b"", 0)]
    rig.sound()


def test_a_hung_thread_ends_its_worker_and_costs_the_other_jobs_nothing(
    tmp_path: Path, stand_in: Rehearsal
) -> None:
    """The hung job timed out. What is not done by the end of the grace stays what it was, and nobody died."""
    rig = Rig(batch(tmp_path, 24), stand_in, attempts=1, threads=3, grace_s=0.2)
    names, let_go = ids(3), threading.Event()
    waiting, returned = threading.Barrier(3), threading.Semaphore(0)

    def hang(fetch: Fetch, video_id: str, permit: Permit) -> Fetched | NotFetched:
        if video_id not in names or let_go.is_set():
            return fetch(video_id, permit)
        waiting.wait(HANG_S)
        if video_id == names[0]:
            (work,) = [
                item
                for item in rig.at_work.scheduler.in_flight.values()
                if item.item.job.video_id == video_id
            ]
            assert work.permit == permit  # whose egress is told of it when the thread hangs
            work.since -= 3600.0
        let_go.wait(HANG_S)
        try:
            return fetch(video_id, permit)
        finally:
            returned.release()

    rig.wrap(hang)
    assert rig.work(lambda: False).why == "recycle"
    (line,) = rig.tries()
    assert (line["job"], line["kind"], line["charged"]) == (names[0], "timeout", False)
    assert "its thread hung" in line["message"]
    assert not rig.rows().keys() & set(names)
    assert worker_ids(rig.queue) == []
    lines = list(rig.entries())
    let_go.set()
    for _ in names:
        assert returned.acquire(timeout=HANG_S)
    assert list(rig.entries()) == lines, "late answers are nothing"
    rig.work()
    assert {rig.rows()[name]["attempts"] for name in names} == {1}
    rig.sound()


def test_one_that_has_grown_too_much_ends_in_good_order(
    tmp_path: Path, stand_in: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(batch(tmp_path, 40), stand_in, threads=2)
    grown = [rig.resources.rss_bytes + main.GROWTH_BYTES]
    fetched: list[str] = []
    monkeypatch.setattr(main, "rss_bytes", lambda: grown[0])

    def grow(fetch: Fetch, video_id: str, permit: Permit) -> Fetched | NotFetched:
        fetched.append(video_id)
        if len(fetched) > 8:
            grown[0] += 1
        time.sleep(0.02)
        return fetch(video_id, permit)

    rig.wrap(grow)
    report = rig.work(lambda: False)
    assert report.why == "recycle"
    assert 8 <= report.finals < 40
    assert worker_ids(rig.queue) == []
    grown[0] = 0
    rig.work()
    assert sorted(fetched) == sorted(ids(40)), "nothing was fetched twice"
    rig.sound()


@pytest.mark.parametrize("where", ["a thread", "the main loop"])
def test_a_process_without_memory_is_replaced_and_charges_nobody(
    tmp_path: Path, stand_in: Rehearsal, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    rig = Rig(batch(tmp_path, 16), stand_in)

    def refused(*_: object) -> Fetched | NotFetched:
        raise MemoryError

    if where == "a thread":
        rig.wrap(refused)
    else:
        monkeypatch.setattr(held_chunks, "read_jobs", refused)
    monkeypatch.setattr(main, "Resources", lambda *_: rig.resources)
    assert main.work(rig.control, "run9.0.1").why == "memory"
    assert list(rig.entries()) == []


@pytest.mark.parametrize("ends", [False, True])
def test_what_an_attempt_cost_that_gave_way_is_in_the_row(
    tmp_path: Path, stand_in: Rehearsal, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    """The egress closes between the two requests of an attempt: the first was sent, and row and egress know of it,
    also when the worker ends with that."""
    take, asked, [video] = FurtherPermits.take, [0], ids(1, 7_000 + ends)

    def closed(permits: FurtherPermits, egress: int) -> Permit:
        asked[0] += 1
        if asked[0] > 1:
            return take(permits, egress)
        if ends:
            rig.control.stop.set()
        raise Interrupted

    monkeypatch.setattr(FurtherPermits, "take", closed)
    rig = Rig(batch(tmp_path, 1, first=7_000 + ends), stand_in)
    if ends:
        rig.work(until=lambda: False)
        assert [(body["gave_way"], body["requests"]) for body in rig.tries()] == [(True, 1)]
    rig.work()
    [row] = rig.rows().values()
    sent = sum(arrival["video_id"] == video for arrival in stand_in.arrivals())
    assert (row["status"], row["attempts"], row["requests"], sent) == ("ok", 1, 3, 3), rig.tries()
    rig.resources.budget.flush()
    state = rig.resources.budget.peek(0)
    assert state is not None and state.body_bytes == row["bytes"]
    rig.sound()


def test_waiting_for_a_permit_is_no_hanging(
    tmp_path: Path, stand_in: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The main loop looks again and again at one that has waited for an hour."""
    rig = Rig(batch(tmp_path, 3), stand_in, threads=3)
    watch, looks = MainLoop._give_up_hung_threads, [0]

    def counted(loop: MainLoop, now: float) -> None:
        watch(loop, now)
        looks[0] += 1

    take, waited = rig.resources.budget.take, [0]

    def slowly(**how: Any) -> Permit | None:
        if "egress" in how:  # for a request amid an attempt
            waited[0] += 1
            work = rig.resources.permits._mine.work
            work.since -= 3600.0
            seen = looks[0]
            wait_until(lambda: looks[0] >= seen + 3, 20.0, "for the main loop to look")
        return take(**how)

    monkeypatch.setattr(rig.resources.budget, "take", slowly)
    monkeypatch.setattr(MainLoop, "_give_up_hung_threads", counted)
    rig.work()
    assert waited[0] >= 3
    assert not rig.tries()
    assert not any(row["kind"] == "timeout" for row in rig.rows().values())


def test_a_video_that_cannot_be_rendered_is_its_own_trouble(
    tmp_path: Path, stand_in: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(batch(tmp_path, 20), stand_in, attempts=1)
    odd, real = ids(20)[5], publisher.Output.publish

    def publish(self: publisher.Output, record: Any, *rows: Any) -> Any:
        if record.video_id == odd:
            raise ValueError("not even \ud800")
        return real(self, record, *rows)

    monkeypatch.setattr(publisher.Output, "publish", publish)
    assert rig.work().why == "stop"
    rows = rig.rows()
    assert (rows[odd]["status"], rows[odd]["kind"]) == ("failed", "unknown")
    assert "ValueError while its record was made" in rows[odd]["message"]
    assert sum(row["status"] == "failed" for row in rows.values()) == 1
    rig.sound()


def test_a_bug_in_a_thread_is_reported_and_ends_the_work(tmp_path: Path, stand_in: Rehearsal) -> None:
    rig = Rig(batch(tmp_path, 20), stand_in)

    def bug(fetch: Fetch, video_id: str, permit: Permit) -> Fetched | NotFetched:
        raise KeyError("never seen")

    rig.wrap(bug)
    report = rig.work(lambda: False)
    assert (report.why, report.exit_code) == ("error", Exit.BUG)
    assert "never seen" in report.message
    rig.die()


def test_no_proxy_left(tmp_path: Path, stand_in: Rehearsal) -> None:
    stand_in.play("proxy407", replace=True)
    rig = Rig(batch(tmp_path, 20), stand_in)
    rig.resources.client.close()
    report = rig.work(lambda: False)
    assert (report.why, report.exit_code) == ("error", Exit.NO_PROXY)
    assert rig.rows() == {}
    assert all(line["charged"] is False for line in rig.tries())
    rig.die()


def test_a_worker_that_cannot_begin_says_so(
    tmp_path: Path, stand_in: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(batch(tmp_path, 4), stand_in)
    shutil.rmtree(output_of(rig.queue))
    Path(output_of(rig.queue)).write_text("in the way")
    monkeypatch.setattr(main, "Resources", lambda *_: rig.resources)
    report = main.work(rig.control, "run1.0.1")
    assert (report.why, report.exit_code) == ("error", Exit.DISK)
    assert report.message


def test_what_a_worker_reports_of_what_ended_it() -> None:
    assert report_of(MemoryError(), 3) == WorkerReport("memory", 3)
    assert report_of(UsageError("so")) == WorkerReport("error", 0, "so", Exit.USAGE)
    full = report_of(OSError(errno.ENOSPC, "No space left on device"))
    assert (full.exit_code, "No space left" in full.message) == (Exit.DISK, True)
    thread = report_of(RuntimeError("can't start new thread"))
    assert (thread.exit_code, "ulimit -u" in thread.message) == (Exit.DISK, True)
    bug = report_of(KeyError("never seen"))
    assert (bug.exit_code, "never seen" in bug.message) == (Exit.BUG, True)


# ---- what an earlier life left --------------------------------------------------------------------------
def _death(name: str, number: int, *, alone: bool) -> tuple[str, dict[str, Any]]:
    return "died", {"job": name, "worker": f"w.0.{number}", "alone": alone, "sure": True}


def test_suspects_run_alone(tmp_path: Path, stand_in: Rehearsal) -> None:
    queue = batch(tmp_path, 40)
    suspects = {ids(40)[3], ids(40)[7], ids(40)[8]}
    note(queue, first(queue), *(_death(name, 1, alone=False) for name in sorted(suspects)))
    rig = Rig(queue, stand_in)
    company: dict[str, int] = {}
    counting, now = threading.Lock(), Counter[str]()

    def watched(fetch: Fetch, video_id: str, permit: Permit) -> Fetched | NotFetched:
        with counting:
            now[video_id] += 1
            for name in now:
                company[name] = max(company.get(name, 0), len(now))
        try:
            return fetch(video_id, permit)
        finally:
            with counting:
                del now[video_id]

    rig.wrap(watched)
    rig.work()
    assert {company[name] for name in suspects} == {1}
    assert max(company.values()) > 1
    rig.sound()


def test_poison_is_not_touched_again(tmp_path: Path, stand_in: Rehearsal) -> None:
    queue = batch(tmp_path, 20)
    bad, near = ids(20)[2], ids(20)[3]
    note(
        queue,
        first(queue),
        *(_death(bad, number, alone=number > 0) for number in range(3)),
        *(_death(near, number, alone=False) for number in range(3)),
    )
    rig = Rig(queue, stand_in)
    rig.work()
    rows = rig.rows()
    assert (rows[bad]["status"], rows[bad]["kind"], rows[bad]["attempts"]) == ("failed", "poison", 3)
    assert "died 3 times" in rows[bad]["message"]
    assert bad not in rig.fetched
    assert rows[near]["kind"] != "poison"
    rig.sound()


@pytest.mark.parametrize("harm", ["gone", "cut", "none"])
def test_rows_that_nobody_vouched_for_are_believed_by_their_files(
    tmp_path: Path, stand_in: Rehearsal, harm: str
) -> None:
    rig = Rig(batch(tmp_path, 16), stand_in)
    rig.work()
    name = ids(16)[4]
    assert rig.rows()[name]["status"] == "ok"
    # As a power cut leaves it: the rows are there, the promise is not, and the token is where it was.
    chunk = first(rig.queue)
    path = rig.queue.journal(chunk)
    kept = [entry for entry in journal.read(path).entries if entry.verb != "synced"]
    Path(path).write_bytes(b"".join(journal.encode(entry.verb, entry.body) for entry in kept))
    disk.rename(
        os.path.join(rig.queue.done(0), chunk.token),
        os.path.join(rig.queue.deferred, f"{0:010d}~{chunk.name}"),
    )
    file = Path(output_of(rig.queue), rig.rows()[name]["files"]["md"])
    if harm == "gone":
        file.unlink()
    elif harm == "cut":
        os.truncate(file, 10)
    rig.fetched.clear()
    rig.work(lambda: chunks_in(rig.queue.done(0), 0) != [])
    again = [name] if harm != "none" else []
    assert rig.fetched == again
    assert [entry.body["job"] for entry in rig.entries() if entry.verb == "reopen"] == again
    rig.sound()


def test_a_suspend_is_no_hanging(
    tmp_path: Path, stand_in: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(batch(tmp_path, 2), stand_in, threads=1)
    looks = [0]

    def lost_s(since: float) -> float:
        looks[0] += 1
        return 3600.0

    def asleep(fetch: Fetch, video_id: str, permit: Permit) -> Fetched | NotFetched:
        (work,) = rig.at_work.scheduler.in_flight.values()
        work.since -= 3600.0
        seen = looks[0]
        wait_until(lambda: looks[0] >= seen + 3, 20.0, "for the main loop to look")
        work.since += 3600.0
        return fetch(video_id, permit)

    monkeypatch.setattr(main.suspends, "lost_s", lost_s)
    rig.wrap(asleep)
    assert rig.work() == WorkerReport("stop", 2)
    assert not rig.tries()


def test_a_permit_that_went_stale_before_its_request_counts_as_none(
    tmp_path: Path, stand_in: Rehearsal
) -> None:
    """As on a busy machine, where a thread comes to its first request too late: another permit is taken."""
    before = sum(stand_in.stats()["requests"].values())
    rig = Rig(batch(tmp_path, 3), stand_in, threads=1)
    rate = BudgetSettings(Rate("fixed", 100.0), 60.0)
    rig.resources.budget.apply_settings(rate)
    rig.control.budget = rate

    def late(fetch: Fetch, video_id: str, permit: Permit) -> Fetched | NotFetched:
        wait_until(lambda: time.monotonic() > permit.expires_s, 20.0, "it to go stale", each_s=0.005)
        return fetch(video_id, permit)

    rig.wrap(late)
    rig.work()
    sent = sum(stand_in.stats()["requests"].values()) - before
    rig.resources.budget.flush()
    assert [egress_view.requests for egress_view in snapshot(rig.queue.budget)] == [sent]
    assert sum(row["requests"] for row in rig.rows().values()) == sent
    rig.sound()


def test_another_rate_is_followed_at_once(tmp_path: Path, stand_in: Rehearsal) -> None:
    """It may be told by any thread. Who waits for an hour's slot goes on at once."""
    rig = Rig(batch(tmp_path, 8), stand_in, threads=2)
    slow = BudgetSettings(Rate("fixed", 1 / 3600), 60.0)
    rig.resources.budget.apply_settings(slow)
    rig.control.budget = slow

    def faster() -> None:
        while not stand_in.stats()["requests"]:
            time.sleep(0.01)
        rig.control.budget = BudgetSettings(Rate("fixed", 100.0), 60.0)

    word = threading.Thread(target=faster)
    word.start()
    assert rig.work() == WorkerReport("stop", 8)
    word.join()
    assert [egress_view.rate_per_s for egress_view in snapshot(rig.queue.budget)] == [pytest.approx(100.0)]
    rig.sound()
