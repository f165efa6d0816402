"""`python -m engine.rehearsal`: the rehearsal server as a child process, see `child_process`.

It reads its settings from stdin as one JSON line, so that a password in them shows in no process list. It prints one
JSON line when it listens, `{"port", "control_port", "ca"}` or `{"error"}`, and serves until stdin ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict

from engine.errors import UsageError
from engine.rehearsal.settings import Address, RehearsalSettings


def main() -> int:
    # A terminal sends them to the whole process group, but the run that started this server needs it until it has
    # drained. Then it closes stdin.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with open(0, "rb", buffering=0, closefd=False) as stdin:
        given = json.loads(stdin.readline() or b"{}")
    try:
        from engine.rehearsal.server import serve

        settings = RehearsalSettings(**{**given, "scenarios": tuple(given.get("scenarios", ()))})
        serve(settings, _print_address, until_ends=0)
    except UsageError as exc:
        print(json.dumps({"error": str(exc)}), flush=True)
        return int(exc.exit_code)
    return 0


def _print_address(address: Address) -> None:
    try:
        print(json.dumps(asdict(address)), flush=True)
    except BrokenPipeError:  # who started this server was killed meanwhile
        os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
