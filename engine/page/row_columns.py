"""The user's own columns in a row, and where in a row a search finds its words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from engine.page.index import IndexedRow
from engine.queue.manifest_row import ManifestRow

HINT = ("title", "channel", "id")
_HINTED, _HINT_CHARS = 3, 20


def own_columns(row: ManifestRow) -> list[tuple[str, str]]:
    """(name, value) of the columns that came with a video, without the empty ones."""
    items = row.input.items() if isinstance(row.input, Mapping) else ()
    found = [(str(name), _text(value)) for name, value in items]
    return [(name, value) for name, value in found if value.strip()]


def found_in(row: ManifestRow, words: Sequence[str]) -> list[str]:
    """The names of the fields of a row that hold one of these words (in lower case) or more; `your …` is a column."""
    fields = [("id", row.video_id), ("title", row.title), ("channel", row.channel), ("message", row.message)]
    fields += [(f"your {name}", value) for name, value in own_columns(row)]
    return [name for name, value in fields if _holds(_text(value), words)]


def columns_found(row: ManifestRow, words: Sequence[str]) -> list[tuple[str, str]]:
    """The user's columns that hold one of these words or more."""
    return [(name, value) for name, value in own_columns(row) if _holds(value, words)]


def search_hint(rows: Iterable[IndexedRow]) -> str:
    """What can be searched for, the first of the user's own columns among it."""
    own = dict.fromkeys(name[:_HINT_CHARS] for each in rows for name, _ in own_columns(each.row))
    return f"words of {', '.join([*HINT, *list(own)[:_HINTED]])}"


def _holds(text: str, words: Sequence[str]) -> bool:
    folded = text.casefold()
    return any(word in folded for word in words)


def _text(value: object) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)
