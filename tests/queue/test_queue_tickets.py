"""Tickets: a limit kept exactly, whoever takes them."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from patience import HANG_S

from engine.queue.directory import Queue
from engine.queue.making import make_queue
from engine.queue.tickets import Tickets, issue


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return make_queue(str(tmp_path / "q"))


@pytest.mark.parametrize("count", [0, 1, 7])
def test_as_many_as_issued(queue: Queue, count: int) -> None:
    issue(queue, count)
    tickets = Tickets(queue)
    assert [tickets.take() for _ in range(count + 2)] == [True] * count + [False] * 2
    assert tickets.spent()
    tickets.give_back()
    assert not tickets.spent()
    assert [tickets.take(), tickets.take()] == [True, False]
    tickets.close()


def test_a_new_run_begins_anew(queue: Queue) -> None:
    issue(queue, 10**9)
    tickets = Tickets(queue)
    assert tickets.take()
    issue(queue, 1)
    other = Tickets(queue)
    assert [other.take(), other.take()] == [True, False]
    tickets.close()
    other.close()


def test_threads_share_a_process_s_hold(queue: Queue) -> None:
    issue(queue, 150)
    tickets = Tickets(queue)
    taken: list[bool] = []

    def take() -> None:
        for _ in range(100):
            taken.append(tickets.take())

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(taken), sum(taken)) == (400, 150)
    tickets.close()


CODE = """
import sys, time
from engine.storage import disk as durable
from engine.queue.directory import Queue
from engine.queue.tickets import Tickets
pwrite = durable._pwrite
def slow(*args):  # so that two who do not wait for each other are sure to meet
    time.sleep(0.0005)
    return pwrite(*args)
durable._pwrite = slow
tickets, kept = Tickets(Queue(sys.argv[1])), 0
print(flush=True)
sys.stdin.readline()
for n in range(100):
    if tickets.take():
        kept += 1
        if n % 3 == 0:
            tickets.give_back()
            kept -= 1
print(kept)
"""


def test_several_processes_never_exceed_it(queue: Queue) -> None:
    issue(queue, 150)
    takers = [
        subprocess.Popen(
            [sys.executable, "-c", CODE, queue.root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    for taker in takers:  # all are ready before any begins
        assert taker.stdout is not None
        taker.stdout.readline()
    for taker in takers:
        assert taker.stdin is not None
        taker.stdin.write("go\n")
        taker.stdin.flush()
    said = [taker.communicate(timeout=HANG_S)[0] for taker in takers]
    kept = sum(map(int, said))
    tickets, left = Tickets(queue), 0
    while tickets.take():
        left += 1
    assert kept + left == 150
    assert kept > 100  # three times 67 would be taken if there were as many
    tickets.close()


def test_a_damaged_file_lets_nobody_over_the_limit(queue: Queue) -> None:
    issue(queue, 5)
    tickets = Tickets(queue)
    Path(queue.path("tickets")).write_bytes(b"\xff five")
    assert not tickets.take()
    assert tickets.spent()
    tickets.close()
