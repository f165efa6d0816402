"""Seeding and starting runs for the page, and what they said when they ended.

A run that is started here goes on when the page ends. All that is kept of it is its last words, for who looks.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.batch import Batch
from engine.budget import describe, parse_rate
from engine.errors import EngineError, UsageError
from engine.model import SeedResult
from engine.output.formats import FORMATS
from engine.page import cache
from engine.process.threads import start_thread
from engine.run.child_run import RunHandle, RunOptions, RunResult
from engine.storage import disk

MOST_AT_ONCE, LEAST_AT_ONCE = 20, 2
EARLY_S = 2.0  # a run that cannot start has mostly ended by then
MAX_TEXT = 8 << 20
_LANGUAGES = re.compile(r"[A-Za-z0-9,\s-]{1,200}")


@dataclass(frozen=True, slots=True)
class Preview:
    """What a start would do: a sentence on the input, one on the rate, and what else a person should know."""

    seeded: SeedResult | None
    said: str
    notes: tuple[str, ...]


class Launcher:
    """Starts runs of one batch."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.last_words: tuple[str, ...] = ()
        self._lock = threading.Lock()
        self._run: RunHandle | None = None

    def preview(self, wanted: Mapping[str, Any]) -> Preview:
        """Read the input as a seeding would, and write nothing. Raises EngineError."""
        options = run_options(wanted)
        notes: list[str] = []
        with _Input(wanted) as path:
            result = None if path is None else self.batch.seed(path, dry_run=True, on_note=notes.append)
        if result is None:
            return Preview(None, _rate(options, None), tuple(notes))
        words = f"{seeded(result, dry=True)}. {_rate(options, result.added or None)}"
        return Preview(result, words, tuple(notes))

    def start(self, wanted: Mapping[str, Any]) -> str:
        """Seed what is given, then start a run unless one is live; returns what was done. Raises EngineError."""
        options = run_options(wanted)
        said = []
        with _Input(wanted, keep=False) as path:
            if path is not None:
                said.append(seeded(self.batch.seed(path), dry=False))
        with self._lock:  # a second click
            begun = self._run is not None and self._run.running  # it may not hold the queue yet
            if begun or self.batch.live_note() is not None:
                return f"{'. '.join(said)}. The run takes them up" if said else "a run is at work already"
            run = self._run = self.batch.start(detached=True, **options)
            self.last_words = ()
        self._watch(run)
        return ". ".join([*said, "the run has started"])

    def retry(self, kinds: str, older_than_s: float | None, wanted: Mapping[str, Any]) -> str:
        """Put jobs back and start a run. Raises EngineError."""
        found = self.batch.retry(kinds.split(","), older_than_s=older_than_s)
        if not found.jobs and not found.sources:
            return "there is nothing to try again yet"
        return f"{found.jobs + found.sources:,} are tried again; {self.start(wanted)}"

    def _watch(self, run: RunHandle) -> None:
        """Wait for the beginning, in which a run says why it cannot start; a thread waits for the end."""
        try:
            self._end(run.wait, EARLY_S)
        except TimeoutError:
            start_thread(self._wait_for_end, run, name="run")

    def _wait_for_end(self, run: RunHandle) -> None:
        try:
            self._end(run.wait, None)
        except EngineError as exc:
            self.last_words = exc.lines

    def _end(self, wait: Callable[[float | None], RunResult], timeout_s: float | None) -> None:
        result = wait(timeout_s)
        self.last_words = () if result.finished else tuple(result.messages[-1:])


class _Input:
    """The input of a start as a file: what was pasted, an upload, or a path on this machine; None without any."""

    def __init__(self, wanted: Mapping[str, Any], *, keep: bool = True) -> None:
        self._keep = keep
        self._made: str | None = None
        text, path = _string(wanted, "text"), _string(wanted, "path").strip()
        given = [bool(text.strip()), bool(wanted.get("upload")), bool(path)]
        if sum(given) > 1:
            raise UsageError("give one of them: addresses, a file, or a path")
        self._text, self._upload, self._path = text, wanted.get("upload"), path

    def __enter__(self) -> str | None:
        if self._path:
            path = os.path.expanduser(self._path)
            if not os.path.isfile(path):
                raise UsageError(f"{path}: there is no such file on the machine that the page runs on")
            return os.path.abspath(path)
        if self._upload:
            found = cache.upload(self._upload)
            if found is None:
                raise UsageError("the uploaded file is no longer there: choose it again")
            self._made = None if self._keep else found
            return found
        if not self._text.strip():
            return None
        if len(self._text) > MAX_TEXT:
            raise UsageError("that is too much to paste: put it into a file")
        _, path = cache.new_upload("pasted.txt")
        self._made = path
        try:
            disk.create(path, self._text.encode("utf-8", "replace") + b"\n", sync=False)
        except OSError as exc:
            raise disk.disk_error(exc, f"writing {path}") from None
        return path

    def __exit__(self, *exc: object) -> None:
        if self._made is not None and (exc[0] is None or self._keep or self._text.strip()):
            cache.remove_upload(self._made)


def run_options(wanted: Mapping[str, Any]) -> RunOptions:
    """The options of the run that the form asks for; what it leaves empty is left to `engine.toml` and defaults.

    Raises UsageError.
    """
    options: RunOptions = {}
    languages, rate = _string(wanted, "languages").strip(), _string(wanted, "rate").strip()
    if languages:
        if not _LANGUAGES.fullmatch(languages):
            raise UsageError("languages are codes such as en or en-GB, with commas between")
        options["languages"] = languages
    if rate:
        options["rate"] = str(parse_rate(rate))
    formats = wanted.get("formats") or []
    if not isinstance(formats, list) or any(name not in FORMATS for name in formats):
        raise UsageError(f"formats are {', '.join(FORMATS)}")
    if formats:
        options["format"] = [str(name) for name in formats]
    if wanted.get("sequential") is True:
        options["sequential"] = True
    elif wanted.get("at_once") is not None:
        options["processes"], options["threads"] = 1, at_once(wanted)
    return options


def at_once(wanted: Mapping[str, Any]) -> int:
    """How many videos at once. Raises UsageError."""
    number = wanted.get("at_once")
    if type(number) is not int or not LEAST_AT_ONCE <= number <= MOST_AT_ONCE:
        raise UsageError(f"videos at once are {LEAST_AT_ONCE} to {MOST_AT_ONCE}")
    return number


def seeded(result: SeedResult, *, dry: bool) -> str:
    """What became, or would become, of the lines of an input."""
    parts = [f"{result.read:,} read: {result.added:,} {'new' if dry else 'added'}"]
    parts += [f"{result.listed:,} to list (channels, playlists, searches)"] if result.listed else []
    parts += [f"{result.duplicate:,} in the queue already"] if result.duplicate else []
    parts += [f"{result.rejected:,} without a video"] if result.rejected else []
    return ", ".join(parts)


def _rate(options: RunOptions, videos: int | None) -> str:
    rate = options.get("rate")
    return describe(parse_rate(str(rate)), 1, 2, videos).replace("1 egress", "each egress") if rate else ""


def _string(wanted: Mapping[str, Any], name: str) -> str:
    value = wanted.get(name, "")
    if not isinstance(value, str) or "\0" in value:
        raise UsageError(f"{name} is not a text")
    return value
