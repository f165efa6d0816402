"""Repairing a damaged queue: whatever can be derived is derived again from segments and journals.

The audit finds the damage, and a start and the monitor repair most of it; this module does what neither of them does:

    an interrupted gathering completed             (otherwise its segments are there twice)
      -> batch.json and segments readable?         (if not, stop: everything depends on them, only a copy helps)
      -> an interrupted retry finished; an unreadable retry.json removed
      -> lines removed from journals in which they cannot belong
      -> tokens repaired (`engine.recovery.startup`); dead workers' directories removed
      -> jobs reopened whose row or files are wrong
      -> tokens of finished chunks moved to done/
      -> wrong caches of ids made again
      -> audit; if it faults the manifest: manifest, checkpoint, filed/ and status derived again
      -> files that belong to nothing removed
      -> records that no row names taken out of the shards, their index made again
      -> audit

A crash between two steps is harmless: the checkpoint is removed before anything that would contradict it, and without
a checkpoint every start derives the manifest from the journals. No data is removed: only empty files, temporary ones,
and the output of jobs that are not `ok`.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from engine.errors import UsageError
from engine.monitor.monitor import run_to_end
from engine.output import destination, publisher, stores
from engine.output.shards import DIR as SHARDS
from engine.queue import dead_workers, gathering, journal, marker
from engine.queue.directory import Queue, deferred_chunks, open_queue
from engine.queue.id_cache import ODD, remove_cache
from engine.queue.id_index import QueueIds
from engine.queue.journal_follower import chunk_state, done_chunks
from engine.queue.manifest import read_checkpoint, remove_checkpoint
from engine.queue.names import DIRS
from engine.queue.segments import Chunk, is_intact, read_ids, read_jobs, split_chunks
from engine.recovery import requeue
from engine.recovery.exclusive import exclusive_hold
from engine.recovery.shard_repair import ShardRepair
from engine.recovery.startup import recover_locked
from engine.recovery.strays import remove_strays
from engine.storage import disk
from engine.verify import Audit, audit
from engine.verify.journal_reader import line_faults, row_faults
from engine.verify.state_files import cache_fault

WHY = "repair"
# These say nothing about the manifest. Any other problem of an audit is a reason to derive it again.
_APART_FROM_MANIFEST = frozenset(
    {"stray temporary file", "stray file", "stray token", "wrong cache", "wrong index", "duplicate job"}
)
_MANY = 20  # how many sentences of one sort are kept; the rest is counted


@dataclass(slots=True)
class Repaired:
    """What a repair did, as sentences, and the audit after it."""

    audit: Audit
    did: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {**self.audit.to_json(), "repaired": self.did}

    def lines(self) -> Iterator[str]:
        """The report for people: a line for each thing that was done, then the audit's."""
        for sentence in self.did:
            yield f"repaired: {sentence}"
        if not self.did:
            yield "nothing was repaired: " + ("all is well" if self.audit.ok else "nothing here can be")
        yield from self.audit.lines()


def repair(root: str, moved_to: str | None = None) -> Repaired:
    """Repair the queue in this directory as far as possible, and audit it. `moved_to`: where its output is now.

    Raises NoQueueError, UsageError (format), HeldError beside a live run, monitor, seeding or worker, OSError when
    the disk fails: then another repair continues.
    """
    queue = open_queue(root)
    with exclusive_hold(queue, WHY):
        task = _Repair(queue)
        task.complete_gathering()
        if not task.possible():
            return Repaired(audit(root, held=True))
        task.open_output(moved_to)
        return Repaired(task.repair(), task.sentences())


class _Repair:
    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self._did: list[tuple[str, str]] = []  # (sort, sentence)
        self._output: str | None = None
        self._finished: set[Chunk] = set()
        self._derive_again = False

    def complete_gathering(self) -> None:
        """Must come first: until then some segments are there twice."""
        with suppress(UsageError):  # a segment is damaged: `possible` says so
            if gathering.complete(self.queue):
                self._say("gathering", "finished an interrupted gathering of small segments")

    def possible(self) -> bool:
        """Whether batch.json and all segments can be read and are intact."""
        try:
            frozen = self.queue.read_batch().get("frozen")
            for segment in self.queue.segments():
                self.queue.header(segment)
                if not is_intact(self.queue.segment(segment)):
                    return False
            for chunk in self._chunks():
                self.queue.chunk_ids(chunk)
        except UsageError:
            return False
        if isinstance(frozen, dict):
            self._output = marker.output_of(self.queue)
        return os.path.exists(self.queue.batch)

    def open_output(self, moved_to: str | None) -> None:
        """Check that the output directory is there and this queue's, or make `moved_to` its output.

        Raises UsageError when it was moved or is not mounted: otherwise all its videos would be fetched again.
        """
        if moved_to is not None:
            path = os.path.abspath(moved_to)
            self._say("output", destination.move(self.queue, path, relative=not os.path.isabs(moved_to)))
            self._output = path
        elif self._output is not None:
            destination.check(self.queue, self._output)
            note = marker.read(self._output, marker.id_of(self.queue.read_batch()))
            if note is not None and not note.queue:
                destination.claim(self.queue, self._output)
                self._say("output", f"wrote the marker in {self._output} again, which could not be read")

    def repair(self) -> Audit:
        """All steps, in order; the audit after them."""
        for name in DIRS:
            disk.ensure_dir(self.queue.path(name))
        self._finish_retry()
        self._purge_journals()
        for sentence in recover_locked(self.queue):
            self._say("token", sentence)
        batch = self.queue.read_batch()
        remover = stores.output_remover(
            self._output or "", marker.id_of(batch), marker.formats_of(batch), marker.store_of(batch)
        )
        if count := dead_workers.reclaim(self.queue, "", remover):
            self._say("worker", f"removed the directories of {count} dead worker(s)")
        self._reopen_jobs()
        self._move_to_done()
        self._make_caches()
        found = audit(self.queue.root, held=True)
        if set(found.totals) - _APART_FROM_MANIFEST:
            self._drop_checkpoint()
        if self._derive_again or self._manifest_lags():
            run_to_end(self.queue)
            found = audit(self.queue.root, held=True)
            how = "derived from the journals again" if self._derive_again else "brought up to date"
            self._say("manifest", f"manifest, checkpoint and status {how}: {found.rows:,} rows")
        while removed := remove_strays(self.queue, self._output, found):
            for path in removed:
                self._say("stray", f"removed {self._short(path)}")
            found = audit(self.queue.root, held=True)
        if self._clean_shards():
            found = audit(self.queue.root, held=True)
        return found

    def _clean_shards(self) -> bool:
        """Take superseded records out of the shards, and make their index again; whether anything was done."""
        batch = self.queue.read_batch()
        if self._output is None or marker.store_of(batch) != SHARDS:
            return False
        did = list(ShardRepair(self._output, marker.id_of(batch), destination.ok_rows(self.queue)).run())
        for sentence in did:
            self._say("shard", sentence)
        return bool(did)

    def _say(self, sort: str, sentence: str) -> None:
        self._did.append((sort, sentence))

    def sentences(self) -> list[str]:
        """What was done; of each sort at most 20 sentences."""
        seen: Counter[str] = Counter()
        kept = []
        for sort, sentence in self._did:
            seen[sort] += 1
            if seen[sort] <= _MANY:
                kept.append(sentence)
        return kept + [
            f"… and {n - _MANY:,} more of the sort: {sort}" for sort, n in seen.items() if n > _MANY
        ]

    def _short(self, path: str) -> str:
        inside = os.path.relpath(path, self.queue.root)
        return path if inside.startswith("..") else inside

    def _finish_retry(self) -> None:
        """Finish an interrupted retry. An unreadable retry.json is removed; what it opened stays open."""
        if not os.path.exists(self.queue.retry):
            return
        try:
            requeue.complete(self.queue)
            self._say("retry", "finished an interrupted retry")
        except UsageError:
            self._drop_checkpoint()
            disk.unlink(self.queue.retry)
            disk.sync_dir(self.queue.root)
            self._say("retry", "removed retry.json, which cannot be read: say `engine retry` again")

    def _chunks(self) -> Iterator[Chunk]:
        for segment in self.queue.segments():
            yield from split_chunks(self.queue.segment(segment))

    def _purge_journals(self) -> None:
        """Remove lines about other chunks' jobs, and lines that no engine can have written.

        The other lines stay byte for byte. Every `synced` goes too, because offsets move: the next owner checks the
        files.
        """
        for chunk in self._chunks():
            path, ids = self.queue.journal(chunk), self.queue.chunk_ids(chunk)
            kept, gone, start = [], 0, 0
            for entry in journal.lines(path):
                if (entry.verb != "synced" and entry.job not in ids) or line_faults(
                    entry.verb, entry.body, start
                ):
                    gone += 1
                elif entry.verb != "synced":
                    kept.append(journal.line(entry.verb, entry.raw))
                start = entry.end
            if gone:
                self._drop_checkpoint()
                disk.publish_durably(path, b"".join(kept), tmp_dir=self.queue.tmp)
                self._say(
                    "journal", f"removed {gone} line(s) that do not belong there from {self._short(path)}"
                )

    def _reopen_jobs(self) -> None:
        """Reopen the jobs whose row or files are wrong; note which chunks are finished."""
        for chunk in self._chunks():
            state = chunk_state(self.queue, chunk)
            columns = {job.video_id: job.input for job in read_jobs(self.queue.segment(chunk.segment), chunk)}
            wrong = {
                video_id
                for video_id, job in state.jobs.items()
                if job.final is not None and not self._is_right(job.final, columns.get(video_id))
            }
            if wrong:
                self._drop_checkpoint()
                requeue.reopen(self.queue, chunk, wrong, WHY)
                self._due_now(chunk)
                for video_id in sorted(wrong):
                    self._say("job", f"reopened {video_id}: its row or its files are wrong")
            elif state.finals() == chunk.jobs and not state.unsynced_finals():
                self._finished.add(chunk)

    def _is_right(self, row: dict[str, Any], columns: object) -> bool:
        if any(row_faults(row)) or _sorted_json(row["input"]) != _sorted_json(columns):
            return False
        return row["status"] != "ok" or self._output is None or publisher.intact(self._output, row)

    def _due_now(self, wanted: Chunk) -> None:
        for when, chunk, name in deferred_chunks(self.queue):
            if chunk == wanted and when:
                disk.rename(os.path.join(self.queue.deferred, name), self.queue.deferred_token(chunk))

    def _move_to_done(self) -> None:
        """Hand the finished chunks in deferred/ to the monitor."""
        for _, chunk, name in deferred_chunks(self.queue):
            if chunk in self._finished:
                disk.rename(os.path.join(self.queue.deferred, name), self.queue.done_token(chunk))
                self._say("done", f"moved the token of chunk {chunk.name} to done/: all its jobs are final")

    def _make_caches(self) -> None:
        """Remove the caches of ids that differ from their segments, and make the missing ones."""
        missing = 0
        for segment in self.queue.segments():
            path = self.queue.ids(segment)
            if cache_fault(self.queue, segment, read_ids(self.queue.segment(segment))):
                remove_cache(self.queue, segment)
            missing += not all(map(os.path.exists, (path, path + ODD)))
        if missing:
            QueueIds(self.queue)
            self._say("ids", f"made {missing} cache(s) of ids in ids/ again")

    def _drop_checkpoint(self) -> None:
        self._derive_again = True
        remove_checkpoint(self.queue)

    def _manifest_lags(self) -> bool:
        """Whether a monitor would find something to do."""
        if self._output is not None and not os.path.exists(self.queue.status):
            return True
        checkpoint = read_checkpoint(self.queue)
        size = os.stat(self.queue.manifest).st_size if os.path.exists(self.queue.manifest) else 0
        return size != (checkpoint.length if checkpoint else 0) or any(done_chunks(self.queue))


def _sorted_json(value: object) -> str:
    return json.dumps(value, sort_keys=True)
