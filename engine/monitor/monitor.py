"""The monitor: a process of its own that turns journals into the manifest and keeps the status snapshot.

It follows the journals of chunks that are held, deferred or done; puts rows into the manifest up to the last
`synced` of each journal, after its own fdatasync of that journal; makes the manifest and then the checkpoint
durable; and only then moves tokens from done/ to filed/. It can die at any of these steps and start again:
the manifest is cut back to the checkpoint's length, and the rest is read once more.

Run as `python -m engine.monitor.monitor QUEUE`; it lives as long as its standard input is open. A line `finish` on it
asks for one last complete pass. A byte a second on its standard output says that its main loop goes on.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import time
import zlib

from engine.monitor import eta, status
from engine.process.child_side import carried_out
from engine.process.heartbeat import Heart
from engine.queue import events, gathering, journal
from engine.queue.directory import Queue, open_queue
from engine.queue.journal_reader import Tail, done_chunks, touched_chunks
from engine.queue.manifest import Checkpoint, Counts, OpenJournal, read_checkpoint, write_checkpoint
from engine.queue.segments import Chunk
from engine.storage import disk
from engine.storage.locks import Lock, read_note, take_or_say_who

TICK_S = 0.25
PUBLISH_S = 1.0
STATUS_S = 0.5
HISTORY_S = 5.0
LOW_DISK_BYTES = 1 << 30
CLOCK_SET_S = 60.0  # the wall clock and the monotonic one have parted by so much: it was set, or we slept


class Monitor:
    """Follows one queue. The caller holds monitor.lock."""

    def __init__(self, queue: Queue, heart: Heart | None = None) -> None:
        self.queue = queue
        self._heart = heart or Heart(-1)
        known = read_checkpoint(queue)
        if known is None or _size(queue.manifest) < known.length or not _fits(queue, known, self._heart):
            known = Checkpoint()
            # Gone before the manifest grows again: it would soon fit by its length, and by nothing else.
            disk.unlink_quietly(queue.checkpoint)
            disk.sync_dir(queue.root)
            _refile(queue, self._heart)
        self._counts: Counts = known.counts
        self._bad_filed = known.bad_lines
        self._rows_crc32 = known.rows_crc32
        self._published = {name: its.offset for name, its in known.open.items()}
        self._sums = {name: its.crc32 for name, its in known.open.items()}
        # Rows behind the checkpoint's length were not promised to anyone; they come again from their journals.
        self._manifest = disk.AppendFile(queue.manifest, length=known.length)
        self._tails: dict[Chunk, Tail] = {}
        self._published_at = 0.0
        self._dirty = True
        self._small = True  # whether there may be segments to be gathered
        for name, its in known.open.items():
            chunk = Chunk.parse(name)
            if chunk is not None:
                self._tails[chunk] = tail = Tail(queue, chunk)
                if os.path.exists(os.path.join(queue.filed(chunk.segment), chunk.token)):
                    tail.read()
                    ends = [job.final_end for job in tail.finals()]
                    if len(ends) == chunk.jobs and max(ends) <= its.offset:
                        # The next checkpoint was about to forget it, when its writer died.
                        self._forget(chunk, self._tails.pop(chunk).bad)
        self._status = _Snapshot(queue)

    def tick(self, *, now: bool = True) -> bool:
        """One pass; with `now` unset it waits for rows to gather, as long as anybody works on more of them.

        True when rows or tokens moved.
        """
        done = list(done_chunks(self.queue))  # listed first: once in done/, a journal no longer grows
        touched = {*touched_chunks(self.queue), *done}
        for chunk in touched:
            if chunk not in self._tails:
                self._tails[chunk] = Tail(self.queue, chunk)
        for tail in self._tails.values():
            self._heart.beat()
            self._dirty |= tail.read()
            tail.drop_rows(self._published.get(tail.chunk.name, 0))
        for chunk in [its for its, tail in self._tails.items() if its not in touched and not tail.state.end]:
            del self._tails[chunk]  # claimed and given back before anything happened to it
        rows = moved = 0
        last = bool(done) and touched == set(done)
        if now or last or time.monotonic() - self._published_at >= PUBLISH_S:
            rows = self._publish()
            self._gather()
            moved = self._file(done)
            self._published_at = time.monotonic()
        self._status.tick()
        return rows > 0 or moved > 0

    def _publish(self) -> int:
        """Append to the manifest what the journals promise; returns how many rows."""
        batch: list[bytes] = []
        touched: list[tuple[Tail, int]] = []
        for chunk, tail in self._tails.items():
            upto, since = tail.state.synced_end, self._published.get(chunk.name, 0)
            if upto <= since:
                continue
            rows = [its for its in tail.finals() if since < its.final_end <= upto]
            self._heart.beat()
            if rows:
                disk.sync_file(tail.path)
            for its in rows:
                batch.append(its.final_raw)
                self._counts.add(its.final or {})
            touched.append((tail, upto))
        if not touched and not self._dirty:
            return 0
        if batch:
            data = b"\n".join([*batch, b""])
            self._manifest.append(data)
            self._manifest.sync()
            self._rows_crc32 = zlib.crc32(data, self._rows_crc32)
        for tail, upto in touched:
            self._heart.beat()
            self._vouch(tail, upto)
        self._checkpoint()
        self._dirty = False
        return len(batch)

    def _vouch(self, tail: Tail, upto: int) -> None:
        """Note how far a journal went into the manifest, and what it says up to there."""
        name = tail.chunk.name
        since, known = self._published.get(name, 0), self._sums.get(name)
        if known is None:
            since, known = 0, 0
        self._published[name], self._sums[name] = upto, journal.checksum(tail.path, upto, since, known)

    def _checkpoint(self) -> None:
        now = time.time()
        open_journals = {}
        for chunk, tail in self._tails.items():
            if not tail.state.end:  # nothing is known of it, and it may be gathered into another segment
                continue
            waiting = tail.waiting(now)
            open_journals[chunk.name] = OpenJournal(
                self._published.get(chunk.name, 0),
                waiting,
                tail.bad,
                self._sums.get(chunk.name),
                tail.reasons(waiting),
            )
        write_checkpoint(
            self.queue,
            Checkpoint(self._manifest.size, self._counts, open_journals, self._bad_filed, self._rows_crc32),
        )

    def _file(self, done: list[Chunk]) -> int:
        """Move finished chunks from done/ to filed/; returns how many. Their rows are in a durable checkpoint."""
        filed = []
        for chunk in done:
            self._heart.beat()
            tail = self._tails[chunk]
            source = os.path.join(self.queue.done(chunk.segment), chunk.token)
            whole = tail.state.finals() == chunk.jobs and not tail.state.unsynced_finals()
            if whole:
                disk.rename(source, os.path.join(self.queue.filed(chunk.segment), chunk.token))
                filed.append(chunk)
            else:
                # A power cut took its last lines: the next owner looks at the files and goes on from there.
                disk.rename(source, os.path.join(self.queue.deferred, f"{0:010d}~{chunk.name}"))
        # Only then their offsets may be forgotten: a token that a power cut put back would bring all its rows again.
        for segment in {chunk.segment for chunk in filed}:
            disk.sync_dir(self.queue.filed(segment))
        for chunk in filed:
            self._forget(chunk, self._tails.pop(chunk).bad)
        return len(done)

    def _forget(self, chunk: Chunk, bad: int) -> None:
        """A chunk is filed: all of its journal is in the manifest."""
        self._bad_filed += bad
        self._published.pop(chunk.name, None)
        self._sums.pop(chunk.name, None)
        self._dirty = self._small = True

    def _gather(self) -> None:
        """Have small segments that are through become one, so that a run that goes on for months beside many small
        seedings costs what their jobs do; and complete what a seeding was killed over. Not while somebody seeds.
        Right behind a checkpoint, which has forgotten what was filed before it."""
        if not (self._small or os.path.lexists(self.queue.gathering)):
            return
        lock = Lock(self.queue.seed_lock)
        if lock.take(note={"what": "gather"}):
            with lock:
                self._small = gathering.gather(self.queue, filed=True) > 0

    def finish(self) -> None:
        """Pass until nothing moves any more, then leave the final snapshot."""
        while self.tick():
            pass
        self._status.write()

    def close(self) -> None:
        self._manifest.close()


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _fits(queue: Queue, known: Checkpoint, heart: Heart) -> bool:
    """Whether the open journals still say what went into the manifest. One that was damaged since would bring
    rows a second time, or keep them from coming."""
    for name, its in known.open.items():
        heart.beat()
        chunk = Chunk.parse(name)
        if chunk is None:
            return False
        if its.crc32 is not None and journal.checksum(queue.journal(chunk), its.offset) != its.crc32:
            return False
    return True


def _refile(queue: Queue, heart: Heart) -> None:
    """The checkpoint is gone: derive the manifest anew, so every filed chunk is done once more."""
    for segment in queue.segments():
        heart.beat()
        with contextlib.suppress(FileNotFoundError):
            for token in os.listdir(queue.filed(segment)):
                disk.rename(
                    os.path.join(queue.filed(segment), token), os.path.join(queue.done(segment), token)
                )
        # Before there is a new checkpoint: a token back in filed/ by a power cut would keep its rows from coming.
        for path in (queue.done(segment), queue.filed(segment)):
            disk.sync_dir(path)


class _Snapshot:
    """Keeps `status.json`, the history behind the rates, and an eye on the disk."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        last = status.read_snapshot(queue)
        self._history: list[list[float]] = last.get("history") or []
        self._run_pid = last.get("run_pid")
        self._written_at = 0.0
        self._progress = (-1, -1)
        self._progressed_at = time.time()
        self._progressed_s = time.monotonic()
        self._clock_s = self._progressed_at - self._progressed_s  # the wall clock's lead
        self._disk_low = False
        self._paused = False

    def tick(self) -> None:
        if time.monotonic() - self._written_at >= STATUS_S:
            self.write()

    def write(self) -> None:
        since_s, self._written_at = time.monotonic() - self._written_at, time.monotonic()
        value = status.collect(self.queue.root)
        now = time.time()
        if self._paused:
            self._stand_still(since_s)
        self._paused = value["state"] == "paused"
        lead_s = now - time.monotonic()
        if abs(lead_s - self._clock_s) > CLOCK_SET_S:  # no rate can be told across it
            self._history.clear()
            self._progressed_at += lead_s - self._clock_s
            self._clock_s = lead_s
        run_pid = (read_note(self.queue.run_lock) or {}).get("pid")
        if run_pid != self._run_pid:  # the time between two runs is nobody's pace
            self._history.clear()
            self._run_pid = run_pid
        final = value["ok"] + value["absent"] + value["failed"]
        if not self._history or now - self._history[-1][0] >= HISTORY_S or final == value["total"]:
            self._history = eta.thinned([*self._history, [round(now, 2), final]], now)
        if (final, value["requests"]) != self._progress:
            self._progress, self._progressed_at = (final, value["requests"]), now
            self._progressed_s = time.monotonic()
        value["history"] = self._history
        value["progressed_at"] = round(self._progressed_at, 2)
        value["progressed_s"] = round(self._progressed_s, 2)
        value["run_pid"] = run_pid
        disk.publish(
            self.queue.status, (json.dumps(value) + "\n").encode(), tmp_dir=self.queue.tmp, sync=False
        )
        self._watch_disk()

    def _stand_still(self, paused_s: float) -> None:
        """A pause is no time in which nothing got done: rates, ETA and `stalled` go on behind it as before it."""
        for point in self._history:
            point[0] = round(point[0] + paused_s, 2)
        self._progressed_at += paused_s
        self._progressed_s += paused_s

    def _watch_disk(self) -> None:
        free = os.statvfs(self.queue.root)
        low = free.f_bavail * free.f_frsize < LOW_DISK_BYTES
        if low and not self._disk_low:
            events.emit(self.queue, "disk_low", f"{free.f_bavail * free.f_frsize >> 20} MiB free")
        self._disk_low = low


def main(root: str) -> int:
    """Follow the queue until standard input ends or says `finish`."""
    return carried_out(lambda: _followed(root), f"keeping the manifest in {root}")


def _followed(root: str) -> None:
    queue = open_queue(root)
    heart = Heart.on_stdout()
    with take_or_say_who(queue.monitor_lock, "monitor", wait_s=5.0):
        monitor = Monitor(queue, heart)
        while True:
            heart.beat()
            monitor.tick(now=False)
            ready, _, _ = select.select([sys.stdin], [], [], TICK_S)
            if ready:
                asked = os.read(0, 64)
                if asked.startswith(b"finish"):
                    monitor.finish()
                monitor.close()
                return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
