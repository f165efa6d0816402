"""One export from its request to its result: survey the manifest, convert it slice by slice, write, list."""

from __future__ import annotations

import contextlib
import hashlib
import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.errors import DiskError, UsageError
from engine.export import dataset_card
from engine.export.columns import PREFIX, FoundColumns, TableColumns, UserColumn, table_columns
from engine.export.file_list import FileList
from engine.export.file_names import NameTemplate
from engine.export.input_order import COLUMN, write_order
from engine.export.numbers import repeated, sorted_bytes
from engine.export.place import LocalPlace, Place, own_name
from engine.export.request import TABLES, TEXTS, ExportRequest
from engine.export.row_filter import RowFilter
from engine.export.slice_pool import SlicePool
from engine.export.slice_work import ConvertedSlice, SliceSpec, SliceSurvey
from engine.export.slices import ManifestSlices
from engine.export.store import RemotePlace, is_remote
from engine.export.writers import Publishing, writer_for
from engine.output import destination
from engine.process import cpus
from engine.queue.directory import Queue, open_queue
from engine.queue.marker import id_of, output_of
from engine.storage import disk

FEW_ROWS = 1000  # are done before other processes have started
EXAMPLES = 3

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many videos, and of how many."""


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What came of an export: how many rows (text files, passages) are in how many files, and of what size.

    `files` names the tables' files in WHERE; text files are too many. `unreadable` counts videos whose record cannot
    be read (their rows are there, without what it holds), `unreadable_ids` names some. `long_cells` counts texts that
    are longer than a cell of Excel. `resumed` is False where `new` was asked for and there was nothing to go on from;
    `gone` names files of the last export that were missing from WHERE, so that all was exported. `renamed` has the
    user's columns that a table has under another name, because theirs was taken: the name there by their own.
    """

    kind: str
    where: str
    rows: int
    files: tuple[str, ...]
    file_count: int
    bytes: int
    unreadable: int = 0
    unreadable_ids: tuple[str, ...] = ()
    long_cells: int = 0
    resumed: bool = False
    gone: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)


def run_export(root: str, request: ExportRequest, on_progress: Progress | None = None) -> ExportResult:
    """Do an export.

    Raises UsageError when WHERE holds something else, when the output directory is not there, or for a wrong option;
    HeldError when another export is writing there; DiskError, also when the transcripts go meanwhile; ShortageError.
    """
    queue = open_queue(root)
    output = output_of(queue)
    destination.check(queue, output)
    _refuse_place(queue, output, request)
    if request.kind == "parquet":
        from engine.export import parquet_files  # noqa: F401 - whether it can be imported
    if request.kind == "xlsx":
        from engine.export import workbook_file  # noqa: F401
    open_place: Callable[..., Place] = RemotePlace if is_remote(request.to) else LocalPlace
    try:
        with contextlib.closing(open_place(request.to, is_file=request.is_file)) as place:
            path = os.path.realpath(queue.root)
            batch = id_of(queue.read_batch()) or hashlib.sha256(os.fsencode(path)).hexdigest()[:32]
            listed = FileList(place, request.kind, batch, path)
            listed.check()
            return _Export(queue, output, request, place, listed, on_progress or _silent).run()
    except OSError as exc:
        if disk.is_disk_error(exc):
            raise disk.disk_error(exc, f"writing {request.to}") from exc
        raise


def check_place(root: str, request: ExportRequest) -> None:
    """Raise UsageError when an export could not be written to its place. Makes nothing that stays."""
    _refuse_place(Queue(os.path.abspath(root)), None, request)
    if is_remote(request.to):
        return
    directory, name = os.path.split(os.path.abspath(request.to)) if request.is_file else (request.to, "")
    there = os.path.lexists(request.to) if name else os.path.isdir(directory) and any(os.scandir(directory))
    if there and not os.path.isdir(os.path.join(directory, own_name(name))):
        raise UsageError(f"{request.to} holds something else than an export: give another place")
    if request.kind == "parquet":
        from engine.export import parquet_files  # noqa: F401
    if request.kind == "xlsx":
        from engine.export import workbook_file  # noqa: F401


def _silent(what: str, done: int, total: int) -> None:
    """No progress."""


def _refuse_place(queue: Queue, output: str | None, request: ExportRequest) -> None:
    """Raise UsageError for a place among the queue's files or the transcripts."""
    if is_remote(request.to):
        return
    where = os.path.realpath(request.to)
    _refuse_root(request.to, where)
    for what, directory in (("the queue", queue.root), ("the transcripts", output)):
        if directory is not None and os.path.commonpath(
            (where, os.path.realpath(directory))
        ) == os.path.realpath(directory):
            raise UsageError(f"{request.to} lies in {what} ({directory}): give another place")


def _refuse_root(to: str, where: str) -> None:
    """Raise UsageError where something would have to be made in the root directory: that is a slip."""
    made = where
    while not os.path.lexists(above := os.path.dirname(made)):
        made = above
    if above == os.sep and not os.path.lexists(made):
        raise UsageError(
            f"{to}: there is no {made}, and an export makes nothing in the root directory: give another place with "
            "-o, or make that one first"
        )


class _Export:
    """The state of one export."""

    def __init__(
        self,
        queue: Queue,
        output: str | None,
        request: ExportRequest,
        place: Place,
        listed: FileList,
        on_progress: Progress,
    ) -> None:
        self._output, self._request, self._place, self._listed = output, request, place, listed
        self._queue = queue
        self._slices = ManifestSlices(queue)
        self._on_progress = on_progress
        self._gone = listed.gone() if request.new else ()
        self._resumed = request.new and listed.can_go_on and not self._gone
        self._old_rows = listed.rows_path() if self._resumed else None
        self._resumed = self._old_rows is not None
        processes = request.processes or cpus.usable()
        self._pool = SlicePool(1 if self._slices.rows < FEW_ROWS else processes)

    def run(self) -> ExportResult:
        with contextlib.closing(self._slices), self._pool:
            survey = self._survey()
            columns = self._columns(survey.found)
            spec = self._spec(columns, survey)
            self._check(columns)
            rows = self._count(spec) if self._request.kind == "parquet" and spec.where else survey.fresh
            return self._write(spec, columns, rows, survey.numbers)

    # ---- the first reading -----------------------------------------------------------------------------
    def _survey(self) -> SliceSurvey:
        survey = SliceSurvey()
        spec = SliceSpec(self._request.kind, self._output, old_rows=self._old_rows)
        for part in self._mapped("looked at", spec, "survey"):
            survey.found.merge(part.found)
            survey.fresh += part.fresh
            survey.numbers.extend(part.numbers)
            survey.folded.extend(part.folded)
        return survey

    def _count(self, spec: SliceSpec) -> int:
        return sum(self._mapped("counted", spec, "count"))

    def _mapped(self, what: str, spec: SliceSpec, method: str) -> Iterator[Any]:
        """The results of all slices, with progress."""
        done, numbered = 0, method == "convert"
        arguments = ((data, number) if numbered else (data,) for number, data in enumerate(self._slices))
        from engine.export.slices import LINES

        for result in self._pool.map(spec, method, arguments):
            done += LINES
            self._on_progress(what, min(done, self._slices.rows), self._slices.rows)
            yield result

    def _columns(self, found: FoundColumns) -> TableColumns:
        columns = table_columns(found)
        if self._request.kind == "jsonl":  # which holds any value as it is
            users = tuple(UserColumn(each.key, each.name, "json") for each in columns.users)
            columns = TableColumns(columns.ours, users, columns.others)
        return columns

    def _spec(self, columns: TableColumns, survey: SliceSurvey) -> SliceSpec:
        request = self._request
        return SliceSpec(
            request.kind,
            self._output,
            columns=columns if request.text else columns.without("text", "segments"),
            where=request.where,
            name=request.name,
            flat=request.flat,
            words=request.words,
            overlap=request.overlap,
            twins=repeated(sorted_bytes(survey.folded)),
            old_rows=self._old_rows,
            staging=self._place.staging,
            order=self._order(),
        )

    def _order(self) -> str | None:
        """A file with the places of all videos in the input, where something needs them."""
        request = self._request
        if request.kind not in TABLES and COLUMN not in f"{request.name} {request.where}":
            return None
        path = os.path.join(self._place.staging, COLUMN)
        write_order(self._queue, path)
        return path

    def _check(self, columns: TableColumns) -> None:
        """Raise UsageError for an expression or a template that does not fit the columns, before anything is made."""
        if self._request.where:
            RowFilter(self._request.where, columns)
        if self._request.kind in TEXTS:
            NameTemplate(self._request.name, columns.by_name, flat=self._request.flat)

    # ---- the second ------------------------------------------------------------------------------------
    def _write(self, spec: SliceSpec, columns: TableColumns, rows: int, numbers: array[int]) -> ExportResult:
        request, listed = self._request, self._listed
        if self._resumed and not rows:
            if listed.old and listed.old.complete:
                listed.tidy()
            return ExportResult(request.kind, request.to, 0, (), 0, 0, resumed=True)
        part = listed.old.parts + 1 if self._resumed and listed.old else 1
        listed.begin(full=not self._resumed)
        publishing = Publishing(self._place, listed)
        shown = spec.columns or columns
        total = _Total()
        with contextlib.closing(writer_for(request, shown, publishing, part=part, rows=rows)) as writer:
            for found in self._mapped("exported", spec, "convert"):
                if found.unreadable:
                    self._refuse_lost_output()
                if found.rows:
                    writer.add(found.data, found.rows)
                total.add(found)
            self._refuse_lost_output()
            writer.finish()
        stats = self._stats(total, publishing)
        if request.kind == "parquet" and not request.is_file:
            for name, data in (
                (dataset_card.STATS, dataset_card.stats_json(stats)),
                (dataset_card.README, dataset_card.readme(stats, shown)),
            ):
                listed.add([name])
                self._place.write(name, data)
        listed.finish(full=not self._resumed, rows=numbers, stats=stats)
        return ExportResult(
            request.kind,
            request.to,
            total.rows,
            tuple(name for name, _ in publishing.files),
            publishing.count,
            publishing.bytes,
            total.unreadable,
            tuple(total.unreadable_ids),
            total.long_cells,
            self._resumed,
            self._gone,
            _renamed(columns) if request.kind in TABLES else {},
        )

    def _refuse_lost_output(self) -> None:
        """Raise DiskError when the transcripts have gone meanwhile, as by an unmount: else an export without texts
        would replace the one of before."""
        try:
            destination.check(self._queue, self._output)
        except UsageError as exc:
            raise DiskError(*exc.lines, path=self._output) from None

    def _stats(self, total: _Total, publishing: Publishing) -> dict[str, Any]:
        """The statistics of all that lies there now."""
        counts = total.stats
        stats: dict[str, Any] = {
            "videos": sum(counts[name] for name in ("ok", "absent", "failed")),
            **{name: counts[name] for name in ("ok", "absent", "failed", "words", "duration_s")},
            "rows": total.rows,
            "languages": {
                name.removeprefix("language "): count
                for name, count in sorted(counts.items())
                if name.startswith("language ")
            },
            "files": dict(publishing.files),
        }
        old = self._listed.old.stats if self._resumed and self._listed.old else {}
        for name, value in old.items():
            if isinstance(value, int) and isinstance(stats.get(name), int):
                stats[name] += value
            elif isinstance(value, dict) and isinstance(stats.get(name), dict):
                if name == "languages":
                    stats[name] = dict(sorted((Counter(stats[name]) + Counter(value)).items()))
                else:
                    stats[name] = {**value, **stats[name]}
        return stats


def _renamed(columns: TableColumns) -> dict[str, str]:
    """The user's columns that got a prefix, as another column has their name."""
    return {
        each.key: each.name
        for each in columns.users
        if each.name.startswith(PREFIX) and each.name != each.key
    }


class _Total:
    """What all slices held together."""

    def __init__(self) -> None:
        self.rows = self.unreadable = self.long_cells = 0
        self.unreadable_ids: list[str] = []
        self.stats: Counter[str] = Counter()

    def add(self, found: ConvertedSlice) -> None:
        self.rows += found.rows
        self.unreadable += len(found.unreadable)
        self.unreadable_ids = (self.unreadable_ids + found.unreadable)[:EXAMPLES]
        self.long_cells += found.long_cells
        self.stats.update(found.stats)
