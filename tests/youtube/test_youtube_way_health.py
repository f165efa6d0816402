"""The health of ways: when one goes off and comes back, by tables, by any order of events, and in a shared file."""

from __future__ import annotations

import contextlib
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import json_values

from engine.model import WAYS
from engine.queue import checked_json, events
from engine.queue.directory import Queue
from engine.youtube import way_health
from engine.youtube.way_health import ALL, OFF_S, Health, due, failed, failed_again, tried, usable, works
from engine.youtube.way_health_file import MASK_EVERY, WayHealth, read_health

NOW = 1_795_000_000.0
REST = WAYS[1:]


def fails(
    health: Health, egresses: str, now: float = NOW, *, single: bool = False, since: bool = False
) -> Health:
    for egress in egresses:
        health = failed(health, "android", egress, "400", now, single=single, served_since=since)
    return health


@pytest.mark.parametrize(
    ("egresses", "single", "off_for"),
    [
        ("a", True, ""),
        ("aa", True, ""),
        ("aaa", True, "ab"),
        ("aa", False, ""),
        ("aaa", False, "a"),
        ("aab", False, "ab"),
        ("abc", False, "ab"),
        ("aaabbb", False, "ab"),
        ("aaab", False, "a"),  # one stray failure elsewhere
        ("aaabb", False, "ab"),
    ],
)
def test_when_a_way_goes_off_and_for_whom(egresses: str, single: bool, off_for: str) -> None:
    health = fails(Health(), egresses, single=single)
    assert [e for e in "ab" if usable(health, WAYS, e) == REST] == list(off_for)
    assert [e for e in "ab" if usable(health, WAYS, e) == WAYS] == [e for e in "ab" if e not in off_for]


def test_what_it_serves_between_them_counts_for_it() -> None:
    assert usable(fails(Health(), "aaaaaa", single=True, since=True), WAYS, "a") == WAYS


def test_while_no_way_is_answered_those_that_are_off_are_asked_as_well() -> None:
    """They may be back, and no video is served that they could be tried with."""
    health = fails(Health(), "aaa", single=True)
    assert usable(replace(health, unheard=1), WAYS, "a") == (*REST, "android")


def test_an_hour_later_one_process_tries_it_again() -> None:
    health = fails(Health(), "aaa", single=True)
    assert due(health, WAYS, "a", NOW + OFF_S - 1) is None
    assert due(health, WAYS, "a", NOW + OFF_S) == "android"
    assert usable(health, WAYS, "a") == REST  # not before it was tried
    taken = tried(health, "android", "a", NOW + OFF_S)
    assert due(taken, WAYS, "a", NOW + OFF_S + 1) is None
    assert due(taken, WAYS, "a", NOW + OFF_S + way_health.TRIAL_S) == "android"  # whoever took it is gone
    again = failed_again(taken, "android", "a", "400", NOW + OFF_S)
    assert due(again, WAYS, "a", NOW + OFF_S + OFF_S - 1) is None
    assert usable(works(again, "android", "a"), WAYS, "a") == WAYS
    assert works(again, "android", "a") == Health()


def test_of_several_egresses_each_has_its_own() -> None:
    health = fails(Health(), "aaa")
    assert due(health, WAYS, "b", NOW + OFF_S) is None
    assert due(health, WAYS, "a", NOW + OFF_S) == "android"


def test_a_clock_that_jumps_keeps_no_way_off_for_long() -> None:
    health = fails(Health(), "aaa", NOW + 30 * 86_400, single=True)
    assert due(health, WAYS, "a", NOW) == "android"
    masked = way_health.mask_differed(Health(), "ios", "", NOW + 30 * 86_400)
    assert way_health.mask_is_on(masked, "ios", NOW)


def test_without_any_way_all_are_tried() -> None:
    health = Health()
    for way in WAYS:
        for _ in range(3):
            health = failed(health, way, "a", "400", NOW, single=True)
    assert usable(health, WAYS, "a") == WAYS


happenings = st.sampled_from(
    ["failed a", "failed b", "served", "tried a", "failed_again a", "works a", "works b"]
)


@given(st.lists(st.tuples(happenings, st.sampled_from(WAYS))), st.booleans())
def test_whatever_happens_there_are_ways_and_the_file_says_the_same(found: Any, single: bool) -> None:
    health = Health()
    for what, way in found:
        name, _, egress = what.partition(" ")
        if name == "failed":
            health = failed(health, way, egress, "x", NOW, single=single)
        elif name == "served":
            continue
        elif name == "tried":
            health = tried(health, way, egress, NOW)
        elif name == "failed_again":
            health = failed_again(health, way, egress, "x", NOW)
        else:
            health = works(health, way, egress)
            assert health.way(way).off_for(egress) in (
                None,
                egress if ALL in health.way(way).off_until else None,
            )
    assert usable(health, WAYS, "a")
    assert Health.from_json(json.loads(json.dumps(health.to_json()))) == health


# ---- the file ---------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    (tmp_path / "tmp").mkdir()
    return Queue(str(tmp_path))


def told(queue: Queue) -> list[str]:
    with open(queue.events) as file:
        return [json.loads(line)["event"] for line in file]


def test_all_processes_know_and_an_event_names_it(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    one, two = (WayHealth(queue, ["a"], wall=clock) for _ in range(2))
    monkeypatch.setattr("engine.youtube.way_health_file.POLL_S", 0.0)
    assert one.usable(WAYS, 0) == WAYS
    for health in (one, two, one):
        health.failed("android", 0, "YouTube answers 400")
    assert one.usable(WAYS, 0) == two.usable(WAYS, 0) == REST
    assert one.trial(WAYS, 0) is None
    assert told(queue) == ["way_off"]
    clock.now += OFF_S
    assert [two.trial(WAYS, 0), one.trial(WAYS, 0)] == ["android", None]
    two.served("android", 0)
    assert one.usable(WAYS, 0) == WAYS
    assert told(queue) == ["way_off", "way_on"]
    assert events.recent(queue, 60)[0]["way"] == "android"


def test_a_video_that_is_served_touches_no_file(queue: Queue) -> None:
    health = WayHealth(queue, ["a"])
    for _ in range(3):
        assert health.usable(WAYS, 0) == WAYS
        health.served("android", 0)
        assert health.trial(WAYS, 0) is None
    assert sorted(path.name for path in Path(queue.root).iterdir()) == ["tmp"]
    assert health.in_health() == {"android"}


def test_failures_between_successes_turn_nothing_off(queue: Queue) -> None:
    health = WayHealth(queue, ["a"])
    for _ in range(10):
        health.served("android", 0)
        health.failed("android", 0, "hidden captions")
    assert health.usable(WAYS, 0) == WAYS


def test_stray_failures_of_many_egresses_turn_nothing_off(queue: Queue) -> None:
    """Each is served by the way before the next fails, whichever egress that is."""
    health = WayHealth(queue, [f"p{n}" for n in range(9)])
    for egress in range(9):
        health.served("android", egress)
        health.failed("android", egress, "hidden captions")
        health.served("android", egress)
    assert not Path(queue.events).exists()
    assert read_health(queue).way("android").failures == {}


def test_no_way_at_all_is_said_once_and_forgotten_when_one_serves(queue: Queue) -> None:
    one, two = (WayHealth(queue, ["a"]) for _ in range(2))
    one.served("android", 0)
    assert [health.unheard(WAYS, 0, "android: 400") for health in (one, two, two, one)] == [
        False,
        False,
        True,
        True,
    ]
    assert one.in_health() == set()
    assert told(queue) == ["ways_dead"]
    two.served("ios", 0)
    assert read_health(queue).unheard == 0
    assert not one.unheard(WAYS, 0, "")


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"ways": 3, "crc32": 1}', b"\xff"])
def test_a_damaged_file_only_means_that_all_ways_are_tried(content: bytes, queue: Queue) -> None:
    Path(queue.ways).write_bytes(content)
    health = WayHealth(queue, ["a"])
    assert health.usable(WAYS, 0) == WAYS
    for _ in range(3):
        health.failed("android", 0, "400")
    assert read_health(queue).way("android").off_for("a") == ALL


@pytest.mark.parametrize("until", [float("inf"), float("nan"), 1e300, -1e300, "soon", None])
def test_a_time_that_is_none(until: Any, queue: Queue) -> None:
    """`engine status` shows these times."""
    way = {"failures": {}, "off_until": {ALL: until}, "reason": ""}
    value = {**Health().to_json(), "ways": {"android": way}}
    Path(queue.ways).write_bytes(checked_json.to_bytes(value))
    assert read_health(queue) == Health()


def test_a_file_of_another_version_is_left_aside(queue: Queue) -> None:
    value = {**fails(Health(), "aaa", single=True).to_json(), "schema_version": 2}
    Path(queue.ways).write_bytes(checked_json.to_bytes(value))
    assert read_health(queue) == Health()


@given(st.dictionaries(st.sampled_from(["ways", "masks", "unheard"]), json_values))
def test_whatever_a_file_holds(value: Any) -> None:
    with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError, OverflowError):
        Health.from_json(value)


def test_many_threads_lose_no_failure(queue: Queue) -> None:
    healths = [WayHealth(queue, ["a", "b"]) for _ in range(4)]
    threads = [
        threading.Thread(target=lambda health=health, n=n: health.failed("android", n % 2, "400"))
        for n, health in enumerate(healths * 3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(read_health(queue).way("android").failures.values()) == 12
    assert checked_json.read(queue.ways)["schema_version"] == 1


def test_when_the_mask_is_compared(queue: Queue) -> None:
    clock = Clock()
    one, two = (WayHealth(queue, ["a"], wall=clock) for _ in range(2))
    assert one.masked("android")
    assert one.mask_is_due("android")  # the first of all
    one.mask_agreed("android")
    later = WayHealth(queue, ["a"], wall=clock)
    assert [n for n in range(1, 200) if later.mask_is_due("android")] == [
        MASK_EVERY,
        2 * MASK_EVERY,
        3 * MASK_EVERY,
    ]
    later.mask_differed("android", "the mask changed title")
    assert not later.masked("android")
    assert later.masked("ios")
    assert told(queue) == ["mask_off"]
    two._read()
    assert not two.masked("android")
    clock.now += OFF_S
    assert two.masked("android")
    assert two.mask_is_due("android")  # it has to prove itself again
