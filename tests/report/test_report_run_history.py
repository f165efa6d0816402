"""Events to a history: when a run worked, when it could use no egress, and what is notable."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from night_before import EVENING, event

from engine.report.run_history import MAX_NAMES, RunHistory, parse
from engine.report.timeline import Span

A, B = "p001 a:1", "p002 b:1"


def history(*events: Any, egresses: int = 1, seen_until: float = 0.0) -> RunHistory:
    lines = [data if isinstance(data, bytes) else json.dumps(data).encode() for data in events]
    return parse(lines, egresses=egresses, seen_until=seen_until, now=EVENING + 86_400)


def at(name: str, after: float, **more: Any) -> dict[str, Any]:
    return event(EVENING + after, name, more.pop("reason", ""), **more)


def spans(run_history: RunHistory) -> list[tuple[float, float, str]]:
    return [(round(s.since - EVENING, 3), round(s.until - EVENING, 3), s.why) for s in run_history.closed]


def test_one_egress_blocked_probed_blocked_and_back() -> None:
    run_history = history(
        at("start", 0, egresses=1), at("block", 10, egress=A), at("probe", 20, egress=A), at("block", 21, egress=A),
        at("probe", 40, egress=A), at("resume", 42, egress=A), at("stop", 100, exit_code=0),
    )  # fmt: skip
    assert spans(run_history) == [(10, 42, "blocked")]
    assert [(run.since - EVENING, run.until - EVENING, run.exit_code) for run in run_history.runs] == [
        (0, 100, 0)
    ]


def test_only_while_every_egress_is_closed() -> None:
    run_history = history(
        at("start", 0, egresses=2), at("block", 10, egress=A), at("network_lost", 20, egress=B),
        at("resume", 30, egress=A), at("network_back", 40, egress=B), at("stop", 50, exit_code=0),
    )  # fmt: skip
    assert spans(run_history) == [(20, 30, "blocked")]


def test_from_blocked_to_offline() -> None:
    run_history = history(
        at("start", 0, egresses=1), at("block", 10, egress=A), at("network_lost", 20, egress=A),
        at("network_back", 30, egress=A), at("stop", 50, exit_code=0),
    )  # fmt: skip
    assert spans(run_history) == [(10, 20, "blocked"), (20, 30, "offline")]


def test_a_start_that_does_not_say_how_many_egresses_takes_what_is_known() -> None:
    night = [
        at("start", 0),
        at("block", 10, egress=A),
        at("resume", 30, egress=A),
        at("stop", 50, exit_code=0),
    ]
    assert spans(history(*night, egresses=1)) == [(10, 30, "blocked")]
    assert spans(history(*night, egresses=2)) == []
    assert spans(history(*night, egresses=0)) == [(10, 30, "blocked")]


def test_a_killed_run_ends_with_the_last_that_was_heard() -> None:
    run_history = history(
        at("start", 0, egresses=1),
        at("block", 10, egress=A),
        at("start", 100, egresses=1),
        seen_until=EVENING + 160,
    )
    assert [(run.since - EVENING, run.until - EVENING, run.exit_code) for run in run_history.runs] == [
        (0, 10, None),
        (100, 160, None),
    ]
    assert spans(run_history) == [(10, 10, "blocked")]  # nobody knows how long


def test_a_run_that_is_blocked_right_now() -> None:
    run_history = history(at("start", 0, egresses=1), at("block", 10, egress=A), seen_until=EVENING + 70)
    assert spans(run_history) == [(10, 70, "blocked")]


def test_what_is_worth_telling() -> None:
    run_history = history(
        at("start", 0), at("slot_died", 1, reason="{SIGKILL(-9)}"), at("slot_died", 2, reason="{SIGKILL(-9)}"),
        at("slot_died", 3, reason="{EXIT(1)}"), at("monitor_died", 4, reason="x"),
        at("disk_low", 5, reason="1 MiB free"),
        at("disk_low", 9, reason="2 MiB free"), at("stop", 10, exit_code=0),
    )  # fmt: skip
    assert run_history.deaths == {"{SIGKILL(-9)}": 2, "{EXIT(1)}": 1}
    assert run_history.monitor_deaths == 1
    disk = run_history.notable["disk_low"]
    assert (disk.count, disk.first, disk.last, disk.reason) == (2, EVENING + 5, EVENING + 9, "2 MiB free")
    assert set(run_history.notable) == {"slot_died", "monitor_died", "disk_low"}


@pytest.mark.parametrize(
    "line",
    [b"", b"\xff", b"[]", b"{}", b'{"at": 5}', b'{"at": "2099-01-01T00:00:00Z", "event": "start"}', b"[" * 90_000,
     b'{"at": "2026-11-21T18:00:00Z", "x": "' + b"x" * 70_000 + b'"}'],
)  # fmt: skip
def test_damaged_lines_are_counted_and_passed_over(line: bytes) -> None:
    run_history = history(at("start", 0), line, at("stop", 5, exit_code=4, reason="why"))
    assert (run_history.bad_lines, len(run_history.runs), run_history.runs[0].exit_code) == (1, 1, 4)


def test_odd_events_cannot_fill_the_memory() -> None:
    run_history = history(
        *(at(f"odd{number}", number, reason=str(number)) for number in range(500)),
        *(at("slot_died", 500 + number, reason=str(number)) for number in range(3000)),
        *(at("block", 4000 + number, egress=str(number)) for number in range(5000)),
    )
    assert len(run_history.notable) <= MAX_NAMES
    assert len(run_history.deaths) <= MAX_NAMES + 1
    assert len(run_history.died_at) <= 1000
    assert sum(run_history.deaths.values()) == 3000


names = st.sampled_from(
    ["start", "stop", "block", "probe", "resume", "network_lost", "network_back", "egress_retired", "odd"]
)
value = st.one_of(st.none(), st.integers(-5, 5), st.text(max_size=3), st.sampled_from([A, B]))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(names, st.floats(0, 5000), value, value, value), max_size=40))
def test_any_events_in_any_order_make_a_night(events: list[tuple[str, float, Any, Any, Any]]) -> None:
    run_history = history(
        *({**at(name, t), "egress": e, "egresses": n, "exit_code": c} for name, t, e, n, c in events),
        seen_until=EVENING + 6000,
    )
    assert len(run_history.runs) == sum(name == "start" for name, *_ in events)
    assert all(run.until >= run.since for run in run_history.runs)
    assert all(isinstance(span, Span) and span.length_s >= 0 for span in run_history.closed)
