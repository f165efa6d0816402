"""`engine seed` on the command line: looking without writing, columns, and what is not wanted again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import recount
from support import ids

from engine.cli import invoke
from engine.cli.display.seed_preview import to_lines
from engine.inputs import Line
from engine.output.terminal import columns

A, B, C = "dQw4w9WgXcQ", "jNQXAC9IVRw", "-wtIMTCHWuI"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_fsync: None) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.csv").write_text(f"id,topic,n\n{A},x,1\n{B},y,2\nnonsense,z,3\n{A},x,4\n{C},,5\n")
    return tmp_path


def seed(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    code = invoke(["seed", *args])
    said = capsys.readouterr()
    return code, said.out, said.err


def seeded_columns(here: Path) -> dict[str, dict[str, str]]:
    rows = (here / "queue_dir" / "segments" / "000000.jsonl").read_text().splitlines()[1:]
    return {row["id"]: row.get("input", {}) for row in map(json.loads, rows)}


def as_it_lies(directory: Path) -> dict[Path, tuple[int, int, int]]:
    """Each file with what any change to it changes."""
    found = {path: path.stat() for path in directory.rglob("*")}
    return {
        path: (stat_result.st_ino, stat_result.st_size, stat_result.st_mtime_ns)
        for path, stat_result in found.items()
    }


def test_a_dry_run_says_what_seeding_would_and_makes_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = seed(capsys, "list.csv", "--dry-run")
    assert (code, out) == (0, "read 5: added 3, duplicate 1, rejected 1 (dry run: nothing is written)\n")
    assert [path.name for path in here.iterdir()] == ["list.csv"]
    _, counted, _ = seed(capsys, "list.csv", "--dry-run", "--json")
    _, done, _ = seed(capsys, "list.csv", "--json")
    assert json.loads(counted) == json.loads(done)
    assert json.loads(done) == {
        "schema_version": 1,
        "read": 5,
        "added": 3,
        "duplicate": 1,
        "rejected": 1,
        "listed": 0,
    }


def test_a_dry_run_beside_a_queue_leaves_it_as_it_is(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed(capsys, A)
    for path in (here / "queue_dir" / "ids").iterdir():
        path.unlink()  # a cache, which seeding would make again
    before = as_it_lies(here / "queue_dir")
    _, out, _ = seed(capsys, "list.csv", "--dry-run")
    assert out.startswith("read 5: added 2, duplicate 2, rejected 1 ")
    assert as_it_lies(here / "queue_dir") == before


def test_a_preview(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = seed(capsys, "list.csv", C, "--preview", "4")
    assert code == 0
    assert out.splitlines() == [
        "list.csv",
        "column id (1); kept: topic, n",
        f"      2  {A}  topic=x; n=1",
        f"      3  {B}  topic=y; n=2",
        "      4  -            rejected: the id has 8 characters, not 11: 'nonsense'",
        f"      5  {A}  topic=x; n=4",
    ]
    _, out, _ = seed(capsys, "list.csv", "--preview", "2", "--json", "--keep-columns", "n")
    assert json.loads(out) == {
        "schema_version": 1,
        "preview": [
            {
                "file": "list.csv",
                "line": 2,
                "video_id": A,
                "source": None,
                "input": {"n": "1"},
                "reason": None,
            },
            {
                "file": "list.csv",
                "line": 3,
                "video_id": B,
                "source": None,
                "input": {"n": "2"},
                "reason": None,
            },
        ],
    }
    _, out, _ = seed(capsys, "list.csv", "--preview", "1", "--dry-run")
    assert out.splitlines()[-1].startswith("read 5: added 3, ")
    assert [path.name for path in here.iterdir()] == ["list.csv"]


def test_a_long_name_shows_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    name, line = to_lines([Line("x" * 50 + "/노래.csv", 2, A, A, {"title": "t" * 99}, None)])
    assert name.endswith("xx/노래.csv")
    assert name.startswith("…x")
    assert (columns(name), columns(line)) == (40, 42)  # twenty columns are left to what is said


def test_a_preview_shows_no_password_and_nothing_a_terminal_obeys(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "x.txt").write_text("http://joe:secret@host:1/\n\x1b]0;title\x07 one two\n")
    code, out, _ = seed(capsys, "x.txt", "--preview", "5")
    assert code == 2, "every line was rejected"
    assert "secret" not in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ((), {"topic": "x", "n": "1"}),
        (("--keep-columns", "none"), {}),
        (("--keep-columns", "N"), {"n": "1"}),
    ],
)
def test_which_columns_go_along(
    here: Path, capsys: pytest.CaptureFixture[str], asked: tuple[str, ...], kept: dict[str, str]
) -> None:
    code, _, err = seed(capsys, "list.csv", *asked)
    assert (code, err) == (0, "")
    assert seeded_columns(here)[A] == kept


def test_columns_that_are_nowhere(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = seed(capsys, "list.csv", "--keep-columns", "topci,n")
    assert code == 0
    assert "'topci'" in err
    code, _, err = seed(capsys, "list.csv", "--keep-columns", ",")
    assert code == 2
    assert "--keep-columns" in err


def test_what_is_known_elsewhere_is_not_added(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "archive.txt").write_text(f"youtube {A}\nvimeo 76979871\n")
    (here / "manifest.jsonl").write_text(json.dumps({"video_id": C, "status": "ok"}) + "\n")
    code, out, err = seed(capsys, "list.csv", "--skip-known", "archive.txt", "--skip-known", "manifest.jsonl")
    assert code == 0
    assert out.startswith("read 5: added 1, duplicate 0, rejected 1, known 3")
    assert "archive.txt: 1 lines name a video, 1 do not" in err
    assert recount.seeded(here / "queue_dir") == [B]
    assert list(seeded_columns(here)) == [B]


def test_a_list_of_what_is_known_that_is_not_there(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = seed(capsys, "list.csv", "--skip-known", "archiv.txt")
    assert code == 2
    assert "--skip-known archiv.txt: no such file" in err
    assert [path.name for path in here.iterdir()] == ["list.csv"]
    assert invoke(["run", "list.csv", "--skip-known", "archiv.txt"]) == 2
    assert [path.name for path in here.iterdir()] == ["list.csv"]


def test_plan_leaves_out_what_is_known(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "archive.txt").write_text(f"youtube {A}\n")
    assert invoke(["plan", "list.csv", "--skip-known", "archive.txt", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["in_input"] == {
        "read": 5,
        "videos": 2,
        "rejected": 1,
        "sources": 0,
    }


def test_columns_of_videos_that_are_queued_are_not_dropped_in_silence(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "ids.txt").write_text(f"{A}\n{B}\n")
    seed(capsys, "ids.txt")
    _, out, err = seed(capsys, "list.csv")
    assert out.startswith("read 5: added 1, duplicate 3")
    assert "2 were already queued: their columns were not taken" in err and "-q NEW" in err
    _, _, err = seed(capsys, "ids.txt")
    assert "columns" not in err, "there are none to lose"


def test_the_same_table_again_loses_no_columns_and_says_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "list.csv").write_text(f"id,topic\n{A},gr\u00fcn\n{B},\u5c71\n{C},\n")
    seed(capsys, "list.csv")
    assert "columns" not in seed(capsys, "list.csv")[2]
    (here / "list.csv").write_text(f"id,topic\n{A},gr\u00fcn\n{B},red\n{C},\n")
    assert "1 was already queued: its columns were not taken" in seed(capsys, "list.csv")[2]
    (here / "more.txt").write_text("\n".join(ids(20)))
    seed(capsys, "more.txt")  # a further segment
    assert "1 was already" in seed(capsys, "list.csv")[2]


@pytest.mark.parametrize("text", ["", "\n\n", "Titel;Link\n"])
def test_a_list_without_a_video_is_named(text: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "leer.csv").write_text(text)
    code, out, err = seed(capsys, "leer.csv", A)
    assert (code, out) == (0, "read 1: added 1, duplicate 0, rejected 0\n")
    assert err == "leer.csv names no video\n"


def test_a_preview_names_the_column_and_a_line_without_a_link(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = f"Titel;Link;Notiz\nGr\u00fcn;https://youtu.be/{A};a\nOhne;;\u00fcber\nFalsch;n\u00fcschts;c\n"
    (here / "liste.csv").write_text(text)
    _, out, _ = seed(capsys, "liste.csv", "--preview", "9")
    assert out.splitlines() == [
        "liste.csv",
        "column Link (2); kept: Titel, Notiz",
        f"      2  {A}  Titel=Gr\u00fcn; Notiz=a",
        "      3  -            rejected: no link in column Link: 'Ohne;;\u00fcber'",
        "      4  -            rejected: neither a video id nor a YouTube address: 'n\u00fcschts'",
    ]
    (here / "bare.csv").write_text(f"x,{A}\ny,{B}\nz,{C}\nw,\n")
    _, out, _ = seed(capsys, "bare.csv", "--preview", "9")
    assert out.splitlines()[1] == "column 2; kept: column_1"
    assert "no link in column 2: 'w,'" in out
