"""What the processes beside the workers, the monitor and the lister, do alike: live and end as the supervisor wants.

They end with their standard input, and not by a signal that a terminal sends to all. How they end says whether
starting them again would help: an exit code, and a sentence on standard error. Their standard output carries their
heartbeat (`engine.process.heartbeat`) and nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from engine.errors import EngineError, Exit
from engine.process import shortages
from engine.storage import disk
from engine.storage.processes import leave_signals_to_supervisor


def carried_out(work: Callable[[], None], doing: str) -> int:
    """Do a companion's work, deaf to the signals that end a run; returns the exit code.

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
