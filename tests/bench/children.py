"""Commands measured from outside: wall time, CPU and memory, their whole families included."""

from __future__ import annotations

import contextlib
import functools
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "helpers"))

from injected import injected  # noqa: E402

CANNED = {"engine.youtube.fetcher": "from canned import fetch; Fetcher.fetch = fetch"}
UNSYNCED = {"engine.storage.disk": "_fsync = _fdatasync = lambda fd: None"}
_ROOM = tempfile.TemporaryDirectory(prefix="engine-bench-")
ENGINE = [sys.executable, "-m", "engine"]


@dataclass
class Measured:
    """What a command took. `peak_mb`: of its largest process; `rss_mb`: the peaks by what its processes are."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    out: str
    rss_mb: dict[str, float] = field(default_factory=dict)


@functools.cache
def _compiled() -> dict[str, str]:
    """Where the engine's compiled modules lie: an installed package has them, a source tree may not."""
    where = {"PYTHONPYCACHEPREFIX": str(HERE.parents[1] / ".pytest_cache" / "pycache")}
    command = [sys.executable, "-m", "compileall", "-q", str(HERE.parents[1] / "engine")]
    subprocess.run(command, env=os.environ | where, check=True)
    return where


def environment(changes: Mapping[str, str] | None = None, **more: str) -> dict[str, str]:
    """Ours without what sets options; all processes make these changes to the modules named (`injected`)."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ENGINE_")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    path = injected(Path(_ROOM.name), dict(changes or {}))["PYTHONPATH"]
    return {**kept, **_compiled(), "PYTHONPATH": os.pathsep.join((path, str(HERE))), **more}


def measured(
    *commands: Sequence[str | Path],
    changes: Mapping[str, str] | None = None,
    watch: bool = False,
    codes: Collection[int] = (0, 3),
    **more: str,
) -> Measured:
    """Run commands side by side to their ends. Raises SystemExit with what they said when one ends in another way
    than with these codes."""
    env = environment(changes, **more)
    peaks: dict[str, float] = {}
    cpu_s = peak_mb = 0.0
    ended = []
    with tempfile.TemporaryFile() as said:
        began = time.perf_counter()
        children = [
            subprocess.Popen(list(map(str, command)), stdout=said, stderr=said, env=env)
            for command in commands
        ]
        with _watching(children[0].pid, peaks) if watch else contextlib.nullcontext():
            for child in children:
                _, code, used = os.wait4(child.pid, 0)
                child.returncode = os.waitstatus_to_exitcode(code)
                ended.append(child.returncode)
                cpu_s += used.ru_utime + used.ru_stime
                peak_mb = max(peak_mb, used.ru_maxrss / 1024)
        wall_s = time.perf_counter() - began
        said.seek(0)
        text = said.read().decode("utf-8", "replace")
    if set(ended) - set(codes):
        raise SystemExit(f"{' '.join(map(str, commands[0]))} ended with {ended}:\n{text}")
    return Measured(wall_s, cpu_s, peak_mb, text, peaks)


def role(process: psutil.Process) -> str:
    line = " ".join(process.cmdline())
    if "engine.monitor.monitor" in line:
        return "monitor"
    if "slice_process" in line:
        return "slices"
    return "worker" if "popen_loky" in line else "supervisor" if " run " in line else "other"


@contextlib.contextmanager
def _watching(pid: int, peaks: dict[str, float]) -> Iterator[None]:
    """Sample the memory of a command's processes every half second."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.5):
            with contextlib.suppress(psutil.Error):
                root = psutil.Process(pid)
                for child in (root, *root.children(recursive=True)):
                    with contextlib.suppress(psutil.Error):
                        name, mb = role(child), child.memory_info().rss / (1 << 20)
                        peaks[name] = max(peaks.get(name, 0.0), mb)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
