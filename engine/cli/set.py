"""`engine set`."""

from __future__ import annotations

import difflib

import click

from engine.budget import parse_rate
from engine.cli import say
from engine.cli.once import Command
from engine.cli.options import next_run, queue_option
from engine.cli.pause import unanswered
from engine.errors import Exit, UsageError
from engine.queue.control import ControlRequest, RunState, read_run_state, send_request, wait_until_done
from engine.queue.directory import open_queue
from engine.storage.locks import living_holder

KEYS = ("rate", "threads", "processes")


@click.command("set", cls=Command)
@queue_option()
@click.argument("pairs", metavar="[KEY=VALUE...]", nargs=-1)
def command(root: str, pairs: tuple[str, ...]) -> int:
    """Change rate, threads or processes of a live run, as in `engine set rate=2/s threads=24`.

    Values are those of the options of `engine run`, and belong to this run only. At another rate every egress
    begins anew, as in a run that begins with it; a cool-down goes on. For other threads a process finishes what
    is in flight and begins again. Without KEY=VALUE it says what they are.
    """
    wanted = read_pairs(pairs)
    queue = open_queue(root)
    run = living_holder(queue.run_lock)
    if run is None:
        raise UsageError(
            f"no run is live here: give it to the next, as in `{next_run(queue, root)} {as_options(pairs)}`".rstrip()
        )
    before = read_run_state(queue, run)
    if not pairs:
        say(_now(before) if before else "the run is still beginning: ask again in a moment")
        return Exit.OK
    if not wait_until_done(queue, send_request(queue, wanted)):
        say(unanswered(run, f"set {' '.join(pairs)}"))
        return Exit.OK
    after = read_run_state(queue, living_holder(queue.run_lock))
    for name in KEYS if after else ():
        if getattr(wanted, name) is not None:
            say(_turn(name, getattr(before, name, None), getattr(after, name)))
    return Exit.OK


def read_pairs(pairs: tuple[str, ...]) -> ControlRequest:
    """What `KEY=VALUE…` asks for. Raises UsageError, and click's errors in the words of `run`'s options."""
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
    return ControlRequest(**found)  # type: ignore[arg-type]


def as_options(pairs: tuple[str, ...]) -> str:
    """The same for `engine run`."""
    return " ".join(f"--{name} {text}" for name, _, text in (pair.partition("=") for pair in pairs))


def _rate(text: str) -> str:
    rate, word = parse_rate(text), text.strip().lower()
    return f"{word}/s" if rate.kind == "fixed" and "/" not in word else word


def _number(name: str, text: str) -> int:
    from engine.cli.run import command as run

    param = next(its for its in run.params if its.name == name)
    try:
        number: int = param.type.convert(text, param, None)
    except click.BadParameter as exc:
        raise UsageError(exc.format_message()) from None
    return number


def _now(course: RunState) -> str:
    paused = "; paused" if course.paused else ""
    return f"rate {course.rate}, threads {course.threads}, processes {course.processes}{paused}"


def _turn(name: str, was: object, now: object) -> str:
    return (
        f"{name} is {now}"
        if was is None
        else f"{name} {now} as before"
        if was == now
        else f"{name} {was} -> {now}"
    )
