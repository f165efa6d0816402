"""Many egresses in few lines: which are closed for long, and the worst of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from engine.budget import EgressView
from engine.cli.display.closings import AGAIN_S, NAMED, Closings, waiting
from engine.cli.display.status_panel import panel
from engine.monitor.status import collect
from engine.page.pages import render


def closing(number: int, wait_s: float = 600.0, what: str = "block") -> dict[str, Any]:
    return {"at": "2026-11-26T03:00:00Z", "event": what, "egress": f"p{number:03}", "wait_s": wait_s}


def test_a_few_are_told_by_name_and_many_once_a_minute() -> None:
    closings = Closings()
    assert [closings.holds(closing(n), 0.1 * n) for n in range(100)] == [False] * NAMED + [True] * 97
    assert closings.summary(10.0) is None
    said = closings.summary(AGAIN_S + 1)
    assert said is not None
    assert "97 more egresses closed (block 97); the longest: p003, for 10 min" in said
    assert closings.summary(AGAIN_S + 2) is None
    assert closings.holds(closing(1), 3 * AGAIN_S) is False


def test_at_the_end_nothing_is_kept() -> None:
    closings = Closings()
    for n in range(NAMED + 2):
        closings.holds(closing(n, 60.0 + n, "network_lost" if n % 2 else "block"), 0.0)
    said = closings.summary(0.0, at_end=True)
    assert said is not None
    assert "2 more egresses closed (network_lost 1, block 1); the longest: p004" in said


def view(number: int, state: str, open_in_s: float) -> EgressView:
    return EgressView(f"p{number:03}", state, 0.5, open_in_s, 10, 1, 20, 4000, False)


@pytest.mark.parametrize(
    ("closed", "lines", "begins"),
    [
        (0, 0, ""),
        (1, 1, "p000 is blocked; tried again in 2 min, at "),
        (NAMED, NAMED, "p000 is blocked"),
        (50, 1, "50 of 1,000 egresses are closed (blocked 50); the first is tried again in 2 min, at "),
    ],
)
def test_who_is_still_closed_at_the_start(closed: int, lines: int, begins: str) -> None:
    views = [
        view(n, "blocked" if n < closed else "ok", 120.0 + n if n < closed else 0.0) for n in range(1000)
    ]
    said = list(waiting(views, 60.0, 0.0))
    assert len(said) == lines
    assert "".join(said[:1]).startswith(begins)


def thousand(tmp_path: Path) -> dict[str, Any]:
    value = collect(str(tmp_path / "none"))
    value["state"] = "running"
    for number in range(1000):
        state = "blocked" if number % 20 == 0 else "unreachable" if number % 20 == 1 else "ok"
        value["egresses"].append(
            {
                "name": f"p{number:04} h:1",
                "state": state,
                "rate_per_s": 0.5,
                "open_in_s": 0.0 if state == "ok" else 60.0 + number,
                "ok": 10,
                "blocked": 0,
                "requests": 20,
                "bytes": 4000,
            }
        )
    return value


def test_the_live_view_of_a_thousand_sums_up_and_names_the_worst(tmp_path: Path) -> None:
    out = io.StringIO()
    Console(width=100, file=out).print(panel(thousand(tmp_path), "q", width=100, height=24))
    text = out.getvalue()
    assert len(text.splitlines()) <= 24
    assert "of all 1,000: ok 900, blocked 50, unreachable 50" in text
    assert text.index("p0981") < text.index("p0980") < text.index("p0961")


def test_the_page_of_a_thousand_lists_those_in_trouble(tmp_path: Path) -> None:
    text = render("egresses.html", status={"egresses": thousand(tmp_path)["egresses"]})
    assert "1,000 in all: 50 blocked, 900 ok, 50 unreachable" in text
    assert text.count("<tr>") == 21
    assert ">ok</td>" not in text
