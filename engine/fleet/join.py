"""`engine fleet join`: a machine's part of a fleet. It holds the proxy group and starts the machine's Dask worker."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from typing import Any

from engine.errors import Exit, HeldError, UsageError
from engine.fleet.group_use import GroupUse
from engine.fleet.ledger import Ledger
from engine.fleet.machine import MachineDirectory
from engine.fleet.share import MachineOptions, Say
from engine.process import environment
from engine.storage import disk
from engine.storage.locks import Lock, living_holder
from engine.storage.processes import SignalEvent
from engine.storage.timestamps import utc

VARIABLE = "ENGINE_FLEET_JOIN"  # where tasks of the worker find what their machine is
RESOURCE = "engine"
_WORKER_GRACE_S = 10.0
_AGAIN_S = 5.0


def join(
    ledger: Ledger, scheduler: str, options: MachineOptions, places: int, stop: SignalEvent, say: Say
) -> int:
    """Offer places to a scheduler until `stop` is set; returns the exit code."""
    if not has_dask():
        raise UsageError("engine fleet join needs Dask: pip install '.[fleet]' in engine's directory")
    fleet = ledger.fleet()
    machine = MachineDirectory(options.work)
    lock = Lock(machine.path("join.lock"))
    if not lock.take(note={"at": utc()}):
        pid = (living_holder(lock.path) or {}).get("pid")
        raise HeldError(f"this machine has joined already (pid {pid}): {machine.root}")
    with lock:
        while not stop.is_set():
            me = {"machine": machine.name, "token": secrets.token_hex(8), "at": utc()}
            group_use = None
            if fleet.groups:
                group_use = GroupUse(ledger, fleet, machine, me, options.run.get("proxies"))
                if not group_use.take(stop, say):
                    break
            _offer(machine, scheduler, options, places, group_use, stop, say)
            if group_use is not None:
                group_use.end()
                if group_use.lost.is_set():
                    say(
                        f"the proxy group is another machine's now{': ' * bool(group_use.error)}{group_use.error}"
                    )
    return Exit.OK


def has_dask() -> bool:
    import importlib.util

    return importlib.util.find_spec("distributed") is not None


def _offer(
    machine: MachineDirectory,
    scheduler: str,
    options: MachineOptions,
    places: int,
    group_use: GroupUse | None,
    stop: SignalEvent,
    say: Say,
) -> None:
    """Keep a Dask worker alive until `stop` is set or the proxy group is lost; then let its shares drain."""
    run = dict(options.run)
    if group_use is not None:
        run["proxies"] = group_use.proxies
    note = {"work": machine.root, "run": run, "group": group_use.group if group_use else None}
    disk.publish(machine.path("join.json"), json.dumps(note).encode() + b"\n")

    def over() -> bool:
        return stop.is_set() or (group_use is not None and group_use.lost.is_set())

    while not over():
        with _worker(machine, scheduler, places) as worker:
            while worker.poll() is None and not over():
                stop.wait(0.5)
        if not over():
            say(f"the Dask worker ended with {worker.returncode}: it is started again")
            stop.wait(_AGAIN_S)
    _drained(machine, say)


@contextlib.contextmanager
def _worker(machine: MachineDirectory, scheduler: str, places: int) -> Any:
    """The worker process. Its standard input is a pipe: when this process dies, so does the worker."""
    command = [sys.executable, "-P", "-m", "engine.fleet.dask_worker", scheduler]
    command += [
        "--name",
        f"{machine.name}-{secrets.token_hex(2)}",
        "--nthreads",
        str(places + 1),
        "--nworkers",
        "1",
    ]
    command += ["--resources", f"{RESOURCE}={places}", "--memory-limit", "0", "--no-dashboard"]
    command += ["--local-directory", machine.path("dask")]
    variables = {**os.environ, VARIABLE: machine.path("join.json")}
    if modules := environment.environment().get("PYTHONPATH"):
        variables["PYTHONPATH"] = modules
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, env=variables, start_new_session=True)
    try:
        yield worker
    finally:
        if worker.poll() is None:
            worker.terminate()
        try:
            worker.wait(_WORKER_GRACE_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
        if worker.stdin is not None:
            worker.stdin.close()


def _drained(machine: MachineDirectory, say: Say) -> None:
    """Wait until the machine's shares have brought what they had and left: their pipes have ended."""
    told = False
    while any(living_holder(lock) is not None for lock in machine.at_work()):
        if not told:
            told = True
            say("the shares at work here finish what is in flight and bring it")
        time.sleep(0.2)
