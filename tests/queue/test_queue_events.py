"""Events: complete lines, whoever writes them and whatever they hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from patience import HANG_S

from engine.queue import claims, events
from engine.queue.directory import Queue
from engine.storage import disk


def told(queue: Queue) -> list[dict[str, object]]:
    with open(queue.events, "rb") as file:
        return [json.loads(line) for line in file]


def test_a_line_has_time_event_reason_and_more(tmp_path: Path) -> None:
    queue = Queue(str(tmp_path))
    events.emit(queue, "block", "opens again in 60 s", egress="p001 host:1", wait_s=60.0)
    events.emit(queue, "stop")
    first, second = told(queue)
    assert list(first) == ["at", "event", "reason", "egress", "wait_s"]
    assert (first["event"], first["wait_s"]) == ("block", 60.0)
    assert str(first["at"]).endswith("Z")
    assert (second["event"], second["reason"]) == ("stop", "")


def test_odd_text_stays_on_one_line(tmp_path: Path) -> None:
    queue = Queue(str(tmp_path))
    text = "a\nb\x1b[31m\u2028\ud800é\0"
    events.emit(queue, "odd", text)
    with open(queue.events, "rb") as file:
        data = file.read()
    assert data.isascii()
    assert data.count(b"\n") == 1
    assert told(queue)[0]["reason"] == text


def test_a_disk_that_is_full_loses_the_event_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Queue(str(tmp_path))
    before = len(os.listdir("/proc/self/fd"))

    def full(fd: int, data: object) -> int:
        raise OSError(28, "full")

    monkeypatch.setattr(disk, "_write", full)
    events.emit(queue, "block")
    events.emit(Queue(str(tmp_path / "missing")), "block")
    assert len(os.listdir("/proc/self/fd")) == before


def test_it_follows_no_link(tmp_path: Path) -> None:
    queue = Queue(str(tmp_path))
    os.symlink(tmp_path / "elsewhere", queue.events)
    events.emit(queue, "block")
    assert not (tmp_path / "elsewhere").exists()


def test_several_processes_write_whole_lines(tmp_path: Path) -> None:
    code = (
        "import sys; from engine.queue import events; from engine.queue.directory import Queue\n"
        "for n in range(200): events.emit(Queue(sys.argv[1]), 'e', 'x' * (n % 90), who=sys.argv[2], n=n)"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(who)]) for who in range(3)]
    assert [writer.wait(HANG_S) for writer in writers] == [0, 0, 0]
    found = told(Queue(str(tmp_path)))
    assert len(found) == 600
    for who in "012":
        assert [event["n"] for event in found if event["who"] == who] == list(range(200))


def test_the_runs_that_a_queue_has_had(tmp_path: Path) -> None:
    queue = Queue(str(tmp_path))
    assert events.past_runs(queue) == set()
    events.emit(queue, "start", "1 x 2", run="20261122T090603-11177-a8dc3a")
    events.emit(queue, "slot_died", "{SIGKILL(-9)}", slot=0, worker="20261122T090603-7-a8dc3a.0.1")
    with open(queue.events, "ab") as file:
        file.write(b'{"event": "start", "run": "nonsense"}\n\xff\n{"event": "start"')
    events.emit(queue, "start", "1 x 2", run=claims.run_id())
    assert events.past_runs(queue) == {11177, os.getpid()}
