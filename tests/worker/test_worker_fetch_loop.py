"""The fetching threads over real parts: what a refusal, a probe, a lost connection and a silent egress come to."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest
from patience import Limit
from support import batch, ids
from worker_rig import Fetch, Rig

from engine.budget.circuit_breaker import PROBE_GAP_S
from engine.model import CONTROL_VIDEOS, Failure, Fetched, Kind, Permit, Refused, RequestCost
from engine.rehearsal import Rehearsal
from engine.worker import fetch_loop

pytestmark = pytest.mark.usefixtures("no_fsync", "quick")

RESET = Refused(Failure(Kind.NETWORK, "reset"), RequestCost(1, 0))
NO = Refused(Failure(Kind.BLOCKED, "429"), RequestCost(1, 10))


def test_a_video_with_captions_takes_the_budgets_lock_three_times_and_no_other(
    tmp_path: Path,
    stand_in: Rehearsal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = Rig(batch(tmp_path, 12), stand_in, threads=1)
    taken: list[str] = []
    store = rig.resources.budget._store
    locked = store.locked

    def counted(stop: threading.Event | None = None) -> AbstractContextManager[None]:
        if threading.current_thread().name.startswith("fetch-"):
            taken.append("budget")
        return locked(stop)

    monkeypatch.setattr(store, "locked", counted)
    rig.work()
    assert len(taken) == 3 * 12
    assert {row["status"] for row in rig.rows().values()} == {"ok"}


def test_no_job_is_spent_on_a_probe(tmp_path: Path, stand_in: Rehearsal) -> None:
    """Every answer is refused for as long as eight probes take: whoever was refused waits, and has one line."""
    rig = Rig(batch(tmp_path, 30), stand_in)
    probes: list[str] = []

    def refuse(fetch: Fetch, video_id: str, permit: Permit) -> Fetched | Refused:
        if video_id in CONTROL_VIDEOS:
            probes.append(video_id)
        return NO if len(probes) < 8 else fetch(video_id, permit)

    rig.wrap(refuse)
    rig.work()
    assert max(Counter(body["job"] for body in rig.tries()).values()) == 1
    assert len(rig.tries()) <= 4, "no more than were in flight when the first was refused"
    assert {row["status"] for row in rig.rows().values()} == {"ok"}
    rig.sound()


@pytest.mark.parametrize("alone", [False, True])
def test_one_video_that_keeps_being_refused_is_failed_and_the_others_pass(
    tmp_path: Path,
    stand_in: Rehearsal,
    alone: bool,
) -> None:
    count = 1 if alone else 20
    rig = Rig(batch(tmp_path, count), stand_in)
    bad = ids(count)[count // 2]
    rig.wrap(lambda fetch, video_id, permit: NO if video_id == bad else fetch(video_id, permit))
    rig.work()
    rows = rig.rows()
    assert (rows[bad]["status"], rows[bad]["kind"]) == ("failed", "blocked")
    assert "3 times while other videos passed" in rows[bad]["message"]
    refusals = [body for body in rig.tries() if body["kind"] == "blocked"]
    assert [body.get("others_passed", False) for body in refusals] == [False, True, True]
    assert sum(row["status"] == "ok" for row in rows.values()) == count - 1
    rig.sound()


@pytest.mark.parametrize("alone", [False, True])
def test_one_video_whose_connection_is_always_lost_comes_to_an_end(
    tmp_path: Path,
    stand_in: Rehearsal,
    alone: bool,
) -> None:
    """Where it is alone a control video shows that its egress works: five losses in a row open it."""
    count = 1 if alone else 20
    rig = Rig(batch(tmp_path, count), stand_in, attempts=2)
    bad = ids(count)[0]
    rig.wrap(lambda fetch, video_id, permit: RESET if video_id == bad else fetch(video_id, permit))
    rig.work()
    row = rig.rows()[bad]
    assert (row["kind"], row["attempts"]) == ("network", 2)
    assert rig.tries()[0]["charged"] is False
    assert len(rig.tries()) <= 7
    rig.sound()


def test_an_outage_costs_no_job_an_attempt(tmp_path: Path, stand_in: Rehearsal) -> None:
    rig = Rig(batch(tmp_path, 20), stand_in, attempts=1)
    left = [60]

    def gone(fetch: Fetch, video_id: str, permit: Permit) -> Fetched | Refused:
        left[0] -= 1
        return RESET if left[0] > 0 else fetch(video_id, permit)

    rig.wrap(gone)
    rig.work()
    assert {(row["status"], row["attempts"]) for row in rig.rows().values()} == {("ok", 1)}
    rig.sound()


@pytest.mark.parametrize("share", [1, 3])
def test_behind_a_gateway_three_exits_have_to_agree(
    tmp_path: Path,
    stand_in: Rehearsal,
    share: int,
) -> None:
    """One exit in `share` shows nobody captions."""
    rig = Rig(batch(tmp_path, 8), stand_in, threads=1)
    rig.settings = replace(rig.settings, egresses=(replace(rig.settings.egresses[0], rotating=True),))
    bare = Refused(Failure(Kind.NO_CAPTIONS, "none"), RequestCost(2, 10))
    sent: Counter[str] = Counter()

    def exits(fetch: Fetch, video_id: str, permit: Permit) -> Fetched | Refused:
        sent[video_id] += 1
        blind = video_id not in CONTROL_VIDEOS and sent.total() % share == 0
        return bare if blind else fetch(video_id, permit)

    rig.wrap(exits)
    rig.work()
    rows = rig.rows().values()
    assert {row["kind"] for row in rows} == ({"no_captions"} if share == 1 else {None})
    if share == 1:
        assert {row["requests"] for row in rows} == {6}
        assert {sent[name] for name in ids(8)} == {fetch_loop.AGREE}


def test_one_that_has_none_amid_others_costs_nothing_more(
    tmp_path: Path,
    stand_in: Rehearsal,
) -> None:
    stand_in.play("no_captions=0.2", replace=True)
    rig = Rig(batch(tmp_path, 40), stand_in, threads=2)
    rig.work()
    none = [row for row in rig.rows().values() if row["kind"] == "no_captions"]
    assert none
    assert {(row["attempts"], row["requests"]) for row in none} == {(1, 2)}
    assert Counter(rig.fetched).keys() - set(ids(40)) <= set(CONTROL_VIDEOS)
    rig.sound()


def test_a_control_video_that_says_nothing_is_not_asked_for_again_at_once(
    tmp_path: Path,
    stand_in: Rehearsal,
) -> None:
    """One job is left, and was refused: whether its egress works nobody can tell."""
    rig = Rig(batch(tmp_path, 1), stand_in)
    gone = Refused(Failure(Kind.UNAVAILABLE, "removed"), RequestCost(1, 10))
    rig.wrap(lambda fetch, video_id, permit: gone if video_id in CONTROL_VIDEOS else NO)
    limit, began_s = Limit(1.5), time.monotonic()
    rig.work(lambda: limit.over)
    assert len(rig.tries()) == 1
    asked = len(rig.fetched) // len(CONTROL_VIDEOS)
    assert 1 <= asked <= 1 + (time.monotonic() - began_s) / (PROBE_GAP_S / 60.0)
