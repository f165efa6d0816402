"""Who is alive: a process number means nothing without its start and its boot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time

import pytest
from patience import FOR_EVER_S, ends

from engine.storage import processes


def test_this_process_lives() -> None:
    note = processes.identity()
    assert note["pid"] == os.getpid()
    assert processes.alive(note)
    assert processes.alive(json.loads(json.dumps(note)))


@pytest.mark.parametrize(
    "change",
    [
        {"started": "1"},
        {"started": None},
        {"boot": "another"},
        {"pid": None},
        {"pid": "1"},
        {"pid": 2**22 + 1},
    ],
)
def test_any_other_value_is_another_process(change: dict[str, object]) -> None:
    assert not processes.alive({**processes.identity(), **change})


@pytest.mark.parametrize("note", [None, 5, [], {}, "pid", {"pid": 1}])
def test_what_is_no_identity(note: object) -> None:
    assert not processes.alive(note)


def test_a_child_lives_until_it_is_dead_and_a_zombie_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    note = {"pid": child.pid, "started": processes.started(child.pid), "boot": processes.boot_id()}
    assert processes.alive(note)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and nobody has asked for its end yet
    assert os.path.exists(f"/proc/{child.pid}/stat")
    assert processes.started(child.pid) is None
    assert not processes.alive(note)
    child.communicate()
    assert processes.started(child.pid) is None


def test_a_name_with_brackets_and_spaces_does_not_shift_the_fields() -> None:
    naming = "import ctypes, sys; ctypes.CDLL(None).prctl(15, b'a) Z 1 (b', 0, 0, 0)"
    code = f"{naming}; print(flush=True); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    found = processes.started(child.pid)
    child.communicate()
    assert found is not None
    assert int(found) >= int(processes.started(os.getpid()) or 0)


def test_spare_descriptors_are_there_when_all_others_are_gone() -> None:
    code = """
import os, resource
from engine.storage.processes import Spare
spare = Spare(2)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
try:
    while True:
        os.open(os.devnull, os.O_RDONLY)
except OSError:
    pass
spare.free()
spare.free()
print(len([os.open(os.devnull, os.O_RDONLY) for _ in range(2)]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2\n"


@pytest.mark.parametrize("known", [True, False])
def test_the_end_of_a_process_is_waited_for(known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not known:
        monkeypatch.delattr(os, "pidfd_open")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    began_s = time.monotonic()
    processes.wait_for_end(child.pid, 0.05)
    assert time.monotonic() - began_s >= 0.05
    child.kill()
    while processes.started(child.pid) is not None:
        processes.wait_for_end(child.pid, FOR_EVER_S)
    child.communicate()
    processes.wait_for_end(child.pid, FOR_EVER_S)  # there is no such process


def test_spare_descriptors_are_as_many_as_there_are() -> None:
    """A worker that is born when none is left must get far enough to say so."""
    code = (
        "import os, resource; from engine.storage.processes import Spare; fd = os.open('/dev/null', 0);"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (fd + 3, fd + 3)); its = Spare();"
        "assert len(its._fds) == 2; its.free(); os.close(os.open('/dev/null', 0))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_event_is_set_amid_its_own_lock() -> None:
    """As a signal's handler may: the second of two signals in one moment hung the run for ever."""
    event = processes.SignalEvent()

    def handler_amid_a_wait() -> None:
        with event._cond:  # type: ignore[attr-defined]
            event.set()

    thread = threading.Thread(target=handler_amid_a_wait, daemon=True)
    thread.start()
    ends(thread)
    assert event.is_set()
    assert event.wait(0)


def test_waiting_for_an_event() -> None:
    event = processes.SignalEvent()
    began = time.monotonic()
    assert not event.wait(0.12)
    assert time.monotonic() - began >= 0.12
    threading.Timer(0.1, event.set).start()
    assert event.wait(FOR_EVER_S)
    event.clear()
    assert not event.is_set()
