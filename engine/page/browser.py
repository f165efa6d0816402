"""Opening the user's browser, once the page answers."""

from __future__ import annotations

import contextlib
import socket
import time
import webbrowser

from engine.page.access import LOOPBACK
from engine.process.threads import start_thread

WAIT_S = 30.0


def open_soon(port: int, address: str) -> None:
    """Open this address when somebody listens on the port, in a thread: a browser of the terminal stays."""
    start_thread(_open, port, address, name="browser")


def _open(port: int, address: str) -> None:
    until_s = time.monotonic() + WAIT_S
    while time.monotonic() < until_s:
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), 1.0):
            break
        time.sleep(0.1)
    with contextlib.suppress(webbrowser.Error):
        webbrowser.open(address)
