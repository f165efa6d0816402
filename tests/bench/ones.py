"""The same jobs seeded one by one and all at once: what is said here must follow the jobs, not the seedings.

Two queues of the same jobs. One is seeded a job at a time (the first and the last seeding are the real command,
those between go through the same code in one process), the other in one seeding. Of each: a seeding, `status --json`,
and the run that works through it with a canned fetch. Figures are system calls (strace, whole families) and CPU
seconds. With --nights the one queue is worked through after each of so many seedings, as a batch synced each night.
Run by `scripts/bench scale --by-ones [--jobs N] [--nights N] [--quick]`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from children import CANNED, ENGINE, UNSYNCED, environment, measured
from rows import ids
from tables import machine, table

OPTIONS = ("-p", "2", "-t", "16", "--rate", "none", "--progress", "none")
LIMIT = 1.5
_TOTAL = re.compile(r"^100\.00\s+\S+\s+(?:\S+\s+)?(\d+)", re.MULTILINE)
_SEED = """
import sys
from engine.inputs import Line
from engine.queue.making import make_queue
from engine.storage.locks import take_or_say_who
from engine.seeding.seed import Seeding
queue = make_queue(sys.argv[1])
for name in sys.stdin.read().split():
    with take_or_say_who(queue.seed_lock, "seeding"):
        Seeding(queue).add([Line("ones", 1, name, name, {}, None)])
"""


def calls(*command: str | Path, changes: dict[str, str] | None = None) -> int:
    """How many system calls a command makes, with all its processes."""
    with tempfile.NamedTemporaryFile(prefix="engine-bench-") as log:
        args = ["strace", "-f", "-c", "-o", log.name, *map(str, command)]
        done = subprocess.run(args, env=environment(changes), capture_output=True, text=True, check=False)
        if done.returncode not in (0, 3, 23):
            raise SystemExit(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        found = _TOTAL.search(Path(log.name).read_text())
        if found is None:
            raise SystemExit("strace counted nothing")
        return int(found[1])


def seed_ones(queue: Path, names: list[str]) -> None:
    """So many seedings, each of one job."""
    command = [sys.executable, "-c", _SEED, str(queue)]
    subprocess.run(command, input=" ".join(names), env=environment(UNSYNCED), text=True, check=True)


class Figures:
    """What was measured of the two queues, and how they compare."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, float, float]] = []

    def add(self, what: str, ones: float, once: float) -> None:
        self.rows.append((what, ones, once))
        print(f"{what}: {ones:,.6g} against {once:,.6g}: {ones / once:.2f}", flush=True)

    def over(self) -> list[str]:
        return [what for what, ones, once in self.rows if ones > LIMIT * once]


def compare(room: Path, count: int, nights: int) -> Figures:
    """Measure `count` jobs seeded one by one against the same in one seeding."""
    found, names = Figures(), ids(count)
    ones, once, listed = room / "ones", room / "once", room / "ids.txt"
    listed.write_text("".join(f"{name}\n" for name in names))
    first = calls(*ENGINE, "seed", names[0], "-q", ones)
    if nights:
        for night in range(nights):
            seed_ones(ones, names[1 + night : -1 : nights])
            run(room, ones, room / "out")
    else:
        seed_ones(ones, names[1:-1])
    found.add("calls of the last seeding, of the first", calls(*ENGINE, "seed", names[-1], "-q", ones), first)
    measured([*ENGINE, "seed", listed, "-q", once])
    if nights:
        run(room, once, room / "out")
    status = [*ENGINE, "status", "--json", "-q"]
    found.add("calls of status", calls(*status, ones), calls(*status, once))
    for name in (ones, once) if not nights else ():
        shutil.copytree(name, room / f"{name.name}-traced")
    if nights:
        found.add(
            "calls of a run", *(calls(*going(room, path), changes=CANNED | UNSYNCED) for path in (ones, once))
        )
    else:
        found.add(
            "calls of the run",
            *(
                calls(*going(room, room / f"{path.name}-traced"), changes=CANNED | UNSYNCED)
                for path in (ones, once)
            ),
        )
        found.add("CPU s of the run", *(run(room, path, room / f"{path.name}-out") for path in (ones, once)))
        found.add("calls of status after it", calls(*status, ones), calls(*status, once))
    return found


def going(room: Path, queue: Path) -> list[str | Path]:
    return [*ENGINE, "run", "-q", queue, "-o", room / "out" / "any" / queue.name, *OPTIONS]


def run(room: Path, queue: Path, out: Path) -> float:
    """Work through a queue; CPU seconds."""
    command = [*ENGINE, "run", "-q", queue, "-o", out / queue.name, *OPTIONS]
    return measured(command, changes=CANNED | UNSYNCED).cpu_s


def main(count: int, nights: int) -> int:
    if shutil.which("strace") is None:
        raise SystemExit("system calls are counted by strace, which is not here")
    with tempfile.TemporaryDirectory(prefix="engine-bench-", dir=os.environ.get("BENCH_ROOM")) as room:
        found = compare(Path(room), count, nights)
    print(f"\n{machine()}; {count:,} jobs{f', {nights} nights' if nights else ''}\n")
    table(
        ("", "by ones", "at once", "ratio"),
        ((what, f"{a:,.6g}", f"{b:,.6g}", f"{a / b:.2f}") for what, a, b in found.rows),
    )
    if found.over():
        print(f"\nmore than {LIMIT} times: {', '.join(found.over())}", file=sys.stderr)
    return int(bool(found.over()))
