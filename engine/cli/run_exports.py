"""`engine run --export`: exports at the end of a run, and what the run says last."""

from __future__ import annotations

import os

from engine.cli import say
from engine.cli.display.slow_work import SlowWork
from engine.cli.export import tell_result
from engine.errors import EngineError, Exit, UsageError
from engine.export import ExportKind, check_place, export, parse_run_export, request
from engine.process import environment
from engine.queue.directory import Queue
from engine.queue.marker import output_of

# A run that ended so is done for this time; the others were killed, or something is wrong that comes first.
_AFTER = (Exit.OK, Exit.SOME_FAILED, Exit.WORK_REMAINS, Exit.ALL_BLOCKED)

Wanted = list[tuple[ExportKind, str]]


def check_exports(root: str, given: tuple[str, ...]) -> Wanted:
    """What `--export` asks for, as (kind, absolute WHERE). Raises UsageError before anything is begun."""
    wanted: Wanted = []
    for text in given:
        kind, where = parse_run_export(text)
        asked = request(kind, where, {})
        check_place(root, asked)
        place = asked.to if "://" in asked.to else os.path.abspath(asked.to)
        if (kind, place) in wanted:
            raise UsageError(f"--export {text} is given twice")
        wanted.append((kind, place))
    return wanted


def run_exports(root: str, wanted: Wanted, code: int) -> int:
    """Do the exports of a run that ended with this exit code; returns the exit code of all.

    An export that fails is 13: the run itself is done.
    """
    if code not in _AFTER:
        return code
    for kind, where in wanted:
        try:
            if tell_result(root, export(root, kind, where, {}, SlowWork("videos"))) == Exit.OK:
                continue
        except (EngineError, OSError) as exc:
            for line in str(exc).splitlines():
                say(f"engine: {line}")
        say(
            f"--export {kind}: this did not work. The run itself is done; `{_again(root, kind, where)}` tries again"
        )
        code = Exit.DISK
    return code


def _again(root: str, kind: str, where: str) -> str:
    return f"engine export -q {environment.shown(root)} --to {kind} -o {where}"


def say_what_next(root: str, code: int, wanted: Wanted) -> None:
    """At the end of a run: where the files are, and the next commands."""
    if code not in (Exit.OK, Exit.SOME_FAILED):
        return
    output = output_of(Queue(root))
    if output is None:
        return
    shown = environment.shown(root)
    more = "" if wanted else f"; `engine export -q {shown} --to csv` makes a table"
    say(f"transcripts are in {environment.shown(output)}{more}; `engine report -q {shown}` sums it up")
