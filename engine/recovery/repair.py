"""Repairing a damaged queue: what can be derived is derived anew from segments and journals.

The audit judges, and the engine's own start and monitor mend; what is here is what neither of them does:

    a gathering that was cut off completed (else segments would be there twice)
      -> batch.json, segments readable     (else nothing: everything else hangs on them, and only a copy helps)
      -> a retry that was cut off finished; one that cannot be read removed
      -> journals without lines that cannot be theirs
      -> tokens, by segments and journals  (`engine.recovery.startup`); dead workers' directories taken apart
      -> jobs whose row or files are not right opened again
      -> tokens of chunks that are through to done/
      -> caches of ids that differ removed and made again
      -> the audit; when it is not content with the manifest: manifest, checkpoint, filed/ and status anew
      -> files that nobody answers for removed
      -> the audit

Dying between any two steps is as harmless as before the first: the checkpoint goes before whatever it would
contradict, and without one every start derives the manifest from the journals. Nothing that holds words of others
is removed: only empty files, temporary ones, and the output of jobs that are not `ok`.
"""

from __future__ import annotations

import json
import os
import re
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

from engine.errors import HeldError, UsageError
from engine.monitor.monitor import Monitor
from engine.output import destination, publisher
from engine.queue import claims, gathering, journal, marker
from engine.queue.directory import Queue, deferred_chunks, open_queue
from engine.queue.id_index import ODD, Known, remove_cache
from engine.queue.job_state import fold
from engine.queue.journal_reader import done_chunks
from engine.queue.manifest import read_checkpoint
from engine.queue.names import DIRS
from engine.queue.segments import Chunk, cut, read_ids, read_jobs, whole
from engine.recovery import requeue
from engine.recovery.startup import LEAVE_S, mend
from engine.storage import disk
from engine.storage.locks import take_or_say_who
from engine.verify import Audit, audit
from engine.verify.journal_reader import line_faults, row_faults
from engine.verify.state_files import cache_fault

WHY = "repair"
# Of these the manifest knows nothing. Anything else that an audit finds is a reason to derive it anew.
_ASIDE = frozenset({"stray temporary file", "stray file", "stray token", "wrong cache", "duplicate job"})
_TOKEN_LIKE = re.compile(r"[0-9.~]+")
_MANY = 20  # sentences of one sort; beyond that they are counted


@dataclass(slots=True)
class Repaired:
    """What a repair did, as sentences, and what the audit says after it."""

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
    """Repair the queue in this directory, as far as it can be, and audit it. `moved_to`: where its output is now.

    Holds run.lock, monitor.lock and seed.lock meanwhile. Raises NoQueueError, UsageError (format), HeldError beside
    a live run, monitor, seeding or worker, OSError when the disk fails, after which a second repair goes on.
    """
    queue = open_queue(root)
    with ExitStack() as locks:
        for path, what in (
            (queue.run_lock, "run"),
            (queue.monitor_lock, "monitor"),
            (queue.seed_lock, "seeding"),
        ):
            # Those of a supervisor that was killed take a moment to go.
            wait_s = LEAVE_S + 1.0 if path == queue.monitor_lock else 0.0
            locks.enter_context(take_or_say_who(path, what, wait_s=wait_s, note={"what": WHY}))
        _wait_for_workers(queue)
        its = _Repair(queue)
        its.complete_gathering()
        if not its.possible():
            return Repaired(audit(root, held=True))
        its.open_output(moved_to)
        return Repaired(its.repair(), its.said())


def _wait_for_workers(queue: Queue) -> None:
    give_up_at = time.monotonic() + LEAVE_S
    while left := claims.living(queue):
        if time.monotonic() >= give_up_at:
            raise HeldError(
                f"worker {left[0][0]} (pid {left[0][1]}) still lives: end it first", pid=left[0][1]
            )
        time.sleep(0.02)


class _Repair:
    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self._did: list[tuple[str, str]] = []  # (sort, sentence)
        self._output: str | None = None
        self._through: set[Chunk] = set()
        self._derive_anew = False

    def complete_gathering(self) -> None:
        """Before anything else is looked at: until then some segments are there twice."""
        with suppress(UsageError):  # a segment is damaged: nothing is possible
            if gathering.complete(self.queue):
                self._say("gathering", "finished gathering small segments, which had been cut off")

    def possible(self) -> bool:
        """Whether the truth is there: what is to be done, and where its output lies."""
        try:
            frozen = self.queue.read_batch().get("frozen")
            damaged = [
                its
                for its in self.queue.segments()
                if not self.queue.header(its) or not whole(self.queue.segment(its))
            ]
            for chunk in (
                () if damaged else self._chunks()
            ):  # one from before there were sums shows it only so
                read_jobs(self.queue.segment(chunk.segment), chunk)
        except UsageError:
            return False
        if isinstance(frozen, dict):
            self._output = marker.output_of(self.queue)
        return not damaged and os.path.exists(self.queue.batch)

    def open_output(self, moved_to: str | None) -> None:
        """See that the output directory is there and this queue's, or make `moved_to` that. Raises UsageError: it is
        moved, or not mounted, and then nobody wants all its videos fetched again."""
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
        self._retry()
        self._purge()
        for sentence in mend(self.queue):
            self._say("token", sentence)
        batch = self.queue.read_batch()
        forget = publisher.forgetting(self._output or "", marker.id_of(batch), marker.formats_of(batch))
        if count := claims.reclaim(self.queue, "", forget):
            self._say("worker", f"took apart the directories of {count} dead worker(s)")
        self._reopen()
        self._to_done()
        self._caches()
        found = audit(self.queue.root, held=True)
        if set(found.totals) - _ASIDE:
            self._drop_checkpoint()
        if self._derive_anew or self._behind():
            self._follow()
            found = audit(self.queue.root, held=True)
            how = "derived from the journals anew" if self._derive_anew else "brought up to date"
            self._say("manifest", f"manifest, checkpoint and status {how}: {found.rows:,} rows")
        while self._tidy(found):
            found = audit(self.queue.root, held=True)
        return found

    # ---- what it says -----------------------------------------------------------------------------------
    def _say(self, sort: str, sentence: str) -> None:
        self._did.append((sort, sentence))

    def said(self) -> list[str]:
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

    # ---- the steps --------------------------------------------------------------------------------------
    def _retry(self) -> None:
        """A retry's intent that cannot be read says nothing; what it opened stays open."""
        if not os.path.exists(self.queue.retry):
            return
        try:
            requeue.complete(self.queue)
            self._say("retry", "finished a retry that had been cut off")
        except UsageError:
            self._drop_checkpoint()
            disk.unlink(self.queue.retry)
            disk.sync_dir(self.queue.root)
            self._say("retry", "removed retry.json, which cannot be read: say `engine retry` again")

    def _chunks(self) -> Iterator[Chunk]:
        for segment in self.queue.segments():
            yield from cut(self.queue.segment(segment))

    def _purge(self) -> None:
        """Journals without what speaks of other chunks' jobs, or what no engine wrote.

        Whole lines stay byte for byte; `synced` goes, as offsets move: the next owner looks at the files.
        """
        for chunk in self._chunks():
            path = self.queue.journal(chunk)
            names = {job.video_id for job in read_jobs(self.queue.segment(chunk.segment), chunk)}
            kept, gone, begin = [], 0, 0
            for entry in journal.lines(path):
                job = entry.body.get("video_id" if entry.verb == "final" else "job")
                wrong = entry.verb != "synced" and job not in names
                if wrong or line_faults(entry.verb, entry.body, begin):
                    gone += 1
                elif entry.verb != "synced":
                    kept.append(b"%b %b" % (entry.verb.encode(), entry.raw))
                begin = entry.end
            if gone:
                self._drop_checkpoint()
                data = b"".join(b"%b %08x\n" % (text, zlib.crc32(text)) for text in kept)
                disk.publish(path, data, tmp_dir=self.queue.tmp)
                disk.sync_dir(os.path.dirname(path))
                self._say("journal", f"took {gone} line(s) that cannot be its own out of {self._short(path)}")

    def _reopen(self) -> None:
        """Open the jobs again whose row is none, or whose files are not as it says; note which chunks are through."""
        for chunk in self._chunks():
            state = fold(journal.lines(self.queue.journal(chunk)))
            columns = {job.video_id: job.input for job in read_jobs(self.queue.segment(chunk.segment), chunk)}
            again = {
                video_id
                for video_id, its in state.jobs.items()
                if its.final is not None and not self._right(its.final, columns.get(video_id))
            }
            if again:
                self._drop_checkpoint()
                requeue.reopen(self.queue, chunk, again, WHY)
                self._due_now(chunk)
                for video_id in sorted(again):
                    self._say("job", f"opened {video_id} again: its row or its files are not right")
            elif state.finals() == chunk.jobs and not state.unsynced_finals():
                self._through.add(chunk)

    def _right(self, row: dict[str, Any], columns: object) -> bool:
        if any(row_faults(row)) or _text(row["input"]) != _text(columns):
            return False
        return row["status"] != "ok" or self._output is None or publisher.intact(self._output, row)

    def _due_now(self, chunk: Chunk) -> None:
        for when, its, name in deferred_chunks(self.queue):
            if its == chunk and when:
                due_now = os.path.join(self.queue.deferred, f"{0:010d}~{chunk.name}")
                disk.rename(os.path.join(self.queue.deferred, name), due_now)

    def _to_done(self) -> None:
        """Hand the chunks that wait, and for nothing, to the monitor."""
        for _, chunk, name in deferred_chunks(self.queue):
            if chunk in self._through:
                source = os.path.join(self.queue.deferred, name)
                disk.rename(source, os.path.join(self.queue.done(chunk.segment), chunk.token))
                self._say("done", f"moved the token of chunk {chunk.name} to done/: all its jobs are final")

    def _caches(self) -> None:
        """The caches of ids: what is not as the segments say goes, and what lacks is made again."""
        lacking = []
        for segment in self.queue.segments():
            paths = (self.queue.ids(segment), self.queue.ids(segment) + ODD)
            if cache_fault(self.queue, segment, read_ids(self.queue.segment(segment))):
                remove_cache(self.queue, segment)
            if not all(map(os.path.exists, paths)):
                lacking.append(segment)
        if lacking:
            Known(self.queue)
            self._say("ids", f"made {len(lacking)} cache(s) of ids in ids/ again")

    def _drop_checkpoint(self) -> None:
        """From here on every start derives the manifest from the journals."""
        self._derive_anew = True
        if os.path.lexists(self.queue.checkpoint):
            disk.unlink(self.queue.checkpoint)
            disk.sync_dir(self.queue.root)

    def _behind(self) -> bool:
        """Whether a monitor would find something to do."""
        if self._output is not None and not os.path.exists(self.queue.status):
            return True
        known = read_checkpoint(self.queue)
        size = os.stat(self.queue.manifest).st_size if os.path.exists(self.queue.manifest) else 0
        return size != (known.length if known else 0) or any(done_chunks(self.queue))

    def _follow(self) -> None:
        """One monitor until nothing moves: manifest, checkpoint, filed/ and status."""
        monitor = Monitor(self.queue)
        try:
            monitor.finish()
        finally:
            monitor.close()

    # ---- what is left over ------------------------------------------------------------------------------
    def _tidy(self, found: Audit) -> bool:
        """Remove what the audit calls stray and nobody can miss; whether anything was."""
        before = len(self._did)
        for its in found.problems:
            if its.what in ("stray file", "stray temporary file") and self._remove(its.where):
                self._say("stray", f"removed {self._short(its.where)}")
        if "stray token" in found.totals:  # named in another way than an engine does: to `recover` it is none
            for path in self._odd_tokens():
                if self._remove(path):
                    self._say("stray", f"removed {self._short(path)}")
        return len(self._did) > before

    def _odd_tokens(self) -> Iterator[str]:
        for segment in self.queue.segments():
            for directory in (
                self.queue.pending(segment),
                self.queue.done(segment),
                self.queue.filed(segment),
            ):
                for name in os.listdir(directory):
                    if Chunk.parse(name, segment) is None and _TOKEN_LIKE.fullmatch(name):
                        yield os.path.join(directory, name)
        right = {name for _, _, name in deferred_chunks(self.queue)}
        yield from (
            os.path.join(self.queue.deferred, name)
            for name in {*os.listdir(self.queue.deferred)} - right
            if _TOKEN_LIKE.fullmatch(name)
        )

    def _remove(self, path: str) -> bool:
        """Remove what an audit has called stray: by then its name is one that the engine gives."""
        if not os.path.lexists(path):
            return False
        out = self._output
        if out is not None and _lies_in(path, out):
            if _lies_in(path, os.path.join(out, publisher.TMP)):
                publisher.sweep(out)
            elif _lies_in(path, os.path.join(out, marker.DIR)):
                if os.path.basename(path) in marker.leftovers(out, marker.id_of(self.queue.read_batch())):
                    disk.unlink(path)
            else:
                disk.unlink(path)
        elif os.path.isdir(path) and not os.path.islink(path):
            if not os.listdir(path):
                disk.rmdir(path)
        elif os.path.islink(path) or path.endswith(".tmp") or not os.path.getsize(path):
            disk.unlink(path)
        return not os.path.lexists(path)


def _lies_in(path: str, directory: str) -> bool:
    return path.startswith(directory.rstrip(os.sep) + os.sep)


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True)
