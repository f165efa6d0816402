"""Workbooks: the sheet, its columns, what cells hold, and files that are none."""

from __future__ import annotations

import datetime
import gzip
import sys
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import psutil
import pytest

from engine.errors import UsageError
from engine.inputs import Line, read
from engine.inputs.links_and_formulas import read_part

A, B = "aaaaaaaaaa1", "-bbbbbbbbb2"
DATA = Path(__file__).parents[1] / "data" / "list.xlsx"


def book(path: Path, **sheets: list[list[Any]]) -> str:
    made = openpyxl.Workbook(write_only=True)
    for title, rows in sheets.items():
        sheet = made.create_sheet(title)
        for row in rows:
            sheet.append(row)
    made.save(path)
    return str(path)


def test_the_columns_keep_their_kinds(tmp_path: Path) -> None:
    day = datetime.datetime(2026, 10, 3, 20, 11)
    rows = [["Topic", "Link", "n", "on", "empty"], ["é", f"https://youtu.be/{A}", 7, day, None]]
    (line,) = read(book(tmp_path / "x.xlsx", List=rows))
    assert (line.file, line.line, line.video_id) == (f"{tmp_path}/x.xlsx:List", 2, A)
    assert line.input == {"Topic": "é", "n": 7, "on": "2026-10-03T20:11:00", "empty": ""}


def test_rows_have_the_numbers_they_have_in_the_sheet() -> None:
    lines = list(read(str(DATA)))
    assert [(line.line, bool(line.video_id)) for line in lines] == [(2, True), (4, True), (5, False)]
    assert lines[1].input["Seen"] is False
    assert lines[2].text == "no link\t\t3"


@pytest.mark.parametrize("sheet", ["More", " more ", "2"])
def test_another_sheet_by_name_or_number(sheet: str) -> None:
    (line,) = read(str(DATA), sheet=sheet)
    assert line.file.endswith(":More")
    assert line.video_id


def test_a_column_is_asked_for_as_in_a_table(tmp_path: Path) -> None:
    path = book(tmp_path / "x.xlsx", L=[["a", "b"], [A, B]])
    assert [line.video_id for line in read(path, column="b")] == [B]
    with pytest.raises(UsageError, match="no column 'c'"):
        read(path, column="c")
    with pytest.raises(UsageError, match=r"no sheet 'x'. Sheets: 'L'"):
        read(path, sheet="x")


def with_links(path: Path, *, formulas: bool) -> str:
    """A sheet whose videos lie behind the words in its cells."""
    made = openpyxl.Workbook()
    sheet = made.create_sheet("List")
    sheet.append(["Title", "Link", "n"])
    for number, name in enumerate((A, B)):
        link = f"https://www.youtube.com/watch?v={name}&t=1"
        sheet.append([f"t{number}", f'=HYPERLINK("{link}","watch")' if formulas else "watch", number])
        if not formulas:
            sheet.cell(number + 2, 2).hyperlink = link
    made.save(path)
    return str(path)


@pytest.mark.parametrize("formulas", [False, True])
def test_a_link_behind_a_cell_is_followed(tmp_path: Path, formulas: bool) -> None:
    lines = list(read(with_links(tmp_path / "x.xlsx", formulas=formulas), sheet="List"))
    assert [(line.line, line.video_id) for line in lines] == [(2, A), (3, B)]
    shown = {} if formulas else {"Link": "watch"}
    assert lines[0].input == {"Title": "t0", **shown, "n": 0}


def test_one_link_over_many_cells_and_links_that_are_none(tmp_path: Path) -> None:
    made = openpyxl.Workbook()
    sheet = made.active
    for row in (["what", "id"], ["mail", A], ["channel", B], ["x", "y"]):
        sheet.append(row)
    sheet["A2"].hyperlink = "mailto:joe@example.com"
    sheet["A3"].hyperlink = "https://www.youtube.com/@handle"
    sheet["B4"].hyperlink = "https://example.com/"
    made.save(tmp_path / "x.xlsx")
    lines = list(read(str(tmp_path / "x.xlsx")))
    assert [(line.video_id, line.input) for line in lines[:2]] == [
        (A, {"what": "mail"}),
        (B, {"what": "channel"}),
    ]
    assert (lines[2].video_id, lines[2].text) == (None, "y")
    part = b'<hyperlinks><hyperlink ref="$B$2:B4" r:id=\'r7\' display="&lt;x&gt;"/></hyperlinks></worksheet>'
    found = links_of(tmp_path, part, b'<Relationship Target="https://youtu.be/a?b=1&amp;c=2" Id="r7"/>')
    assert found == {(row, 2): "https://youtu.be/a?b=1&c=2" for row in (2, 3, 4)}


def links_of(tmp_path: Path, sheet: bytes, relations: bytes) -> dict[tuple[int, int], str]:
    with zipfile.ZipFile(tmp_path / "parts.zip", "w") as archive:
        archive.writestr("xl/worksheets/s.xml", sheet)
        archive.writestr("xl/worksheets/_rels/s.xml.rels", relations)
    with zipfile.ZipFile(tmp_path / "parts.zip") as archive:
        return read_part(archive, "xl/worksheets/s.xml").links


def test_where_a_part_is_cut_for_reading_makes_no_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = b"<row/>" * 20 + b'<x:hyperlinks ><x:hyperlink ref="A1" r:id="r1"/></x:hyperlinks>'
    relations = b'<Relationship Id="r1" Target="https://youtu.be/x"/>'
    for size in range(1, 90):
        monkeypatch.setattr("engine.inputs.links_and_formulas._CHUNK_BYTES", size)
        assert links_of(tmp_path, part, relations) == {(1, 1): "https://youtu.be/x"}, size


def test_formulas_without_results_are_told_from_those_with(tmp_path: Path) -> None:
    """openpyxl stores no results; where a program has stored them they are taken."""
    path = book(tmp_path / "x.xlsx", List=[["n", "link"], [1, f'="https://youtu.be/"&"{A}"'], [2, "=B2"]])
    lines = list(read(path))
    assert [line.video_id for line in lines] == [None, None]
    assert all("open the file in Excel or LibreOffice" in (line.reason or "") for line in lines)
    bare = book(tmp_path / "y.xlsx", List=[[1, f'="{A}"'], [2, f'="{B}"']])
    with pytest.raises(
        UsageError, match=r"y\.xlsx:List: .*2 formulas in it have no stored result.*LibreOffice"
    ):
        read(bare)
    stored = f'<row r="1"><c r="A1" t="str"><f>"{A}"&amp;""</f><v>{A}</v></c></row>'
    (line,) = all_of(_parts(DATA, tmp_path / "z.xlsx", sheet1=_sheet(stored)))
    assert line.video_id == A


TITLED = [["My favourites"], ["as of November", "", "x"], ["title", "Video URL", "n"]]


@pytest.mark.parametrize("count", [1, 5])
def test_titles_above_the_names_of_the_columns(tmp_path: Path, count: int) -> None:
    data = [[f"t{n}", f"https://youtu.be/{n:011}", n] for n in range(count)]
    sheet = list(read(book(tmp_path / "x.xlsx", List=[TITLED[0], [], *TITLED[1:], *data])))
    text = "".join(";".join(map(str, row)) + "\n" for row in [*TITLED, *data])
    (tmp_path / "x.csv").write_text(text)
    for lines, first in ((sheet, 5), (list(read(str(tmp_path / "x.csv"))), 4)):
        assert [line.line for line in lines] == list(range(first, first + count))
        assert all(line.video_id for line in lines)
        assert [(line.input["title"], str(line.input["n"])) for line in lines] == [
            (f"t{n}", str(n)) for n in range(count)
        ]
    (line, *_) = read(str(tmp_path / "x.csv"), column="video url")
    assert (line.line, line.input) == (4, {"title": "t0", "n": "0"})


def test_formulas_below_and_beside_all_values(tmp_path: Path) -> None:
    """To calamine a cell without a result is none, so it lies outside of the sheet."""
    path = book(
        tmp_path / "x.xlsx", List=[["n", "link"], [1, "x"], ["", f'=HYPERLINK("https://youtu.be/{A}")']]
    )
    assert [(line.line, line.video_id) for line in read(path)] == [(2, None), (3, A)]


def ods(path: Path, cell: str, *, rows: int = 1, columns: int = 1) -> str:
    """A sheet of LibreOffice's with one cell, so many times."""
    space = "urn:oasis:names:tc:opendocument:xmlns"
    names = "".join(f' xmlns:{name}="{space}:{name}:1.0"' for name in ("office", "table", "text"))
    content = (
        f"<office:document-content{names}><office:body><office:spreadsheet><table:table table:name='S'>"
        f"<table:table-row table:number-rows-repeated='{rows}'><table:table-cell office:value-type='string' "
        f"table:number-columns-repeated='{columns}'><text:p>{cell}</text:p></table:table-cell></table:table-row>"
        "</table:table></office:spreadsheet></office:body></office:document-content>"
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        manifest = f"<manifest:manifest xmlns:manifest='{space}:manifest:1.0'></manifest:manifest>"
        archive.writestr("META-INF/manifest.xml", manifest)
        archive.writestr("content.xml", content)
    return str(path)


def test_sheets_of_other_programs(tmp_path: Path) -> None:
    lines = all_of(DATA.with_suffix(".xls"))
    assert [(line.line, line.video_id, line.input) for line in lines] == [
        (2, "IFozszB4wUA", {"Topic": "biology", "Row": 1}),
        (3, "WWhzvrnN1Jg", {"Topic": "history", "Row": 2.5}),
    ]
    assert [line.video_id for line in read(ods(tmp_path / "x.ods", A, rows=2))] == [A, A]
    (tmp_path / "x.xls.gz").write_bytes(gzip.compress(DATA.with_suffix(".xls").read_bytes()))
    assert [line.line for line in all_of(tmp_path / "x.xls.gz")] == [2, 3]


def test_a_table_that_is_only_called_xls(tmp_path: Path) -> None:
    (tmp_path / "x.xls").write_text(f"Title\tVideo\nt\t{A}\n")
    assert [(line.video_id, line.input) for line in all_of(tmp_path / "x.xls")] == [(A, {"Title": "t"})]


def test_a_sheet_that_claims_to_be_huge_ends_its_reader_alone(tmp_path: Path) -> None:
    cells = f'<row r="1"><c r="A1" t="str"><v>{A}</v></c></row>'
    cells += f'<row r="1048576"><c r="XFD1048576" t="str"><v>{A}</v></c></row>'
    with pytest.raises(UsageError, match="more memory or time"):
        all_of(_parts(DATA, tmp_path / "x.xlsx", sheet1=_sheet(cells)))
    with pytest.raises(UsageError, match="a LibreOffice sheet"):
        read(ods(tmp_path / "x.ods", A, rows=10**5, columns=10**5))


def test_who_stops_reading_leaves_no_process(tmp_path: Path) -> None:
    path = book(tmp_path / "x.xlsx", L=[["id", "x"], *([A, "x" * 200] for _ in range(2_000))])
    for lines in (read(path), read(path)):
        next(lines)
        lines.close()  # type: ignore[attr-defined]
    children = [child.cmdline() for child in psutil.Process().children()]
    assert not [words for words in children if any("sheet_process" in word for word in words)]


def test_an_empty_sheet(tmp_path: Path) -> None:
    assert list(read(book(tmp_path / "x.xlsx", L=[]))) == []


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(UsageError, match=r"pip install '\.\[xlsx\]'"):
        read(str(DATA))


def _parts(path: Path, target: Path, **changed: bytes) -> Path:
    """A copy of a workbook with some of its parts changed."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, changed.get(Path(name).stem, old.read(name)))
    return target


def _sheet(rows: str) -> bytes:
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    return f'<worksheet xmlns="{space}"><sheetData>{rows}</sheetData></worksheet>'.encode()


def all_of(path: Path) -> list[Line]:
    return list(read(str(path)))


def test_what_is_no_workbook(tmp_path: Path) -> None:
    path = tmp_path / "x.xlsx"
    for data in (b"", b"id\naaaaaaaaaa1\n", DATA.read_bytes()[:-100], b"PK\3\4" + bytes(100)):
        path.write_bytes(data)
        with pytest.raises(UsageError, match=r"x\.xlsx: not a workbook"):
            all_of(path)
    with zipfile.ZipFile(path, "w") as other:
        other.writestr("readme.txt", "x")
    with pytest.raises(UsageError, match="not a workbook"):
        all_of(path)
    with pytest.raises(UsageError, match="not a workbook"):
        all_of(_parts(DATA, path, sheet1=b"<worksheet><sheetData><row><c"))


def test_entities_that_multiply_are_refused(tmp_path: Path) -> None:
    bomb = b'<!DOCTYPE w [<!ENTITY a "aaaa">]>'
    bomb += b'<worksheet><sheetData><row><c t="str"><v>&a;</v></c></row></sheetData></worksheet>'
    with pytest.raises(UsageError, match="not a workbook"):
        all_of(_parts(DATA, tmp_path / "x.xlsx", sheet1=bomb))


def test_sizes_and_rows_have_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    far = f'<row r="1"><c t="str"><v>{A}</v></c></row><row r="5000">'
    far += f'<c r="A5000" t="str"><v>{A}</v></c></row>'
    monkeypatch.setattr("engine.inputs.workbook.MAX_ROWS", 1000)
    with pytest.raises(UsageError, match="more than 1,000 rows"):
        all_of(_parts(DATA, tmp_path / "x.xlsx", sheet1=_sheet(far)))
    monkeypatch.setattr("engine.inputs.opener.FREE_BYTES", 1 << 16)
    with pytest.raises(UsageError, match="200 times"):
        all_of(_parts(DATA, tmp_path / "y.xlsx", sheet1=b" " * (1 << 20)))
    monkeypatch.setattr("engine.inputs.workbook.MAX_SHARED_BYTES", 10)
    with pytest.raises(UsageError, match="Save the sheet as CSV"):
        all_of(DATA)
