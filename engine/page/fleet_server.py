"""The page of a fleet: it shows a ledger and changes nothing, so scheduler and driver need not be there."""

from __future__ import annotations

import threading
from collections.abc import Callable

from markupsafe import Markup
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from engine.fleet.ledger import Ledger
from engine.page.access import AccessControl, Rules, Secrets
from engine.page.fleet_view import FleetView
from engine.page.listening import changes, listen, serve_app, static
from engine.page.views import render


class FleetServer:
    """The page of one ledger; the ASGI application is in `app`, behind the checks of every page."""

    def __init__(self, where: str, port: int, secrets: Secrets) -> None:
        self.where, self.secrets = where, secrets
        self.view = FleetView(where)
        self.ending = threading.Event()
        routes = [
            Route("/", self.main),
            Route("/events", self.events),
            Route("/static/{name}", static),
        ]
        self.app = AccessControl(Starlette(routes=routes), Rules(port, secrets, read_only=True))

    def main(self, request: Request) -> Response:
        parts, controls = self.view()
        html = {name: Markup(text) for name, text in parts.items()}  # noqa: S704 - rendered by templates
        return HTMLResponse(render("fleet.html", where=self.where, title=controls["title"], parts=html))

    async def events(self, request: Request) -> Response:
        return changes(self.view, self.ending)


def serve(where: str, *, port: int | None, open_browser: bool, on_ready: Callable[[str], None]) -> None:
    """Serve the page of the fleet in this ledger until ^C or TERM. Raises UsageError, and NoQueueError where there is
    no fleet."""
    Ledger(where).fleet()
    with listen(port) as sock:
        page = FleetServer(where, sock.getsockname()[1], Secrets())
        serve_app(page.app, sock, page.secrets, page.ending, open_browser=open_browser, on_ready=on_ready)
