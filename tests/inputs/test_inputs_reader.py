"""Sources of every kind, read to lines."""

import gc
import io
import json
import os
import threading
import tracemalloc
import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.inputs import Line, read, source_of

A, B, C = "aaaaaaaaaa1", "-bbbbbbbbb2", "cccccccc_-3"
DATA = Path(__file__).parents[1] / "data"


def of(tmp_path: Path, name: str, data: bytes | str, **options: str) -> list[Line]:
    path = tmp_path / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return list(read(str(path), **options))


def piped(data: bytes | str, column: str | None = None) -> list[Line]:
    return list(read("-", stdin=io.BytesIO(data.encode() if isinstance(data, str) else data), column=column))


def pairs(lines: list[Line]) -> list[tuple[int, str | None]]:
    return [(line.line, line.video_id) for line in lines]


# -- what is meant by a source ------------------------------------------------------------------------------


def test_an_id_is_an_id_even_beside_a_file_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(B).write_text(A)
    assert list(read(B)) == [Line("argument", 1, B, B, {}, None)]
    assert [line.video_id for line in read(f"./{B}")] == [A]


def test_addresses_as_arguments() -> None:
    (good,) = read(f"https://youtu.be/{A}?t=1")
    assert good.video_id == A
    (bad,) = read("https://evil.test/watch?v=" + A)
    assert bad.video_id is None
    assert "evil.test" in (bad.reason or "")


@pytest.mark.parametrize("name", ["no.txt", "dQw4w9WgXc", "no\0.txt", "\udce9.txt"])
def test_a_missing_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"no such file|not a file name"):
        read(name)


def test_a_directory_and_a_binary_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="directory"):
        read(str(tmp_path))
    with pytest.raises(UsageError, match="binary"):
        of(tmp_path, "x.txt", b"PK\3\4\0\0")
    with pytest.raises(UsageError, match="binary"):
        piped(bytes(range(256)) * 4)


def test_no_permission(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.touch(mode=0)
    own = os.geteuid()
    if own == 0:  # root may read everything: be somebody else for a moment
        os.seteuid(65534)
    try:
        with pytest.raises(UsageError, match="permission"):
            read(str(path))
    finally:
        os.seteuid(own)


def test_a_stream_that_fails_midway() -> None:
    class Failing(io.RawIOBase):
        rounds = 0

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            self.rounds += 1
            if self.rounds > 2:
                raise OSError(5, "Input/output error")
            return f"{A}\n".encode() * (size // 12)

    lines = read("-", stdin=Failing())  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="stdin: cannot be read: Input/output error"):
        list(lines)


@pytest.mark.parametrize("name", ["x.txt", "x.csv", "x.tsv", "x.jsonl", "x.json", "x.unknown"])
@pytest.mark.parametrize("data", ["", "\n\n", "\ufeff", "\ufeff\n \n"])
def test_nothing_yields_nothing(name: str, data: str, tmp_path: Path) -> None:
    assert of(tmp_path, name, data) == []


def test_a_named_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=(f"{A}\n" * 5000,))
    writer.start()
    assert pairs(list(read(str(path)))) == [(n, A) for n in range(1, 5001)]
    writer.join()


def test_stdin_stays_open_and_files_are_closed(tmp_path: Path) -> None:
    stream = io.BytesIO(f"{A}\n".encode())
    list(read("-", stdin=stream))
    assert not stream.closed
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", ResourceWarning)
        of(tmp_path, "x.txt", A)
        with pytest.raises(UsageError):
            of(tmp_path, "x.csv", "a,b\n1,2\n")
        begun = read(str(tmp_path / "x.txt"))
        next(begun)
        del begun
        gc.collect()
    assert [str(warning.message) for warning in seen] == []


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (f"{A}\n{B}\n", {A: {}, B: {}}),
        (f'["{A}", "{B}"]', {A: {}, B: {}}),
        (f'{{"id": "{A}", "n": 1}}\n{{"id": "{B}", "n": 2}}\n', {A: {"n": 1}, B: {"n": 2}}),
        (f'{{\n "videos": ["{A}",\n "{B}"]}}', {A: {}, B: {}}),
        (f"topic;Video ID\nx;{A}\ny;{B}\n", {A: {"topic": "x"}, B: {"topic": "y"}}),
        (f"{A}, some text\n{B}\n", {B: {}}),
    ],
)
def test_stdin_is_told_by_its_beginning(data: str, expected: dict[str, object]) -> None:
    assert {line.video_id: line.input for line in piped(data) if line.video_id} == expected


# -- text ---------------------------------------------------------------------------------------------------


def test_text(tmp_path: Path) -> None:
    lines = of(
        tmp_path, "x.txt", f"\ufeff# list\r\n{A}\r\n\r\n  https://youtu.be/{B}  \r\nnonsense\r\n{C} # why"
    )
    assert pairs(lines) == [(2, A), (4, B), (5, None), (6, C)]
    assert lines[2].text == "nonsense"
    assert "8 characters" in (lines[2].reason or "")
    assert lines[2].file == str(tmp_path / "x.txt")


def test_only_a_comment_may_follow() -> None:
    (line,) = piped(f"{A} {B}")
    assert line.video_id is None
    assert "more than one word" in (line.reason or "")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_encodings_with_a_mark(encoding: str, tmp_path: Path) -> None:
    assert pairs(of(tmp_path, "x.txt", f"{A}\r\n# é\r\n{B}\n".encode(encoding))) == [(1, A), (3, B)]
    (line,) = of(tmp_path, "x.csv", f"url,t\r\n{A},é\r\n".encode(encoding))
    assert line.input == {"t": "é"}
    assert pairs(of(tmp_path, "x.json", f'["{A}"]'.encode(encoding))) == [(1, A)]


@pytest.mark.parametrize("name", ["x.txt", "x.csv", "x.jsonl"])
def test_a_line_of_ten_megabytes_costs_one_line_and_little_memory(name: str, tmp_path: Path) -> None:
    good = f'"{A}"\n' if name == "x.jsonl" else f"{A}\n"
    path = tmp_path / name
    path.write_text(good * 60 + "x" * 10_000_000 + "\n" + good)
    tracemalloc.start()
    lines = list(read(str(path)))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pairs(lines) == [*((n, A) for n in range(1, 61)), (61, None), (62, A)]
    assert "longer than" in (lines[60].reason or "")
    assert peak_bytes < 8_000_000


def _ends_well(path: Path) -> None:
    """It is read as lines that can be written, or refused by its name."""
    try:
        lines = list(read(str(path)))
    except UsageError as exc:
        assert str(path) in str(exc)
        return
    for line in lines:
        assert (line.video_id is None) == (line.reason is not None)
        json.dumps([line.text, line.input, line.reason], ensure_ascii=False, allow_nan=False).encode()


@given(st.binary(max_size=400), st.sampled_from([".txt", ".csv", ".tsv", ".jsonl", ".json", ".x"]))
def test_any_bytes_end_in_lines_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, ending: str
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{ending}"
    path.write_bytes(data)
    _ends_well(path)


HARMED = {name: (DATA / name).read_bytes() for name in ("takeout-001.zip", "list.xlsx", "list.csv.gz")}


@given(
    st.sampled_from(sorted(HARMED)),
    st.floats(0, 1, exclude_max=True),
    st.binary(max_size=3),
    st.integers(0, 30),
)
def test_any_harm_to_what_is_packed_ends_so_too(
    tmp_path_factory: pytest.TempPathFactory, name: str, at: float, put: bytes, taken: int
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    data = HARMED[name]
    place = int(at * len(data))
    path.write_bytes(data[:place] + put + data[place + taken :])
    _ends_well(path)


# -- JSON ---------------------------------------------------------------------------------------------------


def test_json_lines(tmp_path: Path) -> None:
    nested = {"a": [1, {"b": None}], "é": 1.5}
    data = [
        json.dumps({"video_id": A, "n": 17, "nested": nested}),
        json.dumps({"id": f"https://youtu.be/{B}", "url": "kept", "title": "t"}),
        json.dumps({"id": "17", "url": f"https://youtu.be/{C}"}),
        json.dumps(A),
        "",
        '{"id": ',
        '{"id": "aaaaaaaaaa1", "x": NaN}',
        '{"id": "aaaaaaaaaa1", "x": 1e999}',
        '{"title": "no video"}',
        '{"id": 17}',
        '["aaaaaaaaaa1"]',
        '{"id":"aaaaaaaaaa1","x":' + "[" * 100 + "]" * 100 + "}",
        '{"id":"aaaaaaaaaa1","x":' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"id":"aaaaaaaaaa1","x":' + "9" * 5000 + "}",
        json.dumps({"link": A}),
    ]
    lines = of(tmp_path, "x.jsonl", "\n".join(data))
    assert pairs(lines)[:4] == [(1, A), (2, B), (3, C), (4, A)]
    assert lines[0].input == {"n": 17, "nested": nested}
    assert lines[1].input == {"url": "kept", "title": "t"}
    assert lines[2].input == {"id": "17"}
    assert pairs(lines)[4:-1] == [(n, None) for n in range(6, 15)]
    reasons = [line.reason or "" for line in lines[4:-1]]
    for reason, part in zip(
        reasons,
        ["not JSON", "NaN", "too large", "no video_id", "a number", "a list", "deep", "deep", "not JSON"],
        strict=True,
    ):
        assert part in reason
    assert lines[-1].video_id == A


@pytest.mark.parametrize("key", [None, "videos", "items", "entries"])
def test_json_list(key: str | None, tmp_path: Path) -> None:
    values = [A, {"url": f"youtu.be/{B}", "n": [1]}, 5, {"id": "x"}]
    lines = of(tmp_path, "x.json", json.dumps({key: values, "n": 1} if key else values, indent=1))
    assert pairs(lines) == [(1, A), (2, B), (3, None), (4, None)]
    assert lines[1].input == {"n": [1]}
    assert lines[3].text == '{"id": "x"}'


def test_a_single_object_is_one_video(tmp_path: Path) -> None:
    (line,) = of(tmp_path, "x.json", json.dumps({"id": A, "n": 1}))
    assert (line.video_id, line.input) == (A, {"n": 1})


def test_json_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"line 2, column 1.*\.jsonl"):
        of(tmp_path, "x.json", f'"{A}"\n"{B}"\n')
    monkeypatch.setattr("engine.inputs.json_input.MAX_FILE_BYTES", 10)
    with pytest.raises(UsageError, match=r"\.jsonl"):
        of(tmp_path, "x.json", f'["{A}"]')


@pytest.mark.parametrize(
    ("value", "column", "source"),
    [
        ({"url": "https://www.youtube.com/@TED", "topic": "talks"}, None, "@ted"),
        ({"id": "UCAuUUnT6oDeKwE6v1NGQxug"}, None, "UCAuUUnT6oDeKwE6v1NGQxug"),
        (
            {"id": 17, "video_id": None, "link": "PLrAXtmErZgOeiKm4sgNOknGvNjby9efdf"},
            None,
            "PLrAXtmErZgOeiKm4sgNOknGvNjby9efdf",
        ),
        ({"who": "@TED"}, "who", "@ted"),
        ({"who": "@TED"}, None, None),
        ({"url": f"https://youtu.be/{A}", "id": "@TED"}, None, None),
        ({"title": "@TED", "id": "nothing at all"}, None, None),
        ({"url": "https://www.youtube.com/@TED", "ie_key": "Vimeo"}, None, None),
    ],
)
def test_json_objects_may_name_a_source(
    value: dict[str, object], column: str | None, source: str | None, tmp_path: Path
) -> None:
    """As the rows of a table may."""
    for name, text in (("x.jsonl", json.dumps(value)), ("x.json", json.dumps([value]))):
        (tmp_path / name).write_text(text)
        (line,) = read(str(tmp_path / name), column=column)
        found = source_of(line)
        assert (found and found.name) == source


def test_json_by_column(tmp_path: Path) -> None:
    lines = of(tmp_path, "x.jsonl", f'{{"Ref": "{A}", "id": "{B}"}}\n{{"id": "{B}"}}\n', column="ref")
    assert pairs(lines) == [(1, A), (2, None)]
    assert lines[0].input == {"id": B}
    assert "'ref'" in (lines[1].reason or "")


def test_lone_surrogates_become_writable(tmp_path: Path) -> None:
    (line,) = of(tmp_path, "x.jsonl", f'{{"id":"{A}","t":"\\ud83d","\\udc00":["\\ud83d\\ude00\\ud800"]}}')
    assert line.input == {"t": "\ufffd", "\ufffd": ["😀\ufffd"]}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text().filter(lambda key: key != "video_id"), VALUES, max_size=4))
def test_objects_are_carried_unchanged(given_input: dict[str, object]) -> None:
    data = json.dumps({"video_id": A, **given_input}).encode()
    (line,) = read("-", stdin=io.BytesIO(data))
    assert line.video_id == A
    assert line.input == given_input


@pytest.mark.parametrize("name", ["x.txt", "x"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_table_under_the_name_of_a_text(name: str, encoding: str, tmp_path: Path) -> None:
    for head in ("url\ttitle\r\n", ""):
        lines = of(tmp_path, name, f"{head}{A}\té\r\n{B}\tx\r\n".encode(encoding))
        assert [line.video_id for line in lines] == [A, B]
        assert lines[0].input == ({"title": "é"} if head else {"column_2": "é"})
    lines = of(tmp_path, name, f"# url, title\n{A} # one, two\n{B}\n")
    assert [line.video_id for line in lines] == [A, B]
