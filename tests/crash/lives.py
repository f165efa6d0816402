"""The life of a small batch in processes of its own, with a fault at a chosen step to disk of one of them.

    lives.py ROOT FAULT SEED SHARD SHARDS [STORE [BROKEN]]

A life is four commands by the engine's own code: seed some and run, seed more and run, retry, run. Each is a
forked process, so that death is death: the kernel closes what it held. Every fetch is canned; all else is real
(claims, laps on threads, journals, output, monitor, recovery). A trial restores the files as they were before
one of the commands, plays it with a fault at step k, then gives it and the rest again without, and looks at
what came of it. Prints one line of JSON. BROKEN names an engine that is broken on purpose.
Run by `row_steps.py` and its sisters; by hand to play one again.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "helpers"), str(HERE.parent.parent)]

import recount  # noqa: E402
from faults import KILLED, SYNCS, WRITES, FailingSync, Seam, dying, full, short  # noqa: E402
from support import STEPS, ids, lines  # noqa: E402

from engine import verify  # noqa: E402
from engine.budget import BudgetSettings, Rate  # noqa: E402
from engine.budget.limiter import Budget  # noqa: E402
from engine.errors import EngineError, Exit  # noqa: E402
from engine.model import (  # noqa: E402
    Cue,
    EgressSpec,
    Failure,
    Fetched,
    Kind,
    Metadata,
    NotFetched,
    Permit,
    RequestCost,
    Transcript,
)
from engine.monitor import status  # noqa: E402
from engine.monitor.monitor import Monitor  # noqa: E402
from engine.output import destination, publisher, shards  # noqa: E402
from engine.output.shard_output import ShardOutput  # noqa: E402
from engine.queue import events, gathering, joined_segment  # noqa: E402
from engine.queue.claims import run_id  # noqa: E402
from engine.queue.directory import Queue, worker_ids  # noqa: E402
from engine.queue.job_state import ChunkState  # noqa: E402
from engine.queue.making import make_queue  # noqa: E402
from engine.queue.segments import Chunk, split_chunks  # noqa: E402
from engine.recovery.requeue import retry  # noqa: E402
from engine.recovery.startup import recover  # noqa: E402
from engine.run.supervisor import hold  # noqa: E402
from engine.seeding import seed  # noqa: E402
from engine.settings import Frozen, Settings, freeze  # noqa: E402
from engine.storage import disk  # noqa: E402
from engine.storage.locks import take_or_say_who  # noqa: E402
from engine.worker import main as worker  # noqa: E402
from engine.worker import retry_policy  # noqa: E402
from engine.worker.context import Resources  # noqa: E402
from engine.worker.main import MainLoop, WorkerControl  # noqa: E402
from engine.youtube.fetcher import Fetcher  # noqa: E402, F401 - loaded before the forks

THREADS = 2
FEW, ALL = ids(6), ids(11)
ABSENT, FLAKY = {ids(11)[4], ids(11)[10]}, {ids(11)[1], ids(11)[8]}
EXPECTED = {name: ("private" if name in ABSENT else None) for name in ALL}
UNDISTURBED = len(ALL) + 3 * len(FLAKY)  # fetches: a flaky one fails twice, and is put back once
SAID = {"short": (0,), "full": (Exit.DISK,), "eio": (Exit.DISK,), "die": (KILLED,), "torn": (KILLED,)}


def wanted(output: str) -> Frozen:
    """What the first run fixes: files, or with a last argument `shards` those."""
    if sys.argv[6:7] == ["shards"]:
        return Frozen(output, formats=(), store="shards")
    return Frozen(output)


# ---- what the processes do -------------------------------------------------------------------------------
def hurry() -> None:
    """The same work with shorter times and smaller pieces."""
    retry_policy.WAITS_S = (0.01, 0.01, 0.01)
    worker.SYNC_S, worker.IDLE_S, worker.PAUSE_S, worker.RECLAIM_S = 0.02, 0.01, 0.001, 0.05
    seed.SEGMENT_JOBS = 5
    seed.chunk_size = joined_segment.chunk_size = lambda count, cores: 3
    gathering.MANY = (
        2  # at the start of a run what nobody has touched, at its end and the next start what is filed
    )
    events.utc = lambda *args, **kwargs: "2026-11-22T09:00:00.000Z"  # the same bytes in each life


def canned(log: int, again: bool) -> Callable[[str, Permit], Fetched | NotFetched]:
    """What the site would say; `again` after the flaky ones were put back."""

    def fetch(video_id: str, permit: Permit, **_: object) -> Fetched | NotFetched:
        os.write(log, f"{video_id}\n".encode())
        if video_id in ABSENT:
            return NotFetched(Failure(Kind.PRIVATE, "it is private"), RequestCost(1, 500))
        if video_id in FLAKY and not again:
            return NotFetched(Failure(Kind.SERVER_ERROR, "HTTP 500"), RequestCost(1, 0))
        cues = (Cue(0.0, 1.5, f"Hello {video_id}"), Cue(1.5, 2.0, "☂ and goodbye"))
        about = Metadata(title=f"About {video_id}", channel="Someone", duration_s=60)
        return Fetched(about, Transcript("en", "English", False, cues), RequestCost(2, 4000))

    return fetch


def run(root: Path, names: list[str], again: bool = False) -> None:
    """What `engine run` does, in one process: seed, recover, worker and monitor in turn, until all is filed."""
    queue = make_queue(str(root / "queue"))
    with hold(queue):
        with take_or_say_who(queue.seed_lock, "seeding"):
            seed.Seeding(queue).add(lines(names))
        disk.ensure_dirs(str(root / "out"), mode=0o777)
        batch = destination.claim(queue, str(root / "out"))
        frozen = freeze(queue, wanted(str(root / "out")), frozenset())
        with take_or_say_who(queue.seed_lock, "seeding"):
            recover(queue)
        settings = Settings(
            queue=queue.root,
            frozen=frozen,
            batch=batch,
            egresses=(EgressSpec("direct"),),
            budget=BudgetSettings(Rate("none"), 60.0),
            threads=THREADS,
            attempts=2,
        )
        Budget.open(queue.budget, settings.egresses, settings.budget, new_run=True).close()
        name = run_id()
        for number in range(20):
            with take_or_say_who(queue.monitor_lock, "monitor"):
                monitor = Monitor(queue)
                monitor.finish()
                monitor.close()
            if status.finished(queue) and not worker_ids(queue):
                publisher.sweep(frozen.output)
                return
            _work(queue, settings, f"{name}.0.{number}", root / "fetched", again)
        raise AssertionError("it does not get there")


def _work(queue: Queue, settings: Settings, name: str, log: Path, again: bool) -> None:
    control = WorkerControl(settings)
    stop = control.stop
    resources = Resources(settings, stop, control.abort)
    fd = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    resources.fetcher.fetch = canned(fd, again)  # type: ignore[method-assign]

    def watch() -> None:
        ends_at = time.monotonic() + 20.0
        while not _handed_on(queue) and time.monotonic() < ends_at:
            stop.wait(0.002)
        stop.set()

    threading.Thread(target=watch, daemon=True).start()
    report = MainLoop(control, resources, name).run()
    if report.why == "error":
        error = EngineError(report.message)
        error.exit_code = Exit(report.exit_code)
        raise error


def _handed_on(queue: Queue) -> bool:
    """Every chunk is finished."""
    return all(
        len(os.listdir(queue.done(segment)) + os.listdir(queue.filed(segment)))
        == len(list(split_chunks(queue.segment(segment))))
        for segment in queue.segments()
    )


def _retry(root: Path) -> None:
    retry(Queue(str(root / "queue")))


COMMANDS: list[Callable[[Path], None]] = [
    lambda root: run(root, FEW),
    lambda root: run(root, ALL),
    _retry,
    lambda root: run(root, ALL, again=True),
]


def command_line(act: Callable[[], None]) -> int:
    """Do it as the command line does: an exit code, and words for people on stderr."""
    try:
        act()
    except EngineError as exc:
        print(f"engine: {exc}", file=sys.stderr)
        return int(exc.exit_code)
    except OSError as exc:
        if disk.is_disk_error(exc):
            print(f"engine: {disk.disk_error(exc, exc.filename or 'writing')}", file=sys.stderr)
            return int(Exit.DISK)
        traceback.print_exc()
        return int(Exit.BUG)
    except BaseException:
        traceback.print_exc()
        return int(Exit.BUG)
    return 0


def in_a_process(words: Path, act: Callable[[], int]) -> tuple[int, str]:
    """(exit code, what it said) of a forked process that does this."""
    pid = os.fork()
    if not pid:
        fd = os.open(words, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(fd, 2)
        code = int(Exit.BUG)
        try:
            code = act()
            sys.stderr.flush()
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code, words.read_text(errors="replace")


# ---- engines that must be caught -------------------------------------------------------------------------
def _once(fd: int, data: bytes, offset: int) -> None:
    """A write that takes less than it is given is taken for a whole one."""
    disk._pwrite(fd, data, offset)


_open_chunk = ShardOutput.open_chunk


def _cut_too_early(self: ShardOutput, chunk: Chunk, state: ChunkState) -> None:
    """The next owner goes on writing in front of the last frame that a row names."""
    _open_chunk(self, chunk, state)
    self._ends[chunk] = len(shards.header(self.batch))


BROKEN: dict[str, tuple[object, str, object]] = {
    "a short write": (disk, "pwrite", _once),
    "cut too early": (ShardOutput, "open_chunk", _cut_too_early),
}


# ---- trials ----------------------------------------------------------------------------------------------
class Lives:
    """Trials in one directory."""

    def __init__(self, root: Path, fault: str) -> None:
        self.root, self.fault = root, fault
        self.work, self.words, self.memory = root / "work", root / "words", root / "memory"
        self._only = {"short": WRITES, "eio": (*SYNCS, "_write", "_pwrite", "_open")}.get(fault, STEPS)
        self._counted = {"short": WRITES, "eio": SYNCS}.get(fault, STEPS)
        self.lengths = [self._before(number) for number in range(len(COMMANDS))]

    def _before(self, number: int) -> int:
        """Keep the files as they are before a command, then give it; returns how many steps it took."""
        self.work.mkdir(exist_ok=True)
        shutil.copytree(self.work, self.root / f"before{number}")

        def act() -> int:
            seam = Seam(only=self._counted)
            code = command_line(lambda: COMMANDS[number](self.work))
            print(f"\n{seam.steps}", file=sys.stderr)
            return code

        code, said = in_a_process(self.words, act)
        assert code == 0, said
        return int(said.split()[-1])

    def steps(self) -> list[tuple[int, int]]:
        """(command, step) of each place for a fault; threads make the number vary a little."""
        return [(number, k) for number, length in enumerate(self.lengths) for k in range(length + 2)]

    def trial(self, number: int, step: int, then: list[int]) -> bool:
        """One fault, and in what follows one at each of the steps `then`; whether the first came to pass."""
        shutil.rmtree(self.work)
        shutil.copytree(self.root / f"before{number}", self.work)
        if self.fault == "eio":
            self.memory.unlink(missing_ok=True)
            FailingSync(self.memory).settle(self.work)
        before = self.fetched()
        code, said = self.disturbed(number, step)
        happened = code in SAID[self.fault] and (self.fault != "short" or step < self.lengths[number])
        assert code in (0, *SAID[self.fault]), said
        if code == Exit.DISK:
            assert str(self.work) in said, f"it does not say where: {said}"
            assert "run again" in said, said
        faults = int(code != 0)
        for k in then:
            faults += self.disturbed(number, k)[0] != 0
        for rest in range(number, len(COMMANDS)):
            code, said = in_a_process(self.words, lambda: self._undisturbed(rest))  # noqa: B023
            assert code == 0, said
        self.check()
        undisturbed = UNDISTURBED if number == 0 else UNDISTURBED - before
        fetched = self.fetched() - before
        assert fetched <= undisturbed + THREADS * faults, f"{fetched} fetches, {undisturbed} undisturbed"
        if self.fault == "eio" and happened:
            self.cut_power()
        return happened

    def fetched(self) -> int:
        with contextlib.suppress(FileNotFoundError):
            return len((self.work / "fetched").read_bytes().splitlines())
        return 0

    def disturbed(self, number: int, step: int) -> tuple[int, str]:
        """A command with the fault at a step: (exit code, what it said)."""

        def act() -> int:
            sync = FailingSync(self.memory)
            faults = {
                "die": lambda: dying(step, torn=False),
                "torn": lambda: dying(step, torn=True),
                "short": lambda: short(step),
                "full": lambda: full(step),
                "eio": lambda: sync.fault(step),
            }
            Seam(faults[self.fault](), self._only)
            code = command_line(lambda: COMMANDS[number](self.work))
            if self.fault == "eio":
                sync.save()
                if sync.tried_again or sync.failed != (code == Exit.DISK):
                    print(f"failed {sync.failed}, tried again {sync.tried_again}", file=sys.stderr)
                    return int(Exit.BUG)
            return code

        code, said = in_a_process(self.words, act)
        if self.fault == "eio":
            self.vouched()
        return code, said

    def _undisturbed(self, number: int) -> int:
        if self.fault != "eio":
            Seam()
            return command_line(lambda: COMMANDS[number](self.work))
        sync = FailingSync(self.memory)
        Seam(sync.fault(-1), self._only)
        code = command_line(lambda: COMMANDS[number](self.work))
        sync.save()
        return code

    def vouched(self) -> None:
        """What journals and checkpoint vouch for is on the disk."""
        sync = FailingSync(self.memory)
        queue = self.work / "queue"
        for path in (queue / "journal").glob("*/*.jsonl"):
            if not (queue / "segments" / f"{path.parent.name}.jsonl").exists():
                continue  # a gathering was making it: the next one throws it away
            upto = max((end for end in _synced(path)), default=0)
            assert not sync.not_on_disk(path, upto), f"{path}: vouched for up to {upto}, and not on the disk"
        with contextlib.suppress(FileNotFoundError):
            length = json.loads((queue / "checkpoint.json").read_bytes())["length"]
            assert not sync.not_on_disk(queue / "manifest.jsonl", length), "rows are not on the disk"

    def cut_power(self) -> None:
        """After all of it: a cut shows what is not on the disk, and nothing of it may be missed."""
        self.vouched()
        rows = recount.by_id(recount.manifest(self.work / "queue"))
        sync = FailingSync(self.memory)
        sync.lose(self.work)
        sync.save()
        code, said = in_a_process(self.words, lambda: self._undisturbed(len(COMMANDS) - 1))
        assert code == 0, said
        self.check()
        assert recount.by_id(recount.manifest(self.work / "queue")) == rows, "rows changed by a power cut"

    def check(self) -> None:
        """I1, I2, I4: each job in one row, as undisturbed; files as rows; nothing left; the audit agrees."""
        queue, out = self.work / "queue", self.work / "out"
        rows = recount.by_id(recount.manifest(queue))
        assert {name: row["kind"] for name, row in rows.items()} == EXPECTED
        recount.check_files(queue, out)
        assert recount.leftovers(queue, out) == []
        found = verify.audit(str(queue))
        assert (found.problems, found.rows) == ([], len(ALL)), found.problems


def _synced(path: Path) -> Iterator[int]:
    for line in path.read_bytes().splitlines():
        if line.startswith(b"synced "):
            with contextlib.suppress(ValueError, KeyError):
                yield int(json.loads(line.split(b" ", 1)[1].rpartition(b" ")[0])["end"])


def main() -> int:
    root, fault, dice, shard, shards = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:6])
    hurry()
    for broken in sys.argv[7:]:
        setattr(*BROKEN[broken])
    again = fault == "twice"
    lives = Lives(root, "torn" if again else fault)
    luck = random.Random(dice)
    every = lives.steps()
    chosen = luck.sample(every, max(1, len(every) // shards)) if again else every[shard::shards]
    told: dict[str, Any] = {"steps": sum(lives.lengths), "trials": 0}
    for number, step in chosen:
        then = [luck.randrange(lives.lengths[number]) for _ in range(luck.randint(1, 3))] if again else []
        try:
            told["trials"] += lives.trial(number, step, then)
        except (AssertionError, recount.zstd.ZstdError) as exc:
            text = "".join(traceback.format_exception(exc))
            print(f"command {number}, step {step}, then {then}: {text}", file=sys.stderr)
            return 1
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
