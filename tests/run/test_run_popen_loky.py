"""The first module in a worker process."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from commands import environment


@pytest.mark.parametrize(
    ("module", "silent"), [("engine.run.popen_loky", True), ("loky.backend.popen_loky_posix", False)]
)
def test_who_cannot_read_what_to_do_ends_without_a_traceback(module: str, silent: bool) -> None:
    """As without memory. loky's own prints one on stdout, where a user's pipe may be."""
    reader, writer = os.pipe()
    os.write(writer, b"no pickle")
    os.close(writer)
    command = [sys.executable, "-m", module, "--process-name", "LokyProcess-1", "--pipe", str(reader)]
    ended = subprocess.run(
        command, env=environment(), pass_fds=(reader,), capture_output=True, text=True, check=False
    )
    os.close(reader)
    assert ended.returncode == 1
    assert (ended.stdout == "") is silent
    assert ended.stderr == ""
