"""How input is read for a seeding: which column, which encoding, which columns are kept, which ids are left out."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from engine.errors import UsageError
from engine.inputs import Keep, Line, read
from engine.inputs.encodings import checked
from engine.inputs.exported_tables import database_ids
from engine.inputs.transcript_files import ids_in
from engine.queue.directory import Queue
from engine.queue.id_index import IdSet
from engine.queue.listings import MAX_RESULTS
from engine.seeding import known_ids, left_columns
from engine.seeding.dedup import Seeded
from engine.seeding.rejected import guarded
from engine.seeding.seed import SEED_WAIT_S, Seeding
from engine.storage.locks import take_or_say_who

_IDS_AT_ONCE = 100_000

Note = Callable[[str], None]
"""Takes a sentence for a person."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read input. The fields are the options `--column --sheet --keep-columns --skip-known --encoding`."""

    column: str | None = None
    sheet: str | None = None
    keep_columns: str = "all"
    skip_known: tuple[str, ...] = ()
    encoding: str | None = None

    def open(self, sources: Sequence[str], errors: list[str], on_note: Note) -> list[Iterator[Line]]:
        """The lines of each source that can be read; why the others cannot is added to `errors`.

        Each source is opened and its first line read, so that a mistyped name is found before anything is written.
        Raises UsageError for a value of `encoding` or `keep_columns` that means nothing.
        """
        keep = self._keep()
        encoding = checked(self.encoding) if self.encoding is not None else None
        found = []
        for source in sources:
            try:
                lines = read(
                    source,
                    column=self.column,
                    sheet=self.sheet,
                    encoding=encoding,
                    stdin=sys.stdin.buffer if source == "-" else None,
                    on_note=on_note,
                )
                lines = keep.of(lines)
                first = next(lines, None)
            except UsageError as exc:
                errors.extend(exc.lines)
                continue
            if first is None:
                on_note(f"{'standard input' if source == '-' else source} names no video")
            found.append(itertools.chain([first], lines) if first is not None else iter(()))
        return [*found, _report_missing(keep, on_note)] if found else []

    def kept(self, lines: Iterator[Line], on_note: Note) -> list[Iterator[Line]]:
        """The same for lines that come from a program."""
        keep = self._keep()
        return [keep.of(lines), _report_missing(keep, on_note)]

    def known_elsewhere(self, on_note: Note) -> IdSet | None:
        """The ids that `skip_known` names, None without such a file. Raises UsageError when one cannot be read."""
        if not self.skip_known:
            return None
        ids = IdSet()
        for file in self.skip_known:
            if os.path.isdir(file):
                _add_folder(ids, file, on_note)
                continue
            if not os.path.exists(file):
                raise UsageError(f"--skip-known {file}: no such file or folder", path=file)
            if (rows := database_ids(file)) is not None:
                on_note(f"--skip-known {file}: {_add(ids, rows):,} rows name a video")
                continue
            lines = read(file, on_note=on_note)
            named = rejected = 0
            while block := list(itertools.islice(lines, _IDS_AT_ONCE)):
                names = [line.video_id for line in block if line.video_id is not None]
                if names:
                    ids.add(names)
                named += len(names)
                rejected += len(block) - len(names)
            if rejected or not named:
                on_note(f"--skip-known {file}: {named:,} lines name a video, {rejected:,} do not")
        return ids

    def _keep(self) -> Keep:
        try:
            return Keep(self.keep_columns)
        except ValueError as exc:
            raise UsageError(f"--keep-columns {self.keep_columns!a}: {exc}") from None


def seed_streams(
    queue: Queue,
    streams: list[Iterator[Line]],
    errors: list[str],
    on_note: Note,
    *,
    known_elsewhere: IdSet | None = None,
    max_results: int = MAX_RESULTS,
    newest: int | None = None,
    since: str | None = None,
) -> Seeded:
    """Seed what the streams hold, under seed.lock; what is wrong with a stream is added to `errors`.

    The ids in `known_elsewhere` are kept first, as the lister of a live run may find them at any moment.
    """
    with take_or_say_who(queue.seed_lock, "seeding", wait_s=SEED_WAIT_S):
        if known_elsewhere is not None:
            known_ids.add_known_ids(queue, known_elsewhere)
        seeding = Seeding(
            queue, unwanted=known_elsewhere, max_results=max_results, newest=newest, since=since
        )
        result = seeding.add(guarded(streams, errors, on_note))
        if left := seeding.left_columns():
            on_note(left_columns.sentence(left))
        return result


def _add_folder(ids: IdSet, folder: str, on_note: Note) -> None:
    """Add the ids of the videos of which other programs, or this one, left something in a folder."""
    try:
        found = _add(ids, ids_in(folder))
    except UsageError as exc:
        raise UsageError(*(f"--skip-known {line}" for line in exc.lines), path=folder) from None
    except OSError as exc:
        raise UsageError(f"--skip-known {folder}: {exc.strerror or exc}", path=folder) from None
    on_note(f"--skip-known {folder}: {found:,} files or rows there belong to a video")


def _add(ids: IdSet, names: Iterator[str]) -> int:
    found = 0
    while block := list(itertools.islice(names, _IDS_AT_ONCE)):
        ids.add(sorted(set(block)))
        found += len(block)
    return found


def _report_missing(keep: Keep, on_note: Note) -> Iterator[Line]:
    """Yields nothing; read after all other lines, it warns of columns to keep that no line had."""
    for name in keep.missed():
        on_note(f"warning: --keep-columns: nothing in the input has a column {name!a}")
    yield from ()
