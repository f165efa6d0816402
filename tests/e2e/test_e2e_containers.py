"""A live run in another pid namespace, as a container has one: what is said of it is so, nothing of it is touched."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import COMMAND, Ended, engine, until
from containers import inside, permitted

from engine.errors import HeldError
from engine.output.publisher import TMP, Output, sweep
from engine.run.worker_process import sweep_semaphores
from engine.storage.locks import Lock, is_locked, kept_free, living_holder, read_note, take_or_say_who
from engine.storage.processes import namespace

HOLD = (
    "import sys; from engine.storage.locks import take_or_say_who\n"
    "lock = take_or_say_who(sys.argv[1], 'run'); print('held', flush=True); sys.stdin.read()"
)
WORK = (
    "import sys; from engine.output.publisher import Output; Output(sys.argv[1], ('md',), 'other.0.1')\n"
    "print('held', flush=True); sys.stdin.read()"
)


pytestmark = pytest.mark.skipif(not permitted(), reason="no pid namespace can be made here")


def holding(code: str, path: str | Path) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    return inside(sys.executable, "-c", code, str(path))


def heard(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    return process.stdout.readline()


def test_a_holder_in_another_namespace_lives_as_long_as_its_lock(tmp_path: Path) -> None:
    path = str(tmp_path / "run.lock")
    with holding(HOLD, path) as process:
        assert heard(process) == b"held\n"
        note = read_note(path)
        assert note is not None
        assert note["pid_namespace"] not in (None, namespace())
        assert living_holder(path) == note
        with pytest.raises(HeldError, match=r"pid [0-9]+ in another container"):
            take_or_say_who(path, "run")
    until(lambda: not is_locked(path), 5.0, "the kernel to free it")
    assert read_note(path) == note
    assert living_holder(path) is None
    take_or_say_who(path, "run").release()


def test_two_onlookers_and_one_who_begins_do_not_refuse_each_other(tmp_path: Path) -> None:
    path = str(tmp_path / "run.lock")
    with holding(HOLD, path) as process:
        heard(process)
    until(lambda: not is_locked(path), 5.0, "the kernel to free it")
    with kept_free(path) as first, kept_free(path) as second:
        assert first and second
        assert living_holder(path) is None
        assert not Lock(path).take()
    take_or_say_who(path, "run").release()


def test_what_a_worker_in_another_namespace_has_in_hand_is_left_alone(tmp_path: Path) -> None:
    root = str(tmp_path / "out")
    os.mkdir(root)
    with holding(WORK, root) as process:
        heard(process)
        Output(root, ("md",), "run.0.1")
        sweep(root)
        assert os.listdir(os.path.join(root, TMP)) == ["other.0.1"]
    until(lambda: not is_locked(os.path.join(root, TMP, "other.0.1", "owner")), 5.0, "its lock to be free")
    sweep(root)
    assert os.listdir(root) == []


def test_semaphores_of_another_namespace_are_left_alone(tmp_path: Path) -> None:
    gone = 2**22 + 1  # no process has this number
    names = [
        f"sem.loky-{gone}-{namespace()}.abc_12",
        f"sem.loky-{gone}-1.abc",
        f"sem.loky-{gone}-abc",
        "sem.x",
    ]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / f"sem.loky-{os.getpid()}-{namespace()}.abc").touch()
    sweep_semaphores({gone, os.getpid()}, str(tmp_path))
    assert not (tmp_path / names[0]).exists()
    assert len(list(tmp_path.iterdir())) == 4


def _rehearse(root: Path, videos: int) -> list[str]:
    args = ["rehearse", "--videos", str(videos), "-q", str(root / "queue"), "-o", str(root / "out")]
    return [*COMMAND, *args, "--progress", "none", "-p", "2", "-t", "2", "--latency", "0.1", "--rate", "20/s"]


@pytest.mark.crash
def test_onlookers_from_outside_of_a_run_in_a_container(tmp_path: Path) -> None:
    queue = tmp_path / "queue"

    def does(name: str, *args: str) -> Ended:
        return engine(name, "-q", queue, *args)

    def status() -> dict[str, object]:
        found: dict[str, object] = json.loads(does("status", "--json").out)
        return found

    with inside(*_rehearse(tmp_path, 5000)) as process:
        until(lambda: status()["in_flight"], 60.0, "for the run to fetch")
        assert status()["state"] == "running"
        assert does("pause").code == 0
        until(lambda: status()["state"] == "paused", 20.0, "for the pause to be seen")
        assert "rate 20/s -> 30/s" in does("set", "rate=30/s").err
        assert "goes on" in does("resume").err
        assert does("wait", "--timeout", "0.1").code == 20
        for refused in (("verify",), ("verify", "--repair"), ("retry",)):
            ended = does(*refused)
            assert ended.code == 11, refused
            assert "in another container" in ended.err
        second = engine("rehearse", "--videos", "0", "-q", queue, "-o", tmp_path / "out")
        assert second.code == 11
        assert "in another container" in second.err
        # Another batch into the same output, outside: what the run in the container has in hand is not swept away.
        other = engine(
            *("rehearse", "--videos", "3", "--seed", "9", "-q", tmp_path / "q2", "-o", tmp_path / "out"),
            *("--progress", "none"),
        )
        assert other.code == 0
        assert os.listdir(tmp_path / "out" / TMP)
        before = int(str(status()["ok"]))
        until(lambda: int(str(status()["ok"])) > before, 30.0, "for the run to go on")
        assert does("stop").code == 0
        assert does("wait", "--timeout", "60").code == 23
        assert process.wait(30.0) == 4
    assert does("verify").code == 0


@pytest.mark.crash
def test_a_run_that_died_in_its_container_is_taken_over_from_outside(tmp_path: Path) -> None:
    queue = tmp_path / "queue"
    with inside(*_rehearse(tmp_path, 30)) as process:
        until(
            lambda: (queue / "run.lock").exists() and any((queue / "workers").iterdir()), 60.0, "for workers"
        )
        process.send_signal(signal.SIGKILL)
        process.wait()
    until(lambda: not is_locked(str(queue / "run.lock")), 10.0, "for all to be dead")
    assert json.loads(engine("status", "-q", queue, "--json").out)["state"] == "stopped"
    ended = engine(
        "rehearse",
        "--videos",
        "0",
        "-q",
        queue,
        "-o",
        tmp_path / "out",
        "--progress",
        "none",
        timeout_s=120.0,
    )
    assert ended.code == 0, ended.said
    assert engine("verify", "-q", queue).code == 0
    assert not (tmp_path / "out" / TMP).exists()
