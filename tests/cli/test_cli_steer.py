"""`engine pause`, `resume`, `set` and `wait` from a person's point of view, beside a run that only answers."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import batch, some_fail, worked

from engine import cli
from engine.cli.set import WantedSettings, read_pairs
from engine.errors import UsageError
from engine.queue.control import ControlRequest, RequestQueue, RunState, publish_run_state
from engine.queue.directory import Queue
from engine.queue.making import make_queue
from engine.run.supervisor import hold

pytestmark = pytest.mark.usefixtures("no_fsync")


@contextlib.contextmanager
def live(queue: Queue, run_state: RunState) -> Iterator[list[RunState]]:
    """A run that does what it is asked; yields the courses it took."""
    courses, over = [run_state], threading.Event()

    def answer() -> None:
        inbox = RequestQueue(queue)
        while not over.wait(0.002):
            for control_request in inbox.take():
                assert control_request is not None
                courses.append(courses[-1].after(control_request))
                publish_run_state(queue, courses[-1])

    with hold(queue):
        publish_run_state(queue, run_state)
        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield courses
        finally:
            over.set()
            thread.join()


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Queue:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ENGINE_QUEUE", raising=False)
    return make_queue("queue_dir")


def said(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str]:
    capsys.readouterr()
    code = cli.invoke(list(args))
    out, err = capsys.readouterr()
    assert out == ""
    return code, err.strip()


def test_pause_and_resume(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    run = f"the run (pid {os.getpid()})"
    go_on = "`engine resume -q queue_dir` has it go on"
    with live(queue, RunState("0.5/s", 4, 16)) as courses:
        assert said(capsys, "resume") == (0, f"{run} is not paused")
        assert said(capsys, "pause") == (0, f"paused {run}: {go_on}")
        assert courses[-1].paused
        assert said(capsys, "pause") == (0, f"{run} is paused already: {go_on}")
        assert said(capsys, "set")[1] == "rate 0.5/s, threads 16, processes 4; paused"
        assert said(capsys, "resume") == (0, f"{run} goes on")
        assert not courses[-1].paused


def test_set_says_what_was_and_what_is(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    with live(queue, RunState("0.5/s", 4, 16)) as courses:
        assert said(capsys, "set", "rate=2", "threads=24", "processes=4") == (
            0, "rate 0.5/s -> 2/s\nthreads 16 -> 24\nprocesses 4 as before",
        )  # fmt: skip
        assert courses[-1] == RunState("2/s", 4, 24)
        assert said(capsys, "set", "rate=NONE")[1] == "rate 2/s -> none"
        for pairs in (["threads=9", "rat=2"], ["threads=0"]):
            assert said(capsys, "set", *pairs)[0] == 2
        assert courses[-1] == RunState("none", 4, 24), "nothing is set when one of them is wrong"


WRONG = {
    "thread=3": "'thread' cannot be set while a run is live: did you mean threads? rate, threads, processes can",
    "RATES=3": "did you mean rate?",
    "deadline=5": "'deadline' cannot be set while a run is live. rate, threads, processes can",
    "=5": "'' cannot be set",
    "threads": "threads: write the value behind a =, as in `engine set threads=2`",
    "threads=": "Invalid value for '-t' / '--threads': '' is not a valid whole number.",
    "threads=0": "Invalid value for '-t' / '--threads': 0 is not in the range 1<=x<=1024.",
    "processes=257": "Invalid value for '-p' / '--processes': 257 is not in the range 1<=x<=256.",
    "rate=fast": "--rate 'fast' is not a rate. Write requests per second and egress",
    "rate=0": "--rate '0' is out of range",
    "threads=2 threads=3": "threads is given twice",
}


@pytest.mark.parametrize("pairs", WRONG)
def test_what_cannot_be_set(queue: Queue, capsys: pytest.CaptureFixture[str], pairs: str) -> None:
    """In the words of the options of `run`, where it has such an option."""
    code, err = said(capsys, "set", *pairs.split())
    assert code == 2
    assert WRONG[pairs] in err
    with pytest.raises(UsageError):
        read_pairs(tuple(pairs.split()))


@pytest.mark.parametrize(
    ("pairs", "wanted"),
    [
        ((), WantedSettings()),
        (("rate=2",), WantedSettings(rate="2/s")),
        (("rate= 1000/H ",), WantedSettings(rate="1000/h")),
        (("rate=auto", "threads=1", "processes=256"), WantedSettings("auto", 1, 256)),
    ],
)
def test_what_can(pairs: tuple[str, ...], wanted: WantedSettings) -> None:
    assert read_pairs(pairs) == wanted


def test_no_run_is_live(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    """What is to stand still does; what is to go on or to change does not."""
    assert said(capsys, "pause") == (0, "engine: no run is live here")
    code, err = said(capsys, "resume")
    assert (code, "`engine run -q queue_dir` goes on" in err) == (2, True)
    code, err = said(capsys, "set", "rate=2/s", "threads=8")
    assert (code, "`engine run -q queue_dir --rate 2/s --threads 8`" in err) == (2, True)
    assert not os.path.exists(queue.asked)


def test_a_run_that_does_not_look_yet(
    queue: Queue, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.queue.control.wait_until_done.__defaults__", (0.01,))
    with hold(queue):
        for command in (["pause"], ["resume"], ["set", "rate=2"]):
            code, err = said(capsys, *command)
            assert code == 0
            assert f"asked the run (pid {os.getpid()}) to " in err
            assert "not done so yet" in err
        assert said(capsys, "set") == (0, "the run is still starting: ask again in a moment")
        assert list(RequestQueue(queue).take()) == [
            ControlRequest(paused=True),
            ControlRequest(paused=False),
            ControlRequest(rate="2/s"),
        ]


def test_wait_and_status_have_an_exit_code_for_each_state(
    tmp_path: Path, queue: Queue, capsys: pytest.CaptureFixture[str]
) -> None:
    def codes(root: str) -> tuple[int, int]:
        capsys.readouterr()
        by_status = cli.invoke(["status", "-q", root, "--exit-code"])
        assert "final" in capsys.readouterr().out
        waited, err = said(capsys, "wait", "-q", root, "--timeout", "0.05")
        assert "final" in err
        return by_status, waited

    assert codes(worked(tmp_path / "done", 8).root) == (0, 0)
    assert codes(worked(tmp_path / "some", 40, some_fail).root) == (3, 3)
    left = batch(tmp_path / "left", 8)
    assert codes(left.root) == (23, 23)
    with live(left, RunState("none", 1, 1)):
        assert codes(left.root) == (20, 20)
        publish_run_state(left, RunState("none", 1, 1, paused=True))
        assert codes(left.root) == (21, 21)
    assert codes(left.root) == (23, 23)
    for command in (["status", "--exit-code"], ["wait"], ["pause"], ["resume"], ["set"]):
        code, err = said(capsys, *command, "-q", "none")
        assert (code, "no queue in none" in err) == (10, True)
    assert said(capsys, "status", "--watch", "--exit-code")[0] == 2
