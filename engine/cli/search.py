"""`engine search`."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator

import click

from engine.batch import Batch
from engine.cli import say
from engine.cli.display.slow_work import SlowWork
from engine.cli.options.commands import EngineCommand
from engine.cli.options.common import queue_option
from engine.cli.options.values import LOCAL_PATH, Whole
from engine.errors import Exit
from engine.output.terminal import harmless, printable
from engine.search import SearchHit

_MAX_WIDTH = 200


@click.command("search", cls=EngineCommand)
@click.argument("words", metavar="WORDS...", nargs=-1, required=True)
@queue_option()
@click.option("--db", metavar="FILE", type=LOCAL_PATH, help="Search this SQLite export instead of the queue.")
@click.option(
    "-l",
    "--languages",
    metavar="L,…",
    multiple=True,
    help="Only transcripts in one of these; en takes en-GB, too.",
)
@click.option(
    "--limit", metavar="N", type=Whole(1), default=20, show_default=True, help="How many places to show."
)
@click.option(
    "--fts", is_flag=True, help="WORDS are a query in FTS5's language: OR, NOT, NEAR(…), parentheses."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line, one for each place.")
def command(
    words: tuple[str, ...],
    root: str,
    db: str | None,
    languages: tuple[str, ...],
    limit: int,
    fts: bool,
    as_json: bool,
) -> int:
    """Find words in the transcripts: title, time, a line of context, and the link into the video.

    All words must be said within about a minute. Upper and lower case, and accents, make no difference. Put a phrase
    in quotes within the argument ('"climate change"'), and a * behind a word for any ending. Titles count,
    too.

    The index lies in the user's cache directory and follows the queue; the first search of a large batch takes a
    while, and the index may be deleted at any time. Works beside a live run.
    """
    wanted = [code.strip() for text in languages for code in text.split(",") if code.strip()]
    query = " ".join(words)
    if db is None:
        found = Batch(root).search(
            query, languages=wanted, limit=limit, fts=fts, on_progress=SlowWork("transcripts"), on_note=say
        )
    else:
        from engine.search import search

        found = search(db, query, languages=wanted, limit=limit, fts=fts)
    if as_json:
        for hit in found:
            click.echo(json.dumps(hit.to_json()))
        return Exit.OK
    for line in _lines(found):
        click.echo(line)
    if not found:
        say("nothing found")
    elif len(found) == limit:
        say(f"the best {limit:,}; --limit N shows more")
    return Exit.OK


def _lines(found: list[SearchHit]) -> Iterator[str]:
    """A block a video, in the order of its best place: the title, then each place in the order of time."""
    by_video: dict[str, list[SearchHit]] = {}
    for hit in found:
        by_video.setdefault(hit.video_id, []).append(hit)
    width = min(shutil.get_terminal_size((120, 24)).columns, _MAX_WIDTH)
    for number, hits in enumerate(by_video.values()):
        if number:
            yield ""
        first = hits[0]
        about = printable(first.title or first.video_id, width - 4)
        channel = printable(first.channel or "", 40)
        yield click.style(about, bold=True) + (f"  ({channel})" if channel else "")
        for hit in sorted(hits, key=lambda hit: hit.start_s or 0.0):
            if hit.text != hit.title:
                yield f"{clock(hit.start_s):>8}  {_shown(hit)}"
            yield f"{'':10}{hit.url}"


def _shown(hit: SearchHit) -> str:
    """The line of context with the hits between stars, or in colour on a terminal."""
    coloured = sys.stdout.isatty()
    parts, at = [], 0
    for start, end in hit.marks:
        found = harmless(hit.text[start:end])
        parts.append(harmless(hit.text[at:start]))
        parts.append(click.style(found, fg="yellow", bold=True) if coloured else f"**{found}**")
        at = end
    return "".join([*parts, harmless(hit.text[at:])])


def clock(time_s: float | None) -> str:
    """A time in a video, as 1:02:03 or 02:03; `-` for none."""
    if time_s is None:
        return "-"
    minutes, seconds = divmod(int(time_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes:02d}:{seconds:02d}"
