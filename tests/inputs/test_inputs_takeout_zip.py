"""The zip of a Takeout: what is taken from it, what is left, and zips that mean harm."""

from __future__ import annotations

import gc
import gzip
import json
import os
import threading
import warnings
import zipfile
from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.inputs import Line, read

DATA = Path(__file__).parents[1] / "data"
A, B = "aaaaaaaaaa1", "-bbbbbbbbb2"
LIST = f"Video ID,Playlist Video Creation Timestamp\n{A},2026-01-11T09:30:00+00:00\n"


def element(video_id: str, product: str = "YouTube") -> dict[str, str]:
    return {"header": product, "title": "x", "titleUrl": f"https://youtu.be/{video_id}", "time": "now"}


def searched(words: str) -> dict[str, str]:
    url = f"https://www.youtube.com/results?search_query={words}"
    return {"header": "YouTube", "title": words, "titleUrl": url, "time": "now"}


def made(path: Path, **entries: bytes | str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def of(path: Path) -> tuple[list[Line], list[str]]:
    notes: list[str] = []
    return list(read(str(path), on_note=notes.append)), notes


def test_histories_and_playlists_and_nothing_else() -> None:
    lines, notes = of(DATA / "takeout-001.zip")
    assert [(line.line, line.video_id is not None) for line in lines] == [
        (1, True),
        (2, False),
        (2, True),
        (3, True),
        (2, True),
    ]
    assert lines[0].input["channel"] == "Wetterkunde"
    assert [line.input["playlist"] for line in lines[2:]] == ["Brücken", "Brücken", "출근길 노래"]
    assert lines[2].file.endswith(
        "takeout-001.zip:Takeout/YouTube und YouTube Music/Playlists/Brücken-Videos.csv"
    )
    (note,) = notes
    assert "3 watch histories or playlists read" in note
    assert "7 other files left out" in note


def test_activity_of_other_products_is_left(tmp_path: Path) -> None:
    chrome = json.dumps([element(A, "Chrome")] * 3)
    search = json.dumps([searched("x"), searched("y"), element(B)])
    watched = json.dumps([{"header": "YouTube", "title": "gone", "time": "now"}, element(A)])
    path = made(
        tmp_path / "t.zip",
        **{"1.json": chrome, "2.json": search, "3.json": watched, "4.json": "[", "5.html": ""},
    )
    lines, notes = of(path)
    assert [line.video_id for line in lines] == [None, A]
    assert ": 1 watch history or playlist read, 4 other files" in notes[0]


def test_a_part_without_youtube_is_no_error_but_any_zip_is(tmp_path: Path) -> None:
    lines, notes = of(made(tmp_path / "part.zip", **{"Takeout/Mail/x.mbox": "x"}))
    assert (lines, len(notes)) == ([], 1)
    with pytest.raises(UsageError, match="no watch history and no playlist"):
        of(made(tmp_path / "list.zip", **{"list.txt": A}))


def test_names_are_no_paths(tmp_path: Path) -> None:
    path = made(tmp_path / "t.zip", **{"../../x-videos.csv": LIST, "/etc/y\x1b[2J-videos.csv": LIST})
    before = sorted(tmp_path.parent.rglob("*"))
    lines, _ = of(path)
    assert [line.input["playlist"] for line in lines] == ["x", "y\x1b[2J"]
    assert sorted(tmp_path.parent.rglob("*")) == before


@pytest.mark.parametrize("cut", [0, 10, -30])
def test_what_is_no_whole_zip(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "t.zip"
    path.write_bytes((DATA / "takeout-001.zip").read_bytes()[:cut])
    with pytest.raises(UsageError, match=r"not a whole zip.*again"):
        of(path)


def test_a_damaged_entry_takes_no_other_down(tmp_path: Path) -> None:
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w") as archive:  # stored, so that its bytes can be found
        archive.writestr("a-videos.csv", LIST)
        archive.writestr("b-videos.csv", LIST.replace(A, B))
    path.write_bytes(path.read_bytes().replace(A.encode(), A.upper().encode()))
    lines = read(str(path))
    seen = []
    with pytest.raises(UsageError, match=r"a-videos\.csv: damaged"):
        seen.extend(line.video_id for line in lines)
    assert seen[-1] == B


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"PK\3\4", b"PK\3\5"),  # where an entry begins
        ("Brücken".encode(), b"Br\xff\xffcken"),  # its name there, which is in the directory too
    ],
)
def test_damage_to_what_describes_an_entry(tmp_path: Path, old: bytes, new: bytes) -> None:
    path = tmp_path / "t.zip"
    path.write_bytes((DATA / "takeout-001.zip").read_bytes().replace(old, new, 1))
    with pytest.raises(UsageError, match=r"t\.zip"):
        of(path)
    path.write_bytes((DATA / "takeout-001.zip").read_bytes()[10:])
    with pytest.raises(UsageError, match="cannot be unpacked"):
        of(path)


def test_other_ways_of_packing_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x-videos.csv", LIST)
    with pytest.raises(UsageError, match="packed as no Takeout is"):
        of(path)


def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.inputs.opener.FREE_BYTES", 1 << 20)
    path = made(tmp_path / "t.zip", **{"x-videos.csv": LIST + " " * (4 << 20), "y-videos.csv": LIST})
    lines = read(str(path))
    assert next(lines).video_id == A
    with pytest.raises(UsageError, match=r"x-videos\.csv: unpacks to more than 200 times"):
        list(lines)


def test_a_password_is_said(tmp_path: Path) -> None:
    path = made(tmp_path / "t.zip", **{"x-videos.csv": LIST})
    data = bytearray(path.read_bytes())
    data[6] |= 1  # the flag in the entry, and in the directory
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(UsageError, match=r"cannot be unpacked: .*encrypted"):
        of(path)


def test_nothing_stays_open(tmp_path: Path) -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", ResourceWarning)
        of(DATA / "takeout-001.zip")
        list(read(str(DATA / "list.xlsx")))
        with pytest.raises(UsageError):
            of(made(tmp_path / "list.zip", **{"list.txt": A}))
        gc.collect()
    assert [str(warning.message) for warning in seen] == []


def test_an_old_one_has_its_playlists_in_json(tmp_path: Path) -> None:
    its_activity = json.dumps([{"kind": "youtube#subscription", "snippet": {"title": "x"}}])
    path = made(
        tmp_path / "old.zip",
        **{
            "Takeout/YouTube/playlists/Rivers.json": (DATA / "likes.json").read_text(encoding="utf-8"),
            "Takeout/YouTube/subscriptions/subscriptions.json": its_activity,
        },
    )
    lines, (note,) = of(path)
    assert [line.video_id is not None for line in lines] == [True, True, False]
    assert {line.input["playlist"] for line in lines[:2]} == {"Rivers"}
    assert "1 watch history or playlist read, 1 other file left out" in note


@pytest.mark.parametrize("packed", [False, True], ids=["a pipe", "gzip"])
def test_one_that_cannot_be_read_to_and_fro(tmp_path: Path, packed: bool) -> None:
    data = (DATA / "takeout-001.zip").read_bytes()
    path = tmp_path / ("t.zip.gz" if packed else "t.zip")
    if packed:
        path.write_bytes(gzip.compress(data))
        assert len(of(path)[0]) == 5
        path.write_bytes(gzip.compress(data)[:-20])
        with pytest.raises(UsageError, match="damaged"):
            of(path)
        return
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(data,))
    writer.start()
    assert len(of(path)[0]) == 5
    writer.join()
