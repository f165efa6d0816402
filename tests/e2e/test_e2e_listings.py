"""Channels, playlists and searches through the real proxy: found and fetched in one run, whoever dies meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import recount
from commands import Batch, Command, Ended, kill, until
from nights import Place, played

from engine.rehearsal import invented_ids

SEED = 8
LISTER = "engine.run.lister"


def ids(count: int) -> set[str]:
    return set(invented_ids(count, SEED))


def start(batch: Batch, *args: str, **env: str) -> Command:
    """A run that seeds what is given and nothing else."""
    command = Command(*batch.run_args(*args), **env)
    batch.pids.append(command.pid)
    return command


def run(batch: Batch, *args: str, timeout_s: float = 120.0, **env: str) -> Ended:
    with start(batch, *args, **env) as command:
        ended = command.wait(timeout_s)
        batch.gone(command)
    assert "Traceback" not in ended.said, ended.said
    return ended


def listing(batch: Batch, number: int = 0) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        found: dict[str, Any] = json.loads((batch.queue / "listings" / f"{number:06d}.json").read_text())
        return found
    return {"found": 0}


def kill_lister(batch: Batch, command: Command, found: int) -> None:
    """kill -9 the lister when it has found so many."""
    until(lambda: listing(batch)["found"] >= found, 90.0, f"for {found} videos to be found", each_s=0.005)
    pid = until(lambda: command.members(LISTER), 10.0, "for a lister", each_s=0.005)[0]
    kill(pid)


def events(batch: Batch, name: str) -> list[dict[str, Any]]:
    lines = (batch.queue / "events.jsonl").read_text().splitlines()
    return [event for line in lines if (event := json.loads(line))["event"] == name]


def whole(batch: Batch, names: set[str]) -> None:
    """Each video has its one row, and nothing is left of runs that died."""
    assert set(batch.rows()) == names
    batch.ids = sorted(names)
    batch.clean()


@dataclass(frozen=True)
class Killed:
    batch: Batch
    between: dict[str, Any]
    ended: Ended


def killed(place: Place) -> Killed:
    """A channel of 150: the lister is killed, then the whole run, both while it is being listed."""
    batch = place.batch([], place.stand_in(seed=SEED, latency_s=0.3))
    with start(batch, "@made-up-150", "-p", "2", "-t", "4") as command:
        kill_lister(batch, command, 30)
        until(lambda: listing(batch)["found"] >= 60, 60.0, "for the next lister to go on", each_s=0.005)
        command.kill_all()
    between = batch.status()
    return Killed(batch, between, run(batch))


@played(killed)
def test_a_channel_is_listed_and_fetched_whoever_dies(night: Killed) -> None:
    assert night.ended.code == 0, night.ended.said
    assert "1 source to list" in night.ended.err
    value = listing(night.batch)
    assert (value["state"], value["found"]) == ("done", 150)
    assert len(events(night.batch, "lister_died")) == 1
    assert night.between["listings"]["open"] == 1
    assert night.between["state"] == "stopped"
    assert night.between["ok"] < 150
    status = night.batch.status()
    assert status["listings"].pop("next_try_s") is None
    assert (status["state"], status["listings"]) == (
        "finished",
        {"open": 0, "done": 1, "failed": 0, "found": 150},
    )
    assert all(row["input"] == {"source": "@made-up-150"} for row in night.batch.rows().values())
    whole(night.batch, ids(150))


@dataclass(frozen=True)
class Mixed:
    batch: Batch
    seeded: Ended
    ended: Ended
    failures: Ended
    retried: Ended
    synced: Ended
    last: Ended


def mixed(place: Place) -> Mixed:
    """All sorts of sources, wrong ones too, through a block; retried; and later listed again for what is new."""
    site = place.stand_in(seed=SEED, latency_s=0.02, scenarios=("429@0-1.5",))
    batch = place.batch([], site)
    file = Path(batch.root, "sources.txt")
    file.write_text(
        "https://www.youtube.com/@Made-Up-40/videos\n@nobody-here\nPLnot-here-at-all\nUUmade-up000000000000045\n"
    )
    seeded = batch.does("seed", file, "search:made up 50", "--max-results", "25")
    ended = run(batch, ENGINE_BUDGET_PACE="60")
    failures = batch.does("failures")
    retried = batch.does("retry", "--kind", "listing", "--dry-run")
    synced = batch.does("sync")
    later = place.stand_in(seed=SEED, latency_s=0.02, uploads=20)
    last = run(Batch(batch.root, later), timeout_s=90.0)
    return Mixed(batch, seeded, ended, failures, retried, synced, last)


@played(mixed)
def test_all_sorts_of_sources_and_what_becomes_of_wrong_ones(night: Mixed) -> None:
    assert night.seeded.out.strip().endswith("rejected 0, 5 to be listed"), night.seeded.said
    assert (night.ended.code, night.last.code) == (3, 3), night.ended.said
    lines = {line.split()[0]: line for line in night.failures.out.splitlines()}
    assert set(lines) == {"@nobody-here", "PLnot-here-at-all"}
    assert "knows no such channel" in lines["@nobody-here"]
    assert "does not exist" in lines["PLnot-here-at-all"]
    assert "2 sources would be put back" in night.retried.err
    assert events(night.batch, "block"), "the block was the egress's"
    status = night.batch.status()
    assert (status["listings"]["done"], status["listings"]["failed"]) == (3, 2)


@played(mixed)
def test_a_sync_brings_what_is_new(night: Mixed) -> None:
    assert "4 sources to be listed again" in night.synced.err
    assert listing(night.batch, 4)["found"] == 25
    # Of the channel only its /videos; the search was not done again.
    later = list(invented_ids(60, SEED))
    tab = {name for number, name in enumerate(later) if number % 10 != 5 and number % 50 != 7}
    assert set(night.batch.rows()) == ids(65) | tab
    assert recount.leftovers(night.batch.queue, night.batch.out) == []


@dataclass(frozen=True)
class Known:
    batch: Batch
    seeded: Ended
    ended: Ended
    rows: set[str]
    audit: Ended
    last: Ended


def known(place: Place) -> Known:
    """Sources whose videos are partly had elsewhere: listed by a later process, and listed again later."""
    batch = place.batch([], place.stand_in(seed=SEED, latency_s=0.02))
    names = list(invented_ids(60, SEED))
    archive = Path(batch.root, "archive.txt")
    archive.write_text("".join(f"youtube {name}\n" for name in names[:3] + names[52:55]))
    sources = ("@made-up-5", "UUmade-up000000000000005", "search:made up 5")
    seeded = batch.does("seed", *sources, "--skip-known", archive)
    ended = run(batch)
    rows, audit = set(batch.rows()), batch.does("verify")
    batch.does("sync")
    last = run(Batch(batch.root, place.stand_in(seed=SEED, latency_s=0.02, uploads=50)))
    return Known(batch, seeded, ended, rows, audit, last)


@played(known)
def test_what_is_had_elsewhere_is_not_added_by_any_listing(night: Known) -> None:
    assert (night.seeded.code, night.ended.code, night.audit.code) == (0, 0, 0), night.ended.said
    names = list(invented_ids(60, SEED))
    assert night.rows == set(names[3:5])
    assert night.last.code == 0, night.last.said
    later = set(night.batch.rows())
    assert later > night.rows
    assert later.isdisjoint(names[:3] + names[52:55]), "nor when it is listed again"


@pytest.mark.long
@pytest.mark.timeout(1500)
def test_a_channel_of_5000_with_the_lister_and_the_run_killed(place: Place) -> None:
    batch = place.batch([], place.stand_in(seed=SEED, latency_s=0.02))
    with start(batch, "@made-up-5000", "-p", "2") as command:
        kill_lister(batch, command, 900)
        kill_lister(batch, command, 2200)
        until(lambda: listing(batch)["found"] >= 3000, 300.0, "for the next lister to go on")
        os.killpg(command.pid, signal.SIGKILL)
        command.kill_all()
    between = batch.status()
    assert (between["state"], between["listings"]["open"]) == ("stopped", 1)
    assert between["ok"] > 0, "fetching began before the list was at its end"
    ended = run(batch, timeout_s=900.0)
    assert ended.code == 0, ended.said
    assert listing(batch)["found"] == 5000
    assert len(recount.manifest(batch.queue)) == 5000
    whole(batch, ids(5000))
