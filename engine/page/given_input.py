"""The input that the form gives, and seeding it: under the name that its user knows it by."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.errors import UsageError
from engine.inputs import Line, source_of
from engine.page import cache
from engine.page.field_words import encoding_words
from engine.queue.directory import exists, open_queue, refuse_foreign
from engine.queue.making import make_queue
from engine.seeding.dedup import Seeded
from engine.seeding.reading import Reading, seed_streams
from engine.seeding.rejected import guarded
from engine.seeding.seed import would_seed
from engine.settings import check_rehearsal
from engine.storage import disk

MAX_TEXT = 8 << 20
SHOWN_REJECTED = 10
_MAX_NAME = 200
PASTED = "pasted text"


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file to be read, and what its user calls it."""

    path: str
    name: str


@dataclass(slots=True)
class SeededInput:
    """What became, or would become, of an input; the first lines of it that name no video; sentences for its user."""

    result: Seeded
    rejected: list[Line] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class GivenInput:
    """The input of a form as a file: what was pasted, an upload, or a path on this machine; None without any.

    What was made for it is removed in the end; an upload as well once it was used, unless it is to be kept.
    """

    def __init__(self, wanted: Mapping[str, Any], *, keep: bool = True) -> None:
        self._keep = keep
        self._made: str | None = None
        self._text, self._path = string(wanted, "text"), string(wanted, "path").strip()
        self._upload, self._name = wanted.get("upload"), os.path.basename(string(wanted, "name"))[:_MAX_NAME]
        if sum([bool(self._text.strip()), bool(self._upload), bool(self._path)]) > 1:
            raise UsageError("give one of them: addresses, a file, or a path")

    def __enter__(self) -> NamedFile | None:
        if self._path:
            path = os.path.expanduser(self._path)
            if not os.path.isfile(path):
                raise UsageError(f"{path}: there is no such file on the machine that the page runs on")
            return NamedFile(os.path.abspath(path), self._path)
        if self._upload:
            found = cache.upload(self._upload)
            if found is None:
                raise UsageError("the uploaded file is no longer there: choose it again")
            self._made = None if self._keep else found
            return NamedFile(found, self._name or os.path.basename(found))
        if not self._text.strip():
            return None
        if len(self._text) > MAX_TEXT:
            raise UsageError("that is too much to paste: put it into a file")
        _, path = cache.new_upload("pasted.txt")
        self._made = path
        try:
            disk.create(path, self._text.encode() + b"\n", sync=False)
        except OSError as exc:
            raise disk.disk_error(exc, f"writing {path}") from None
        return NamedFile(path, PASTED)

    def __exit__(self, *exc: object) -> None:
        if self._made is not None and (exc[0] is None or self._keep or self._text.strip()):
            cache.remove_upload(self._made)


def seed(root: str, file: NamedFile, *, encoding: str, dry_run: bool, rehearsal: bool) -> SeededInput:
    """Add what a file names, as `Batch.seed` does; with `dry_run` nothing is written.

    Raises UsageError when it cannot be read or names no video, HeldError when another seeding does not end.
    """
    refuse_foreign(root)
    queue = open_queue(root) if exists(root) else None
    if queue is not None:
        check_rehearsal(queue, rehearsal)
    notes: list[str] = []
    errors: list[str] = []
    found = SeededInput(Seeded())
    streams = Reading(encoding=encoding or None).open([file.path], errors, notes.append)
    _refuse(errors, file)
    lines = _named(itertools.chain.from_iterable(streams), file, found.rejected)
    first = next(lines, None)
    if first is None:
        raise UsageError(f"{file.name} names no video")
    named: list[Iterator[Line]] = [itertools.chain([first], lines)]
    if dry_run:
        found.result = would_seed(queue, guarded(named, errors, lambda note: None))  # the rejected are named
    else:
        queue = make_queue(root, rehearsal=rehearsal)
        found.result = seed_streams(queue, named, errors, notes.append)
    _refuse(errors, file)
    found.notes = [encoding_words(note.replace(file.path, file.name)) for note in notes]
    return found


def _named(lines: Iterator[Line], file: NamedFile, rejected: list[Line]) -> Iterator[Line]:
    """The lines as of the file's own name; the first ones that name no video are kept in `rejected`."""
    for line in lines:
        line.file = line.file.replace(file.path, file.name, 1)
        if line.video_id is None and len(rejected) < SHOWN_REJECTED and source_of(line) is None:
            rejected.append(line)
        yield line


def _refuse(errors: Sequence[str], file: NamedFile) -> None:
    if errors:
        raise UsageError(*(line.replace(file.path, file.name) for line in errors))


def string(wanted: Mapping[str, Any], name: str) -> str:
    """A field of the form. Raises UsageError when it is no text."""
    value = wanted.get(name, "")
    if not isinstance(value, str) or "\0" in value:
        raise UsageError(f"{name} is not a text")
    return value.encode("utf-8", "replace").decode()  # a script may send halves of surrogate pairs
