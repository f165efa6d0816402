"""What moves on the page of a fleet: parts of its HTML, made of the ledger alone.

All browsers share one reading. The next one is made when somebody looks, and not before the last one is some seconds
old; where a ledger is slow to read, later. Nothing is written.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from engine.errors import EngineError
from engine.fleet.ledger import Ledger
from engine.fleet.outlook import Outlook
from engine.fleet.own_proxies import SHARED_ADVICE
from engine.fleet.protocol import Watched
from engine.fleet.timing import Timing
from engine.page.views import render
from engine.storage.timestamps import utc

READ_S = 5.0
_REST = 10  # a reading is followed by so many times its own length without one
SHOWN = 50  # rows of a table
PARTS = ("summary", "facts", "warnings", "machines", "groups", "shares")


class FleetView:
    """Reads a ledger for all browsers; its method may be called from any thread."""

    def __init__(self, where: str) -> None:
        timing = replace(
            Timing.chosen(), beat_s=0.0
        )  # a ledger that does not answer is asked again by the next look
        self._outlook = Outlook(Ledger(where, timing=timing))
        self._lease_s = timing.lease_s
        self._lock = threading.Lock()
        self._parts: dict[str, str] = {}
        self._controls: dict[str, Any] = {"title": where, "state": "unknown"}
        self._where = where
        self._next_s = 0.0
        self._leases: dict[tuple[int, int], Watched] = {}

    def __call__(self) -> tuple[dict[str, str], dict[str, Any]]:
        """(parts of HTML by their names, what the script needs): while another thread reads, those of before."""
        if self._lock.acquire(blocking=not self._parts):
            try:
                if time.monotonic() >= self._next_s:
                    self._read()
            finally:
                self._lock.release()
        return self._parts, self._controls

    def _read(self) -> None:
        began_s = time.monotonic()
        try:
            value = self._outlook.collect()
        except EngineError as exc:
            trouble = render("fleet_trouble.html", lines=exc.lines, at=utc())
            self._parts = {**dict.fromkeys(PARTS, ""), **self._parts, "trouble": trouble}
        else:
            self._parts = {**self._rendered(value), "trouble": ""}
            self._controls = {"title": f"{self._where}: {value['state']}", "state": value["state"]}
        took_s = time.monotonic() - began_s
        self._next_s = time.monotonic() + max(READ_S, _REST * took_s)

    def _rendered(self, value: Mapping[str, Any]) -> dict[str, str]:
        machines = [{**each, "state": "at work"} for each in value["machines"]]
        machines += [{**each, "state": "silent"} for each in value["silent_machines"]]
        machines.sort(key=lambda each: (each["state"] != "silent", each["machine"]))
        shares = sorted(value["at_work"], key=lambda each: (each["state"] == "at work", each["key"]))
        leases = [{**each, "state": self._lease_state(each)} for each in value["groups"]["leases"]]
        values = {
            "fleet": value,
            "where": self._where,
            "final": value["ok"] + value["absent"] + value["failed"],
            "machines": machines,
            "shares": shares,
            "leases": leases,
            "advice": SHARED_ADVICE,
            "shown": SHOWN,
        }
        return {name: render(f"fleet_{name}.html", **values) for name in PARTS}

    def _lease_state(self, held: Mapping[str, Any]) -> str:
        """Whether a lease is being renewed, as far as this page has watched it. Clocks are not compared."""
        watched = self._leases.setdefault((held["group"], held["lease"]), Watched(time.monotonic))
        silent_s = watched.unchanged_s(held["renewals"])
        return "not renewed" if silent_s > self._lease_s else "in use"
