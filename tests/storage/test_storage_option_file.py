"""Files named in options: read whole, or refused with the path and what is wrong; nothing is waited for in vain."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.storage.option_file import read_option_file


def test_a_file_and_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\xef\xbb\xbfabc\n")
    path.chmod(0o600)
    data, mode = read_option_file(str(path), "--x", 1 << 20)
    assert (data, mode & 0o777) == (b"abc\n", 0o600)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none", "No such file"),
        ("a\0b", "null byte"),
        (".", "Is a directory"),
        ("big", "larger than 1 MB"),
        ("/dev/zero", "larger than 1 MB"),
        ("unwatched", "nobody writes to it"),
    ],
)
def test_what_is_refused(name: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * ((1 << 20) + 1))
    os.mkfifo(tmp_path / "unwatched")
    with pytest.raises(UsageError, match=f"^--x .*: .*{words}"):
        read_option_file(os.path.join(str(tmp_path), name), "--x", 1 << 20, wait_s=0.05)


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    """As a shell's `<(gpg -d …)`: what it brings may come in pieces, and more than the pipe holds."""
    ends = os.pipe()
    data = b"x" * 300_000

    def write() -> None:
        with os.fdopen(ends[1], "wb") as file:
            file.write(data)

    writer = threading.Thread(target=write)
    writer.start()
    found, _ = read_option_file(f"/dev/fd/{ends[0]}", "--x", 1 << 20)
    writer.join()
    os.close(ends[0])
    assert found == data
