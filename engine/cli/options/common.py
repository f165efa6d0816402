"""Options and arguments that many commands have, and the command that goes on with a queue."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any, TypeVar

import click

from engine.cli.options.commands import unmarked
from engine.cli.options.values import LOCAL_PATH, Whole
from engine.process import cpus
from engine.queue.directory import Queue

F = TypeVar("F", bound=Callable[..., Any])


def inputs(required: bool) -> Callable[[F], F]:
    """The INPUT arguments."""
    return click.argument(
        "inputs",
        metavar="INPUT..." if required else "[INPUT]...",
        nargs=-1,
        required=required,
        callback=unmarked,
    )


def profile_option(*, expose: bool = False) -> Callable[[F], F]:
    """`--profile`; it has done its work before the command is called."""
    return click.option(
        "--profile",
        metavar="NAME",
        envvar="ENGINE_PROFILE",
        expose_value=expose,
        help="A named set of options: gentle, night, or a [profile.NAME] of engine.toml.",
    )


def next_run(queue: Queue, root: str) -> str:
    """The command that goes on with a queue, as a person would type it."""
    rehearsal = queue.read_batch().get("rehearsal")
    return f"engine {'rehearse --videos 0' if rehearsal else 'run'} -q {shlex.quote(root)}"


def queue_option(default: str = "queue_dir") -> Callable[[F], F]:
    """`-q/--queue`, as `root`."""
    return click.option(
        "-q",
        "--queue",
        "root",
        metavar="DIR",
        type=LOCAL_PATH,
        default=default,
        envvar="ENGINE_QUEUE",
        show_default=True,
        help="The queue's directory: one that is a queue, is new, is empty, or holds engine.toml.",
    )


def processes_option(help: str = "Worker processes.") -> Callable[[F], F]:
    """`-p/--processes`."""
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


def threads_option(help: str = "Threads in each process.") -> Callable[[F], F]:
    """`-t/--threads`."""
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


older_option = click.option(
    "--older-than", metavar="TIME", help="Only jobs that have been final for this long: 12h, 7d, 2d12h."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
