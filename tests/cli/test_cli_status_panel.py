"""How a status looks: at any width, without colours when they are not wanted, whatever names hold."""

from __future__ import annotations

import io
import re
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from engine.cli.display.live_progress import line
from engine.cli.display.phrases import at, eta, limit, missing_rows, served_words, wait_words
from engine.cli.display.status_panel import STATE_STYLE, panel, show
from engine.monitor import status
from engine.units import duration, size

ODD = "p001 \x1b]0;owned\x07\x1b[2Jho\u202est\n:1"
COLOUR = re.compile(r"\x1b\[[0-9;]*(?:3[0-7]|4[0-7]|9[0-7]|38|48)[0-9;]*m")


def egress(name: str = "p001 host:1", state: str = "ok") -> dict[str, Any]:
    return {
        "name": name,
        "state": state,
        "rate_per_s": None if state == "retired" else 0.5,
        "open_in_s": 70.0 if state == "blocked" else 0.0,
        "ok": 12345,
        "blocked": 3,
        "requests": 1234567,
        "bytes": 9876543210,
    }


def value(**changes: Any) -> dict[str, Any]:
    return {
        **status.empty(),
        "state": "running",
        "total": 20000,
        "pending": 15000,
        "in_flight": 16,
        "deferred": 984,
        "ok": 3900,
        "absent": 80,
        "failed": 20,
        "kinds": {"private": 80, "timeout": 20},
        "rate_per_s": {"1m": 0.25, "15m": 0.2},
        "eta_s": {"low": 64000.0, "high": 80000.0},
        "limited_by": "rate",
        "egresses": [egress(), egress(ODD, "blocked"), egress("p003 [::1]:8080", "retired")],
        "requests": 8123,
        "bytes": 123456789,
        **changes,
    }


def drawn(found: dict[str, Any], width: int, root: str = "queue_dir", **options: Any) -> str:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False, **options).print(panel(found, root))
    return out.getvalue()


@pytest.mark.parametrize("width", [40, 41, 50, 64, 79, 80, 81, 100, 132, 160, 200])
@pytest.mark.parametrize("state", sorted(STATE_STYLE))
def test_any_width(width: int, state: str) -> None:
    text = drawn(value(state=state), width)
    assert max(map(len, text.splitlines())) <= width
    assert state in text
    for number in (
        "4,000",
        "20,000",
        "20.0",
    ):  # some of it may be cut where it is narrow, never how far it is
        assert number in text


def test_at_eighty_columns_nothing_is_cut() -> None:
    text = drawn(value(), 80)
    for word in (
        "3,900",
        "984",
        "15,000",
        "why not: private 80, timeout 20",
        "8,123 requests, 123 MB",
        "17 h 47 min",
    ):
        assert word in " ".join(text.split()), word
    assert "…" not in text


@pytest.mark.parametrize("width", [40, 80, 200])
def test_odd_names_steer_nothing(width: int) -> None:
    text = drawn(value(), width, root="q\x1b[31m\x07\u202e/dir")
    assert not set(text) & set("\x1b\x07\u202e\x9b")
    assert "owned" not in text


def test_markup_in_names_is_only_text() -> None:
    assert "[bold]" in drawn(value(egresses=[egress("[bold]x[/nonsense]")]), 120)
    assert "[fe80::1]:80" in drawn(value(egresses=[egress("p001 [fe80::1]:80")]), 120)
    assert "[/]" in drawn(value(), 80, root="[/]")


def test_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    assert COLOUR.search(drawn(value(), 80, force_terminal=True))
    monkeypatch.setenv("NO_COLOR", "1")
    assert not COLOUR.search(drawn(value(), 80, force_terminal=True))


def test_no_escape_leaves_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show(value(), "queue_dir")
    out = capsys.readouterr().out
    assert "running" in out
    assert "\x1b" not in out


def test_many_egresses_are_counted() -> None:
    text = drawn(value(egresses=[egress(f"p{n:03d} host:1") for n in range(500)]), 120)
    assert "and 488 more" in text
    assert len(text.splitlines()) < 40


def test_an_empty_place() -> None:
    assert "0 of 0 final" in drawn(status.empty(), 80)


counts = st.integers(0, 10**10)


@settings(deadline=None, max_examples=40)
@given(counts, counts, counts, st.integers(40, 200), st.text(max_size=30), st.floats(0, 1e9))
def test_any_numbers_and_names(
    ok: int, failed: int, pending: int, width: int, name: str, left: float
) -> None:
    found = value(
        ok=ok,
        failed=failed,
        pending=pending,
        total=ok + failed + pending + 80 + 984 + 16,
        eta_s={"low": left / 3, "high": left},
        egresses=[egress(name, "blocked")],
    )
    text = drawn(found, width, root=name)
    assert "\x1b" not in text
    Console(file=io.StringIO(), width=width, force_terminal=True).print(panel(found, name))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (42.4, "42 s"),
        (59.4, "59 s"),
        (59.9, "1 min"),
        (60, "1 min"),
        (3540, "59 min"),
        (3599, "1 h"),
        (3600, "1 h"),
        (80000, "22 h 13 min"),
        (48 * 3600, "2 d"),
        (98 * 3600, "4 d 2 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@given(st.floats(0, 1e9))
def test_no_duration_has_sixty_of_anything(seconds: float) -> None:
    words = duration(seconds).split()
    most = {"s": 60, "min": 60, "h": 48, "d": 10**9}
    for number, unit in zip(words[::2], words[1::2], strict=True):
        assert int(number) < most[unit], duration(seconds)


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(0, 0, "0 s"), (0.1, 0.3, "1 s"), (1, 4, "4 s"), (100, 105, "2 min"), (600, 1200, "10 min to 20 min")],
)
def test_the_time_left(low: float, high: float, text: str) -> None:
    assert eta({"low": low, "high": high}) == text
    assert eta(None) == "unknown"


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (123_456, "123 KB"),
        (9_876_543_210, "9.9 GB"),
        (10**16, "10000 TB"),
    ],
)
def test_sizes(n: int, text: str) -> None:
    assert size(n) == text


def closed(state: str = "blocked", open_in_s: float = 70.0) -> dict[str, Any]:
    return {**egress(state=state), "open_in_s": open_in_s}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"limited_by": "rate", "egresses": [egress()]}, "limited by the rate, 0.5/s"),
        ({"limited_by": "rate", "egresses": [egress()] * 3}, "limited by the rate, 1.5/s on 3 egresses"),
        (
            {"limited_by": "rate", "egresses": [egress(), closed(), egress(state="retired")]},
            "limited by the rate, 0.5/s; 1 of 2 egresses rest",
        ),
        ({"limited_by": "blocks", "egresses": [closed()]}, "waiting: blocked, next try in 1 min"),
        ({"limited_by": "blocks", "egresses": [closed(open_in_s=0.4)]}, "waiting: blocked, trying"),
        (
            {"limited_by": "network", "egresses": [closed("network")]},
            "waiting: no connection through p001 host:1, next try in 1 min",
        ),
        (
            {"limited_by": "network", "egresses": [{**closed("network"), "cause": "it is not trusted"}]},
            "waiting: no connection through p001 host:1, next try in 1 min (it is not trusted)",
        ),
        (
            {"limited_by": "network", "egresses": [{**closed("network"), "name": "direct"}]},
            "waiting: no connection to YouTube, next try in 1 min",
        ),
        (
            {"limited_by": "network", "egresses": [closed("network"), closed("unreachable")]},
            "waiting: no connection by any of 2 egresses, next try in 1 min",
        ),
        (
            {"limited_by": "blocks", "egresses": [closed(), closed("network"), closed("network")]},
            "waiting: 1 blocked, 2 without a connection, next try in 1 min",
        ),
        ({"limited_by": "workers", "egresses": [egress()]}, "limited by workers: every thread is busy"),
        ({"limited_by": "nothing", "egresses": [egress()]}, ""),
        ({"state": "paused", "limited_by": "nothing"}, "paused: `engine resume` goes on"),
    ],
)
def test_what_limits(changes: dict[str, Any], words: str) -> None:
    assert limit(value(**changes)) == words


def listed(still_open: int) -> dict[str, Any]:
    return {**status.empty()["listings"], "open": still_open, "done": 1, "found": 3}


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**7), st.integers(0, 10**7), st.booleans(), st.integers(60, 120))
def test_a_hundred_per_cent_is_all_of_it(final: int, left: int, listing: bool, width: int) -> None:
    """Not what was found so far of a channel that is still being listed, and nothing that was rounded up."""
    counts = {"ok": final, "absent": 0, "failed": 0, "deferred": 0, "in_flight": 0}
    found = value(**counts, pending=left, total=final + left, eta_s=None, listings=listed(int(listing)))
    for text in (" ".join(drawn(found, width).replace("│", " ").split()), line(found)):
        assert ("100.0 %" in text) <= (final > 0 and not left and not listing), text
        assert ("so far" in text) is listing
        assert "left: 0 s" not in text


@pytest.mark.parametrize(
    ("deferred", "waits", "words"),
    [
        (
            12,
            {"first_s": 3600.0, "last_s": 3620.0, "kinds": {"garbled": 12}},
            "12 wait until 00:00 (garbled)",
        ),
        (1, {"first_s": 300.0, "last_s": 300.0, "kinds": {"timeout": 1}}, "1 waits until 23:05 (timeout)"),
        (
            3,
            {"first_s": 0.4, "last_s": 900.0, "kinds": {"timeout": 2, "garbled": 1}},
            "3 wait until 23:00 to 23:15 (timeout 2, garbled 1)",
        ),
        (
            2,
            {"first_s": 5.0, "last_s": 9.0, "kinds": {"\x1b[2Jx": 2}},
            "2 wait until 23:00:05 to 23:00:09 (x)",
        ),
        (2, {"first_s": 5.0, "last_s": 5.0, "kinds": {}}, "2 wait until 23:00:05"),
        (0, {"first_s": 5.0, "last_s": 5.0, "kinds": {"timeout": 1}}, ""),
        (0, None, ""),
    ],
)
def test_until_when_deferred_jobs_wait(
    deferred: int, waits: dict[str, Any] | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    evening = 1_795_388_400.0  # Sunday, 2026-11-22 23:00
    found = value(deferred=deferred, waits=waits)
    assert wait_words(found, evening) == words
    out = io.StringIO()
    Console(file=out, width=100).print(panel(found, "q", now=evening))
    assert words in out.getvalue()
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": "stopped", "rows": 3}, "manifest.jsonl still lacks 2 rows: the next run adds them"),
        ({"state": "stopped", "rows": 4}, "manifest.jsonl still lacks 1 row: the next run adds them"),
        ({"state": "stopped", "rows": 5}, "cut off at its very end: the next run finishes it"),
        ({"state": "finished", "rows": 5}, ""),
        ({"state": "running", "rows": 3}, ""),
        ({"state": "stopped", "rows": 3, "total": 6}, ""),
        ({"state": "stopped", "rows": 0, "total": 0, "ok": 0}, ""),
    ],
)
def test_a_run_cut_off_at_its_end(changes: dict[str, Any], words: str) -> None:
    found = value(**{"total": 5, "ok": 5, "absent": 0, "failed": 0, **changes})
    assert missing_rows(found) == words
    assert words in " ".join(drawn(found, 120).split())


def test_when_the_end_will_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    evening = 1_795_388_400.0  # Sunday, 2026-11-22 23:00
    hour = 3600.0
    assert at({"low": 0.3 * hour, "high": 0.3 * hour}, evening) == "23:18"
    assert at({"low": 0.1 * hour, "high": 0.9 * hour}, evening) == "23:06 to 23:54"
    assert at({"low": 0.5 * hour, "high": 5 * hour}, evening) == "23:30 to Mon 04:00"
    assert at({"low": 4 * hour, "high": 5 * hour}, evening) == "Mon 03:00 to 04:00"
    assert at({"low": 200 * hour, "high": 300 * hour}, evening) == "01 Dec to 05 Dec"
    assert at({"low": 200 * hour, "high": 1e12}, evening) == "some day"
    monkeypatch.undo()
    time.tzset()


def test_the_last_that_were_not_ok_and_only_as_many_egresses_as_there_is_room_for() -> None:
    rows = [
        {"video_id": "dQw4w9WgXcQ", "status": "failed", "kind": "timeout", "message": "\x1b[2Jno answer" * 30}
    ]
    names = [f"p{n:03d} gateway-{n}.example.net:8080" for n in range(39)]
    found = value(egresses=[*map(egress, names), egress("p039 gone.example.net:8080", "blocked")])
    for width in (40, 80, 200):
        out = io.StringIO()
        item = panel(found, "q", rows, width=width, height=20, now=0.0)
        Console(file=out, width=width, highlight=False).print(item)
        text = out.getvalue()
        assert "dQw4w9WgXcQ" in text
        assert "\x1b" not in text
        assert max(map(len, text.splitlines())) == min(width, 110)  # the frame keeps its width
        if width >= 80:
            assert len(text.splitlines()) <= 20
            assert "and 33 more" in text
            assert "p039" in text, "the one in trouble is not among those left out"


@pytest.mark.parametrize(
    ("ways", "words"),
    [
        ({}, ""),
        ({"android": 22}, ""),
        ({"android": 22, "ios": 1_200}, "served by ios 1,200, android 22"),
        ({"ios": 3}, "served by ios 3"),
    ],
)
def test_how_many_videos_each_way_served(ways: dict[str, int], words: str) -> None:
    assert served_words({"ways": ways}) == words


@pytest.mark.parametrize("width", range(46, 112))
def test_a_live_view_cuts_no_column_but_the_name(width: int) -> None:
    """Columns for which there is no room are left out, the last first."""
    out = io.StringIO()
    found = value(egresses=[egress("p001 a.long.name.of.a.host.example:8080")] * 3)
    Console(file=out, width=width).print(panel(found, "q", width=width, height=40))
    lines = [each.strip("│ ").split() for each in out.getvalue().splitlines()]
    header = next(words for words in lines if words[:1] == ["egress"])
    every = ["egress", "state", "rate", "opens", "in", "ok", "blocked", "requests", "bytes"]
    assert header == every[: len(header)] and len(header) >= 3
    assert header == every or width < 84
    row = next(each for each in out.getvalue().splitlines() if "p001" in each)
    assert row.count("…") <= 1 and "0.5/s" in row
