"""The quick share of the rows that patch the process they are played in: no night is played in that one."""

from __future__ import annotations

from pathlib import Path

import pytest
from scorecard import Row, alone, quick

pytestmark = pytest.mark.crash


@pytest.mark.parametrize(
    ("row", "seed"),
    [pytest.param(row, seed, id=f"{row.number}-{row.name}-{seed}") for row, seed in quick() if row.inside],
)
def test_in_this_process(row: Row, seed: int, tmp_path: Path) -> None:
    print(row.name, seed, alone(row, seed, tmp_path))
