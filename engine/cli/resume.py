"""`engine resume`."""

from __future__ import annotations

import click

from engine.batch import Batch
from engine.cli import say
from engine.cli.options.commands import EngineCommand
from engine.cli.options.common import next_run, queue_option
from engine.errors import Exit, NoAnswerError, NoRunError, UsageError
from engine.queue.directory import open_queue
from engine.storage.locks import who


@click.command("resume", cls=EngineCommand)
@queue_option()
def command(root: str) -> int:
    """Have a paused run go on at once."""
    batch = Batch(root)
    run, before = batch.live_note(), batch.live_settings()
    try:
        batch.resume()
    except NoRunError as exc:
        raise UsageError(f"{exc}: `{next_run(open_queue(root), root)}` goes on with what is left") from None
    except NoAnswerError as exc:
        say(str(exc))
        return Exit.OK
    was_paused = before is None or before.paused
    say(f"the run ({who(run or {})}) {'goes on' if was_paused else 'is not paused'}")
    return Exit.OK
