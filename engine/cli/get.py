"""`engine get`."""

from __future__ import annotations

import os
import shlex

import click

from engine.budget import BudgetSettings, parse_rate
from engine.cli import say
from engine.cli.options.captions import (
    caption_source,
    languages_option,
    parse_languages,
    parse_translation,
    source_options,
)
from engine.cli.options.commands import IdCommand, unmarked
from engine.cli.options.network import (
    check_authorities,
    network_options,
    proxy_urls,
    say_through_environment,
)
from engine.cli.options.values import Number
from engine.errors import Exit, UsageError
from engine.inputs import find_source
from engine.inputs.video_ids import video_id, why_not
from engine.model import Failure, Record
from engine.network.proxies import egresses
from engine.output.formats import FORMATS, RECORD, render, to_json
from engine.output.terminal import printable


@click.command("get", cls=IdCommand)
@click.argument("videos", metavar="VIDEO...", nargs=-1, required=True, callback=unmarked)
@click.option(
    "-f",
    "--format",
    "fmt",
    type=click.Choice((*FORMATS, RECORD)),
    default="txt",
    show_default=True,
    help="What to print; json is the whole record, one a line.",
)
@languages_option("Languages in order of preference, as in `engine run`.")
@source_options
@click.option("--translate", metavar="L", help="Captions in this language, or YouTube's translation into it.")
@click.option("--rate", metavar="R", default="0.5", show_default=True, envvar="ENGINE_RATE",
              help="Requests per second and egress; all `engine get` of one user share it.")  # fmt: skip
@network_options
@click.option("--deadline", metavar="S", type=Number(0.1, 86400), default=60.0, show_default=True,
              help="Seconds for the requests of one attempt.")  # fmt: skip
def command(
    videos: tuple[str, ...],
    fmt: str,
    languages: tuple[str, ...],
    manual_only: bool,
    generated_only: bool,
    translate: str | None,
    rate: str,
    proxy: tuple[str, ...],
    proxies: str | None,
    ca_bundle: str | None,
    deadline: float,
) -> int:
    """Print the transcripts of single videos on stdout; makes no queue and writes no file.

    VIDEO is an id or an address. With several, each begins with a line that names it (not with -f json and md), and
    one that cannot be had does not stop the others. Without --proxy, HTTPS_PROXY is used.

    Exit codes: 0 all are printed; 3 some could not be had; 5 YouTube refuses every egress; 12 no usable proxy.
    """
    ids = _ids(videos)
    urls = proxy_urls(proxy, proxies)
    check_authorities(ca_bundle)
    try:
        budget = BudgetSettings(parse_rate(rate))
    except ValueError as exc:
        raise UsageError(f"--rate: {exc}") from None

    from engine.worker.single_videos import single_videos
    from engine.youtube.clients import installed_clients
    from engine.youtube.fetcher import FetchSettings

    settings = FetchSettings(
        languages=parse_languages(",".join(languages)),
        captions=caption_source(manual_only=manual_only, generated_only=generated_only),
        translate=parse_translation(translate, all_languages=False),
        deadline_s=deadline,
        clients=installed_clients(),
    )
    ways = egresses(urls)
    say_through_environment()
    missed = 0
    with single_videos(ways, settings, budget, ca_bundle=ca_bundle, on_wait=say) as found:
        for number, name in enumerate(ids):
            got = found.fetch(name)
            if isinstance(got, Failure):
                missed += 1
                say(f"{name}: {got.kind}: {got.message}")
            else:
                _print(got, fmt, several=len(ids) > 1, first=number == missed)
    return Exit.SOME_FAILED if missed else Exit.OK


def _print(record: Record, fmt: str, *, several: bool, first: bool) -> None:
    """Write a record as bytes: it is data, and not for people alone."""
    data = to_json(record) if fmt == RECORD else render(record, fmt)
    if several and fmt not in (RECORD, "md"):
        title = printable(record.metadata.title or "", 100)
        data = f"{'' if first else chr(10)}==> {title} [{record.video_id}] <==\n".encode() + data
    click.echo(data, nl=False)


def _ids(videos: tuple[str, ...]) -> list[str]:
    """The ids, each once. Raises UsageError that names what is no video, before anything is sent."""
    found = {text: video_id(text) for text in videos}
    wrong = [f"{printable(text, 60)!r}: {_why(text)}" for text, name in found.items() if name is None]
    if wrong:
        raise UsageError(*wrong)
    return list(dict.fromkeys(name for name in found.values() if name))


def _why(text: str) -> str:
    """Why it is no single video. A list and a channel are for a run."""
    many = "a file" if os.path.isfile(text) else getattr(find_source(text), "kind", None)
    if many is None:
        return why_not(text)
    return f"{many}; here only ids and addresses of videos: `engine run {shlex.quote(printable(text, 200))}`"
