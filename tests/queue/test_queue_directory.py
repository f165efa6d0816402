"""The queue directory: made once, opened by those who know its format, refused where it cannot work."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import Crash, dying_at

from engine.errors import EngineError, NoQueueError, UsageError
from engine.queue.directory import Queue, chunks_in, deferred_chunks, exists, open_queue, segment_numbers
from engine.queue.making import make_queue
from engine.queue.mounts import refuse_remote


def test_making_twice_is_opening(tmp_path: Path) -> None:
    root = str(tmp_path / "deep" / "queue")
    assert not exists(root)
    queue = make_queue(root, rehearsal=True)
    queue.write_batch({**queue.read_batch(), "frozen": {"output": "x"}})
    again = make_queue(root)
    assert again == queue == open_queue(root)
    assert again.read_batch()["rehearsal"] is True
    assert again.read_batch()["frozen"] == {"output": "x"}
    assert (queue.total(), queue.segments()) == (0, [])


def test_private_to_its_owner(tmp_path: Path) -> None:
    queue = make_queue(str(tmp_path / "q"))
    assert os.stat(queue.root).st_mode & 0o077 == 0
    assert os.stat(queue.batch).st_mode & 0o077 == 0


def test_a_death_at_any_step_leaves_a_place_for_a_queue(tmp_path: Path) -> None:
    for step in range(200):
        root = str(tmp_path / str(step))
        with dying_at(step):
            try:
                make_queue(root)
                break
            except Crash:
                pass
        assert make_queue(root).read_batch()["schema_version"] == 1
    assert step > 15


@pytest.mark.parametrize(
    ("text", "error"),
    [(b"3\n", UsageError), (b"", UsageError), (b"\xff\xfe", UsageError), (b"one", UsageError)],
)
def test_other_formats_are_refused(tmp_path: Path, text: bytes, error: type[EngineError]) -> None:
    queue = make_queue(str(tmp_path))
    (tmp_path / "FORMAT").write_bytes(text)
    with pytest.raises(error) as caught:
        open_queue(queue.root)
    assert caught.value.exit_code == 2
    assert str(tmp_path) in str(caught.value)


def test_no_queue_here(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for root in (tmp_path, tmp_path / "nothing", tmp_path / "file"):
        with pytest.raises(NoQueueError) as caught:
            open_queue(str(root))
        assert caught.value.exit_code == 10


def test_where_no_queue_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError):
            make_queue(str(root))


@pytest.mark.parametrize("text", ["{", "\x00", "[1", '{"a": NaN'])
def test_a_batch_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    queue = make_queue(str(tmp_path))
    (tmp_path / "batch.json").write_text(text)
    with pytest.raises(UsageError, match=r"batch\.json"):
        queue.read_batch()


def test_listing_ignores_what_is_not_meant(tmp_path: Path) -> None:
    queue = make_queue(str(tmp_path))
    for name in ("0000000007~000001.2.3.4", "0000000001~000001.0.3.4", "x~000001.2.3.4", "5~a", "noise"):
        (tmp_path / "deferred" / name).touch()
    assert [(when, chunk.k) for when, chunk, _ in deferred_chunks(queue)] == [(1, 0), (7, 2)]
    assert chunks_in(queue.deferred) == []
    assert chunks_in(str(tmp_path / "nowhere")) == []
    (tmp_path / "pending" / "000003").mkdir()
    (tmp_path / "pending" / "x").mkdir()
    assert segment_numbers(queue.path("pending")) == [3]
    assert deferred_chunks(Queue(str(tmp_path / "nowhere"))) == []


@pytest.mark.parametrize(
    ("kind", "refused"), [("nfs4", True), ("cifs", True), ("fuse.sshfs", True), ("ext4", False)]
)
def test_remote_file_systems(monkeypatch: pytest.MonkeyPatch, kind: str, refused: bool) -> None:
    monkeypatch.setattr("engine.queue.mounts.file_system", lambda path: kind)
    if refused:
        with pytest.raises(UsageError, match=kind):
            refuse_remote("/q", "queue")
    else:
        refuse_remote("/q", "queue")


@pytest.mark.parametrize("kind", ["overlay", "tmpfs", "xfs", "btrfs", "unknown", "apfs"])
def test_local_file_systems(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr("engine.queue.mounts.file_system", lambda path: kind)
    refuse_remote("/q", "queue")


def test_a_directory_that_somebody_removed_is_made_again(tmp_path: Path) -> None:
    queue = make_queue(str(tmp_path))
    for name in ("pending", "tmp"):
        (tmp_path / name).rmdir()
    assert make_queue(str(tmp_path)) == queue
    assert os.listdir(queue.tmp) == segment_numbers(queue.path("pending")) == []
    assert (tmp_path / "pending").is_dir()


def test_a_directory_or_a_link_called_like_a_token_is_none(tmp_path: Path) -> None:
    queue = make_queue(str(tmp_path / "queue"))
    os.mkdir(os.path.join(queue.deferred, "0000000000~000000.0.41.4"))
    os.symlink("/etc/passwd", os.path.join(queue.deferred, "0000000000~000000.1.90.4"))
    os.mkdir(tmp_path / "0.41.4")
    (tmp_path / "1.90.4").touch()
    assert deferred_chunks(queue) == []
    assert [chunk.k for chunk in chunks_in(str(tmp_path), 0)] == [1]
