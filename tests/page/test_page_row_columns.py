"""The user's own columns on the page, and where a search found its words."""

from __future__ import annotations

from typing import Any

from engine.page.index import IndexedRow, RowPage, TableFilter
from engine.page.row_columns import columns_found, found_in, own_columns, search_hint
from engine.page.views import render
from engine.queue.manifest_row import ManifestRow

PRIVATE = ManifestRow(
    "dQw4w9WgXcQ",
    "failed",
    "members_only",
    message="for members",
    input={"title": "Müller spricht", "note": "Kapitel 3", "row": 7, "empty": ""},
)


def table(row: ManifestRow, text: str = "") -> str:
    found = [IndexedRow(1, row)]
    values: dict[str, Any] = {
        "found_in": found_in,
        "own_columns": own_columns,
        "columns_found": columns_found,
    }
    return render(
        "rows.html",
        found=RowPage(tuple(found), None),
        wanted=TableFilter.of(text=text),
        hint=search_hint(found),
        note="",
        searching="",
        before=None,
        link=str,
        local_time=str,
        **values,
    )


def test_a_video_without_a_title_shows_the_columns_of_the_list() -> None:
    shown = table(PRIVATE)
    assert "title: Müller spricht" in shown and "note: Kapitel 3" in shown and "empty" not in shown
    assert ">members only</td>" in shown
    titled = ManifestRow("dQw4w9WgXcQ", "ok", title="A talk", input=PRIVATE.input)
    assert "Kapitel" not in table(titled)


def test_a_hit_says_in_which_column() -> None:
    titled = ManifestRow("dQw4w9WgXcQ", "ok", title="Kapitel eins", input=PRIVATE.input)
    assert found_in(titled, ("kapitel",)) == ["title", "your note"]
    shown = table(titled, "KAPITEL")
    assert "found in <bdi>title, your note</bdi>" in shown and "note: Kapitel 3" in shown
    assert found_in(PRIVATE, ("müller", "members")) == ["message", "your title"]
    assert "found in" not in table(titled)


def test_the_hint_of_the_search_names_own_columns() -> None:
    assert search_hint([IndexedRow(1, PRIVATE)]) == "words of title, channel, id, title, note, row"
    assert search_hint([]) == "words of title, channel, id"


def test_what_is_no_column_is_none() -> None:
    for odd in (None, [], "x"):
        assert own_columns(ManifestRow("x" * 11, "ok", input=odd)) == []  # type: ignore[arg-type]


def test_the_dialog_shows_own_columns_and_no_dangling_dot() -> None:
    values: dict[str, Any] = {"n": 1, "formats": [], "transcript": [], "trouble": ""}
    from engine.report.kind_help import MEANINGS

    def dialog(row: ManifestRow) -> str:
        return render("video.html", row=row, own=own_columns(row), meaning=MEANINGS[row.kind or ""], **values)

    shown = dialog(PRIVATE)
    assert "Müller spricht" in shown and "Kapitel 3" in shown
    line = shown.partition('<p class="soft">')[2].partition("</p>")[0]
    assert line.strip().startswith("<a href") and "·" not in line
    kept = dialog(ManifestRow("x" * 11, "failed", "kept"))
    assert "Fetch and replace" in kept
