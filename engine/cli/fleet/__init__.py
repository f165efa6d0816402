"""`engine fleet …`: one batch on several machines.

`making` has what makes shares, `working` what machines do, `steering` what people say and see, `afterwards` what is
made of shares that are done.
"""

from __future__ import annotations

import click

from engine.cli.fleet import afterwards, making, steering, working
from engine.cli.options.commands import EngineGroup


@click.group("fleet", cls=EngineGroup)
def command() -> None:
    """One batch on several machines, over a ledger of plain files.

    \b
      dask scheduler                             on one machine, address A
      engine fleet plan videos.txt LEDGER        deals the videos to shares
      engine fleet join LEDGER --scheduler A     on each machine that fetches
      engine fleet run LEDGER --scheduler A      hands out; again after a crash
      engine fleet status LEDGER                 from anywhere

    LEDGER is a directory that all machines see, or a place in a store: s3://bucket/night.
    """


for each in (*making.COMMANDS, *working.COMMANDS, *steering.COMMANDS, *afterwards.COMMANDS):
    command.add_command(each)
