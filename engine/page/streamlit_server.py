"""Starting the Streamlit page: on loopback only, without statistics, with a token that its script asks for."""

from __future__ import annotations

import contextlib
import hmac
import io
import os
import secrets
import socket
import time
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass, field

from engine.page.access import LOOPBACK
from engine.page.server import listen
from engine.process.threads import start_thread

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "streamlit_page.py")
OPEN_S = 30.0


@dataclass
class ServedBatch:
    """What the script shows, and the token that it must find in the address. It runs in this process."""

    root: str = ""
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    def lets_in(self, token: str | None) -> bool:
        return bool(self.root and token) and hmac.compare_digest(
            str(token).encode("utf-8", "replace"), self.token.encode()
        )


served = ServedBatch()


def arguments(port: int) -> list[str]:
    """Those of `streamlit`. A name that resolves to 127.0.0.1 gets its page and its socket, but has no token."""
    options = {
        "server.address": LOOPBACK,
        "server.port": port,
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "client.toolbarMode": "minimal",
        "client.showErrorDetails": "none",
    }
    return ["run", SCRIPT, *(f"--{name}={value}" for name, value in options.items())]


def serve(root: str, *, port: int | None, open_browser: bool, on_ready: Callable[[str], None]) -> None:
    """Serve until ^C. Raises UsageError when the port is taken."""
    from streamlit.web import cli

    with listen(port) as sock:
        number = sock.getsockname()[1]
    served.root = os.path.abspath(root)
    address = f"http://{LOOPBACK}:{number}/?token={served.token}"
    on_ready(address)
    if open_browser:
        start_thread(_open, number, address, name="browser")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(KeyboardInterrupt, SystemExit):
        cli.main(arguments(number), standalone_mode=False)


def _open(port: int, address: str) -> None:
    """Open the browser when the server answers."""
    until_s = time.monotonic() + OPEN_S
    while time.monotonic() < until_s:
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), 1.0):
            webbrowser.open(address)
            return
        time.sleep(0.1)
