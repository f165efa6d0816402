"""How a page is served: its socket on loopback, uvicorn around its application, the stream of what changes on it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import psutil
import uvicorn
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse

import engine.report
from engine.errors import UsageError
from engine.page.access import LOOPBACK, App, Secrets
from engine.page.browser import open_soon

PORT, PORTS = 8600, 50
TICK_S = 1.0
_HERE = os.path.dirname(os.path.abspath(__file__))
_STATIC = {
    **{
        name: os.path.join(_HERE, "static", name)
        for name in ("page.css", "live.js", "page.js", "fleet.js", "icon.svg")
    },
    "report.css": os.path.join(os.path.dirname(engine.report.__file__), "templates", "page.css"),
}
Look = Callable[[], tuple[dict[str, str], dict[str, Any]]]


def static(request: Request) -> Response:
    """A file of the pages' own: style, script, icon."""
    path = _STATIC.get(request.path_params["name"])
    return FileResponse(path) if path else PlainTextResponse("there is no such file\n", 404)


def changes(look: Look, ending: threading.Event) -> Response:
    """A stream with an event a second of what has changed since the last one; a comment when nothing has.

    `look` returns parts of HTML by the id of their element, and what the script needs.
    """

    async def told() -> AsyncIterator[str]:
        known: dict[str, str] = {}
        controls: dict[str, Any] | None = None
        yield "retry: 2000\n\n"
        while not ending.is_set():
            parts, now = await run_in_threadpool(look)
            changed = {name: html for name, html in parts.items() if known.get(name) != html}
            if changed or now != controls:
                known, controls = parts, now
                yield f"data: {json.dumps({'parts': changed, 'controls': now})}\n\n"
            else:
                yield ":\n\n"
            await asyncio.sleep(TICK_S)

    return StreamingResponse(told(), media_type="text/event-stream")


def address(port: int, token: str) -> str:
    """The address of a page with the token that lets in."""
    return f"http://{LOOPBACK}:{port}/?token={token}"


def listen(port: int | None) -> socket.socket:
    """A listening socket on loopback: on this port, or on the first free one from PORT on (None).

    Raises UsageError when the port is taken, and says by which process.
    """
    wanted = range(PORT, PORT + PORTS) if port is None else (port,)
    for number in wanted:
        found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((LOOPBACK, number))
            found.listen(128)
            return found
        except OSError as exc:
            found.close()
            if exc.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise
            if exc.errno == errno.EACCES:
                raise UsageError(
                    f"--port {number}: this user may not listen on it: take one above 1023"
                ) from None
    if port is None:
        raise UsageError(f"the ports {PORT} to {PORT + PORTS - 1} are all taken: give another with --port")
    raise UsageError(f"port {port} is taken{_holder(port)}: leave out --port to take the next free one")


def _holder(port: int) -> str:
    with contextlib.suppress(psutil.Error, OSError):
        for each in psutil.net_connections("tcp4"):
            if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port and each.pid:
                return f" by process {each.pid}"
    return ""


def serve_app(
    app: App,
    sock: socket.socket,
    secrets: Secrets,
    ending: threading.Event,
    *,
    open_browser: bool,
    on_ready: Callable[[str], None],
) -> None:
    """Serve an application on a socket until ^C or TERM, then set `ending`."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        http="h11",
        loop="asyncio",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    server = _UntilEnd(config, ending)
    port = sock.getsockname()[1]
    on_ready(address(port, secrets.token))
    if open_browser:
        open_soon(port, address(port, secrets.tickets.issue()))
    try:
        server.run(sockets=[sock])
    except KeyboardInterrupt:
        pass
    finally:
        ending.set()


class _UntilEnd(uvicorn.Server):
    """uvicorn waits for open streams when it ends: so they are told first."""

    def __init__(self, config: uvicorn.Config, ending: threading.Event) -> None:
        super().__init__(config)
        self._ending = ending

    def handle_exit(self, sig: int, frame: Any) -> None:
        # uvicorn's own raises the signal again at the end: a page that ends by TERM would exit with 143.
        self._ending.set()
        self.force_exit = self.should_exit
        self.should_exit = True
