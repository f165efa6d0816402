"""Tables: the right column, the right delimiter, rows of every kind."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.inputs.csv_table import read_table
from engine.inputs.line import Line

A, B, C = "aaaaaaaaaa1", "-bbbbbbbbb2", "cccccccc_-3"
WORD = "description"  # eleven id characters


def rows(text: str, column: str | None = None, delimiter: str | None = None) -> list[Line]:
    return list(read_table(io.StringIO(text, newline=""), "x.csv", column=column, delimiter=delimiter))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"row,url,topic\n17,youtu.be/{A},music\n", {"row": "17", "topic": "music"}),
        (f"Video ID,n\n{A},1\n", {"n": "1"}),
        (f"title;VIDEO_URL\nx, y;https://youtu.be/{A}\n", {"title": "x, y"}),
        (f"title\tlink\nx\t{A}\n", {"title": "x"}),
        (f"title|link\nx|{A}\n", {"title": "x"}),
        (f"id,url\n1,youtu.be/{A}\n", {"id": "1"}),  # two names: the one that holds videos
        (f"id,url\n12345678901,youtu.be/{A}\n", {"id": "12345678901"}),  # eleven digits are a key
        (f"id,url\n{A},youtu.be/{A}\n", {"url": f"youtu.be/{A}"}),  # two that do: the better name
        (f"adresse,x\nyoutu.be/{A},1\n", {"x": "1"}),  # by content
        (f"id,adresse\n5,youtu.be/{A}\n", {"id": "5"}),  # a name that holds none
        (f"{WORD},wohin\nfoo,youtu.be/{A}\n", {WORD: "foo"}),
        (f"wohin,{WORD}\nfoo,{A}\n", {"wohin": "foo"}),  # a heading that could be an id
        (f"{A},foo\n", {"column_2": "foo"}),  # no header
        (f"foo,https://youtu.be/{A},bar\n", {"column_1": "foo", "column_3": "bar"}),
        (f"{A}\n", {}),
        (f"url\n{A}\n", {}),
        (f"youtube_url\n{A}\n", {}),  # eleven characters, but a known heading
        (f"sep=;\nurl;n\n{A};1\n", {"n": "1"}),
        (f'"url","n"\n"{A}","1"\n', {"n": "1"}),
        (f"\ufeff\nurl,n\n{A},1\n".replace("\ufeff", ""), {"n": "1"}),
        (f"url,n,n,\n{A},1,2,3\n", {"n": "1", "n_3": "2", "column_4": "3"}),
        (f"url,n,m\n{A}\n", {"n": "", "m": ""}),
        (f"url,n\n{A},1,2,3\n", {"n": "1", "column_3": "2", "column_4": "3"}),
        (f"url,column_3\n{A},1,2\n", {"column_3": "1", "column_3_": "2"}),
        (f'url,n\n{A}," a ""b"",\r\nc "\n', {"n": ' a "b",\r\nc '}),
    ],
)
def test_one_video(text: str, expected: dict[str, str]) -> None:
    for ends in (text, text.replace("\r\n", "\n").replace("\n", "\r\n")):
        (line,) = [line for line in rows(ends) if line.video_id]
        assert line.video_id == A
        if ends is text or "\n" not in "".join(expected.values()):
            assert line.input == expected
        assert len(rows(ends)) == 1


def test_ids_that_look_like_words_without_a_header() -> None:
    assert [line.video_id for line in rows("a" * 11 + ",1\n" + "b" * 11 + ",2\n")] == ["a" * 11, "b" * 11]


@pytest.mark.parametrize(("column", "found"), [("B", A), (" b ", A), ("2", A), ("1", C), ("a", C)])
def test_column_by_name_or_number(column: str, found: str) -> None:
    (line,) = rows(f"a,b\n{C},{A}\n", column)
    assert line.video_id == found


def test_column_by_number_without_a_header() -> None:
    assert [line.video_id for line in rows(f"{C},{A}\n{B},{A}\n", "2")] == [A, A]


@pytest.mark.parametrize("column", ["nope", "0", "3", "-1", "٢", "1e0", "9" * 5000])
def test_a_column_that_is_not_there(column: str) -> None:
    with pytest.raises(UsageError, match=r"x\.csv: no column .*Columns: 'a', 'b'"):
        rows(f"a,b\n{C},{A}\n", column)


def test_no_column_at_all() -> None:
    with pytest.raises(UsageError, match=r"Columns: 'name', 'town'.*--column"):
        rows("name,town\nx,y\n")


def test_a_named_column_of_which_most_is_wrong() -> None:
    lines = rows(f"url,n\nx,1\ny,2\n{A},3\n,4\n,\n")
    assert [(line.line, line.video_id) for line in lines] == [(2, None), (3, None), (4, A), (5, None)]
    assert (lines[3].text, lines[3].reason) == (",4", "no link in column url")


def test_the_line_is_where_the_row_starts() -> None:
    lines = rows(f'url,n\n\n{A},"1\n2\n3"\n{B},\nbad,"x\ny"\n{C},4\n')
    assert [(line.line, line.video_id) for line in lines] == [(3, A), (6, B), (7, None), (9, C)]
    assert lines[0].input == {"n": "1\n2\n3"}


@pytest.mark.parametrize("count", [3, 5000])
def test_a_quote_left_open_costs_its_own_row_only(count: int) -> None:
    lines = rows(f'url,n\n{A},1\n{B},"open\n' + f"{C},2\n" * count)
    assert [line.video_id for line in lines] == [A, None, *[C] * count]
    assert lines[1].line == 3
    assert "quote" in (lines[1].reason or "")
    assert lines[-1].line == count + 3


def test_a_quote_that_closes_much_later_swallows_nothing() -> None:
    lines = rows(f'url,n\n{B},"open\n' + f"{C},2\n" * 3000 + f'{A},"x"\n')
    assert [line.video_id for line in lines] == [None, *[C] * 3000, A]


def test_quotes_left_open_everywhere_take_no_forever() -> None:
    lines = rows("url,n\n" + f'{A},"""x\n' * 3001)
    assert len(lines) <= 3001
    assert all((line.video_id is None) == bool(line.reason) for line in lines)


def test_a_long_row_costs_itself_only() -> None:
    lines = rows(f"url,n\n{A},1\n{B}," + "x" * 2_000_000 + f'\n{C},"' + "y" * 2_000_000 + f'"\n{C},2\n')
    assert [(line.line, line.video_id) for line in lines] == [(2, A), (3, None), (4, None), (5, C)]


CELL = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(
    st.lists(st.tuples(CELL, CELL), min_size=1, max_size=6),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_columns_are_carried_unchanged(cells: list[tuple[str, str]], delimiter: str, end: str) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("first", "video_id", "last"), *((one, A, two) for one, two in cells)])
    lines = rows(out.getvalue())
    assert [(line.input["first"], line.input["last"]) for line in lines] == cells
    assert {line.video_id for line in lines} == {A}
