"""The nights of a fleet, each by seed: what dies, and that no row is doubled or missing afterwards.

scripts/fleet nights                             # all of them
scripts/fleet nights scheduler s3 --seed 7
FLEET_NIGHT_PACE=3 scripts/fleet nights group    # slower: the holder stands still for more than two minutes
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))

from fleet_night import (
    PACE,
    Audited,
    Night,
    audit,
    directory_files,
    fullest_second,
    in_store,
    wait_s,
)
from patience import HANG_S, until

from engine.rehearsal import Rehearsal, RehearsalSettings, start

SCENES = ("absent=0.05", "flaky=0.05")


def quiet(night: Night) -> None:
    """Nothing dies."""
    _begin(night, machines=2, videos=160, share=40)
    _end(night)


def machine(night: Night) -> None:
    """kill -9 of all that belongs to a machine, and of the driver; both come again."""
    _begin(night, machines=3, videos=300, share=60)
    night.progressed(night.random.randrange(40, 120))
    night.kill_machine("m1")
    night.kill_driver()
    night.join("m1")
    night.drive()
    _end(night)


def frozen(night: Night) -> None:
    """kill -9 of one machine; another stands still until it counts as dead, and goes on."""
    _begin(night, machines=3, videos=240, share=60)
    night.progressed(night.random.randrange(30, 80))
    night.kill_machine("m1")
    with night.frozen("m2"):
        wait_s(1.5 * 240 / PACE)
    night.join("m1")
    _end(night)


def scheduler(night: Night) -> None:
    """kill -9 of the scheduler and the driver; all is started again."""
    _begin(night, machines=2, videos=240, share=60)
    night.progressed(night.random.randrange(30, 80))
    night.kill_scheduler()
    night.kill_driver()
    value = json.loads(night.fleet("status", night.ledger, "--json").out)  # nobody is there to be asked
    assert value["jobs"] == 240 and value["state"] == "running", value
    night.start_scheduler()
    for name in list(night.machines):
        if not night.machines[name].live:
            night.join(name)
    night.drive()
    _end(night)


def workers(night: Night) -> None:
    """kill -9 of Dask worker processes under their nannies: pipes break, shares drain, tasks come again."""
    _begin(night, machines=2, videos=240, share=60)
    night.progressed(night.random.randrange(30, 80))
    assert sum(night.kill_workers(name) for name in night.machines) > 0
    _end(night)


def s3(night: Night) -> None:
    """The ledger in a store: kill -9 of a machine and of the driver."""
    machine(night)


def trouble(night: Night) -> None:
    """The store answers every sixth request with 500, before or after the write: kill -9 of a machine."""
    _begin(night, machines=2, videos=200, share=50)
    night.progressed(night.random.randrange(30, 80))
    night.kill_machine("m1")
    night.join("m1")
    _end(night)


def group(night: Night) -> None:
    """Three machines and two proxy groups. A holder stands still until another has its group, and goes on.

    Which machine asks is seen at the server, for each asks as another client of YouTube's.
    """
    pool = night.root / "pool.txt"
    pool.write_text("".join(f"{night.site.proxy_url.replace('//', f'//g{at}:x@')}\n" for at in (0, 1)))
    pool.chmod(0o600)
    night.plan(360, 60, "--groups", "2", "--proxies", str(pool))
    night.start_scheduler()
    clients = {"m0": "android", "m1": "ios", "m2": "visionos"}
    for name, way in clients.items():
        night.join(name, "--proxies", str(pool), "--ways", way)
    night.drive()
    night.progressed(20)
    holders = [name for name, command in night.machines.items() if "uses proxy group" in command.said()]
    still = night.random.choice(holders)
    third = next(name for name in clients if name not in holders)
    with night.frozen(still):
        before = night.machines[still].said()
        until(
            lambda: "uses proxy group" in night.machines[third].said(),
            HANG_S,
            "for the third to take the group",
        )
        wait_s(120 / PACE)
        assert before == night.machines[still].said()
    until(
        lambda: "another machine's now" in night.machines[still].said(),
        HANG_S,
        "for the frozen one to notice it",
    )
    _end(night)
    alternations(night)


def alternations(night: Night) -> None:
    """At the server, each egress was some machine's for a stretch, then another's, and never again the first's in
    between: had two used it at once, their requests would alternate."""
    for egress in ("g0", "g1"):
        asked = [
            each["client"]
            for each in night.site.arrivals()
            if each["egress"] == egress and each.get("client")
        ]
        turns = [client for at, client in enumerate(asked) if not at or client != asked[at - 1]]
        night.note(f"{egress}: {' then '.join(turns)}")
        assert len(turns) == len(set(turns)) <= 2, (egress, turns)


def chaos(night: Night) -> None:
    """Six disturbances, drawn by the seed."""
    _begin(night, machines=3, videos=400, share=50)
    for turn in range(6):
        night.progressed(min(40 * (turn + 1), 300))
        name = night.random.choice(sorted(night.machines))
        what = night.random.choice(["machine", "driver", "workers", "frozen"])
        if what == "machine":
            night.kill_machine(name)
            night.join(name)
        elif what == "driver":
            night.kill_driver()
            night.drive()
        elif what == "workers":
            night.kill_workers(name)
        else:
            with night.frozen(name):
                wait_s(night.random.uniform(1, 1.5) * 240 / PACE)
    if not night.driver or not night.driver.live:
        night.drive()
    _end(night)


NIGHTS: dict[str, Callable[[Night], None]] = {
    each.__name__: each for each in (quiet, machine, frozen, scheduler, workers, s3, trouble, group, chaos)
}


STORED = {
    "s3": 0.0,
    "trouble": 1 / 6,
}  # nights in a store, and the part of its requests that it answers with 500


def _begin(night: Night, *, machines: int, videos: int, share: int) -> None:
    night.plan(videos, share)
    night.start_scheduler()
    for at in range(machines):
        night.join(f"m{at}")
    night.drive()


def _end(night: Night) -> None:
    ended = night.finished()
    assert ended.code in (0, 3), ended.said + night.said()
    verified = night.fleet("verify", night.ledger)
    assert verified.code == 0, verified.said
    night.leave()


def play(name: str, root: Path, site: Rehearsal, seed: int) -> tuple[Night, Audited]:
    """A night to its end, and its audit."""
    night = Night(root, site, str(root / "ledger"), seed=seed)
    if name in STORED:
        # A bucket of its own: what moto holds is the process's, and outlives each of its servers.
        store = in_store(night, f"s3://night-{name}/ledger", trouble=STORED[name], seed=seed)
        with store as files, night:
            NIGHTS[name](night)
            for answer, count in sorted(store.troubled.answers.items()):
                night.note(f"{count} × {answer}")
            return night, audit(files(), night.ids)
    with night:
        NIGHTS[name](night)
        return night, audit(directory_files(night.ledger), night.ids)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("nights", nargs="*", metavar="NIGHT", help=f"of {', '.join(NIGHTS)}")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    wrong = 0
    for name in args.nights or NIGHTS:
        began = time.monotonic()
        with (
            tempfile.TemporaryDirectory(prefix="engine-fleet-night-") as root,
            start(RehearsalSettings(latency_s=0.05, scenarios=SCENES, seed=args.seed)) as site,
        ):
            night, found = play(name, Path(root), site, args.seed)
            users = sorted({each["egress"] for each in site.arrivals()})
            most = max(fullest_second(site.arrivals(), user) for user in users)
        wrong += bool(found.problems)
        print(
            f"{name}: {'; '.join(night.log) or 'nothing killed'} | {found.holds} holds for {found.shares} shares | "
            f"{found.rows} rows for {found.jobs} jobs | fullest second {most} at {night.rate} | "
            f"{', '.join(found.problems) or '0 doubled, 0 missing'} | {time.monotonic() - began:.0f} s",
            flush=True,
        )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
