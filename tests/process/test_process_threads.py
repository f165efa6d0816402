"""A thread that is started either runs, or its starter hears of it."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from patience import ends

from engine.process import threads
from engine.process.threads import start_thread


def test_it_runs_with_its_arguments_and_its_name() -> None:
    seen: list[tuple[str, int]] = []
    thread = start_thread(
        lambda number: seen.append((threading.current_thread().name, number)), 7, name="one"
    )
    ends(thread)
    assert seen == [("one", 7)]
    assert thread.daemon


def test_one_that_never_comes_to_run_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where its first steps meet a MemoryError: the kernel has it, and it says nothing."""
    monkeypatch.setattr(threads, "START_S", 0.05)
    monkeypatch.setattr(threading.Thread, "_bootstrap", lambda self: None)
    with pytest.raises(MemoryError, match="never ran"):
        start_thread(print, name="lost")


def test_a_library_s_thread_that_never_comes_to_run_is_told() -> None:
    """Whatever starts it: the whole process is bound, so this is tried in one of its own."""
    code = """
import threading
from engine.process import startup, threads
startup.begin()
threads.START_S = 0.05
threading.Thread(target=print, args=("ran",)).start()
threading.Thread._bootstrap = lambda self: None
try:
    threading.Thread(target=print, name="lost").start()
except MemoryError as exc:
    print(exc)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == ["ran", "a thread was started and never ran"], said.stderr
