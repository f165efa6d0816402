"""When `--notify` tells: of the end however it comes, of a stall once, and never of a run that did not begin."""

from __future__ import annotations

import errno
import threading
from pathlib import Path
from typing import Any

import pytest
from patience import HANG_S

from engine.cli import invoke, run_notices
from engine.cli.run_notices import NothingFetched, RunNotices
from engine.errors import DiskError, Exit, HeldError, NoProxyError
from engine.monitor import status
from engine.queue.directory import Queue
from engine.queue.making import make_queue
from engine.run import notify
from engine.storage.locks import Lock

TARGET = notify.Target("there", command=("true",))


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return make_queue(str(tmp_path / "q"))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    notices: list[dict[str, Any]] = []
    monkeypatch.setattr(notify, "send", lambda target, notice, **how: notices.append(notice))
    return notices


def ending(queue: Queue, raised: BaseException | None, **more: Any) -> None:
    notices = RunNotices(queue, TARGET, None)
    with notices:
        notices.begun = more.get("begun", True)
        notices.code, notices.reason = more.get("code", Exit.BUG), more.get("reason", "")
        if raised is not None:
            raise raised


@pytest.mark.parametrize(
    ("raised", "code", "reason"),
    [
        (DiskError("the disk is full"), 13, "the disk is full"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ValueError("with a secret in it"), 1, "ValueError"),
    ],
)
def test_an_end_by_an_error(
    queue: Queue, told: list[dict[str, Any]], raised: BaseException, code: int, reason: str
) -> None:
    with pytest.raises(type(raised)):
        ending(queue, raised)
    assert [(value["exit_code"], value["reason"]) for value in told] == [(code, reason)]


def test_an_end_in_good_order(queue: Queue, told: list[dict[str, Any]]) -> None:
    ending(queue, None, code=4, reason="stopped by `engine stop`")
    ending(queue, None, code=130)
    assert [(value["exit_code"], value["reason"]) for value in told] == [
        (4, "stopped by `engine stop`"),
        (130, "stopped by SIGINT"),
    ]


def test_not_of_a_run_that_never_began(queue: Queue, told: list[dict[str, Any]]) -> None:
    lock = Lock(queue.run_lock)
    assert lock.take(note={})
    with lock:
        assert invoke(["run", "-q", queue.root, "--notify", "true"]) == Exit.HELD
    assert told == []


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--rate", "banana"], "--rate 'banana'"),
        (["missing.txt"], "missing.txt"),
        (["--ca-bundle", "none.pem"], "--ca-bundle none.pem"),
    ],
)
def test_a_run_that_cannot_begin_is_told(
    queue: Queue, told: list[dict[str, Any]], args: list[str], words: str
) -> None:
    assert invoke(["run", "-q", queue.root, "--notify", "true", *args]) == Exit.USAGE
    [notice] = told
    assert (notice["event"], notice["exit_code"]) == ("ended", 2)
    assert words in notice["reason"]
    assert "new_titles" not in notice


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (DiskError("the disk is full"), 13),
        (OSError(errno.EIO, "Input/output error"), 13),
        (PermissionError(errno.EACCES, "Permission denied"), 2),
        (NoProxyError("none is left"), 12),
        (HeldError("another"), None),
        (KeyboardInterrupt(), None),
        (ValueError("a bug"), None),
    ],
)
def test_which_ends_before_the_beginning_are_told(
    queue: Queue, told: list[dict[str, Any]], raised: BaseException, code: int | None
) -> None:
    with pytest.raises(type(raised)):
        ending(queue, raised, begun=False)
    assert [notice["exit_code"] for notice in told] == ([] if code is None else [code])


def test_a_slip_in_the_target_is_told_before_anything_is_made(tmp_path: Path) -> None:
    assert (
        invoke(["run", "dQw4w9WgXcQ", "-q", str(tmp_path / "new"), "--notify", "no-such-program"])
        == Exit.USAGE
    )
    assert not (tmp_path / "new").exists()


def test_a_stall_is_told_once_each_time(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, told: list[dict[str, Any]]
) -> None:
    states = iter(["running", "stalled", "stalled", "running", "stalled"])
    looked: list[str] = []
    mine = threading.current_thread()

    def collect(root: str) -> dict[str, Any]:
        if threading.current_thread() is mine:
            looked.append(next(states))
        return {**status.empty(), "state": looked[-1]}

    monkeypatch.setattr(status, "collect", collect)
    notices = RunNotices(queue, TARGET, None)
    for _ in range(5):
        notices._poll_at = 0.0
        notices.tick()
        for thread in threading.enumerate():
            if thread.name == "notice":
                thread.join(HANG_S)
    assert [(notice["event"], notice["state"], notice["exit_code"]) for notice in told] == [
        ("stalled", "stalled", None),
        ("stalled", "stalled", None),
    ]
    notices.tick()  # not again so soon
    assert len(looked) == 5


def test_without_a_target_nobody_looks(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "collect", None)
    notices = RunNotices(queue, None, None)
    notices._poll_at = 0.0
    with notices:
        notices.begun = True
        notices.tick()


def lost(**changes: Any) -> dict[str, Any]:
    egress = {"name": "p001 h:1", "state": "network", "open_in_s": 9.0, "ok": 7, "cause": "not trusted"}
    value = {**status.empty(), "state": "running", "ok": 30, "limited_by": "network", "egresses": [egress]}
    return {**value, **changes}


@pytest.mark.parametrize(
    ("looks", "told_at"),
    [
        ([(10, lost()), (590, lost()), (610, lost()), (900, lost())], [610]),
        ([(10, lost()), (300, lost(ok=31)), (610, lost(ok=31))], []),  # something was fetched
        ([(10, lost()), (610, lost(limited_by="blocks")), (700, lost())], [700]),
        ([(10, lost()), (610, lost(failed=5))], [610]),  # giving up is no fetching
    ],
)
def test_a_run_that_has_never_fetched_is_told_of_once(
    looks: list[tuple[float, dict[str, Any]]], told_at: list[float]
) -> None:
    nothing = NothingFetched(0.0)
    said = {now: nothing.look(value, now) for now, value in looks}
    assert [now for now, text in said.items() if text] == told_at
    for now in told_at:
        assert said[now].startswith("nothing could be fetched for 10 min, since the run began; waiting: ")
        assert said[now].endswith("no connection through p001 h:1, next try in 9 s (not trusted)")


def test_it_is_sent_while_the_run_goes_on(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, told: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr(status, "collect", lambda root: lost())
    monkeypatch.setattr(run_notices, "NOTHING_FETCHED_S", 0.0)
    notices = RunNotices(queue, TARGET, None)
    for _ in range(3):
        notices._poll_at = 0.0
        notices.tick()
        for thread in threading.enumerate():
            if thread.name == "notice":
                thread.join(HANG_S)
    assert [(notice["event"], notice["state"]) for notice in told] == [("stalled", "running")]
