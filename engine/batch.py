"""One batch as an object: what the command line does, as methods of `Batch` with typed values and exceptions.

    >>> from engine import Batch
    >>> batch = Batch("talks")
    >>> batch.seed([
    ...     "dQw4w9WgXcQ",
    ...     "@TED",
    ...     {"url": "https://youtu.be/jNQXAC9IVRw", "topic": "zoo"},
    ... ]).added
    2
    >>> result = batch.run(rate="0.5/s", languages="en,de")        # blocks; `start` does not
    >>> batch.status().ok
    212
    >>> for row in batch.rows(status="ok"):
    ...     print(row.video_id, row.title, row.input.get("topic"))
    ...     text = batch.record(row.video_id).transcript.cues

A run is a child process of its own, `python -m engine run`, and all that is known of it is read from the queue's
files. So `run` and `start` work in any thread, in a daemonic process, in a notebook, and in a script without
`if __name__ == "__main__"`. They install no signal handlers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Any, Unpack

from engine.errors import NoRecordError, UsageError
from engine.model import ImportResult, Record, RetryResult, SeedResult, Status
from engine.monitor.batch_status import BatchStatus
from engine.queue.directory import Queue, exists, open_queue, refuse_foreign
from engine.queue.listings import KIND as LISTING
from engine.queue.listings import MAX_RESULTS
from engine.queue.manifest_row import ManifestRow, counted_rows
from engine.run.child_run import RunHandle, RunOptions, RunResult, start_run
from engine.run.live_run import LiveRun
from engine.units import checked_day

if TYPE_CHECKING:
    from engine.export import ExportKind, ExportOptions, ExportResult
    from engine.queue.listings import SourceStatus
    from engine.recovery.repair import Repaired
    from engine.report import Report
    from engine.run.child_import import ImportOptions
    from engine.search import SearchHit
    from engine.verify import Audit

STATUS_S = 1.0  # between two calls of `on_status`


class Batch(LiveRun):
    """A queue directory and what can be done with it. Making the object touches nothing.

    Every method that needs a queue raises NoQueueError where there is none, and UsageError where it cannot be read.
    A relative path is looked up from the working directory of the moment.
    """

    def __init__(self, queue: str | os.PathLike[str] = "queue_dir") -> None:
        self.root = os.fspath(queue)

    def __repr__(self) -> str:
        return f"Batch({self.root!r})"

    # ---- the work ---------------------------------------------------------------------------------------
    def seed(
        self,
        videos: str | os.PathLike[str] | Iterable[str | Mapping[str, Any]],
        *,
        column: str | None = None,
        sheet: str | None = None,
        encoding: str | None = None,
        keep_columns: str = "all",
        skip_known: Iterable[str | os.PathLike[str]] = (),
        max_results: int = MAX_RESULTS,
        newest: int | None = None,
        since: str | None = None,
        dry_run: bool = False,
        on_note: Callable[[str], None] = lambda text: None,
    ) -> SeedResult:
        """Add videos; makes the queue if there is none. What is in the queue already is not added again.

        `videos`: one INPUT as on the command line (a file, an id, an address, a channel …), or an iterable of
        ids, addresses and channels, or of mappings with one as `video_id`, `id` or `url`, whose other keys become
        the user's columns (those of a channel's are not taken). An item of an iterable is never taken for a file.
        The other arguments are those of `engine seed`; `on_note` is called with what a person should know, such
        as an encoding that was guessed.

        Raises UsageError when the input cannot be read or nothing in it names a video, HeldError when another seeding
        does not end.
        """
        from engine.inputs.json_input import read_values
        from engine.queue.making import make_queue
        from engine.seeding.reading import Reading, seed_streams
        from engine.seeding.rejected import guarded
        from engine.seeding.seed import would_seed

        refuse_foreign(self.root)
        _refuse_tables(videos)
        day = _day(since)
        known_files = tuple(os.fspath(file) for file in skip_known)
        reading = Reading(column, sheet, keep_columns, known_files, encoding)
        known = reading.known_elsewhere(on_note)
        errors: list[str] = []
        if isinstance(videos, str | os.PathLike):
            streams = reading.open([os.fspath(videos)], errors, on_note)
        else:
            streams = reading.kept(read_values(videos, "Batch.seed", column=column), on_note)
        if errors:
            raise UsageError(*errors)
        if dry_run:
            queue = open_queue(self.root) if exists(self.root) else None
            result = would_seed(queue, guarded(streams, errors, on_note), unwanted=known)
        else:
            queue = make_queue(self.root)
            result = seed_streams(
                queue,
                streams,
                errors,
                on_note,
                known_elsewhere=known,
                max_results=max_results,
                newest=newest,
                since=day,
            )
        if errors:
            raise UsageError(*errors)
        return SeedResult(**asdict(result), rejects=Queue(self.root).rejects)

    def run(
        self, *, on_status: Callable[[BatchStatus], None] | None = None, **options: Unpack[RunOptions]
    ) -> RunResult:
        """Work until every job is final or something ends the run; always resumes. Blocks until the end.

        `on_status` is called with the status about once a second. An exception in this thread, KeyboardInterrupt too,
        stops the run: it finishes what is in flight first (a second KeyboardInterrupt ends it at once). Raises as
        `RunHandle.wait`.
        """
        with self.start(**options) as run:
            while True:
                try:
                    return run.wait(STATUS_S if on_status else None)
                except TimeoutError:
                    if on_status:
                        on_status(run.status())

    def start(self, *, detached: bool = False, **options: Unpack[RunOptions]) -> RunHandle:
        """Start a run and return its handle at once; errors come from `RunHandle.wait`.

        The run stops in good order when this program ends. A `detached` one goes on, as one in another terminal;
        `stop` ends it. Proxies go to it by a pipe, never by its command line or environment.

        Raises UsageError for a proxy that cannot be read, TypeError for an option that `engine run` does not have.
        """
        return start_run(self.root, options, detached=detached)

    def import_folder(self, folder: str | os.PathLike[str], **options: Unpack[ImportOptions]) -> ImportResult:
        """Take transcripts that other programs left in a folder into the batch, as ok, without fetching.

        As `engine import`, in a child process; blocks until its end. Makes the queue if there is none. Raises
        UsageError when the folder cannot be read, HeldError beside a live run, DiskError, RunDiedError.
        """
        from engine.run.child_import import import_folder

        return import_folder(self.root, os.fspath(folder), options)

    def sync(self, *, searches: bool = False, since: str | None = None) -> int:
        """Have the next run list the batch's channels and playlists again for new videos; returns how many.

        `since`: leave out what is older than this day, `2026-01-31`, from now on. Raises UsageError for another text.
        """
        from engine.queue import listings
        from engine.seeding.seed import SEED_WAIT_S
        from engine.storage.locks import take_or_say_who

        day = _day(since)
        queue = open_queue(self.root)
        with take_or_say_who(queue.seed_lock, "seeding", wait_s=SEED_WAIT_S):
            return listings.sync(queue, searches=searches, since=day)

    def sources(self) -> list[SourceStatus]:
        """The channels, playlists and searches of the batch: how far each is listed, and what it added."""
        from engine.queue import listings

        return list(map(listings.source_status, listings.read_all(open_queue(self.root))))

    # ---- what became of it ------------------------------------------------------------------------------
    def status(self) -> BatchStatus:
        """How far the batch is, at any time; where there is no queue its `state` is `empty`. Takes no lock."""
        from engine.monitor import status

        return BatchStatus.from_json(status.collect(self.root))

    def rows(self, *, status: str | None = None) -> Iterator[ManifestRow]:
        """The rows of the manifest one by one, of one status (`ok`, `absent`, `failed`) or all.

        The manifest can lag a live run by a few seconds. Raises UsageError for a status that no row has.
        """
        if status is not None and status not in list(Status):
            raise UsageError(f"no row has the status {status!a}: choose from {', '.join(Status)}")
        found = counted_rows(open_queue(self.root))
        return (ManifestRow.from_json(row) for row in found if status in (None, row["status"]))

    def failures(
        self, kinds: Iterable[str] = (), *, older_than_s: float | None = None
    ) -> Iterator[ManifestRow]:
        """The jobs that are not ok, of these kinds if any are given, and final for so long if that is given.

        A channel, playlist or search that could not be listed is among them, of the kind `listing`, its name in place
        of an id. Raises UsageError for a kind that does not exist.
        """
        from engine.monitor.failed_jobs import check_kinds, rows

        found = rows(open_queue(self.root), check_kinds(kinds), older_than_s)
        return (ManifestRow.from_json(row) for row in found)

    @property
    def output(self) -> str | None:
        """The output directory; None before the first run."""
        from engine.queue.marker import output_of

        return output_of(open_queue(self.root))

    def record(self, video_id: str) -> Record:
        """The record of a video: metadata, transcript, the user's columns.

        Raises NoRecordError when there is none, and UsageError when it cannot be read.
        """
        from engine.inputs import video_ids
        from engine.output import json_record, stored
        from engine.queue.marker import store_of

        output, place, data = self.output, None, None
        if output and video_ids.video_id(video_id) == video_id:
            place = stored.find(output, store_of(open_queue(self.root).read_batch()), video_id)
            data = stored.read(output, place) if place else None
        path = os.path.join(output, place) if output and place else None
        if data is None:
            raise NoRecordError(f"there is no record of {video_id} in this batch", path=path)
        try:
            return json_record.from_json(data)
        except ValueError as exc:
            raise UsageError(f"{path}: {exc}", path=path) from None

    def search(
        self,
        words: str,
        *,
        languages: Iterable[str] = (),
        limit: int | None = 20,
        fts: bool = False,
        on_progress: Callable[[str, int, int], None] = lambda what, done, total: None,
        on_note: Callable[[str], None] = lambda text: None,
    ) -> list[SearchHit]:
        """The places in the transcripts that have all these words or `"phrases"`, the best first.

        `languages`: only transcripts in one of these. `fts`: `words` is a query in the language of SQLite's FTS5.
        Brings the search index in the user's cache directory up to date first; `on_progress` is called with (what,
        done, of how many), `on_note` with what a person should know.

        Raises UsageError for a query that means nothing or an index that cannot be written.
        """
        from engine.search import search

        codes = [languages] if isinstance(languages, str) else list(languages)
        queue = open_queue(self.root)
        return search(
            queue, words, fts=fts, languages=codes, limit=limit, on_progress=on_progress, on_note=on_note
        )

    def export(
        self,
        kind: ExportKind,
        to: str | os.PathLike[str] | None = None,
        *,
        on_progress: Callable[[str, int, int], None] | None = None,
        **options: Unpack[ExportOptions],
    ) -> ExportResult:
        """Make a table, a data set, readable texts or passages, as `engine export`. `to` is WHERE, `where` an option.

        Raises UsageError when `to` holds something else, HeldError when another export is writing there.
        """
        from engine.export import export

        return export(self.root, kind, to, options, on_progress)

    def verify(self) -> Audit:
        """Audit the queue and its output: `audit.ok`, and `audit.problems` when it is not.

        Raises HeldError beside a live run, UsageError when the output directory is missing or another queue's.
        """
        from engine.output import destination
        from engine.queue.marker import output_of
        from engine.verify import audit

        queue = open_queue(self.root)
        try:
            output = output_of(queue)
        except UsageError:  # batch.json cannot be read: the audit reports it
            output = None
        destination.check(queue, output)
        return audit(self.root)

    def repair(self, *, output: str | os.PathLike[str] | None = None) -> Repaired:
        """Rebuild what segments and journals can rebuild, then audit: `repaired.did`, `repaired.audit`.

        `output`: where the output directory was moved to. Raises as `verify`.
        """
        from engine.recovery.repair import repair

        return repair(self.root, None if output is None else os.fspath(output))

    def report(self, *, price_per_gb: float | None = None) -> Report:
        """What became of the batch, what it cost, and what to do next, as a value."""
        from engine import report

        open_queue(self.root)
        return report.make(self.root, price_per_gb=price_per_gb)

    def retry(
        self,
        kinds: Iterable[str] = (),
        *,
        absent: bool = False,
        older_than_s: float | None = None,
        dry_run: bool = False,
        on_progress: Callable[[str, int, int], None] | None = None,
    ) -> RetryResult:
        """Put failed jobs and sources back for the next run; returns how many.

        `kinds`: only these (an absent kind by name, too); `absent`: absent jobs as well; `older_than_s`: only those
        that have been final for so long. `on_progress` is called with (what, done, of how many). Raises HeldError
        beside a live run.
        """
        from engine.monitor.failed_jobs import check_kinds
        from engine.recovery.requeue import retry, retry_listings

        asked = check_kinds(kinds)
        queue = open_queue(self.root)
        sources = retry_listings(queue, dry_run=dry_run) if asked is None or LISTING in asked else 0
        job_kinds = asked and asked - {LISTING}
        if asked and not job_kinds:
            return RetryResult(0, sources)
        jobs = retry(
            queue,
            kinds=job_kinds,
            absent=absent,
            older_than_s=older_than_s,
            dry_run=dry_run,
            on_progress=on_progress,
        )
        return RetryResult(jobs, sources)

    def wait(self, timeout_s: float | None = None) -> BatchStatus:
        """Wait until no run is live here, or for so many seconds; returns the status then."""
        from engine.queue.control import wait_for_run_end

        wait_for_run_end(open_queue(self.root), float("inf") if timeout_s is None else timeout_s)
        return self.status()


def _refuse_tables(videos: object) -> None:
    """Raise TypeError for what would be iterated over by the names of its columns, or not at all."""
    kind = type(videos).__name__
    if isinstance(videos, Mapping):
        raise TypeError(f"videos must be a list of mappings, not one {kind}: give [{{…}}]")
    if hasattr(videos, "to_dicts"):
        raise TypeError(f"videos must be a list of mappings, not a {kind}: give .to_dicts()")
    if hasattr(videos, "to_dict") and hasattr(videos, "columns"):
        raise TypeError(f"videos must be a list of mappings, not a {kind}: give .to_dict('records')")
    if not isinstance(videos, str | os.PathLike | Iterable):
        raise TypeError(f"videos must be a text, a path or a list, not {kind}")


def _day(text: Any) -> str | None:
    """A `since`, checked."""
    if text is None:
        return None
    if not isinstance(text, str):
        hint = f": give {text.isoformat()[:10]!r}" if isinstance(text, date) else ""
        raise TypeError(f"since must be a text such as '2026-01-31', not {type(text).__name__}{hint}")
    try:
        return checked_day(text)
    except ValueError as exc:
        raise UsageError(f"since {text[:40]!r}: {exc}") from None
