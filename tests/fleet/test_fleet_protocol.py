"""The protocol of the ledger: pure decisions by tables, and whole fleets in memory with deaths at every step."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from fleet_world import MemoryObjects, World, shares_of, violations
from hypothesis import given
from hypothesis import strategies as st

from engine.fleet import share_hold
from engine.fleet.names import PartName
from engine.fleet.protocol import Brought, FleetAsked, Watched, complete, disjoint, fruitless
from engine.fleet.steps import Steps


def brought(hold: int, number: int, ids: str) -> Brought:
    return Brought(PartName(hold, number), frozenset(ids), {})


@pytest.mark.parametrize(
    ("parts", "chosen"),
    [
        ([], []),
        ([brought(1, 1, "ab"), brought(1, 2, "cd")], ["ab", "cd"]),
        (
            [brought(2, 1, "bc"), brought(1, 1, "ab")],
            ["ab"],
        ),  # in the order of holds, the later one is nobody's
        ([brought(1, 1, "ab"), brought(2, 1, "bc"), brought(2, 2, "d")], ["ab", "d"]),
        ([brought(1, 1, "az"), brought(1, 2, "b")], ["b"]),  # z is no job of this share
        ([brought(1, 1, "")], []),
    ],
)
def test_which_parts_are_taken_over(parts: list[Brought], chosen: list[str]) -> None:
    assert [part.ids for part in disjoint(parts, frozenset("abcdef"))] == [frozenset(ids) for ids in chosen]


@given(st.lists(st.frozensets(st.sampled_from("abcdefgh"), max_size=4), max_size=8))
def test_parts_taken_over_share_no_id(sets: list[frozenset[str]]) -> None:
    parts = [Brought(PartName(1 + at // 3, at), ids, {}) for at, ids in enumerate(sets)]
    ids = [video_id for part in disjoint(parts, frozenset("abcdef")) for video_id in part.ids]
    assert len(ids) == len(set(ids))
    assert set(ids) <= set("abcdef")


def test_a_share_is_complete_with_each_id_exactly_once() -> None:
    wanted = frozenset("abc")
    assert complete([brought(1, 1, "ab"), brought(2, 1, "c")], wanted)
    assert not complete([brought(1, 1, "ab")], wanted)
    assert not complete([brought(1, 1, "ab"), brought(2, 1, "bc")], wanted)
    assert not complete([brought(1, 1, "ab"), brought(2, 1, "cd")], wanted)
    assert complete([], frozenset())


@pytest.mark.parametrize(
    ("holds", "gone", "fruitful", "count"),
    [
        ([], [], [], 0),
        ([1, 2, 3], [], [], 3),
        ([1, 2, 3], [2], [], 1),  # the second was left in good order
        ([1, 2, 3], [], [3], 0),
        ([1, 2, 3, 4], [1], [2], 2),
    ],
)
def test_how_many_holds_were_fruitless(
    holds: list[int], gone: list[int], fruitful: list[int], count: int
) -> None:
    assert fruitless(holds, gone, fruitful) == count


def test_what_is_asked_adds_up() -> None:
    asked = FleetAsked().after(1, {"ask": "pause"}).after(2, {"ask": "set", "settings": {"rate": "1/s"}})
    assert (asked.paused, asked.stopped, dict(asked.settings)) == (True, False, {"rate": "1/s"})
    asked = asked.after(3, {"ask": "stop"}).after(4, {"settings": 3}).after(5, {})
    assert (asked.paused, asked.stopped, asked.number) == (True, True, 5)
    asked = asked.after(6, {"ask": "resume"})
    assert (asked.paused, asked.stopped) == (False, False)


def test_a_watch_knows_changes_and_no_clock_but_its_own() -> None:
    now = [100.0]
    watched = Watched(lambda: now[0])
    for at, value, unchanged in [
        (100, "a", 0),
        (150, "a", 50),
        (160, "b", 0),
        (900, "b", 740),
        (901, None, 0),
    ]:
        now[0] = float(at)
        assert watched.unchanged_s(value) == unchanged


# ---- whole fleets in memory ------------------------------------------------------------------------------
SHARES = shares_of(4, 40)


@pytest.fixture(scope="module")
def undisturbed() -> World:
    world = World(SHARES, MemoryObjects())
    world.play()
    assert violations(world) == []
    return world


def test_a_death_at_each_step(undisturbed: World) -> None:
    """Each step of the undisturbed fleet is once the last one of the machine that takes it."""
    for k in range(1, undisturbed.steps + 1):
        world = World(SHARES, MemoryObjects(k), death=lambda step, k=k: step == k)
        world.play()
        assert world.deaths == 1
        assert violations(world) == [], k


def test_deaths_at_every_kth_step(undisturbed: World) -> None:
    """Again and again. A share whose holds never get as far as a part is set aside, but no row is wrong."""
    finished = 0
    for k in range(60, 2 * undisturbed.steps, 5):
        world = World(SHARES, MemoryObjects(k), k, death=lambda step, k=k: step % k == 0)
        world.play()
        found = violations(world)
        assert [each for each in found if not each.endswith("not done")] == [], k
        finished += not found
    assert finished > undisturbed.steps // 5


@pytest.mark.parametrize("seed", range(40))
def test_a_store_in_trouble_and_machines_that_stand_still(seed: int) -> None:
    """500s before and after the write, late refusals, deaths, machines frozen for longer than their beats count."""
    drawn = random.Random(seed)
    deaths = {drawn.randrange(1, 4000) for _ in range(6)}
    frozen = {drawn.randrange(1, 3000): drawn.uniform(100, 2000) for _ in range(4)}
    world = World(
        SHARES,
        MemoryObjects(seed, 0.1),
        seed,
        death=deaths.__contains__,
        freeze=lambda step: frozen.get(step, 0.0),
    )
    world.play()
    assert violations(world) == []


@pytest.mark.parametrize("seed", range(5))
def test_machines_beside_each_other(seed: int) -> None:
    """All machines work on the same shares at once: the first `done/` stands, and the other parts are nobody's."""
    world = World(SHARES, MemoryObjects(seed, 0.05), seed, beside=True)
    world.play()
    assert violations(world) == []


def test_a_store_that_does_not_refuse_is_caught() -> None:
    """The same over a ledger whose `create` overwrites: two holds have one number, and it is seen in the rows."""
    caught = 0
    for seed in range(5):
        world = World(SHARES, MemoryObjects(seed, 0.0, atomic=False), seed, beside=True)
        world.play()
        caught += bool(violations(world))
    assert caught == 5


def test_a_broken_rule_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hold that takes parts over and forgets their ids fetches them again; only `complete` would refuse that."""
    take_over = share_hold.ShareHold._take_over

    def forgetful(share: share_hold.ShareHold) -> Steps[None]:
        yield from take_over(share)
        share._known = set()

    monkeypatch.setattr(share_hold.ShareHold, "_take_over", forgetful)
    monkeypatch.setattr(share_hold, "complete", lambda parts, wanted: True)
    world = World(SHARES, MemoryObjects(), death=lambda step: step == 150)
    world.machines = world.machines[:1]
    world.play()
    assert any("doubled" in found for found in violations(world))


def test_the_order_of_holds_is_that_of_their_numbers() -> None:
    order = [PartName(1, 9), PartName(2, 1), PartName(2, 10), PartName(10, 1)]
    assert all(one < other for one, other in pairwise(order))
