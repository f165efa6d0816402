"""`engine verify`."""

from __future__ import annotations

import click

from engine.cli.options import json_option, queue_option
from engine.errors import Exit
from engine.queue.layout import open_queue


@click.command("verify")
@queue_option()
@json_option
def command(root: str, as_json: bool) -> int:
    """Audit the queue: every job in exactly one state, every ok row's files there with the right sha256.

    Not beside a live run (exit 11). Exit 14 when damage is found.
    """
    from engine.verify import audit

    open_queue(root)
    found = audit(root)
    if as_json:
        import json

        click.echo(json.dumps(found.to_json()))
    else:
        click.echo(found.text())
    return Exit.OK if found.ok else Exit.DAMAGED
