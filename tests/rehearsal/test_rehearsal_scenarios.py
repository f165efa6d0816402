"""Scenarios: how they are written, when they play, and that they affect the same videos each time."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.rehearsal import SCENARIOS, Scenario, invented_ids, parse_scenario
from engine.rehearsal.scenarios import CONNECTION, MIXES, Reach, draw, transient_fault, video_fault

FOREVER = float("inf")


@pytest.mark.parametrize(
    ("text", "scene"),
    [
        ("reset", Scenario("reset")),
        ("flaky", Scenario("flaky", 0.05)),
        ("absent", Scenario("absent", 0.03)),
        ("flaky=0.2", Scenario("flaky", 0.2)),
        ("flaky=20%", Scenario("flaky", 0.2)),
        ("slow=.5", Scenario("slow", 0.5)),
        ("429@10-40", Scenario("429", 1.0, 10, 40)),
        ("429_after@10-40.5", Scenario("429_after", 1.0, 10, 40.5)),
        ("gone@5-", Scenario("gone", 1.0, 5, FOREVER)),
        ("bot=0.5@0-3/p2", Scenario("bot", 0.5, 0, 3, "p2")),
        (" captured ", Scenario("captured")),
        ("400:android", Scenario("400", clients=("android",))),
        (
            "xpv:android-20,ios=0.2@5-#500-900/p2",
            Scenario("xpv", 0.2, 5, FOREVER, "p2", None, ("android-20", "ios"), 500, 900),
        ),
        ("mask_field#501-", Scenario("mask_field", first_job=501)),
        ("kids", Scenario("kids", clients=("visionos",))),
        ("kids:all", Scenario("kids")),
    ],
)
def test_a_scenario_is_parsed(text: str, scene: Scenario) -> None:
    assert parse_scenario(text) == scene


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "cannot be read"),
        ("flaky=much", "cannot be read"),
        ("429@10", "cannot be read"),
        ("flaky 0.1", "cannot be read"),
        ("nonsense", "There are: no_captions"),
        ("flaky=1.5", "between 0 and 1"),
        ("flaky=150%", "between 0 and 1"),
        ("429@40-10", "ends before it starts"),
        ("429@4-4", "ends before it starts"),
        ("400#9-5", "ends before its first video"),
        ("400:androit", "no client 'androit'. There are: android"),
        ("gone:android", "affects connections"),
        ("proxy407#5-", "affects connections"),
    ],
)
def test_a_scenario_that_cannot_be_parsed_says_what_to_write(text: str, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        parse_scenario(text)


@given(
    st.builds(
        Scenario,
        st.sampled_from(sorted(SCENARIOS)),
        st.integers(0, 100).map(lambda n: n / 100),
        st.integers(0, 50).map(float),
        st.one_of(st.integers(51, 99).map(float), st.just(FOREVER)),
        st.one_of(st.none(), st.from_regex(r"[a-z0-9]{1,6}", fullmatch=True)),
        st.none(),
        st.sampled_from([(), ("android",), ("android-20.1", "other")]),
        st.sampled_from([1, 7]),
        st.sampled_from([FOREVER, 7.0, 1e6]),
    ).filter(lambda scene: scene.name not in CONNECTION)
)
def test_what_a_scenario_prints_can_be_parsed(scene: Scenario) -> None:
    assert parse_scenario(str(scene)) == scene


def test_a_window_counts_from_the_first_request_or_from_when_it_was_set() -> None:
    scene = parse_scenario("429@10-20")
    assert [scene.plays("", 100 + s, 100) for s in (0, 9.9, 10, 19.9, 20)] == [
        False,
        False,
        True,
        True,
        False,
    ]
    live = Scenario("429", 1.0, 0, 5, None, since_s=50)
    assert live.plays("", 52, 10)
    assert not live.plays("", 56, 54)


def test_an_egress_of_its_own() -> None:
    scene = parse_scenario("429/p2")
    assert scene.plays("p2", 0, 0)
    assert not scene.plays("p1", 0, 0)


@given(st.integers(), st.text(max_size=20), st.integers())
def test_a_draw_depends_on_its_parts_alone(seed: int, text: str, n: int) -> None:
    assert draw(seed, text, n) == draw(seed, text, n)
    assert 0 <= draw(seed, text, n) < 1


def test_shares_hold_and_differ_by_seed_and_scenario() -> None:
    ids = list(invented_ids(4000))
    picked = {
        (name, seed): {i for i in ids if Scenario(name, 0.1).touches(seed, i)}
        for name in ("flaky", "absent")
        for seed in (1, 2)
    }
    assert all(300 < len(found) < 500 for found in picked.values())
    assert len(set(map(frozenset, picked.values()))) == 4


def test_mixes_give_every_member_and_only_scenarios_of_their_reach() -> None:
    ids = list(invented_ids(3000))
    refused = Counter(video_fault(Scenario("absent"), 1, i) for i in ids)
    assert set(refused) == {name for name, _ in MIXES["absent"]}
    assert refused["no_captions"] == max(refused.values())
    passing = [transient_fault(Scenario("flaky"), 1, i) for i in ids]
    assert {name for name, _, _ in passing} == {name for name, _ in MIXES["flaky"]}
    assert {kind for _, kind, _ in passing} == {"player", "timedtext"}
    assert {kind for name, kind, _ in passing if name == "empty"} == {"timedtext"}
    assert {times for _, _, times in passing} == {1, 2}
    for mix, reach in (("absent", Reach.VIDEO), ("flaky", Reach.TRANSIENT)):
        assert {SCENARIOS[name].reach for name, _ in MIXES[mix]} == {reach}
