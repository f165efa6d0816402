"""Every command at a directory that is somebody else's: refused in one sentence, and nothing in it changes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support import add, ids, print_of

from engine.cli import COMMANDS, invoke
from engine.queue.directory import exists
from engine.queue.making import make_queue

VIDEO = "dQw4w9WgXcQ"
# Those that would make a queue, and the others.
MAKING = [
    ["seed", VIDEO],
    ["seed", "--dry-run", VIDEO],
    ["seed", "--preview", "1", VIDEO],
    ["seed", "empty.txt"],
    ["seed", "missing.txt"],
    ["run", VIDEO],
    ["run"],
    ["run", "-o", "out", "missing.txt"],
    ["rehearse", "--videos", "1"],
    ["rehearse", "--videos", "0"],
    ["rehearse", "--arrivals", "a.jsonl"],
    ["plan", "--sample", "1", VIDEO],
    ["import", "home"],
    ["page"],
    ["page", "--rehearse"],
    ["doctor"],  # which says that a run would be stopped
]
OTHERS = [
    ["status"], ["status", "--json"], ["status", "--exit-code"], ["sync"], ["sync", "--searches"],
    ["pause"], ["resume"], ["set"], ["set", "rate=2/s"], ["stop"], ["stop", "--now"], ["wait"],
    ["wait", "--timeout", "0"],
    ["plan"], ["plan", VIDEO], ["config", "show"], ["config", "show", "--json"],
    ["report"], ["report", "--json"], ["report", "--html", "page.html"], ["failures"], ["failures", "--csv"],
    ["export", "--to", "csv"], ["export", "--to", "txt", "-o", "texts"],
    ["retry"], ["retry", "--dry-run"], ["verify"], ["verify", "--repair"], ["verify", "--json"],
    ["search", "words"], ["sources"], ["sources", "--json"],
]  # fmt: skip
NO_QUEUE_OPTION = {"completion", "fleet", "get", "probe", "proxies"}  # probe takes one that is there
PLACES = ("project", "format", "number", "home", "git", "half", "link")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with somebody's directories in it, and no queue of another test near it."""
    tmp_path = tmp_path / "users" / "work"
    for name in ("project/src", "project/tmp", "format", "number/done", "home", "git/.git", "half"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "project" / "tmp" / "notes.txt").write_text("precious")
    (tmp_path / "project" / "engine.toml").write_text('rate = "1/s"\n')
    (tmp_path / "format" / "FORMAT").write_text("parquet\n")
    (tmp_path / "number" / "FORMAT").write_text("1\n")
    make_queue(str(tmp_path / "half"))
    (tmp_path / "half" / "FORMAT").unlink()
    (tmp_path / "half" / "tmp" / ".status.json.0a1b2c3d.tmp").write_text("{")
    (tmp_path / "link").symlink_to("project/src/..")
    (tmp_path / "empty.txt").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_command_is_tried() -> None:
    assert {args[0] for args in MAKING + OTHERS} | NO_QUEUE_OPTION == set(COMMANDS)


@pytest.mark.parametrize("args", MAKING + OTHERS, ids=" ".join)
def test_nothing_changes(here: Path, capsys: pytest.CaptureFixture[str], args: list[str]) -> None:
    before = print_of(here)
    for place in PLACES:
        code = invoke([*args, "-q", place])
        out, err = capsys.readouterr()
        assert code == (2 if args in MAKING else 10), (place, out, err)
        if args[0] != "doctor":
            assert err.startswith("engine: no queue") and place in err and err.count("\n") == 1, err
            assert not out or json.loads(out)["state"] == "empty"
            # With the sentence comes what is in the way.
            assert any(word in err for word in ("holds", "FORMAT", "home", "git"))
        else:
            assert place in out and "empty directory with -q" in " ".join(out.split())
    # The nearest directory that is there is tried out by doctor, for the output: its time changes.
    after = print_of(here)
    if args[0] == "doctor":
        del before[str(here)], after[str(here)]
    assert after == before


@pytest.mark.parametrize("out", ["q/tmp", "q/pending/x", "q", "q/../q/done", "q/events.jsonl"])
def test_an_output_among_the_queues_own_files(
    here: Path, capsys: pytest.CaptureFixture[str], out: str
) -> None:
    for command in (["run", VIDEO], ["rehearse", "--videos", "1"], ["plan", "--sample", "1", VIDEO]):
        assert invoke([*command, "-q", "q", "-o", out]) == 2
        assert "--output" in capsys.readouterr().err
        assert not (here / "q").exists()
    queue = make_queue("q")
    add(queue, ids(2))
    before = print_of(here / "q")
    assert invoke(["run", VIDEO, "-q", "q", "-o", out]) == 2
    assert invoke(["run", "-q", "q", "-o", out]) == 2
    assert print_of(here / "q") == before
    assert queue.read_batch()["frozen"] is None
    capsys.readouterr()
    assert invoke(["doctor", "-q", "q", "-o", out]) == 2
    assert "queue's own" in " ".join(capsys.readouterr().out.split())


def test_a_queue_where_transcripts_will_lie(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["run", VIDEO, "-q", "out/ab", "-o", "out"]) == 2
    assert "out/ab" in capsys.readouterr().err
    assert not (here / "out").exists()


@pytest.mark.parametrize("args", [*OTHERS, ["seed", VIDEO]], ids=" ".join)
def test_a_queue_whose_making_was_cut_off(
    here: Path, capsys: pytest.CaptureFixture[str], args: list[str]
) -> None:
    """Only its first name is there: it is a queue, with nothing in it."""
    (here / "q").mkdir()
    (here / "q" / "FORMAT").write_text("1\n")
    code = invoke([*args, "-q", "q"])
    out, err = capsys.readouterr()
    assert code in (0, 2, 23), (out, err)
    assert "no queue" not in err
    assert code != 2 or args[0] in ("set", "resume"), err  # of a run that is not live
    assert exists("q")
    assert invoke(["seed", VIDEO, "-q", "q"]) == 0
    assert invoke(["verify", "-q", "q"]) == 0
    assert sorted(os.listdir("q"))[:2] == ["FORMAT", "batch.json"]


def test_where_nobody_may_read(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (here / "project").chmod(0)
    try:
        assert invoke(["seed", VIDEO, "-q", "project"]) == 2
        assert invoke(["verify", "-q", "project"]) == 2
        assert invoke(["status", "-q", "project"]) == 10
    finally:
        (here / "project").chmod(0o755)
