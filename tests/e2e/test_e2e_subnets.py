"""Proxies of one subnet, in real runs against the rehearsal's hidden limit: one for all of them, or one each.

`ENGINE_BUDGET_PACE=30` makes a minute of the controller two seconds; rates stay as they are.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest
from commands import videos
from egress_trouble import Relay
from nights import Place

PACE, STRETCH_S = 30, 150
LIMIT, BURST, BLOCK_S = 2.0, 10, 60.0 / PACE
EGRESSES = 3


class Came(NamedTuple):
    """How often requests passed and were refused, and the events of the run."""

    passed: int
    refused: int
    events: Counter[str]


def night(place: Place, users: list[str]) -> Came:
    """A run by as many proxies, each at a port of its own; the site limits each user name."""
    site = place.stand_in(limit_rate=LIMIT, limit_burst=BURST, limit_block_s=BLOCK_S)
    batch = place.batch(videos(int(3 * LIMIT * STRETCH_S), 5), site, "-".join(users))
    with contextlib.ExitStack() as stack:
        proxies = []
        for user in users:
            relay = stack.enter_context(Relay(site.address.port))
            proxies.append(site.proxy_url_as(user).replace(f":{site.address.port}", f":{relay.port}"))
        first, *others = proxies
        options: tuple[str, ...] = ("-p", "2", "-t", "4", "--rate", "auto", "--max-duration", f"{STRETCH_S}s")
        for proxy in others:
            options += ("--proxy", proxy)
        ended = batch.run(*options, proxy=first, timeout_s=STRETCH_S + 60.0, ENGINE_BUDGET_PACE=f"{PACE}")
    assert ended.code == 4, ended.said
    batch.clean(finished=False)
    events = [json.loads(line)["event"] for line in (batch.queue / "events.jsonl").read_text().splitlines()]
    statuses = Counter(arrival["status"] for arrival in site.arrivals())
    return Came(statuses[200], statuses[429], Counter(events))


@pytest.mark.long
@pytest.mark.usefixtures("quiet")
def test_one_limit_is_told_from_three(place: Place) -> None:
    """Together they are blocked once, where three alone would be blocked three times."""
    with ThreadPoolExecutor(2) as side_by_side:
        one, three = side_by_side.map(night, [place] * 2, [["shared"] * EGRESSES, ["u1", "u2", "u3"]])
    print(one, three, sep="\n")
    assert one.events["shared_limit"] == 1
    assert three.events["shared_limit"] == 0
    assert one.events["shared_limit_ended"] == 0
    assert one.passed >= 0.3 * LIMIT * STRETCH_S
    assert three.passed >= 2 * one.passed
    assert one.refused <= three.refused
