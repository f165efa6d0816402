"""Many egresses, of which a twentieth each dies, hangs and is blocked: the others keep their rate."""

from __future__ import annotations

from pathlib import Path

import pytest
from egress_trouble import SCENES, Trial, kept

# As many threads for each egress as 128 are for a thousand: each one that hangs is felt.
SMALL = Trial(egresses=60, rate=0.5, options="-p 2 -t 4", settled_s=5.0, stretch_s=9.0)
LARGE = Trial(egresses=200, rate=0.25, options="-p 2 -t 12", settled_s=16.0, stretch_s=48.0)
LEAST = 0.95
TRIES = 3  # a busy machine disturbs one run and not the other


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("trial", [SMALL, pytest.param(LARGE, marks=pytest.mark.long)], ids=["60", "200"])
def test_the_others_keep_their_rate(tmp_path: Path, trial: Trial) -> None:
    came = []
    for number in range(TRIES):
        came.append(kept(tmp_path / f"{number}", trial))
        if came[-1].share >= LEAST and all(came[-1].played.get(kind) for kind in (*SCENES, "hang")):
            return
    said = [(f"{each.share:.2f}", f"{each.calm:.1f}/s", each.shares(3.0), each.played) for each in came]
    if not any(each.judges for each in came):
        pytest.skip(f"the machine is too busy to judge: {said}")
    pytest.fail(f"{said}")
