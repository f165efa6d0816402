"""`python -m engine.rehearsal`: the rehearsal server alone, usually as a child process."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from dataclasses import asdict, fields
from typing import Any

from engine.errors import UsageError
from engine.rehearsal.scenarios import SCENARIOS
from engine.rehearsal.settings import Address, RehearsalSettings


def main() -> int:
    """Print one JSON line when it is ready, `{"port", "control_port", "ca"}` or `{"error"}`, and serve."""
    parser = argparse.ArgumentParser(
        prog="python -m engine.rehearsal",
        description="A proxy on 127.0.0.1 that answers as YouTube.",
        epilog="scenes: " + "; ".join(f"{name}: {entry.text}" for name, entry in SCENARIOS.items()),
    )
    defaults = RehearsalSettings()
    parser.add_argument("--port", type=int, default=defaults.port)
    parser.add_argument("--latency", dest="latency_s", type=float, default=defaults.latency_s, metavar="S")
    parser.add_argument(
        "--scene", dest="scenarios", action="append", default=[], metavar="NAME[=SHARE][@FROM-TO]"
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
    parser.add_argument("--ca-dir", metavar="DIR", help="keep the certificate authority there")
    parser.add_argument(
        "--until-stdin-ends",
        action="store_true",
        help="read settings from stdin as one JSON line, end when stdin ends, ignore INT, TERM and HUP",
    )
    options = vars(parser.parse_args())
    is_child = options.pop("until_stdin_ends")
    if is_child:
        # A terminal sends them to the whole process group, but the run that started this server needs it until it has
        # drained. Then it closes stdin.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    options["scenarios"] = tuple(options["scenarios"])
    settings = RehearsalSettings(**options)
    try:
        if is_child:
            settings = RehearsalSettings(**{**options, **_from_stdin()})
        # Imported here because --help does not need it.
        from engine.rehearsal.server import serve

        serve(settings, _print_address, until_ends=sys.stdin.fileno() if is_child else None)
    except UsageError as exc:
        print(json.dumps({"error": str(exc)}), flush=True)
        return int(exc.exit_code)
    return 0


def _print_address(address: Address) -> None:
    print(json.dumps(asdict(address)), flush=True)


def _from_stdin() -> dict[str, Any]:
    """Settings as one JSON line. Unlike arguments, a password in it does not show in process lists."""
    line = sys.stdin.buffer.raw.readline() if hasattr(sys.stdin.buffer, "raw") else b""
    try:
        given = json.loads(line or b"{}")
        known = {field.name for field in fields(RehearsalSettings)}
        if not isinstance(given, dict) or set(given) - known:
            raise ValueError
    except ValueError:
        raise UsageError("The line on stdin is not a JSON object of settings.") from None
    if "scenarios" in given:
        given["scenarios"] = tuple(given["scenarios"])
    return given


if __name__ == "__main__":
    sys.exit(main())
