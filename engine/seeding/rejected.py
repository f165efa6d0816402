"""What a person reads about rejected lines: why an input holds no video, or what is wrong with most of its lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from engine.errors import UsageError
from engine.inputs import Line, source_of
from engine.inputs.reader import ARGUMENT
from engine.inputs.rejects import escape, without_password

FEW = 3
"""Up to so many rejected lines are not summed up; so many reasons are shown of an input that holds no video."""
MAX_REASONS = 1_000
"""When so many different reasons are known, no new one is counted."""
_SHOWN_CHARS = 60


class RejectedLines:
    """Counts the lines of one input and why some were rejected."""

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
        """The lines of an error, with the first reasons, when every line of a file was rejected; else none."""
        if not self.read or self.read > self.rejected or self._file == ARGUMENT:
            return []
        counted = "its only line was" if self.read == 1 else f"all of its {self.read:,} lines were"
        shown = [f" line {line.line:,}: {_why(line)}" for line in self._first]
        return [f"{self._file}: {counted} rejected, none names a video:", *shown]

    def summary(self) -> str | None:
        """The commonest reason, when more than a few lines were rejected; else None."""
        if self.rejected <= FEW:
            return None
        reason, count = self._reasons.most_common(1)[0]
        counted = f"{self.rejected:,} of {self.read:,} lines rejected"
        return f"{self._file}: {counted}, {count:,} of them because: {escape(reason)}"


def _why(line: Line) -> str:
    return f"{escape(line.reason or '')}: {escape(without_password(line.text), _SHOWN_CHARS)}"


def guarded(
    streams: Iterable[Iterator[Line]], errors: list[str], on_note: Callable[[str], None]
) -> Iterator[Line]:
    """All lines of all inputs. One that fails midway or holds no video does not stop the others: `errors` says why.

    `on_note` is called for each argument that names no video, and with the commonest reason for a file with more than
    a few rejected lines. `rejects.csv` has the rest.
    """
    for stream in streams:
        counted = RejectedLines()
        try:
            for line in stream:
                counted.add(line)
                if line.file == ARGUMENT and counted.rejected:
                    on_note(f"engine: {without_password(line.text)}: {line.reason}")
                yield line
        except UsageError as exc:
            errors.extend(exc.lines)
            continue
        if lines := counted.error():
            errors.extend(lines)
        elif summary := counted.summary():
            on_note(summary)
