"""A helper process's own side (monitor, lister): how it runs and ends as the supervisor expects.

It ends when its standard input does, and not by a signal that a terminal sends to all. Its exit code and a sentence
on standard error say whether starting it again would help. Its standard output carries its heartbeat
(`engine.process.heartbeat`) and nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from engine.errors import EngineError, Exit
from engine.process import shortages
from engine.storage import disk
from engine.storage.processes import leave_signals_to_supervisor


def carried_out(work: Callable[[], None], doing: str) -> int:
    """Do a helper process's work and ignore the signals that end a run; returns the exit code.

    `doing` says what the disk failed at, as in `keeping the manifest in queue_dir`.
    """
    leave_signals_to_supervisor()
    try:
        work()
    except OSError as exc:
        print(shortages.raised(exc) or disk.disk_error(exc, doing), file=sys.stderr)
        return Exit.DISK
    except EngineError as exc:
        print(exc, file=sys.stderr)
        return exc.exit_code
    except (MemoryError, RuntimeError) as exc:
        short = shortages.raised(exc)
        if short is None:
            raise
        print(short, file=sys.stderr)
        return short.exit_code
    return Exit.OK
