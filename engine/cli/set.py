"""`engine set`."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

import click

from engine.batch import Batch
from engine.budget import parse_rate
from engine.cli import say
from engine.cli.options.commands import EngineCommand
from engine.cli.options.common import next_run, queue_option
from engine.errors import Exit, NoAnswerError, NoRunError, UsageError
from engine.queue.control import LiveSettings
from engine.queue.directory import open_queue

KEYS = ("rate", "threads", "processes")


@dataclass(frozen=True, slots=True)
class WantedSettings:
    """What `KEY=VALUE…` asks for; None: leave it."""

    rate: str | None = None
    threads: int | None = None
    processes: int | None = None


@click.command("set", cls=EngineCommand)
@queue_option()
@click.argument("pairs", metavar="[KEY=VALUE...]", nargs=-1)
def command(root: str, pairs: tuple[str, ...]) -> int:
    """Change rate, threads or processes of a live run, as in `engine set rate=2/s threads=24`.

    Values are those of the options of `engine run`, and belong to this run only. A new rate applies at once, and
    every egress starts with it as in a new run, but a cool-down goes on. For other threads a process finishes what
    is in flight and starts again. Without KEY=VALUE it prints the current values.
    """
    wanted = read_pairs(pairs)
    batch = Batch(root)
    before = batch.live_settings()
    if not pairs and batch.live_note() is not None:
        say(_now(before) if before else "the run is still starting: ask again in a moment")
        return Exit.OK
    try:
        after = batch.set(rate=wanted.rate, threads=wanted.threads, processes=wanted.processes)
    except NoRunError as exc:
        again = f"{next_run(open_queue(root), root)} {as_options(pairs)}".rstrip()
        raise UsageError(f"{exc}: give it to the next, as in `{again}`") from None
    except NoAnswerError as exc:
        say(str(exc))
        return Exit.OK
    for name in KEYS if after else ():
        if getattr(wanted, name) is not None:
            say(_change(name, getattr(before, name, None), getattr(after, name)))
    return Exit.OK


def read_pairs(pairs: tuple[str, ...]) -> WantedSettings:
    """What the arguments ask for. Raises UsageError, for a value in the words of `run`'s option."""
    found: dict[str, str | int] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if name not in KEYS:
            near = difflib.get_close_matches(name.lower(), KEYS, 1, 0.5)
            meant = f": did you mean {near[0]}?" if near else "."
            raise UsageError(
                f"{name[:40]!r} cannot be set while a run is live{meant} {', '.join(KEYS)} can, "
                "as in `engine set rate=2/s threads=24`"
            )
        if not equals:
            raise UsageError(f"{name}: write the value behind a =, as in `engine set {name}=2`")
        if name in found:
            raise UsageError(f"{name} is given twice")
        found[name] = _rate(text) if name == "rate" else _number(name, text)
    return WantedSettings(**found)  # type: ignore[arg-type]


def as_options(pairs: tuple[str, ...]) -> str:
    """The same as options of `engine run`."""
    return " ".join(f"--{name} {text}" for name, _, text in (pair.partition("=") for pair in pairs))


def _rate(text: str) -> str:
    rate, word = parse_rate(text), text.strip().lower()
    return f"{word}/s" if rate.kind == "fixed" and "/" not in word else word


def _number(name: str, text: str) -> int:
    from engine.cli.run import command as run

    param = next(param for param in run.params if param.name == name)
    try:
        number: int = param.type.convert(text, param, None)
    except click.BadParameter as exc:
        raise UsageError(exc.format_message()) from None
    return number


def _now(found: LiveSettings) -> str:
    paused = "; paused" if found.paused else ""
    return f"rate {found.rate}, threads {found.threads}, processes {found.processes}{paused}"


def _change(name: str, was: object, now: object) -> str:
    if was is None:
        return f"{name} is {now}"
    return f"{name} {now} as before" if was == now else f"{name} {was} -> {now}"
