"""How a run ends: with nothing left behind, with the right code, whoever still listens."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from patience import HANG_S
from support import Hand, batch, file_rows, finish, ids, reclaim

from engine.cli import say
from engine.cli.display.live_progress import Progress
from engine.monitor.status import collect, finished
from engine.storage import disk


def test_not_finished_while_a_dead_worker_still_has_a_token(tmp_path: Path) -> None:
    queue = batch(tmp_path)
    hand = Hand(queue)
    hand.work(move=False)  # every job final and synced, and it dies before it hands its tokens on
    hand.die()
    file_rows(queue)
    assert collect(queue.root)["ok"] == 40
    assert not finished(queue)
    reclaim(queue)
    assert not finished(queue)  # deferred, due now
    finish(queue)
    assert finished(queue)


def test_a_token_that_moves_back_while_it_is_looked_for_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = batch(tmp_path, 16)
    hand = Hand(queue, lambda _: 900.0)
    chunk = hand.worker.claim(0.0)
    assert chunk is not None
    hand.chunk(chunk, move=False)
    from engine.queue import journal_follower

    def moves(value: object) -> list[str]:
        hand.worker.give_back(chunk, 0.0)  # after deferred/ was listed, before workers/ is
        return []

    monkeypatch.setattr(journal_follower, "worker_ids", moves)
    assert chunk in set(journal_follower.touched_chunks(queue))
    hand.close()


@pytest.mark.parametrize("mode", ["json", "plain"])
def test_a_reader_that_is_gone_does_not_end_the_run(tmp_path: Path, mode: str) -> None:
    queue = batch(tmp_path)
    code = (
        "import sys; from engine.cli.display.live_progress import Progress\n"
        "from engine.queue.directory import Queue\n"
        f"its = Progress(Queue({queue.root!r}), {mode!r}); its._next_at = 0.0; its(); its._next_at = 0.0\n"
        "its(); its.close(); sys.stdout.flush(); sys.stderr.flush(); sys.exit(7)"
    )
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=writer, stderr=writer, timeout=HANG_S, check=False
    )
    os.close(writer)
    assert done.returncode == 7


def test_words_nobody_hears_raise_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("click.echo", gone)
    say("work remains")


def test_progress_that_cannot_be_shown_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = batch(tmp_path)
    progress = Progress(queue, "none")
    progress.mode, progress._next_at = "json", 0.0
    saved = os.dup(1)
    try:

        def gone(*_: object, **__: object) -> None:
            raise BrokenPipeError

        monkeypatch.setattr("click.echo", gone)
        progress()
    finally:
        os.dup2(saved, 1)
        os.close(saved)
    assert progress.mode == "none"


def test_a_stop_asked_while_a_run_still_seeds_is_heard(tmp_path: Path) -> None:
    feed = subprocess.Popen(
        [sys.executable, "-m", "engine", "run", "-", "-q", "q", "-o", "o", "--progress", "none",
         "--proxy", "http://127.0.0.1:9", "-p", "1", "-t", "1"],
        cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert feed.stdin is not None
    try:
        feed.stdin.write("\n".join(ids(3000)) + "\n")
        feed.stdin.flush()
        lock = tmp_path / "q" / "seed.lock"
        # The making of a queue takes the lock, too, and old requests are cleared after it.
        while feed.poll() is None:
            note = lock.read_bytes() if lock.exists() else b""
            if note and b'"make"' not in note:
                break
            time.sleep(0.005)
        stop = [sys.executable, "-m", "engine", "stop", "-q", "q"]
        subprocess.run(stop, cwd=tmp_path, check=True, capture_output=True, timeout=HANG_S)
        _, said = feed.communicate("", timeout=HANG_S)
    finally:
        feed.kill()
    assert feed.returncode == 4, said
    assert not (tmp_path / "q" / "control.json").exists()


def test_nohup_is_obeyed() -> None:
    code = (
        "import signal\n"
        "from engine.run.stop_signals import StopSignals\n"
        "with StopSignals():\n"
        "    print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN, callable(signal.getsignal(signal.SIGTERM)))\n"
    )
    before = signal.getsignal(signal.SIGHUP)
    try:
        for way, heard in ((signal.SIG_IGN, "True True"), (signal.SIG_DFL, "False True")):
            signal.signal(signal.SIGHUP, way)
            said = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=HANG_S
            )
            assert said.stdout.split("\n")[0] == heard
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("number", "word"),
    [(errno.EMFILE, "ulimit"), (errno.ENOENT, "removed"), (errno.ENOSPC, "Make room"), (errno.EIO, "repair")],
)
def test_what_to_do_fits_what_is_wrong(number: int, word: str) -> None:
    said = str(disk.disk_error(OSError(number, os.strerror(number)), "writing the queue"))
    assert word in said
    assert "run again" in said
