"""Commands whose options say one thing each: what takes one value and is given twice is an error.

click lets the last one win without a word. For an option that a run fixes for good, that is a slip for good. Options
that may be repeated (`--proxy`, `-l`), plain flags and counts stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator

import click


def repeats(command: click.Command, ctx: click.Context, args: list[str]) -> Iterator[click.Option]:
    """The options of one value, and the switches with a `--no-` form, that these arguments give more than once."""
    try:
        _, _, order = command.make_parser(ctx).parse_args(list(args))
    except click.UsageError:  # it will be said when they are parsed for good
        return
    seen: set[str | None] = set()
    for param in order:
        if not isinstance(param, click.Option) or param.multiple or param.count:
            continue
        if param.is_flag and not param.secondary_opts:
            continue
        if param.name in seen:
            yield param
        seen.add(param.name)


def refuse(command: click.Command, ctx: click.Context, args: list[str]) -> None:
    """Raise click.UsageError for the first of them."""
    for option in repeats(command, ctx, args):
        names = " or ".join(name for name in (*option.opts, *option.secondary_opts) if name.startswith("--"))
        raise click.UsageError(f"{names or option.opts[0]} is given twice, and only one can hold", ctx)


class Command(click.Command):
    """A command as all of `engine` are. Raises click.UsageError for what is given twice."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        refuse(self, ctx, args)
        return super().parse_args(ctx, args)


class Group(click.Group):
    """A group as all of `engine` are; its commands are such ones."""

    command_class = Command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        refuse(self, ctx, args)
        return super().parse_args(ctx, args)
