"""The stand-in as a server: what its connections ask of it, and control.

`Settings` says how; `serve` runs it in this process until it is told to stop; `start` in `engine.rehearsal`
runs it as a child process.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import json
import os
import signal
import ssl
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

from engine.errors import UsageError
from engine.rehearsal.certificates import authority
from engine.rehearsal.connection import Connection
from engine.rehearsal.listener import Listener
from engine.rehearsal.request import Request
from engine.rehearsal.request_log import Arrivals
from engine.rehearsal.responses import Answer, Stage
from engine.rehearsal.scenarios import Scene, parse_scene
from engine.rehearsal.settings import Address, Settings

__all__ = ["Address", "Settings", "serve"]

FLUSH_S = 0.2


class Server:
    """One stand-in inside one event loop. Raises UsageError when it cannot start."""

    def __init__(self, settings: Settings, tls: ssl.SSLContext, ca: str) -> None:
        self.settings = settings
        self.tls = tls
        self.loop = asyncio.get_running_loop()
        self.connections: set[Connection] = set()
        self._ca = ca
        self._stage = Stage(settings, [parse_scene(text) for text in settings.scenes])
        self._stage.prepare()
        self._arrivals = Arrivals(settings.arrivals)
        self._counts: Counter[str] = Counter()
        self._started_s = self.loop.time()
        self._listener = Listener(self.loop, settings.port, lambda: Connection(self))
        self._control: asyncio.Server | None = None
        self._gone_timer: asyncio.TimerHandle | None = None
        self._flush_timer: asyncio.TimerHandle | None = None

    async def open(self) -> Address:
        """Listen."""
        await self._listener.open()
        # A port of its own, so that control answers while the network is gone.
        self._control = await self.loop.create_server(
            lambda: Connection(self, control_only=True), "127.0.0.1", 0
        )
        self._flush()
        self._watch_gone()
        return Address(self._listener.port, self._control.sockets[0].getsockname()[1], self._ca)

    def close(self) -> None:
        """Stop listening, drop the connections, write out the arrivals."""
        for timer in (self._gone_timer, self._flush_timer):
            if timer is not None:
                timer.cancel()
        self._listener.close()
        if self._control is not None:
            self._control.close()
        for connection in list(self.connections):
            connection.close()
        self._arrivals.close()

    def _flush(self) -> None:
        self._arrivals.write()
        self._flush_timer = self.loop.call_later(FLUSH_S, self._flush)

    def _watch_gone(self) -> None:
        """Shut or open the door as the scenes `gone` for everybody say; look again when that may change."""
        if self._gone_timer is not None:
            self._gone_timer.cancel()
            self._gone_timer = None
        now_s = self.loop.time()
        gone = False
        changes_s = []
        for scene in self._stage.scenes:
            since_s = self._stage.first_s if scene.since_s is None else scene.since_s
            if scene.name != "gone" or scene.egress is not None or scene.share < 1 or since_s is None:
                continue
            gone = gone or scene.plays("", now_s, since_s)
            changes_s += [since_s + at_s for at_s in (scene.start_s, scene.end_s) if since_s + at_s > now_s]
        self._listener.let_in(not gone)
        if gone:
            for connection in list(self.connections):
                connection.reset()
        if changes_s and min(changes_s) < float("inf"):
            self._gone_timer = self.loop.call_at(min(changes_s) + 0.001, self._watch_gone)

    # --- what connections ask -----------------------------------------------------------------------------

    def opened(self, connection: Connection) -> None:
        self.connections.add(connection)
        self._counts["total"] += 1
        self._counts["peak"] = max(self._counts["peak"], len(self.connections))

    def closed(self, connection: Connection) -> None:
        self.connections.discard(connection)

    def shaken(self, resumed: bool) -> None:
        self._counts["tls"] += 1
        self._counts["tls_resumed"] += resumed

    def admit(self, authorization: str) -> tuple[int, str]:
        """The status for a CONNECT (0: reset it) and the egress it comes by."""
        user, password = _credentials(authorization)
        now_s = self.loop.time()
        if self._stage.refuses_connect("gone", user, now_s):
            self._arrivals.note("connect", "", user, 0, "gone")
            return 0, user
        if self.settings.auth is not None:
            wanted_user, _, wanted = self.settings.auth.partition(":")
            allowed = password == wanted and wanted_user in ("*", user)
        else:
            allowed = not self._stage.refuses_connect("proxy407", user, now_s)
        if not allowed:
            self._arrivals.note("connect", "", user, 407, "proxy407")
        return (200 if allowed else 407), user

    def answer(self, request: Request, egress: str) -> Answer:
        first = self._stage.first_s is None
        found = self._stage.answer(request, egress, self.loop.time())
        self._arrivals.note(request.kind, request.video_id, egress, found.status, found.scene)
        if first:
            # Later, for it may end the very connection that asks.
            self.loop.call_soon(self._watch_gone)
        return found

    def sent(self, egress: str, n: int) -> None:
        """So many bytes of a body went out."""
        self._arrivals.sent(egress, n)

    def other(self, target: str, egress: str, status: int) -> None:
        """A request that the stand-in has no answer for; its path stands where the id would."""
        self._arrivals.note("other", urlsplit(target).path[:60], egress, status, None)

    # --- control ------------------------------------------------------------------------------------------

    def control(self, method: str, target: str, body: bytes) -> tuple[int, dict[str, Any]]:
        """GET /__stats (?videos=1), GET /__log, POST /__scene {"scenes": [text], "replace": bool}."""
        parts = urlsplit(target)
        if method == "GET" and parts.path == "/__stats":
            found = self._stats()
            if "videos" in parse_qs(parts.query):
                found["videos"] = self._arrivals.by_video()
            return 200, found
        if method == "GET" and parts.path == "/__log":
            return 200, {"arrivals": list(self._arrivals.kept)}
        if method == "POST" and parts.path == "/__scene":
            return self._set_scenes(body)
        return 404, {"error": "there are GET /__stats, GET /__log and POST /__scene"}

    def _set_scenes(self, body: bytes) -> tuple[int, dict[str, Any]]:
        try:
            asked = json.loads(body)
            texts, anew = [str(text) for text in asked["scenes"]], bool(asked.get("replace", False))
        except (ValueError, KeyError, TypeError, AttributeError):
            return 400, {"error": 'send {"scenes": ["NAME[=SHARE][@FROM-TO][/EGRESS]"], "replace": false}'}
        try:
            added = [parse_scene(text) for text in texts]
        except UsageError as exc:
            return 400, {"error": str(exc)}
        now_s = self.loop.time()
        kept = [] if anew else self._stage.scenes
        self._stage.scenes = [*kept, *(_from_now(scene, now_s) for scene in added)]
        self._watch_gone()
        return 200, {"scenes": [str(scene) for scene in self._stage.scenes]}

    def _stats(self) -> dict[str, Any]:
        return {
            "requests": dict(self._arrivals.kinds),
            "statuses": dict(self._arrivals.statuses),
            "egresses": {name: dict(counts) for name, counts in self._arrivals.egresses.items()},
            "scenes_played": dict(self._stage.played),
            "blocked": self._stage.blocked,
            "connections": {
                "open": len(self.connections),
                "total": self._counts["total"],
                "peak": self._counts["peak"],
            },
            "tls_handshakes": self._counts["tls"],
            "tls_resumed": self._counts["tls_resumed"],
            "uptime_s": round(self.loop.time() - self._started_s, 3),
            "cpu_s": round(time.process_time(), 3),
            "scenes": [str(scene) for scene in self._stage.scenes],
        }


def _from_now(scene: Scene, now_s: float) -> Scene:
    return Scene(scene.name, scene.share, scene.start_s, scene.end_s, scene.egress, now_s)


def _credentials(authorization: str) -> tuple[str, str]:
    """User and password of a Basic header; empty ones for anything else."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return user, password


def serve(settings: Settings, ready: Callable[[Address], None], *, lifeline: int | None = None) -> None:
    """Serve until INT, TERM or HUP, or, with a `lifeline`, until that descriptor ends.

    `ready` is called once it listens. With a lifeline signals are left as the caller set them.
    Raises UsageError when it cannot start.
    """
    with contextlib.ExitStack() as stack:
        directory = settings.ca_dir
        if directory is None:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="engine-rehearsal-"))
        context, ca_path = authority(directory)
        asyncio.run(_serve(settings, context, ca_path, ready, lifeline))


async def _serve(
    settings: Settings,
    context: ssl.SSLContext,
    ca_path: str,
    ready: Callable[[Address], None],
    lifeline: int | None,
) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    server = Server(settings, context, ca_path)
    try:
        if lifeline is None:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, stop.set)
        else:
            loop.add_reader(lifeline, _read_lifeline, lifeline, stop)
        address = await server.open()
        # What exists now stays: the collector need not walk it again and again under load.
        gc.collect()
        gc.freeze()
        ready(address)
        await stop.wait()
    finally:
        if lifeline is not None:
            loop.remove_reader(lifeline)
        server.close()


def _read_lifeline(descriptor: int, stop: asyncio.Event) -> None:
    try:
        data = os.read(descriptor, 4096)
    except OSError:
        data = b""
    if not data:
        stop.set()
