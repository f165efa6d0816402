"""The rehearsal server: one event loop that owns the listener, the connections, the responder and the log."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import os
import ssl
import tempfile
from collections import Counter
from collections.abc import Callable

from engine.rehearsal.canned_responses import Response
from engine.rehearsal.certificates import authority
from engine.rehearsal.connection import ServerConnection
from engine.rehearsal.listener import Listener
from engine.rehearsal.request import Request
from engine.rehearsal.request_log import RequestLog
from engine.rehearsal.responses import Responder
from engine.rehearsal.scenarios import parse_scenario
from engine.rehearsal.settings import Address, RehearsalSettings

SETTLED_S = 0.05
FLUSH_S = 0.2


class Server:
    """One rehearsal server inside one event loop. Raises UsageError when it cannot start."""

    def __init__(self, settings: RehearsalSettings, tls: ssl.SSLContext, ca: str) -> None:
        self.settings = settings
        self.tls = tls
        self.loop = asyncio.get_running_loop()
        self.started_s = self.loop.time()
        self.connections: set[ServerConnection] = set()
        self.responder = Responder(settings, [parse_scenario(text) for text in settings.scenarios])
        self.log = RequestLog(settings.arrivals)
        self.counts: Counter[str] = Counter()
        self._ca = ca
        self._listener = Listener(self.loop, settings.port, lambda: ServerConnection(self))
        self._control: asyncio.Server | None = None
        self._listen_timer: asyncio.TimerHandle | None = None
        self._flush_timer: asyncio.TimerHandle | None = None

    async def open(self) -> Address:
        """Start to listen."""
        await self._listener.open()
        # A port of its own, so that control requests are answered while the network is gone.
        self._control = await self.loop.create_server(
            lambda: ServerConnection(self, control_only=True), "127.0.0.1", 0
        )
        self._flush()
        self.update_listening()
        return Address(self._listener.port, self._control.sockets[0].getsockname()[1], self._ca)

    def close(self) -> None:
        """Stop listening, drop the connections, flush the log."""
        for timer in (self._listen_timer, self._flush_timer):
            if timer is not None:
                timer.cancel()
        self._listener.close()
        if self._control is not None:
            self._control.close()
        for connection in list(self.connections):
            connection.close()
        self.log.close()

    def _flush(self) -> None:
        self.log.write()
        self._flush_timer = self.loop.call_later(FLUSH_S, self._flush)

    def update_listening(self) -> None:
        """Listen unless a scenario `gone` plays for all egresses; come back when that may change."""
        if self._listen_timer is not None:
            self._listen_timer.cancel()
            self._listen_timer = None
        now_s = self.loop.time()
        gone = False
        changes_s = []
        for scenario in self.responder.faults.scenarios:
            since_s = self.responder.faults.first_s if scenario.since_s is None else scenario.since_s
            affects_all = scenario.name == "gone" and scenario.egress is None and scenario.share >= 1
            if not affects_all or since_s is None:
                continue
            gone = gone or scenario.plays("", now_s, since_s)
            ends_s = (since_s + scenario.start_s, since_s + scenario.end_s)
            changes_s += [end_s for end_s in ends_s if end_s > now_s]
        self._listener.listen(not gone)
        if gone:
            for connection in list(self.connections):
                connection.reset()
        if changes_s and min(changes_s) < float("inf"):
            self._listen_timer = self.loop.call_at(min(changes_s) + 0.001, self.update_listening)

    # --- called by connections ----------------------------------------------------------------------------

    def opened(self, connection: ServerConnection) -> None:
        self.connections.add(connection)
        self.counts["total"] += 1
        # A client may close one and open another at once; which of the two is seen first here is chance.
        self.loop.call_later(SETTLED_S, self._count_peak)

    def _count_peak(self) -> None:
        self.counts["peak"] = max(self.counts["peak"], len(self.connections))

    def closed(self, connection: ServerConnection) -> None:
        self.connections.discard(connection)

    def handshake_done(self, resumed: bool) -> None:
        self.counts["tls"] += 1
        self.counts["tls_resumed"] += resumed

    def connect_status(self, authorization: str) -> tuple[int, str]:
        """The status for a CONNECT (0: reset the connection), and its egress."""
        user, password = _credentials(authorization)
        now_s, faults = self.loop.time(), self.responder.faults
        if faults.refuses_connect("gone", user, now_s):
            self.log.note("connect", "", user, 0, "gone")
            return 0, user
        if self.settings.auth is not None:
            wanted_user, _, wanted = self.settings.auth.partition(":")
            allowed = password == wanted and wanted_user in ("*", user)
        else:
            allowed = not faults.refuses_connect("proxy407", user, now_s)
        if not allowed:
            self.log.note("connect", "", user, 407, "proxy407")
        return (200 if allowed else 407), user

    def answer(self, request: Request, egress: str) -> Response:
        is_first = self.responder.faults.first_s is None
        found = self.responder.answer(request, egress, self.loop.time())
        client = f"{request.client} {request.version}".strip()
        self.log.note(request.kind, request.video_id, egress, found.status, found.scenario, client)
        if is_first:
            # Not now: it may reset the very connection that this request came by.
            self.loop.call_soon(self.update_listening)
        return found


def _credentials(authorization: str) -> tuple[str, str]:
    """User and password of a Basic header, empty for anything else."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return user, password


def serve(settings: RehearsalSettings, ready: Callable[[Address], None], *, until_ends: int) -> None:
    """Serve until the descriptor `until_ends` reads end-of-file. `ready` is called once the server listens.

    Raises UsageError when it cannot start.
    """
    with contextlib.ExitStack() as stack:
        directory = settings.ca_dir
        if directory is None:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="engine-rehearsal-"))
        asyncio.run(_serve(settings, *authority(directory), ready, until_ends))


async def _serve(
    settings: RehearsalSettings,
    tls: ssl.SSLContext,
    ca_path: str,
    ready: Callable[[Address], None],
    until_ends: int,
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    server = Server(settings, tls, ca_path)
    try:
        loop.add_reader(until_ends, _stop_at_end, until_ends, stop)
        address = await server.open()
        # Objects that exist now stay, so the collector need not visit them again under load.
        gc.collect()
        gc.freeze()
        ready(address)
        await stop.wait()
    finally:
        loop.remove_reader(until_ends)
        server.close()


def _stop_at_end(descriptor: int, stop: asyncio.Event) -> None:
    try:
        data = os.read(descriptor, 4096)
    except OSError:
        data = b""
    if not data:
        stop.set()
