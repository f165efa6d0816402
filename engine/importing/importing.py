"""Makes jobs final with transcripts from files, by the rules of a worker process.

It holds run.lock, claims each chunk with such a job as a worker does, publishes the record, writes the journal line,
and hands the chunk on. What is killed leaves what a killed worker leaves; the next import or run takes it over. Then
it files the rows as a monitor does. A job that is final stays as it is, so importing again changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from engine.importing import reading
from engine.inputs.line import Line, rejected
from engine.inputs.transcript_file import Form, TranscriptFile
from engine.model import Job, Metadata, Record, Transcript
from engine.monitor.monitor import run_to_end
from engine.output import publisher, stores
from engine.output.publisher import TakenError
from engine.queue import claims, dead_workers
from engine.queue.directory import Queue, chunks_in, deferred_chunks
from engine.queue.job_state import JobState
from engine.queue.journal import row
from engine.queue.segments import Chunk, read_jobs
from engine.settings import Settings
from engine.storage.locks import take_or_say_who
from engine.storage.timestamps import utc
from engine.worker.held_chunks import HeldChunks
from engine.worker.results import JournalLine, ResultHandler
from engine.worker.work import OpenChunk
from engine.youtube import languages

WAY = "import"
MONITOR_WAIT_S = 5.0

_FORMS = (Form.FRAME, Form.JSON, Form.JSON_PART, Form.ROW, Form.CAPTIONS, Form.ROWS, Form.SECTION)
"""What may hold times, the form that says most about the video first."""

Catalogue = dict[str, list[TranscriptFile]]
"""The files of each video."""


@dataclass(slots=True)
class Imported:
    """What became of the videos in a folder: imported + already + rejected + other_language = videos.

    `already` were final before, `other_language` are in none of the batch's languages (by language), `rejected` have
    no file that can be read, or (`taken`) a file of others lies in the output; the last two stay to be fetched.
    """

    videos: int = 0
    imported: int = 0
    already: int = 0
    rejected: int = 0
    taken: int = 0
    other_language: Counter[str] = field(default_factory=Counter)


class Importer:
    """One import. The caller holds run.lock, has seeded the videos of the catalogue, and has recovered the queue.

    `reject` is called with each file that was not taken, `on_progress` with how many videos are done.
    """

    def __init__(
        self,
        queue: Queue,
        settings: Settings,
        catalogue: Catalogue,
        reject: Callable[[Line], None],
        on_progress: Callable[[int], None] = lambda done: None,
    ) -> None:
        self.result = Imported(videos=len(catalogue))
        self._queue = queue
        self._settings = settings
        self._catalogue = catalogue
        self._reject = reject
        self._on_progress = on_progress
        self._seen = 0

    def run(self) -> Imported:
        """Import what can be imported. Raises EngineError and OSError as a worker does; run again, it goes on."""
        frozen, batch = self._settings.frozen, self._settings.batch
        remover = stores.output_remover(frozen.output, batch, frozen.formats, frozen.store)
        run_id = claims.run_id()
        dead_workers.reclaim(self._queue, run_id, remover)
        worker_id = f"{run_id}.0.0"
        self._output = stores.open_store(frozen, worker_id, batch, replace=self._settings.replace)
        self._worker = claims.Worker(self._queue, worker_id, 1)
        # Its budget is for attempts, and there are none.
        results = ResultHandler(self._output, None, 1, ())  # type: ignore[arg-type]
        self._held = HeldChunks(self._settings, self._worker, results)
        for chunk, deferred in list(self._chunks()):
            self._import_chunk(chunk, deferred)
        self._output.close()
        self._worker.close()
        publisher.sweep(frozen.output)
        with take_or_say_who(self._queue.monitor_lock, "monitor", wait_s=MONITOR_WAIT_S):
            run_to_end(self._queue)
        self.result.already = self.result.videos - self._seen
        return self.result

    def _chunks(self) -> Iterator[tuple[Chunk, str | None]]:
        """The free chunks with a video of the catalogue, and the names of the tokens of those that are deferred."""
        free: list[tuple[Chunk, str | None]] = [
            (chunk, name) for _, chunk, name in deferred_chunks(self._queue)
        ]
        for segment in self._queue.segments():
            free += [(chunk, None) for chunk in chunks_in(self._queue.pending(segment), segment)]
        for chunk, name in sorted(free, key=lambda found: found[0]):
            jobs = read_jobs(self._queue.segment(chunk.segment), chunk)
            if any(job.video_id in self._catalogue for job in jobs):
                yield chunk, name

    def _import_chunk(self, chunk: Chunk, deferred: str | None) -> None:
        if not (self._worker.take_deferred(chunk, deferred) if deferred else self._worker.take(chunk)):
            return
        home, _ = self._held.open(chunk)
        for job in read_jobs(self._queue.segment(chunk.segment), chunk):
            state = home.state.job(job.video_id)
            if state.final is None and job.video_id in self._catalogue:
                self._seen += 1
                self._import_job(home, job, state)
        self._held.sync([home])
        self._held.let_go([home])
        self._on_progress(self._seen)

    def _import_job(self, home: OpenChunk, job: Job, state: JobState) -> None:
        found = self._choose(job.video_id)
        if found is None:
            return
        file, metadata, transcript = found
        self._worker.begin(0, home.name, job.video_id)
        now = utc()
        record = Record(job.video_id, metadata, transcript, job.input, now, batch=self._output.batch or None)
        try:
            files, sums = self._output.publish(record, state.earlier, home.chunk)
        except TakenError as exc:
            self._refuse(file, f"{exc.path} in the output was not written by this queue and stays")
            self.result.rejected += 1
            self.result.taken += 1
        else:
            body = row(
                job,
                attempts=state.charged,
                requests=state.requests,
                body_bytes=state.bytes,
                metadata=metadata,
                transcript=transcript,
                files=files,
                sha256=sums,
                egress=None,
                elapsed_s=0.0,
                finished_at=now,
                way=WAY,
            )
            self._held.write(home, JournalLine("final", {**body, "imported_from": _told(file)}))
            home.here -= 1
            self.result.imported += 1
        self._worker.end(0)

    def _choose(self, video_id: str) -> tuple[TranscriptFile, Metadata, Transcript] | None:
        """The best file of a video that can be read; None when there is none, which is then said or counted."""
        by_form = reading.all_of(self._catalogue[video_id])
        about = next(filter(None, map(reading.read_about, by_form.get(Form.ABOUT, ()))), None)
        best: tuple[int, TranscriptFile, Metadata, Transcript] | None = None
        others: list[str] = []
        for form in _FORMS:
            for file in by_form.get(form, ()):
                try:
                    metadata, transcript = reading.read(file, about)
                except (ValueError, OSError) as exc:
                    self._refuse(file, exc.strerror or str(exc) if isinstance(exc, OSError) else str(exc))
                    continue
                rank = self._rank(transcript)
                if rank is None:
                    others.append(transcript.language)
                elif best is None or rank < best[0]:
                    best = (rank, file, metadata, transcript)
        if best is not None:
            return best[1:]
        if others:
            self.result.other_language[others[0]] += 1
        else:
            self.result.rejected += 1
            for file in by_form.get(Form.UNTIMED, ()):
                self._refuse(file, "text without times")
        return None

    def _rank(self, transcript: Transcript) -> int | None:
        """How well a transcript fits what the batch wants, 0 best; None when it does not.

        One whose language nobody knows fits any. `orig` cannot be told here and is taken for any.
        """
        frozen = self._settings.frozen
        if frozen.captions != "any" and transcript.is_generated != (frozen.captions == "generated"):
            return None
        unknown = transcript.language == reading.UNKNOWN_LANGUAGE
        for number, wanted in enumerate(frozen.languages):
            fit = 0 if unknown or wanted in ("any", "orig") else languages.match(wanted, transcript.language)
            if fit is not None:
                return number * 8 + fit * 2 + transcript.is_generated
        return None

    def _refuse(self, file: TranscriptFile, why: str) -> None:
        self._reject(rejected(file.path, 1, file.video_id, why, listable=False))


def _told(file: TranscriptFile) -> str:
    """Where a transcript came from, for its row."""
    if not file.length:
        return file.path
    return f"{file.path}#{file.offset}" + (f"+{file.length}" if file.form is Form.FRAME else "")


def catalogue(found: Iterator[TranscriptFile | Line], reject: Callable[[Line], None]) -> Catalogue:
    """The files by video, those of videos of which there is no transcript left out."""
    by_video: dict[str, list[TranscriptFile]] = {}
    for each in found:
        if isinstance(each, Line):
            reject(each)
        else:
            by_video.setdefault(each.video_id, []).append(each)
    return {
        name: files for name, files in by_video.items() if any(each.form is not Form.ABOUT for each in files)
    }


def summary(result: Imported) -> dict[str, Any]:
    """The counts as JSON."""
    return {
        "schema_version": 1,
        "videos": result.videos,
        "imported": result.imported,
        "already": result.already,
        "rejected": result.rejected,
        "other_language": dict(result.other_language),
    }
