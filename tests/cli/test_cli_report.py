"""`engine report`, `engine doctor` and `--older-than` on the command line."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from support import file_rows, some_fail, worked

from engine.cli import invoke
from engine.monitor.failed_jobs import rows
from engine.queue.manifest import read_checkpoint
from engine.storage.timestamps import utc

pytestmark = pytest.mark.usefixtures("no_fsync")
Said = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_text_json_and_page(here: Path, capsys: Said) -> None:
    queue = worked(here, 40, some_fail)
    assert invoke(["report", "-q", queue.root, "--price", "4/GB"]) == 0
    assert "at 4/GB; for 1,000 videos" in " ".join(capsys.readouterr().out.split())
    assert invoke(["report", "-q", queue.root, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["total"] == 40
    assert invoke(["report", "-q", queue.root, "--html"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "the report is in report.html\n")
    assert (here / "report.html").read_text().startswith("<!doctype html>")
    assert invoke(["report", "--html", "page.html", "-q", queue.root]) == 0
    assert (here / "page.html").exists()
    capsys.readouterr()
    assert invoke(["report", "-q", queue.root, "--html", "-"]) == 0
    assert capsys.readouterr().out.endswith("</html>\n")


def test_report_changes_nothing(here: Path, capsys: Said) -> None:
    queue = worked(here, 40, some_fail)
    before = {path: path.stat().st_mtime_ns for path in Path(queue.root).rglob("*")}
    for more in ([], ["--json"], ["--html", "-"]):
        assert invoke(["report", "-q", queue.root, *more]) == 0
    assert {path: path.stat().st_mtime_ns for path in Path(queue.root).rglob("*")} == before


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        ([], 10, "queue_dir"),
        (["--price", "much"], 2, "--price"),
        (["--html", "x", "--json"], 2, "--html and --json"),
    ],
)
def test_slips(here: Path, capsys: Said, args: list[str], code: int, says: str) -> None:
    assert invoke(["report", *args]) == code
    assert says in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_a_page_that_cannot_be_written(here: Path, capsys: Said) -> None:
    queue = worked(here, 16)
    assert invoke(["report", "-q", queue.root, "--html", "no/such/place.html"]) == 2
    assert "no/such/place.html" in capsys.readouterr().err


# ---- --older-than ---------------------------------------------------------------------------------------
def test_older_than(here: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter(range(10_000))
    monkeypatch.setattr("support.utc", lambda: utc(time.time() - (8 if next(moments) % 2 else 1) * 86_400))
    queue = worked(here, 60, some_fail)
    file_rows(queue)
    everything = list(rows(queue))
    old = [row for row in everything if row["finished_at"] < utc(time.time() - 7 * 86_400)]
    assert 0 < len(old) < len(everything)
    kinds = sorted({row["kind"] for row in old})
    args = ["--kind", ",".join(kinds), "--older-than", "7d"]
    assert invoke(["failures", "-q", queue.root, "--json", "--older-than", "7d"]) == 0
    shown = [json.loads(line)["video_id"] for line in capsys.readouterr().out.splitlines()]
    assert sorted(shown) == sorted(row["video_id"] for row in old)
    assert invoke(["retry", "-q", queue.root, *args, "--dry-run"]) == 0
    assert capsys.readouterr().err == f"{len(old)} jobs would be put back\n"
    assert len(list(rows(queue))) == len(everything)
    assert invoke(["retry", "-q", queue.root, *args]) == 0
    assert [row["video_id"] for row in rows(queue)] == [
        row["video_id"] for row in everything if row not in old
    ]
    assert read_checkpoint(queue) is not None
    for command in ("retry", "failures"):
        assert invoke([command, "-q", queue.root, "--older-than", "7"]) == 2
        assert "--older-than '7' is not a time" in capsys.readouterr().err


# ---- doctor ---------------------------------------------------------------------------------------------
def test_doctor(here: Path, capsys: Said) -> None:
    assert invoke(["doctor"]) == 0
    assert "fsync" in capsys.readouterr().out
    assert invoke(["doctor", "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["schema_version"], value["fit"]) == (1, True)
    assert {"level", "about", "seen", "advice"} == set(value["findings"][0])
    assert list(here.iterdir()) == []


def test_doctor_finds_what_would_stop_a_run(here: Path, capsys: Said) -> None:
    (here / "file").write_text("")
    assert (
        invoke(["doctor", "-o", "file/out", "--ca-bundle", "none.pem", "--proxy", "http://u:T0p@127.0.0.1:9"])
        == 2
    )
    said = capsys.readouterr()
    assert "3 problems would stop a run" in said.err
    assert said.out.count("problem ") == 3
    assert "T0p" not in said.out + said.err


def test_doctor_knows_the_queue_s_output(here: Path, capsys: Said) -> None:
    queue = worked(here, 16)
    assert invoke(["doctor", "-q", queue.root, "--json"]) == 0
    assert str(here / "out") in capsys.readouterr().out
