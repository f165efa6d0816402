"""What a hidden limit may do during a night, and what the controller makes of it: for tests and for `scripts/bench`.

The constants of the controller were chosen on other seeds than the ones the tests and the bench play by default.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from simulator import START, BucketServer, Server, WindowServer, simulate

from engine.budget import BudgetSettings, parse_rate

HOUR = 3600.0
SETTLING_S = 3600.0  # left out of what is called steady: so long after the start and after each step
GIVEN = 1.5  # "a number given" is the hidden limit times this: somebody who thinks that the site allows more
AUTO = "auto"


@dataclass(frozen=True)
class Scenario:
    """`server(limit, rng)` makes the site; `limit` is requests per second at the start, `steps_s` when it changes."""

    text: str
    hours: float
    server: Callable[[float, random.Random], Server]
    steps_s: tuple[float, ...] = ()

    @property
    def settling(self) -> list[tuple[float, float]]:
        return [(at_s, at_s + SETTLING_S) for at_s in (0.0, *self.steps_s)]


class Came(NamedTuple):
    """Shares of what the limit would have let pass, and how often it was too much; steady without the settling."""

    share: float
    steady: float
    blocks_per_1000: float  # steady; the server began to refuse
    refused_per_1000: float  # steady; requests that were refused, the probes among them


def _steps(limit: float) -> Callable[[float], float]:
    return lambda t: limit * (1.0 if t < START + 2 * HOUR else 0.5 if t < START + 4 * HOUR else 1.5)


SCENARIOS = {
    "constant": Scenario(
        "constant, blocks of 30-60 s", 6, lambda limit, rng: BucketServer(lambda t: limit, rng)
    ),
    "steps": Scenario(
        "halves after 2 h, then x 3 after 4 h",
        6,
        lambda limit, rng: BucketServer(_steps(limit), rng),
        (2 * HOUR, 4 * HOUR),
    ),
    "window": Scenario("fixed window of 10 s", 6, lambda limit, rng: WindowServer(lambda t: limit)),
    "spurious": Scenario(
        "1 in 10,000 refused for no reason",
        6,
        lambda limit, rng: BucketServer(lambda t: limit, rng, spurious=1e-4),
    ),
    "hours": Scenario(
        "constant, blocks of 50-70 min",
        12,
        lambda limit, rng: BucketServer(lambda t: limit, rng, block_s=(3000.0, 4200.0)),
    ),
}


def play(name: str, limit: float, rate: str, seed: int) -> Came:
    """One night of a scenario at a hidden limit in requests per second; `rate` as `--rate` takes it."""
    scenario, rng = SCENARIOS[name], random.Random(seed)
    server = scenario.server(limit, rng)
    night = simulate(server, BudgetSettings(parse_rate(rate)), scenario.hours * HOUR, rng)
    left_out = scenario.settling
    return Came(
        night.share(),
        night.share(left_out),
        night.blocks_per_1000(left_out),
        night.refused_per_1000(left_out),
    )
