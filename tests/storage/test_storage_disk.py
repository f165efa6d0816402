"""The way to disk: short counts, failed writes, and the order of the steps."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import record

from engine.storage import append_file, disk


@given(st.binary(max_size=300), st.lists(st.integers(1, 40), min_size=1, max_size=10))
@settings(deadline=None)
def test_short_counts_lose_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, counts: list[int]
) -> None:
    path = str(tmp_path_factory.mktemp("short") / "file")
    calls = [0]

    def short(fd: int, piece: memoryview, *at: int) -> int:
        calls[0] += 1
        part = bytes(piece)[: counts[calls[0] % len(counts)]]
        return os.pwrite(fd, part, *at) if at else os.write(fd, part)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disk, "_write", short)
        patch.setattr(disk, "_pwrite", short)
        disk.create(path, data, sync=False)
        with open(path, "rb") as file:
            assert file.read() == data
        fd = os.open(path, os.O_RDWR)
        disk.pwrite(fd, data[::-1], 3)
        os.close(fd)
    with open(path, "rb") as file:
        assert file.read()[3:] == data[::-1]


def test_create_goes_over_nothing_and_through_no_link(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_bytes(b"old")
    with pytest.raises(FileExistsError):
        disk.create(str(there), b"new")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        disk.create(str(link), b"new")
    assert there.read_bytes() == b"old"
    assert not (tmp_path / "elsewhere").exists()


def test_publish_syncs_the_content_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = record(monkeypatch)
    disk.publish(str(tmp_path / "file"), b"data")
    assert steps == ["_open", "_write", "_fdatasync", "_rename"]


def test_files_that_belong_together_are_all_durable_before_the_first_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = record(monkeypatch)
    disk.publish_all([(str(tmp_path / "a"), b"1"), (str(tmp_path / "b"), b"2")], tmp_dir=str(tmp_path))
    assert steps == ["_open", "_write"] * 2 + ["_fdatasync"] * 2 + ["_rename"] * 2
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"1", "b": b"2"}


@pytest.mark.parametrize("name", ["_open", "_write", "_fdatasync", "_rename"])
@pytest.mark.parametrize("turn", [1, 2, 3])
def test_when_one_of_several_fails_no_file_is_torn_and_none_temporary_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, turn: int
) -> None:
    names, real, calls = ["a", "b", "c"], getattr(disk, name), iter(range(1, 9))
    for each in names:
        (tmp_path / each).write_bytes(b"old")

    def fail(*args: object, **kwargs: object) -> object:
        if next(calls) == turn:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(*args, **kwargs)

    open_before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(disk, name, fail)
    with pytest.raises(OSError, match="Input/output") as found:
        disk.publish_all([(str(tmp_path / each), b"new") for each in names])
    monkeypatch.undo()
    assert found.value.filename == str(tmp_path / names[turn - 1])
    published = turn - 1 if name == "_rename" else 0
    assert [(tmp_path / each).read_bytes() for each in names] == [b"new"] * published + [b"old"] * (
        3 - published
    )
    assert sorted(os.listdir(tmp_path)) == names
    assert len(os.listdir("/proc/self/fd")) == open_before


@pytest.mark.parametrize("name", ["_open", "_write", "_fdatasync", "_rename"])
def test_a_failed_publish_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*args: object, **kwargs: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(disk, name, fail)
    with pytest.raises(OSError, match="No space"):
        disk.publish(str(path), b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_publish_replaces_a_link_and_not_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"mine")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    disk.publish(str(tmp_path / "link"), b"new")
    assert (tmp_path / "target").read_bytes() == b"mine"
    assert (tmp_path / "link").read_bytes() == b"new"
    assert not (tmp_path / "link").is_symlink()


def test_files_are_private(tmp_path: Path) -> None:
    disk.publish(str(tmp_path / "file"), b"")
    append_file.AppendFile(str(tmp_path / "log")).close()
    disk.ensure_dir(str(tmp_path / "dir"))
    modes = {name: os.stat(tmp_path / name).st_mode & 0o777 for name in ("file", "log", "dir")}
    assert modes == {"file": 0o600, "log": 0o600, "dir": 0o700}


def test_ensure_dir_says_whether_it_made_it(tmp_path: Path) -> None:
    path = str(tmp_path / "dir")
    assert [disk.ensure_dir(path), disk.ensure_dir(path)] == [True, False]


def test_unlink_quietly(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in ("file", "file", "file/under", "none/under"):
        disk.unlink_quietly(str(tmp_path / path))
    assert os.listdir(tmp_path) == []
    with pytest.raises(OSError, match=r"directory|permitted"):
        disk.unlink_quietly(str(tmp_path))


def test_a_failed_sync_is_tried_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def fail(fd: int) -> None:
        tried.append(fd)
        raise OSError(errno.EIO, "failing")

    monkeypatch.setattr(disk, "_fsync", fail)
    monkeypatch.setattr(disk, "_fdatasync", fail)
    fd = os.open(tmp_path / "log", os.O_CREAT | os.O_RDWR)
    for act in (
        lambda: disk.sync_fd(fd),
        lambda: disk.sync_dir(str(tmp_path)),
        lambda: disk.sync_file(str(tmp_path / "log")),
    ):
        tried.clear()
        with pytest.raises(OSError, match="failing"):
            act()
        assert len(tried) == 1
    os.close(fd)


@pytest.mark.parametrize("step", ["_write", "_pwrite", "_fsync", "_fdatasync"])
def test_an_error_of_a_descriptor_names_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = str(tmp_path / "file")
    disk.create(path, b"old\n")
    fd = os.open(path, os.O_RDWR)

    def fail(*args: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(disk, step, fail)
    acts: dict[str, list[Callable[[], object]]] = {
        "_write": [lambda: disk.write_all(fd, b"new"), lambda: disk.publish(path, b"new")],
        "_pwrite": [lambda: disk.pwrite(fd, b"new", 0)],
        "_fsync": [lambda: disk.sync_dir(str(tmp_path))],
        "_fdatasync": [lambda: disk.sync_file(path), lambda: disk.publish(path, b"new")],
    }
    for act in acts[step]:
        with pytest.raises(OSError, match="full") as found:
            act()
        assert found.value.filename == (str(tmp_path) if step == "_fsync" else path)
        said = str(disk.disk_error(found.value, "writing"))
        assert said.startswith(f"writing ({found.value.filename}): full. Make room")
        assert str(disk.disk_error(found.value, f"writing {found.value.filename}")).count(str(tmp_path)) == 1
    os.close(fd)


def test_only_a_small_regular_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345678")
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "pipe")
    assert disk.read_small(str(tmp_path / "file"), 8) == b"12345678"
    assert disk.read_small(str(tmp_path / "file"), 7) is None
    for name in ("link", "pipe", ".", "missing"):
        assert disk.read_small(str(tmp_path / name), 8) is None, name


def test_publish_durably_makes_content_and_name_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = record(monkeypatch)
    disk.publish_durably(str(tmp_path / "file"), b"new")
    assert [step for step in steps if step != "_open"][-3:] == ["_fdatasync", "_rename", "_fsync"]
