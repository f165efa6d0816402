"""Opening: gzip on the way, what is damaged, what would never end, what is no text."""

from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.inputs import Line, read

A, B = "aaaaaaaaaa1", "-bbbbbbbbb2"


def of(tmp_path: Path, name: str, data: bytes) -> list[Line]:
    (tmp_path / name).write_bytes(data)
    return list(read(str(tmp_path / name)))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.txt.gz", f"{A}\n{B}\n"),
        ("x.csv.gz", f"Video ID,n\n{A},1\n{B},2\n"),
        ("x.tsv.GZ", f"Video ID\tn\n{A}\t1\n{B}\t2\n"),
        ("x.jsonl.gz", f'{{"id": "{A}"}}\n"{B}"\n'),
        ("x.json.gz", f'["{A}", "{B}"]'),
        ("x.gz", f"topic;url\nx;{A}\ny;{B}\n"),
        ("without", f"{A}\n{B}\n"),
    ],
)
def test_gzip_is_told_by_its_bytes(tmp_path: Path, name: str, text: str) -> None:
    assert [line.video_id for line in of(tmp_path, name, gzip.compress(text.encode()))] == [A, B]
    piped = read("-", stdin=io.BytesIO(gzip.compress(text.encode())))
    assert [line.video_id for line in piped] == [A, B]


def test_gzip_in_pieces_and_with_utf_16_in_it(tmp_path: Path) -> None:
    pieces = gzip.compress(f"{A}\n".encode()) + gzip.compress(f"{B}\n".encode())
    assert [line.video_id for line in of(tmp_path, "x.txt.gz", pieces)] == [A, B]
    (line,) = of(tmp_path, "y.txt.gz", gzip.compress(f"{A}\r\n".encode("utf-16")))
    assert line.video_id == A


@pytest.mark.parametrize("harm", ["cut", "sum", "tail", "middle"])
def test_damage_is_said_and_what_came_before_it_is_read(tmp_path: Path, harm: str) -> None:
    names = [f"aaaaaa{n:05}" for n in range(30_000)]
    data = gzip.compress("".join(f"{name}\n" for name in names).encode())
    middle = len(data) // 2
    data = {
        "cut": data[:-20],
        "sum": data[:-8] + b"\0\0\0\0" + data[-4:],
        "tail": data + b"more",
        "middle": data[:middle] + bytes(64) + data[middle + 64 :],
    }[harm]
    (tmp_path / "x.txt.gz").write_bytes(data)
    lines = read(str(tmp_path / "x.txt.gz"))
    seen = []
    with pytest.raises(UsageError, match=r"x\.txt\.gz: damaged: .*again"):
        seen.extend(line.video_id for line in lines)
    # Before the bytes that are harmed, that is: unpacking notices a little later, at the end by a sum.
    assert seen[:10_000] == names[:10_000]


def test_what_only_looks_like_gzip(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="damaged"):
        of(tmp_path, "x.txt.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\3" + b"\xff" * 100)


def test_a_bomb_ends_in_an_error_and_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.inputs.opener.FREE_BYTES", 1 << 18)
    packed = gzip.compress(f"{A}\n".encode() + b"x" * (10 << 20))
    tracemalloc.start()
    with pytest.raises(UsageError, match="200 times its size"):
        of(tmp_path, "x.txt.gz", packed)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 4 << 20
    good = gzip.compress("".join(f"{n:011}\n" for n in range(50_000)).encode())  # more than that, of list
    assert len(of(tmp_path, "y.txt.gz", good)) == 50_000


def test_archives_under_the_name_of_a_text_are_told_what_to_be(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"binary.*\.xlsx.*Takeout \.zip"):
        of(tmp_path, "x.csv", b"PK\3\4\0\0")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.addfile(tarfile.TarInfo("Takeout/x.json"))
    with pytest.raises(UsageError, match=r"tar.*Takeout also makes \.zip"):
        of(tmp_path, "takeout.tgz", packed.getvalue())
