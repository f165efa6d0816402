"""`engine plan` on the command line: what it counts, what it says, and that it makes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support import worked

from engine.cli import invoke

IDS = ["dQw4w9WgXcQ", "jNQXAC9IVRw", "-wtIMTCHWuI"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    assert invoke(["plan", "--json", *args]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_an_input_is_counted_and_nothing_is_made(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "videos.txt").write_text("\n".join([*IDS, IDS[0], "no video", "", f"https://youtu.be/{IDS[1]}"]))
    value = plan(capsys, "videos.txt", "--price", "4/GB", "--rate", "1800/h")
    assert (value["schema_version"], value["basis"], value["measured"]) == (1, "defaults", None)
    assert value["in_input"] == {"read": 6, "videos": 3, "rejected": 1, "sources": 0}
    assert (value["videos"], value["in_queue"]) == (3, 0)
    assert value["requests"] == {"expected": 6, "low": 6, "high": 6}
    assert value["bytes"]["expected"] == 126_000
    assert value["seconds"]["expected"] == 12
    assert value["cost"]["expected"] == pytest.approx(0.0005)
    assert [path.name for path in here.iterdir()] == ["videos.txt"]


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        ([], 10, "no queue in queue_dir"),
        (["mistyped.txt"], 2, "mistyped.txt"),
        (["mistyped.txt", "--sample", "5"], 2, "mistyped.txt"),
        (["--sample", "5"], 10, "no queue in queue_dir"),
        ([IDS[0], "--price", "much"], 2, "--price"),
        ([IDS[0], "--rate", "fast"], 2, "--rate"),
    ],
)
def test_a_slip_makes_no_queue(
    here: Path, capsys: pytest.CaptureFixture[str], args: list[str], code: int, says: str
) -> None:
    assert invoke(["plan", *args]) == code
    assert says in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_from_the_queue_s_own_rows_in_words(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    queue = worked(here, 16)  # two requests and 1,000 bytes each
    assert invoke(["plan", "-q", queue.root, *IDS, "--price", "4", "--egresses", "3"]) == 0
    said = capsys.readouterr().out
    assert "videos    3: 0 left in" in said
    assert "3 in the input, not compared with the queue" in said
    assert "2.00 requests and 1.0 KB a video, over 16 videos: 16 ok" in said
    assert "requests  6\n" in said
    assert "4 s at 0.5/s by 3 egresses" in said
    assert "cost      0.00 at 4/GB" in said
    assert invoke(["plan", "-q", queue.root, "--rate", "none"]) == 0
    assert "unknown at --rate none" in capsys.readouterr().out


def test_a_sample_of_a_rehearsal_is_run_against_the_stand_in(
    here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from engine.queue.making import make_queue
    from engine.rehearsal import invented_ids

    make_queue("q", rehearsal=True)
    assert invoke(["seed", "-q", "q", *invented_ids(12)]) == 0
    capfd.readouterr()
    assert invoke(["plan", "-q", "q", "--sample", "5", "--rate", "50", "-p", "1", "-t", "2", "--json"]) == 0
    out, err = capfd.readouterr()
    value = json.loads(out)
    assert value["basis"] == "sample"
    assert (value["measured"]["rows"], value["videos"]) == (5, 7)
    assert value["requests"]["expected"] in (
        14,
        15,
    )  # the mask's first check is one of the sample's eleven requests
    assert "running up to 5 videos for real first" in err
