"""Queues that an earlier engine made, in every state it could leave them: this one opens, finishes and audits them.

Each is described by `tests/data/queues/README.md`. That a queue of the same format goes on is promised; what is
written anew may look otherwise, what was written stays.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import recount
from commands import Ended, engine
from frozen import PLACE, Recipe, finish, kinds, missing, names, unpack
from nights import Place, played


@dataclass(frozen=True)
class Finished:
    """One frozen queue: what it was, what the commands that only look said of it, and how it ended."""

    root: Path
    what: Recipe
    missing: list[str]
    made: bool  # whether FORMAT was there
    published: set[str]  # the jobs of segments that have tokens
    seeded: set[str]
    before: dict[str, dict[str, Any]]  # rows of its journals by id
    good: dict[str, dict[str, Any]]  # those that were `ok`, with files as the row says
    looks: dict[str, Ended]
    ended: Ended
    audit: Ended

    @property
    def queue(self) -> Path:
        return self.root / "queue"


def frozen(place: Place, name: str) -> Finished:
    """Unpack a queue, look at it, finish it, audit it."""
    root = place.root / name
    what = unpack(name, root)
    queue = root / "queue"
    before = recount.folded(queue)
    return Finished(
        root,
        what,
        missing(root, what),
        (queue / "FORMAT").exists(),
        _published(queue),
        set(recount.seeded(queue)),
        before,
        {name: row for name, row in before.items() if row["status"] == "ok" and _there(root, row)},
        {verb: engine(verb, "-q", queue, "--json") for verb in ("status", "failures", "report")},
        finish(root, what),
        engine("verify", "-q", queue),
    )


def _published(queue: Path) -> set[str]:
    paths = [path for path in queue.glob("segments/*.jsonl") if (queue / "pending" / path.stem).is_dir()]
    return {json.loads(line)["id"] for path in paths for line in path.read_bytes().splitlines()[1:]}


def _there(root: Path, row: dict[str, Any]) -> bool:
    """Whether a row's files are what it says."""
    try:
        return all(
            hashlib.sha256(recount.content(root / "out", path)).hexdigest() == row["sha256"][name]
            for name, path in row["files"].items()
        )
    except FileNotFoundError:
        return False


EACH = [pytest.param(name, id=name, marks=played(frozen, name=name)) for name in names()]


@pytest.mark.parametrize("name", EACH)
def test_a_frozen_queue_opens_and_ends_as_it_would_have(name: str, night: Finished) -> None:
    assert night.missing == [], "the archive is not what its recipe says"
    _opens(night)
    assert night.ended.code == night.what.exit, night.ended.said
    assert night.audit.code == 0, night.audit.said
    rows = recount.by_id(recount.manifest(night.queue))
    assert set(rows) == set(recount.seeded(night.queue)) >= night.seeded
    # Engines before 2026-11-26 tried a refused translation again, and called it a server error in the end.
    ended = Counter({**kinds(night.queue)})
    ended["server_error"] += ended.pop("translation_refused", 0)
    assert +ended == Counter(night.what.rows)
    for video_id, row in night.good.items():
        assert rows[video_id]["sha256"] == row["sha256"], (row, rows[video_id])
    recount.check_files(night.queue, night.root / "out")
    assert recount.leftovers(night.queue, night.root / "out") == []
    if name == "shards":
        _shards(night, rows)


def _shards(night: Finished, rows: dict[str, dict[str, Any]]) -> None:
    """It stays format 2; no row has lost its frame, what no row names is said and goes with a repair; the export
    holds what the frames do."""
    assert (night.queue / "FORMAT").read_text().strip() == "2"
    assert night.good
    for video_id, row in night.good.items():
        assert rows[video_id]["files"] == row["files"]
    assert "that no ok row names" in night.audit.said
    assert engine("verify", "-q", night.queue, "--repair").code == 0
    recount.check_files(night.queue, night.root / "out")
    assert "that no ok row names" not in engine("verify", "-q", night.queue).said
    ended = engine("export", "-q", night.queue, "--to", "jsonl", "-o", night.root / "exported")
    assert ended.code == 0, ended.said
    lines = (night.root / "exported" / "videos.jsonl").read_text(encoding="utf-8").splitlines()
    exported = {row["id"]: row for row in map(json.loads, lines)}
    assert set(exported) == set(rows)
    for video_id, row in rows.items():
        record = (
            json.loads(recount.content(night.root / "out", row["files"]["json"])) if row["files"] else None
        )
        assert exported[video_id]["segments"] == (record and record["transcript"]["segments"])


def _opens(night: Finished) -> None:
    """The commands that only look say what the files say; where FORMAT is not written yet there is no queue."""
    assert {ended.code for ended in night.looks.values()} == ({0} if night.made else {10}), night.looks
    if not night.made:
        assert not night.before
        return
    assert {ended.err for ended in night.looks.values()} <= {""}, night.looks
    value = json.loads(night.looks["status"].out)
    assert (value["total"], value["in_flight"]) == (len(night.published), 0)
    if night.what.settled:
        final = [row["status"] for row in night.before.values()]
        for status in ("ok", "absent", "failed"):
            assert value[status] == final.count(status), value


def test_every_archive_is_described() -> None:
    page = (PLACE / "README.md").read_text(encoding="utf-8")
    told = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `")}
    assert told == set(names()) == {path.stem for path in PLACE.glob("*.json")}
