"""The quick share of each row of the scorecard, in every test run; `scripts/crash` plays the whole."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from nights import Place, played
from scorecard import Row, rows

pytestmark = [pytest.mark.crash, pytest.mark.timeout(300)]
SEED = 1
SHARE = [(its, SEED + number) for its in rows() for number in range(its.quick)]


def _of(its: Row, seed: int, *marks: pytest.MarkDecorator) -> Any:
    return pytest.param(its, seed, marks=marks, id=f"{its.number}-{its.name}-{seed}")


@pytest.mark.parametrize(
    ("its", "seed"), [_of(*each, played(each[0].play, seed=each[1])) for each in SHARE if not each[0].inside]
)
def test_with_real_commands(its: Row, seed: int, night: Any) -> None:
    print(its.name, seed, night)


@pytest.mark.parametrize(("its", "seed"), [_of(*each) for each in SHARE if each[0].inside])
def test_in_this_process(its: Row, seed: int, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        print(its.name, seed, its.play(Place(tmp_path, stack), seed))
