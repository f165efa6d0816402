"""Commands in a pid namespace of their own, as a container has one. Not permitted everywhere: see `permitted`."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

from commands import environment

INSIDE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")


def permitted() -> bool:
    """Whether such a namespace can be made here."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*INSIDE, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0


@contextlib.contextmanager
def inside(*command: str, **how: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A command as process 1 of its namespace; all in it die with the context."""
    process = subprocess.Popen(
        [*INSIDE, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment(),
        start_new_session=True,
        **how,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
