"""The walk of `scripts/bench walk`: it follows the thread that fetches, and leaves out what it says."""

from __future__ import annotations

import pytest
from walk import Walk, left_out, median, walks


@pytest.fixture(scope="module")
def found() -> list[Walk]:
    return walks(5)


def test_it_follows_one_thread_from_fetch_to_fetch(found: list[Walk]) -> None:
    assert len(found) == 4, "each but the last"
    for walk in found:
        assert [name for _, name, _ in walk.calls].count("Fetcher.fetch") == 1
        assert walk.calls[0][1] == "Fetcher.fetch"
        assert {"youtube/fetcher.py", "storage/disk.py", "queue/journal.py"} <= walk.files


def test_it_sees_the_locks_between_processes(found: list[Walk]) -> None:
    assert all(walk.locks.count("budget") >= 2 for walk in found), (
        "a permit, and the report of what came of it"
    )


def test_parsing_rendering_and_http_are_left_out(found: list[Walk]) -> None:
    assert left_out("youtube/timedtext.py")
    assert not any(left_out(module) for walk in found for module in walk.files)


def test_the_median_is_neither_short_nor_long() -> None:
    calls = [("a.py", "f", "b.py"), ("b.py", "g", "b.py"), ("a.py", "f", "b.py")]
    some = [Walk(calls[:count], []) for count in (3, 1, 2)]
    assert median(some) is some[2]
    assert (len(some[0].functions), len(some[0].files), some[0].switches) == (2, 2, 2)
