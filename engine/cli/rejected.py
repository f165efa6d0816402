"""What a person is told of rejected lines: why an input holds no video, or what is wrong with most of its lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from engine.cli import say
from engine.errors import UsageError
from engine.inputs import Line, source_of
from engine.inputs.reader import ARGUMENT
from engine.inputs.rejects import escape, without_password

FEW = 3
"""So many rejected lines need no word of their own; so many reasons are shown of an input that holds no video."""
MAX_REASONS = 1_000
"""Beyond so many different ones no new one is counted."""
_SHOWN_CHARS = 60


class Tally:
    """The lines of one input, as they go by."""

    def __init__(self) -> None:
        self.read = 0
        self.rejected = 0
        self._file = ""
        self._first: list[Line] = []
        self._reasons: Counter[str] = Counter()

    def add(self, line: Line) -> None:
        """Count a line."""
        if not self.read:
            self._file = line.file
        elif line.file != self._file:  # files within a zip
            self._file = self._file.rpartition(":")[0] or line.file
        self.read += 1
        if line.video_id is not None or source_of(line) is not None:
            return
        self.rejected += 1
        if len(self._first) < FEW:
            self._first.append(line)
        reason = line.reason or ""
        if reason in self._reasons or len(self._reasons) < MAX_REASONS:
            self._reasons[reason] += 1

    def error(self) -> list[str]:
        """What is wrong with a file of which every line was rejected, with the first reasons; else nothing."""
        if not self.read or self.read > self.rejected or self._file == ARGUMENT:
            return []
        counted = "its only line was" if self.read == 1 else f"all of its {self.read:,} lines were"
        shown = [f" line {line.line:,}: {_why(line)}" for line in self._first]
        return [f"{self._file}: {counted} rejected, none names a video:", *shown]

    def note(self) -> str | None:
        """The commonest reason, when more than a few lines were rejected; else None."""
        if self.rejected <= FEW:
            return None
        reason, count = self._reasons.most_common(1)[0]
        counted = f"{self.rejected:,} of {self.read:,} lines rejected"
        return f"{self._file}: {counted}, {count:,} of them because: {escape(reason)}"


def _why(line: Line) -> str:
    return f"{escape(line.reason or '')}: {escape(without_password(line.text), _SHOWN_CHARS)}"


def guarded(streams: Iterable[Iterator[Line]], errors: list[str]) -> Iterator[Line]:
    """All lines; an input that fails midway, or holds no video, does not take the others down: `errors` says why.

    An argument that is no video is said to whoever typed it, and of a file with more than a few rejected lines the
    commonest reason; for the rest there is rejects.csv.
    """
    for stream in streams:
        tally = Tally()
        try:
            for line in stream:
                tally.add(line)
                if line.file == ARGUMENT and tally.rejected:
                    say(f"engine: {without_password(line.text)}: {line.reason}")
                yield line
        except UsageError as exc:
            errors.extend(exc.lines)
            continue
        if lines := tally.error():
            errors.extend(lines)
        elif said := tally.note():
            say(said)
