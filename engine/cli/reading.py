"""The options that say how INPUT is read, the same for every command that takes it."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from engine.cli import say
from engine.cli.options import Whole, column_option
from engine.errors import UsageError
from engine.inputs import Keep, Line, read
from engine.inputs.encodings import checked
from engine.queue.channel_state import MAX_RESULTS
from engine.queue.id_index import Ids

F = TypeVar("F", bound=Callable[..., Any])

_HELD_AT_ONCE = 100_000

_OPTIONS = (
    column_option,
    click.option(
        "--sheet", metavar="NAME", help="The sheet of a workbook, by name or number; else the first."
    ),
    click.option(
        "--encoding",
        metavar="NAME",
        help="How text files and stdin are encoded, as cp1252 or utf-16; else it is found out, and said.",
    ),
    click.option(
        "--keep-columns",
        metavar="all|none|A,B",
        default="all",
        show_default=True,
        help="Which of the other columns go along with a video.",
    ),
    click.option(
        "--skip-known",
        metavar="FILE",
        multiple=True,
        help="Do not add what is in this file, any INPUT: an archive of yt-dlp, an older manifest; repeatable. "
        "Kept in the queue for what its channels, playlists and searches list, now and later.",
    ),
    click.option(
        "--max-results",
        metavar="N",
        type=Whole(1, 1000),
        default=MAX_RESULTS,
        envvar="ENGINE_MAX_RESULTS",
        show_default=True,
        help="How many videos a search takes.",
    ),
)


def reading_options(function: F) -> F:
    """`--column --sheet --encoding --keep-columns --skip-known --max-results`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@dataclass(frozen=True, slots=True)
class Reading:
    """How INPUT is to be read, as it was asked for."""

    column: str | None = None
    sheet: str | None = None
    keep_columns: str = "all"
    skip_known: tuple[str, ...] = ()
    encoding: str | None = None

    def opened(self, sources: Sequence[str], errors: list[str]) -> list[Iterator[Line]]:
        """The sources that can be read, each looked at once, so that nothing is made for a mistyped name.

        What is wrong with the others goes to `errors`, what a person should know of them to stderr.
        """
        keep = self._keep()
        encoding = checked(self.encoding) if self.encoding is not None else None
        found = []
        for source in sources:
            try:
                lines = read(
                    source,
                    column=self.column,
                    sheet=self.sheet,
                    encoding=encoding,
                    stdin=sys.stdin.buffer if source == "-" else None,
                    on_note=say,
                )
                lines = keep.of(lines)
                first = next(lines, None)
            except UsageError as exc:
                errors.extend(exc.lines)
                continue
            found.append(itertools.chain([first], lines) if first is not None else iter(()))
        return [*found, _missed(keep)] if found else []

    def unwanted(self) -> Ids | None:
        """The ids that are not to be added, None if no file names any. Raises UsageError for such a file."""
        if not self.skip_known:
            return None
        ids = Ids()
        for file in self.skip_known:
            if not os.path.exists(file):
                raise UsageError(f"--skip-known {file}: no such file")
            lines = read(file, on_note=say)
            named = rejected = 0
            while block := list(itertools.islice(lines, _HELD_AT_ONCE)):
                names = [line.video_id for line in block if line.video_id is not None]
                if names:
                    ids.hold(names)
                named += len(names)
                rejected += len(block) - len(names)
            if rejected or not named:
                say(f"--skip-known {file}: {named:,} lines name a video, {rejected:,} none")
        return ids

    def _keep(self) -> Keep:
        try:
            return Keep(self.keep_columns)
        except ValueError as exc:
            raise UsageError(f"--keep-columns {self.keep_columns!a}: {exc}") from None


def _missed(keep: Keep) -> Iterator[Line]:
    """No line; once the others are read, a word about columns that none of them had."""
    for name in keep.missed():
        say(f"warning: --keep-columns: nothing in the input has a column {name!a}")
    yield from ()
