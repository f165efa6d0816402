"""How tests wait: limits as sharp as they are written on a quiet machine, and longer on a busy one."""

from __future__ import annotations

import threading
import time

import patience
import pytest
from patience import Lateness, Limit, cpu_s, crowd, ends, growth, shares_s, until


@pytest.mark.parametrize(
    ("told", "cores", "wanted"),
    [
        ("0.10 0.20 0.30 1/200 9", 2, 1.0),
        ("20.0 9.00 3.00 2/200 9", 2, 10.0),  # it was busy a moment ago
        ("0.10 0.20 0.30 9/200 9", 2, 4.5),  # it is by now
    ],
)
def test_how_many_want_each_core(
    monkeypatch: pytest.MonkeyPatch, told: str, cores: int, wanted: float
) -> None:
    monkeypatch.setattr(patience, "_loads", told.split)
    monkeypatch.setattr(patience.os, "sched_getaffinity", lambda _: range(cores))
    assert crowd() == wanted


@pytest.mark.parametrize(("crowded", "seconds"), [(1.0, 2), (10.0, 20)])
def test_a_limit_is_so_many_times_longer_as_others_want_the_processor(
    monkeypatch: pytest.MonkeyPatch, crowded: float, seconds: int
) -> None:
    now = [0.0]
    monkeypatch.setattr(patience, "crowd", lambda: crowded)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    limit, looks = Limit(1.99), 0
    while not limit.over:
        now[0] += 1.0
        looks += 1
    assert looks == seconds
    assert shares_s(0.0) == seconds / crowded
    limit = Limit(1.99)
    now[0] += (
        3600.0  # whoever was stopped for an hour has waited no longer than one who looks again and again
    )
    assert not limit.over


def test_what_does_not_come_is_said() -> None:
    assert until(lambda: "it", 5.0, "for it") == "it"
    with pytest.raises(AssertionError, match=r"waited 0\.05 s in vain: for Godot"):
        until(lambda: None, 0.05, "for Godot", each_s=0.001)


def test_a_thread_that_hangs_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "HANG_S", 0.05)
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    with pytest.raises(AssertionError, match="it hangs"):
        ends(thread, "it hangs")
    over.set()
    thread.join()
    ends(thread)


def test_the_machine_is_looked_at_as_long_as_it_matters() -> None:
    with Lateness() as machine:
        time.sleep(0.1)
    assert machine.late_s > 0
    assert machine.slack >= 1.0
    assert machine.prompt == (machine.late_s < patience.PROMPT_S and machine.crowd < patience.CROWDED)
    assert "wanted each core" in str(machine)


def test_what_grows_with_the_square_is_found() -> None:
    assert growth(lambda n: sum(range(n)), 10_000, 200_000) < 100
    assert growth(lambda n: [sum(range(n)) for _ in range(n)], 300, 6000) > 100
    assert cpu_s(lambda: time.sleep(0.05)) < 0.04, "waiting costs no processor"
