"""`engine plan`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import click

from engine.budget import parse_rate
from engine.cli import say, tell
from engine.cli.options import IdCommand, Whole, inputs, json_option, queue_option
from engine.cli.reading import Reading, reading_options
from engine.cli.rejected import guarded
from engine.cli.run import Options, read_options, run, run_options
from engine.cli.sync import noun
from engine.cli.ways import proxy_urls
from engine.errors import Exit, NoQueueError, UsageError
from engine.inputs import source_of
from engine.monitor.recount import recount
from engine.queue.admission import DirectoryState, inspect
from engine.queue.directory import Queue, exists, no_queue, open_queue, refuse_foreign
from engine.report import forecast
from engine.units import parse_price_per_gb

# How a sample may have ended and still say what was asked for.
_SAMPLED = (Exit.OK, Exit.SOME_FAILED, Exit.WORK_REMAINS)


@click.command("plan", cls=IdCommand)
@inputs(required=False)
@queue_option()
@reading_options
@run_options(output="transcripts", rate="0.5/s")
@click.option(
    "--sample",
    metavar="N",
    type=Whole(1),
    help="Run N videos of the queue for real first, and measure.",
)
@click.option("--price", metavar="P", help="What traffic costs, as 4/GB.")
@click.option(
    "--egresses",
    metavar="N",
    type=Whole(1),
    help="Reckon with N egresses, not with the proxies given.",
)
@json_option
def command(
    inputs: tuple[str, ...],
    root: str,
    sample: int | None,
    price: str | None,
    egresses: int | None,
    as_json: bool,
    **values: Any,
) -> int:
    """Say before the night how many requests and bytes it will take, how long, and what that costs.

    From the videos left in the queue and those of INPUT (counted, not seeded), and from what the videos done so
    far have cost; before any is done from defaults. All options of `engine run` may be given: --rate and the
    proxies decide how long it takes, and a --sample is run with them.
    """
    if sample:
        refuse_foreign(root)
    elif inspect(root).state is DirectoryState.FOREIGN:
        raise NoQueueError(no_queue(root))
    options = read_options(values)
    per_gb = parse_price_per_gb(price, "--price") if price else None
    rate = parse_rate(options.rate)
    egresses = egresses or len(proxy_urls(options.proxy, options.proxies)) or 1
    if not inputs and not exists(root):
        raise NoQueueError(f"no queue in {root}: name the videos, as in `engine plan videos.txt`")
    if sample:
        options = replace(options, limit=sample)
        _sample(inputs, root, options)
        inputs = ()  # they are in the queue now
    found = _count(inputs, options.reading) if inputs else {"read": 0, "videos": 0, "rejected": 0}
    queue = open_queue(root) if exists(root) else None
    left = max(0, queue.total() - recount(queue, time.time()).counts.final) if queue else 0
    measured = forecast.Measured.of(forecast.rows(queue)) if queue else None
    its = forecast.forecast(
        left + found["videos"],
        measured,
        rate=rate,
        egresses=egresses,
        price_per_gb=per_gb,
        fetch_mode=options.fetch_mode,
        full_metadata=options.metadata == "full",
    )
    if as_json:
        click.echo(json.dumps(_json(its, left, found, str(rate), egresses, per_gb, sampled=bool(sample))))
    else:
        for line in _words(its, queue, left, found, str(rate), egresses, per_gb):
            tell(line)
    return Exit.OK


def _sample(sources: Sequence[str], root: str, options: Options) -> None:
    """Run so many videos as any run would, by the stand-in if the queue is a rehearsal's."""
    say(f"running up to {options.limit:,} videos for real first; they stay done")
    if exists(root) and open_queue(root).read_batch().get("rehearsal"):
        from engine.rehearsal import start

        with start() as stand_in:
            options = replace(
                options, proxy=(stand_in.proxy_url,), proxies=None, ca_bundle=stand_in.ca_bundle
            )
            code = run(sources, root, options, rehearsal=True)
    else:
        code = run(sources, root, options, rehearsal=False)
    if code not in _SAMPLED:
        raise click.exceptions.Exit(code)  # the run itself has said why


def _count(sources: Sequence[str], reading: Reading) -> dict[str, int]:
    """How many different videos the inputs name that are wanted. Raises UsageError for one that cannot be read."""
    errors: list[str] = []
    unwanted = reading.unwanted()
    streams = reading.opened(sources, errors)
    if errors:
        raise UsageError(*errors)
    names: set[str] = set()
    read = rejected = listed = 0
    for line in guarded(streams, errors):
        read += 1
        if line.video_id is None:
            known = source_of(line) is not None
            listed += known
            rejected += not known
        else:
            names.add(line.video_id)
    if errors or (read and read == rejected):
        raise UsageError(*(errors or ["nothing that was given names a video"]))
    videos = len(unwanted.missing(list(names)) if unwanted else names)
    return {"read": read, "videos": videos, "rejected": rejected, "sources": listed}


def _json(
    its: forecast.Plan,
    left: int,
    found: dict[str, int],
    rate: str,
    egresses: int,
    per_gb: float | None,
    *,
    sampled: bool,
) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "videos": its.videos,
        "in_queue": left,
        "in_input": found,
        "basis": ("sample" if sampled else "measured") if its.measured else "defaults",
        "measured": its.measured.to_json() if its.measured else None,
        "requests": its.requests.to_json(),
        "bytes": its.bytes.to_json(),
        "rate": rate,
        "egresses": egresses,
        "seconds": its.seconds.to_json(1) if its.seconds else None,
        "price_per_gb": per_gb,
        "cost": its.cost.to_json(4) if its.cost else None,
    }


def _words(
    its: forecast.Plan,
    queue: Queue | None,
    left: int,
    found: dict[str, int],
    rate: str,
    egresses: int,
    per_gb: float | None,
) -> Iterator[str]:
    from engine.cli.show import duration, size

    where = [f"{left:,} left in {queue.root}"] if queue else []
    if found["read"]:
        words = f"{found['videos']:,} in the input"
        if found["rejected"]:
            words += f" ({found['rejected']:,} of {found['read']:,} lines name none)"
        if found["sources"]:
            words += f", without what {found['sources']:,} {noun(found['sources'])} will turn out to hold"
        where.append(words + (", not compared with the queue" if queue else ""))
    yield f"videos    {its.videos:,}: {'; '.join(where)}"
    each = f"{its.per_video[0]:.2f} requests and {size(round(its.per_video[1]))} a video"
    if its.measured:
        done = its.measured.requests.count
        yield f"measured  {each}, over {done:,} video{'' if done == 1 else 's'}: " + "; ".join(
            f"{requests.count:,} {status} {requests.mean:.2f} and {size(round(n_bytes.mean))}"
            for status, (requests, n_bytes) in sorted(its.measured.by_status.items())
        )
    else:
        yield f"measured  nothing yet; reckoned with the defaults, {each} (--sample 50 measures)"
    yield f"requests  {_span(its.requests, lambda n: f'{round(n):,}')}"
    yield f"traffic   {_span(its.bytes, lambda n: size(round(n)))}"
    by = f"{egresses:,} egress{'' if egresses == 1 else 'es'}"
    if its.seconds:
        yield f"time      {_span(its.seconds, duration)} at {rate} by {by}, if nobody blocks"
    else:
        yield f"time      unknown at --rate {rate}: give a number, as --rate 0.5"
    if its.cost:
        yield f"cost      {_span(its.cost, lambda n: f'{n:,.2f}')} at {per_gb:g}/GB"


def _span(its: forecast.Range, write: Any) -> str:
    """A number, with the interval when its ends would read differently."""
    expected, low, high = write(its.expected), write(its.low), write(its.high)
    return str(expected) if low == high else f"{expected} ({low} to {high})"
