"""`engine import`."""

from __future__ import annotations

import csv
import json
import os
import shlex
from collections.abc import Iterator
from typing import Literal

import click

from engine.cli import print_lines, say
from engine.cli.display.slow_work import SlowWork
from engine.cli.options.captions import caption_source, languages_option, parse_languages, source_options
from engine.cli.options.commands import EngineCommand
from engine.cli.options.common import json_option, next_run, queue_option
from engine.cli.options.values import LOCAL_PATH
from engine.cli.run_output import open_output
from engine.errors import Exit, UsageError
from engine.importing import importing
from engine.inputs import Line, Rejects
from engine.inputs.rejects import row_of
from engine.inputs.transcript_files import find
from engine.output import destination
from engine.output.formats import FORMATS
from engine.output.placement import refuse_output_place
from engine.queue.directory import Queue, refuse_foreign
from engine.queue.making import make_queue
from engine.queue.mounts import refuse_remote
from engine.seeding.seed import SEED_WAIT_S, Seeding
from engine.settings import NO_FORMATS, STORES, Frozen, Settings, freeze, frozen_or
from engine.storage.locks import take_or_say_who

_FROZEN = frozenset({"output", "languages", "formats", "captions", "store"})


@click.command("import", cls=EngineCommand)
@click.argument("folder", metavar="FOLDER", type=click.Path(exists=True))
@queue_option()
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=LOCAL_PATH,
    default="transcripts",
    show_default=True,
    envvar="ENGINE_OUTPUT",
    help="Where transcripts go.",
)
@languages_option("Take transcripts in these languages; any takes all.")
@source_options
@click.option(
    "-f",
    "--format",
    "formats",
    type=click.Choice(FORMATS),
    multiple=True,
    default=("md",),
    show_default=True,
    envvar="ENGINE_FORMAT",
    help="Formats beside the .json record; repeatable.",
)
@click.option(
    "--store",
    type=click.Choice(STORES),
    default="files",
    show_default=True,
    envvar="ENGINE_STORE",
    help="shards puts the records of many videos into one compressed file; no other format is then written.",
)
@json_option
def command(
    folder: str,
    root: str,
    output: str,
    languages: tuple[str, ...],
    manual_only: bool,
    generated_only: bool,
    formats: tuple[str, ...],
    store: Literal["files", "shards"],
    as_json: bool,
) -> int:
    """Take transcripts that other programs left in FOLDER into the batch, as ok, without fetching.

    Understood are files of yt-dlp (Title [ID].en.vtt and others, with .info.json), of youtube-transcript-api
    (ID.json) and of ytfetcher, records and shards of this program, what `engine get` and `engine export` make of
    them with times, and data sets with captions. FOLDER may be one file. Their videos are added to the queue. One
    that is final stays as it is; one whose file cannot be read, or is in another language, is fetched by the next
    run. Importing again goes on, or does nothing. It does not work beside a live run (exit code 11).

    The first import or run of a queue fixes -o, -l, -f, --store and who makes the captions.
    """  # fmt: skip
    chosen = tuple(name for name in FORMATS if name in formats)
    if store == "shards" and "formats" in _given():
        raise UsageError(NO_FORMATS.format(name=chosen[0]))
    wanted = Frozen(
        os.path.abspath(output),
        parse_languages(",".join(languages)),
        chosen if store == "files" else (),
        caption_source(manual_only=manual_only, generated_only=generated_only),
        store=store,
    )
    refuse_foreign(root)
    rejected: list[Line] = []
    found = _catalogue(folder, wanted.output, rejected)
    refuse_output_place(root, wanted.output)
    queue = make_queue(root)
    refuse_remote(queue.root, "queue")
    result = _import(
        Queue(os.path.abspath(queue.root)), wanted, found, rejected, relative=not os.path.isabs(output)
    )
    if as_json:
        click.echo(json.dumps(importing.summary(result)))
    else:
        print_lines(_sentence(result, len(rejected), queue.rejects))
        if left := result.rejected + sum(result.other_language.values()):
            say(f"{left:,} of these videos are left to fetch: `{next_run(queue, root)}`")
        if result.taken:
            say(
                f"{result.taken:,} have a file in {output.rstrip('/')}/ that this queue did not write, which stays: "
                f"`engine import {shlex.quote(folder)} -q NEW -o ELSEWHERE` takes them into a new queue and output "
                f"without fetching; `{next_run(queue, root)} --replace` fetches and replaces them"
            )
    return Exit.OK if result.imported or result.already or not (result.videos or rejected) else Exit.USAGE


def _catalogue(folder: str, output: str, rejected: list[Line]) -> importing.Catalogue:
    """What lies in the folder, by video. Raises UsageError when it cannot be read."""
    own = os.path.realpath(output)
    skip = own if own != os.path.realpath(folder) else None
    try:
        found = SlowWork("files").over("looked at", find(folder, skip))
        return importing.catalogue(iter(found), rejected.append)
    except OSError as exc:
        raise UsageError(f"{folder}: {exc.strerror or exc}", path=folder) from None


def _import(
    queue: Queue, wanted: Frozen, found: importing.Catalogue, rejected: list[Line], *, relative: bool
) -> importing.Imported:
    """Seed the videos, then import them, as a run would begin."""
    from engine.budget import BudgetSettings, parse_rate
    from engine.network.proxies import DIRECT
    from engine.recovery.startup import recover
    from engine.run.supervisor import hold

    given = _given()
    with hold(queue):
        open_output(queue, frozen_or(queue, wanted, given), lost=False)
        with take_or_say_who(queue.seed_lock, "seeding", wait_s=SEED_WAIT_S):
            Seeding(queue).add(_lines(found))
        batch_id = destination.claim(queue, frozen_or(queue, wanted, given).output)
        settings = Settings(
            queue=queue.root,
            frozen=freeze(queue, wanted, given, relative=relative),
            egresses=(DIRECT,),
            budget=BudgetSettings(parse_rate("none")),
            batch=batch_id,
        )
        with take_or_say_who(queue.seed_lock, "seeding", wait_s=SEED_WAIT_S):
            for sentence in recover(queue):
                say(sentence)
        slow = SlowWork("videos")
        importer = importing.Importer(
            queue, settings, found, rejected.append, lambda done: slow("imported", done, len(found))
        )
        result = importer.run()
        if rejected:
            with (
                take_or_say_who(queue.seed_lock, "seeding", wait_s=SEED_WAIT_S),
                Rejects(queue.rejects) as rejects,
            ):
                known = _named_before(queue.rejects)
                for line in rejected:
                    if row_of(line) not in known:
                        rejects.add(line)
    return result


def _named_before(path: str) -> set[tuple[str, ...]]:
    """The rows of rejects.csv: importing a folder every night names a file once."""
    try:
        with open(path, encoding="utf-8", errors="replace", newline="") as file:
            return set(map(tuple, csv.reader(line.replace("\0", "") for line in file)))
    except (FileNotFoundError, csv.Error):
        return set()


def _lines(found: importing.Catalogue) -> Iterator[Line]:
    for name, files in found.items():
        yield Line(files[0].path, 1, name, name, {}, None)


def _given() -> frozenset[str]:
    """The options that were set for this queue, by the names under which they are fixed."""
    ctx = click.get_current_context()
    default = click.core.ParameterSource.DEFAULT
    given = {name for name in ctx.params if ctx.get_parameter_source(name) is not default}
    if given & {"manual_only", "generated_only"}:
        given.add("captions")
    return frozenset(given & _FROZEN)


def _sentence(result: importing.Imported, files: int, rejects: str) -> str:
    others = ", ".join(f"{language} {count:,}" for language, count in result.other_language.most_common())
    text = f"{result.videos:,} videos: imported {result.imported:,}, already {result.already:,}"
    text += f", in other languages {sum(result.other_language.values()):,} ({others})" if others else ""
    return f"{text}, rejected {result.rejected:,}" + (
        f"; {files:,} files not taken, see {rejects}" if files else ""
    )
