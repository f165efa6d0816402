"""What the commands share: options, ids that begin with a dash, and how values are read."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable
from typing import Any, TypeVar

import click

from engine.cli.once import Command, refuse
from engine.cli.places import PLACE
from engine.process import cpus
from engine.queue.directory import Queue

F = TypeVar("F", bound=Callable[..., Any])

# How the help of a command with many options is laid out: section, and the options' parameters in it.
SECTIONS = {
    "The batch": "root profile column sheet encoding keep_columns skip_known max_results replace "
    "output_lost limit",
    "What is fetched": "output formats languages manual_only generated_only all_languages translate metadata",
    "How fast, how much": "rate processes threads sequential max_requests max_bytes max_duration fetch_mode mask",
    "Which way": "proxy proxies rotating ca_bundle control_videos",
    "When it fails or ends": "on_block attempts deadline grace",
    "What it shows": "progress verbose notify",
    "The stand-in": "videos uploads scenes latency limit_rate real_sizes seed arrivals serve port",
}
_MANY = 20

_DASHED_ID = re.compile(r"-[A-Za-z0-9_-]{10}")
_MARK = "\0"


class Whole(click.IntRange):
    """A whole number, called by that name when it is none."""

    name = "whole number"


class Number(click.FloatRange):
    """A number; `nan` is none, though no range keeps it out."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


class IdCommand(Command):
    """A command among whose arguments an 11-character id is an id, also when it begins with a dash.

    Names of its own options (`--processes` has 11 characters, too) and values of options stay what they are.
    With an option `--profile` it takes defaults from files: see `engine.cli.defaults`.
    """

    users_file = True  # whether the user's own file is one of them

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        options = [param for param in self.params if isinstance(param, click.Option)]
        names = {name for option in options for name in (*option.opts, *option.secondary_opts)} | {"--help"}
        valued = {
            name for option in options if not option.is_flag and not option.count for name in option.opts
        }
        kept, is_value = [], False
        for at, arg in enumerate(args):
            if arg == "--":
                kept += args[at:]
                break
            is_id = not is_value and arg not in names and _DASHED_ID.fullmatch(arg) is not None
            is_value = not is_value and arg in valued
            kept.append(_MARK + arg if is_id else arg)
        if any(option.name == "profile" for option in options):
            refuse(self, ctx, kept)  # before it is said of one of the two values that it is wrong
            self._read_files(ctx, kept)
        return super().parse_args(ctx, kept)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Many options are told in sections; what is in none comes last."""
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        if len(options) < _MANY:
            super().format_options(ctx, formatter)
            return
        section_of = {name: section for section, names in SECTIONS.items() for name in names.split()}
        told: dict[str, list[tuple[str, str]]] = {section: [] for section in (*SECTIONS, "Other options")}
        for option in options:
            record = option.get_help_record(ctx)
            if record is not None:
                told[section_of.get(str(option.name), "Other options")].append(record)
        for section, records in told.items():
            if records:
                with formatter.section(section):
                    formatter.write_dl(records)

    def _read_files(self, ctx: click.Context, args: list[str]) -> None:
        """Find out which queue and which profile before any other option is looked at."""
        from engine.cli.defaults import apply

        try:
            values, _, _ = self.make_parser(ctx).parse_args(list(args))
        except click.UsageError:  # it will be said when they are parsed for good
            return
        chosen = {param.name: param.consume_value(ctx, values)[0] for param in self.params}
        profile = chosen["profile"]  # click has an object of its own for what nobody set
        profile = profile if isinstance(profile, str) else None
        apply(ctx, str(chosen["root"]), profile, rehearsal=not self.users_file)


def _unmark(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(text.removeprefix(_MARK) for text in value)


def inputs(required: bool) -> Callable[[F], F]:
    """The INPUT arguments."""
    return click.argument(
        "inputs",
        metavar="INPUT..." if required else "[INPUT]...",
        nargs=-1,
        required=required,
        callback=_unmark,
    )


def profile_option(*, expose: bool = False) -> Callable[[F], F]:
    """`--profile`; what it does is done before the command hears of it."""
    return click.option(
        "--profile",
        metavar="NAME",
        envvar="ENGINE_PROFILE",
        expose_value=expose,
        help="A set of options by name: gentle, night, or a [profile.NAME] of engine.toml.",
    )


def next_run(queue: Queue, root: str) -> str:
    """The command that goes on with a queue, as a person would type it."""
    rehearsal = queue.read_batch().get("rehearsal")
    return f"engine {'rehearse --videos 0' if rehearsal else 'run'} -q {shlex.quote(root)}"


def queue_option(default: str = "queue_dir") -> Callable[[F], F]:
    return click.option(
        "-q",
        "--queue",
        "root",
        metavar="DIR",
        type=PLACE,
        default=default,
        envvar="ENGINE_QUEUE",
        show_default=True,
        help="The queue's directory: one that is a queue, is new, is empty, or holds engine.toml.",
    )


def processes_option(help: str = "Worker processes.") -> Callable[[F], F]:
    return click.option(
        "-p",
        "--processes",
        metavar="N",
        type=Whole(1, 256),
        default=cpus.usable,
        envvar="ENGINE_PROCESSES",
        show_default="the CPUs this process may use",
        help=help,
    )


def threads_option(help: str = "Threads of each process.") -> Callable[[F], F]:
    return click.option(
        "-t",
        "--threads",
        metavar="N",
        type=Whole(1, 1024),
        default=16,
        envvar="ENGINE_THREADS",
        show_default=True,
        help=help,
    )


column_option = click.option(
    "--column", metavar="NAME", help="The column (or key) that holds the URL or id, by name or number."
)
older_option = click.option(
    "--older-than", metavar="TIME", help="Only jobs that have been final for so long: 12h, 7d, 2d12h."
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
