"""`engine fleet run`: the driver, which hands shares to a Dask scheduler. The only module that knows Dask's client.

It hands out no more shares than there are places, for Dask would give all of them to whoever is there first. It
believes the ledger alone: a task that came back, however it ended, is looked up in `done/`.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from engine.errors import Exit, UsageError
from engine.fleet import task
from engine.fleet.join import RESOURCE
from engine.fleet.ledger import Fleet, Ledger
from engine.fleet.names import ShareKey
from engine.fleet.share import Say
from engine.fleet.sums import write_summary
from engine.storage.processes import SignalEvent

_POLL_S = 0.5
_PLACES_S = 1.0
_LEDGER_S = 60.0
_CONNECT_S = 20.0
_BACK_OFF_S = (1.0, 5.0, 30.0, 120.0, 300.0)
_FATAL = frozenset({Exit.BUG, Exit.USAGE})  # of a share: what every machine would meet
_TRIES = 8  # of one share that ends so, before the driver gives it up for now


@dataclass
class Handed:
    """The shares that are out, and those that wait for another try."""

    out: dict[Any, ShareKey] = field(default_factory=dict)  # by future
    todo: list[ShareKey] = field(default_factory=list)
    not_before: dict[ShareKey, float] = field(default_factory=dict)
    tries: Counter[ShareKey] = field(default_factory=Counter)
    given_up: dict[ShareKey, str] = field(default_factory=dict)
    set_aside: set[ShareKey] = field(default_factory=set)
    done: set[ShareKey] = field(default_factory=set)


class Driver:
    """Hands out shares until all are done, or none can be."""

    def __init__(
        self,
        ledger: Ledger,
        scheduler: str,
        say: Say,
        *,
        ahead: int = 0,
        twice: bool = False,
        work: Callable[..., tuple[int, str]] = task.share,
        on_tick: Callable[[Handed, int], None] = lambda handed, places: None,
    ) -> None:
        self._ledger, self._scheduler, self._say = ledger, scheduler, say
        self._ahead, self._twice, self._work, self._on_tick = ahead, twice, work, on_tick
        self._handed = Handed()
        self._places, self._places_at_s, self._told = 0, -_PLACES_S, ""

    def run(self, stop: SignalEvent) -> int:
        """Returns the exit code. Raises UsageError when the scheduler cannot be reached."""
        fleet = self._ledger.fleet()
        handed = self._handed
        keys = [key for generation in self._ledger.generations() for key in generation.share_keys()]
        handed.done = self._ledger.done_keys() & set(keys)
        handed.todo = sorted(set(keys) - handed.done)
        self._say(f"{len(keys):,} shares, {len(handed.done):,} of them done")
        if handed.todo:
            with self._connected() as client:
                code = self._loop(client, fleet, stop)
            if code is not None:
                return code
        write_summary(self._ledger)
        return self._result()

    # ---- the loop ----------------------------------------------------------------------------------------
    def _loop(self, client: Any, fleet: Fleet, stop: SignalEvent) -> int | None:
        handed = self._handed
        looked_s = time.monotonic()
        # Of a share that is done a second copy may be out: it leaves by itself.
        while handed.todo or set(handed.out.values()) - handed.done:
            if stop.is_set():
                self._say("stopped: the shares that are out finish; run again to go on")
                return Exit.WORK_REMAINS
            if client.status != "running":
                self._say(f"the scheduler {self._scheduler} is gone: start it again, then this command")
                return Exit.WORK_REMAINS
            self._collect()
            self._hand_out(client, fleet)
            if time.monotonic() - looked_s >= min(_LEDGER_S, self._ledger.timing.beat_s):
                looked_s = time.monotonic()
                if self._ledger.asked().stopped:
                    self._say("stopped by `engine fleet stop`: run again to go on")
                    return Exit.WORK_REMAINS
                write_summary(self._ledger)
            self._on_tick(handed, self._places)
            stop.wait(_POLL_S if handed.out or not handed.todo else _PLACES_S)
        return None

    def _collect(self) -> None:
        """See to the tasks that have come back."""
        handed = self._handed
        for future in [future for future in handed.out if future.done()]:
            key = handed.out.pop(future)
            if key in handed.done:
                continue  # its second copy
            if self._ledger.read(f"done/{key}.json") is not None:
                handed.done.add(key)
                continue
            if key not in handed.out.values():
                self._again(key, *self._ended(future))

    def _ended(self, future: Any) -> tuple[int, str]:
        """(exit code, what was said) of a task. A worker that died, and a task that was lost, is no exit code."""
        if future.status != "finished":
            exc = None
            with contextlib.suppress(Exception):
                exc = future.exception(timeout=1)
            return (
                -1,
                f"its worker is gone ({type(exc).__name__})" if exc is not None else "its worker is gone",
            )
        with contextlib.suppress(Exception):
            code, said = future.result(timeout=30)
            return int(code), str(said)
        return -1, "its result was lost"

    def _again(self, key: ShareKey, code: int, said: str) -> None:
        """Hand a share out once more, later each time, unless it cannot be done."""
        handed = self._handed
        last = said.splitlines()[-1] if said else ""
        if code == Exit.SOME_FAILED:
            handed.set_aside.add(key)
            self._say(last)
            return
        handed.tries[key] += 1
        if (code in _FATAL and handed.tries[key] >= 3) or handed.tries[key] >= _TRIES:
            handed.given_up[key] = last
            self._say(f"share {key} is given up for now, after {handed.tries[key]} tries: {last}")
            return
        wait_s = _BACK_OFF_S[min(handed.tries[key], len(_BACK_OFF_S)) - 1]
        handed.not_before[key] = time.monotonic() + wait_s
        handed.todo.append(key)
        self._say(f"share {key} is handed out again in {wait_s:g} s: {last or f'exit code {code}'}")

    def _hand_out(self, client: Any, fleet: Fleet) -> None:
        handed, now = self._handed, time.monotonic()
        places = self._count_places(client)
        ready = [key for key in handed.todo if handed.not_before.get(key, 0.0) <= now]
        for key in ready[: max(0, places + self._ahead - len(handed.out))]:
            handed.todo.remove(key)
            self._submit(client, fleet, key, beside=False)
        idle = places - len(handed.out)
        if self._twice and not handed.todo and idle > 0:
            alone = [key for key, count in Counter(handed.out.values()).items() if count == 1]
            for key in alone[:idle]:
                self._submit(client, fleet, key, beside=True)

    def _submit(self, client: Any, fleet: Fleet, key: ShareKey, *, beside: bool) -> None:
        name = f"engine-{fleet.id[:12]}-{key}-{self._handed.tries[key]}{'-beside' * beside}"
        future = client.submit(
            self._work, self._ledger.where, str(key), beside,
            key=name, resources={RESOURCE: 1}, retries=0, pure=False,
        )  # fmt: skip
        self._handed.out[future] = key

    def _count_places(self, client: Any) -> int:
        """How many shares the workers that are there can hold. A scheduler that does not answer changes nothing."""
        now = time.monotonic()
        if now - self._places_at_s < _PLACES_S:
            return self._places
        self._places_at_s = now
        with contextlib.suppress(Exception):
            workers = client.scheduler_info(n_workers=-1).get("workers", {})
            self._places = int(
                sum(worker.get("resources", {}).get(RESOURCE, 0) for worker in workers.values())
            )
        text = "no machine has joined yet: `engine fleet join` on each" if not self._places else ""
        if text != self._told:
            self._told = text
            if text:
                self._say(text)
        return self._places

    @contextlib.contextmanager
    def _connected(self) -> Any:
        try:
            from distributed import Client
        except ImportError:
            raise UsageError(
                "engine fleet run needs Dask: pip install '.[fleet]' in engine's directory"
            ) from None
        try:
            client = Client(self._scheduler, timeout=_CONNECT_S, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as exc:
            raise UsageError(
                f"--scheduler {self._scheduler}: {str(exc)[:200]}. Start it with `dask scheduler`, and name the "
                "address that it prints"
            ) from None
        try:
            yield client
        finally:
            with contextlib.suppress(Exception):
                client.close(timeout=5)

    def _result(self) -> int:
        handed = self._handed
        if handed.given_up:
            self._say(
                f"{len(handed.given_up):,} shares could not be worked on: see above; run again to go on"
            )
            return Exit.WORK_REMAINS
        counts = Counter[str]()
        for done in self._ledger.all_done(handed.done):
            counts.update(done.counts)
        total = f"ok {counts['ok']:,}, absent {counts['absent']:,}, failed {counts['failed']:,}"
        aside = f"; {len(handed.set_aside)} shares are set aside" if handed.set_aside else ""
        self._say(f"{len(handed.done):,} shares are done: {total}{aside}")
        return Exit.SOME_FAILED if counts["failed"] or handed.set_aside else Exit.OK
