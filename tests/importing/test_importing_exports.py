"""Each kind of our own exports is understood again, by `engine import` and by `--skip-known`."""

from __future__ import annotations

import builtins
import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import canned_batch
import pyarrow
import pytest
from audited import intact
from canned_batch import Canned
from pyarrow import parquet
from recount import by_id, manifest
from small_run import told
from support import damage, ids

from engine import Batch, UsageError
from engine.export.request import KINDS
from engine.inputs import exported_tables
from engine.model import Cue, Kind

pytestmark = pytest.mark.usefixtures("no_fsync")

TIMED = ("parquet", "jsonl", "sqlite", "srt", "vtt")
UNTIMED = ("csv", "xlsx", "txt", "md", "passages")
CUES = (Cue(0.0, 1.5, "it's <i>not</i> & 5 > 3"), Cue(2.25, 1.0, "zwei\nZeilen ☂"), Cue(61.0, 2.5, "=last"))
WORDS = ["abcdefghijk", "ABCDEFGHIJK", "documentary"]  # which no name of others would be believed to hold
OK = [*ids(4), *WORDS]
LOST = ids(2, 50)


@dataclass(frozen=True)
class Exported:
    root: Path

    def folder(self, kind: str) -> Path:
        return self.root / "x" / kind


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A batch, exported as each kind."""
    root = tmp_path_factory.mktemp("exported")
    videos = [Canned(name, title=f"Talk {n}", cues=CUES, generated=n % 2 == 0) for n, name in enumerate(OK)]
    lost = [Canned(name, kind=kind) for name, kind in zip(LOST, (Kind.NETWORK, Kind.PRIVATE), strict=True)]
    batch = Batch(canned_batch.batch(root, [videos[0], *lost, *videos[1:]]).root)
    for kind in KINDS:
        batch.export(kind, root / "x" / kind)  # type: ignore[arg-type]
    return Exported(root)


def take_in(root: Path, source: Path, *more: str) -> tuple[int, str, str]:
    return told("import", str(source), "-q", str(root / "q"), "-o", str(root / "o"), *more)


def test_every_kind_is_one_or_the_other() -> None:
    assert {*TIMED, *UNTIMED} == set(KINDS)


@pytest.mark.parametrize("kind", TIMED)
def test_what_has_times_comes_back_with_the_same_texts_and_times(
    exported: Exported, tmp_path: Path, kind: str
) -> None:
    code, out, _ = take_in(tmp_path, exported.folder(kind))
    assert (code, out) == (0, f"{len(OK)} videos: imported {len(OK)}, already 0, rejected 0\n")
    rows = by_id(manifest(tmp_path / "q"))
    assert set(rows) == set(OK)
    batch = Batch(tmp_path / "q")
    table = kind in ("parquet", "jsonl", "sqlite")
    for n, name in enumerate(OK):
        record = batch.record(name)
        assert record.transcript.cues == CUES
        assert rows[name]["imported_from"].startswith(str(exported.folder(kind)))
        assert rows[name]["title"] == f"Talk {n}"
        if table:
            about = record.metadata
            assert (about.channel, about.duration_s, about.view_count) == ("Someone", 60, 1234)
            assert about.published == "2024-02-29"
            assert (record.transcript.language, record.transcript.is_generated) == ("en", n % 2 == 0)
    assert intact(str(tmp_path / "q")).ok
    assert take_in(tmp_path, exported.folder(kind))[1].startswith(f"{len(OK)} videos: imported 0, already")


@pytest.mark.parametrize("kind", UNTIMED)
def test_what_has_no_times_is_left_to_be_fetched(exported: Exported, tmp_path: Path, kind: str) -> None:
    code, out, err = take_in(tmp_path, exported.folder(kind))
    assert code == 2
    assert out.startswith(f"{len(OK)} videos: imported 0, already 0, rejected {len(OK)}; {len(OK)} files not")
    assert f"{len(OK)} of these videos are left to fetch" in err
    assert "text without times" in (tmp_path / "q" / "rejects.csv").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_the_videos_of_each_kind_are_known(exported: Exported, tmp_path: Path, kind: str) -> None:
    """Those that failed are not."""
    (tmp_path / "list.txt").write_text("".join(f"{name}\n" for name in (*OK, *LOST)))
    seed = ("seed", str(tmp_path / "list.txt"), "-q", str(tmp_path / "q"))
    code, out, _ = told(*seed, "--skip-known", str(exported.folder(kind)))
    assert code == 0
    assert f"added 2, duplicate 0, rejected 0, known {len(OK)}" in out


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "sqlite", "csv", "xlsx"])
def test_without_texts_the_videos_are_known_too(exported: Exported, tmp_path: Path, kind: str) -> None:
    Batch(exported.root / "queue").export(kind, tmp_path / "x", text=False)  # type: ignore[arg-type]
    note: list[str] = []
    Batch(tmp_path / "q").seed([*OK, *LOST], skip_known=[tmp_path / "x"], on_note=note.append)
    assert Batch(tmp_path / "q").status().total == len(LOST)
    assert note[0] == f"--skip-known {tmp_path / 'x'}: {len(OK)} files or rows there belong to a video"


@pytest.mark.parametrize("kind", ["parquet", "jsonl", "sqlite", "csv", "xlsx"])
def test_one_file_may_be_given_by_itself(exported: Exported, tmp_path: Path, kind: str) -> None:
    """As --skip-known it is a list of videos, whatever became of them."""
    suffix = "db" if kind == "sqlite" else kind
    file = tmp_path / f"x.{suffix}"
    Batch(exported.root / "queue").export(kind, file)  # type: ignore[arg-type]
    code, out, _ = take_in(tmp_path, file)
    assert (code == 0) == (kind in TIMED)
    assert out.startswith(f"{len(OK)} videos: imported {len(OK) if kind in TIMED else 0}")
    Batch(tmp_path / "q2").seed([*OK, *LOST, "dQw4w9WgXcQ"], skip_known=[file])
    assert Batch(tmp_path / "q2").status().total == 1


@pytest.mark.parametrize("store", ["files", "shards"])
def test_from_a_program_into_each_store(exported: Exported, tmp_path: Path, store: Any) -> None:
    batch = Batch(tmp_path / "q")
    result = batch.import_folder(exported.folder("parquet"), output=tmp_path / "o", store=store)
    assert (result.imported, result.rejected) == (len(OK), 0)
    row = next(batch.rows(status="ok"))
    assert ("#" in row.files["json"]) == (store == "shards")
    assert {batch.record(name).transcript.cues for name in OK} == {CUES}
    assert (tmp_path / "q/FORMAT").read_text().strip() == ("2" if store == "shards" else "1")
    assert batch.verify().ok
    other = "files" if store == "shards" else "shards"
    with pytest.raises(UsageError, match="store"):
        batch.import_folder(exported.folder("parquet"), store=other)  # type: ignore[arg-type]
    if store == "shards":
        with pytest.raises(UsageError, match="engine export --to srt"):
            Batch(tmp_path / "q3").import_folder(
                exported.folder("parquet"), output=tmp_path / "o3", store="shards", format="srt"
            )


# ---- tables that are not as ours --------------------------------------------------------------------------
@pytest.fixture
def _no_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any) -> Any:
        if name.partition(".")[0] == "pyarrow":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", missing)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)


@pytest.mark.usefixtures("_no_packages")
@pytest.mark.parametrize("kind", ["parquet", "xlsx"])
def test_without_the_extra_it_says_which_one(exported: Exported, tmp_path: Path, kind: str) -> None:
    """Other files are imported all the same; a seeding that would fetch all again does not begin."""
    folder = tmp_path / "left"
    folder.mkdir()
    for path in exported.folder(kind).rglob(f"*.{kind}"):
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "dQw4w9WgXcQ.vtt").write_text("WEBVTT\n\n00:00.500 --> 00:02.000\nhello\n")
    assert take_in(tmp_path, folder)[0] == 0
    assert f"pip install '.[{kind}]'" in (tmp_path / "q" / "rejects.csv").read_text()
    code, _, err = told("seed", "dQw4w9WgXcQ", "-q", str(tmp_path / "q2"), "--skip-known", str(folder))
    assert code == 2
    assert f"pip install '.[{kind}]'" in err
    assert not (tmp_path / "q2").exists()


@pytest.mark.parametrize("kind", ["parquet", "sqlite", "xlsx"])
@pytest.mark.parametrize("how", ["cut", "garbage", "flipped"])
def test_a_damaged_table_takes_nothing_else_down(
    exported: Exported, tmp_path: Path, kind: str, how: str
) -> None:
    folder = tmp_path / "left"
    folder.mkdir()
    (source,) = [
        path for path in exported.folder(kind).rglob("*.*") if path.suffix in (".parquet", ".db", ".xlsx")
    ]
    broken = folder / source.name
    broken.write_bytes(source.read_bytes()[: 700 if how == "cut" else None])
    if how == "garbage":
        broken.write_bytes(b"SQLite format 3\0" + b"nonsense" * 400)
    if how == "flipped":
        for at in range(300, broken.stat().st_size - 300, 97):
            damage(str(broken), at)
    (folder / f"T [{ids(1)[0]}].en.vtt").write_text("WEBVTT\n\n00:00.500 --> 00:02.000\nhello\n")
    (folder / ".engine-export").mkdir()
    code, out, _ = take_in(tmp_path, folder)
    assert code == 0, out
    assert ids(1)[0] in by_id(manifest(tmp_path / "q"))
    assert source.name in (tmp_path / "q" / "rejects.csv").read_text()
    assert told("seed", "dQw4w9WgXcQ", "-q", str(tmp_path / "q"), "--skip-known", str(folder))[0] == 0


def test_data_sets_of_others_with_captions_are_taken(tmp_path: Path) -> None:
    """No status, another name of the id, several row groups, rows asked for in any order."""
    names = ids(9)
    value = {
        "video_id": names,
        "transcript": [[{"text": f"text {n}", "start": 1.0 * n}] for n in range(8)] + [None],
        "language": ["de"] * 9,
    }
    (tmp_path / "d").mkdir()
    file = tmp_path / "d" / "set.parquet"
    parquet.write_table(pyarrow.table(value), file, row_group_size=2)
    assert [(row.video_id, row.number) for row in exported_tables.rows(str(file))] == list(
        zip(names[:8], range(8), strict=True)
    )
    for number in (7, 0, 3, 2, 6):
        row = exported_tables.row(str(file), number)
        assert (row["video_id"], row["transcript"][0]["text"]) == (names[number], f"text {number}")
    with pytest.raises(ValueError, match="row 99"):
        exported_tables.row(str(file), 99)
    code, out, _ = take_in(tmp_path, tmp_path / "d", "-l", "de")
    assert (code, out) == (0, "8 videos: imported 8, already 0, rejected 0\n")


def leave_others(folder: Path) -> None:
    """Tables of something else, which a folder with transcripts may hold as well."""
    parquet.write_table(pyarrow.table({"id": ids(3), "score": [1, 2, 3]}), folder / "scores.parquet")
    parquet.write_table(pyarrow.table({"segments": [1, 2]}), folder / "numbers.parquet")
    with sqlite3.connect(folder / "app.db") as db:
        db.execute("CREATE TABLE videos (id TEXT, seen INTEGER)")
        db.execute("INSERT INTO videos VALUES (?, 1)", (ids(1)[0],))
    with sqlite3.connect(folder / "empty.sqlite"):
        pass
    (folder / "thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" * 100)
    (folder / "rows.jsonl").write_text(
        json.dumps({"video_id": ids(1)[0], "status": "failed", "segments": None})
    )


def test_tables_of_something_else_are_passed_over(exported: Exported, tmp_path: Path) -> None:
    """A list of what is wanted may lie in the folder with what is there."""
    from openpyxl import Workbook

    folder = tmp_path / "left"
    folder.mkdir()
    leave_others(folder)
    book = Workbook()
    book.active.append(["url", "status", "topic"])
    book.active.append([f"https://youtu.be/{ids(1)[0]}", "ok", "music"])
    book.save(folder / "wanted.xlsx")
    assert take_in(tmp_path, folder)[1] == "0 videos: imported 0, already 0, rejected 0\n"
    assert told("seed", ids(1)[0], "-q", str(tmp_path / "q"), "--skip-known", str(folder))[1].count("added 1")
