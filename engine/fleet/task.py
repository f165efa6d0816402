"""What Dask runs: a function that starts `engine fleet share` as a process and waits for its end.

Nothing of the engine runs inside a Dask worker, whose tasks are threads of a daemonic process. The share's standard
input is a pipe of the worker: when that dies, the share drains.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque

_LINES = 5


def share(ledger: str, key: str, beside: bool = False) -> tuple[int, str]:
    """(exit code, the last lines that it said) of a share, worked on by this machine."""
    from engine.fleet.join import VARIABLE

    note = os.environ.get(VARIABLE)
    if note is None:
        return 2, f"this worker was not started by `engine fleet join`: {VARIABLE} is not set"
    command = [sys.executable, "-P", "-m", "engine", "fleet", "share", ledger, key, "--joined", note]
    command += ["--until-stdin-ends", *(["--beside"] if beside else [])]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None  # noqa: S101
        said: deque[bytes] = deque(maxlen=_LINES)
        for line in process.stderr:
            said.append(line)
            if line.startswith(b"warning: "):  # it is read where the machine has joined
                print(line.decode("utf-8", "replace").rstrip(), file=sys.stderr, flush=True)
    return process.returncode, b"".join(said).decode("utf-8", "replace").strip()


def nothing(ledger: str, key: str, beside: bool = False) -> tuple[int, str]:
    """A share that does nothing, for measuring the driver and the scheduler."""
    return 0, ""
