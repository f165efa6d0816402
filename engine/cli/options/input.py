"""The options that say how INPUT is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from engine.cli.options.values import DAY, Whole
from engine.queue.listings import MAX_RESULTS

F = TypeVar("F", bound=Callable[..., Any])


def since_option(about: str) -> Callable[[F], F]:
    """`--since DATE`."""
    return click.option("--since", metavar="DATE", type=DAY, envvar="ENGINE_SINCE", help=about)


_OPTIONS = (
    click.option(
        "--column",
        metavar="NAME",
        help="The column (or key) that holds the URL or id, by name or number.",
    ),
    click.option(
        "--sheet", metavar="NAME", help="The sheet of a workbook, by name or number; without it the first."
    ),
    click.option(
        "--encoding",
        metavar="NAME",
        help="The encoding of text files and stdin, such as cp1252 or utf-16; without it, it is guessed and printed.",
    ),
    click.option(
        "--keep-columns",
        metavar="all|none|A,B",
        default="all",
        show_default=True,
        help="Which of the other columns are kept with a video.",
    ),
    click.option(
        "--skip-known",
        metavar="FILE",
        multiple=True,
        help="Do not add the videos in this file, which may be any INPUT, as an archive of yt-dlp, or a folder of "
        "transcripts; repeatable. The queue remembers them and leaves them out of what its channels, playlists and "
        "searches list, now and later.",
    ),
    click.option(
        "--max-results",
        metavar="N",
        type=Whole(1, 1000),
        default=MAX_RESULTS,
        envvar="ENGINE_MAX_RESULTS",
        show_default=True,
        help="How many videos a search adds.",
    ),
    click.option(
        "--newest",
        metavar="N",
        type=Whole(1),
        envvar="ENGINE_NEWEST",
        help="Of each channel (tab by tab) and playlist that is new to the queue, begin with the first N videos of "
        "its list; `engine sync` adds what comes later. Without it all are added.",
    ),
    since_option(
        "Of each channel and playlist that is new to the queue, leave out videos older than this day (UTC, as "
        "2026-01-31), now and later. Lists date videos as `3 weeks ago`, or not at all (shorts): what may be of "
        "that day or later is added."
    ),
)


def reading_options(function: F) -> F:
    """`--column --sheet --encoding --keep-columns --skip-known --max-results --newest --since`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
