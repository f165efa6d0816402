"""The drawing of harms for the row `repair`: none undoes another, and the audit is asked for what it can know."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from row_repair import FIRST, _lost_files, drawn, sure


def test_what_is_harmed_is_not_taken_away_by_a_later_harm() -> None:
    for seed in range(300):
        names = drawn(random.Random(seed))
        assert not [name for at, name in enumerate(names) if name in FIRST and set(names[:at]) - set(FIRST)]


@pytest.mark.parametrize(
    ("harmed", "known"),
    [
        ([], False),
        (["row changed"], False),
        (["files lost", "row changed"], False),
        (["no checkpoint"], True),
        (["row changed", "no checkpoint"], False),
        (["manifest cut", "no checkpoint"], False),
        (["no manifest", "odd cache", "no checkpoint"], True),
        (["manifest cut", "no manifest"], True),
    ],
)
def test_what_the_audit_must_find(harmed: list[str], known: bool) -> None:
    assert sure(harmed) is known


def test_the_marker_is_no_lost_file(tmp_path: Path) -> None:
    queue, out = tmp_path / "queue", tmp_path / "out"
    for path in (queue, out / "ab", out / ".engine-batches"):
        path.mkdir(parents=True)
    (queue / "batch.json").write_text(f'{{"frozen": {{"output": "{out}"}}}}')
    for path in (out / "ab/one", out / "ab/two", out / ".engine-batches/batch"):
        path.write_text("as it was")
    for seed in range(40):
        (out / "ab/one").write_text("as it was")
        (out / "ab/two").write_text("as it was")
        dice = random.Random(seed)
        dice.randint = lambda low, high: low  # type: ignore[method-assign]
        assert _lost_files(queue, dice)
    assert (out / ".engine-batches/batch").read_text() == "as it was"
