"""`engine probe`."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TypeVar

import click

from engine.cli import print_lines, say
from engine.cli.options.commands import BeforeRunCommand
from engine.cli.options.common import json_option, profile_option, queue_option
from engine.cli.options.network import (
    check_authorities,
    control_video_option,
    network_options,
    proxy_urls,
    say_through_environment,
    short_deadline_option,
)
from engine.cli.options.values import LOCAL_PATH
from engine.cli.options.ways import parse_ways, read_ytdlp
from engine.errors import Exit, UsageError
from engine.inputs.video_ids import video_id
from engine.network.proxies import egresses
from engine.queue.directory import exists, open_queue

if TYPE_CHECKING:
    from engine.model import EgressSpec
    from engine.youtube.probe import EgressReport, Pacer

_WIDEST = 132
_REQUESTS_A_WAY = 7  # about: 2, 1, 2, 1, and one more each with the watch page
F = TypeVar("F", bound=Callable[..., Any])


def _id(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    found = None if value is None else video_id(value)
    if value is not None and found is None:
        raise click.BadParameter(f"{value[:60]!r} is neither a video id nor an address of one.", ctx, param)
    return found


def _video_option(name: str, help: str) -> Callable[[F], F]:
    return click.option(name, metavar="ID", callback=_id, help=help)


@click.command("probe", cls=BeforeRunCommand)
@queue_option()
@profile_option()
@network_options
@click.option(
    "--ways",
    metavar="W,…",
    envvar="ENGINE_WAYS",
    show_default="android,visionos,ios,page",
    help="Which ways to ask, in this order; yt-dlp only when it is named here.",
)
@click.option(
    "--ytdlp-options",
    metavar="FILE",
    type=LOCAL_PATH,
    envvar="ENGINE_YTDLP_OPTIONS",
    help="For the way yt-dlp, as for the run.",
)
@click.option(
    "--rate",
    metavar="R",
    default="0.5",
    envvar="ENGINE_RATE",
    show_default=True,
    help="Requests per second and egress, where no queue's budget paces them.",
)
@short_deadline_option("for one video by one way")
@control_video_option
@_video_option("--no-captions-video", "A video without captions, instead of the built-in one.")
@_video_option("--kids-video", "A video made for kids, instead of the built-in one.")
@_video_option("--removed-video", "A removed video, instead of the built-in one.")
@json_option
def command(
    root: str,
    proxy: tuple[str, ...],
    proxies: str | None,
    ca_bundle: str | None,
    ways: str | None,
    ytdlp_options: str | None,
    rate: str,
    deadline_s: float,
    control_videos: tuple[str, ...],
    no_captions_video: str | None,
    kids_video: str | None,
    removed_video: str | None,
    as_json: bool,
) -> int:
    """Ask YouTube by each way, and say which of them work from here tonight: the first thing on a new machine.

    By each egress it asks for a control video, one without captions, one made for kids and a removed one; at most
    30 requests. A report that one can attach to a bug report is --json: it holds no password and no token.

    Exit codes: 0 a way works; 5 none does, because YouTube refuses or cannot be reached; 12 no proxy can be used.
    """
    from engine.cli.display.probe_table import conclusion, show
    from engine.youtube import probe_videos
    from engine.youtube.clients import installed_clients
    from engine.youtube.fetcher import FetchSettings
    from engine.youtube.probe import DEFAULT_WAYS, ProbedVideos, probe

    names = DEFAULT_WAYS if ways is None else parse_ways(ways)
    ytdlp = read_ytdlp(ytdlp_options, names)
    specs = egresses(proxy_urls(proxy, proxies))
    check_authorities(ca_bundle)
    clients = installed_clients()
    videos = ProbedVideos(
        control_videos,
        no_captions_video or probe_videos.NO_CAPTIONS,
        kids_video or probe_videos.KIDS,
        removed_video or probe_videos.REMOVED,
    )
    say_through_environment()
    with _pacer(root, specs, rate, len(names)) as (pacer, pace):
        say(f"{len(names)} way{'s' * (len(names) > 1)} by {_egress_words(specs)}, {pace}")
        reports = probe(
            specs,
            pacer,
            ways=names,
            videos=videos,
            settings=FetchSettings(deadline_s=deadline_s, clients=clients, ytdlp=ytdlp),
            ca_bundle=ca_bundle or None,
            done=_progress if len(specs) > 1 else lambda report: None,
        )
    code = _exit_code(reports)
    if as_json:
        click.echo(json.dumps(_document(reports, clients, videos, code), ensure_ascii=False))
    else:
        terminal = sys.stdout.isatty()
        width = min(shutil.get_terminal_size().columns, _WIDEST) if terminal else _WIDEST
        click.echo(show(reports, width=max(width, 60), colour=terminal))
        print_lines("", *conclusion(reports, names))
    sys.stdout.flush()
    return code


@contextlib.contextmanager
def _pacer(root: str, specs: Sequence[EgressSpec], rate: str, ways: int) -> Iterator[tuple[Pacer, str]]:
    """The budget of the queue if there is one, at the rate of the run that is live; else a pacer at `rate`."""
    from engine.budget import BudgetSettings, parse_rate
    from engine.budget.limiter import Budget
    from engine.budget.state import MAX_EGRESSES
    from engine.queue.control import read_run_state
    from engine.storage.locks import living_holder
    from engine.youtube.probe_pacing import BudgetPacer, RatePacer

    wanted = parse_rate(rate)
    if not exists(root):
        if len(specs) > MAX_EGRESSES:
            raise UsageError(
                f"{len(specs):,} egresses are too many; a run can use {MAX_EGRESSES:,}. Give fewer proxies."
            )
        per_s = {"fixed": wanted.per_s, "none": float("inf"), "auto": 0.5}[wanted.kind]
        yield (
            RatePacer(1 / per_s),
            "without pacing" if wanted.kind == "none" else f"at {per_s:g}/s: {_time_words(per_s, ways)}",
        )
        return
    queue = open_queue(root)
    run = read_run_state(queue, living_holder(queue.run_lock))
    settings = BudgetSettings(parse_rate(run.rate) if run else wanted)
    budget = Budget.open(queue.budget, specs, settings)
    try:
        yield BudgetPacer(budget), f"paced by the budget of {root}" + (", beside its run" if run else "")
    finally:
        budget.close()


def _time_words(per_s: float, ways: int) -> str:
    from engine.units import duration
    from engine.youtube.probe import MAX_REQUESTS

    return f"about {duration(min(ways * _REQUESTS_A_WAY, MAX_REQUESTS) / per_s)}"


def _egress_words(specs: Sequence[EgressSpec]) -> str:
    return specs[0].name if len(specs) == 1 else f"{len(specs)} egresses"


def _progress(report: EgressReport) -> None:
    say(f"{report.name}: {', '.join(report.working) or 'no way works'}")


def _exit_code(reports: Sequence[EgressReport]) -> Exit:
    from engine.youtube.probe import WayResult

    if any(report.working for report in reports):
        return Exit.OK
    results = {way.result for report in reports for way in report.ways} - {WayResult.NOT_ASKED}
    no_proxy = results == {WayResult.UNREACHABLE} and all(report.proxied for report in reports)
    return Exit.NO_PROXY if no_proxy else Exit.ALL_BLOCKED


def _document(reports: Sequence[EgressReport], clients: Any, videos: Any, code: Exit) -> dict[str, Any]:
    """The reports as JSON. Messages are the engine's own or quote YouTube; a proxy is shown by its name."""
    import importlib.metadata
    import platform

    from engine import __version__
    from engine.storage.timestamps import utc
    from engine.youtube.probe import client_words

    packages = ("yt-dlp", "youtube-transcript-api", "requests")
    return {
        "schema_version": 1,
        "engine": __version__,
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
        "probed_at": utc(),
        "exit_code": int(code),
        "videos": asdict(videos),
        "egresses": [
            {
                "name": report.name,
                "requests": report.cost.requests,
                "bytes": report.cost.bytes,
                "ways": [
                    {
                        "way": way.way,
                        "client": client_words(way.way, clients),
                        "result": way.result,
                        "lacks": list(way.lacks),
                        "reason": way.reason or None,
                        "answers": [_answer(each) for each in way.answers],
                    }
                    for way in report.ways
                ],
            }
            for report in reports
        ],
    }


def _answer(answer: Any) -> dict[str, Any]:
    failure = answer.failure
    return {
        "video": answer.video,
        "video_id": answer.video_id,
        "kind": failure.kind if failure else None,
        "message": failure.message if failure else None,
        "language": answer.language,
        "is_generated": answer.is_generated,
        "requests": answer.cost.requests,
        "bytes": answer.cost.bytes,
        "ms": round(1000 * answer.elapsed_s),
    }
