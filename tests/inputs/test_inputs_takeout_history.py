"""Watch histories of Google Takeout, JSON and HTML."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import growth

from engine.errors import UsageError
from engine.inputs import read
from engine.inputs.takeout_history import MAX_CELL_CHARS, cells

DATA = Path(__file__).parents[1] / "data"
A = "aaaaaaaaaa1"
WATCH = "https://www.youtube.com/watch?v="


def cell(content: str, product: str = "YouTube") -> str:
    return (
        '<div class="outer-cell mdl-cell"><div class="mdl-grid"><div class="header-cell mdl-cell">'
        f'<p class="mdl-typography--title">{product}<br></p></div>'
        f'<div class="content-cell mdl-cell">{content}</div><div class="content-cell x"></div></div></div>'
    )


def test_json() -> None:
    first, music, gone, ad, post = read(str(DATA / "watch-history.json"))
    assert first.input == {
        "watched_at": "2026-10-03T20:11:45.123Z",
        "title": "How glaciers move – part 1",
        "channel": "Field Notes",
        "product": "YouTube",
    }
    assert music.input["product"] == "YouTube Music"
    assert (gone.video_id, gone.text) == (None, "Watched a video that has been removed")
    assert "no address" in (gone.reason or "")
    assert ad.input["details"] == "From Google Ads"
    assert "title" not in ad.input, "the address is no title"
    assert "without a video" in (post.reason or "")


def test_html() -> None:
    english, german, gone, untitled = read(str(DATA / "watch-history.html"))
    assert english.input == {
        "watched_at": "Jun 6, 2026, 8:53:12 AM CEST",
        "title": 'Salt & light: "a test"',
        "channel": "Lab Tales",
        "product": "YouTube",
    }
    assert german.input["title"] == "Wie Brücken schwingen"
    assert german.input["watched_at"] == "05.06.2026, 21:04:00 MESZ"
    assert gone.video_id is None
    assert gone.text.startswith("Watched a video that has been removed")
    assert untitled.input == {"watched_at": "Jun 3, 2026, 8:53:12 AM CEST", "product": "YouTube Music"}


@pytest.mark.parametrize(
    ("notes", "details"),
    [
        ("<b>Products:</b><br>&emsp;YouTube<br>", None),
        (
            "<b>Products:</b><br>&emsp;YouTube<br><b>Details:</b><br>&emsp;From Google Ads<br>",
            "From Google Ads",
        ),
        (
            '<b>Produkte:</b><br>&emsp;YouTube<br><b>Orte:</b><br>&emsp;<a href="https://www.google.com/maps">x</a>'
            "<br><b>Details:</b><br>&emsp;Aus Google Anzeigen<br><b>Warum?</b><br>&emsp;Darum.",
            "Aus Google Anzeigen",
        ),
        ('<b>Products:</b><br>&emsp;YouTube<br><b>Why?</b><br>&emsp;So. <a href="https://x">here</a>.', None),
    ],
)
def test_html_tells_an_advertisement(notes: str, details: str | None) -> None:
    caption = f'<div class="content-cell mdl-typography--caption">{notes}</div></div>'
    text = cell(f'<a href="{WATCH}{A}">t</a><br>now<br>') + caption
    (line,) = cells(io.StringIO(text), "f")
    assert line.input.get("details") == details


def test_html_is_known_by_its_beginning_and_unpacked() -> None:
    data = (DATA / "watch-history.html").read_bytes()
    assert len(list(read("-", stdin=io.BytesIO(data)))) == 4
    assert len(list(read("-", stdin=io.BytesIO(gzip.compress(b"<!doctype html>" + data))))) == 4


def test_other_html_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text('<html><a href="https://example.com/">x</a></html>')
    with pytest.raises(UsageError, match=r"no watch history of Google Takeout and no link"):
        list(read(str(path)))


@pytest.mark.parametrize("before", [0, 65_515, 65_536, 200_000])
def test_cells_are_found_wherever_the_reading_is_cut(before: int) -> None:
    text = "<style>" + "x" * before + "</style>" + cell(f'<a href="{WATCH}{A}">t</a><br>now<br>') * 300
    lines = list(cells(io.StringIO(text), "f"))
    assert [line.line for line in lines] == list(range(1, 301))
    assert {line.video_id for line in lines} == {A}
    assert lines[0].input == {"watched_at": "now", "title": "t", "product": "YouTube"}


def test_a_cell_without_end_is_one_rejected_line() -> None:
    good = cell(f'<a href="{WATCH}{A}">t</a>')
    stream = io.StringIO(good + cell("x" * 5_000_000) + good)
    tracemalloc.start()
    lines = list(cells(stream, "f"))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [line.video_id for line in lines] == [A, None, A]
    assert f"longer than {MAX_CELL_CHARS}" in (lines[1].reason or "")
    assert peak_bytes < 2_000_000


@pytest.mark.parametrize("piece", ["<", "<a ", '<a href="', '<a href="">', "<p ", "<br", "&amp", ">"])
def test_no_text_makes_it_slow(piece: str) -> None:
    def read_cells(chars: int) -> None:
        text = cell(piece * (chars // len(piece))) * 5
        assert all(line.video_id is None for line in cells(io.StringIO(text), "f"))

    assert growth(read_cells, 3_000, 60_000) < 100, "20 times as long; its square would be 400"


@given(st.text(st.sampled_from('<>a="/ brdivp\n&;\ud800é')), st.booleans())
def test_any_cell_is_a_line_that_can_be_written(content: str, linked: bool) -> None:
    link = f'<a href="{WATCH}{A}">{content}</a>' if linked else ""
    for line in cells(io.StringIO(cell(link + content)), "f"):
        json.dumps([line.text, line.input, line.reason], ensure_ascii=False).encode()
