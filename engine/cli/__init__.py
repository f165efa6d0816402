"""The command line: each command parses, calls `engine.Batch` or the one function it stands for, prints, and exits.

One module a command, imported when it is called, so that `engine status` does not load what only a run needs. What is
done to a queue is for the packages below; here are options, help, messages and exit codes.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import io
import keyword
import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

# ^C while modules are still being imported ends the process at once, without a traceback.
_OWN_SIGINT = threading.current_thread() is threading.main_thread()
_OWN_SIGINT = _OWN_SIGINT and signal.getsignal(signal.SIGINT) is signal.default_int_handler
if _OWN_SIGINT:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import click  # noqa: E402

from engine import __version__  # noqa: E402
from engine.cli.options.commands import EngineGroup  # noqa: E402
from engine.errors import EngineError, Exit, NoQueueError  # noqa: E402
from engine.process import environment, shortages, startup  # noqa: E402

if _OWN_SIGINT:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# section: {command: what it does}; the module of a command has the same name, and a `_` where that is a keyword
SECTIONS = {
    "The batch": {
        "seed": "Add videos to the queue.",
        "import": "Take in transcripts that other programs left in a folder.",
        "run": "Seed what is given, then work until every job is final.",
        "status": "Show how far the batch is; from any terminal, at any time.",
        "sync": "List the batch's channels and playlists again, to add what is new.",
        "sources": "Show the batch's channels, playlists and searches; drop or rename one.",
        "page": "Start, watch and steer it in a browser.",
    },
    "Steering a live run": {
        "pause": "Have it begin nothing new until `engine resume`.",
        "resume": "Have a paused run go on.",
        "set": "Change its rate, threads or processes.",
        "stop": "Ask it to finish what is in flight and end.",
        "wait": "Wait until it has ended.",
    },
    "Before a run": {
        "plan": "Estimate what a batch will cost: requests, bytes, hours, money.",
        "doctor": "Check whether this machine is fit for a run.",
        "probe": "Ask YouTube which ways to captions work from here.",
        "proxies": "Try the proxies: `engine proxies check`.",
        "config": "Show each option's value and where it comes from: `engine config show`.",
        "rehearse": "Try a run against an embedded server that answers as YouTube.",
        "completion": "Print what a shell needs to complete commands and options.",
    },
    "Several machines": {
        "fleet": "Plan, run and watch one batch on several machines.",
    },
    "Without a batch": {
        "get": "Print the transcripts of single videos.",
    },
    "Afterwards": {
        "report": "Show what became of it, what it cost, what to type next.",
        "search": "Find words in the transcripts.",
        "failures": "List the jobs that are not ok, one a line.",
        "export": "Make a table, a data set, readable texts or passages of it.",
        "retry": "Put failed jobs back.",
        "verify": "Audit the queue and the output.",
    },
}
COMMANDS = {name: about for commands in SECTIONS.values() for name, about in commands.items()}


class LazyGroup(EngineGroup):
    """The group of all commands; it imports one when that is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(
            f"engine.cli.{name}{'_' * keyword.iskeyword(name)}"
        ).command
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """`help X` is `X --help`, as many programs have it, and `-help` is `--help`."""
        if args and args[0] in ("help", "-help"):
            args = [*args[1:], "--help"]
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """A word that is no command may be a command with a typing error, or input for `engine run`."""
        name = args[0]
        if name in COMMANDS or name.startswith("-"):
            return super().resolve_command(ctx, args)
        near = difflib.get_close_matches(name, COMMANDS, 1, 0.5)
        if not near and (os.path.exists(name) or not name.isalpha()):
            meant = f"engine run {shlex.quote(name)}"
            raise click.UsageError(f"{name!r} is no command. Is it what to fetch? Say `{meant}`", ctx)
        raise click.UsageError(
            f"there is no command {name!r}{f'; did you mean {near[0]!r}?' if near else ''}", ctx
        )

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        wide = max(map(len, COMMANDS))
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name.ljust(wide), about) for name, about in commands.items()])


@click.command(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="engine")
def group() -> None:
    """Fetch transcripts and metadata of many YouTube videos as one resumable batch.

    \b
      engine rehearse          tries it without YouTube
      engine get dQw4w9WgXcQ   prints one transcript
      engine run videos.txt    does the whole job; run it again after any crash
      engine status            shows how far it is

    Exit codes: 0 all final, none failed; 2 wrong usage; 3 finished, some failed; 4 stopped, work remains;
    5 all egresses blocked; 10 no queue here; 11 another run holds it; 12 no usable proxy; 13 disk;
    14 damage found; 129/130/143 stopped by a signal. `status --exit-code` and `wait` also say 20 running,
    21 paused, 22 stalled, 23 stopped with work left.
    """


def main(args: list[str] | None = None) -> None:
    """Run a command and end the process with its exit code."""
    startup.begin()
    environment.prepare()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a title or a path may hold what the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    code = invoke(sys.argv[1:] if args is None else args)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:  # whoever read has seen enough
            pass
        except (OSError, ValueError) as exc:
            if stream is sys.stdout:
                _say_unprinted(exc)
                code = code or Exit.DISK
    # No thread of a library may delay the end of a command that is done.
    os._exit(code)


def invoke(args: list[str]) -> int:
    """Run a command and return its exit code. Raises only for bugs."""
    try:
        result: Any = group.main(args, prog_name="engine", standalone_mode=False)
        return result if isinstance(result, int) else Exit.OK
    except click.exceptions.Exit as exc:
        return exc.exit_code
    except click.Abort:
        return 130
    except click.ClickException as exc:
        _print_usage_error(exc)
        return Exit.USAGE
    except EngineError as exc:
        for number, line in enumerate(exc.lines or ("",)):
            more = f": {exc.shell}" if exc.shell and not number else ""
            say(line if number else f"engine: {line}{more}")
        if isinstance(exc, NoQueueError) and exc.path:
            say_neighbours(exc.path)
        return exc.exit_code
    except (BrokenPipeError, SystemExit):  # click makes the second of the first
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return Exit.OK
    except KeyboardInterrupt:
        return 130
    except (MemoryError, RuntimeError) as exc:
        short = shortages.raised(exc)
        if short is None:
            raise
        say(f"engine: {short}")
        return short.exit_code
    except ImportError as exc:
        short = shortages.raised(exc) or shortages.package_gone()
        if short is None:
            raise
        say(f"engine: {short}")
        return short.exit_code
    except OSError as exc:
        from engine.storage import disk

        short = shortages.raised(exc)
        if short is not None:
            say(f"engine: {short}")
            return short.exit_code
        if _while_printing(exc):
            _say_unprinted(exc)
            return Exit.DISK
        if disk.is_disk_error(exc) or disk.is_shortage(exc):
            doing = exc.filename or ("opening files" if disk.is_shortage(exc) else "writing")
            say(f"engine: {disk.disk_error(exc, doing)}")
            return Exit.DISK
        if not exc.filename and environment.users_directory() is None:
            say("engine: the directory you are in was removed: change to one that exists (cd)")
            return Exit.USAGE
        say(f"engine: {exc.filename + ': ' if exc.filename else ''}{exc.strerror or exc}")
        return Exit.USAGE


def _while_printing(exc: OSError) -> bool:
    """Whether it was raised by a write to stdout."""
    frame = exc.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    module = frame.tb_frame.f_globals.get("__name__", "") if frame is not None else ""
    return module.startswith(("click.", "rich."))


def _say_unprinted(exc: Exception) -> None:
    """Say that the result could not be printed."""
    why = getattr(exc, "strerror", None) or exc
    say(
        f"engine: the result cannot be written to standard output: {why}: send it to another place, or make room"
    )


def _print_usage_error(exc: click.ClickException) -> None:
    """Print click's message about a wrong command line. Control characters in what was typed are made harmless."""
    if isinstance(exc, getattr(click.exceptions, "NoArgsIsHelpError", ())):
        exc.show()  # the help, which holds nothing that was typed
        ctx = getattr(exc, "ctx", None)
        if ctx is not None and ctx.parent is None:
            say("")
            say(_next_step())
        return
    ctx = exc.ctx if isinstance(exc, click.UsageError) else None
    if ctx is not None:
        for line in ctx.get_usage().splitlines():
            say(line)
        say(f"Try '{ctx.command_path} {ctx.help_option_names[0]}' for help.")
        say("")
    say(f"Error: {exc.format_message()}")


def _next_step() -> str:
    """What to type next, for who typed `engine` alone."""
    root = os.environ.get("ENGINE_QUEUE") or "queue_dir"
    if os.path.lexists(os.path.join(root, "FORMAT")):
        return f"Next: `engine status` shows how far {root} is; `engine run` goes on with it."
    return "Next: `engine rehearse` tries it without YouTube. `engine run --help` explains a command."


def say_neighbours(root: str) -> None:
    """Name up to three queues near a place where there is none, the one last worked on first."""
    from engine.queue.neighbours import neighbours

    with contextlib.suppress(OSError):
        for path in neighbours(root)[:3]:
            shown = environment.shown(path)
            say(f"There is a queue in {shown}: `engine status -q {shlex.quote(shown)}`")


def say(text: str) -> None:
    """Print one line for people on stderr. Control characters are made harmless."""
    harmless: Callable[[str], str]
    try:
        from engine.output.terminal import harmless
    except (ImportError, MemoryError):  # no memory, or the package was removed
        harmless = ascii
    with contextlib.suppress(OSError):  # nobody reads stderr any more; the exit code still tells
        click.echo(harmless(text), err=True)


def print_lines(*lines: str) -> None:
    """Print lines of a result on stdout. Control characters are made harmless."""
    from engine.output.terminal import harmless

    click.echo("\n".join(map(harmless, lines)))
