"""The control requests of a rehearsal server: statistics, the log, and other scenarios."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from engine.errors import UsageError
from engine.rehearsal.scenarios import parse_scenario

if TYPE_CHECKING:
    from engine.rehearsal.server import Server


def handle(server: Server, method: str, target: str, body: bytes) -> tuple[int, dict[str, Any]]:
    """GET /__stats (?videos=1), GET /__log, POST /__scene {"scenes": [text], "replace": bool}."""
    parts = urlsplit(target)
    if method == "GET" and parts.path == "/__stats":
        found = _stats(server)
        if "videos" in parse_qs(parts.query):
            found["videos"] = server.log.by_video()
        return 200, found
    if method == "GET" and parts.path == "/__log":
        return 200, {"arrivals": list(server.log.kept)}
    if method == "POST" and parts.path == "/__scene":
        return _set_scenarios(server, body)
    return 404, {"error": "there are GET /__stats, GET /__log and POST /__scene"}


def _set_scenarios(server: Server, body: bytes) -> tuple[int, dict[str, Any]]:
    try:
        request = json.loads(body)
        texts, replaces = [str(text) for text in request["scenes"]], bool(request.get("replace", False))
    except (ValueError, KeyError, TypeError, AttributeError):
        return 400, {
            "error": 'send {"scenes": ["NAME[:CLIENT][=SHARE][@FROM-TO][#FROM-TO][/EGRESS]"], "replace": false}'
        }
    now_s = server.loop.time()
    try:
        added = [replace(parse_scenario(text), since_s=now_s) for text in texts]
    except UsageError as exc:
        return 400, {"error": str(exc)}
    faults = server.responder.faults
    faults.scenarios = [*([] if replaces else faults.scenarios), *added]
    server.update_listening()
    return 200, {"scenes": [str(scenario) for scenario in faults.scenarios]}


def _stats(server: Server) -> dict[str, Any]:
    return {
        "requests": dict(server.log.kinds),
        "statuses": dict(server.log.statuses),
        "clients": dict(server.log.clients),
        "egresses": {name: dict(counts) for name, counts in server.log.egresses.items()},
        "scenes_played": dict(server.responder.played),
        "blocked": server.responder.blocked,
        "connections": {
            "open": len(server.connections),
            "total": server.counts["total"],
            "peak": server.counts["peak"],
        },
        "tls_handshakes": server.counts["tls"],
        "tls_resumed": server.counts["tls_resumed"],
        "uptime_s": round(server.loop.time() - server.started_s, 3),
        "cpu_s": round(time.process_time(), 3),
        "scenes": [str(scenario) for scenario in server.responder.faults.scenarios],
    }
