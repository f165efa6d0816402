"""`engine plan`."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import click

from engine.budget import Rate, memory, parse_rate
from engine.budget.snapshot import remembered
from engine.cli import print_lines, say
from engine.cli.options.commands import IdCommand
from engine.cli.options.common import inputs, json_option, queue_option
from engine.cli.options.config_files import memory_file
from engine.cli.options.input import reading_options
from engine.cli.options.network import proxy_urls
from engine.cli.options.run_options import RunRequest, read_options, run_options
from engine.cli.options.values import Whole
from engine.cli.run import run
from engine.cli.sync import noun
from engine.errors import Exit, NoQueueError, UsageError
from engine.inputs import source_of
from engine.monitor.recount import recount
from engine.network.proxies import egresses as specs_of
from engine.queue.admission import DirectoryState, inspect
from engine.queue.directory import Queue, exists, no_queue, open_queue, refuse_foreign
from engine.report import forecast
from engine.seeding.reading import Reading
from engine.seeding.rejected import guarded
from engine.units import duration, parse_price_per_gb, size

# How a sample may have ended and still say what was asked for.
_SAMPLED = (Exit.OK, Exit.SOME_FAILED, Exit.WORK_REMAINS)


@dataclass(frozen=True, slots=True)
class InputCount:
    """What INPUT names: lines read and rejected, different videos, and channels, playlists, searches (`sources`)."""

    read: int = 0
    videos: int = 0
    rejected: int = 0
    sources: int = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A plan, and what it was made from. `left` are the videos left in the queue at `root` (None: there is none)."""

    plan: forecast.Plan
    root: str | None
    left: int
    counted: InputCount
    rate: str
    egresses: int
    price_per_gb: float | None
    sampled: bool
    learnt: list[memory.Limit] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        plan = self.plan
        return {
            "schema_version": 1,
            "videos": plan.videos,
            "in_queue": self.left,
            "in_input": asdict(self.counted),
            "basis": ("sample" if self.sampled else "measured") if plan.measured else "defaults",
            "measured": plan.measured.to_json() if plan.measured else None,
            "requests": plan.requests.to_json(),
            "bytes": plan.bytes.to_json(),
            "rate": self.rate,
            "egresses": self.egresses,
            "learnt": [limit._asdict() for limit in self.learnt],
            "seconds": plan.seconds.to_json(1) if plan.seconds else None,
            "price_per_gb": self.price_per_gb,
            "cost": plan.cost.to_json(4) if plan.cost else None,
        }

    def lines(self) -> Iterator[str]:
        """The plan for people."""
        plan, per_video = self.plan, self.plan.per_video
        yield f"videos    {plan.videos:,}: {'; '.join(self._where())}"
        each = f"{per_video[0]:.2f} requests and {size(round(per_video[1]))} a video"
        if plan.measured:
            done = plan.measured.requests.count
            yield f"measured  {each}, over {done:,} video{'' if done == 1 else 's'}: " + "; ".join(
                f"{requests.count:,} {status} {requests.mean:.2f} and {size(round(n_bytes.mean))}"
                for status, (requests, n_bytes) in sorted(plan.measured.by_status.items())
            )
        else:
            yield f"measured  nothing yet; estimated with the defaults, {each} (--sample 50 measures)"
        yield f"requests  {_span(plan.requests, lambda n: f'{round(n):,}')}"
        yield f"traffic   {_span(plan.bytes, lambda n: size(round(n)))}"
        by = f"{self.egresses:,} egress{'' if self.egresses == 1 else 'es'}"
        if plan.seconds:
            yield f"time      {_span(plan.seconds, duration)} at {self.rate} by {by}, if nobody blocks"
        else:
            yield f"time      unknown at --rate {self.rate}: give a number, as --rate 0.5"
        if self.learnt:
            yield f"limit     {memory.outlook(self.learnt, self.egresses, per_video[0], plan.videos or None)}"
        if plan.cost:
            yield f"cost      {_span(plan.cost, lambda n: f'{n:,.2f}')} at {self.price_per_gb:g}/GB"

    def _where(self) -> Iterator[str]:
        """How many of the videos are where."""
        if self.root is not None:
            yield f"{self.left:,} left in {self.root}"
        counted = self.counted
        if counted.read:
            text = f"{counted.videos:,} in the input"
            if counted.rejected:
                text += f" ({counted.rejected:,} of {counted.read:,} lines name none)"
            if counted.sources:
                text += f", without what {counted.sources:,} {noun(counted.sources)} will turn out to hold"
            yield text + (", not compared with the queue" if self.root is not None else "")


@click.command("plan", cls=IdCommand)
@inputs(required=False)
@queue_option()
@reading_options
@run_options(output="transcripts", rate="0.5/s")
@click.option(
    "--sample",
    metavar="N",
    type=Whole(1),
    help="Run N videos of the queue for real first, and measure them.",
)
@click.option("--price", metavar="P", help="What traffic costs, as 4/GB.")
@click.option(
    "--egresses",
    metavar="N",
    type=Whole(1),
    help="Assume N egresses instead of the proxies given.",
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
    """Estimate how many requests and bytes a batch will take, how long, and what that costs.

    It counts the videos left in the queue and those of INPUT (which it does not seed), and multiplies by what the
    videos done so far have cost, or by defaults before any is done. It takes all options of `engine run`: --rate and
    the proxies decide how long it takes, and a --sample is run with them.
    """
    if sample:
        refuse_foreign(root)
    elif inspect(root).state is DirectoryState.FOREIGN:
        raise NoQueueError(no_queue(root))
    request = read_options(values)
    per_gb = parse_price_per_gb(price, "--price") if price else None
    rate = parse_rate(request.rate)
    egresses = egresses or len(proxy_urls(request.proxy, request.proxies)) or 1
    if not inputs and not exists(root):
        raise NoQueueError(f"no queue in {root}: name the videos, as in `engine plan videos.txt`")
    if sample:
        _sample(inputs, root, replace(request, limit=sample))
        inputs = ()  # they are in the queue now
    counted = _count(inputs, request.reading) if inputs else InputCount()
    queue = open_queue(root) if exists(root) else None
    learnt = [] if request.no_memory else _learnt(queue, request)
    left = max(0, queue.total() - recount(queue, time.time()).counts.final) if queue else 0
    plan = forecast.forecast(
        left + counted.videos,
        forecast.Measured.of(forecast.rows(queue)) if queue else None,
        rate=_allowed(rate, learnt),
        egresses=egresses,
        price_per_gb=per_gb,
        fetch_mode="full" if request.chosen_ways()[0] == "page" else "lean",
        full_metadata=request.metadata == "full",
    )
    estimate = Estimate(
        plan, queue.root if queue else None, left, counted, str(rate), egresses, per_gb, bool(sample), learnt
    )
    if as_json:
        click.echo(json.dumps(estimate.to_json()))
    else:
        for line in estimate.lines():
            print_lines(line)
    return Exit.OK


def _learnt(queue: Queue | None, request: RunRequest) -> list[memory.Limit]:
    """What this queue's last run learnt of its egresses' limits; else what other nights of this machine did."""
    now = time.time()
    states = remembered(queue.budget) if queue else []
    here = [limit for state in states if (limit := memory.limit_of(state, now))]
    if here or (queue and queue.read_batch().get("rehearsal")):
        return here
    proxies = proxy_urls(request.proxy, request.proxies)
    return memory.recall(memory_file(), specs_of(proxies, rotating=request.rotating))


def _allowed(rate: Rate, learnt: list[memory.Limit]) -> Rate:
    """The rate that a plan goes by: no higher than what nights learnt."""
    if not learnt:
        return rate
    per_s = sorted(learnt)[len(learnt) // 2].per_s
    return Rate("fixed", min(per_s, rate.per_s) if rate.kind == "fixed" else per_s)


def _sample(sources: Sequence[str], root: str, request: RunRequest) -> None:
    """Run so many videos as any run would, against the rehearsal server if the queue is a rehearsal's."""
    say(f"running up to {request.limit:,} videos for real first; they stay done")
    if exists(root) and open_queue(root).read_batch().get("rehearsal"):
        from engine.rehearsal import start

        with start() as server:
            request = replace(request, proxy=(server.proxy_url,), proxies=None, ca_bundle=server.ca_bundle)
            code = run(sources, root, request, rehearsal=True)
    else:
        code = run(sources, root, request, rehearsal=False)
    if code not in _SAMPLED:
        raise click.exceptions.Exit(code)  # the run itself has printed why


def _count(sources: Sequence[str], reading: Reading) -> InputCount:
    """Count what the inputs name, without what is known elsewhere. Raises UsageError when one cannot be read."""
    errors: list[str] = []
    known_elsewhere = reading.known_elsewhere(say)
    streams = reading.open(sources, errors, say)
    if errors:
        raise UsageError(*errors)
    names: set[str] = set()
    read = rejected = listed = 0
    for line in guarded(streams, errors, say):
        read += 1
        if line.video_id is None:
            known = source_of(line) is not None
            listed += known
            rejected += not known
        else:
            names.add(line.video_id)
    if errors or (read and read == rejected):
        raise UsageError(*(errors or ["nothing that was given names a video"]))
    videos = len(known_elsewhere.missing(list(names)) if known_elsewhere else names)
    return InputCount(read, videos, rejected, listed)


def _span(span: forecast.Range, write: Any) -> str:
    """A number, with the interval when its ends would read differently."""
    expected, low, high = write(span.expected), write(span.low), write(span.high)
    return str(expected) if low == high else f"{expected} ({low} to {high})"
