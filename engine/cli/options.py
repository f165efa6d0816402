"""What the commands share: options, ids that begin with a dash, and how values are read."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_DASHED_ID = re.compile(r"-[A-Za-z0-9_-]{10}")
_MARK = "\0"


class IdCommand(click.Command):
    """A command among whose arguments an 11-character id is an id, also when it begins with a dash.

    Names of its own options (`--processes` has 11 characters, too) and values of options stay what they are.
    """

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
        return super().parse_args(ctx, kept)


def _unmark(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(text.removeprefix(_MARK) for text in value)


def inputs(required: bool) -> Callable[[F], F]:
    """The INPUT arguments."""
    return click.argument("inputs", metavar="INPUT...", nargs=-1, required=required, callback=_unmark)


def queue_option(default: str = "queue_dir") -> Callable[[F], F]:
    return click.option(
        "-q",
        "--queue",
        "root",
        metavar="DIR",
        default=default,
        envvar="ENGINE_QUEUE",
        show_default=True,
        help="The queue's directory.",
    )


column_option = click.option(
    "--column", metavar="NAME", help="The column (or key) that holds the URL or id, by name or number."
)
older_option = click.option(
    "--older-than", metavar="TIME", help="Only jobs that have been final for so long: 12h, 7d, 2d12h."
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
