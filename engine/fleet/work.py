"""The work of a hold on its machine: a run of the engine on a queue of its own, and parts of what is final in it."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from engine.batch import Batch
from engine.errors import EngineError, Exit, NoAnswerError, NoRunError, RunDiedError
from engine.fleet import parts
from engine.fleet.machine import ShareDirectory
from engine.fleet.protocol import FleetAsked
from engine.fleet.share_hold import Glance
from engine.fleet.timing import Timing
from engine.inputs import Line
from engine.model import Job
from engine.queue.control import wait_for_run_end
from engine.queue.directory import Queue, exists
from engine.queue.making import make_queue
from engine.queue.manifest import read_checkpoint
from engine.run.child_run import RunHandle
from engine.seeding.reading import seed_streams
from engine.storage.processes import SignalEvent
from engine.storage.timestamps import utc

_FINISHED = (Exit.OK, Exit.SOME_FAILED)
_ORPHAN_S = 120.0  # how long a run whose share died may drain


class RunWork:
    """A share's run. `options` are those of `engine run`; `stop` is set when this process is to leave the share."""

    def __init__(
        self,
        place: ShareDirectory,
        jobs: list[Job],
        options: Mapping[str, Any],
        facts: Mapping[str, Any],
        stop: SignalEvent,
        timing: Timing,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._place, self._jobs, self._options, self._facts = place, jobs, options, facts
        self._stop, self._timing, self._clock = stop, timing, clock
        self._queue = Queue(place.queue)
        self._run: RunHandle | None = None
        self._ended: int | None = None
        self.said = ""  # what the run said when it ended by an error
        self._offset = 0  # of the manifest: what lies before it was given
        self._given = 0
        self._followed = FleetAsked()
        self._status: dict[str, Any] = {}
        self._status_at_s = -1e9
        self._asked_to_stop = False
        self._todo = 0

    # ---- what the protocol asks --------------------------------------------------------------------------
    def begin(self, ids: frozenset[str], *, resumed: bool) -> None:
        if not resumed:
            self._place.clear()
        todo = [job for job in self._jobs if job.video_id not in ids]
        self._todo = len(todo)
        if exists(self._queue.root):
            wait_for_run_end(self._queue, _ORPHAN_S)  # of a share that died, whose run drains
        if not todo:
            self._ended = Exit.OK
            return
        make_queue(self._queue.root)
        lines = (
            Line("share", at, job.video_id, job.video_id, dict(job.input), None)
            for at, job in enumerate(todo, 1)
        )
        seed_streams(self._queue, [lines], [], lambda text: None)
        self._start()

    def _start(self) -> None:
        self._run = Batch(self._queue.root).start(output=self._place.output, **self._options)

    def look(self) -> Glance:
        if self._stop.is_set():
            self._stop_run()
        if self._ended is None and self._run is not None and not self._run.running:
            self._ended = self._exit_code(self._run)
        known = read_checkpoint(self._queue)
        final = known.counts.final if known else 0
        finished = self._ended in _FINISHED
        return Glance(max(0, final - self._given), finished, None if finished else self._ended, self._told())

    def rows(
        self, known: Callable[[str], bool], at_most: int
    ) -> tuple[bytes, frozenset[str], dict[str, Any]] | None:
        found: list[tuple[bytes, bytes | None]] = []
        checkpoint = read_checkpoint(self._queue)
        length = checkpoint.length if checkpoint else 0
        if (
            length < self._offset
        ):  # somebody has put jobs back by hand: from the start, known ids are left out
            self._offset = self._given = 0
        ids: set[str] = set()
        try:
            with open(self._queue.manifest, "rb") as file:
                file.seek(self._offset)
                while self._offset < length and len(found) < at_most:
                    line = file.readline()
                    self._offset += len(line)
                    self._given += 1
                    row = json.loads(line)
                    video_id = row["video_id"]
                    if (
                        not known(video_id)
                        and video_id not in ids
                        and (record := self._record(row)) is not None
                    ):
                        ids.add(video_id)
                        found.append((line, record or None))
        except FileNotFoundError:
            return None
        return parts.pack(found) if found else None

    def follow(self, asked: FleetAsked) -> None:
        """Have the run go on as it is asked. What it has not done by the next beat is asked of it again."""
        batch, before = Batch(self._queue.root), self._followed
        try:
            if asked.stopped:
                self._stop_run()
            if asked.paused != before.paused:
                batch.pause() if asked.paused else batch.resume()
            if asked.settings != before.settings:
                batch.set(**asked.settings)
        except (NoRunError, NoAnswerError):  # it is starting, or about to end
            return
        self._followed = asked

    def stopping(self) -> bool:
        return self._stop.is_set()

    # ---- the run -----------------------------------------------------------------------------------------
    def end(self) -> None:
        """Let what is in flight finish, and wait for the end."""
        if self._run is not None:
            self._run.stop()
            try:
                self._run.wait()
            except EngineError:
                return

    def clear(self) -> None:
        """The share is done: nothing of it is needed here any more."""
        self._place.clear()

    def _stop_run(self) -> None:
        if self._run is not None and not self._asked_to_stop:
            self._run.stop()
            self._asked_to_stop = True

    def _exit_code(self, run: RunHandle) -> int:
        try:
            return run.wait(1.0).exit_code
        except RunDiedError as exc:
            self.said = str(exc)
            return Exit.BUG
        except EngineError as exc:
            self.said = str(exc)
            return exc.exit_code

    def _record(self, row: Mapping[str, Any]) -> bytes | None:
        """The record of a row, empty for a row that has none; None when it is not what the row says: then the row is
        not brought, and the share cannot be done."""
        if row["status"] != "ok":
            return b""
        try:
            with open(os.path.join(self._place.output, row["files"]["json"]), "rb") as file:
                data = file.read()
        except OSError as exc:
            self.said = f"{exc.filename}: {exc.strerror}"
            return None
        if hashlib.sha256(data).hexdigest() != row["sha256"]["json"]:
            self.said = f"{row['files']['json']} has not the sha256 of its row"
            return None
        return data

    def _told(self) -> dict[str, Any]:
        """What the beat says: how the run is, asked for no more often than it is told."""
        if self._clock() - self._status_at_s >= self._timing.beat_s / 2:
            self._status_at_s = self._clock()
            try:
                status = Batch(self._queue.root).status()
            except EngineError:
                return dict(self._facts)
            self._status = {
                "counts": {"ok": status.ok, "absent": status.absent, "failed": status.failed},
                "kinds": dict(status.kinds),
                "rate_per_s": status.rate_per_s["1m"],
                "limited_by": status.limited_by,
                "state": status.state,
                "blocked": sum(egress.state != "ok" for egress in status.egresses),
                "egress_count": len(status.egresses),
            }
        return {**self._facts, **self._status, "at_now": utc()}
