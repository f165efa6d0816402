"""What the status of a fleet says of each state a ledger can be in, and of beats that are damaged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from engine.fleet import names
from engine.fleet.ledger import Fleet, Generation, Ledger
from engine.fleet.names import PartName, ShareKey
from engine.fleet.outlook import Outlook, exit_code
from engine.fleet.protocol import to_bytes
from engine.fleet.sums import write_summary
from engine.page.fleet_view import FleetView

DEAD_S = 1000.0
PART = {"rows": 7, "counts": {"ok": 6, "failed": 1}, "kinds": {"network": 1}, "requests": 14, "bytes": 99}
DONE = {"parts": [{**PART, "name": "001.0001", "rows_size": 1, "size": 2, "sha256": "x"}], "jobs": 7}


def beat(machine: object, age_s: float = 0.0, **more: Any) -> dict[str, Any]:
    at = (datetime.now(UTC) - timedelta(seconds=age_s)).isoformat()
    return {"machine": machine, "at_now": at, "counts": {"ok": 2}, "rate_per_s": 0.5, "brought": 2, **more}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Nine shares of seven jobs: done, two at work, silent, left, set aside, nearly so, damaged, not begun."""
    there = Ledger(str(tmp_path / "ledger"))
    there.make(Fleet("f" * 32, 9, {}, groups=(("a",), ("b",), ("c",))))
    there.publish(Generation(1, "0" * 16, "plan", dict.fromkeys(range(9), 7)))
    files: dict[str, Any] = {names.done(ShareKey(0)): DONE}
    beats = {
        1: beat("one", limited_by="rate", group=0, egresses=["p", "q"]),
        2: beat("two", 5.0, egresses=["q", "p", "r"]),
        3: beat("three", DEAD_S, egresses=["p"]),
        4: beat("four"),
        5: beat("five", DEAD_S),
        6: beat("six"),
        7: {
            "counts": {"ok": "many"},
            "kinds": 3,
            "rate_per_s": [],
            "machine": {},
            "egresses": 1,
            "brought": None,
        },
    }
    for number, value in beats.items():
        key = ShareKey(number)
        for hold in range(1, 6 if number in (5, 6) else 2):
            files[names.hold(key, hold)] = {"machine": value["machine"]}
        files[names.beat(key)] = {"hold": 1, **value}
    files[names.left(ShareKey(4), 1)] = {}
    files[PartName(5, 1).path(ShareKey(6))] = {}  # its last hold brought something
    files[names.group_lease(0, 1)] = files[names.group_left(0, 1)] = {"machine": "old"}
    files[names.group_lease(0, 2)] = {"machine": "one"}
    files[names.group_beat(0)] = {"machine": "one", "lease": 2, "renewal": 4}
    files[names.group_lease(1, 1)] = files[names.group_left(1, 1)] = {"machine": "two"}
    files[names.group_lease(2, 1)] = {"machine": 5}
    for name, content in files.items():
        there.put(name, to_bytes(content))
    return there


def test_shares_by_state(ledger: Ledger) -> None:
    value = Outlook(ledger).collect()
    assert value["shares"] == {
        "total": 9, "done": 1, "at_work": 4, "silent": 1, "set_aside": 1, "left": 1, "waiting": 1,
    }  # fmt: skip
    assert {each["key"]: each["state"] for each in value["at_work"]} == {
        "00001": "at work", "00002": "at work", "00003": "silent", "00005": "set aside", "00006": "at work",
        "00007": "at work",
    }  # fmt: skip
    assert (value["state"], value["jobs"], value["ok"], value["failed"]) == ("running", 63, 6 + 6 * 2, 1)
    assert (value["rate_per_s"], value["pending"], value["kinds"]) == (1.5, 63 - 19, {"network": 1})
    assert exit_code(value) == 20


def test_machines_groups_and_shared_proxies(ledger: Ledger) -> None:
    value = Outlook(ledger).collect()
    assert [(each["machine"], each["shares"], each["group"]) for each in value["machines"]] == [
        ("one", 1, 0), ("six", 1, None), ("two", 1, None),
    ]  # fmt: skip
    assert value["machines"][0]["limited_by"] == "rate" and value["machines"][2]["silent_s"] >= 5
    assert [each["machine"] for each in value["silent_machines"]] == ["three"]
    assert value["shared_proxies"] == [{"machines": ["one", "two"], "proxies": 2}]  # the silent one is dead
    assert value["groups"] == {
        "total": 3,
        "held": 2,
        "leases": [
            {"group": 0, "machine": "one", "lease": 2, "renewals": 4},
            {"group": 2, "machine": None, "lease": 1, "renewals": 0},
        ],
    }


def test_what_is_done_is_read_once(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    look, read = Outlook(ledger), list[ShareKey]()
    all_done = Ledger.all_done
    monkeypatch.setattr(Ledger, "all_done", lambda self, keys: all_done(self, read.extend(keys) or read[:]))
    first = look.collect()
    assert (first["not_in_summary"], read) == (1, [ShareKey(0)])
    read.clear()
    assert (look.collect()["not_in_summary"], read) == (0, [])
    write_summary(ledger)
    read.clear()
    again = Outlook(ledger).collect()
    assert (again["not_in_summary"], again["ok"], read) == (0, first["ok"], [])


def test_the_page_shows_all_of_it(ledger: Ledger) -> None:
    parts, controls = FleetView(ledger.where)()
    assert controls["state"] == "running" and "at work" in parts["shares"]
    assert "one and two use the same 2 proxies" in parts["warnings"] and "--set-aside" in parts["warnings"]
    for unwanted in ("<script", "many", "{}"):
        assert unwanted not in "".join(parts.values())
