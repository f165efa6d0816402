"""Exports to a real S3 server: the same files, complete or not there at all."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import canned_batch
import pandas as pd
import pyarrow.parquet as pq
import pytest
from canned_batch import some
from commands import COMMAND, environment
from moto.server import ThreadedMotoServer

from engine import Batch, UsageError
from engine.export.place import LocalPlace
from engine.export.store import RemotePlace

BUCKET = "transcripts"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    import s3fs

    for name, value in variables(address).items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    fs = s3fs.S3FileSystem(use_listings_cache=False)
    if not fs.exists(BUCKET):
        fs.mkdir(BUCKET)
    yield fs
    for path in fs.find(BUCKET):
        fs.rm_file(path)


def variables(address: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret-word",
        "AWS_DEFAULT_REGION": "us-east-1",
    }


def seen(fs: Any, where: str) -> list[str]:
    """The objects below a place, but our own."""
    root = where.removeprefix("s3://")
    names = [path.removeprefix(f"{root}/") for path in fs.find(root)]
    return sorted(name for name in names if not name.startswith("."))


@pytest.mark.parametrize("kind", ["csv", "jsonl", "sqlite", "txt", "parquet", "passages"])
def test_the_store_holds_what_a_directory_would(s3: Any, tmp_path: Path, kind: Any) -> None:
    queue = canned_batch.batch(tmp_path, some(9))
    batch, where = Batch(queue.root), f"s3://{BUCKET}/{kind}"
    options = {"rows_per_file": 4} if kind == "parquet" else {}
    batch.export(kind, tmp_path / "x", **options)  # type: ignore[arg-type]
    meant = {
        path.relative_to(tmp_path / "x").as_posix(): path.read_bytes()
        for path in (tmp_path / "x").rglob("*")
        if path.is_file() and ".engine-export" not in path.parts
    }
    for _ in range(2):
        result = batch.export(kind, where, **options)  # type: ignore[arg-type]
        assert seen(s3, where) == sorted(meant)
        assert result.rows == 9
    if kind in ("csv", "jsonl", "txt", "passages"):
        assert {name: s3.cat_file(f"{BUCKET}/{kind}/{name}") for name in meant} == meant
    if kind == "parquet":
        assert pq.read_table(f"{BUCKET}/parquet/data", filesystem=s3).num_rows == 9
        assert len([name for name in meant if name.endswith(".parquet")]) == 3
    if kind == "csv":
        assert len(pd.read_csv(f"{where}/videos.csv")) == 9


def test_new_and_gone(s3: Any, tmp_path: Path) -> None:
    queue = canned_batch.batch(tmp_path, some(3))
    batch, where = Batch(queue.root), f"s3://{BUCKET}/new"
    batch.export("txt", where)
    canned_batch.grow(queue, some(2, 3))
    assert batch.export("txt", where, new=True).rows == 2
    assert batch.export("txt", where, new=True).rows == 0
    assert len(seen(s3, where)) == 5
    batch.export("txt", where, name="{id}")
    assert seen(s3, where) == sorted(f"{video.video_id}.txt" for video in some(5))


def test_what_is_not_ours_is_refused(s3: Any, tmp_path: Path) -> None:
    queue = canned_batch.batch(tmp_path, some(3))
    s3.pipe_file(f"{BUCKET}/theirs/mine.txt", b"mine")
    with pytest.raises(UsageError, match=r"mine\.txt"):
        Batch(queue.root).export("csv", f"s3://{BUCKET}/theirs")
    assert s3.find(f"{BUCKET}/theirs") == [f"{BUCKET}/theirs/mine.txt"]


def test_a_file_in_a_store(s3: Any, tmp_path: Path) -> None:
    queue = canned_batch.batch(tmp_path, some(3))
    for _ in range(2):
        Batch(queue.root).export("csv", f"s3://{BUCKET}/one/table.csv")
    assert seen(s3, f"s3://{BUCKET}/one") == ["table.csv"]


def test_an_upload_that_breaks_off_shows_nothing(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = canned_batch.batch(tmp_path, some(6))
    where = f"s3://{BUCKET}/broken"
    give = RemotePlace.give

    def breaking(self: RemotePlace, files: Any) -> None:
        if any(name.startswith("data/train-00001") for _, name in files):
            raise KeyboardInterrupt
        give(self, files)

    monkeypatch.setattr(RemotePlace, "give", breaking)
    with pytest.raises(KeyboardInterrupt):
        Batch(queue.root).export("parquet", where, rows_per_file=2)
    monkeypatch.undo()
    for name, value in {k: v for k, v in os.environ.items() if k.startswith("AWS")}.items():
        monkeypatch.setenv(name, value)
    left = seen(s3, where)
    assert left == ["data/train-00000-of-00003.parquet"]
    assert pq.read_table(f"{BUCKET}/broken/{left[0]}", filesystem=s3).num_rows == 2


def test_again_after_one_that_broke_off(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = canned_batch.batch(tmp_path, some(6))
    where = f"s3://{BUCKET}/again"
    with monkeypatch.context() as broken:
        broken.setattr("engine.export.file_list.FileList.finish", lambda *args, **more: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            Batch(queue.root).export("parquet", where, rows_per_file=2)
    Batch(queue.root).export("parquet", where, rows_per_file=3)
    assert seen(s3, where) == [
        "README.md", "data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "stats.json",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("s3://no-such-bucket-here/x", "no-such-bucket-here"),
        ("nothing://x/y", "nothing"),
        ("s3://", "bucket"),
    ],
)
def test_errors_say_what_is_wrong(s3: Any, address: str, tmp_path: Path, where: str, says: str) -> None:
    queue = canned_batch.batch(tmp_path, some(2))
    done = subprocess.run(
        [*COMMAND, "export", "-q", queue.root, "--to", "csv", "-o", where],
        check=False, capture_output=True, text=True, env=environment(**variables(address)),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret-word" not in done.stderr


def test_without_the_packages_it_says_which(tmp_path: Path) -> None:
    queue = canned_batch.batch(tmp_path, some(2))
    script = "import sys; sys.modules['s3fs'] = None; from engine.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "export", "-q", queue.root, "--to", "csv", "-o", "s3://bucket/x"],
        check=False, capture_output=True, text=True, env=environment(),
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "s3fs" in done.stderr


def test_both_kinds_of_place_offer_the_same() -> None:
    def offered(place: type) -> set[str]:
        return {name for name in vars(place) if not name.startswith("_")}

    assert offered(LocalPlace) == offered(RemotePlace)
