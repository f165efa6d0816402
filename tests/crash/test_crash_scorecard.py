"""The quick share of each row of the scorecard that starts real commands; `scripts/crash` plays the whole."""

from __future__ import annotations

from typing import Any

import pytest
from nights import played
from scorecard import Row, quick

pytestmark = pytest.mark.crash


@pytest.mark.parametrize(
    ("row", "seed"),
    [
        pytest.param(row, seed, marks=played(row.play, seed=seed), id=f"{row.number}-{row.name}-{seed}")
        for row, seed in quick()
        if not row.inside
    ],
)
def test_with_real_commands(row: Row, seed: int, night: Any) -> None:
    print(row.name, seed, night)
