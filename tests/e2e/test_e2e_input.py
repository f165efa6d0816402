"""Bad input through the real command: a message, the right exit code, no traceback, and the good lines go in."""

from __future__ import annotations

import csv
import os
import pkgutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import recount
from commands import engine, environment
from patience import HANG_S

import engine as package

GOOD = "dQw4w9WgXcQ"
TEN_MB = 10_000_000


def rejects(queue: Path) -> list[dict[str, str]]:
    with (queue / "rejects.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "list.txt").touch()
    ended = engine("seed", tmp_path / "list.txt", "-q", tmp_path / "queue")
    assert ended.code == 0, ended.said
    assert "read 0" in ended.out


def test_a_directory_and_a_missing_file_beside_a_good_one(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text(GOOD)
    for name in (tmp_path, tmp_path / "missing.txt"):
        ended = engine("seed", name, tmp_path / "good.txt", "-q", tmp_path / "queue")
        assert ended.code == 2, ended.said
        assert str(name) in ended.err
    assert recount.seeded(tmp_path / "queue") == [GOOD]


def test_a_run_with_an_input_that_cannot_be_read_makes_nothing(tmp_path: Path) -> None:
    ended = engine("run", tmp_path / "missing.txt", "-q", tmp_path / "queue", "-o", tmp_path / "out")
    assert ended.code == 2
    assert str(tmp_path / "missing.txt") in ended.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("head", [b"\x7fELF\x02\x01\x01", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04"])
def test_a_binary_file(tmp_path: Path, head: bytes) -> None:
    (tmp_path / "list.txt").write_bytes(head + bytes(range(256)) * 64)
    ended = engine("seed", tmp_path / "list.txt", "-q", tmp_path / "queue")
    assert ended.code == 2, ended.said
    assert "list.txt" in ended.said
    assert "\x00" not in ended.said
    assert "\x1b" not in ended.said


@pytest.mark.parametrize(
    "bad",
    [
        "x" * TEN_MB,
        f"https://evil.test/watch?v={GOOD}",
        f"youtube.com@127.0.0.1/watch?v={GOOD}",
        f"https://www.youtube.com@evil.test/watch?v={GOOD}",
        GOOD + "x",
        "../../etc/x",
        "\x1b]0;title\x07",
    ],
    ids=lambda text: text[:30].encode("unicode_escape").decode() if len(text) < 99 else "10 MB",
)
def test_a_bad_line_is_named_and_the_others_go_in(tmp_path: Path, bad: str) -> None:
    (tmp_path / "list.txt").write_text(f"{GOOD}\n{bad}\nhttps://youtu.be/GJLlxj_dtq8\n")
    ended = engine("seed", tmp_path / "list.txt", "-q", tmp_path / "queue")
    assert ended.code == 0, ended.said
    assert "rejected 1" in ended.out
    assert "\x1b" not in ended.said
    assert recount.seeded(tmp_path / "queue") == [GOOD, "GJLlxj_dtq8"]
    (named,) = rejects(tmp_path / "queue")
    assert named["file"].endswith("list.txt")
    assert named["line"] == "2"
    assert named["reason"]
    assert len(named["text"]) <= 200
    (tmp_path / "list.txt").write_text(f"{bad}\n")
    only = engine("seed", tmp_path / "list.txt", "-q", tmp_path / "other")
    assert only.code == 2, "every line was rejected"


def test_ids_that_begin_with_a_dash(tmp_path: Path) -> None:
    asked = ("seed", "-yvY-Ezf4EM", "-q", tmp_path / "queue", "--ZUNoBH3tA")
    ended = engine(*asked)
    assert ended.code == 0, ended.said
    (tmp_path / "list.txt").write_text("-0000000000\n")
    assert engine("seed", tmp_path / "list.txt", "-q", tmp_path / "queue").code == 0
    assert set(recount.seeded(tmp_path / "queue")) == {"-yvY-Ezf4EM", "--ZUNoBH3tA", "-0000000000"}


def test_a_word_of_twelve_characters_is_no_id(tmp_path: Path) -> None:
    ended = engine("seed", GOOD + "x", "-q", tmp_path / "queue")
    assert ended.code == 2
    assert GOOD + "x" in ended.said


@pytest.mark.parametrize(
    "args",
    [
        ("run", "--no-such-option"),
        ("run", "--rate", "fast"),
        ("run", "--threads", "0"),
        ("run", "--proxy", "ftp://somewhere", GOOD),
        ("run", "--ca-bundle", "/no/such/file", GOOD),
        ("run", "-l", "e/n", GOOD),
        ("status", "--jsn"),
        ("nonsense",),
        ("rehearse", "--scene", "earthquake"),
        ("failures", "--kind", "nonsense"),
    ],
    ids=" ".join,
)
def test_wrong_usage(tmp_path: Path, args: tuple[str, ...]) -> None:
    ended = engine(*args, ENGINE_QUEUE=str(tmp_path / "queue"), ENGINE_OUTPUT=str(tmp_path / "out"))
    assert ended.code == 2, ended.said
    assert ended.err.strip()
    assert list(tmp_path.iterdir()) == []


def test_stdin(tmp_path: Path) -> None:
    ended = engine("seed", "-", "-q", tmp_path / "queue", stdin=f"\ufeff{GOOD}\r\n# no\r\n\r\n".encode())
    assert ended.code == 0, ended.said
    assert recount.seeded(tmp_path / "queue") == [GOOD]


@pytest.fixture
def open_path() -> Iterator[Path]:
    """A directory that everybody may look into, as pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


# As another user: everything is imported first, for the interpreter may lie where that user cannot read.
AS_NOBODY = """
import importlib, os, sys
for name in sys.argv[1].split(","):
    importlib.import_module(name)
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
from engine.cli import main
main(sys.argv[2:])
"""


@pytest.mark.skipif(os.getuid() != 0, reason="becoming another user takes root")
@pytest.mark.parametrize("made", [False, True], ids=["no queue there", "somebody else's queue"])
def test_a_directory_without_permission(made: bool, open_path: Path) -> None:
    queue = open_path / "queue"
    if made:
        assert engine("seed", GOOD, "-q", queue).code == 0
    names = [
        module.name
        for module in pkgutil.walk_packages(package.__path__, "engine.")
        if not module.name.endswith(("__main__", "streamlit_page"))  # streamlit need not be there
    ]
    modules = ",".join([*names, "encodings.idna", "importlib.resources", "difflib"])
    for args in (("seed", "GJLlxj_dtq8"), ("run", "GJLlxj_dtq8", "-o", str(open_path / "out")), ("verify",)):
        ended = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, modules, *args, "-q", str(queue)],
            env=environment(),
            cwd="/",
            capture_output=True,
            text=True,
            timeout=HANG_S,
            check=False,
        )
        assert "Traceback" not in ended.stderr, ended.stderr
        if args[0] == "verify" and not made:
            assert ended.returncode == 10, ended.stderr
        else:
            assert ended.returncode == 2, (args, ended.stderr)
            assert str(open_path) in ended.stderr
    if made:
        assert recount.seeded(queue) == [GOOD]
    else:
        assert list(open_path.iterdir()) == []
