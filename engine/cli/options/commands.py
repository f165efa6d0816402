"""The click classes of all commands: each option of one value is given once, and an id may begin with a dash."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

import click

from engine.cli.options.ways import with_mask_values

# How the help of a command with many options is laid out: section, and the options' parameters in it.
SECTIONS = {
    "The batch": "root profile column sheet encoding keep_columns skip_known max_results newest since replace "
    "output_lost limit",
    "What is fetched": "output formats languages manual_only generated_only all_languages translate metadata store",
    "How fast, how much": "rate processes threads sequential max_requests max_bytes max_duration no_memory "
    "budget_file",
    "Which way": "proxy proxies rotating ca_bundle control_videos ways fetch_mode mask no_mask ytdlp_options",
    "When it fails or ends": "on_block attempts deadline grace until_stdin_ends",
    "What it shows": "progress verbose notify exports",
    "The rehearsal server": "videos uploads scenes latency limit_rate limit_burst limit_window limit_block "
    "limit_doubling limit_spurious real_sizes seed arrivals serve port ca_dir",
}
_MANY = 20

_DASHED_ID = re.compile(r"-[A-Za-z0-9_-]{10}")
_MARK = "\0"
_NEAR = 0.75  # a slip of one or two letters; an id that comes so near by chance is one in very many


def repeated(command: click.Command, ctx: click.Context, args: list[str]) -> Iterator[click.Option]:
    """The options of one value, and the switches with a `--no-` form, that these arguments give more than once."""
    try:
        _, _, order = command.make_parser(ctx).parse_args(list(args))
    except click.UsageError:  # reported when the arguments are parsed for good
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


def refuse_repeated(command: click.Command, ctx: click.Context, args: list[str]) -> None:
    """Raise click.UsageError for the first of them.

    click itself would take the last value without a word, and some options are fixed for good by the first run.
    """
    for option in repeated(command, ctx, args):
        names = " or ".join(name for name in (*option.opts, *option.secondary_opts) if name.startswith("--"))
        raise click.UsageError(f"{names or option.opts[0]} is given twice; it takes one value", ctx)


class EngineCommand(click.Command):
    """A command of `engine`. Raises click.UsageError for an option of one value that is given twice."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        args = ["--help"] if args == ["-help"] else args  # else the letters are taken for options
        refuse_repeated(self, ctx, args)
        return super().parse_args(ctx, args)


class EngineGroup(click.Group):
    """A group of such commands."""

    command_class = EngineCommand

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        refuse_repeated(self, ctx, args)
        return super().parse_args(ctx, args)


def read_files(
    command: click.Command,
    ctx: click.Context,
    args: list[str],
    *,
    rehearsal: bool = False,
    options_of: click.Command | None = None,
) -> None:
    """Find the queue and the profile before any other option is looked at, and take defaults from their files.

    `options_of`: the command whose options may stand in them, if not this one.
    """
    from engine.cli.options.config_files import apply

    try:
        values, _, _ = command.make_parser(ctx).parse_args(list(args))
    except click.UsageError:  # reported when the arguments are parsed for good
        return
    found = {
        name: param.consume_value(ctx, values)[0]
        for param in command.params
        if (name := param.name) in ("root", "profile")
    }
    profile = found["profile"]  # click has an object of its own for what nobody set
    profile = profile if isinstance(profile, str) else None
    apply(ctx, str(found["root"]), profile, rehearsal=rehearsal, command=options_of)


class BeforeRunCommand(EngineCommand):
    """A command that tries something for a run: its `-q --profile` and the files give its options what they give
    those of `engine run`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        from engine.cli.run import command as run

        refuse_repeated(self, ctx, args)
        read_files(self, ctx, args, options_of=run)
        return super().parse_args(ctx, args)


class IdCommand(EngineCommand):
    """A command that takes INPUT: an argument that is an 11-character id is an id, also when it begins with a dash.

    Names of its own options (`--processes` has 11 characters, too) and values of options stay what they are.
    A command with an option `--profile` takes defaults from files, see `config_files`.
    """

    reads_user_file = True  # whether the user's own file is one of them

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        args = ["--help"] if args == ["-help"] else args
        if any(param.name == "mask" for param in self.params):
            args = with_mask_values(args)
        args = self._with_ids_marked(ctx, args)
        if any(param.name == "profile" for param in self.params):
            refuse_repeated(self, ctx, args)  # before one of the two values is called wrong
            read_files(self, ctx, args, rehearsal=not self.reads_user_file)
        return super().parse_args(ctx, args)

    def _with_ids_marked(self, ctx: click.Context, args: list[str]) -> list[str]:
        options = [param for param in self.params if isinstance(param, click.Option)]
        names = {name for option in options for name in (*option.opts, *option.secondary_opts)} | {"--help"}
        valued = {
            name for option in options if not option.is_flag and not option.count for name in option.opts
        }
        marked: list[str] = []
        is_value = False
        for at, arg in enumerate(args):
            if arg == "--":
                return marked + args[at:]
            is_id = not is_value and arg not in names and _DASHED_ID.fullmatch(arg) is not None
            if is_id and arg.startswith("--") and (near := difflib.get_close_matches(arg, names, 1, _NEAR)):
                raise click.UsageError(
                    f"no such option: {arg}; did you mean {near[0]}? A video whose id begins with -- goes after `--`",
                    ctx,
                )
            is_value = not is_value and arg in valued
            marked.append(_MARK + arg if is_id else arg)
        return marked

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show many options in sections; what is in no section comes last."""
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        if len(options) < _MANY:
            super().format_options(ctx, formatter)
            return
        section_of = {name: section for section, names in SECTIONS.items() for name in names.split()}
        found: dict[str, list[tuple[str, str]]] = {section: [] for section in (*SECTIONS, "Other options")}
        for option in options:
            record = option.get_help_record(ctx)
            if record is not None:
                found[section_of.get(str(option.name), "Other options")].append(record)
        for section, records in found.items():
            if records:
                with formatter.section(section):
                    formatter.write_dl(records)


def unmarked(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """The INPUT arguments as they were typed."""
    return tuple(text.removeprefix(_MARK) for text in value)
