"""Journals: what happened to the jobs of a chunk, a line each, one writer at a time.

A line is `<verb> <json> <crc32 of both, 8 hex digits>`. The verbs:

- `try`     an attempt that did not end the job: `{job, n, kind, message, not_before, requests, bytes, …}`
- `final`   the job's row in the manifest
- `reopen`  the job is open again: `{job, why}`
- `died`    the job was in flight when its process died: `{job, worker, alone, sure}`
- `synced`  the lines before offset `end`, and the output they speak of, are durable: `{end}`

A line that is torn or does not match its checksum counts as missing. Such lines are counted and never raise.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from engine.model import Job, Kind, Metadata, Status, Transcript
from engine.storage import append_file, disk

VERBS = frozenset({"try", "final", "reopen", "died", "synced"})
_to_json = json.JSONEncoder(ensure_ascii=False).encode
MESSAGE_CHARS = 500
_CHECKSUM_CHARS = 9  # a space and eight digits
# How a `row` begins. The checksum covers the rest of such a line, so it need not be parsed.
_BRIEF = re.compile(
    rb'final \{"video_id": "([\w-]{11})", "status": "([a-z]+)", "kind": (?:null|"([a-z_]+)"), .*\}'
)
# No text of a row holds a bare quote, so the first of these is the row's own. Rows of older engines have no way.
_EGRESS = b', "egress": '
_WAY = re.compile(rb', "egress": (?:null|"(?:[^"\\]|\\.)*"), "way": "([\w-]+)"')


def row(
    job: Job,
    *,
    kind: Kind | None = None,
    message: str | None = None,
    attempts: int,
    requests: int,
    body_bytes: int,
    metadata: Metadata | None = None,
    transcript: Transcript | None = None,
    files: Mapping[str, str] | None = None,
    sha256: Mapping[str, str] | None = None,
    egress: str | None,
    elapsed_s: float,
    finished_at: str,
    way: str | None = None,
) -> dict[str, Any]:
    """A job's row in the manifest, as its `final` line has it; `kind` None means `ok`.

    The order of the fields is part of the format.
    """
    about = metadata or Metadata()
    return {
        "video_id": job.video_id,
        "status": Status.OK if kind is None else kind.status,
        "kind": kind,
        "message": message[:MESSAGE_CHARS] if message else message,
        "attempts": attempts,
        "requests": requests,
        "bytes": body_bytes,
        "title": about.title,
        "channel": about.channel,
        "channel_id": about.channel_id,
        "duration_s": about.duration_s,
        "published": about.published,
        "views": about.view_count,
        "language": transcript.language if transcript else None,
        "is_generated": transcript.is_generated if transcript else None,
        "words": sum(len(cue.text.split()) for cue in transcript.cues) if transcript else None,
        "files": files or {},
        "sha256": sha256 or {},
        "egress": egress,
        "way": way,
        "elapsed_s": round(elapsed_s, 3),
        "finished_at": finished_at,
        "input": dict(job.input),
    }


class JournalEntry(NamedTuple):
    """A good line: its verb, its value (`brief`: see `decode`), the offset after it."""

    verb: str
    body: dict[str, Any]
    end: int
    raw: bytes  # the JSON as written: the manifest copies it byte for byte

    @property
    def job(self) -> Any:
        """The job that the line is about, as it says; None when it names none, as in `synced`."""
        return self.body.get("video_id" if self.verb == "final" else "job")


def encode(verb: str, body: dict[str, Any]) -> bytes:
    """One line. Lone surrogates in strings become `?`."""
    return line(verb, _to_json(body).encode("utf-8", "replace"))


def line(verb: str, raw: bytes) -> bytes:
    """One line, from JSON as it was written."""
    text = b"%b %b" % (verb.encode("ascii"), raw)
    return b"%b %08x\n" % (text, zlib.crc32(text))


def decode(line: bytes, *, brief: bool = False) -> tuple[str, dict[str, Any], bytes] | None:
    """Parse a line without its newline into (verb, value, raw JSON); None when it is damaged.

    With `brief` a row's value is only its `video_id`, `status`, `kind` and, if it names one, `way`: all that counting
    needs, at a tenth of the cost.
    """
    text, separator, digits = (
        line[:-_CHECKSUM_CHARS],
        line[-_CHECKSUM_CHARS:][:1],
        line[-_CHECKSUM_CHARS + 1 :],
    )
    try:
        if separator != b" " or int(digits, 16) != zlib.crc32(text):
            return None
        if brief and (found := _BRIEF.fullmatch(text)):
            video_id, status, kind = (None if part is None else part.decode() for part in found.groups())
            body: dict[str, Any] = {"video_id": video_id, "status": status, "kind": kind}
            if way := _WAY.match(text, max(0, text.find(_EGRESS))):
                body["way"] = way[1].decode()
            return "final", body, text[6:]
        verb, _, raw = text.partition(b" ")
        body = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    name = verb.decode("ascii", "replace")
    return (name, body, raw) if name in VERBS and isinstance(body, dict) else None


@dataclass(slots=True)
class JournalPart:
    """A part of a journal: its good lines, how many damaged ones, and the offset where the next part begins."""

    entries: list[JournalEntry]
    bad: int
    end: int


def parse(data: bytes, start: int = 0, *, brief: bool = False) -> JournalPart:
    """Parse the complete lines of `data`, which begins at offset `start` of its file. `brief`: see `decode`."""
    entries, bad, at = [], 0, 0
    while (newline := data.find(b"\n", at)) >= 0:
        found = decode(data[at:newline], brief=brief)
        at = newline + 1
        if found is None:
            bad += 1
        else:
            entries.append(JournalEntry(found[0], found[1], start + at, found[2]))
    return JournalPart(entries, bad, start + at)


def read(path: str, start: int = 0, *, brief: bool = False) -> JournalPart:
    """Read a journal from an offset on; a missing one is empty. `brief`: see `decode`."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return JournalPart([], 0, start)
    try:
        pieces, at = [], start
        while piece := os.pread(fd, 1 << 20, at):
            pieces.append(piece)
            at += len(piece)
    finally:
        os.close(fd)
    return parse(b"".join(pieces), start, brief=brief)


def checksum(path: str, end: int, start: int = 0, value: int = 0) -> int | None:
    """The CRC-32 of a journal's first `end` bytes; None when it is shorter. `value` is that of the first `start`."""
    try:
        with open(path, "rb") as file:
            file.seek(start)
            data = file.read(max(0, end - start))
    except FileNotFoundError:
        data = b""
    return zlib.crc32(data, value) if len(data) == end - start else None


def lines(path: str, *, brief: bool = False) -> Iterator[JournalEntry]:
    """The good lines of a journal. `brief`: see `decode`."""
    yield from read(path, brief=brief).entries


class Journal:
    """A journal that its owner writes. Not thread-safe: the worker serialises the lines."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._name_synced = False
        self._file = append_file.AppendFile(path)

    def write(self, verb: str, body: dict[str, Any]) -> int:
        """Append one line; returns the offset after it. On an error the file stays what it was."""
        self._file.append(line(verb, _to_json(body).encode("utf-8", "replace")))
        return self._file.size

    def write_many(self, verb: str, bodies: list[dict[str, Any]]) -> None:
        """Append lines in one write. On an error the file stays what it was."""
        if bodies:
            self._file.append(b"".join(encode(verb, body) for body in bodies))

    def write_again(self, start: int) -> None:
        """Write the lines after this offset again: from now on they are relied on, and they may not be durable."""
        self._file.write_again(start)

    @property
    def end(self) -> int:
        """Offset after the last line."""
        return self._file.size

    def sync(self) -> None:
        """Make the lines so far durable. May run beside `write`; the caller writes `synced` afterwards.

        The first call makes the file's name durable too: whoever made the file may have died before that.
        """
        self._file.sync()
        if not self._name_synced:
            disk.sync_dir(os.path.dirname(self.path))
            self._name_synced = True

    def close(self) -> None:
        self._file.close()
