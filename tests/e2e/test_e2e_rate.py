"""The rate, at the client's wire and at the site: never more, hardly less."""

from __future__ import annotations

import pytest
from commands import videos
from nights import Place
from patience import Lateness

RATE, BURST, LATE_S, BUSY_LATE_S = 50.0, 2, 0.05, 1.0


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
    with Lateness() as machine:
        ended = batch.run(
            "-p", "2", "--rate", f"{RATE:g}", timeout_s=60 + count / 20, ENGINE_WIRE_LOG=str(wire)
        )
    assert ended.code == 0, ended.said
    sent_s = sorted(float(line.split()[0]) for line in wire.read_bytes().splitlines())
    assert len(sent_s) == 2 * count
    # On a busy machine a request leaves late that was granted in time, and whoever wakes too late loses its slot.
    late_s = LATE_S if machine.prompt else max(BUSY_LATE_S, 10 * machine.late_s)
    assert most_over(sent_s) <= BURST + RATE * late_s + 1, machine
    arrived_s = [arrival["t"] for arrival in site.arrivals()]
    assert len(arrived_s) == 2 * count
    used = (len(arrived_s) - 1) / (RATE * (max(arrived_s) - min(arrived_s)))
    print(f"{used:.4f} of the rate used, fullest window {most_over(sent_s):.2f} over; {machine}")
    assert used >= 0.98 or not machine.prompt
    batch.clean()


def test_the_fullest_window_is_found() -> None:
    steady = [number / RATE for number in range(100)]
    assert most_over(steady) == pytest.approx(1.0)
    assert most_over([*steady, 1.0, 1.0, 1.0]) == pytest.approx(4.0)


@pytest.mark.usefixtures("quiet")
def test_rate_at_the_wire_and_at_the_site(place: Place) -> None:
    paced(place, 200)


@pytest.mark.long
@pytest.mark.usefixtures("quiet")
def test_rate_over_a_minute(place: Place) -> None:
    paced(place, 1500)
