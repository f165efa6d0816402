"""Row 11: INT, TERM and HUP, once and twice, to the process and to its whole group; a terminal that is lost.

Whenever they come, the run ends within its grace time with the code of the first signal and no traceback, leaves
nothing behind, repeats no request when it was asked once, and the next run goes on.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import random
import select
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import recount
from commands import COMMAND, Batch, Command, environment, run_on_a_terminal, session_members, until, videos
from killing import slack
from nights import Place
from patience import HANG_S, Limit
from scorecard import Told, row

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FEW = ("-p", "2", "-t", "4")
GRACE_S = 6.0
SLACK_S = 1.0  # of the promise: exit within the grace time and so much
BUSY_S = 4.0  # what other processes on a shared machine may add to it
BORN_S = 0.25  # before that Python itself is still starting, and a signal ends it in the ordinary way


def _batch(place: Place, seed: int, latency_s: float, **settings: object) -> Batch:
    site = place.stand_in(seed=seed, latency_s=latency_s, **settings)
    return place.batch(videos(80, seed), site)


def _told(batch: Batch, command: Command) -> None:
    """Let some requests come, a different number each time; no matter if the run ends before."""
    assert batch.site is not None
    site, wanted = batch.site, random.Random(str(batch.ids[0])).randrange(1, 80)
    until(lambda: sum(site.stats()["requests"].values()) >= wanted or not command.live, 90.0, "for requests")


def _same_counts(batch: Batch) -> None:
    """What `engine status` says is what the files say."""
    if not (batch.queue / "batch.json").exists():
        return
    status = batch.status()
    assert status["state"] in ("stopped", "finished"), status
    assert status["in_flight"] == 0
    final = {
        journal_line["video_id"]: journal_line["status"]
        for verb, journal_line in recount.journal_lines(batch.queue)
        if verb == "final"
    }
    found = collections.Counter(final.values())
    assert all(status[name] == found[name] for name in ("ok", "absent", "failed")), (status, found)


def _goes_on(batch: Batch) -> None:
    assert batch.run().code == 0
    batch.clean()
    assert {value["attempts"] for value in batch.rows().values()} == {1}


@row(
    11,
    "signal-once",
    "INT, TERM or HUP, once, at any moment, to the process or its group",
    trials=60,
    quick=1,
)
def once(place: Place, seed: int) -> str:
    dice = random.Random(seed)
    number, group = SIGNALS[seed % 3], dice.random() < 0.5
    batch = _batch(place, seed, dice.choice((0.05, 0.25)))
    with batch.start(*FEW, "--grace", str(GRACE_S)) as run:
        began_s = time.monotonic()
        early = dice.random() < 0.3
        if early:
            time.sleep(BORN_S + dice.uniform(0.0, 0.8))
        else:
            _told(batch, run)
        asked_s = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, number) if group else os.kill(run.pid, number)
        ended = run.wait(GRACE_S + 20)
        took_s = time.monotonic() - asked_s
        batch.gone(run)
    assert "Traceback" not in ended.said, ended.said
    codes = {128 + number} | ({-number} if early else set())  # who has no handler yet ends of the signal
    finished = ended.code == 0 and set(batch.rows()) == set(batch.ids)
    assert ended.code in codes or finished, (number.name, group, ended)
    assert took_s < (GRACE_S + SLACK_S + BUSY_S) * slack(), took_s
    if (batch.queue / "batch.json").exists() and ended.code == 128 + number and batch.out.exists():
        batch.clean(finished=False)
    _same_counts(batch)
    _goes_on(batch)
    assert batch.site is not None
    sent = sum(batch.site.stats()["requests"].values())
    assert sent == 2 * len(batch.ids), f"{sent} requests for {len(batch.ids)} videos: a drain repeats none"
    whom = "the group" if group else "the process"
    return f"{number.name} to {whom} {asked_s - began_s:.2f} s after the start: over in {took_s:.2f} s"


@row(11, "signal-twice", "INT, TERM or HUP, twice, while every answer hangs", trials=60, quick=1)
def twice(place: Place, seed: int) -> str:
    dice = random.Random(seed)
    number, second, group = SIGNALS[seed % 3], dice.choice(SIGNALS), dice.random() < 0.5
    batch = _batch(place, seed, 0.02, scenarios=("hang=0.5",))
    assert batch.site is not None
    with batch.start(*FEW, "--grace", "30") as run:
        until(lambda: sum(map(len, _busy(batch))) >= 4 or not run.live, 90.0, "for jobs that hang")
        time.sleep(dice.uniform(0.0, 0.3))
        os.kill(run.pid, number)
        gap_s = dice.choice((0.0, 0.02, 0.5))
        if second == number:  # the kernel makes one of two equal ones that nobody has heard yet
            gap_s = 0.5
        time.sleep(gap_s)
        asked_s = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, second) if group else os.kill(run.pid, second)
        ended = run.wait(30)
        took_s = time.monotonic() - asked_s
        batch.gone(run)
    assert "Traceback" not in ended.said, ended.said
    # Two that come in one moment are heard in the order of their numbers, not in that of their sending.
    heard = {128 + number, 128 + second} if gap_s < 0.1 else {128 + number}
    assert ended.code in heard, (number.name, second.name, ended)
    assert took_s < (SLACK_S + BUSY_S) * slack(), took_s
    # Rows of the last seconds may be in the journals alone, so that their files have no row in the manifest yet.
    assert recount.leftovers(batch.queue, batch.out) == []
    _same_counts(batch)
    batch.site.play(replace=True)
    _goes_on(batch)
    return f"{number.name}, {second.name} {gap_s:g} s later: over in {took_s:.2f} s"


def _busy(batch: Batch) -> list[list[str]]:
    return [recount.busy(path) for path in recount.workers(batch.queue).values()]


@row(11, "terminal-lost", "the run's own terminal is gone (pty closed)", trials=20)
def terminal(place: Place, seed: int) -> str:
    """The other end of the terminal is closed, as when a window or a connection is: HUP, and nobody to tell."""
    batch = _batch(place, seed, 0.1)
    process, master = run_on_a_terminal(batch, *FEW, "-v", "--grace", str(GRACE_S))
    shown = _watch(master, lambda: _requests(batch) >= random.Random(seed).randrange(1, 100))
    gone_s = time.monotonic()
    os.close(master)
    code = process.wait(HANG_S)
    took_s = time.monotonic() - gone_s
    until(lambda: not session_members(process.pid), 3.0, "orphans of a run whose terminal is gone")
    assert b"Traceback" not in shown, shown
    assert code == 129, shown
    return _lost(batch, took_s)


def _watch(master: int, enough: Callable[[], bool]) -> bytes:
    """Read what a terminal shows until there is enough."""
    shown, limit = b"", Limit(30.0)
    while not enough():
        assert not limit.over, shown
        ready, _, _ = select.select([master], [], [], 0.02)
        with contextlib.suppress(OSError):
            shown += os.read(master, 65536) if ready else b""
    return shown


def _requests(batch: Batch) -> int:
    assert batch.site is not None
    return sum(batch.site.stats()["requests"].values())


def _lost(batch: Batch, took_s: float) -> str:
    """What holds after a terminal is gone."""
    assert took_s < (GRACE_S + SLACK_S + BUSY_S) * slack(), took_s
    stops = [event for event in recount.events(batch.queue) if event["event"] == "stop"]
    assert [stop["exit_code"] for stop in stops] == [129], stops
    batch.clean(finished=False)
    _same_counts(batch)
    final = len(batch.rows())
    _goes_on(batch)
    assert _requests(batch) == 2 * len(batch.ids), "a drain repeats no request"
    return f"over in {took_s:.2f} s with {final} of {len(batch.ids)} final"


@row(11, "tmux-gone", "the terminal's server is ended (tmux kill-server)", trials=20)
def tmux(place: Place, seed: int) -> str | Told:
    """By turns the run is the terminal's own process, and one that a shell in it started."""
    program = shutil.which("tmux")
    if program is None:
        return Told(0, "not played: there is no tmux here")
    batch = _batch(place, seed, 0.1)
    socket, code_file = place.root / "tmux.socket", place.root / "code"
    args = [*COMMAND, *batch.run_args(batch.file, *FEW, "--progress", "bar", "--grace", str(GRACE_S))]
    text = shlex.join(args)
    server = [program, "-S", str(socket), "-f", os.devnull]
    whose = "exec " if seed % 2 else "set +m; "
    if seed % 2 == 0:
        text += f"; echo $? > {shlex.quote(str(code_file))}"
    script = place.root / "script"
    script.write_text(whose + text)
    new = [*server, "new-session", "-d", "-x", "120", "-y", "40", f"bash --norc {shlex.quote(str(script))}"]
    subprocess.run(new, check=True, env=environment(TERM="xterm"))
    try:
        wanted = random.Random(seed).randrange(1, 100)
        until(lambda: _requests(batch) >= wanted, 30.0, "for requests")
        pid = json.loads((batch.queue / "run.lock").read_bytes())["pid"]
        batch.pids.append(pid)
        gone_s = time.monotonic()
    finally:
        subprocess.run([*server, "kill-server"], check=True)
    until(lambda: not Path(f"/proc/{pid}").exists(), GRACE_S + 20, "the run to end")
    took_s = time.monotonic() - gone_s
    until(lambda: not _naming(batch.queue), 3.0, f"orphans: {_naming(batch.queue)}")
    return _lost(batch, took_s)


def _naming(queue: Path) -> list[str]:
    """The processes whose command line names a queue."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{name}/cmdline").read_bytes()
                if os.fsencode(queue) in line:
                    found.append(f"{name} {line!r}")
    return found
