"""The monitor: a process of its own that turns journals into the manifest and keeps the status snapshot.

It follows the journals of chunks that are held, deferred or done; appends rows to the manifest up to the last
`synced` of each journal, after an fdatasync of its own; makes the manifest and then the checkpoint durable; and only
then moves tokens from done/ to filed/. It can die at any of these steps and start again: the manifest is truncated
to the checkpoint's length, and the rest is read again.

Run as `python -m engine.monitor.monitor QUEUE`; it lives as long as its standard input is open. A line `finish` on it
asks for one last complete pass. It writes a byte a second to its standard output while its main loop runs.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import time
import zlib

from engine.monitor.snapshot import SnapshotWriter
from engine.process.child_side import carried_out
from engine.process.heartbeat import Heart
from engine.queue import gathering, journal
from engine.queue.directory import Queue, open_queue
from engine.queue.journal_follower import JournalFollower, done_chunks, touched_chunks
from engine.queue.manifest import (
    Checkpoint,
    Counts,
    OpenJournal,
    read_checkpoint,
    remove_checkpoint,
    write_checkpoint,
)
from engine.queue.segments import Chunk
from engine.storage import append_file, disk
from engine.storage.locks import Lock, take_or_say_who

TICK_S = 0.25
PUBLISH_S = 1.0


class Monitor:
    """Follows one queue. The caller holds monitor.lock."""

    def __init__(self, queue: Queue, heart: Heart | None = None) -> None:
        self.queue = queue
        self._heart = heart or Heart(-1)
        known = read_checkpoint(queue)
        if known is None or _size(queue.manifest) < known.length or not _matches(queue, known, self._heart):
            known = Checkpoint()
            # Before the manifest grows again: soon it would match by its length and by nothing else.
            remove_checkpoint(queue)
            _refile(queue, self._heart)
        self._counts: Counts = known.counts
        self._bad_filed = known.bad_lines
        self._rows_crc32 = known.rows_crc32
        self._published = {name: part.offset for name, part in known.open.items()}
        self._checksums = {name: part.crc32 for name, part in known.open.items()}
        # Nobody relies on rows after the checkpoint's length; they come again from their journals.
        self._manifest = append_file.AppendFile(queue.manifest, length=known.length)
        self._followers: dict[Chunk, JournalFollower] = {}
        self._published_at = 0.0
        self._dirty = True
        self._may_gather = True
        for name, part in known.open.items():
            if (chunk := Chunk.parse(name)) is not None:
                self._resume(chunk, part)
        self._snapshot = SnapshotWriter(queue)

    def _resume(self, chunk: Chunk, known: OpenJournal) -> None:
        self._followers[chunk] = follower = JournalFollower(self.queue, chunk)
        if not os.path.exists(self.queue.filed_token(chunk)):
            return
        follower.read()
        ends = [job.final_end for job in follower.finals()]
        if len(ends) == chunk.jobs and max(ends) <= known.offset:
            # The last monitor died before it wrote the checkpoint that forgets this journal.
            self._forget(chunk)

    def tick(self, *, now: bool = True) -> bool:
        """One pass; True when rows or tokens moved. Without `now` it publishes at most once a second during work."""
        done = list(done_chunks(self.queue))  # listed first: once in done/, a journal no longer grows
        touched = {*touched_chunks(self.queue), *done}
        for chunk in touched:
            if chunk not in self._followers:
                self._followers[chunk] = JournalFollower(self.queue, chunk)
        for follower in self._followers.values():
            self._heart.beat()
            self._dirty |= follower.read()
            follower.drop_rows(self._published.get(follower.chunk.name, 0))
        for chunk in [each for each in self._followers if each not in touched]:
            if not self._followers[chunk].state.end:
                del self._followers[chunk]  # claimed and given back before anything happened to it
        rows = moved = 0
        last = bool(done) and touched == set(done)
        if now or last or time.monotonic() - self._published_at >= PUBLISH_S:
            rows = self._publish()
            self._gather()
            moved = self._file(done)
            self._published_at = time.monotonic()
        self._snapshot.tick()
        return rows > 0 or moved > 0

    def _publish(self) -> int:
        """Append the durable rows of the journals to the manifest; returns how many."""
        batch: list[bytes] = []
        advanced: list[tuple[JournalFollower, int]] = []
        for chunk, follower in self._followers.items():
            upto, since = follower.state.synced_end, self._published.get(chunk.name, 0)
            if upto <= since:
                continue
            jobs = [job for job in follower.finals() if since < job.final_end <= upto]
            self._heart.beat()
            if jobs:
                disk.sync_file(follower.path)
            for job in jobs:
                batch.append(job.final_raw)
                self._counts.add(job.final or {})
            advanced.append((follower, upto))
        if not advanced and not self._dirty:
            return 0
        if batch:
            data = b"\n".join([*batch, b""])
            self._manifest.append(data)
            self._manifest.sync()
            self._rows_crc32 = zlib.crc32(data, self._rows_crc32)
        for follower, upto in advanced:
            self._heart.beat()
            self._advance(follower, upto)
        self._checkpoint()
        self._dirty = False
        return len(batch)

    def _advance(self, follower: JournalFollower, upto: int) -> None:
        """Note how far a journal went into the manifest, and its checksum up to there."""
        name = follower.chunk.name
        since, known = self._published.get(name, 0), self._checksums.get(name)
        if known is None:
            since, known = 0, 0
        self._published[name] = upto
        self._checksums[name] = journal.checksum(follower.path, upto, since, known)

    def _checkpoint(self) -> None:
        now = time.time()
        open_journals = {}
        for chunk, follower in self._followers.items():
            if not follower.state.end:  # nothing is known of it, and it may be gathered into another segment
                continue
            waiting = follower.waiting(now)
            open_journals[chunk.name] = OpenJournal(
                self._published.get(chunk.name, 0),
                waiting,
                follower.bad,
                self._checksums.get(chunk.name),
                follower.reasons(waiting),
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
            state = self._followers[chunk].state
            if state.finals() == chunk.jobs and not state.unsynced_finals():
                disk.rename(self.queue.done_token(chunk), self.queue.filed_token(chunk))
                filed.append(chunk)
            else:
                # A power cut took its last lines: the next owner checks the files and continues from there.
                disk.rename(self.queue.done_token(chunk), self.queue.deferred_token(chunk))
        # Only now may their offsets be forgotten: a token that a power cut put back would bring all its rows again.
        for segment in {chunk.segment for chunk in filed}:
            disk.sync_dir(self.queue.filed(segment))
        for chunk in filed:
            self._forget(chunk)
        return len(done)

    def _forget(self, chunk: Chunk) -> None:
        """A chunk is filed: all of its journal is in the manifest."""
        self._bad_filed += self._followers.pop(chunk).bad
        self._published.pop(chunk.name, None)
        self._checksums.pop(chunk.name, None)
        self._dirty = self._may_gather = True

    def _gather(self) -> None:
        """Gather small finished segments, and complete an interrupted gathering, unless somebody seeds.

        So a run that goes on for months beside many small seedings costs what their jobs cost. Called right after a
        checkpoint, which no longer names what was filed before it.
        """
        if not (self._may_gather or os.path.lexists(self.queue.gathering)):
            return
        lock = Lock(self.queue.seed_lock)
        if lock.take(note={"what": "gather"}):
            with lock:
                self._may_gather = gathering.gather(self.queue, filed=True) > 0

    def finish(self) -> None:
        """Pass until nothing moves any more, then write the final snapshot."""
        while self.tick():
            pass
        self._snapshot.write()

    def close(self) -> None:
        self._manifest.close()


def run_to_end(queue: Queue) -> None:
    """Bring manifest, checkpoint, filed/ and status up to date. The caller holds monitor.lock."""
    monitor = Monitor(queue)
    try:
        monitor.finish()
    finally:
        monitor.close()


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _matches(queue: Queue, known: Checkpoint, heart: Heart) -> bool:
    """Whether the open journals still hold what went into the manifest.

    One that was damaged since would bring rows a second time, or hold rows back.
    """
    for name, part in known.open.items():
        heart.beat()
        chunk = Chunk.parse(name)
        if chunk is None:
            return False
        if part.crc32 is not None and journal.checksum(queue.journal(chunk), part.offset) != part.crc32:
            return False
    return True


def _refile(queue: Queue, heart: Heart) -> None:
    """There is no checkpoint: move every filed token back to done/, so that the manifest is derived again."""
    for segment in queue.segments():
        heart.beat()
        filed, done = queue.filed(segment), queue.done(segment)
        with contextlib.suppress(FileNotFoundError):
            for token in os.listdir(filed):
                disk.rename(os.path.join(filed, token), os.path.join(done, token))
        # Before there is a new checkpoint: a token that a power cut put back into filed/ would hold its rows back.
        disk.sync_dir(done)
        disk.sync_dir(filed)


def main(root: str) -> int:
    """Follow the queue until standard input ends or says `finish`."""
    return carried_out(lambda: _follow(root), f"keeping the manifest in {root}")


def _follow(root: str) -> None:
    queue = open_queue(root)
    heart = Heart.on_stdout()
    with take_or_say_who(queue.monitor_lock, "monitor", wait_s=5.0):
        monitor = Monitor(queue, heart)
        while True:
            heart.beat()
            monitor.tick(now=False)
            ready, _, _ = select.select([sys.stdin], [], [], TICK_S)
            if ready:
                if os.read(0, 64).startswith(b"finish"):
                    monitor.finish()
                monitor.close()
                return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
