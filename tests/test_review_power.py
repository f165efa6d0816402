"""Orders of steps that only a power cut can tell from others: each name is durable before something relies on it."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest
from support import Hand, batch, file_rows, finish, output_of

from engine.model import Kind
from engine.monitor.monitor import Monitor
from engine.output.publisher import Output
from engine.queue.directory import Queue
from engine.queue.journal import Journal
from engine.queue.manifest import read_checkpoint
from engine.queue.segments import split_chunks
from engine.recovery.requeue import retry
from engine.seeding.seed import publish_unfinished
from engine.storage import disk


class Steps:
    """What goes to disk, in order: (what, path). Paths are relative to the test's directory."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[tuple[str, str]] = []
        sync_dir, rename = disk.sync_dir, disk._rename

        def spy_sync(path: str) -> None:
            self.seen.append(("sync", os.path.relpath(path, root)))
            sync_dir(path)

        def spy_rename(src: str, dst: str) -> None:
            self.seen.append(("rename", os.path.relpath(dst, root)))
            rename(src, dst)

        monkeypatch.setattr(disk, "sync_dir", spy_sync)
        monkeypatch.setattr(disk, "_rename", spy_rename)


def test_a_filed_token_is_durable_before_the_checkpoint_forgets_its_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = batch(tmp_path)
    hand = Hand(queue)
    hand.work()
    hand.close()
    steps = Steps(tmp_path, monkeypatch)
    file_rows(queue)
    filed = [n for n, (what, path) in enumerate(steps.seen) if what == "rename" and "/filed/" in path]
    synced = max(n for n, step in enumerate(steps.seen) if step == ("sync", "queue/filed/000000"))
    last_checkpoint = max(
        n for n, step in enumerate(steps.seen) if step == ("rename", "queue/checkpoint.json")
    )
    assert filed
    assert max(filed) < synced < last_checkpoint
    checkpoint = read_checkpoint(queue)
    assert checkpoint is not None
    assert checkpoint.open == {}


def test_the_owner_of_a_journal_syncs_its_name_though_another_made_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "0.jsonl")
    dead = Journal(path)
    dead.write("try", {"job": "a"})
    dead.close()
    steps = Steps(tmp_path, monkeypatch)
    book = Journal(path)
    book.write("try", {"job": "b"})
    book.sync()
    book.sync()
    book.close()
    assert steps.seen == [("sync", ".")]


def test_a_new_directory_has_a_durable_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps(tmp_path, monkeypatch)
    disk.ensure_dirs(str(tmp_path / "a" / "b"))
    assert steps.seen == [("sync", "."), ("sync", "a")]
    disk.ensure_dirs(str(tmp_path / "a" / "b"))
    assert len(steps.seen) == 2
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        disk.ensure_dirs(str(tmp_path / "file"))
    with pytest.raises(OSError):
        disk.ensure_dirs(str(tmp_path / "file" / "b"))


def test_names_that_another_process_made_are_synced_by_whoever_relies_on_them(tmp_path: Path) -> None:
    (tmp_path / "ab").mkdir()  # by a process that may never have synced it
    output = Output(str(tmp_path), ("md",), "w")
    output.touch("abcdefghijk")
    assert output.touched() == {"", "ab"}
    output.touch("abcdefghijk")
    assert output.touched() == {"ab"}
    output.close()


def test_a_checkpoint_that_does_not_fit_goes_before_the_manifest_grows_again(tmp_path: Path) -> None:
    """Otherwise a death before the next checkpoint leaves a manifest that is long enough for the old one."""
    queue = batch(tmp_path, 40, segments=2)
    finish(queue)
    os.truncate(queue.manifest, os.stat(queue.manifest).st_size // 2)
    monitor = Monitor(queue)  # and it dies here
    monitor.close()
    assert read_checkpoint(queue) is None
    file_rows(queue)
    assert _ids(queue) == sorted(set(_ids(queue)))
    assert len(_ids(queue)) == 40


def test_rows_come_once_when_the_monitor_dies_while_it_derives_the_manifest_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = batch(tmp_path, 40, segments=2)
    finish(queue)
    os.truncate(queue.manifest, os.stat(queue.manifest).st_size // 2)

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("engine.monitor.monitor.write_checkpoint", dies)
        monitor = Monitor(queue)
        with pytest.raises(KeyboardInterrupt):
            monitor.tick()  # the rows are in the manifest, its checkpoint is not there yet
        monitor.close()
    with open(queue.manifest, "ab") as file:  # and whatever else followed
        file.write(b'{"video_id": "not promised"}\n' * 40)
    file_rows(queue)
    assert len(_ids(queue)) == len(set(_ids(queue))) == 40


def test_the_monitor_keeps_no_rows_that_it_has_filed(tmp_path: Path) -> None:
    queue = batch(tmp_path)
    hand = Hand(queue)
    hand.work(1, move=False)
    monitor = Monitor(queue)
    monitor.tick()
    monitor.tick()
    bodies = [s.final for tail in monitor._followers.values() for s in tail.state.jobs.values()]
    assert bodies
    assert all(body == {} for body in bodies)
    monitor.close()
    hand.die()
    finish(queue)
    assert len(_ids(queue)) == len(set(_ids(queue))) == 40
    shutil.rmtree(output_of(queue))


def test_a_retry_after_one_whose_fsync_failed_writes_its_lines_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel may have dropped them, and would call a second fsync a success."""
    queue = batch(tmp_path, 16)
    finish(queue, lambda _: Kind.NETWORK)
    (path,) = (Path(queue.journal(chunk)) for chunk in split_chunks(queue.segment(0)))
    before = path.stat().st_size

    def fails(fd: int) -> None:
        if os.readlink(f"/proc/self/fd/{fd}") == str(path):
            raise OSError(errno.EIO, "failing")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="failing"):
        patch.setattr(disk, "_fdatasync", fails)
        retry(queue)
    lines = path.read_bytes()[before:]
    assert lines.count(b"reopen ") == 16
    again: list[bytes] = []
    pwrite = disk._pwrite

    def spy(fd: int, data: memoryview, offset: int) -> int:
        if os.readlink(f"/proc/self/fd/{fd}") == str(path):
            again.append(bytes(data))
        return pwrite(fd, data, offset)

    monkeypatch.setattr(disk, "_pwrite", spy)
    retry(queue)
    assert len(again) == 1
    assert again[0].endswith(lines)
    assert path.read_bytes()[before:] == lines


def test_a_segment_left_unpublished_has_a_durable_name_before_its_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = batch(tmp_path, 16)
    shutil.rmtree(queue.pending(0))
    steps = Steps(tmp_path, monkeypatch)
    publish_unfinished(queue)
    named = steps.seen.index(("sync", "queue/segments"))
    assert named < steps.seen.index(("rename", "queue/pending/000000"))


def _ids(queue: Queue) -> list[str]:
    import json

    with open(queue.manifest, "rb") as file:
        return sorted(json.loads(line)["video_id"] for line in file)
