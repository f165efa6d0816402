"""Requests to a live run: none is lost, done twice or changed; and the state that a run publishes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import FOR_EVER_S

from engine.queue.control import (
    ControlRequest,
    RequestQueue,
    RunState,
    clear_requests,
    publish_run_state,
    read_run_state,
    read_stop_request,
    remove_run_state,
    request_stop,
    send_request,
    wait_for_run_end,
    wait_until_done,
)
from engine.queue.directory import Queue
from engine.queue.making import make_queue
from engine.storage import processes
from engine.storage.locks import take_or_say_who

STATE = RunState("0.5/s", 4, 16)
REQUESTS = (
    ControlRequest(paused=True),
    ControlRequest(paused=False),
    ControlRequest(rate="1000/h"),
    ControlRequest(threads=24),
    ControlRequest(processes=2, rate="none"),
)


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return make_queue(str(tmp_path / "q"))


def taken(queue: Queue) -> list[ControlRequest | None]:
    return list(RequestQueue(queue).take())


# ---- stop -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("now", [False, True])
def test_a_request_is_read_until_it_is_cleared(queue: Queue, now: bool) -> None:
    assert read_stop_request(queue) is None
    request_stop(queue, now=now)
    assert read_stop_request(queue) == {"stop": True, "now": now}
    assert read_stop_request(queue) is not None
    clear_requests(queue)
    assert read_stop_request(queue) is None
    clear_requests(queue)
    assert os.listdir(queue.tmp) == []


def test_the_last_request_counts(queue: Queue) -> None:
    request_stop(queue, now=False)
    request_stop(queue, now=True)
    assert (read_stop_request(queue) or {})["now"] is True


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b"\xff", b"5", b"[" * 5000])
def test_nonsense_requests_nothing(queue: Queue, data: bytes) -> None:
    Path(queue.control).write_bytes(data)
    assert read_stop_request(queue) is None


def test_a_directory_in_its_place_requests_nothing(queue: Queue) -> None:
    os.mkdir(queue.control)
    assert read_stop_request(queue) is None


# ---- asks -----------------------------------------------------------------------------------------------
def test_requests_are_done_in_order_and_once(queue: Queue) -> None:
    assert taken(queue) == []
    paths = [send_request(queue, request) for request in REQUESTS]
    requests = RequestQueue(queue)
    for request, path in zip(requests.take(), paths, strict=True):
        assert request == REQUESTS[paths.index(path)]
        assert os.path.exists(path), "it is gone when it is done, not before"
    assert list(requests.take()) == []
    assert os.listdir(queue.asked) == os.listdir(queue.tmp) == []


def test_more_than_nine_are_in_order_too(queue: Queue) -> None:
    wanted = [ControlRequest(threads=number) for number in range(1, 25)]
    for request in wanted:
        send_request(queue, request)
    assert taken(queue) == wanted


def test_two_writers_lose_nothing(queue: Queue) -> None:
    each, got = 40, []
    requests, over = RequestQueue(queue), threading.Event()

    def write(kind: str) -> None:
        for number in range(1, each + 1):
            send_request(queue, ControlRequest(**{kind: number}))

    def read() -> None:
        while not over.is_set():
            got.extend(requests.take())

    writers = [threading.Thread(target=write, args=(kind,)) for kind in ("threads", "processes")]
    reader = threading.Thread(target=read)
    for thread in (*writers, reader):
        thread.start()
    for thread in writers:
        thread.join()
    over.set()
    reader.join()
    got.extend(requests.take())
    for kind in ("threads", "processes"):
        assert [getattr(request, kind) for request in got if getattr(request, kind)] == [*range(1, each + 1)]


@pytest.mark.parametrize("what", REQUESTS)
def test_no_changed_byte_becomes_another_request(queue: Queue, what: ControlRequest) -> None:
    path = Path(send_request(queue, what))
    good = path.read_bytes()
    for at in range(len(good)):
        for bit in (1, 2, 16, 128):
            path.write_bytes(good[:at] + bytes([good[at] ^ bit]) + good[at + 1 :])
            assert next(RequestQueue(queue).take()) in (None, what)
        path.write_bytes(good[:at])
        assert next(RequestQueue(queue).take()) in (None, what), "cut there"


BAD: list[Any] = [
    None, [], 5, {"paused": 1}, {"paused": "yes"}, {"threads": 0}, {"threads": 1025}, {"processes": 257},
    {"threads": True}, {"threads": 2.0}, {"threads": "2"}, {"rate": 2}, {"rate": "fast"}, {"rate": "0"},
    {"deadline": 5}, {"": None},
]  # fmt: skip


@pytest.mark.parametrize("value", BAD, ids=repr)
def test_a_request_that_nobody_may_make(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        ControlRequest.from_json(value)


@given(
    st.builds(
        ControlRequest,
        st.none() | st.booleans(),
        st.none() | st.sampled_from(("none", "auto", "2/s", "1000/h")),
        st.none() | st.integers(1, 256),
        st.none() | st.integers(1, 1024),
    )
)
def test_a_request_comes_back_as_it_was(request: ControlRequest) -> None:
    assert ControlRequest.from_json(json.loads(json.dumps(request.to_json()))) == request


def test_what_lies_there_and_is_no_request_is_left_alone(queue: Queue) -> None:
    os.makedirs(os.path.join(queue.asked, "000002.00000000.json"))
    for name in ("x", ".000001.0a0b0c0d.json.1.tmp", "1.json", "²²²²²².00000000.json"):
        Path(queue.asked, name).write_text("{}")
    send_request(queue, REQUESTS[0])
    requests = RequestQueue(queue)
    assert list(requests.take()) == [None, REQUESTS[0]]
    assert list(requests.take()) == [], "one that cannot be removed is not done again and again"
    assert len(os.listdir(queue.asked)) == 5


def test_what_was_sent_to_a_run_that_is_gone_is_forgotten(queue: Queue) -> None:
    request_stop(queue, now=True)
    for request in REQUESTS:
        send_request(queue, request)
    clear_requests(queue)
    assert (read_stop_request(queue), taken(queue)) == (None, [])


def test_whoever_sends_a_request_learns_when_it_is_done(queue: Queue) -> None:
    path = send_request(queue, REQUESTS[0])
    assert not wait_until_done(queue, path, FOR_EVER_S), "no run is live"
    with take_or_say_who(queue.run_lock, "run", note={}):
        assert not wait_until_done(queue, path, 0.05)
        requests = threading.Thread(target=lambda: taken(queue))
        requests.start()
        assert wait_until_done(queue, path, FOR_EVER_S)
        requests.join()


# ---- the run_state -----------------------------------------------------------------------------------------
PAUSED = RunState("0.5/s", 4, 16, paused=True)


@pytest.mark.parametrize(
    ("before", "what", "after", "turns"),
    [
        (STATE, ControlRequest(), STATE, []),
        (STATE, ControlRequest(paused=True), PAUSED, [("pause", "by user")]),
        (PAUSED, ControlRequest(paused=True), PAUSED, []),
        (PAUSED, ControlRequest(paused=False), STATE, [("resume", "by user")]),
        (STATE, ControlRequest(paused=False), STATE, []),
        (STATE, ControlRequest(rate="2/s"), RunState("2/s", 4, 16), [("set", "rate 0.5/s -> 2/s")]),
        (
            PAUSED,
            ControlRequest(threads=24),
            RunState("0.5/s", 4, 24, paused=True),
            [("set", "threads 16 -> 24")],
        ),
        (
            STATE,
            ControlRequest(rate="none", processes=1, threads=16),
            RunState("none", 1, 16),
            [("set", "rate 0.5/s -> none, processes 4 -> 1")],
        ),
        (
            STATE,
            ControlRequest(paused=True, threads=1),
            RunState("0.5/s", 4, 1, paused=True),
            [("pause", "by user"), ("set", "threads 16 -> 1")],
        ),
    ],
)
def test_what_a_request_makes_of_a_state(
    before: RunState, what: ControlRequest, after: RunState, turns: list[tuple[str, str]]
) -> None:
    assert before.after(what) == after
    assert before.changes(after) == turns


def test_a_state_is_that_of_one_process(queue: Queue) -> None:
    me = {**processes.identity(), "since": "now"}
    assert read_run_state(queue, me) is None
    publish_run_state(queue, PAUSED)
    assert read_run_state(queue, me) == PAUSED
    assert read_run_state(queue, None) is None
    for other in ({"pid": 1}, {"started": "1"}, {"boot": "x"}):
        assert read_run_state(queue, {**me, **other}) is None, "left by a run that was killed"
    remove_run_state(queue)
    assert read_run_state(queue, me) is None


def test_a_slow_rate_is_a_state_too(queue: Queue) -> None:
    publish_run_state(queue, RunState("1.157e-05/s", 1, 1, paused=True))
    assert (read_run_state(queue, processes.identity()) or STATE).paused


@pytest.mark.parametrize(
    "change",
    [{"paused": 1}, {"paused": None}, {"threads": "x"}, {"rate": 5}, {"processes": [1]}],
)
def test_a_damaged_state_is_none(queue: Queue, change: dict[str, Any]) -> None:
    publish_run_state(queue, PAUSED)
    path = Path(queue.live)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert read_run_state(queue, processes.identity()) is None


def test_a_state_with_more_fields_is_one(queue: Queue) -> None:
    publish_run_state(queue, PAUSED)
    path = Path(queue.live)
    path.write_text(json.dumps({**json.loads(path.read_text()), "more": 1}))
    assert read_run_state(queue, processes.identity()) == PAUSED


# ---- its end --------------------------------------------------------------------------------------------
HOLD = (
    "import sys\n"
    "from engine.storage.locks import take_or_say_who\n"
    "with take_or_say_who(sys.argv[1], 'run', note={}):\n"
    "    print('held', flush=True)\n"
    "    sys.stdin.read()\n"
)


def test_the_end_of_a_run_is_seen_however_it_comes(queue: Queue) -> None:
    assert wait_for_run_end(queue, 0.0), "no run is live"
    for kill in (True, False):
        run = subprocess.Popen(
            [sys.executable, "-c", HOLD, queue.run_lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert run.stdout is not None
        assert run.stdin is not None
        assert run.stdout.readline() == b"held\n"
        assert not wait_for_run_end(queue, 0.0)
        assert not wait_for_run_end(queue, 0.05)
        (run.kill if kill else run.stdin.close)()
        assert wait_for_run_end(queue, FOR_EVER_S)
        run.wait()
        run.stdout.close()


def test_a_lock_that_is_let_go_is_an_end_although_its_process_lives(queue: Queue) -> None:
    lock = take_or_say_who(queue.run_lock, "run", note={})
    assert wait_for_run_end(queue, 5.0, wait=lambda pid, within_s: lock.release())
