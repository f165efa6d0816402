"""Putting jobs back: `failed` rows (and `absent` ones on request) become open jobs again.

Each step can be repeated, so `complete` can finish what a crash interrupted:

    retry.json durable: which jobs, of which chunks
      -> `reopen` lines in their journals, durable       (not for a job that is open already)
      -> the manifest without their rows, durable        (a row may be gone already)
      -> the checkpoint that matches it, durable         (counted again)
      -> tokens to deferred/, due now; durable           (one that is there already stays)
      -> what the jobs left in the output directory      (usually nothing)
      -> retry.json removed

Between the new manifest and its checkpoint the manifest is shorter than the old checkpoint says, just as if somebody
had truncated it. Either way both files are derived from the journals again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from engine.errors import UsageError
from engine.output import stores
from engine.queue import checked_json, journal, listings, marker
from engine.queue.directory import Queue, deferred_chunks
from engine.queue.journal_follower import chunk_state
from engine.queue.segments import Chunk, split_chunks
from engine.recovery.exclusive import exclusive_hold
from engine.recovery.manifest_rewrite import rewrite
from engine.recovery.retry_choice import Wanted, choose, wants
from engine.storage import disk
from engine.storage.locks import take_or_say_who

WHY = "retry"
OnProgress = Callable[[str, int, int], None]
"""Receives each step: (what, done, of how many)."""


def retry(
    queue: Queue,
    *,
    kinds: set[str] | None = None,
    absent: bool = False,
    older_than_s: float | None = None,
    dry_run: bool = False,
    on_progress: OnProgress | None = None,
) -> int:
    """Put jobs back; returns how many (with `dry_run`, how many it would be).

    By default the `failed` ones; with `absent` also the absent ones; with `kinds` only those of these kinds (absent
    kinds included); with `older_than_s` only those final for at least so long. Never an `ok` one.
    Raises HeldError beside a live run, monitor, seeding or worker; OSError when the disk fails: then the next run or
    retry finishes it.
    """
    with exclusive_hold(queue, WHY):
        wanted = wants(kinds, absent, older_than_s)
        return put_back(queue, wanted, dry_run=dry_run, on_progress=on_progress)


def put_back(
    queue: Queue, wanted: Wanted, *, dry_run: bool = False, on_progress: OnProgress | None = None
) -> int:
    """Open the jobs whose rows are wanted; returns how many.

    The caller holds run.lock, monitor.lock and seed.lock, and no worker lives. Raises as `retry`.
    """
    complete(queue)
    chunks = choose(queue, wanted)
    count = sum(map(len, chunks.values()))
    if count and not dry_run:
        intent = {"schema_version": 1, "chunks": {chunk.name: ids for chunk, ids in chunks.items()}}
        disk.publish_durably(queue.retry, checked_json.to_bytes(intent), tmp_dir=queue.tmp)
        complete(queue, on_progress)
    return count


def retry_listings(queue: Queue, *, dry_run: bool = False) -> int:
    """Open the failed listings, to continue where they stopped; returns how many.

    Raises HeldError beside a live run or seeding.
    """
    with (
        take_or_say_who(queue.run_lock, "run", note={"what": WHY}),
        take_or_say_who(queue.seed_lock, "seeding", note={"what": WHY}),
    ):
        return listings.put_back(queue, dry_run=dry_run)


def complete(queue: Queue, on_progress: OnProgress | None = None) -> bool:
    """Finish an interrupted retry; True when there was one.

    The caller holds run.lock and monitor.lock, and no worker lives. Raises UsageError when retry.json cannot be read.
    """
    chunks = _read_intent(queue)
    if chunks is None:
        return False
    report = on_progress or (lambda what, done, total: None)
    dropped = {video_id for ids in chunks.values() for video_id in ids}
    ends, count = {}, 0
    for chunk, ids in chunks.items():
        ends[chunk] = reopen(queue, chunk, set(ids))
        count += len(ids)
        report("put back", count, len(dropped))
    for chunk in chunks:
        if os.path.exists(
            queue.filed_token(chunk)
        ):  # its rows are in the manifest, whatever its journal says now
            dropped |= _open_jobs(queue, chunk)
    rewrite(queue, dropped, ends)
    _free(queue, set(chunks))
    _remove_output(queue, set(chunks), dropped, report)
    disk.unlink(queue.retry)
    disk.sync_dir(queue.root)
    return True


def _read_intent(queue: Queue) -> dict[Chunk, list[str]] | None:
    try:
        value = checked_json.read(queue.retry)
        chunks = {Chunk.parse(name): list(map(str, ids)) for name, ids in value["chunks"].items()}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        chunks = {None: []}
    parsed = {chunk: ids for chunk, ids in chunks.items() if chunk is not None}
    segments = {chunk.segment for chunk in parsed}.intersection(queue.segments())
    known = {chunk for segment in segments for chunk in split_chunks(queue.segment(segment))}
    if len(parsed) != len(chunks) or not known.issuperset(parsed):
        raise UsageError(f"{queue.retry} is damaged: remove it, then say `engine retry` again")
    return parsed


def reopen(queue: Queue, chunk: Chunk, ids: set[str], why: str = WHY) -> int:
    """Open these jobs in their journal, durably; returns the journal's end. Nobody else may own the journal.

    No `synced` is written, because it would confirm other jobs' files.
    """
    file = journal.Journal(queue.journal(chunk))
    try:
        state = chunk_state(queue, chunk, brief=True)
        file.write_again(state.synced_end)  # also the lines of an earlier retry whose fsync failed
        final = [name for name in sorted(ids) if name in state.jobs and state.jobs[name].final is not None]
        file.write_many("reopen", [{"job": video_id, "why": why} for video_id in final])
        file.sync()
        return file.end
    finally:
        file.close()


def _open_jobs(queue: Queue, chunk: Chunk) -> set[str]:
    """The jobs of a chunk that its next owner will do. None of them may keep a row."""
    jobs = chunk_state(queue, chunk, brief=True).jobs
    return {name for name in queue.chunk_ids(chunk) if name not in jobs or jobs[name].final is None}


def _free(queue: Queue, chunks: set[Chunk]) -> None:
    """Move the tokens to deferred/, due now. Those of dead workers stay: whoever reclaims them does the same."""
    for _, chunk, name in deferred_chunks(queue):
        old, due_now = os.path.join(queue.deferred, name), queue.deferred_token(chunk)
        if chunk in chunks and old != due_now:
            disk.rename(old, due_now)
    left = set()
    for chunk in chunks:
        for token in (queue.filed_token(chunk), queue.done_token(chunk)):
            with contextlib.suppress(FileNotFoundError):
                disk.rename(token, queue.deferred_token(chunk))
                left.add(os.path.dirname(token))
    for directory in (queue.deferred, *sorted(left)):
        disk.sync_dir(directory)


def _remove_output(queue: Queue, chunks: set[Chunk], dropped: set[str], report: OnProgress) -> None:
    """Remove what these jobs left in the output directory. Usually that is nothing, and no journal is read."""
    root = marker.output_of(queue)
    if root is None:
        return
    batch, count = queue.read_batch(), 0
    store = marker.store_of(batch)
    remove = stores.output_remover(root, marker.id_of(batch), marker.formats_of(batch), store)
    for chunk in chunks:
        put_back_here = dropped & queue.chunk_ids(chunk)
        left = [video_id for video_id in put_back_here if stores.may_have_left(root, video_id, store)]
        jobs = chunk_state(queue, chunk).jobs if left else {}
        for video_id in left:
            rows = jobs[video_id].rows if video_id in jobs else ()
            remove(video_id, rows, None)
        count += len(put_back_here)
        report("looked for leftover output of", count, len(dropped))
