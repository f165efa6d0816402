"""`engine export` and `engine run --export` over a real finished queue, as commands."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import canned_batch
import pytest
import yaml
from commands import Command, Ended
from patience import HANG_S

from engine import Batch
from engine.export.request import KINDS
from engine.rehearsal import invented_ids

VIDEOS = 40


def engine(*args: str | Path, cwd: Path | None = None, **env: str) -> Ended:
    return Command(*args, cwd=cwd, **env).wait(HANG_S)


@dataclass(frozen=True)
class Finished:
    """A directory in which a rehearsal has ended, and how."""

    root: Path
    ended: Ended

    def export(self, *args: str | Path, **env: str) -> Ended:
        return engine("export", "-q", "q", *args, cwd=self.root, **env)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """A spreadsheet's links, fetched and exported by one command."""
    root = tmp_path_factory.mktemp("finished")
    with open(root / "links.csv", "w", encoding="utf-8-sig", newline="") as file:
        rows = csv.writer(file, delimiter=";")
        rows.writerow(["Link", "Thema", "Title"])
        for n, name in enumerate(invented_ids(VIDEOS, 7)):
            rows.writerow([f"https://youtu.be/{name}", f"=Thema {n}", "theirs"])
    ended = engine(
        "rehearse", "links.csv", "-q", "q", "-o", "o", "--scene", "absent=0.2", "--seed", "7", "--progress", "none",
        "--export", "csv:table.csv", "--export", "txt:texts", "--export", "parquet", cwd=root,
    )  # fmt: skip
    assert ended.code == 0, ended.said
    yield Finished(root, ended)
    shutil.rmtree(root, ignore_errors=True)


def test_a_run_exports_at_its_end(finished: Finished) -> None:
    """Two commands would do as well; this is one."""
    with open(finished.root / "table.csv", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    ok = [row for row in rows if row["status"] == "ok"]
    assert len(rows) == VIDEOS > len(ok) > VIDEOS / 2
    assert {row["kind"] for row in rows if row["status"] == "absent"} - {""}
    assert all(row["input_Title"] == "theirs" and row["Thema"].startswith("'=Thema") for row in rows)
    texts = list((finished.root / "texts").rglob("*.txt"))
    assert len(texts) == len(ok)
    by_id = {row["id"]: row for row in rows}
    for path in texts:
        found = by_id[path.stem[-12:-1]]
        assert path.read_text().splitlines() == found["text"].removeprefix("'").splitlines()
    said = finished.ended.err.splitlines()
    assert any(line.startswith("transcripts are in o;") for line in said)
    assert f"{VIDEOS} videos in {finished.root / 'table.csv'}" in finished.ended.err
    assert (
        finished.ended.err.count("a column of yours has a name that is taken: Title is input_Title\n") == 2
    ), "of the two tables"


def test_a_failed_export_does_not_undo_the_run(finished: Finished) -> None:
    (finished.root / "theirs/.engine-export").mkdir(parents=True)
    (finished.root / "theirs/mine.csv").write_text("mine")
    ended = engine("rehearse", "-q", "q", "--videos", "0", "--export", "csv:theirs", "--export", "jsonl:lines",
                   "--progress", "none", cwd=finished.root)  # fmt: skip
    assert ended.code == 13, ended.said
    assert "mine.csv" in ended.err
    assert "The run itself is done" in ended.err
    assert (finished.root / "lines/videos.jsonl").exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("xml", "xml"),
        ("csv:q3/x", "lies in"),
        ("csv:mine", "something else"),
        ("csv:mine/x.csv", "something else"),
        ("csv:", "is given twice"),
        ("", "no kind"),
    ],
)
def test_a_wrong_export_is_refused_before_the_run(finished: Finished, text: str, says: str) -> None:
    twice = ["--export", "csv"] if text == "csv:" else []
    (finished.root / "mine").mkdir(exist_ok=True)
    (finished.root / "mine/x.csv").write_text("mine")
    ended = engine("rehearse", "-q", "q3", "--videos", "1", "--export", text, *twice, cwd=finished.root)
    assert (ended.code, (finished.root / "q3").exists()) == (2, False), ended.said
    assert says in ended.err


def test_load_dataset_takes_the_folder_as_it_is(finished: Finished, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    folder = finished.root / "exports/parquet"
    found = datasets.load_dataset(str(folder), cache_dir=str(tmp_path))
    assert list(found) == ["train"]
    table = found["train"]
    assert len(table) == VIDEOS
    row = next(row for row in table if row["status"] == "ok")
    record = Batch(finished.root / "q").record(row["id"])
    assert [cue["text"] for cue in row["segments"]] == [cue.text for cue in record.transcript.cues]
    card = (folder / "README.md").read_text()
    assert yaml.safe_load(card.split("---\n")[1])["configs"][0]["data_files"][0]["split"] == "train"


def test_the_search_of_sqlite_folds_diacritics(finished: Finished) -> None:
    assert finished.export("--to", "sqlite", "-o", "videos.db").code == 0
    with sqlite3.connect(finished.root / "videos.db") as db:
        found = db.execute(
            "SELECT v.id, v.title FROM videos_fts JOIN videos v ON v.rowid = videos_fts.rowid "
            "WHERE videos_fts MATCH 'title:naherei OR channel:naherei'"
        ).fetchall()
        spelt = db.execute(
            "SELECT count(*) FROM videos WHERE title LIKE '%Näherei%' OR channel LIKE '%Näherei%'"
        )
        assert len(found) == spelt.fetchone()[0] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_place_by_itself(finished: Finished, kind: str) -> None:
    ended = finished.export("--to", kind, "--json")
    assert ended.code == 0, ended.said
    value = json.loads(ended.out)
    assert (value["schema_version"], value["where"]) == (1, f"exports/{kind}")
    assert value["rows"] > VIDEOS / 2
    assert (finished.root / "exports" / kind).is_dir()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--to", "csv", "--name", "{id}"), "--name is for txt"),
        (("--to", "txt", "--no-text"), "--no-text is for"),
        (("--to", "txt", "--name", "{nothing}"), "nothing"),
        (("--to", "csv", "--where", "langauge = 'en'"), "langauge"),
        (("--to", "passages", "--words", "5", "--overlap", "5"), "--overlap"),
        (("--to", "parquet", "-o", "x.parquet", "--rows-per-file", "5"), "one file"),
        (("--to", "csv", "-o", "o"), "lies in"),
        (("--to", "csv", "-o", "~/x"), "shell"),
        (("--to", "xml"), "xml"),
        (("--to", "csv", "--words", "0"), "--words"),
    ],
)
def test_wrong_usage(finished: Finished, args: tuple[str, ...], says: str) -> None:
    ended = finished.export(*args)
    assert ended.code == 2
    assert says in ended.err


def test_no_queue(tmp_path: Path) -> None:
    assert engine("export", "--to", "csv", cwd=tmp_path).code == 10
    assert os.listdir(tmp_path) == []


def test_before_the_first_run_there_is_a_table_without_rows(tmp_path: Path) -> None:
    Batch(tmp_path / "q").seed(["dQw4w9WgXcQ"])
    ended = engine("export", "-q", "q", "--to", "csv", cwd=tmp_path)
    assert ended.code == 0, ended.said
    assert (tmp_path / "exports/csv/videos.csv").read_text("utf-8-sig").startswith("id,url,status")


def test_missing_output_is_refused(tmp_path: Path) -> None:
    queue = canned_batch.batch(tmp_path, canned_batch.some(2))
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    ended = engine("export", "-q", queue.root, "--to", "csv", cwd=tmp_path)
    assert ended.code == 2
    assert "is not there" in ended.err


def test_damage_is_told_by_the_exit_code(tmp_path: Path) -> None:
    queue = canned_batch.batch(tmp_path, canned_batch.some(3))
    next((tmp_path / "out").rglob("*.json")).unlink()
    ended = engine("export", "-q", queue.root, "--to", "csv", cwd=tmp_path)
    assert ended.code == 14
    assert "1 record cannot be read" in ended.err


def test_texts_too_long_for_a_cell_are_said(tmp_path: Path) -> None:
    long = canned_batch.Cue(0, 1, "word " * 8000 + "end")
    queue = canned_batch.batch(tmp_path, canned_batch.some(1, cues=(long,)))
    ended = engine("export", "-q", queue.root, "--to", "csv", cwd=tmp_path)
    assert "1 text is longer than 32,767" in ended.err
    assert ended.code == 0


def test_without_pyarrow_it_says_what_to_install(tmp_path: Path) -> None:
    queue = canned_batch.batch(tmp_path, canned_batch.some(1))
    script = "import sys; sys.modules['pyarrow'] = None; from engine.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", script, "export", "-q", queue.root, "--to", "parquet"], check=False,
               capture_output=True, text=True, cwd=tmp_path)  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "pip install '.[parquet]'" in done.stderr
