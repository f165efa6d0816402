"""What is said of rejected lines: a file without a video is an error, and of many the commonest reason is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import recount

from engine.cli import invoke
from engine.inputs import Line
from engine.seeding.rejected import MAX_REASONS, RejectedLines

A, B = "dQw4w9WgXcQ", "jNQXAC9IVRw"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_fsync: None) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.txt").write_text("short\nhttps://evil.test/x\ntwo words\n\x1b[31mred\n")
    (tmp_path / "good.txt").write_text(f"{A}\n")
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = invoke(list(args))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


FIRST_REASONS = [
    "engine: bad.txt: all of its 4 lines were rejected, none names a video:",
    " line 1: the id has 5 characters, not 11: short",
    " line 2: not a YouTube address: host evil.test: https://evil.test/x",
    " line 3: neither a video id nor a YouTube address: more than one word: two words",
]


@pytest.mark.parametrize("command", ["seed", "run", "rehearse", "plan"])
def test_a_file_without_a_video(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, command, "bad.txt", "-q", "queue")
    assert code == 2
    assert [line for line in err.splitlines() if "read 4" not in line] == FIRST_REASONS
    assert "finished" not in out + err


def test_beside_a_good_one_and_jobs_that_are_there(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "seed", B, "-q", "queue")[0] == 0
    for command in ("seed", "run"):
        code, _, err = said(capsys, command, "good.txt", "bad.txt", "-q", "queue")
        assert code == 2, "the good one is in, and the bad one is said"
        assert FIRST_REASONS[0] in err
    assert recount.seeded(here / "queue") == [B, A]
    code, _, err = said(capsys, "run", "no-such-video", "-q", "queue")
    assert code == 2, "neither is an argument that names none"
    assert "no-such-video" in err


def test_a_dry_run_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "seed", "bad.txt", "--dry-run", "--json")
    assert code == 2
    assert json.loads(out)["rejected"] == 4
    assert err.splitlines() == FIRST_REASONS


def test_the_commonest_reason_is_said_with_its_count(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"{n:011}" for n in range(20)] + ["short"] * 5 + ["longer-than-that"] * 2
    (here / "list.txt").write_text("\n".join(lines))
    code, out, err = said(capsys, "seed", "list.txt")
    assert code == 0
    assert err == "list.txt: 7 of 27 lines rejected, 5 of them because: the id has 5 characters, not 11\n"
    assert out.startswith("read 27: added 20, duplicate 0, rejected 7")
    (here / "few.txt").write_text(f"{B}\nshort\nshort\nshort\n")
    code, _, err = said(capsys, "seed", "few.txt")
    assert (code, err) == (0, ""), "a few are named in rejects.csv alone"


def test_a_source_is_no_rejected_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "sources.txt").write_text("@handle\n")
    assert said(capsys, "seed", "sources.txt")[0] == 0


def test_any_number_of_reasons_is_counted_in_bounded_memory() -> None:
    tally = RejectedLines()
    for number in range(3 * MAX_REASONS):
        tally.add(Line("x", number, "text", None, {}, f"reason {number}"))
        tally.add(Line("x", number, "text", None, {}, "the one"))
    assert len(tally._reasons) <= MAX_REASONS
    assert "3,000 of them because: the one" in (tally.summary() or "")


def test_a_zip_is_named_not_the_file_in_it() -> None:
    tally = RejectedLines()
    tally.add(Line("t.zip:Takeout/a.csv", 2, "x", None, {}, "no"))
    tally.add(Line("t.zip:Takeout/b.csv", 2, "x", None, {}, "no"))
    assert tally.error()[0].startswith("t.zip: all of its 2 lines")


def test_a_password_is_not_repeated() -> None:
    tally = RejectedLines()
    tally.add(Line("x", 1, "http://joe:secret@host:1/", None, {}, "no"))
    assert "secret" not in "".join(tally.error())
