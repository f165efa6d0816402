"""Whatever ended a run: the next one goes on, and status tells the truth in every state between."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Any

import recount
from commands import Batch, Ended, kinds, videos
from nights import Place, played

SEED = 6


@dataclass(frozen=True)
class Resumed:
    """A batch that was killed and went on, beside the same one that was left alone."""

    batch: Batch
    alone: Batch
    states: dict[str, dict[str, Any]]
    ended: Ended


def resumed(place: Place) -> Resumed:
    """Seeded, run, killed with all its processes, run again; asked for its status each time."""
    site = place.stand_in(seed=SEED, latency_s=0.15, scenarios=("absent=0.1",))
    batch = place.batch(videos(80, SEED), site)
    alone = place.batch(batch.ids, site, "alone")
    states = {"nothing": batch.status()}
    assert batch.does("seed", batch.file).code == 0
    states["seeded"] = batch.status()
    with batch.start("-p", "2", "-t", "4", "--rate", "12/s") as run:
        batch.seen(40)
        states["running"] = batch.status()
        run.kill_all()
        states["killed"] = batch.status()
        states["recount"] = dict(recount.counts(batch.queue))
    ended = batch.run()
    states["finished"] = batch.status()
    assert alone.run().code == 0
    return Resumed(batch, alone, states, ended)


@played(resumed)
def test_status_in_each_state(night: Resumed) -> None:
    states = night.states
    assert states["nothing"]["state"] == "empty"
    assert (states["seeded"]["state"], states["seeded"]["pending"]) == ("stopped", 80)
    assert states["seeded"]["limited_by"] == "nothing"
    assert (states["running"]["state"], states["running"]["total"]) == ("running", 80)
    assert states["running"]["in_flight"] > 0
    assert len(states["running"]["workers"]) == 2
    assert (states["killed"]["state"], states["killed"]["in_flight"]) == ("stopped", 0)
    assert states["killed"]["workers"] == []
    final = states["killed"]["ok"] + states["killed"]["absent"]
    assert 0 < final < 80
    assert final >= states["recount"]["ok"] + states["recount"]["absent"], "status does not lag the manifest"
    assert states["finished"]["state"] == "finished"
    assert states["finished"]["ok"] + states["finished"]["absent"] == 80
    for name in ("seeded", "running", "killed", "finished"):
        assert set(states[name]) >= set(states["nothing"])


@played(resumed)
def test_the_next_run_goes_on_and_comes_to_the_same(night: Resumed) -> None:
    assert night.ended.code == 0, night.ended.said
    rows, others = night.batch.rows(), night.alone.rows()
    assert kinds(rows) == kinds(others)
    same = (
        "status",
        "title",
        "channel",
        "duration_s",
        "language",
        "is_generated",
        "files",
        "message",
        "input",
    )
    for video_id, row in rows.items():
        assert {name: row[name] for name in same} == {name: others[video_id][name] for name in same}
    night.batch.clean()
    night.alone.clean()


@played(resumed)
def test_running_a_finished_batch_again_does_nothing(night: Resumed) -> None:
    before, site = night.batch.rows(), night.batch.site
    assert site is not None
    asked = site.stats()["requests"]
    assert night.batch.run().code == 0
    assert night.batch.rows() == before
    assert site.stats()["requests"] == asked


def moved(place: Place) -> tuple[Batch, Ended, Ended]:
    """Output that somebody took away from a finished batch."""
    batch = place.batch(videos(12, SEED), place.stand_in(seed=SEED))
    assert batch.run().code == 0
    row = next(iter(batch.rows().values()))
    (batch.out / row["files"]["md"]).write_text("something else")
    damaged = batch.does("verify")
    shutil.rmtree((batch.out / row["files"]["json"]).parent)
    return batch, damaged, batch.does("verify", "--json")


@played(moved)
def test_verify_finds_what_is_wrong(night: tuple[Batch, Ended, Ended]) -> None:
    _, damaged, gone = night
    assert damaged.code == 14, damaged.said
    assert ".md" in damaged.said
    assert gone.code == 14, gone.said
