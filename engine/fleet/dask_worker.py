"""A Dask worker that ends when its standard input does: `python -m engine.fleet.dask_worker SCHEDULER …`."""

from __future__ import annotations

import os
import signal
import sys

from engine.process.threads import start_thread


def watch() -> None:
    """End this process, as by TERM, when whoever started it is gone."""
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    from distributed.cli.dask_worker import main as run

    start_thread(watch, name="stdin")
    run(sys.argv[1:], prog_name="engine fleet join")


if __name__ == "__main__":
    main()
