"""The scheduler: what may begin, what waits, what has left; threads that wait are woken."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from patience import HANG_S, Limit, ends
from support import ids

from engine.model import Job, Permit
from engine.queue.job_state import ChunkState, Death, JobState
from engine.queue.segments import Chunk
from engine.worker.results import JournalLine
from engine.worker.scheduler import PARK_S, Scheduler
from engine.worker.stuck_egresses import StuckEgresses
from engine.worker.work import ControlDue, Item, OpenChunk, Work

EPOCH = 3
FINAL = JournalLine("final", {})
LATER = time.monotonic() + 1e6  # something passes after whatever a test does


class NoJournal:
    """The scheduler holds a chunk's journal for the main thread and never looks into it."""

    end = 0


def chunk_of(states: list[JobState], k: int = 0, start: int = 0) -> tuple[OpenChunk, list[Item]]:
    journal: Any = NoJournal()
    home = OpenChunk(Chunk(0, k, 0, len(states)), journal, ChunkState(), here=len(states))
    names = ids(len(states), start)
    return home, [Item(home, Job(name), state) for name, state in zip(names, states, strict=True)]


def lay(desk: Scheduler, states: list[JobState], k: int = 0, start: int = 0) -> OpenChunk:
    home, items = chunk_of(states, k, start)
    desk.put_chunk(home, [(item, 0.0) for item in items])
    return home


def suspect() -> JobState:
    return JobState(deaths={"w": Death(False, True)})


def refused() -> JobState:
    return JobState(refused=True)


def take(
    desk: Scheduler, thread: int, passed_at: float = 0.0, egress: int = 0, probe: bool = False
) -> Work | ControlDue | None:
    return desk.take(thread, Permit(egress, EPOCH, 0.0, probe=probe, ok_at=passed_at))


def begin(desk: Scheduler, thread: int, passed_at: float = LATER, egress: int = 0) -> Work:
    assert desk.wait_for_work()
    work = take(desk, thread, passed_at, egress)
    assert isinstance(work, Work)
    return work


def done(desk: Scheduler, work: Work, again_in_s: float | None = None, **more: bool) -> None:
    assert work.concluding.acquire(blocking=False)
    desk.finish(work, JournalLine("", {}, again_in_s, **more))


class Waiter:
    """A call in a thread of its own that is expected to wait."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.result: object = None
        self.ended = threading.Event()
        self._call = call
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        self.result = self._call()
        self.ended.set()

    def waits(self) -> bool:
        return not self.ended.wait(0.05)

    def comes(self) -> object:
        assert self.ended.wait(HANG_S), "it waits for ever"
        return self.result


def test_jobs_come_in_order_and_their_chunk_is_idle_when_all_are_final() -> None:
    desk = Scheduler()
    home = lay(desk, [JobState() for _ in range(3)])
    for number in range(3):
        assert desk.take_off() == []
        work = begin(desk, 0)
        assert work.item.job.video_id == ids(3)[number]
        assert desk.in_flight == {0: work}
        done(desk, work)
    assert desk.in_flight == {}
    assert desk.take_off() == [home]
    assert desk.take_off() == []


def test_no_more_reservations_than_jobs() -> None:
    desk = Scheduler()
    lay(desk, [JobState()])
    assert desk.wait_for_work()
    second = Waiter(desk.wait_for_work)
    assert second.waits()
    assert take(desk, 0, probe=True) == ControlDue(probe=True)  # which leaves the job to others
    assert second.comes() is True


def test_a_chunk_wakes_those_who_wait() -> None:
    desk = Scheduler()
    waiting = [Waiter(desk.wait_for_work) for _ in range(3)]
    assert all(waiter.waits() for waiter in waiting)
    lay(desk, [JobState() for _ in range(3)])
    assert [waiter.comes() for waiter in waiting] == [True] * 3


def test_a_stop_wakes_everybody_and_begins_nothing() -> None:
    desk = Scheduler()
    lay(desk, [JobState()])
    work = begin(desk, 0)
    reserving = Waiter(desk.wait_for_work)
    assert reserving.waits()
    desk.attention.clear()
    desk.stop()
    assert reserving.comes() is False
    assert take(desk, 1) is None
    assert desk.attention.is_set()
    done(desk, work)  # what is in flight may finish
    assert len(desk.take_off(rest=True)) == 1


def test_the_keeper_hears_that_too_few_jobs_are_left() -> None:
    desk = Scheduler(threads=2)
    lay(desk, [JobState() for _ in range(4)])
    heard = []
    for thread in range(4):
        desk.attention.clear()
        begin(desk, thread)
        heard.append(desk.attention.is_set())
    assert heard == [False, False, True, True]
    assert desk.unstarted() == 0


def test_a_suspect_runs_alone() -> None:
    desk = Scheduler()
    lay(desk, [JobState(), suspect(), JobState()])
    first = begin(desk, 0)
    assert first.item.state.deaths  # suspects go first when nothing is in flight
    others = Waiter(lambda: desk.wait_for_work() and take(desk, 1))
    assert others.waits()
    done(desk, first)
    second = others.comes()
    assert isinstance(second, Work)
    assert not second.item.state.deaths
    assert len(desk.in_flight) == 1


def test_a_suspect_waits_until_the_others_are_through_and_keeps_new_ones_out() -> None:
    desk = Scheduler()
    lay(desk, [JobState(), JobState(), JobState()])
    running = [begin(desk, 0), begin(desk, 1)]
    lay(desk, [suspect()], k=1, start=3)
    alone = Waiter(lambda: desk.wait_for_work() and take(desk, 2))
    assert alone.waits()
    done(desk, running[0])
    assert alone.waits()
    done(desk, running[1])
    work = alone.comes()
    assert isinstance(work, Work)
    assert work.item.state.deaths
    assert list(desk.in_flight.values()) == [work]


def test_who_reserved_before_a_suspect_came_waits_as_well() -> None:
    desk = Scheduler()
    lay(desk, [JobState(), JobState()])
    running = begin(desk, 0)
    assert desk.wait_for_work()
    lay(desk, [suspect()], k=1, start=2)
    late = Waiter(lambda: take(desk, 1))
    assert late.waits()
    done(desk, running)
    work = late.comes()
    assert isinstance(work, Work)
    assert work.item.state.deaths
    assert list(desk.in_flight.values()) == [work]


def test_one_refused_job_is_out_at_a_time() -> None:
    desk = Scheduler()
    lay(desk, [refused(), refused(), JobState()])
    first, second = begin(desk, 0), begin(desk, 1)
    assert [first.was_refused, second.was_refused] == [True, False]
    third = Waiter(lambda: desk.wait_for_work() and take(desk, 2, passed_at=LATER))
    assert third.waits()
    done(desk, first)
    work = third.comes()
    assert isinstance(work, Work)
    assert work.was_refused


def test_a_refused_job_goes_first_once_something_else_has_passed() -> None:
    desk = Scheduler()
    lay(desk, [JobState(), refused(), JobState()])
    assert not begin(desk, 0, passed_at=time.monotonic() - 1).was_refused
    first = begin(desk, 1)
    assert first.was_refused
    done(desk, first, again_in_s=0.0, blocked=True)
    assert not begin(desk, 2, passed_at=first.item.refused_at).was_refused
    assert begin(desk, 1).item is first.item


def test_where_nothing_else_is_left_to_pass_a_control_video_does() -> None:
    desk = Scheduler()
    lay(desk, [refused(), refused()])
    assert desk.wait_for_work()
    assert isinstance(take(desk, 0, passed_at=time.monotonic() - 1), ControlDue)
    work = begin(desk, 0)
    assert work.was_refused
    second = Waiter(lambda: desk.wait_for_work() and take(desk, 1))
    assert second.waits()  # one refused job is out, and it may be the one that passes
    done(desk, work)
    assert isinstance(second.comes(), ControlDue)


def test_no_more_are_begun_than_the_limit_lets_become_final() -> None:
    desk = Scheduler(limit=3)
    lay(desk, [JobState() for _ in range(9)])
    first, second, third = (begin(desk, number) for number in range(3))
    fourth = Waiter(desk.wait_for_work)
    assert fourth.waits()
    done(desk, first)
    desk.finish(second, None)
    assert fourth.waits()
    done(desk, third, again_in_s=0.0)
    assert fourth.comes() is True
    again = take(desk, 3)
    assert isinstance(again, Work)
    assert again.item is third.item
    desk.finish(second, FINAL)
    done(desk, again)
    assert desk.finals == 3
    assert desk.quiet


def test_a_short_wait_is_parked_and_a_long_one_leaves_with_the_chunk() -> None:
    desk = Scheduler()
    home = lay(desk, [JobState(), JobState(not_before=12345.0)])
    first = begin(desk, 0)
    before = time.monotonic()
    done(desk, first, again_in_s=10.0)
    assert desk.unstarted() == 1
    due = desk.next_due()
    assert due is not None
    assert before + 10.0 <= due <= time.monotonic() + 10.0
    done(desk, begin(desk, 0), again_in_s=PARK_S + 1)
    assert home.away == {ids(2)[1]: 12345.0}
    assert desk.take_off() == []  # the parked one is still to be done here
    desk.wake(due - 0.1)
    assert desk.unstarted() == 0
    desk.wake(due)
    assert desk.next_due() is None
    work = begin(desk, 0)
    assert work.item is first.item
    done(desk, work)
    assert (home.here, len(home.away), desk.take_off()) == (0, 1, [home])


def test_a_parked_job_wakes_a_waiting_thread() -> None:
    desk = Scheduler()
    home, items = chunk_of([JobState()])
    desk.put_chunk(home, [(items[0], 0.001)])
    waiting = Waiter(desk.wait_for_work)
    assert waiting.waits()
    desk.wake(time.monotonic() + 1)
    assert waiting.comes() is True


def test_a_job_that_stepped_back_comes_first_again() -> None:
    desk = Scheduler()
    lay(desk, [JobState() for _ in range(3)])
    work = begin(desk, 0)
    done(desk, work, again_in_s=0.0)
    assert begin(desk, 0).item is work.item


def test_an_abandoned_thread_must_leave_everything_alone() -> None:
    desk = Scheduler()
    lay(desk, [JobState(), JobState()])
    hung, quick = begin(desk, 0), begin(desk, 1)
    assert hung.abandon()
    assert hung.abandon()
    assert not hung.concluding.acquire(blocking=False)
    assert quick.concluding.acquire(blocking=False)
    assert not quick.abandon()  # it just came back
    desk.finish(hung, FINAL)
    assert list(desk.in_flight) == [1]


def test_an_abandoned_thread_s_successor_keeps_its_slot() -> None:
    desk = Scheduler()
    home = lay(desk, [JobState(), JobState()])
    hung = begin(desk, 0)
    assert hung.abandon()
    desk.finish(hung, FINAL)
    successor = begin(desk, 0)
    assert desk.in_flight == {0: successor}
    done(desk, successor)
    assert home.here == 0


ENDS = st.sampled_from([None, None, 0.0, 0.001, PARK_S + 1])


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.sampled_from(["plain", "plain", "suspect", "refused"]), min_size=1, max_size=25),
    st.integers(1, 5),
    st.data(),
)
def test_every_job_is_settled_whatever_becomes_of_it(
    kinds: list[str], threads: int, data: st.DataObject
) -> None:
    """One thread plays all of them, in any order: nobody is lost, and the rules hold at every step."""
    desk = Scheduler(threads=threads)
    make = {"plain": JobState, "suspect": suspect, "refused": refused}
    home = lay(desk, [make[kind]() for kind in kinds])
    ended: list[str] = []
    running: dict[int, Work] = {}
    for _ in range(2000):
        desk.wake(time.monotonic() + 10)
        if desk.take_off():
            break
        idle = [thread for thread in range(threads) if thread not in running]
        if idle and desk._startable() > 0 and (not running or data.draw(st.booleans())):
            work = begin(desk, idle[0])
            running[work.thread] = work
            out = [item.item.state for item in running.values()]
            assert len(out) == 1 or not any(job_state.deaths for job_state in out)
            assert sum(job_state.refused for job_state in out if not job_state.deaths) <= 1
            continue
        assert running, "jobs are left, nothing is in flight and nothing may begin"
        work = running.pop(data.draw(st.sampled_from(sorted(running))))
        again_in_s = data.draw(ENDS)
        if again_in_s is None or again_in_s > PARK_S:
            ended.append(work.item.job.video_id)
        done(desk, work, again_in_s)
    assert sorted(ended) == sorted(ids(len(kinds)))
    assert home.here == 0
    assert desk.in_flight == {}


def test_threads_and_a_keeper_work_everything_off() -> None:
    desk = Scheduler(threads=4)
    states = [suspect() if n % 40 == 7 else refused() if n % 11 == 3 else JobState() for n in range(200)]
    home = lay(desk, states)
    finals: list[str] = []
    most = [0]

    def work() -> None:
        while desk.wait_for_work():
            item = take(desk, threading.get_ident(), passed_at=LATER)
            if not isinstance(item, Work):
                return
            with desk.changed:
                if item.item.state.deaths and len(desk.in_flight) > 1:
                    finals.append("not alone")
                most[0] = max(most[0], len(desk.in_flight))
            time.sleep(0.0005)  # the fetch
            tried = item.item.state.tries
            item.item.state.tries += 1
            if item.concluding.acquire(blocking=False):
                again = 0.002 if tried == 0 and len(finals) % 3 == 0 else None
                if again is None:
                    finals.append(item.item.job.video_id)
                desk.finish(item, JournalLine("", {}, again))

    threads = [threading.Thread(target=work, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    limit = Limit(20.0)
    while home.here and not limit.over:
        desk.wake(time.monotonic())
        desk.attention.wait(0.002)
        desk.attention.clear()
    desk.stop()
    for thread in threads:
        ends(thread)
    assert sorted(finals) == sorted(ids(200))
    assert most[0] > 1


def test_a_job_goes_by_another_egress_than_it_failed_by() -> None:
    desk = Scheduler(egresses=("a", "b"))
    lay(desk, [JobState(failed_by="a"), JobState(failed_by="a"), JobState(failed_by="b"), JobState()])
    names = ids(4)
    assert desk.shunned() is None
    assert begin(desk, 1, egress=0).item.job.video_id == names[2]
    assert begin(desk, 2, egress=0).item.job.video_id == names[3]
    assert desk.shunned() == "a"  # what is left would rather not
    assert begin(desk, 3, egress=0).item.job.video_id == names[0]  # and yet it must
    assert begin(desk, 4, egress=1).item.job.video_id == names[1]
    assert desk.shunned() is None


def test_who_waits_longest_goes_first_where_there_is_one_egress() -> None:
    desk = Scheduler(egresses=("a",))
    lay(desk, [JobState(failed_by="a"), JobState()])
    assert begin(desk, 1).item.job.video_id == ids(1)[0]


def test_an_egress_that_keeps_its_threads_waiting_is_avoided() -> None:
    desk = Scheduler(threads=2, egresses=("a", "b"))
    now = [100.0]
    desk._stuck = StuckEgresses(2, 2, lambda: now[0])
    lay(desk, [JobState() for _ in range(4)])
    hung, quick = begin(desk, 0, egress=0), begin(desk, 1, egress=1)
    now[0] += 2.0
    assert not desk.avoid(0, 100.0)  # nobody has answered: the site is slow
    quick.answered = True
    done(desk, quick)
    assert (desk.avoid(0, 100.0), desk.avoid(1, 0.0)) == (True, False)
    done(desk, hung)
    assert not desk.avoid(0, 0.0)


def test_an_answer_may_be_confirmed_before_its_thread_has_let_go_of_it() -> None:
    """The main thread decides what the fetching thread has just handed to it."""
    desk = Scheduler(limit=2)
    home = lay(desk, [JobState(), JobState()])
    work = begin(desk, 0)
    desk.finish(work, FINAL)
    desk.finish(work, None)
    done(desk, begin(desk, 0))
    assert (desk.finals, home.here, desk.in_flight) == (2, 0, {})
