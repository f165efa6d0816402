"""`engine search`: what it prints, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_run import told
from support import ids, worked

from engine.queue.directory import Queue

pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Queue:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return worked(tmp_path, 12)


def test_for_people(queue: Queue) -> None:
    name = ids(12)[4]
    code, out, err = told("search", name, "-q", queue.root)
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith(f"About {name}") and lines[0].endswith("  (Someone)")
    assert f"   00:00  Hello **{name}**" in lines
    assert f"          https://www.youtube.com/watch?v={name}&t=0s" in lines
    assert err == ""


def test_for_programs(queue: Queue) -> None:
    code, out, err = told("search", "HÉLLO", "-q", queue.root, "--json", "--limit", "5")
    rows = [json.loads(line) for line in out.splitlines()]
    assert (code, len(rows), err) == (0, 5, "")
    assert set(rows[0]) == {
        "schema_version", "video_id", "title", "channel", "language", "start_s", "text", "marks", "url",
    }  # fmt: skip
    assert rows[0]["text"][slice(*rows[0]["marks"][0])] == "Hello"


def test_what_is_said_besides(queue: Queue) -> None:
    assert (
        told("search", "hello", "-q", queue.root, "--limit", "2")[2] == "the best 2; --limit N shows more\n"
    )
    assert told("search", "nowhere", "-q", queue.root) == (0, "", "nothing found\n")


@pytest.mark.parametrize(
    ("args", "code", "why"),
    [
        (("--fts", "a AND ("), 2, "cannot be understood: syntax error"),
        (("--fts", "nothere:a"), 2, "no such column: nothere"),
        (("...",), 2, "no word to search for"),
        (("hello", "-l", "fr"), 2, "no transcript is in fr; there are: en"),
        (("hello", "-q", "/nowhere"), 10, "no queue"),
        (("hello", "--db", "/nowhere"), 2, "No such file"),
    ],
)
def test_errors_say_what_to_do(queue: Queue, args: tuple[str, ...], code: int, why: str) -> None:
    where = () if "-q" in args else ("-q", queue.root)
    found, out, err = told("search", *args, *where)
    assert (found, out) == (code, "")
    assert why in err
