"""What many failed jobs and many listings cost grows with their number and no faster: counted, not timed."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import Kind, make_queue, worked

from engine.cli import failures as failures_command
from engine.cli import invoke
from engine.cli.display.slow_work import EACH_S, SlowWork
from engine.queue import journal, listings
from engine.queue.directory import Queue
from engine.queue.listings import DONE, Listing
from engine.recovery import requeue
from engine.run.lister import Lister

pytestmark = pytest.mark.usefixtures("no_fsync")

SOME, MANY = 10, 40


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], Counter[str]]:
    """Counts the calls of a function by its name."""
    calls: Counter[str] = Counter()

    def watch(module: Any, name: str) -> Counter[str]:
        real = getattr(module, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            calls[name] += 1
            return real(*args, **kwargs)

        monkeypatch.setattr(module, name, call)
        return calls

    return watch


def listed(root: Path, count: int) -> Queue:
    queue = make_queue(str(root))
    for number in range(count):
        listings.save(queue, Listing(number, f"@channel-{number}", "channel", parts=["videos"]))
    return queue


class Worked(Lister):
    """A lister whose every source is through at once."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self._stop = threading.Event()
        self.done: list[int] = []

    def work(self, listing: Listing) -> None:
        self.done.append(listing.number)
        listing.state, listing.parts = DONE, []
        listings.save(self.queue, listing)
        if listing.number == 3:  # somebody seeds another one meanwhile, and takes one away
            listings.save(self.queue, Listing(1000, "@late", "channel", parts=["videos"]))
            listings.save(self.queue, Listing(5, "@channel-5", "channel", state=DONE))


def test_listing_reads_each_source_a_few_times(
    tmp_path: Path, counted: Callable[[Any, str], Counter[str]]
) -> None:
    calls = counted(listings, "read")
    for count in (SOME, MANY):
        calls.clear()
        lister = Worked(listed(tmp_path / str(count), count))
        lister.run()
        assert lister.done == [number for number in range(count) if number != 5] + [1000]
        assert calls["read"] <= 4 * (count + 1)


def test_looking_again_reads_only_what_has_changed(
    tmp_path: Path, counted: Callable[[Any, str], Counter[str]]
) -> None:
    queue = listed(tmp_path / "q", MANY)
    calls = counted(listings, "read")
    assert listings.summary(queue)["open"] == MANY
    assert calls["read"] == MANY
    for number in range(3):
        state = listings.read(queue, number)
        assert state is not None
        state.state, state.found = DONE, 7
        listings.save(queue, state)
        calls.clear()
        assert listings.summary(queue)["done"] == number + 1
        assert listings.summary(queue)["found"] == 7 * (number + 1)
        assert calls["read"] == 1
    os.unlink(queue.listing(MANY - 1))
    Path(queue.listing(4)).write_bytes(b"{")
    assert listings.summary(queue)["open"] == MANY - 5
    assert listings.summary(queue) == {**listings.summary(queue), "done": 3, "failed": 0}


def test_a_retry_reads_each_journal_a_few_times(
    tmp_path: Path, counted: Callable[[Any, str], Counter[str]]
) -> None:
    lines: dict[int, int] = {}
    whole: list[bool] = []
    steps: list[tuple[str, int, int]] = []
    real = journal.decode

    def decode(line: bytes, *, brief: bool = False) -> Any:
        whole.append(brief)
        return real(line, brief=brief)

    for count in (64, 256):
        queue = worked(tmp_path / str(count), count, lambda _: Kind.TIMEOUT)
        whole.clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(journal, "decode", decode)
            steps.clear()
            assert requeue.retry(queue, on_progress=lambda *args: steps.append(args)) == count
        assert all(whole), "a row was parsed of which only its sort is asked"
        lines[count] = len(whole)
        assert [step for step in steps if step[0] == "put back"][-1] == ("put back", count, count)
        assert steps[-1][1:] == (count, count)
    assert lines[256] <= 4.5 * lines[64]


def test_failures_are_written_many_at_a_time(
    tmp_path: Path, counted: Callable[[Any, str], Counter[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    queue = worked(tmp_path, 1100, lambda _: Kind.TIMEOUT)
    calls = counted(failures_command, "print_lines")
    for form, more in (((), 0), (("--csv",), 1), (("--json",), 0)):
        calls.clear()
        assert invoke(["failures", "-q", queue.root, *form]) == 0
        assert len(capsys.readouterr().out.splitlines()) == 1100 + more
        assert calls["print_lines"] == 3


def test_words_about_slow_work(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    told = SlowWork("jobs", lambda: now[0])
    for number in range(1, 101):
        now[0] += EACH_S / 20
        told("put back", number * 1000, 100_000)
    said = capsys.readouterr().err.splitlines()
    assert 3 <= len(said) <= 5, "not at once, and only now and then"
    assert said[0].startswith("put back 2")
    assert said[0].endswith(",000 of 100,000 jobs …")
    assert list(told.over("listed", "abc")) == ["a", "b", "c"]
