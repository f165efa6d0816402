"""`engine run`, and what `engine rehearse` shares with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import click

from engine.budget import BudgetSettings, describe, parse_rate
from engine.cli import captions, say
from engine.cli.defaults import origins
from engine.cli.notices import Notices
from engine.cli.options import (
    IdCommand,
    Number,
    Whole,
    inputs,
    processes_option,
    profile_option,
    queue_option,
    threads_option,
)
from engine.cli.output import open_output
from engine.cli.places import PLACE
from engine.cli.reading import Reading, reading_options
from engine.cli.seed import seed_inputs, told
from engine.cli.ways import (
    ca_bundle_option,
    check_authorities,
    proxies_option,
    proxy_option,
    proxy_urls,
    warn_if_typed,
)
from engine.errors import Exit, NoQueueError, UsageError
from engine.limits import Caps
from engine.network.proxies import egresses
from engine.output import destination
from engine.output.formats import FORMATS
from engine.output.placement import refuse_output_place
from engine.process import environment
from engine.queue import channel_state, events
from engine.queue.control import clear_request
from engine.queue.directory import Queue, exists, open_queue, refuse_foreign
from engine.queue.making import make_queue
from engine.queue.mounts import refuse_remote
from engine.run import notify
from engine.settings import Frozen, Settings, check_rehearsal, freeze, frozen_or
from engine.storage.locks import Lock
from engine.units import parse_bytes, parse_duration_s

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for on the command line, in the environment, or by default."""

    output: str
    processes: int
    threads: int
    sequential: bool
    rate: str
    proxy: tuple[str, ...]
    proxies: str | None
    ca_bundle: str | None
    languages: str
    formats: tuple[str, ...]
    attempts: int
    deadline: float
    on_block: str
    grace: float
    limit: int | None
    progress: str
    verbose: int
    column: str | None
    max_results: int = channel_state.MAX_RESULTS
    max_requests: int | None = None
    max_bytes: str | None = None
    max_duration: str | None = None
    rotating: bool = False
    fetch_mode: Literal["lean", "full"] = "lean"
    manual_only: bool = False
    generated_only: bool = False
    all_languages: bool = False
    translate: str | None = None
    metadata: Literal["basic", "full"] = "basic"
    mask: bool = False
    sheet: str | None = None
    encoding: str | None = None
    keep_columns: str = "all"
    skip_known: tuple[str, ...] = ()
    notify: str | None = field(default=None, repr=False)  # may hold a secret
    replace: bool = False
    output_lost: bool = False
    given: frozenset[str] = field(default_factory=frozenset)  # the ones that are not defaults

    @property
    def reading(self) -> Reading:
        return Reading(self.column, self.sheet, self.keep_columns, self.skip_known, self.encoding)


def _joined(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> str:
    """`-l en -l de` is `-l en,de`."""
    return ",".join(value)


def run_options(*, output: str, rate: str) -> Callable[[F], F]:
    """The options of a run, with these two defaults."""

    def option(*names: str, env: str | None = None, **how: Any) -> Callable[[F], F]:
        long = next(name for name in names if name.startswith("--"))
        variable = env or "ENGINE_" + long[2:].replace("-", "_").upper()
        return click.option(*names, envvar=variable, **how)

    options = [
        option("-o", "--output", metavar="DIR", type=PLACE, default=output, show_default=True,
               help="Where transcripts go; not among the queue's own files."),
        option("-l", "--languages", metavar="L,…", multiple=True, default=("en",), show_default=True,
               callback=_joined,
               help="Languages in order of preference, as en,de or repeated: en takes en-GB too; any takes what "
                    "there is, orig the spoken language."),
        option("--manual-only", is_flag=True, help="Only captions made by people."),
        option("--generated-only", is_flag=True, help="Only generated captions."),
        option("--all-languages", is_flag=True,
               help="All caption tracks into the .json record, one more request each; -l says which is rendered."),
        option("--translate", metavar="L",
               help="Captions in this language, where there are none YouTube's translation of those that -l names. "
                    "It refuses many."),
        option("--metadata", type=click.Choice(("basic", "full")), default="basic", show_default=True,
               help="full: also dates, category, likes and countries, by one more request a video."),
        option("-f", "--format", "formats", type=click.Choice(FORMATS), multiple=True, default=("md",),
               show_default=True, help="Renderings beside the .json record; repeatable."),
        processes_option(),
        threads_option(),
        option("--sequential", is_flag=True, help="One process, one thread."),
        option("--rate", metavar="R", default=rate, show_default=True,
               help="Requests per second and egress: 0.5, 30/s, 1000/h, none, auto. Start and ceiling: "
                    "blocks lower it, time raises it again."),
        proxy_option,
        proxies_option,
        option("--rotating", is_flag=True,
               help="The proxies are rotating gateways: a new connection, and so another exit, for each "
                    "request; rate and blocks are the gateway's as a whole."),
        ca_bundle_option,
        option("--on-block", type=click.Choice(("wait", "stop")), default="wait", show_default=True,
               help="When every egress is blocked."),
        option("--attempts", metavar="N", type=Whole(1, 1000), default=5, show_default=True,
               help="Tries before a job is failed."),
        option("--deadline", metavar="S", type=Number(0.1, 86400), default=60.0, show_default=True,
               help="Seconds for one attempt's requests; waiting for permits does not count."),
        option("--grace", metavar="S", type=Number(0, 86400), default=15.0, show_default=True,
               help="Seconds that a stop leaves to what is in flight."),
        option("--replace", is_flag=True,
               help="Overwrite files in the output directory that this queue did not write; what ended `kept` "
                    "because of one is tried again."),
        click.option("--output-lost", is_flag=True,
                     help="The output directory is gone for good: begin it anew, and fetch again what it held."),
        option("--limit", metavar="N", type=Whole(1), help="Make at most N jobs final, then stop."),
        option("--max-requests", metavar="N", type=Whole(1), help="End this run after N requests."),
        option("--max-bytes", metavar="SIZE", help="End this run after so many body bytes: 500M, 50G, 1.5T."),
        option("--max-duration", metavar="TIME", help="End this run after 90s, 30m, 8h, 8h30m."),
        option("--fetch", "fetch_mode", type=click.Choice(("lean", "full")), default="lean", show_default=True,
               help="Two requests a video, or three with the watch page."),
        option("--mask/--no-mask", env="ENGINE_MASK", default=False, show_default=True,
               help="Ask for the needed fields only: a fifth of the bytes. Untried on the live site."),
        option("--notify", metavar="TARGET",
               help="When the run ends, halts or stalls: POST a small JSON to this http(s) address, send a message "
                    "by apprise (discord://, tgram://, mailto:// …), or run this command with the JSON on stdin and "
                    "ENGINE_STATE, ENGINE_REASON … in its environment."),
        option("--progress", type=click.Choice(("auto", "bar", "plain", "json", "none")), default="auto",
               show_default=True, help="A live view (bar), a line every 30 s, JSON lines on stdout, nothing."),
        profile_option(),
        click.option("-v", "--verbose", count=True, help="Tell of blocks, probes and deaths as they happen."),
    ]  # fmt: skip

    def decorate(function: F) -> F:
        for its in reversed(options):
            function = its(function)
        return function

    return decorate


def read_options(values: dict[str, Any]) -> Options:
    """The options as a value, with which of them were given."""
    ctx = click.get_current_context()
    environment.forget_secrets()  # they are read by now
    given = frozenset(name for name in values if _is_meant(ctx, name))
    if given & {"manual_only", "generated_only"}:
        given |= {"captions"}  # as it is frozen
    return Options(**values, given=given)


def _is_meant(ctx: click.Context, name: str) -> bool:
    """Whether an option was set for this very queue. A habit, or a default, gives way to what was frozen."""
    source = ctx.get_parameter_source(name)
    if source is click.core.ParameterSource.DEFAULT_MAP:
        return origins(ctx)[name].of_the_queue
    return source is not click.core.ParameterSource.DEFAULT


@click.command("run", cls=IdCommand)
@inputs(required=False)
@queue_option()
@reading_options
@run_options(output="transcripts", rate="0.5/s")
def command(inputs: tuple[str, ...], root: str, **values: Any) -> int:
    """Seed what is given, then work until every job is final. Always resumes: run it again after any crash.

    INPUT is what `engine seed --help` says: files of many kinds, URLs, ids, or - for stdin. An option wins over its
    environment variable ENGINE_<OPTION>. The first run of a queue freezes output, formats, and what
    else decides the content of a record.
    """
    return run(inputs, root, read_options(values), rehearsal=False)


def run(sources: Sequence[str], root: str, options: Options, *, rehearsal: bool) -> int:
    """One run from the command line's point of view."""
    refuse_foreign(root)
    proxies = proxy_urls(options.proxy, options.proxies)
    if options.rotating and not proxies:
        raise UsageError("--rotating: give the gateway with --proxy or --proxies")
    if not rehearsal:  # whose own was made a moment ago
        check_authorities(options.ca_bundle)
    target = notify.parse(options.notify) if options.notify else None
    if target is not None and target.holds_password:
        warn_if_typed("notify", "put the address into ENGINE_NOTIFY")
    budget = _budget(options.rate)
    caps = _caps(options)
    wanted = _wanted(options)
    errors: list[str] = []
    unwanted = options.reading.unwanted()
    streams = options.reading.opened(sources, errors)
    if errors:
        raise UsageError(*errors)
    if not sources and not exists(root):
        raise NoQueueError(f"no queue in {root}: name the videos, as in `engine run videos.txt`")
    refuse_output_place(root, wanted.output)
    queue = make_queue(root, rehearsal=rehearsal) if sources else open_queue(root)
    check_rehearsal(queue, rehearsal)
    refuse_remote(queue.root, "queue")
    notices = Notices(Queue(os.path.abspath(queue.root)), target, _absolute(options.ca_bundle))
    # Told after the lock is free again: whoever hears of the end may start the next command.
    with notices, _hold(queue):
        notices.begun = True
        clear_request(queue)  # asked of a run that is gone; what comes from here on is meant for this one
        # Before anything is seeded or frozen: a slip in --output must not stay with the queue.
        open_output(queue, frozen_or(queue, wanted, options.given).output, lost=options.output_lost)
        result = None
        if sources or unwanted is not None:
            result = seed_inputs(queue, streams, errors, unwanted, options.max_results)
        if sources and result:
            say(told(result, queue.rejects))
        if errors or (result and result.read and result.read == result.rejected):
            raise UsageError(*(errors or ["nothing that was given names a video"]))
        batch_id = destination.claim(queue, frozen_or(queue, wanted, options.given).output)
        frozen = freeze(queue, wanted, options.given, relative=not os.path.isabs(options.output))
        settings = Settings(
            queue=os.path.abspath(queue.root),
            frozen=frozen,
            batch=batch_id,
            replace=options.replace,
            egresses=egresses(proxies, rotating=options.rotating),
            budget=budget,
            processes=1 if options.sequential else options.processes,
            threads=1 if options.sequential else options.threads,
            attempts=options.attempts,
            deadline_s=options.deadline,
            grace_s=options.grace,
            ca_bundle=_absolute(options.ca_bundle),
            fetch_mode=options.fetch_mode,
            mask=options.mask,
            on_block=options.on_block,
            limit=options.limit,
            caps=caps,
        )
        # All paths are absolute by now, and the directory we were started in may go.
        with environment.standing_in(settings.queue):
            code = notices.code = _work(Queue(settings.queue), settings, options, notices)
        return code


def _absolute(path: str | None) -> str | None:
    return os.path.abspath(path) if path else None


def _work(queue: Queue, settings: Settings, options: Options, notices: Notices) -> int:
    """Recover the queue and run the supervisor over it."""
    from engine.cli.progress import Progress
    from engine.cli.sync import noun
    from engine.queue.claims import run_id
    from engine.recovery.lost_output import put_kept_back
    from engine.recovery.startup import recover
    from engine.run.supervisor import Supervisor
    from engine.run.worker_process import sweep_semaphores
    from engine.seeding.seed import SEED_WAIT_S
    from engine.storage.locks import take_or_say_who

    if settings.replace and (again := put_kept_back(queue)):
        say(f"--replace: put back {again:,} video{'s' * (again != 1)} that had ended `kept`")
    with take_or_say_who(queue.seed_lock, "seeding", wait_s=SEED_WAIT_S):
        for sentence in recover(queue):
            say(sentence)
        left = queue.total() - _final(queue)
        to_list = len(channel_state.open_ones(queue))
    sweep_semaphores(events.past_runs(queue))
    pace = describe(settings.budget.rate, len(settings.egresses), settings.requests_per_video, videos=left)
    sources = f" and {to_list:,} {noun(to_list)} to list" if to_list else ""
    say(f"{left:,} video{'s' * (left != 1)} to do{sources}. {pace}")
    for notice in captions.notices(settings):
        say(notice)
    progress = Progress(queue, options.progress, verbose=bool(options.verbose))

    def tick() -> None:
        progress()
        notices.tick()

    supervisor = Supervisor(queue, settings, run_id(), tick)
    try:
        code = supervisor.run()
    finally:
        progress.close()
    notices.reason = supervisor.message
    if supervisor.message:
        say(f"engine: {supervisor.message}")
    if code == Exit.SOME_FAILED:
        say(f"finished, some failed: `engine failures -q {options_root(queue)}` says which and why")
    elif code not in (Exit.OK, Exit.BUG):
        say("work remains: run the same command again, it goes on where it was")
    return code


def options_root(queue: Queue) -> str:
    """The queue's directory as a person would type it from here."""
    return environment.shown(queue.root)


def _final(queue: Queue) -> int:
    import time

    from engine.monitor.status import tally

    return tally(queue, time.time()).counts.final


def _hold(queue: Queue) -> Lock:
    from engine.run.supervisor import hold

    return hold(queue)


def _budget(rate: str) -> BudgetSettings:
    pace = os.environ.get("ENGINE_BUDGET_PACE") or "1"
    try:
        parsed = parse_rate(rate)
    except ValueError as exc:
        raise UsageError(f"--rate: {exc}") from None
    try:
        return BudgetSettings(parsed, float(pace))
    except ValueError:
        raise UsageError(
            f"ENGINE_BUDGET_PACE is {pace!r}; it must be a number above 0, 1 is real time"
        ) from None


def _wanted(options: Options) -> Frozen:
    """What the options make of a record."""
    return Frozen(
        os.path.abspath(options.output),
        captions.languages(options.languages),
        _formats(options.formats),
        captions.made_by(manual_only=options.manual_only, generated_only=options.generated_only),
        options.all_languages,
        captions.translation(options.translate, all_languages=options.all_languages),
        options.metadata,
    )


def _caps(options: Options) -> Caps:
    size, duration = options.max_bytes, options.max_duration
    return Caps(
        options.max_requests,
        parse_bytes(size, "--max-bytes") if size else None,
        parse_duration_s(duration, "--max-duration") if duration else None,
    )


def _formats(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in FORMATS if name in names)
