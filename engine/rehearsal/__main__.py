"""`python -m engine.rehearsal`: the stand-in alone, mostly as the child process of a rehearsal."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from dataclasses import asdict, fields
from typing import Any

from engine.errors import UsageError
from engine.rehearsal.scenarios import SCENES
from engine.rehearsal.settings import Address, Settings


def main() -> int:
    """Print one JSON line when it is ready, `{"port", "control_port", "ca"}` or `{"error"}`, and serve."""
    parser = argparse.ArgumentParser(
        prog="python -m engine.rehearsal",
        description="A stand-in for YouTube behind a forward proxy on 127.0.0.1.",
        epilog="scenes: " + "; ".join(f"{name}: {entry.text}" for name, entry in SCENES.items()),
    )
    defaults = Settings()
    parser.add_argument("--port", type=int, default=defaults.port)
    parser.add_argument("--latency", dest="latency_s", type=float, default=defaults.latency_s, metavar="S")
    parser.add_argument(
        "--scene", dest="scenes", action="append", default=[], metavar="NAME[=SHARE][@FROM-TO]"
    )
    parser.add_argument("--limit-rate", type=float, metavar="R", help="requests per second and egress")
    parser.add_argument("--limit-burst", type=float, default=defaults.limit_burst)
    parser.add_argument(
        "--limit-block", dest="limit_block_s", type=float, default=defaults.limit_block_s, metavar="S"
    )
    parser.add_argument("--seed", type=int, default=defaults.seed)
    parser.add_argument("--arrivals", metavar="FILE", help="one JSON line for each request")
    parser.add_argument("--real-sizes", action="store_true", help="bodies as big as the site's own")
    parser.add_argument("--auth", metavar="USER:PASSWORD", help="user * takes any user")
    parser.add_argument("--ca-dir", metavar="DIR", help="keep the authority there")
    parser.add_argument(
        "--lifeline",
        action="store_true",
        help="read settings from stdin as one JSON line, end when stdin ends, ignore INT, TERM and HUP",
    )
    options = vars(parser.parse_args())
    lifeline = options.pop("lifeline")
    if lifeline:
        # They go to the whole group of a terminal, and the run that started this needs its site until it has
        # drained; then it lets go of the lifeline.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    options["scenes"] = tuple(options["scenes"])
    settings = Settings(**options)
    try:
        if lifeline:
            settings = Settings(**{**options, **_from_stdin()})
        # Imported late: --help needs none of it.
        from engine.rehearsal.server import serve

        serve(settings, _say, lifeline=sys.stdin.fileno() if lifeline else None)
    except UsageError as exc:
        print(json.dumps({"error": str(exc)}), flush=True)
        return int(exc.exit_code)
    return 0


def _say(address: Address) -> None:
    print(json.dumps(asdict(address)), flush=True)


def _from_stdin() -> dict[str, Any]:
    """Settings as one JSON line: a password given there shows in no process list."""
    line = sys.stdin.buffer.raw.readline() if hasattr(sys.stdin.buffer, "raw") else b""
    try:
        given = json.loads(line or b"{}")
        known = {field.name for field in fields(Settings)}
        if not isinstance(given, dict) or set(given) - known:
            raise ValueError
    except ValueError:
        raise UsageError("The line on stdin is not a JSON object of settings.") from None
    if "scenes" in given:
        given["scenes"] = tuple(given["scenes"])
    return given


if __name__ == "__main__":
    sys.exit(main())
