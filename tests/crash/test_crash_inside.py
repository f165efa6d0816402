"""The quick share of the rows that patch the process they are played in: no night is played in that one."""

from __future__ import annotations

from pathlib import Path

import pytest
from scorecard import Row, alone, quick

pytestmark = pytest.mark.crash


@pytest.mark.parametrize(
    ("its", "seed"),
    [pytest.param(its, seed, id=f"{its.number}-{its.name}-{seed}") for its, seed in quick() if its.inside],
)
def test_in_this_process(its: Row, seed: int, tmp_path: Path) -> None:
    print(its.name, seed, alone(its, seed, tmp_path))
