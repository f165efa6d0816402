"""Strategies for finished batches whose titles, texts and columns are as bad as they get."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import canned_batch
from canned_batch import Canned
from hypothesis import strategies as st
from support import ids

from engine import Batch
from engine.export.columns import OURS
from engine.model import Cue, Kind

FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")
TEXT = st.text(max_size=40) | st.sampled_from(
    [
        "=1+1",
        "-x",
        "@SUM(A1)",
        "\ttab",
        "\r",
        '"',
        "a,b",
        "'",
        "𝄞 é e\u0301",
        "\u202eright",
        "a\r\nb",
        "0012",
        "TRUE",
        "NA",
        "\0",
        "1\n00:00:01,000 --> 00:00:02,000\nx",
        "<b>&amp; NOTE",
        "--- # yaml: [",
        "---\n",
    ]
)
VALUES = (  # no NaN and no infinity: no input may bring them
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
    | st.lists(st.integers() | TEXT, max_size=2) | st.dictionaries(TEXT, TEXT, max_size=2)
)  # fmt: skip
CUES = st.lists(st.builds(Cue, st.floats(0, 1e6), st.floats(0, 100), TEXT), min_size=1, max_size=6).map(tuple)
CLASHING = {"title": "theirs", "input_title": 5, "": None, "n": 2**70 + 1, "tags": ["a b", "c"]}
TWO_AT_ONCE = (Cue(0.0, 5.0, "NA"), Cue(0.0, 5.0, "1\n00:00:01,000 --> 00:00:02,000\nx"))
WORST = [
    Canned(ids(1)[0], "=cmd|' /C calc'!A0", input=CLASHING),
    Canned(ids(2)[1], "A cue in a cue", cues=TWO_AT_ONCE),
]


@st.composite
def videos(draw: st.DrawFn) -> list[Canned]:
    found = []
    for name in ids(draw(st.integers(1, 4))):
        columns = draw(
            st.dictionaries(TEXT | st.sampled_from(["title", "Title", "topic"]), VALUES, max_size=3)
        )
        kind = draw(st.sampled_from([None, None, Kind.PRIVATE, Kind.NETWORK]))
        found.append(Canned(name, draw(TEXT), draw(TEXT), draw(CUES), draw(st.booleans()), columns, kind))
    return found


class Exported:
    """A batch and what kinds of export make of it; `rows` are those of `jsonl`."""

    def __init__(self, root: Path, found: list[Canned], *kinds: str) -> None:
        self.videos = found
        self.root = root
        queue = canned_batch.batch(root, found)
        for kind in ("jsonl", *kinds):
            more: dict[str, Any] = {"name": "{id}"} if kind in ("txt", "srt", "vtt", "md") else {}
            more |= {"overlap": 0, "words": 5} if kind == "passages" else {}
            Batch(queue.root).export(kind, root / kind, **more)  # type: ignore[arg-type]
        self.rows = [json.loads(line) for line in (root / "jsonl/videos.jsonl").read_text().split("\n")[:-1]]
        self.theirs = [name for name in self.rows[0] if name not in OURS]

    def texts(self, kind: str) -> list[tuple[dict[str, Any], str]]:
        """(row, content of its file) of each video that is ok."""
        ok = [row for row in self.rows if row["status"] == "ok"]
        files = {path.name: path for path in (self.root / kind).glob(f"*.{kind}")}
        assert len(files) == len(ok)
        return [
            (row, next(p for name, p in files.items() if row["id"] in name).read_text("utf-8")) for row in ok
        ]


def as_cell(value: str) -> str:
    """The text in a cell, without the apostrophe that disarms a formula."""
    return value[1:] if value[:1] == "'" and value.lstrip("'").startswith(FORMULAS) else value


def said_by(value: object, cell: object) -> bool:
    """Whether a cell says a value of the user's: it is the value, or its JSON."""
    return cell == value or (
        not isinstance(value, str) and isinstance(cell, str) and bool(json.loads(cell) == value)
    )
