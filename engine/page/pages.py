"""The pages that a browser reads: the main one, its table of rows, a video with its transcript, a video's file."""

from __future__ import annotations

import os
import sqlite3
import time
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from engine.batch import Batch
from engine.errors import EngineError
from engine.model import Kind
from engine.page import downloads
from engine.page.field_words import ENCODINGS
from engine.page.index import IndexedRow, RowIndex, RowPage, TableFilter
from engine.page.launch import LEAST_AT_ONCE, MOST_AT_ONCE
from engine.page.live_view import LiveView, local_time
from engine.page.row_columns import columns_found, found_in, own_columns, search_hint
from engine.page.views import render, spoken
from engine.queue.manifest_row import ManifestRow
from engine.report.kind_help import MEANINGS, OTHER
from engine.report.model import name as queue_name

ROWS = 25
SEARCH_S = 1.0  # one answer searches so long at most, and says how far it came
_GONE = "the rows have changed meanwhile: load the page again"


class Pages:
    """The handlers of one page. Starlette calls them in threads."""

    def __init__(self, batch: Batch, index: RowIndex, view: LiveView, *, read_only: bool) -> None:
        self.batch, self.index, self.view = batch, index, view
        self._read_only = read_only

    def main(self, request: Request) -> Response:
        live = self.view()
        return HTMLResponse(
            render(
                "page.html",
                name=queue_name(self.batch.root),
                where=os.path.abspath(self.batch.root),
                read_only=self._read_only,
                live=live,
                rehearsal=self.view.rehearsal,
                part=lambda name: Markup(live.parts.get(name, "")),  # noqa: S704 - rendered by a template
                least=LEAST_AT_ONCE,
                most=MOST_AT_ONCE,
                habits=self.view.habits(),
                kinds=list(Kind),
                encodings=ENCODINGS,
                **self._rows(request),
            )
        )

    def rows(self, request: Request) -> Response:
        return HTMLResponse(render("rows.html", **self._rows(request)))

    def video(self, request: Request) -> Response:
        n, video_id = request.path_params["n"], request.path_params["video_id"]
        row = self._row(n, video_id)
        if row is None:
            return Response(f"{_GONE}\n", 404, media_type="text/plain")
        trouble, transcript = "", []
        if row.status == "ok":
            try:
                transcript = list(spoken(self.batch.record(video_id)))
            except EngineError as exc:
                trouble = str(exc)
        name = "video.html" if request.query_params.get("part") else "video_page.html"
        return HTMLResponse(
            render(
                name,
                n=n,
                row=row,
                formats=downloads.formats_of(self.batch, row),
                meaning=MEANINGS.get(row.kind or "", OTHER),
                own=own_columns(row),
                transcript=transcript,
                trouble=trouble,
            )
        )

    def file(self, request: Request) -> Response:
        n, video_id, suffix = (request.path_params[name] for name in ("n", "video_id", "suffix"))
        row = self._row(n, video_id)
        data = downloads.content_of(self.batch, row, suffix) if row else None
        if data is None:
            return Response("there is no such file\n", 404, media_type="text/plain")
        told = {"Content-Disposition": f'attachment; filename="{video_id}.{suffix}"'}
        return Response(data, media_type="application/octet-stream", headers=told)

    def _row(self, n: int, video_id: str) -> ManifestRow | None:
        try:
            return self.index.get(n, video_id)
        except (sqlite3.Error, OverflowError):
            return None

    # ---- the table ---------------------------------------------------------------------------------------
    def _rows(self, request: Request) -> dict[str, Any]:
        """What the template of the table needs, by the query of the address."""
        query = request.query_params
        text = query.get("q", "")[:200]
        wanted = TableFilter.of(query.get("status", "")[:20], query.get("kind", "")[:40], text)
        before = _whole(query.get("before"))
        try:
            found = self._search(wanted, before)
            note = self._note(wanted, found)
        except sqlite3.Error as exc:
            self.index.remove()
            found, note = RowPage((), None), f"the index is being made anew ({exc})"
        asked = {"status": wanted.status, "kind": wanted.kind, "q": text}

        def link(at: int | None) -> str:
            given = {name: value for name, value in {**asked, "before": at}.items() if value}
            return f"/?{urlencode(given)}#rows" if given else "/#rows"

        return {
            "found": found,
            "note": note,
            "wanted": wanted,
            "text": text,
            "before": before,
            "link": link,
            "searching": "" if found.complete or found.rows else link(found.next_before),
            "local_time": local_time,
            "hint": search_hint(found.rows),
            "own_columns": own_columns,
            "columns_found": columns_found,
            "found_in": found_in,
        }

    def _search(self, wanted: TableFilter, before: int | None) -> RowPage:
        """A page of rows; of a search what was found in a second."""
        rows: list[IndexedRow] = []
        at, until_s = before, time.monotonic() + SEARCH_S
        while True:
            page = self.index.page(wanted, before=at, count=ROWS - len(rows))
            rows += page.rows
            if page.complete or len(rows) >= ROWS or time.monotonic() > until_s:
                return RowPage(tuple(rows), page.next_before, page.complete)
            at = page.next_before

    def _note(self, wanted: TableFilter, found: RowPage) -> str:
        """What stands above the table: how many rows there are, how far a search has come, how far the index is."""
        counts = self.index.counts()
        size = sum(counts.values())
        if wanted.words:
            came = size if found.next_before is None else size - found.next_before + 1
            text = "" if found.complete else f"searching: {came:,} of {size:,} rows looked at so far"
            text = text or (
                "rows with these words, the newest first" if found.rows else "no row has these words"
            )
        else:
            matching = sum(
                rows
                for (status, kind), rows in counts.items()
                if wanted.status in ("", status) and wanted.kind in ("", kind)
            )
            text = (
                f"{matching:,} {'row' if matching == 1 else 'rows'}, the newest first"
                if matching
                else "there is no such row"
                if size
                else "no rows yet"
            )
        share = self.index.progress()
        behind = f"the index is being made: {100 * share:.0f} % of the rows are in it" if share < 0.99 else ""
        return "; ".join(filter(None, [text, behind]))


def _whole(text: str | None) -> int | None:
    """A row's number in an address; None for anything else."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 16 else None
