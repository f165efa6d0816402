"""Putting jobs back: `failed` rows (and `absent` ones on request) become open jobs again.

The order makes every step repeatable, so that `complete` can finish what a crash cut off:

    retry.json durable: which jobs, of which chunks
      -> `reopen` lines in their journals, durable       (a job that is open already gets none)
      -> the manifest without their rows, durable        (a row that is gone already is not missed)
      -> the checkpoint that fits it, durable            (recounted, not calculated)
      -> tokens to deferred/, due now; durable           (one that is there already stays)
      -> what the jobs left in the output directory      (nothing as a rule)
      -> retry.json removed

Between the new manifest and its checkpoint the manifest is shorter than the old checkpoint says. So is one that
somebody cut; the two are not told apart, and both files are derived from the journals anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from engine.errors import HeldError, UsageError
from engine.output import publisher
from engine.output.ownership import Claim
from engine.queue import channel_state, claims, journal, marker
from engine.queue.directory import Queue, deferred_chunks
from engine.queue.job_state import fold
from engine.queue.journal_reader import touched_chunks
from engine.queue.manifest import (
    Checkpoint,
    Counts,
    OpenJournal,
    parse_row,
    read_checkpoint,
    read_lines,
    write_checkpoint,
)
from engine.queue.segments import Chunk, cut, read_ids, read_jobs
from engine.storage import disk
from engine.storage.checksum import sealed, unsealed
from engine.storage.locks import take_or_say_who
from engine.storage.timestamps import seconds

WHY = "retry"
MONITOR_LEAVES_S = 3.0
_BUFFER_BYTES = 1 << 20
_DUE_NOW = f"{0:010d}"
_DAMAGED: dict[str, Any] = {"video_id": "", "status": "ok"}  # stands for a row that cannot be read


def retry(
    queue: Queue,
    *,
    kinds: set[str] | None = None,
    absent: bool = False,
    older_than_s: float | None = None,
    dry_run: bool = False,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> int:
    """Put jobs back; returns how many (with `dry_run`, how many it would be).

    `failed` jobs are taken, with `absent` the absent ones too, with `kinds` only those of these kinds (an
    absent kind that is named is taken without `absent`), with `older_than_s` only those final for so long.
    `on_progress` hears of each step (what, done, of how many).
    Jobs that are `ok` never are. Raises HeldError beside a live run, monitor, seeding or worker; OSError when
    the disk fails, after which the next run, or another retry, finishes what was begun.
    """
    with ExitStack() as locks:
        for path, what in (
            (queue.run_lock, "run"),
            (queue.monitor_lock, "monitor"),
            (queue.seed_lock, "seeding"),
        ):
            # A monitor whose supervisor was killed takes a moment to go.
            wait_s = MONITOR_LEAVES_S if path == queue.monitor_lock else 0.0
            locks.enter_context(take_or_say_who(path, what, wait_s=wait_s, note={"what": WHY}))
        for worker_id, pid, _ in claims.living(queue):
            raise HeldError(f"worker {worker_id} (pid {pid}) still lives: end it first")
        wanted = _wants(kinds, absent, older_than_s)
        return put_back(queue, wanted, dry_run=dry_run, on_progress=on_progress)


def put_back(
    queue: Queue,
    wanted: Callable[[dict[str, Any]], bool],
    *,
    dry_run: bool = False,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> int:
    """Open the jobs again whose rows are wanted; returns how many. `on_progress` as in `retry`.

    The caller holds run.lock, monitor.lock and seed.lock, and no worker lives. Raises as `retry`.
    """
    complete(queue)
    chunks = _chosen(queue, wanted)
    count = sum(map(len, chunks.values()))
    if count and not dry_run:
        intent: dict[str, Any] = {"schema_version": 1}
        intent["chunks"] = {chunk.name: ids for chunk, ids in chunks.items()}
        disk.publish(queue.retry, (json.dumps(sealed(intent)) + "\n").encode(), tmp_dir=queue.tmp)
        disk.sync_dir(queue.root)
        complete(queue, on_progress)
    return count


def retry_listings(queue: Queue, *, dry_run: bool = False) -> int:
    """Open the listings that failed, to be gone on with where they were; returns how many. Raises HeldError beside a
    live run or seeding."""
    with take_or_say_who(queue.run_lock, "run", note={"what": WHY}):
        with take_or_say_who(queue.seed_lock, "seeding", note={"what": WHY}):
            return channel_state.put_back(queue, dry_run=dry_run)


def complete(queue: Queue, on_progress: Callable[[str, int, int], None] | None = None) -> bool:
    """Finish a retry that was cut off; True when there was one.

    The caller holds run.lock and monitor.lock, and no worker lives. Raises UsageError when the intent cannot
    be read.
    """
    chunks = _read_intent(queue)
    if chunks is None:
        return False
    told = on_progress or (lambda what, done, total: None)
    dropped = {video_id for ids in chunks.values() for video_id in ids}
    ends, count = {}, 0
    for chunk, ids in chunks.items():
        ends[chunk] = reopen(queue, chunk, set(ids))
        count += len(ids)
        told("put back", count, len(dropped))
    for chunk in chunks:
        if _filed(queue, chunk):  # its rows are in the manifest, whatever became of their lines since
            dropped |= _without_final(queue, chunk)
    _rewrite(queue, dropped, ends)
    _free(queue, set(chunks))
    _forget(queue, set(chunks), dropped, told)
    disk.unlink(queue.retry)
    disk.sync_dir(queue.root)
    return True


# ---- which jobs -----------------------------------------------------------------------------------------
def _wants(
    kinds: set[str] | None, absent: bool, older_than_s: float | None
) -> Callable[[dict[str, Any]], bool]:
    before = None if older_than_s is None else time.time() - older_than_s

    def wanted(row: dict[str, Any]) -> bool:
        status, kind = row.get("status"), row.get("kind")
        if status == "ok" or (kinds is not None and kind not in kinds):
            return False
        if status == "absent" and not absent and kinds is None:
            return False
        return before is None or (seconds(row.get("finished_at")) or 0.0) <= before

    return wanted


def _chosen(queue: Queue, wanted: Callable[[dict[str, Any]], bool]) -> dict[Chunk, list[str]]:
    """The jobs to be put back, by chunk: those with a row, and those whose row only their journal has yet."""
    checkpoint = read_checkpoint(queue) or Checkpoint()
    names = {row["video_id"] for row, _ in _rows(queue, checkpoint.length) if wanted(row)}
    chunks = {
        chunk: its for segment in queue.segments() for chunk, its in _by_chunk(queue, segment, names).items()
    }
    for chunk in set(touched_chunks(queue)):
        states = fold(journal.lines(queue.journal(chunk))).jobs
        chosen = [job for job, state in states.items() if state.final is not None and wanted(state.final)]
        if chosen:
            chunks[chunk] = chosen
    return chunks


def _by_chunk(queue: Queue, segment: int, names: set[str]) -> dict[Chunk, list[str]]:
    found: dict[Chunk, list[str]] = {}
    if names:
        path = queue.segment(segment)
        ids = read_ids(path)
        for chunk in cut(path):
            mine = [video_id for video_id in (next(ids) for _ in range(chunk.jobs)) if video_id in names]
            if mine:
                found[chunk] = mine
    return found


def _rows(queue: Queue, length: int) -> Iterator[tuple[dict[str, Any], bytes]]:
    """The rows within the manifest's first `length` bytes, each with its line."""
    for line in read_lines(queue, length=length):
        row = parse_row(line) or {}
        yield row if isinstance(row.get("video_id"), str) else _DAMAGED, line


# ---- the steps ------------------------------------------------------------------------------------------
def _read_intent(queue: Queue) -> dict[Chunk, list[str]] | None:
    try:
        with open(queue.retry, "rb") as file:
            value = unsealed(json.load(file))
        chunks = {Chunk.parse(name): list(map(str, ids)) for name, ids in value["chunks"].items()}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        chunks = {None: []}
    parsed = {chunk: ids for chunk, ids in chunks.items() if chunk is not None}
    there = {its for segment in {chunk.segment for chunk in parsed} for its in _chunks_of(queue, segment)}
    if len(parsed) != len(chunks) or not there.issuperset(parsed):
        raise UsageError(f"{queue.retry} is damaged: remove it, then say `engine retry` again")
    return parsed


def _forget(
    queue: Queue, chunks: set[Chunk], dropped: set[str], told: Callable[[str, int, int], None]
) -> None:
    """Remove what these jobs left in the output directory: nothing as a rule, and then no journal is read for it."""
    root = marker.output_of(queue)
    if root is None:
        return
    known, number = queue.read_batch(), 0
    batch, formats = marker.id_of(known), marker.formats_of(known)
    for chunk in chunks:
        mine = dropped & {job.video_id for job in read_jobs(queue.segment(chunk.segment), chunk)}
        left = [video_id for video_id in mine if publisher.left(root, video_id)]
        states = fold(journal.lines(queue.journal(chunk))).jobs if left else {}
        for video_id in left:
            rows = states[video_id].rows if video_id in states else ()
            publisher.forget(root, video_id, Claim(batch, rows, formats))
        number += len(mine)
        told("looked for leftover output of", number, len(dropped))


def _chunks_of(queue: Queue, segment: int) -> Iterator[Chunk]:
    return cut(queue.segment(segment)) if segment in queue.segments() else iter(())


def reopen(queue: Queue, chunk: Chunk, ids: set[str], why: str = WHY) -> int:
    """Open these jobs in their journal, durably; returns the journal's end. Nobody else may be its owner.

    No `synced` is written: that would vouch for other jobs' files.
    """
    book = journal.Journal(queue.journal(chunk))
    try:
        state = fold(journal.lines(book.path, brief=True))
        book.write_again(state.synced_end)  # also the lines of a retry before this one, whose fsync failed
        final = [its for its in sorted(ids) if its in state.jobs and state.jobs[its].final is not None]
        book.write_many("reopen", [{"job": video_id, "why": why} for video_id in final])
        book.sync()
        return book.end
    finally:
        book.close()


def _without_final(queue: Queue, chunk: Chunk) -> set[str]:
    """The jobs that whoever claims this chunk will do: it must not find a row of theirs."""
    states = fold(journal.lines(queue.journal(chunk), brief=True)).jobs
    jobs = (job.video_id for job in read_jobs(queue.segment(chunk.segment), chunk))
    return {video_id for video_id in jobs if (its := states.get(video_id)) is None or its.final is None}


def _rewrite(queue: Queue, dropped: set[str], ends: dict[Chunk, int]) -> None:
    """The manifest without these jobs' rows, and the checkpoint that fits it."""
    checkpoint = read_checkpoint(queue)
    if checkpoint is None:
        return  # the monitor will derive both anew, and the journals say already what is open
    length = checkpoint.length
    if (os.stat(queue.manifest).st_size if os.path.exists(queue.manifest) else 0) < length:
        disk.unlink(queue.checkpoint)
        return
    new = os.path.join(queue.tmp, "manifest.retry.tmp")
    disk.unlink_quietly(new)
    counts, gone, held = Counts(), 0, bytearray()
    at = old_sum = new_sum = 0
    file = disk.AppendFile(new)
    try:
        for row, line in _rows(queue, length):
            if row is _DAMAGED:
                break
            at, old_sum = at + len(line), zlib.crc32(line, old_sum)
            if row["video_id"] in dropped:
                gone += 1
                continue
            counts.add(row)
            held += line
            new_sum = zlib.crc32(line, new_sum)
            if len(held) >= _BUFFER_BYTES:
                file.append(bytes(held))
                held.clear()
        file.append(bytes(held))
        file.sync()
    finally:
        file.close()
    if at != length or checkpoint.rows_crc32 != old_sum:
        # It is not what was written: both are derived from the journals anew.
        disk.unlink(queue.checkpoint)
        disk.unlink(new)
        return
    if gone:
        disk.rename(new, queue.manifest)
        disk.sync_dir(queue.root)
    else:
        disk.unlink(new)
    # A filed journal was forgotten, as all of it is in the manifest; from here on only what follows counts.
    # Of the others the offset stands: rows behind it are still to come.
    for chunk, end in ends.items():
        if chunk.name not in checkpoint.open and _filed(queue, chunk):
            checkpoint.open[chunk.name] = OpenJournal(end)
    checkpoint.length, checkpoint.counts, checkpoint.rows_crc32 = file.size, counts, new_sum
    write_checkpoint(queue, checkpoint)


def _filed(queue: Queue, chunk: Chunk) -> bool:
    return os.path.exists(os.path.join(queue.filed(chunk.segment), chunk.token))


def _free(queue: Queue, chunks: set[Chunk]) -> None:
    """The tokens to deferred/, due now. Those of dead workers stay: whoever reclaims them frees them so."""
    for _, chunk, name in deferred_chunks(queue):
        due_now = f"{_DUE_NOW}~{chunk.name}"
        if chunk in chunks and name != due_now:
            disk.rename(os.path.join(queue.deferred, name), os.path.join(queue.deferred, due_now))
    left = set()
    for chunk in chunks:
        for directory in (queue.filed(chunk.segment), queue.done(chunk.segment)):
            with contextlib.suppress(FileNotFoundError):
                disk.rename(
                    os.path.join(directory, chunk.token),
                    os.path.join(queue.deferred, f"{_DUE_NOW}~{chunk.name}"),
                )
                left.add(directory)
    for directory in (queue.deferred, *sorted(left)):
        disk.sync_dir(directory)
