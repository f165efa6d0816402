"""Which column of a table holds the video, and whether its first row is a header."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace

from engine.errors import UsageError
from engine.inputs.video_ids import ID_CHARS, video_id

NAMES = (
    "videoid", "youtubeid", "youtubevideoid", "ytid", "id", "url", "videourl", "youtubeurl", "yturl",
    "watchurl", "webpageurl", "videolink", "youtubelink", "watchlink", "link", "video", "youtube", "href",
)  # fmt: skip
"""Names of a column that holds videos, in order of preference, as `plain_name` writes them."""

MAX_TITLES = 20
"""So many rows may stand above the names of the columns."""

_RANK = {name: rank for rank, name in enumerate(NAMES)}
_NOT_PLAIN = re.compile(r"[\W_]+")
# `description`, `Upload_date` and `playlist_id` are eleven id characters too.
_WORD_LIKE = re.compile(r"[A-Za-z]?[a-z_]+|[A-Z_]+")


@dataclass(frozen=True, slots=True)
class Columns:
    """`index` (from 0) of the column with the video, a unique name for each column, whether those names come from
    a row of the table, and how many rows of titles stand above that one."""

    index: int
    names: tuple[str, ...]
    has_header: bool
    titles: int = 0


def plain_name(name: str) -> str:
    """A column's name without case, spaces and punctuation: `Video ID` and `video_id` are the same."""
    return _NOT_PLAIN.sub("", name.casefold())


def is_known(name: str) -> bool:
    """Whether a column of this name usually holds videos."""
    return plain_name(name) in _RANK


def choose(rows: list[list[str]], column: str | None, file: str) -> Columns:
    """Choose by `column` (a name without regard to case, or a number from 1), else by name, else by content.

    `rows` are the first rows of the table, at least one. Among named columns the one whose values are
    videos wins. Rows without a video above the one with the names are titles. UsageError, with the names there are,
    if there is no such column.
    """
    titles = _titles(rows, column)
    if titles:
        return replace(_chosen(rows[titles:], column, file), titles=titles)
    return _chosen(rows, column, file)


def _titles(rows: list[list[str]], column: str | None) -> int:
    """How many rows of titles stand above the row with the columns' names; 0 when the first row is as good."""
    wanted = column.strip().casefold() if column is not None else None
    if wanted is not None and wanted.isdigit():
        return 0  # the number of a column rather than its name
    for number, row in enumerate(rows[: MAX_TITLES + 1]):
        below = rows[number + 1 :]
        for index, cell in enumerate(row):
            if cell.strip().casefold() == wanted or (
                wanted is None and is_known(cell) and below and _share(below, index) > 0.5
            ):
                return number
        if any(map(_is_video, row)):
            break
    return 0


def _chosen(rows: list[list[str]], column: str | None, file: str) -> Columns:
    first, data = rows[0], rows[1:] or rows
    if column is not None:
        index = _asked_for(first, max(map(len, rows)), column, file)
        named = column.strip().casefold() == _cell(first, index).strip().casefold()
        return _columns(first, index, has_header=named or not _is_data(rows, index))
    shares = [_share(data, index) for index in range(max(map(len, rows)))]
    best = max(range(len(shares)), key=lambda index: shares[index])
    known = [index for index, name in enumerate(first) if is_known(name)]
    if known:
        by_name = max(known, key=lambda index: (shares[index], -_RANK[plain_name(first[index])]))
        if shares[by_name] > 0.5 or shares[best] <= 0.5:
            return _columns(first, by_name, has_header=True)
    if shares[best] > 0.5:
        return _columns(first, best, has_header=not _is_data(rows, best))
    if _is_video(_cell(first, 0)):  # a list of which most is wrong is still a list
        return _columns(first, 0, has_header=False)
    raise UsageError(
        f"{file}: no column holds video ids or addresses. Columns: {_listed(first)}. "
        "Name the right one with --column NAME (or its number, from 1)."
    )


def _asked_for(first: list[str], width: int, column: str, file: str) -> int:
    wanted = column.strip().casefold()
    for index, name in enumerate(first):
        if name.strip().casefold() == wanted:
            return index
    if wanted.isascii() and wanted.isdigit() and len(wanted) < 6 and 1 <= int(wanted) <= width:
        return int(wanted) - 1
    raise UsageError(
        f"{file}: no column {column!a}. Columns: {_listed(first)}. "
        f"Give one of these, or a number from 1 to {width}."
    )


def _columns(first: list[str], index: int, *, has_header: bool) -> Columns:
    names: list[str] = []
    given = Counter(name.strip() for name in first)
    for number, cell in enumerate(first, 1):
        name = cell.strip() if has_header else ""
        if not name or name in names:
            name = f"{name or 'column'}_{number}"
            while name in names or (has_header and given[name]):
                name = f"{name}_"
        names.append(name)
    return Columns(index, tuple(names), has_header)


def _share(rows: list[list[str]], index: int) -> float:
    """The part of the filled cells of a column that are videos."""
    cells = [cell for row in rows if (cell := _cell(row, index)).strip()]
    return sum(map(_is_video, cells)) / len(cells) if cells else 0.0


def _is_video(cell: str) -> bool:
    """Numbers of eleven digits are somebody's keys, not videos, when a column is to be chosen."""
    return video_id(cell) is not None and not cell.strip().isdigit()


def _is_data(rows: list[list[str]], index: int) -> bool:
    """Whether the first row's cell is a video and not a heading that happens to have eleven letters."""
    cell = _cell(rows[0], index).strip()
    if video_id(cell) is None or (len(cell) == ID_CHARS and is_known(cell)):
        return False
    rest = [_cell(row, index).strip() for row in rows[1:]]
    return not _WORD_LIKE.fullmatch(cell) or all(_WORD_LIKE.fullmatch(other) for other in rest)


def _cell(row: list[str], index: int) -> str:
    return row[index] if index < len(row) else ""


def _listed(names: list[str], max_names: int = 20) -> str:
    shown = ", ".join(ascii(name[:40]) for name in names[:max_names])
    return shown + (", …" if len(names) > max_names else "")
