"""What a run shows: lines, JSON lines, or a bar; and it goes on when nobody looks any more."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import some_fail, worked

from engine.cli.display import live_progress as progress
from engine.cli.display.live_progress import Progress, line
from engine.monitor import status
from engine.queue import events
from engine.queue.directory import Queue

pytestmark = pytest.mark.usefixtures("no_fsync")

DATE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return worked(tmp_path, 20, some_fail)


def value(**changes: Any) -> dict[str, Any]:
    return {
        **status.empty(),
        "state": "running",
        "total": 2000,
        "ok": 900,
        "absent": 80,
        "failed": 20,
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "1,000/2,000 | ok 900, absent 80, failed 20 | 0.00/s | left unknown"),
        ({"deferred": 5, "limited_by": "rate"}, "| deferred 5 | 0.00/s | left unknown | limited by the rate"),
        ({"eta_s": {"low": 60.0, "high": 60.0}}, "| left 1 min"),
        ({"state": "finished"}, "failed 20 | finished"),
        ({"limited_by": "network"}, "| waiting: no network"),
        (
            {
                "limited_by": "blocks",
                "egresses": [
                    {"state": "blocked", "rate_per_s": 1.0, "open_in_s": open_in_s}
                    for open_in_s in (0, 70.0, 42.0)
                ],
            },
            "| waiting: blocked, next try in 42 s",
        ),
    ],
)
def test_a_line(changes: dict[str, Any], text: str) -> None:
    assert line(value(**changes)).endswith(text)


def test_plain(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    item = Progress(queue, "plain")
    item()
    assert capsys.readouterr() == ("", "")  # a line now and then, the first not at once
    item._next_at = 0.0
    item()
    item()
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert re.match(rf"{DATE} \| 20/20 ", err)
    item._next_at = 0.0
    item()
    assert capsys.readouterr().err.startswith("20/20 ")
    item.close()
    last = capsys.readouterr().err
    assert re.match(rf"{DATE} \| 20/20 ", last)
    assert last.endswith("| finished\n")


def test_plain_on_a_terminal_has_no_dates(
    queue: Queue, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    Progress(queue, "plain").close()
    assert capsys.readouterr().err.startswith("20/20 ")


def test_json(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    item = Progress(queue, "json")
    item()
    item.close()
    out, err = capsys.readouterr()
    found = [json.loads(text) for text in out.splitlines()]
    assert [item["message_type"] for item in found] == ["status"] * 2
    assert found[-1]["state"] == "finished"
    assert err == ""


def test_none(queue: Queue, capsys: pytest.CaptureFixture[str]) -> None:
    item = Progress(queue, "none", verbose=True)
    item._next_at = 0.0
    item()
    item.close()
    assert capsys.readouterr() == ("", "")


def test_auto_is_a_bar_only_on_a_terminal(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Progress(queue, "auto").mode == "plain"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert Progress(queue, "auto").mode == "bar"


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
@pytest.mark.parametrize("no_color", [False, True])
def test_a_bar_fits_its_terminal(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, width: int, no_color: bool
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    for name, text in {"COLUMNS": str(width), "TERM": "xterm-256color", "LINES": "30"}.items():
        monkeypatch.setenv(name, text)
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    item = Progress(queue, "bar", verbose=True)
    item()
    events.emit(queue, "block", "\x1b]0;owned\x07bad [/] words", egress="p001 host:1")
    item._next_at = 0.0
    item()
    item.close()
    text = screen.getvalue()
    assert "20 of 20 final" in text
    assert "owned" not in text
    assert "\x1b]" not in text
    plain = Plain(text)
    assert max(map(len, plain.lines)) <= width
    assert any("bad [/] words" in item for item in plain.lines)
    coloured = any(f"\x1b[{prefix}{code}" in text for prefix in ("", "1;") for code in ("3", "9", "4"))
    assert coloured is not no_color


class Plain:
    """Text as a terminal leaves it, as far as lines go: control sequences taken out."""

    def __init__(self, text: str) -> None:
        import re

        self.lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n").split("\n")


def test_verbose_tells_each_event_once_and_whole_lines_only(
    queue: Queue, capsys: pytest.CaptureFixture[str]
) -> None:
    events.emit(queue, "start")
    item = Progress(queue, "plain", verbose=True)  # what was before is not told
    events.emit(queue, "block", "opens again in 60 s", egress="p001 host:1")
    with open(queue.events, "a") as file:
        file.write('nonsense\n"text"\n{"event": "half')
    item._next_at = 0.0
    item()
    item._next_at = 0.0
    item()
    err = capsys.readouterr().err
    assert err.count("block p001 host:1 opens again in 60 s") == 1
    assert "start" not in err
    assert "half" not in err
    with open(queue.events, "a") as file:
        file.write('way"}\n')
    item.close()
    assert "halfway" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["plain", "json", "bar"])
def test_a_reader_that_leaves_does_not_end_the_run(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    class Closed(io.StringIO):
        def isatty(self) -> bool:
            return mode == "bar"

        def write(self, text: str) -> int:
            raise BrokenPipeError

    replaced: list[int] = []
    own = SimpleNamespace(**{**vars(os), "dup2": lambda fd, to: replaced.append(to)})
    monkeypatch.setattr(progress, "os", own)  # the process's own streams are pytest's
    monkeypatch.setattr(sys, "stderr", Closed())
    monkeypatch.setattr(sys, "stdout", Closed())
    item = Progress(queue, mode)
    item._next_at = 0.0
    item()
    assert item.mode == "none"
    item()
    item.close()
    assert replaced == [1 if mode == "json" else 2]


@pytest.mark.parametrize(
    ("mode", "by_signal", "said"),
    [
        ("bar", True, "stopping: what is in flight gets up to 15 s; ^C again ends it at once\n"),
        ("plain", False, "stopping: what is in flight gets up to 15 s\n"),
        ("json", True, ""),
        ("none", True, ""),
    ],
)
def test_a_stop_is_said_once(
    queue: Queue, capsys: pytest.CaptureFixture[str], mode: str, by_signal: bool, said: str
) -> None:
    item = Progress(queue, mode)
    for _ in range(3):
        item.say_stopping(15.0, by_signal=by_signal)
    err = capsys.readouterr().err
    assert err.count("stopping") == bool(said)
    assert said in err


def test_the_live_view_leaves_room_for_the_echo_of_two_interrupts(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At the edge of the terminal `^C` would go on in the next line, and the next view be drawn one line too low."""
    for name, text in {"COLUMNS": "70", "TERM": "xterm", "LINES": "30"}.items():
        monkeypatch.setenv(name, text)
    item = Progress(queue, "bar")
    item()
    item.close()
    drawn = [each for each in capsys.readouterr().err.splitlines() if each[:1] in "╭│╰"]
    assert drawn and max(map(len, drawn)) == 70 - len("^C^C")
