"""A file that only grows: torn tails, failed appends, and lines that are written again."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from engine.storage import disk
from engine.storage.append_file import AppendFile


def test_a_torn_tail_at_every_byte(tmp_path: Path) -> None:
    """Whatever part of the last line a dead writer left, the next writer's lines are complete."""
    whole = b"first\nsecond\nthird line\n"
    for length in range(len(whole) + 1):
        path = tmp_path / f"log{length}"
        path.write_bytes(whole[:length])
        kept = whole[: whole[:length].rfind(b"\n") + 1]
        file = AppendFile(str(path))
        assert file.size == len(kept)
        file.append(b"next\n")
        assert file.size == len(kept) + 5
        file.close()
        assert path.read_bytes() == kept + b"next\n"


@pytest.mark.parametrize("length", range(27))
def test_it_is_truncated_to_a_given_length(tmp_path: Path, length: int) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"first\nsecond\nthird line\n")
    file = AppendFile(str(path), length=length)
    file.append(b"next\n")
    file.close()
    kept = b"first\nsecond\nthird line\n"[:length]
    assert path.read_bytes() == kept[: kept.rfind(b"\n") + 1] + b"next\n"


@pytest.mark.parametrize("tail", [0, 1, 65535, 65536, 65537, 200_000])
def test_a_torn_tail_longer_than_a_block(tmp_path: Path, tail: int) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"line\n" + b"x" * tail)
    AppendFile(str(path)).close()
    assert path.read_bytes() == b"line\n"


@pytest.mark.parametrize("written", range(6))
def test_a_failed_append_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int) -> None:
    path = tmp_path / "log"
    file = AppendFile(str(path))
    file.append(b"first\n")
    left = [written]

    def full(fd: int, data: memoryview) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, "full")
        left[0] -= 1
        return os.write(fd, data[:1])

    monkeypatch.setattr(disk, "_write", full)
    with pytest.raises(OSError, match="full"):
        file.append(b"second\n")
    monkeypatch.undo()
    assert path.read_bytes() == b"first\n"
    assert file.size == 6
    file.append(b"third\n")
    file.sync()
    file.close()
    file.close()  # twice does no harm
    assert path.read_bytes() == b"first\nthird\n"


def test_an_append_file_follows_no_link_and_leaks_no_descriptor(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="symbolic"):
        AppendFile(str(tmp_path / "link"))
    (tmp_path / "log").write_bytes(b"torn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(disk, "_truncate", lambda fd, length: os.read(-1, 1))
        with pytest.raises(OSError, match="descriptor"):
            AppendFile(str(tmp_path / "log"))
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_is_written_again_is_the_same_byte_for_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"first\nsecond\nthird\n")
    file = AppendFile(str(path))
    written: list[tuple[bytes, int]] = []

    def one_byte(fd: int, data: memoryview, offset: int) -> int:
        written.append((bytes(data[:1]), offset))
        return os.pwrite(fd, data[:1], offset)

    monkeypatch.setattr(disk, "_pwrite", one_byte)
    for start in (6, 19, 40):
        file.write_again(start)
    assert written == [(b"second\nthird\n"[n : n + 1], 6 + n) for n in range(13)]
    file.append(b"fourth\n")
    file.close()
    assert path.read_bytes() == b"first\nsecond\nthird\nfourth\n"


def test_a_shared_file_is_not_truncated(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_bytes(b"one\ntwo")
    for text in (b"three\n", b"four\n"):
        file = AppendFile(str(path), shared=True)
        assert path.read_bytes().startswith(b"one\ntwo")
        file.append(text)
        file.append(text)
        file.close()
    assert path.read_bytes() == b"one\ntwo\nthree\nthree\nfour\nfour\n"
