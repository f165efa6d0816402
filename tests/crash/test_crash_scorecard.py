"""The quick share of each row of the scorecard that starts real commands; `scripts/crash` plays the whole."""

from __future__ import annotations

from typing import Any

import pytest
from nights import played
from scorecard import Row, quick

pytestmark = pytest.mark.crash


@pytest.mark.parametrize(
    ("its", "seed"),
    [
        pytest.param(its, seed, marks=played(its.play, seed=seed), id=f"{its.number}-{its.name}-{seed}")
        for its, seed in quick()
        if not its.inside
    ],
)
def test_with_real_commands(its: Row, seed: int, night: Any) -> None:
    print(its.name, seed, night)
