"""What can be downloaded from the page: the queue's own tables, its report, the files of a video, and exports."""

from __future__ import annotations

import importlib.util
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.batch import Batch
from engine.export import ExportKind
from engine.monitor.failed_jobs import rows, to_csv
from engine.output import stored
from engine.output.formats import RECORD, SUFFIXES, from_json, render
from engine.page import cache
from engine.queue.directory import Queue, open_queue
from engine.queue.manifest_row import ManifestRow
from engine.report import page as report_page


@dataclass(frozen=True, slots=True)
class Download:
    """A file that the page offers: its name, its type, and what is in it. `open` returns its parts."""

    name: str
    about: str
    type: str
    open: Callable[[Batch], Iterator[bytes]]


def _report_html(batch: Batch) -> Iterator[bytes]:
    yield report_page(batch.report()).encode()


def _report_json(batch: Batch) -> Iterator[bytes]:
    yield json.dumps(batch.report().to_json()).encode()


def _failures(batch: Batch) -> Iterator[bytes]:
    return (f"{line}\r\n".encode("utf-8", "replace") for line in to_csv(rows(open_queue(batch.root))))


def _manifest(batch: Batch) -> Iterator[bytes]:
    return blocks(open_queue(batch.root).manifest)


def _rejects(batch: Batch) -> Iterator[bytes]:
    return blocks(open_queue(batch.root).rejects)


_OWN = (
    Download("manifest.jsonl", "one row a video, as JSON", "application/jsonl", _manifest),
    Download("failures.csv", "the videos without a transcript, and why", "text/csv", _failures),
    Download("rejects.csv", "the lines of the input without a video", "text/csv", _rejects),
    Download("report.html", "the report, as a page", "text/html", _report_html),
    Download("report.json", "the report, for programs", "application/json", _report_json),
)


def _exported(kind: ExportKind, name: str, about: str, media_type: str) -> Download:
    """An export in one file, made in the cache directory and gone once it is read."""

    def parts(batch: Batch) -> Iterator[bytes]:
        with tempfile.TemporaryDirectory(prefix="export-", dir=cache.directory()) as room:
            path = os.path.join(room, name)
            batch.export(kind, path)
            yield from blocks(path)

    return Download(name, about, media_type, parts)


def _packed(kind: ExportKind, name: str, about: str) -> Download:
    """An export of a file for each transcript, as a ZIP archive."""

    def parts(batch: Batch) -> Iterator[bytes]:
        with tempfile.TemporaryDirectory(prefix="export-", dir=cache.directory()) as room:
            texts, packed = os.path.join(room, "texts"), os.path.join(room, name)
            batch.export(kind, texts)
            with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
                for path in sorted(Path(texts).rglob(f"*.{kind}")):
                    archive.write(path, path.relative_to(texts))
            yield from blocks(packed)

    return Download(name, about, "application/zip", parts)


_OFFICE = "application/vnd.openxmlformats-officedocument"
# What `engine export` makes, in the order in which it is offered. A new kind is added here, and nowhere else.
_EXPORTS = (
    _exported("csv", "table.csv", "a table of all videos and their texts", "text/csv"),
    _exported("xlsx", "table.xlsx", "the same, for Excel", f"{_OFFICE}.spreadsheetml.sheet"),
    _packed("txt", "texts.zip", "a readable text for each transcript"),
    _packed("md", "md.zip", "the same as Markdown"),
    _packed("srt", "srt.zip", "subtitles for each transcript"),
    _packed("vtt", "vtt.zip", "the same for the web"),
    _exported("jsonl", "table.jsonl", "the table as JSON lines", "application/jsonl"),
    _exported("sqlite", "table.db", "the table with full-text search: SQLite", "application/vnd.sqlite3"),
    _exported("parquet", "table.parquet", "the table as Parquet", "application/vnd.apache.parquet"),
    _exported("passages", "passages.jsonl", "pieces of the texts, for retrieval", "application/jsonl"),
)


def offered(root: str) -> list[Download]:
    """The downloads that this batch has by now."""
    queue = Queue(root)
    there = {"manifest.jsonl": queue.manifest, "rejects.csv": queue.rejects}
    found = [each for each in (*_OWN, *_EXPORTS) if os.path.exists(there.get(each.name, queue.batch))]
    needed = {"table.parquet": "pyarrow", "table.xlsx": "openpyxl"}
    missing = {name for name, package in needed.items() if importlib.util.find_spec(package) is None}
    return [each for each in found if each.name not in missing]


def content_of(batch: Batch, row: ManifestRow, suffix: str) -> bytes | None:
    """What a row has in this format; None when there is none. Where only its record was written, the others are made
    of that."""
    place = _place(batch, row, suffix)
    if place is None:
        return None
    data = stored.read(*place)
    if data is None or suffix == RECORD or not _alone(row):
        return data
    try:
        return render(from_json(data), suffix)
    except ValueError:
        return None


def formats_of(batch: Batch, row: ManifestRow) -> list[str]:
    """The formats of a row that can be downloaded, the record last."""
    found = [name for name in SUFFIXES if (place := _place(batch, row, name)) and stored.is_there(*place)]
    return sorted(found, key=lambda name: name == RECORD)


def _alone(row: ManifestRow) -> bool:
    return list(row.files) == [RECORD]


def _place(batch: Batch, row: ManifestRow, suffix: str) -> tuple[str, str] | None:
    """(output directory, place in it) of what a format is read from; None when a row names none, or one outside."""
    if not isinstance(row.files, Mapping) or suffix not in SUFFIXES:
        return None
    output, name = batch.output, row.files.get(RECORD if _alone(row) else suffix)
    if output is None or not isinstance(name, str) or not name:
        return None
    path, inside = os.path.realpath(os.path.join(output, name)), os.path.realpath(output)
    return (output, name) if os.path.commonpath((path, inside)) == inside else None


def blocks(path: str) -> Iterator[bytes]:
    """The content of a file as it is now, piece by piece: what is appended meanwhile is left out."""
    with open(path, "rb") as file:
        left = os.fstat(file.fileno()).st_size
        while left > 0 and (data := file.read(min(left, 1 << 18))):
            left -= len(data)
            yield data
