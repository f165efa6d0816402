"""`engine run --export`: exports at the end of a run, and what the run says last.

What an export needs is imported when one is asked for: a run without one starts without it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from engine.cli import say
from engine.cli.display.slow_work import SlowWork
from engine.cli.options.common import next_run
from engine.errors import EngineError, Exit, UsageError
from engine.model import Kind
from engine.process import environment
from engine.queue.directory import Queue
from engine.queue.manifest import Checkpoint, Counts, read_checkpoint, read_rows
from engine.queue.marker import output_of

# A run that ended so is done for this time; the others were killed, or something is wrong that comes first.
_AFTER = (Exit.OK, Exit.SOME_FAILED, Exit.WORK_REMAINS, Exit.ALL_BLOCKED)

if TYPE_CHECKING:
    from engine.export import ExportKind


def check_exports(root: str, given: tuple[str, ...]) -> list[tuple[ExportKind, str]]:
    """What `--export` asks for, as (kind, absolute WHERE). Raises UsageError before anything is begun."""
    if not given:
        return []
    from engine.export import check_place, parse_run_export, request

    wanted: list[tuple[ExportKind, str]] = []
    for text in given:
        kind, where = parse_run_export(text)
        asked = request(kind, where, {})
        check_place(root, asked)
        place = asked.to if "://" in asked.to else os.path.abspath(asked.to)
        if (kind, place) in wanted:
            raise UsageError(f"--export {text} is given twice")
        wanted.append((kind, place))
    return wanted


def run_exports(root: str, wanted: list[tuple[ExportKind, str]], code: int) -> int:
    """Do the exports of a run that ended with this exit code; returns the exit code of all.

    An export that fails is 13: the run itself is done.
    """
    if code not in _AFTER or not wanted:
        return code
    from engine.cli.ended_work import ended_by_signals

    return ended_by_signals(lambda: _exported(root, wanted, code))


def _exported(root: str, wanted: list[tuple[ExportKind, str]], code: int) -> int:
    from engine.cli.export import tell_result
    from engine.export import export

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


def say_what_next(root: str, code: int, *, exported: bool) -> None:
    """At the end of a run: what another command gets, where the files are, and the next commands."""
    output = output_of(Queue(root)) if code in _AFTER else None
    if output is None:
        return
    shown = environment.shown(root)
    counts = (read_checkpoint(Queue(root)) or Checkpoint()).counts
    for sentence in _unfetched(Queue(root), counts, environment.shown(output)):
        say(sentence)
    if code not in (Exit.OK, Exit.SOME_FAILED):
        say(f"transcripts so far are in {environment.shown(output)}; `engine status -q {shown}` counts them")
        return
    more = "" if exported else f"; `engine export -q {shown} --to csv` makes a table"
    where = f"transcripts are in {environment.shown(output)}{more}; " if counts.ok else ""
    if counts.final:
        say(f"{where}`engine report -q {shown}` sums it up")


def _unfetched(queue: Queue, counts: Counts, output: str) -> list[str]:
    """What is said of videos that another command gets. The manifest is read only when there may be some."""
    languages = counts.kinds.get(Kind.NO_LANGUAGE)
    if not counts.kinds.get(Kind.KEPT) and (not languages or languages < counts.final):
        return []
    from engine.report.unfetched import Unfetched, closing

    run = next_run(queue, environment.shown(queue.root))
    return closing(Unfetched.of(read_rows(queue)), final=counts.final, output=output, run=run)
