"""The jobs that are not `ok`, for people, for programs, for spreadsheets."""

from __future__ import annotations

import csv
import difflib
import io
import json
import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from engine.errors import UsageError
from engine.model import Kind
from engine.output.terminal import printable
from engine.queue import listings
from engine.queue.directory import Queue
from engine.queue.manifest import read_checkpoint, read_rows
from engine.storage.timestamps import seconds

COLUMNS = ("video_id", "status", "kind", "message", "attempts", "title", "channel", "egress", "finished_at")
MAX_OWN_COLUMNS = 100
_TAIL_BYTES = 1 << 18
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def rows(
    queue: Queue, kinds: Collection[str] | None = None, older_than_s: float | None = None
) -> Iterator[dict[str, Any]]:
    """Jobs and listings that are not `ok`; only of these kinds, or final for at least so long, if given."""
    yield from _jobs(queue, kinds, older_than_s)
    if (not kinds and older_than_s is None) or (kinds and listings.KIND in kinds):
        yield from listings.failure_rows(queue)


def _jobs(
    queue: Queue, kinds: Collection[str] | None, older_than_s: float | None
) -> Iterator[dict[str, Any]]:
    """The manifest's rows, as far as the checkpoint says that they count."""
    before = None if older_than_s is None else time.time() - older_than_s
    checkpoint = read_checkpoint(queue)
    if checkpoint is None:
        return
    for row in read_rows(queue, checkpoint.length):
        if row.get("status") == "ok" or (kinds and str(row.get("kind")) not in kinds):
            continue
        if before is None or (seconds(row.get("finished_at")) or 0.0) <= before:
            yield row


def check_kinds(kinds: Iterable[str]) -> set[str] | None:
    """These kinds as a set, None for none. Raises UsageError, with the nearest word, for one that does not exist."""
    asked = {kinds} if isinstance(kinds, str) else set(kinds)
    known = [*Kind, listings.KIND]
    for name in sorted(asked - set(known)):
        near = difflib.get_close_matches(name, known, 1)
        hint = f"; did you mean {near[0]}?" if near else f"; one of {', '.join(known)}"
        raise UsageError(f"there is no kind {name!r}{hint}")
    return asked or None


class LatestFailures:
    """The last rows that are not `ok`; each call reads only what the manifest has gained."""

    def __init__(self, queue: Queue, count: int = 3) -> None:
        self._path = queue.manifest
        self._count = count
        self._found: list[dict[str, Any]] = []
        self._at: int | None = None

    def __call__(self) -> list[dict[str, Any]]:
        """These rows, the newest last; none without a manifest."""
        try:
            with open(self._path, "rb") as file:
                size = file.seek(0, os.SEEK_END)
                if self._at is None or size < self._at:  # the first call, or a retry rewrote the manifest
                    self._found, self._at = [], max(0, size - _TAIL_BYTES)
                file.seek(self._at)
                data = file.read(_TAIL_BYTES * 4)
        except OSError:
            return []
        end = data.rfind(b"\n") + 1
        self._at += end
        for line in data[:end].splitlines():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(row, dict) and row.get("status") in ("absent", "failed"):
                self._found.append(row)
        del self._found[: -self._count]
        return list(self._found)


def to_lines(found: Iterable[dict[str, Any]]) -> Iterator[str]:
    """A line a job for a terminal: id, kind, message, title. Control characters are made visible."""
    for row in found:
        parts = [
            f"{printable(str(row.get('video_id'))):11}",
            f"{printable(str(row.get('kind'))):14}",
            printable(str(row.get("message") or "-"), 120),
        ]
        if told := row.get("title") or _first_text(row.get("input")):
            parts.append(f"({printable(str(told), 60)})")
        yield "  ".join(parts)


def to_json_lines(found: Iterable[dict[str, Any]]) -> Iterator[str]:
    """One JSON object a line: the row as it is, with `schema_version`. In ASCII, so that any terminal can show it."""
    for row in found:
        yield json.dumps({"schema_version": 1, **row})


def _first_text(given: object) -> str:
    """The first text among the user's columns: a video that could not be fetched has no title."""
    values = given.values() if isinstance(given, dict) else ()
    return next((value for value in values if isinstance(value, str) and value.strip()), "")


def own_columns(found: Iterable[dict[str, Any]]) -> dict[str, str]:
    """The user's columns in these rows, at most 100: the name in the input, and the name in a table.

    No two names are the same, whatever case they are in, as in exports: databases and tables of Excel fold it.
    """
    names: dict[str, str] = {}
    taken = set(COLUMNS)
    for row in found:
        given = row.get("input")
        for name in given if isinstance(given, dict) else ():
            if name not in names and len(names) < MAX_OWN_COLUMNS:
                names[name] = _free_name(name, taken)
                taken.add(names[name].casefold())
    return names


def _free_name(name: str, taken: Collection[str]) -> str:
    shown = printable(name)
    found, number = shown, 1
    while found.casefold() in taken:
        found = f"input_{shown}" if number == 1 else f"input_{shown}_{number}"
        number += 1
    return found


def to_csv(found: Iterable[dict[str, Any]], own: Mapping[str, str] = MappingProxyType({})) -> Iterator[str]:
    """A table with a header, one physical line a job, without line ends. `own` are columns of the user's to append.

    A text that a spreadsheet would take for a formula gets an apostrophe in front. Ids stay as they are, even with a
    `-` in front, because programs read them.
    """
    yield _record([*COLUMNS, *(_cell("", name) for name in own.values())])
    for row in found:
        given = row.get("input")
        values = [given.get(name) for name in own] if isinstance(given, dict) else [None] * len(own)
        yield _record(
            [*(_cell(name, row.get(name)) for name in COLUMNS), *(_cell("", each) for each in values)]
        )


def _cell(name: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, str):
        return str(value)
    if name == "video_id" and not value.startswith("@"):  # only a listing's source does
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _record(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()
