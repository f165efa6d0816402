"""The report as text: it says the night, fits the terminal, and nothing in it can steer one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from night_before import HOSTILE, a_night

from engine import report
from engine.output.terminal import columns
from engine.report.text import clock, zone

pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture
def night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> report.Report:
    monkeypatch.setenv("TZ", "UTC")
    import time

    time.tzset()
    return report.make(a_night(tmp_path / "a queue", left=3).root, price_per_gb=4)


def test_it_says_the_night(night: report.Report) -> None:
    said = " ".join("\n".join(report.words(night, 120)).split())
    for words in (
        "2,003: 1,800 with a transcript (89.9 %), 80 without one to fetch, 120 failed, 3 left",
        "40 private its owner keeps it private; nothing to be done",
        "4,000 requests, 80.0 MB, 0.32 at 4/GB; for 1,000 videos 2,000 requests, 40.0 MB, 0.16",
        "2 runs: worked 8 h 24 min, 30 min refused by YouTube on every egress, 6 min without a connection, "
        "1 h between",
        "30 min of it waiting",
        "2 worker processes died and came back (SIGKILL(-9) 2)",
        "02:00 the disk was nearly full: 900 MiB free",
        "21 Nov 23:00 a worker process died and was replaced, 2 times until 21 Nov 23:30",
    ):
        assert words in said, words


@pytest.mark.parametrize("width", [60, 80, 120])
def test_it_fits_and_commands_stay_whole(night: report.Report, width: int) -> None:
    lines = list(report.words(night, width))
    commands = [line for line in lines if line.startswith("  engine ")]
    assert [line.strip() for line in commands] == [next_command.line for next_command in night.following]
    assert all(columns(line) <= width for line in lines if line not in commands)


def test_nothing_steers_the_terminal(night: report.Report) -> None:
    worst = ({"name": HOSTILE, "state": "ok", "requests": 9, "blocked": 1, "blocked_share": 0.1},)
    item = replace(night, queue=HOSTILE, deaths={HOSTILE: 1}, worst=worst)
    lines = list(report.words(item))
    assert all(line.isprintable() for line in lines)


def test_days_are_named_when_they_are_not_today(night: report.Report) -> None:
    now = 1_795_320_000.0  # 2026-11-22T04:00:00Z
    assert clock(now - 60, now=now) == "03:59"
    assert clock(now - 5, now=now, fine=True) == "03:59:55"
    assert clock(now - 86_400, now=now) == "21 Nov 04:00"
    assert clock(now - 400 * 86_400, now=now).startswith("2025 ")
    assert zone(now) == "UTC"


def test_it_says_how_far_sources_are_listed(night: report.Report) -> None:
    assert "sources" not in {line.split(" ")[0] for line in report.words(night)}
    listings = {"open": 1, "done": 2, "failed": 1, "found": 1234}
    said = list(report.words(replace(night, status={**night.status, "listings": listings}), 120))
    assert "sources   2 listed, 1 that could not be listed, 1 still to list, 1,234 videos found" in said
