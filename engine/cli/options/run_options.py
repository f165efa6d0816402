"""The options of a run, what was chosen by them, and what that means to the engine."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import click

from engine.budget import BudgetSettings, parse_rate
from engine.cli.options.captions import caption_source, parse_languages, parse_translation
from engine.cli.options.common import processes_option, profile_option, threads_option
from engine.cli.options.config_files import origins
from engine.cli.options.network import (
    ca_bundle_option,
    control_video_option,
    note_variables,
    proxies_option,
    proxy_option,
)
from engine.cli.options.values import LOCAL_PATH, Number, Whole
from engine.cli.options.ways import Mask, parse_ways, read_ytdlp, ways_options
from engine.errors import UsageError
from engine.limits import Caps
from engine.model import YtdlpOptions
from engine.output.formats import FORMATS
from engine.process import environment
from engine.queue.listings import MAX_RESULTS
from engine.seeding.reading import Reading
from engine.settings import NO_FORMATS, STORES, Frozen
from engine.units import parse_bytes, parse_duration_s

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What was chosen for a run on the command line, in the environment, in a file, or by default.

    `given` names the options that were set for this very queue, and not by a default or a habit.
    """

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
    control_videos: tuple[str, ...]
    progress: str
    verbose: int
    column: str | None
    max_results: int = MAX_RESULTS
    newest: int | None = None
    since: str | None = None
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
    store: Literal["files", "shards"] = "files"
    ways: str | None = None
    mask: Mask = "auto"
    ytdlp_options: str | None = None
    sheet: str | None = None
    encoding: str | None = None
    keep_columns: str = "all"
    skip_known: tuple[str, ...] = ()
    notify: str | None = field(default=None, repr=False)  # may hold a secret
    replace: bool = False
    output_lost: bool = False
    until_stdin_ends: bool = False
    no_memory: bool = False
    budget_file: str | None = None
    exports: tuple[str, ...] = ()
    given: frozenset[str] = frozenset()

    @property
    def reading(self) -> Reading:
        """How INPUT is read."""
        return Reading(self.column, self.sheet, self.keep_columns, self.skip_known, self.encoding)

    def frozen(self) -> Frozen:
        """What decides the content of a record, and how it is stored. Raises UsageError."""
        formats = tuple(name for name in FORMATS if name in self.formats)
        if self.store == "shards":
            if "formats" in self.given:
                raise UsageError(NO_FORMATS.format(name=formats[0]))
            formats = ()
        return Frozen(
            os.path.abspath(self.output),
            parse_languages(self.languages),
            formats,
            caption_source(manual_only=self.manual_only, generated_only=self.generated_only),
            self.all_languages,
            parse_translation(self.translate, all_languages=self.all_languages),
            self.metadata,
            self.store,
        )

    def chosen_ways(self) -> tuple[str, ...]:
        """The ways, in the order in which they are tried. Raises UsageError."""
        return parse_ways(self.ways, full=self.fetch_mode == "full")

    def ytdlp(self) -> YtdlpOptions | None:
        """What yt-dlp's own way gets. Raises UsageError."""
        return read_ytdlp(self.ytdlp_options, self.chosen_ways())

    def caps(self) -> Caps:
        """At how much the run ends. Raises UsageError."""
        size, duration = self.max_bytes, self.max_duration
        return Caps(
            self.max_requests,
            parse_bytes(size, "--max-bytes") if size else None,
            parse_duration_s(duration, "--max-duration") if duration else None,
        )

    def budget(self) -> BudgetSettings:
        """The rate, and the pace of the budget's clock. Raises UsageError."""
        pace = os.environ.get("ENGINE_BUDGET_PACE") or "1"
        try:
            rate = parse_rate(self.rate)
        except ValueError as exc:
            raise UsageError(f"--rate: {exc}") from None
        try:
            return BudgetSettings(rate, float(pace))
        except ValueError:
            raise UsageError(
                f"ENGINE_BUDGET_PACE is {pace!r}; it must be a number above 0, 1 is real time"
            ) from None


def read_options(values: dict[str, Any]) -> RunRequest:
    """The options of the command that is being called, as a value."""
    ctx = click.get_current_context()
    note_variables()
    environment.forget_secrets()  # they have been read
    given = frozenset(name for name in values if _is_meant(ctx, name))
    if given & {"manual_only", "generated_only"}:
        given |= {"captions"}  # the name under which it is frozen
    return RunRequest(**values, given=given)


def _is_meant(ctx: click.Context, name: str) -> bool:
    """Whether an option was set for this very queue. A habit or a default gives way to what is frozen."""
    source = ctx.get_parameter_source(name)
    if source is click.core.ParameterSource.DEFAULT_MAP:
        return origins(ctx)[name].of_the_queue
    return source is not click.core.ParameterSource.DEFAULT


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
        option("-o", "--output", metavar="DIR", type=LOCAL_PATH, default=output, show_default=True,
               help="Where transcripts go; not among the queue's own files."),
        option("-l", "--languages", metavar="L,…", multiple=True, default=("en",), show_default=True,
               callback=_joined,
               help="Languages in order of preference, as en,de or repeated. en also takes en-GB, any takes "
                    "whatever there is, orig the language that is spoken."),
        option("--manual-only", is_flag=True, help="Only captions written by people."),
        option("--generated-only", is_flag=True, help="Only generated captions."),
        option("--all-languages", is_flag=True,
               help="Put all caption tracks into the .json record, one more request each; -l chooses the one for "
                    "the other formats."),
        option("--translate", metavar="L",
               help="Captions in this language; where there are none, YouTube's translation of those that -l names. "
                    "YouTube refuses nearly all of these requests."),
        option("--metadata", type=click.Choice(("basic", "full")), default="basic", show_default=True,
               help="full adds dates, category, likes and countries, for one more request a video."),
        option("-f", "--format", "formats", type=click.Choice(FORMATS), multiple=True, default=("md",),
               show_default=True, help="Formats beside the .json record; repeatable."),
        option("--store", type=click.Choice(STORES), default="files", show_default=True,
               help="shards puts the records of many videos into one compressed file, where millions of files would "
                    "be a burden; no other format is written during the run."),
        processes_option(),
        threads_option(),
        option("--sequential", is_flag=True, help="One process, one thread."),
        option("--rate", metavar="R", default=rate, show_default=True,
               help="Requests per second and egress: 0.5, 30/s, 1000/h, none, auto. It starts there and never goes "
                    "above; blocks lower it, time raises it again."),
        proxy_option,
        proxies_option,
        option("--rotating", is_flag=True,
               help="The proxies are rotating gateways: each request opens a new connection and so leaves by another "
                    "exit. Rate and blocks are those of the whole gateway."),
        ca_bundle_option,
        option("--on-block", type=click.Choice(("wait", "stop")), default="wait", show_default=True,
               help="What to do when every egress is blocked."),
        control_video_option,
        option("--attempts", metavar="N", type=Whole(1, 1000), default=5, show_default=True,
               help="Charged attempts before a job is failed."),
        option("--deadline", metavar="S", type=Number(0.1, 86400), default=60.0, show_default=True,
               help="Seconds for the requests of one attempt; waiting for permits does not count."),
        option("--grace", metavar="S", type=Number(0, 86400), default=15.0, show_default=True,
               help="When the run is stopped, seconds that jobs in flight have to finish."),
        option("--replace", is_flag=True,
               help="Overwrite files in the output directory that this queue did not write, and try the videos again "
                    "that ended as `kept` because of one."),
        click.option("--output-lost", is_flag=True,
                     help="The output directory is gone for good: make it again, and fetch again what was in it."),
        option("--limit", metavar="N", type=Whole(1),
               help="Stop when N jobs have become final; what is in flight then may go over it."),
        option("--max-requests", metavar="N", type=Whole(1), help="Stop after N requests."),
        option("--max-bytes", metavar="SIZE", help="Stop after so many body bytes: 500M, 50G, 1.5T."),
        option("--max-duration", metavar="TIME", help="Stop after 90s, 30m, 8h, 8h30m."),
        option("--no-memory", is_flag=True,
               help="Neither read nor keep what nights of this machine learnt of each egress's limit: rates.json "
                    "beside the user's config.toml."),
        option("--budget", "budget_file", metavar="FILE", type=LOCAL_PATH,
               help="Draw on this budget file, which runs of other queues on this machine may share, and not on the "
                    "queue's own. It is made if it is missing."),
        ways_options,
        option("--export", "exports", metavar="KIND[:WHERE]", multiple=True,
               help="When the run has ended, export as `engine export --to KIND -o WHERE` does; repeatable."),
        option("--notify", metavar="TARGET",
               help="When the run ends, halts or stalls: POST a small JSON to this http(s) address, send a message "
                    "by apprise (discord://, tgram://, mailto:// …), or run this command with the JSON on stdin and "
                    "ENGINE_STATE, ENGINE_REASON … in its environment."),
        option("--progress", type=click.Choice(("auto", "bar", "plain", "json", "none")), default="auto",
               show_default=True, help="A live view (bar), a line every 30 s, JSON lines on stdout, nothing."),
        click.option("--until-stdin-ends", is_flag=True,
                     help="Stop, as by a signal, when standard input ends: for a program that starts the run."),
        profile_option(),
        click.option("-v", "--verbose", count=True, help="Print blocks, probes and deaths as they happen."),
    ]  # fmt: skip

    def decorate(function: F) -> F:
        for add in reversed(options):
            function = add(function)
        return function

    return decorate
