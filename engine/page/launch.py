"""Seeding and starting runs for the page, and what they said when they ended.

A run that is started here goes on when the page ends. All that is kept of it is its last words, for who looks.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.batch import Batch
from engine.budget import describe, parse_rate
from engine.errors import EngineError, UsageError
from engine.inputs import Line
from engine.inputs.rejects import escape, without_password
from engine.output.formats import FORMATS
from engine.output.placement import refuse_output_place
from engine.page.field_words import by_field
from engine.page.given_input import SHOWN_REJECTED, GivenInput, NamedFile, SeededInput, seed, string
from engine.process.threads import start_thread
from engine.run.child_run import RunHandle, RunOptions, RunResult, start_run
from engine.seeding.dedup import Seeded
from engine.youtube.language_codes import check_code

MOST_AT_ONCE, LEAST_AT_ONCE = 20, 2
ENDING_S = 10.0
EARLY_S = 2.0  # a run that cannot start has mostly ended by then
_SHOWN_CHARS = 80


@dataclass(frozen=True, slots=True)
class Preview:
    """What a start would do, in lines for a person; `encoding`: whether another one may have to be chosen."""

    lines: tuple[str, ...]
    encoding: bool = False


class Launcher:
    """Starts runs of one batch."""

    def __init__(self, batch: Batch, *, rehearsal: bool = False) -> None:
        self.batch, self.rehearsal = batch, rehearsal
        self.last_words: tuple[str, ...] = ()
        self._lock = threading.Lock()
        self._run: RunHandle | None = None

    def preview(self, wanted: Mapping[str, Any]) -> Preview:
        """Read the input as a seeding would, and write nothing. Raises EngineError."""
        options = run_options(wanted, self.batch.root)
        with GivenInput(wanted) as file:
            found = None if file is None else self._seed(wanted, file, dry_run=True)
        if found is None:
            return Preview(tuple(filter(None, [_rate(options, None)])))
        words = ". ".join(
            filter(None, [seeded(found.result, dry=True), _rate(options, found.result.added or None)])
        )
        encoding = any("encoding" in note for note in found.notes)
        return Preview((words, *found.notes, *map(_why, found.rejected), *_more_rejected(found)), encoding)

    def start(self, wanted: Mapping[str, Any]) -> str:
        """Seed what is given, then start a run unless one is live; returns what was done. Raises EngineError.

        All fields are checked before anything is seeded.
        """
        options = run_options(wanted, self.batch.root)
        self._let_end()
        said = []
        with GivenInput(wanted, keep=False) as file:
            if file is not None:
                said.append(seeded(self._seed(wanted, file, dry_run=False).result, dry=False))
        with self._lock:  # a second click
            begun = self._run is not None and self._run.running  # it may not hold the queue yet
            if begun or self.batch.live_note() is not None:
                return f"{'. '.join(said)}. The run takes them up" if said else "a run is at work already"
            run = self._run = start_run(self.batch.root, options, detached=True, rehearsal=self.rehearsal)
            self.last_words = ()
        self._watch(run)
        return ". ".join([*said, "the run has started"])

    def _let_end(self) -> None:
        """Wait for a run that has finished everything and is ending: it would take up nothing more."""
        if self.batch.status().state != "finished":
            return
        self.batch.wait(ENDING_S)
        run = self._run
        if run is not None:
            with contextlib.suppress(TimeoutError, EngineError):
                run.wait(ENDING_S)

    def _seed(self, wanted: Mapping[str, Any], file: NamedFile, *, dry_run: bool) -> SeededInput:
        encoding = string(wanted, "encoding").strip()
        return seed(self.batch.root, file, encoding=encoding, dry_run=dry_run, rehearsal=self.rehearsal)

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
            self.last_words = tuple(map(by_field, exc.lines))

    def _end(self, wait: Callable[[float | None], RunResult], timeout_s: float | None) -> None:
        result = wait(timeout_s)
        self.last_words = () if result.finished else tuple(result.messages[-1:])


def run_options(wanted: Mapping[str, Any], root: str) -> RunOptions:
    """The options of the run that the form asks for; what it leaves empty is left to `engine.toml` and defaults.

    Raises UsageError.
    """
    options: RunOptions = {}
    codes = [code.strip() for code in string(wanted, "languages").split(",") if code.strip()]
    for code in codes:
        if not all(part.isalnum() for part in code.split("-")):
            raise UsageError(f"Languages: {code[:40]!r} is not a language code such as en or en-GB")
        check_code(code, "Languages")
    if codes:
        options["languages"] = ",".join(codes)
    if rate := string(wanted, "rate").strip():
        options["rate"] = str(parse_rate(rate))
    if output := string(wanted, "output").strip():
        options["output"] = _folder(output, root)
    formats = wanted.get("formats") or []
    if not isinstance(formats, list) or any(name not in FORMATS for name in formats):
        raise UsageError(f"Formats: there are {', '.join(FORMATS)}")
    if formats:
        options["format"] = [str(name) for name in formats]
    if wanted.get("replace") is True:
        options["replace"] = True
    if wanted.get("sequential") is True:
        options["sequential"] = True
    elif wanted.get("at_once") is not None:
        options["processes"], options["threads"] = 1, at_once(wanted)
    return options


def at_once(wanted: Mapping[str, Any]) -> int:
    """How many videos at once. Raises UsageError."""
    number = wanted.get("at_once")
    if type(number) is not int or not LEAST_AT_ONCE <= number <= MOST_AT_ONCE:
        raise UsageError(f"Videos at once: {LEAST_AT_ONCE} to {MOST_AT_ONCE}")
    return number


def _folder(text: str, root: str) -> str:
    """The absolute path of a folder for transcripts. Raises UsageError where none can be or be made."""
    path = os.path.abspath(os.path.expanduser(text))
    refuse_output_place(root, path)
    there = path
    while not os.path.lexists(there):
        there = os.path.dirname(there)
    if not os.path.isdir(there) or not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(f"Folder: {path}: nothing can be written in {there}: give another folder")
    return path


def seeded(result: Seeded, *, dry: bool) -> str:
    """What became, or would become, of the lines of an input."""
    parts = [f"{result.read:,} read: {result.added:,} {'new' if dry else 'added'}"]
    parts += [f"{result.listed:,} to list (channels, playlists, searches)"] if result.listed else []
    parts += [f"{result.duplicate:,} given twice or in the queue already"] if result.duplicate else []
    parts += [f"{result.rejected:,} without a video"] if result.rejected else []
    return ", ".join(parts)


def _why(line: Line) -> str:
    """Which line names no video, and why."""
    text = escape(without_password(line.text), _SHOWN_CHARS)
    return f"line {line.line:,}: {text}: {escape(line.reason or '')}"


def _more_rejected(found: SeededInput) -> list[str]:
    more = found.result.rejected - SHOWN_REJECTED
    return [f"and {more:,} more"] if more > 0 else []


def _rate(options: RunOptions, videos: int | None) -> str:
    rate = options.get("rate")
    return (
        describe(parse_rate(str(rate)), 1, 2, videos).replace("1 egress", "each connection") if rate else ""
    )
