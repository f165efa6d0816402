"""Whose a file in the output directory is: a table of what lies there and what our journal says."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from engine.output.ownership import Ownership, is_ours

NAME, FOLDED = "dQw4w9WgXcQ", "dqw4w9WgXcQ"
BATCH, OTHER = "a" * 32, "b" * 32
NOTES = b"# notes"


def record(name: str = NAME, batch: str | None = BATCH, fetched_at: str = "2026-11-22T09:05:22Z") -> bytes:
    value = {
        "schema_version": 1,
        "video_id": name,
        **({"batch": batch} if batch else {}),
        "fetched_at": fetched_at,
    }
    return json.dumps(value, separators=(",", ":")).encode()


def row(**files: bytes) -> dict[str, Any]:
    return {"sha256": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}}


WRITTEN = ("md", "srt")
MINE = Ownership(BATCH, formats=WRITTEN)
BEGAN = 1795338322.0  # 2026-11-22T09:05:22Z
CASES: dict[str, tuple[dict[str, bytes], Ownership, set[str]]] = {
    "nothing there": ({}, MINE, set()),
    "a record of ours and what lies beside it": (
        {"json": record(), "md": NOTES},
        MINE,
        {"json", "md"},
    ),
    "another batch's": ({"json": record(batch=OTHER), "md": NOTES}, MINE, set()),
    "a format that this queue does not write": (
        {"json": record(), "md": NOTES, "txt": NOTES},
        MINE,
        {"json", "md"},
    ),
    "no record": ({"md": NOTES}, MINE, set()),
    "no record, named by the journal": (
        {"md": NOTES, "srt": b"x"},
        Ownership(BATCH, (row(md=NOTES),), WRITTEN),
        {"md"},
    ),
    "named, with another sum": (
        {"md": b"edited"},
        Ownership(BATCH, (row(md=NOTES),), WRITTEN),
        set(),
    ),
    "named by an earlier row": (
        {"md": NOTES},
        Ownership(BATCH, (row(md=NOTES), row(md=b"new")), WRITTEN),
        {"md"},
    ),
    "without an id": ({"json": record(batch=None), "md": NOTES}, MINE, set()),
    "without an id, named": (
        {"json": record(batch=None), "md": b"damaged"},
        Ownership(BATCH, formats=WRITTEN, rows=(row(json=record(batch=None), md=NOTES),)),
        {"json", "md"},
    ),
    "without an id, in flight since before": (
        {"json": record(batch=None), "md": NOTES},
        Ownership(BATCH, formats=WRITTEN, since=BEGAN),
        {"json", "md"},
    ),
    "without an id, older than what was in flight": (
        {"json": record(batch=None), "md": NOTES},
        Ownership(BATCH, formats=WRITTEN, since=BEGAN + 1),
        set(),
    ),
    "another batch's, in flight": (
        {"json": record(batch=OTHER)},
        Ownership(BATCH, formats=WRITTEN, since=BEGAN),
        set(),
    ),
    "another video's, where names are folded": ({"json": record(FOLDED), "md": NOTES}, MINE, set()),
    "damaged, and still carries our id": ({"json": b"\xff" + record()[1:-1]}, MINE, {"json"}),
    "damaged beyond that": ({"json": record()[:20], "md": NOTES}, MINE, set()),
    "no JSON": ({"json": b"mine"}, MINE, set()),
    "a list": ({"json": b"[]"}, MINE, set()),
    "a queue without an id": ({"json": record(batch=None), "md": NOTES}, Ownership(""), set()),
    "an empty id": ({"json": record(batch=None)[:-1] + b',"batch":""}'}, Ownership(""), set()),
}


@pytest.mark.parametrize("name", CASES)
def test_whose_it_is(tmp_path: Path, name: str) -> None:
    there, ownership, ours = CASES[name]
    (tmp_path / "dQ").mkdir()
    for extension, data in there.items():
        (tmp_path / "dQ" / f"{NAME}.{extension}").write_bytes(data)
    assert {text for text in ("json", "md", "srt") if is_ours(str(tmp_path), NAME, text, ownership)} == ours


def test_a_link_or_a_directory_is_nobody_s(tmp_path: Path) -> None:
    (tmp_path / "dQ").mkdir()
    (tmp_path / "real").write_bytes(record())
    (tmp_path / "dQ" / f"{NAME}.json").symlink_to(tmp_path / "real")
    (tmp_path / "dQ" / f"{NAME}.md").mkdir()
    for extension in ("json", "md"):
        assert not is_ours(
            str(tmp_path), NAME, extension, Ownership(BATCH, formats=WRITTEN, rows=(row(json=record()),))
        )
