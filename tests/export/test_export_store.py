"""Exports to a real S3 server: the same files, complete or not there at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import canned_batch
import pandas as pd
import pyarrow.parquet as pq
import pytest
from canned_batch import some
from commands import COMMAND, environment, until
from fleet_night import DEAD_PROXY
from injected import injected
from moto.server import ThreadedMotoServer
from patience import HANG_S

from engine import Batch, DiskError, HeldError, UsageError
from engine.export import store_lock
from engine.export.file_list import FileList
from engine.export.place import LocalPlace
from engine.export.store import RemotePlace
from engine.export.store_lock import StoreLock
from engine.storage import object_store

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
        _read_as_the_card_says(where, tmp_path)
        _read_as_the_card_says(str(tmp_path / "x"), tmp_path)
        assert len([name for name in meant if name.endswith(".parquet")]) == 3
    if kind == "csv":
        assert len(pd.read_csv(f"{where}/videos.csv")) == 9


def _read_as_the_card_says(where: str, tmp_path: Path) -> None:
    import datasets

    assert len(pd.read_parquet(f"{where}/data")) == 9
    files = f"{where}/data/*.parquet"
    loaded = datasets.load_dataset(
        "parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache")
    )
    assert loaded.num_rows == 9


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


def test_of_two_at_once_the_second_is_refused_and_the_first_is_whole(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = canned_batch.batch(tmp_path, some(6))
    where, inside, second = f"s3://{BUCKET}/two", threading.Event(), threading.Event()
    finish = FileList.finish

    def waiting(self: FileList, **more: Any) -> None:
        inside.set()
        assert second.wait(60)
        finish(self, **more)

    monkeypatch.setattr(FileList, "finish", waiting)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(Batch(queue.root).export, "parquet", where, rows_per_file=4)
        try:
            assert inside.wait(60)
            with pytest.raises(HeldError, match=r"its lock ends at \d{4}-") as held:
                Batch(queue.root).export("parquet", where, rows_per_file=4)
        finally:
            second.set()
        assert first.result().rows == 6
    assert held.value.pid == os.getpid()
    assert pq.read_table(f"{BUCKET}/two/data", filesystem=s3).num_rows == 6
    assert s3.find(f"{BUCKET}/two/.engine-export") == [
        f"{BUCKET}/two/.engine-export/parquet.{name}" for name in ("files", "json", "rows")
    ]


def test_of_two_that_begin_together_the_place_is_whole(s3: Any, tmp_path: Path) -> None:
    queue = canned_batch.batch(tmp_path, some(6))
    where = f"s3://{BUCKET}/many"
    line = [*COMMAND, "export", "-q", queue.root, "--to", "csv", "-o", where]
    started = [subprocess.Popen(line, env=environment(), stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [each.communicate(timeout=300)[1] for each in started]
    codes = [each.returncode for each in started]
    assert set(codes) <= {0, 11}, said
    assert 0 in codes, said
    assert seen(s3, where) == ["videos.csv"]


@pytest.fixture
def fast_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_lock, "BEAT_S", 0.1)
    monkeypatch.setattr(store_lock, "STALE_S", 2.0)


def test_a_lock_that_a_crash_left_is_taken_over_when_it_is_stale(s3: Any, fast_locks: None) -> None:
    def lock() -> StoreLock:
        return StoreLock(s3, f"{BUCKET}/stale/.engine-export", "s3://…")

    crashed = lock()
    crashed._ended.set()  # as a process that is gone, or stands still
    crashed._thread.join()
    with pytest.raises(HeldError):
        lock()
    next_one = waited_for(lock)
    next_one.confirm(again=True)
    with pytest.raises(HeldError, match="taken s3://… over"):
        crashed.confirm(again=True)
    with pytest.raises(HeldError):  # that one is renewed
        lock()
    crashed.release()
    next_one.confirm(again=True)
    next_one.release()
    assert s3.find(f"{BUCKET}/stale") == []


def waited_for(lock: Callable[[], StoreLock]) -> StoreLock:
    give_up_at = time.monotonic() + 120
    while True:
        try:
            return lock()
        except HeldError:
            assert time.monotonic() < give_up_at
            time.sleep(0.2)


def test_a_lock_that_is_renewed_outlives_its_time(s3: Any, fast_locks: None) -> None:
    lock = StoreLock(s3, f"{BUCKET}/renewed", "s3://…")
    first = s3.modified(f"{BUCKET}/renewed/lock-000001")
    give_up_at = time.monotonic() + 120
    while s3.modified(f"{BUCKET}/renewed/lock-000001") == first:
        assert time.monotonic() < give_up_at
        time.sleep(0.1)
    lock.release()
    assert s3.find(f"{BUCKET}/renewed") == []


def test_a_store_that_does_not_refuse_the_second_tells_the_first(
    s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create(fs: Any, path: str, data: bytes) -> bool:
        fs.pipe_file(path, data)
        return True

    monkeypatch.setattr(object_store, "create", create)
    with monkeypatch.context() as blind:  # both look before either writes
        blind.setattr(StoreLock, "_numbers", lambda self: [self._number] * bool(self._number))
        first, second = (StoreLock(s3, f"{BUCKET}/lax", "s3://…") for _ in range(2))
    second.confirm(again=True)
    with pytest.raises(HeldError):
        first.confirm(again=True)
    for each in (first, second):
        each.release()
    assert s3.find(f"{BUCKET}/lax") == []


def test_files_that_vanish_while_it_works_are_no_success(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = canned_batch.batch(tmp_path, some(3))
    give = RemotePlace.give

    def losing(self: RemotePlace, files: Any) -> None:
        give(self, files)
        for _, name in files:
            if name.endswith(".parquet"):
                s3.rm_file(self._path(name))

    monkeypatch.setattr(RemotePlace, "give", losing)
    with pytest.raises(DiskError, match=r"data/train-00000-of-00001\.parquet was written there and is gone"):
        Batch(queue.root).export("parquet", f"s3://{BUCKET}/vanishing")


@pytest.mark.parametrize("kind", ["csv", "parquet", "txt"])
def test_new_makes_whole_what_is_not_there_any_more(s3: Any, tmp_path: Path, kind: Any) -> None:
    queue = canned_batch.batch(tmp_path, some(3))
    for where in (f"s3://{BUCKET}/whole-{kind}", str(tmp_path / "whole")):
        batch = Batch(queue.root)
        batch.export(kind, where)
        assert batch.export(kind, where, new=True).resumed
        if "://" in where:
            name = next(n for n in seen(s3, where) if n.endswith(("csv", "parquet", "txt")))
            s3.rm_file(f"{where.removeprefix('s3://')}/{name}")
        else:
            file = next(f for f in (tmp_path / "whole").rglob("*.*") if f.suffix[1:] == kind)
            name = file.relative_to(tmp_path / "whole").as_posix()
            file.unlink()
        result = batch.export(kind, where, new=True)
        assert (result.rows, result.resumed, result.gone) == (3, False, (name,))
        assert batch.export(kind, where, new=True).resumed


def test_what_is_published_names_no_path(s3: Any, tmp_path: Path) -> None:
    queue = canned_batch.batch(tmp_path, some(3))
    Batch(queue.root).export("parquet", f"s3://{BUCKET}/public")
    for path in s3.find(f"{BUCKET}/public"):
        assert str(tmp_path).encode() not in s3.cat_file(path)


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


def test_an_outage_is_no_wrong_usage(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    queue = canned_batch.batch(tmp_path, some(2))
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", DEAD_PROXY)
    with pytest.raises(DiskError, match="when the store can be reached"):
        Batch(queue.root).export("csv", f"s3://{BUCKET}/x")


def test_the_hub_offline_is_an_outage_and_no_bucket(tmp_path: Path) -> None:
    queue = canned_batch.batch(tmp_path, some(2))
    done = subprocess.run(
        [*COMMAND, "export", "-q", queue.root, "--to", "csv", "-o", "hf://datasets/me/talks"],
        check=False, capture_output=True, text=True, env=environment(HF_HUB_OFFLINE="1"),
    )  # fmt: skip
    assert (done.returncode, "the Hub" in done.stderr, "bucket" in done.stderr) == (13, True, False), (
        done.stderr
    )


def test_no_credentials_and_a_scheme_in_capitals(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    queue = canned_batch.batch(tmp_path, some(2))
    assert Batch(queue.root).export("csv", f"S3://{BUCKET}/capitals").where == f"s3://{BUCKET}/capitals"
    assert seen(s3, f"s3://{BUCKET}/capitals") == ["videos.csv"]
    s3fs.S3FileSystem.clear_instance_cache()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(UsageError, match="credentials"):
        Batch(queue.root).export("csv", f"s3://{BUCKET}/x")


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


HELD = """
def _held(self):
    import pathlib
    import time
    pathlib.Path({path!r}).touch()
    time.sleep(3600)
    yield b""
ManifestSlices.__iter__ = _held
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_it_and_leaves_no_lock(s3: Any, tmp_path: Path, number: signal.Signals) -> None:
    """Under a scheduler or systemd: what is tried again must not wait until a lock is stale."""
    queue = canned_batch.batch(tmp_path, some(3))
    where = f"s3://{BUCKET}/ended"
    line = [*COMMAND, "export", "-q", queue.root, "--to", "csv", "-o", where]
    there = tmp_path / "at-work"
    held = environment(**injected(tmp_path, {"engine.export.slices": HELD.format(path=str(there))}))
    with subprocess.Popen(line, env=held, stderr=subprocess.PIPE, text=True) as process:
        until(there.exists, HANG_S, "for the export")
        process.send_signal(number)
        _, said = process.communicate(timeout=HANG_S)
    assert (process.returncode, "Traceback" in said) == (128 + number, False), said
    assert not [name for name in s3.find(BUCKET) if "lock-" in name]
    assert Batch(queue.root).export("csv", where).rows == 3


def test_a_signal_in_the_moment_of_taking_it_leaves_no_lock(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def taken(lock: StoreLock) -> None:
        real(lock)
        raise KeyboardInterrupt

    real = StoreLock._take
    monkeypatch.setattr(StoreLock, "_take", taken)
    with pytest.raises(KeyboardInterrupt):
        RemotePlace(f"s3://{BUCKET}/moment", is_file=False)
    assert s3.find(BUCKET) == []
