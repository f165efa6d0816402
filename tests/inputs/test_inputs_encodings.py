"""Text in any encoding: decoded, said, and no line lost for a byte that does not fit."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.cli import invoke
from engine.errors import UsageError
from engine.inputs import Line, read
from engine.inputs.encodings import Recoded, checked, guessed, of_wide

A, B = "aaaaaaaaaa1", "-bbbbbbbbb2"

FRENCH = ["Café crème", "L'été à la plage", "Où est né Noël ?", "Français facile — leçon"]
SAMPLES = {
    "cp1252": FRENCH,
    "cp1250": ["Zażółć gęślą jaźń", "Łódź w nocy", "dzień dobry wszystkim, świat"],
    "cp1251": ["Как движутся ледники", "Привет, мир", "Урок русского языка"],
    "koi8-r": ["Как движутся ледники", "Привет, мир", "Урок русского языка"],
    "cp1254": ["İstanbul'da şehir çocuğu", "güneşli ğün ışık"],
    "mac-roman": FRENCH[:3],
    "gb18030": ["冰川是怎样移动的", "你好世界，今天学习中文", "第一课：打招呼"],
    "big5": ["冰川是怎樣移動的", "你好世界，今天學習繁體中文", "第一課：打招呼"],
    "cp932": ["氷河の動き方について", "ソース表示とデータ構造", "おはようございます"],
    "euc_jp": ["氷河の動き方について", "ソース表示とデータ構造", "おはようございます"],
    "cp949": ["빙하는 어떻게 움직이는가", "안녕하세요 세계", "첫 번째 수업"],
}


def of(
    tmp_path: Path, name: str, data: bytes, *, encoding: str | None = None, notes: list[str] | None = None
) -> list[Line]:
    path = tmp_path / name
    path.write_bytes(data)
    said = notes if notes is not None else []
    return list(read(str(path), encoding=encoding, on_note=said.append))


def table(titles: list[str], rows: int = 60) -> tuple[str, list[tuple[str, str]]]:
    pairs = [(f"{number:010}A", titles[number % len(titles)]) for number in range(rows)]
    return "id;title\r\n" + "".join(f'{name};"{title}"\r\n' for name, title in pairs), pairs


@pytest.mark.parametrize("encoding", SAMPLES)
def test_a_table_is_decoded_and_its_encoding_said(tmp_path: Path, encoding: str) -> None:
    text, pairs = table(SAMPLES[encoding])
    notes: list[str] = []
    lines = of(tmp_path, "x.csv", text.encode(encoding), notes=notes)
    assert [(line.video_id, line.input["title"]) for line in lines] == pairs
    assert [note.replace("koi8_r", "koi8-r").replace("mac_", "mac-") for note in notes] == [
        f"{tmp_path}/x.csv: read as {encoding}; --encoding NAME says otherwise"
    ]


@pytest.mark.parametrize(
    "titles",
    [
        ["\u00dcber"],
        ["\u00c4gypten", "it\u2019s", "\u00c4rger"],
        ["\u00c9T\u00c9", "Ich m\u00f6chte f\u00fcr dich", "\u00c7a va"],
        ["ni\u00f1o", "\u00dcber uns", "cora\u00e7\u00e3o"],
    ],
)
def test_a_few_accents_are_no_ground_for_a_rare_encoding(titles: list[str]) -> None:
    text = "id;title\r\n" + "".join(f"{A};{title}\r\n" for title in titles)
    assert guessed(text.encode("cp1252")) == "cp1252"


@pytest.mark.parametrize("name", ["x.txt", "x.csv", "x.jsonl", "x.json", "stdin", "x.csv.gz"])
def test_every_way_in(tmp_path: Path, name: str) -> None:
    if name.startswith("x.json"):
        shown = [f'{{"id": "{A}", "title": "caf\u00e9 cr\u00e8me"}}', f'"{B}"']
        text = "\n".join(shown) if name == "x.jsonl" else f"[{','.join(shown)}]"
    elif name == "x.txt":
        text = f"{A} # caf\u00e9 cr\u00e8me\n{B}\n"
    else:
        text = f"id,title\n{A},caf\u00e9 cr\u00e8me\n{B},x\n"
    data = text.encode("cp1252")
    if name == "stdin":
        lines = list(read("-", stdin=io.BytesIO(data)))
    else:
        lines = of(tmp_path, name, gzip.compress(data) if name.endswith(".gz") else data)
    assert [line.video_id for line in lines] == [A, B]
    assert lines[0].input.get("title", "caf\u00e9 cr\u00e8me") == "caf\u00e9 cr\u00e8me"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("name", ["x.txt", "x.csv", "x.json"])
def test_wide_ones_with_and_without_a_mark(tmp_path: Path, encoding: str, name: str) -> None:
    text = {"x.txt": f"{A}\r\n{B}", "x.csv": f"id,t\r\n{A},\u0444\u4e16\r\n{B},x"}.get(name, f'["{A}","{B}"]')
    notes: list[str] = []
    assert [line.video_id for line in of(tmp_path, name, text.encode(encoding), notes=notes)] == [A, B]
    assert notes == [f"{tmp_path}/{name}: read as {encoding}; --encoding NAME says otherwise"]


def test_a_byte_that_comes_late_costs_no_line(tmp_path: Path) -> None:
    """More ASCII than any look at the beginning takes, then an accent."""
    rows = [f"{number:010}A,plain" for number in range(40_000)]
    rows[39_000] = f"{39_000:010}A,caf\u00e9"
    notes: list[str] = []
    lines = of(tmp_path, "x.csv", ("id,t\n" + "\n".join(rows)).encode("cp1252"), notes=notes)
    assert len(lines) == 40_000
    assert all(line.video_id for line in lines)
    assert lines[39_000].input == {"t": "caf\u00e9"}
    assert "read as cp1252" in notes[0]


def test_a_damaged_byte_amid_utf_8_is_replaced_and_said(tmp_path: Path) -> None:
    rows = [f"{number:010}A,caf\u00e9 \u4e16\u754c".encode() for number in range(300)]
    rows[200] = b"0000000200A,caf\xff\xfe"
    notes: list[str] = []
    lines = of(tmp_path, "x.csv", b"id,t\n" + b"\n".join(rows), notes=notes)
    assert [line.video_id for line in lines] == [f"{number:010}A" for number in range(300)]
    assert lines[200].input == {"t": "caf\ufffd\ufffd"}
    assert lines[299].input == {"t": "caf\u00e9 \u4e16\u754c"}
    assert "not UTF-8 and were replaced" in notes[0]


def test_a_byte_that_does_not_fit_what_was_found_costs_no_line(tmp_path: Path) -> None:
    text, pairs = table(SAMPLES["cp932"])
    data = text.encode("cp932") + b"0000000999A;\xfd\xfe\xff\r\n"
    lines = of(tmp_path, "x.csv", data)
    assert [line.video_id for line in lines] == [*(name for name, _ in pairs), "0000000999A"]


def test_an_encoding_that_is_named_is_taken(tmp_path: Path) -> None:
    notes: list[str] = []
    text, pairs = table(["\u017elu\u0165ou\u010dk\u00fd k\u016f\u0148"])
    lines = of(tmp_path, "x.csv", text.encode("iso8859-2"), encoding=checked("latin2"), notes=notes)
    assert [(line.video_id, line.input["title"]) for line in lines] == pairs
    assert notes == []


@pytest.mark.parametrize("asked", ["utf-16", "utf-32", "utf-16-le"])
def test_a_wide_encoding_that_is_named_needs_no_mark(tmp_path: Path, asked: str) -> None:
    wide = asked if asked.endswith("-le") else f"{asked}-le"
    for written in {asked, wide, wide.replace("-le", "-be") if asked != wide else wide}:
        lines = of(tmp_path, "x.txt", f"{A}\n{B}\n".encode(written), encoding=checked(asked))
        assert [line.video_id for line in lines] == [A, B]
    (bad,) = of(tmp_path, "x.txt", b"abc", encoding=checked(asked))
    assert bad.video_id is None


@pytest.mark.parametrize("name", ["nonsense", "base64", "punycode", "unicode_escape", "x\0y", ""])
def test_what_is_no_encoding(name: str) -> None:
    with pytest.raises(UsageError, match=r"--encoding .*cp1252"):
        checked(name)


@pytest.mark.parametrize("command", ["seed", "run", "rehearse", "plan"])
def test_every_command_that_reads_takes_it(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.csv").write_text("id\nnothing\n")
    assert invoke([command, "x.csv", "--encoding", "nonsense"]) == 2
    assert "--encoding 'nonsense': no such encoding" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


def test_the_commands_say_which_encoding_was_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], no_fsync: None
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.csv").write_bytes(f"id,t\n{A},caf\u00e9\n".encode("cp1252"))
    assert invoke(["seed", "x.csv"]) == 0
    said = capsys.readouterr()
    assert said.err == "x.csv: read as cp1252; --encoding NAME says otherwise\n"
    assert said.out.startswith("read 1: added 1")
    assert invoke(["seed", "x.csv", "--encoding", "cp1251", "--preview", "1"]) == 0
    assert "caf\u0439" in capsys.readouterr().out


class _Dripping(io.RawIOBase):
    """Gives a few bytes at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        self._data, self._step = io.BytesIO(data), step

    def read(self, size: int = -1) -> bytes:
        return self._data.read(self._step)


@given(st.text(max_size=200), st.integers(1, 9))
def test_utf_8_goes_through_as_it_is(text: str, step: int) -> None:
    data = text.encode("utf-8", "ignore")
    recoded = Recoded("x", _Dripping(data, step), None, None, eager=False)
    recoded.look(4)
    assert b"".join(iter(lambda: recoded.read(7), b"")) == data


@given(
    st.binary(max_size=300), st.integers(1, 9), st.sampled_from([None, "utf-16-le", "gb18030", "utf-8-sig"])
)
def test_any_bytes_become_utf_8(data: bytes, step: int, encoding: str | None) -> None:
    recoded = Recoded("x", _Dripping(data, step), encoding, None, eager=False)
    out = b"".join(iter(lambda: recoded.read(7), b""))
    out.decode("utf-8")
    if encoding is None:
        assert out.count(b"\n") >= data.count(b"\n"), "no line is lost"


@given(st.binary(min_size=1, max_size=200))
def test_there_is_always_a_guess(data: bytes) -> None:
    checked(guessed(data))
    of_wide(data)
