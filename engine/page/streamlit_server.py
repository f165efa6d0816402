"""Starting the Streamlit page: on loopback only, without statistics, with a token that its script asks for."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field

from engine.page.access import LOOPBACK, Tickets, same
from engine.page.browser import open_soon
from engine.page.listening import listen

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "streamlit_page.py")


@dataclass
class ServedBatch:
    """What the script shows, and the token that it must find in the address. It runs in this process."""

    root: str = ""
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    tickets: Tickets = field(default_factory=Tickets, repr=False)

    def lets_in(self, query: MutableMapping[str, str]) -> bool:
        """Whether the address has the token, or a ticket: then the token takes its place."""
        given = query.get("token") or ""
        if not self.root or not (same(given, self.token) or self.tickets.spend(given)):
            return False
        if given != self.token:
            query["token"] = self.token
        return True


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
    on_ready(f"http://{LOOPBACK}:{number}/?token={served.token}")
    if open_browser:
        open_soon(number, f"http://{LOOPBACK}:{number}/?token={served.tickets.issue()}")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(KeyboardInterrupt, SystemExit):
        cli.main(arguments(number), standalone_mode=False)
