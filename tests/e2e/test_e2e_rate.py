"""The rate, at the client's wire and at the site: never more, hardly less."""

from __future__ import annotations

import pytest
from commands import videos
from nights import Place

RATE, BURST, LATE_S = 50.0, 2, 0.05


def most_over(times_s: list[float]) -> float:
    """By how much the fullest window, of whatever length, holds more than rate times its length.

    A window from request i to request j holds j - i + 1 of them; going through j in order with the least
    i - rate * t_i so far finds the worst of all windows.
    """
    worst, least = 0.0, float("inf")
    for number, at_s in enumerate(sorted(times_s)):
        least = min(least, number - RATE * at_s)
        worst = max(worst, number - RATE * at_s - least + 1)
    return worst


def paced(place: Place, count: int) -> None:
    site = place.stand_in(seed=5)
    batch = place.batch(videos(count, 5), site)
    wire = place.root / "wire"
    ended = batch.run("--rate", f"{RATE:g}", timeout_s=60 + count / 20, ENGINE_WIRE_LOG=str(wire))
    assert ended.code == 0, ended.said
    sent_s = sorted(float(line.split()[0]) for line in wire.read_bytes().splitlines())
    assert len(sent_s) == 2 * count
    assert most_over(sent_s) <= BURST + RATE * LATE_S + 1
    arrived_s = [its["t"] for its in site.arrivals()]
    assert len(arrived_s) == 2 * count
    used = (len(arrived_s) - 1) / (RATE * (max(arrived_s) - min(arrived_s)))
    print(f"{used:.4f} of the rate used, fullest window {most_over(sent_s):.2f} over")
    assert used >= 0.98
    batch.clean()


def test_the_fullest_window_is_found() -> None:
    steady = [number / RATE for number in range(100)]
    assert most_over(steady) == pytest.approx(1.0)
    assert most_over([*steady, 1.0, 1.0, 1.0]) == pytest.approx(4.0)


@pytest.mark.usefixtures("quiet")
@pytest.mark.timeout(300)
def test_rate_at_the_wire_and_at_the_site(place: Place) -> None:
    paced(place, 200)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("quiet")
def test_rate_over_a_minute(place: Place) -> None:
    paced(place, 1500)
