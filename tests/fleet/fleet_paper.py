"""The plan on paper: what a large fleet costs at its store, and the same counted by the ledger's own protocol.

    scripts/fleet paper                                  # 1,000,000,000 videos on 500 machines
    scripts/fleet paper --videos 1000000 --machines 10 --egresses 4

The figures on paper are formulas. The simulation plays the protocol at 1:1000 with deaths by seed, over a ledger in
memory that counts its operations, and both are shown side by side.
"""

from __future__ import annotations

import argparse
import random
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from fleet_world import MemoryObjects, World, shares_of, violations

from engine.fleet.share_hold import DONE_BEATS, ROWS_A_PART
from engine.fleet.timing import Timing

# Amazon S3, us-east-1, standard storage, in US dollars, as published in 2026.
PUT_1000, GET_1000, GB_MONTH = 0.005, 0.0004, 0.023
BYTES_A_VIDEO = 4_400  # of a part: row and record, compressed, with bodies as large as the real site's


@dataclass(frozen=True)
class Plan:
    """A fleet on paper. `rate` is requests per second and egress; a video takes two."""

    videos: int
    machines: int
    egresses: int
    rate: float = 0.5
    share: int = 20_000
    places: int = 2

    @property
    def shares(self) -> int:
        return self.videos // self.share

    @property
    def videos_per_s(self) -> float:
        """Of one place: the machine's egresses, divided among its places."""
        return self.egresses * self.rate / 2 / self.places

    @property
    def hours(self) -> float:
        return self.videos / (self.machines * self.places * self.videos_per_s) / 3600

    @property
    def share_s(self) -> float:
        return self.share / self.videos_per_s


@dataclass
class Operations:
    """What a fleet asks of its store."""

    put: float
    get: float
    list: float
    objects: float

    @property
    def dollars(self) -> float:
        return (self.put + self.list) / 1000 * PUT_1000 + self.get / 1000 * GET_1000


def on_paper(plan: Plan, timing: Timing) -> Operations:
    """Of one share: hold, parts, beats and `done/` are written; beats look for what is asked."""
    beats = plan.share_s / timing.beat_s
    rows_in_time = plan.videos_per_s * timing.bring_s
    parts = max(plan.share / ROWS_A_PART, plan.share / max(1.0, min(rows_in_time, ROWS_A_PART)))
    put = 1 + parts + beats + 1
    get = 3 + beats * (1 + 1 / DONE_BEATS)  # done twice and asked once at the start
    return Operations(
        put * plan.shares, get * plan.shares, 4 * plan.shares, (1 + parts + 1 + 1 + 1) * plan.shares
    )


def simulated(plan: Plan, scale: int, seed: int, deaths_a_share: float) -> tuple[Operations, int, list[str]]:
    """(operations times `scale`, deaths, violations) of a fleet with so many times fewer shares.

    Jobs are single characters of a simulation, so a share has as many, but the run is made up.
    """
    count = max(1, plan.shares // scale)
    machines = max(1, min(count, max(4, plan.machines * plan.places // scale)))
    objects = MemoryObjects(seed)
    drawn = random.Random(seed)
    timing = Timing(glance_s=30.0)  # how often it looks at the run costs the ledger nothing
    steps_a_share = plan.share_s / 30 * 1.2
    share = deaths_a_share / steps_a_share
    world = World(
        shares_of(count, plan.share), objects, seed, machines=machines, rate=plan.videos_per_s,
        rows_a_part=ROWS_A_PART, death=lambda step: drawn.random() < share, timing=timing,
    )  # fmt: skip
    world.play(limit=50_000_000)
    counts = objects.counts
    found = Operations(
        counts["put"] * scale, counts["get"] * scale, counts["list"] * scale, len(objects.files) * scale
    )
    return found, world.deaths, violations(world)


def _line(name: str, found: Operations, hours: float) -> str:
    sums = (
        f"{found.objects / 1e6:>8.2f} M objects  {found.put / 1e6:>8.2f} M writes  {found.list / 1e6:>6.2f} M lists  "
        f"{found.get / 1e6:>8.2f} M reads"
    )
    return f"{name:<22} {sums}  {found.dollars:>8,.0f} $  {hours:>8,.0f} h"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--videos", type=int, default=1_000_000_000)
    parser.add_argument("--machines", type=int, default=500)
    parser.add_argument("--egresses", type=int, nargs="*", default=[1, 10, 100])
    parser.add_argument("--rate", type=float, default=0.5)
    parser.add_argument("--scale", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--deaths", type=float, default=0.1, help="machines that die, for each share")
    args = parser.parse_args()
    wrong = 0
    for egresses in args.egresses:
        plan = Plan(args.videos, args.machines, egresses, args.rate)
        print(
            f"{plan.videos:,} videos, {plan.machines:,} machines with {egresses} egresses at {plan.rate:g}/s: "
            f"{plan.shares:,} shares of {plan.share_s / 3600:.1f} h"
        )
        print(_line("on paper", on_paper(plan, Timing()), plan.hours))
        for deaths in (0.0, args.deaths):
            found, died, problems = simulated(plan, args.scale, args.seed, deaths)
            wrong += len(problems)
            name = f"1:{args.scale}, {died} deaths"
            print(_line(name, found, plan.hours), f"| {', '.join(problems[:3]) or '0 doubled, 0 missing'}")
        bytes_ = plan.videos * BYTES_A_VIDEO
        print(f"{bytes_ / 1e12:.1f} TB in parts, {bytes_ / 1e9 * GB_MONTH:,.0f} $ a month", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
