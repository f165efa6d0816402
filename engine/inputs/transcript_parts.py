"""The parts of files that hold the transcripts of many videos, or that say in themselves whose they are."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator

from engine.errors import UsageError
from engine.inputs import exported_tables, many_transcripts
from engine.inputs.line import Line, rejected
from engine.inputs.many_transcripts import Part, id_in, looks_like_one
from engine.inputs.transcript_file import Form, TranscriptFile

_NOT_OK = ("absent", "failed")


def of_json(path: str, name: str) -> Iterator[TranscriptFile | Line]:
    """A file of JSON with the id in it; a list may hold many."""
    try:
        data = many_transcripts.whole(path)
        if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
            some = False
            for part in many_transcripts.in_list(data):
                some = True
                yield _part(path, name, part, Form.JSON_PART)
            if some:
                return
        value = json.loads(data)
    except (OSError, ValueError, RecursionError) as exc:
        why = f"no video id in its name, and it cannot be read: {exc}"
        yield rejected(path, 1, name, why, listable=False)
        return
    if found := id_in(value):
        yield TranscriptFile(path, found, Form.JSON)
    elif looks_like_one(value):
        yield rejected(path, 1, name, "a transcript without a video id: name it ID.json", listable=False)


def _part(path: str, name: str, part: Part, form: Form) -> TranscriptFile | Line:
    if part.video_id is None:
        why = f"a transcript without a video id, at byte {part.offset}"
        return rejected(path, 1, name, why, listable=False)
    return TranscriptFile(path, part.video_id, form, None, part.offset, part.length)


def of_table(path: str, name: str) -> Iterator[TranscriptFile | Line]:
    """The videos of a table with texts."""
    try:
        with open(path, "rb") as file:
            timed, parts = many_transcripts.in_table(file)
            for part in parts:
                yield _part(path, name, part, Form.ROWS if timed else Form.UNTIMED)
    except (OSError, csv.Error) as exc:
        yield rejected(path, 1, name, f"it cannot be read: {exc}", listable=False)


def of_rows(path: str, name: str) -> Iterator[TranscriptFile | Line]:
    """The rows of a database, a Parquet file or a workbook."""
    try:
        for row in exported_tables.rows(path):
            form = Form.ROW if row.timed else Form.UNTIMED
            yield TranscriptFile(path, row.video_id, form, None, row.number, 1)
    except (UsageError, OSError) as exc:
        why = (exc.strerror or str(exc)) if isinstance(exc, OSError) else str(exc).removeprefix(f"{path}: ")
        yield rejected(path, 1, name, why, listable=False)


def of_sections(path: str, name: str) -> Iterator[TranscriptFile | Line]:
    """The videos of a text that has a section for each."""
    try:
        if many_transcripts.begins_as_sections(path):
            for part in many_transcripts.in_text(many_transcripts.whole(path)):
                yield _part(path, name, part, Form.SECTION)
    except (OSError, ValueError) as exc:
        yield rejected(path, 1, name, f"it cannot be read: {exc}", listable=False)


def of_shards(directory: str) -> Iterator[TranscriptFile | Line]:
    """The records in a directory of shards."""
    try:
        for shard, part in many_transcripts.in_shards(directory):
            yield _part(os.path.join(directory, shard), shard, part, Form.FRAME)
    except OSError as exc:
        path = os.path.join(directory, many_transcripts.INDEX)
        yield rejected(path, 1, many_transcripts.INDEX, exc.strerror or str(exc), listable=False)


def of_lines(path: str) -> Iterator[TranscriptFile | Line]:
    """The lines of a file that hold a transcript, or a row that is ok; of passages the first of each video."""
    offset, before = 0, None
    try:
        with open(path, "rb") as file:
            for line in file:
                found = _of_line(line)
                if found and (found[1] is not Form.UNTIMED or found != before):
                    yield TranscriptFile(path, *found, None, offset, len(line))
                before = found
                offset += len(line)
    except OSError as exc:
        yield rejected(path, 1, os.path.basename(path), exc.strerror or str(exc), listable=False)


def _of_line(line: bytes) -> tuple[str, Form] | None:
    """Whose transcript, row that is ok or passage a line is, and what it holds."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or value.get("status") in _NOT_OK:
        return None
    passage = {"video_id", "start", "end", "text"} <= value.keys()
    found = id_in(value) if passage or value.get("status") == "ok" or looks_like_one(value) else None
    return (found, Form.UNTIMED if passage else Form.JSON_PART) if found else None
