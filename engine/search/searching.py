"""A search, from words to hits: over the index of a queue, brought up to date first, or over an SQLite export."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator

from engine.errors import UsageError
from engine.output.destination import Standing, standing
from engine.queue import marker
from engine.queue.directory import Queue
from engine.search import exported, query
from engine.search.following import Progress, follow
from engine.search.hits import SearchHit, hit
from engine.search.index import Index, delete, failed, is_damaged, path_of
from engine.youtube import languages as codes

LIMIT = 20


def search(
    source: Queue | str,
    words: str,
    *,
    fts: bool = False,
    languages: Collection[str] = (),
    limit: int | None = LIMIT,
    on_progress: Progress = lambda what, done, total: None,
    on_note: Callable[[str], None] = lambda text: None,
) -> list[SearchHit]:
    """The places that have all the words, the best first.

    `source`: a queue, or the path of an SQLite export. `words` are plain words and `"phrases"`, or with `fts` a query
    in FTS5's own language. `languages`: only transcripts in one of these (`en` takes `en-GB`). `limit` None: all of
    them. `on_note` is called with what a person should know of what was searched.

    Raises UsageError for words that hold none, for a query that FTS5 does not understand, and for an index or export
    that cannot be used.
    """
    words = query.whole(words)
    asked = words if fts else query.plain(words, separate=isinstance(source, Queue))
    try:
        if isinstance(source, Queue):
            found = _in_queue(source, asked, languages, on_progress, on_note)
        else:
            found = exported.find(source, asked, lambda offered: _chosen(languages, offered))
        return list(_first(found, limit))
    except sqlite3.OperationalError as exc:
        if fts and exc.sqlite_errorcode == sqlite3.SQLITE_ERROR:
            raise query.syntax_error(words, str(exc)) from None
        raise failed(source if isinstance(source, str) else _path(source), exc) from None
    except sqlite3.Error as exc:
        raise failed(source if isinstance(source, str) else _path(source), exc) from None


def _in_queue(
    queue: Queue,
    asked: str,
    languages: Collection[str],
    on_progress: Progress,
    on_note: Callable[[str], None],
) -> Iterator[SearchHit]:
    path = _path(queue)
    output = _output(queue, on_note)
    try:
        index = _followed(path, queue, output, on_progress)
    except sqlite3.DatabaseError as exc:
        if not is_damaged(exc):
            raise
        delete(path)
        index = _followed(path, queue, output, on_progress)
    try:
        lost, held = len(index.missing()), index.videos()
        if lost:
            on_note(f"{lost:,} of {lost + held:,} transcripts cannot be read and are not searched")
        elif not held:
            on_note("there is no transcript to search yet")
        for *about, starts, highlighted in index.find(asked, _chosen(languages, index.languages())):
            yield hit(about, highlighted or "", [float(start) for start in (starts or "").split()])
    finally:
        index.close()


def _followed(path: str, queue: Queue, output: str | None, on_progress: Progress) -> Index:
    index = Index(path)
    try:
        follow(index, queue, output, on_progress)
    except BaseException:
        index.close()
        raise
    return index


def _path(queue: Queue) -> str:
    """The index of this queue: by its id, and by its inode, because a copy of a queue has the same id."""
    name = (
        marker.id_of(queue.read_batch())
        or hashlib.sha256(os.path.realpath(queue.root).encode()).hexdigest()[:32]
    )
    return path_of(f"{name}-{os.stat(queue.root).st_ino:x}")


def _output(queue: Queue, on_note: Callable[[str], None]) -> str | None:
    """The output directory; None when it is not there, so that nothing is taken for lost that is only not mounted."""
    output = marker.output_of(queue)
    if output is None or standing(queue, output) is Standing.GONE:
        if output is not None:
            on_note(f"the output directory {output} is not there: only what was indexed before is searched")
        return None
    return output


def _chosen(wanted: Collection[str], offered: Iterable[str]) -> list[str] | None:
    """Those of the offered languages that are wanted; None when all are."""
    wanted = {wanted} if isinstance(wanted, str) else wanted
    if not wanted:
        return None
    chosen = [code for code in offered if any(codes.match(want, code) is not None for want in wanted)]
    if not chosen:
        there = ", ".join(sorted(offered)) or "none"
        raise UsageError(f"no transcript is in {' or '.join(sorted(wanted))}; there are: {there}")
    return chosen


def _first(found: Iterator[SearchHit], limit: int | None) -> Iterator[SearchHit]:
    """So many hits, each place once: windows overlap."""
    seen: set[tuple[str, float | None]] = set()
    for each in found:
        place = (each.video_id, each.start_s)
        if place not in seen:
            seen.add(place)
            yield each
        if limit is not None and len(seen) >= limit:
            return
