"""`engine rehearse`."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import Any

import click

from engine.cli import say
from engine.cli.options.commands import IdCommand
from engine.cli.options.common import inputs, queue_option
from engine.cli.options.input import reading_options
from engine.cli.options.run_options import read_options, run_options
from engine.cli.options.values import LOCAL_PATH, Number, Whole
from engine.cli.run import run
from engine.errors import Exit, UsageError
from engine.queue.directory import Queue, exists, refuse_foreign
from engine.queue.listings import read_all
from engine.rehearsal import CAPTURES, SCENARIOS, RehearsalSettings, invented_ids, start

DEFAULT_VIDEOS = 300
_NETWORK = ("proxy", "proxies", "ca_bundle")


class RehearseCommand(IdCommand):
    """It does not read the user's own file: habits such as proxies have no place in a rehearsal."""

    reads_user_file = False


def _scenes_help() -> str:
    return "\n".join(["\b", "Scenes:", *(f"  {name:<14} {entry.text}" for name, entry in SCENARIOS.items())])


@click.command("rehearse", cls=RehearseCommand, epilog=_scenes_help())
@inputs(required=False)
@queue_option("rehearsal_queue")
@reading_options
@run_options(output="rehearsal_out", rate="none")
@click.option("--videos", metavar="N", type=Whole(0), help=f"Invent N videos (default {DEFAULT_VIDEOS}).")
@click.option(
    "--uploads",
    metavar="N",
    type=Whole(0),
    default=0,
    help="Give each made-up channel and playlist N videos more than its name says.",
)
@click.option("--serve", is_flag=True, help="Run only the server, until ^C.")
@click.option("--port", type=Whole(0, 65535), default=0, help="The server's port (default: a free one).")
@click.option(
    "--ca-dir",
    metavar="DIR",
    type=LOCAL_PATH,
    help="Keep the server's certificates there, ca.pem for --ca-bundle: the same from one start to the next.",
)
@click.option(
    "--arrivals",
    metavar="FILE",
    type=LOCAL_PATH,
    help="Log each request that the server gets, one JSON line each.",
)
@click.option(
    "--latency",
    metavar="S",
    type=Number(0),
    default=0.05,
    show_default=True,
    help="Seconds each answer takes.",
)
@click.option(
    "--scene", "scenes", metavar="NAME[:CLIENT][=SHARE]", multiple=True, help="What goes wrong; repeatable."
)
@click.option(
    "--limit-rate",
    metavar="R",
    type=Number(0, min_open=True),
    help="A hidden rate limit per egress; beyond it the server blocks.",
)
@click.option(
    "--limit-burst",
    metavar="N",
    type=Number(1),
    default=5.0,
    show_default=True,
    help="So many requests may come at once before the limit counts.",
)
@click.option(
    "--limit-window",
    metavar="S",
    type=Number(0, min_open=True),
    help="Instead of a burst: the limit counts in any S seconds.",
)
@click.option(
    "--limit-block",
    metavar="S",
    type=Number(0, min_open=True),
    default=30.0,
    show_default=True,
    help="Seconds that a block lasts.",
)
@click.option("--limit-doubling", is_flag=True, help="Each block lasts twice as long as the one before.")
@click.option(
    "--limit-spurious",
    metavar="S",
    type=Number(0, min_open=True),
    help="Refuse a request for no reason, one in S seconds on average.",
)
@click.option("--real-sizes", is_flag=True, help="Bodies as large as those of the real site.")
@click.option(
    "--seed", metavar="N", type=int, default=1, show_default=True, help="The same seed gives the same faults."
)
def command(
    inputs: tuple[str, ...],
    root: str,
    videos: int | None,
    uploads: int,
    serve: bool,
    port: int,
    ca_dir: str | None,
    arrivals: str | None,
    latency: float,
    scenes: tuple[str, ...],
    limit_rate: float | None,
    limit_burst: float,
    limit_window: float | None,
    limit_block: float,
    limit_doubling: bool,
    limit_spurious: float | None,
    real_sizes: bool,
    seed: int,
    **values: Any,
) -> int:
    """The same run against an embedded server that answers as YouTube: a real HTTPS proxy on 127.0.0.1.

    Without INPUT it invents videos for a new queue, and goes on with one that is there. INPUT can be whatever `run`
    takes; @made-up-150 is a channel of 150 videos, PLmade-up-150 a playlist. Such lists share their videos;
    @zoo-made-up-150 has its own, and so for any name. A queue remembers that it is a rehearsal.
    """  # fmt: skip
    _refuse_shape_without_limit(limit_rate)
    settings = RehearsalSettings(
        port=port,
        latency_s=latency,
        scenarios=scenes,
        limit_rate=limit_rate,
        limit_burst=limit_burst,
        limit_block_s=limit_block,
        limit_window_s=limit_window or 0.0,
        limit_doubling=limit_doubling,
        limit_spurious_s=limit_spurious or 0.0,
        seed=seed,
        arrivals=os.path.abspath(arrivals) if arrivals else None,
        real_sizes=real_sizes,
        uploads=uploads,
        ca_dir=os.path.abspath(ca_dir) if ca_dir else None,
    )
    if serve:
        return _serve(settings)
    request = read_options(values)
    typed = click.core.ParameterSource.COMMANDLINE
    if any(click.get_current_context().get_parameter_source(name) is typed for name in _NETWORK):
        raise UsageError(
            "a rehearsal has its own proxy and certificate: leave out --proxy, --proxies, --ca-bundle"
        )
    refuse_foreign(root)  # before anything is started or written
    with start(settings) as server:
        request = replace(request, proxy=(server.proxy_url,), proxies=None, ca_bundle=server.ca_bundle)
        goes_on = videos is None and exists(root) and _has_work(Queue(root))
        sources = list(inputs) or ([] if goes_on else list(_invented(videos, scenes, seed)))
        return run(sources, root, request, rehearsal=True)


def _has_work(queue: Queue) -> bool:
    """Whether anything was ever put into the queue."""
    return bool(queue.segments()) or bool(read_all(queue))


def _refuse_shape_without_limit(limit_rate: float | None) -> None:
    """What shapes the hidden limit is of no use without one."""
    context, typed = click.get_current_context(), click.core.ParameterSource.COMMANDLINE
    shapes = ("burst", "window", "block", "doubling", "spurious")
    given = [name for name in shapes if context.get_parameter_source(f"limit_{name}") is typed]
    if given and limit_rate is None:
        raise UsageError(f"--limit-{given[0]} shapes a hidden limit: give --limit-rate R as well")


def _invented(videos: int | None, scenes: tuple[str, ...], seed: int) -> list[str]:
    captured = list(CAPTURES) if "captured" in scenes else []
    count = videos if videos is not None else 0 if captured else DEFAULT_VIDEOS
    return captured + list(invented_ids(count, seed))


def _serve(settings: RehearsalSettings) -> int:
    """Run the server until a signal ends it."""
    import signal

    from engine.storage.processes import SignalEvent

    ended = SignalEvent()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: ended.set())
    with start(settings) as server:
        click.echo(f"--proxy {server.proxy_url} --ca-bundle {server.ca_bundle}")
        sys.stdout.flush()
        say("the rehearsal server listens; ^C ends it")
        while not ended.wait(0.5):
            pass
    return Exit.OK
