"""rejects.csv: one physical line each, harmless to a spreadsheet and a terminal, without passwords."""

import csv
import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import DiskError, UsageError
from engine.inputs import Line, Rejects
from engine.inputs.rejects import escape, without_password
from engine.storage import disk


def bad(text: str, file: str = "x.txt", reason: str = "empty") -> Line:
    return Line(file, 7, text, None, {}, reason)


def written(path: Path, *lines: Line) -> list[list[str]]:
    with Rejects(str(path)) as rejects:
        for line in lines:
            rejects.add(line)
    assert rejects.count == len(lines)
    text = path.read_bytes().decode("ascii", "backslashreplace")
    assert len(text.splitlines()) == text.count("\n")
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_rows_and_header(tmp_path: Path) -> None:
    path = tmp_path / "rejects.csv"
    assert written(path, bad('a "b", c'))[1:] == [["x.txt", "7", 'a "b", c', "empty"]]
    assert path.read_bytes().startswith(b"file,line,text,reason\n")
    rows = written(path, bad("two"))
    assert [row[2] for row in rows] == ["text", 'a "b", c', "two"]


def test_nothing_rejected_makes_no_file(tmp_path: Path) -> None:
    Rejects(str(tmp_path / "rejects.csv")).close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-abc", "'-abc"),
        ("@x", "'@x"),
        ("\t=1", "\\x09=1"),
        ("a\r\nb", "a\\x0d\\x0ab"),
        ("\x1b]0;x\x07", "\\x1b]0;x\\x07"),
        ("a\u202eb\u2028\x85", "a\\u202eb\\u2028\\x85"),
        ("\U000e0001", "\\U000e0001"),
        ("\ud800", "\\ud800"),
        ("é 漢", "é 漢"),
        ("x" * 300, "x" * 200),
        ("=" + "\n" * 300, "'=" + "\\x0a" * 199),
    ],
)
def test_text_is_made_harmless(text: str, shown: str, tmp_path: Path) -> None:
    assert written(tmp_path / "r.csv", bad(text, file=text, reason=text))[1][2] == shown


@given(st.text(st.characters()))
def test_escaped_text_is_one_visible_line(text: str) -> None:
    assert escape(text).isprintable()


@pytest.mark.parametrize(
    "text",
    [
        "http://user:canary@host:8080",
        "socks5h://user:ca:n@/canary@host:1080/",
        "host.test:8080:user:canary",
        "10.0.0.1:8080:user:canary:x",
        "user:canary@host:8080",
        "https://u:canary@youtube.com/watch?v=x",
    ],
)
def test_no_password_of_a_proxy_list(text: str, tmp_path: Path) -> None:
    assert "canary" not in str(written(tmp_path / "r.csv", bad(text)))


def test_addresses_are_left_as_they_are() -> None:
    for text in (
        "https://evil.test:80/a@b",
        "https://youtu.be/x?u=a:b@c",
        "12:30:00",
        "a:b@c",
        "x@y.test:80",
    ):
        assert without_password(text) == text


def test_many_are_flushed_on_the_way(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    rejects = Rejects(str(path))
    for _ in range(2000):
        rejects.add(bad("x" * 100))
    assert path.stat().st_size > 100_000
    rejects.close()
    rejects.close()
    assert path.read_bytes().count(b"\n") == 2001


def test_a_seeding_names_so_many_and_counts_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.csv"
    monkeypatch.setattr("engine.inputs.rejects.MAX_ROWS", 10)
    assert len(written(path, *[bad("x")] * 10)) == 11
    rows = written(
        path, *[bad("x")] * 10, Line("y.txt", 99, "x", None, {}, "empty"), *[bad("x")] * 1_234_567
    )[11:]
    assert rows[-1] == [
        "y.txt",
        "99",
        "",
        "1,234,568 more were rejected from this line on and are not named here",
    ]
    assert len(rows) == 11


def test_a_file_stays_within_bounds_over_many_seedings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "r.csv"
    monkeypatch.setattr("engine.inputs.rejects.MAX_BYTES", 4_000)
    monkeypatch.setattr("engine.inputs.rejects.MAX_FILE_BYTES", 10_000)
    for _ in range(300):
        with Rejects(str(path)) as rejects:
            for _ in range(500):
                rejects.add(bad("x" * 100))
    assert 10_000 < path.stat().st_size < 2 * 10_000 + 4_000
    assert rejects.count == 500


def test_a_torn_last_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes(b"file,line,text,reason\na,1,b,c\na,2,to")
    assert len(written(path, bad("x"))) == 3


def test_closing_makes_it_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    monkeypatch.setattr(disk, "_fdatasync", lambda fd: synced.append(os.fstat(fd).st_size))
    written(tmp_path / "r.csv", bad("x"))
    assert synced == [(tmp_path / "r.csv").stat().st_size]


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(disk, "_write", full)
    rejects = Rejects(str(tmp_path / "r.csv"))
    rejects.add(bad("x"))
    with pytest.raises(DiskError, match="No space left"):
        rejects.close()


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "r.csv").symlink_to(tmp_path / "victim")
    rejects = Rejects(str(tmp_path / "r.csv"))
    rejects.add(bad("x"))
    with pytest.raises(UsageError, match="cannot be written"):
        rejects.flush()
    assert not (tmp_path / "victim").exists()
