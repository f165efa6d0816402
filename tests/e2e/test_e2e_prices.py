"""What a video costs with bodies of the site's own size, counted by the site: requests, bytes, TLS handshakes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import recount
from commands import Batch, Ended, expected_kinds, videos
from nights import Place, played

from engine.worker.unconfirmed import ASKED_AGAIN

COUNT, SEED, SCENE = 40, 3, "no_captions=0.05"
PROCESSES, THREADS = 2, 3
MOST_KB = 45


@dataclass(frozen=True)
class Night:
    batch: Batch
    ended: Ended
    stats: dict[str, Any]
    egresses: int


def spend(place: Place, fetch: str, scene: str = SCENE, count: int = COUNT, egresses: int = 1) -> Night:
    site = place.stand_in(seed=SEED, real_sizes=True, scenarios=(scene,))
    batch = place.batch(videos(count, SEED), site)
    more = [part for number in range(1, egresses) for part in ("--proxy", site.proxy_url_as(f"u{number}"))]
    ended = batch.run("-p", str(PROCESSES), "-t", str(THREADS), "--fetch", fetch, *more)
    return Night(batch, ended, site.stats(videos=True), egresses)


def check(night: Night, ok: dict[str, int], bare: dict[str, int]) -> list[int]:
    """Every video came to what it must and cost exactly these requests, by the site's and by its row's count;
    each thread's connection lasts the whole run. Returns the bytes of the videos with captions.

    With several egresses each process has its own connections to each, and closes those it uses least: what
    is bounded then is how many are open.
    """
    assert night.ended.code == 0, night.ended.said
    rows = night.batch.rows()
    expected = expected_kinds(night.batch.ids, SCENE, SEED)
    assert {name: row["kind"] for name, row in rows.items()} == expected
    assert 1 <= sum(kind == "no_captions" for kind in expected.values()) <= 4  # too few for an alarm
    controls = 0  # fetched once more, one an egress and minute, to confirm those without captions
    again = 0  # without captions, and asked for again because nothing had shown captions before them
    for name, kind in expected.items():
        price = bare if kind else ok
        if night.stats["videos"][name] != price:
            assert night.stats["videos"][name] == {request: 2 * count for request, count in price.items()}, (
                name
            )
            controls += kind is None
            again += kind is not None
        assert rows[name]["requests"] == sum(price.values()), name
        assert rows[name]["attempts"] == 1
    assert controls <= night.egresses
    assert again <= ASKED_AGAIN * PROCESSES * night.egresses
    sent = sum(egress["bytes"] for egress in night.stats["egresses"].values())
    counted = sum(row["bytes"] for row in rows.values())
    assert counted == sent if not (controls or again) else counted < sent
    # A process confirms those without captions in a thread of its own: one more is under way in it then.
    beside = min(PROCESSES, controls + again)
    assert night.stats["connections"]["peak"] <= PROCESSES * (THREADS + night.egresses) + beside
    if night.egresses == 1:
        assert night.stats["tls_handshakes"] <= PROCESSES * THREADS + 1
    return [row["bytes"] for row in rows.values() if row["status"] == "ok"]


@played(spend, fetch="lean")
def test_two_requests_and_45_kb_a_video(night: Night) -> None:
    sizes = check(night, ok={"player": 1, "timedtext": 1}, bare={"player": 1, "other_client": 1})
    assert max(sizes) <= MOST_KB * 1000
    assert min(sizes) >= 20_000, "the bodies are not as large as the site's"
    everything = [row["bytes"] for row in night.batch.rows().values()]
    assert sum(everything) <= MOST_KB * 1000 * len(everything)


@played(spend, fetch="full", egresses=2)
def test_the_full_way_takes_three(night: Night) -> None:
    check(
        night,
        ok={"watch": 1, "player": 1, "timedtext": 1},
        bare={"watch": 1, "player": 1},
    )


@played(spend, fetch="lean", scene="no_captions", count=4)
def test_a_few_without_captions_and_none_with_any_cost_two_each_and_a_control_video(night: Night) -> None:
    assert night.ended.code == 0, night.ended.said
    rows = night.batch.rows()
    assert {(row["kind"], row["requests"]) for row in rows.values()} == {("no_captions", 2)}
    asked = [night.stats["videos"][name] for name in rows]
    once = {"player": 1, "other_client": 1}
    twice = [each for each in asked if each != once]  # nothing had shown captions before them
    assert all(each == {"player": 2, "other_client": 2} for each in twice)
    assert len(twice) <= ASKED_AGAIN * PROCESSES
    assert not [event for event in recount.events(night.batch.queue) if "captions" in event["event"]]
    others = set(night.stats["videos"]) - set(rows)
    assert [night.stats["videos"][name] for name in others] == [{"player": 1, "timedtext": 1}]
