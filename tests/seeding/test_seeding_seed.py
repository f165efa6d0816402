"""Seeding: each id once, whatever dies when, and beside workers that claim."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from patience import ends
from support import Crash, Hand, add, batch, dying_at, finish, ids, lines

from engine import verify
from engine.errors import HeldError, UsageError
from engine.inputs import Line
from engine.queue.directory import Queue, chunks_in
from engine.queue.id_index import QueueIds
from engine.queue.making import make_queue
from engine.queue.segments import encode_segment, read_ids
from engine.seeding.seed import Seeding, publish_unfinished, seed
from engine.storage.locks import take_or_say_who

pytestmark = pytest.mark.usefixtures("no_fsync")


def held(queue: Queue) -> list[str]:
    return [name for segment in queue.segments() for name in read_ids(queue.segment(segment))]


def _list(path: Path, names: list[str]) -> str:
    path.write_text("".join(name + "\n" for name in names))
    return str(path)


def test_twice_adds_nothing(tmp_path: Path) -> None:
    queue = make_queue(str(tmp_path / "q"))
    source = _list(tmp_path / "list.txt", ids(50))
    first = seed(queue, [source])
    again = seed(queue, [source])
    assert (first.read, first.added, first.duplicate, first.rejected) == (50, 50, 0, 0)
    assert (again.read, again.added, again.duplicate, again.rejected) == (50, 0, 50, 0)
    assert held(queue) == ids(50)


def test_what_is_read_is_added_duplicate_or_rejected(tmp_path: Path) -> None:
    queue = make_queue(str(tmp_path / "q"))
    add(queue, ids(10))
    source = _list(tmp_path / "list.txt", [*ids(20), *ids(5), "nonsense!", *ids(5, 20)])
    got = seed(queue, [source])
    assert (got.added, got.duplicate, got.rejected) == (15, 15, 1)
    assert got.read == got.added + got.duplicate + got.rejected
    with open(queue.rejects, encoding="utf-8") as file:
        assert "nonsense!" in file.read()


def test_the_first_of_two_keeps_its_columns(tmp_path: Path) -> None:
    queue = make_queue(str(tmp_path / "q"))
    name = ids(1)[0]
    with take_or_say_who(queue.seed_lock, "seeding"):
        Seeding(queue).add(Line("f", 1, name, name, {"n": n}, None) for n in range(3))
    with open(queue.segment(0), encoding="utf-8") as file:
        assert file.readlines()[1:] == [f'{{"id": "{name}", "input": {{"n": 0}}}}\n']


def test_what_was_read_before_an_error_is_seeded(tmp_path: Path) -> None:
    queue = make_queue(str(tmp_path / "q"))
    with pytest.raises(UsageError):
        seed(queue, [_list(tmp_path / "list.txt", ids(5)), str(tmp_path / "missing.txt")])
    assert held(queue) == ids(5)


def test_odd_ids_stay_distinct(tmp_path: Path) -> None:
    """The last character of a real id carries four bits; others differ only in the two that are lost."""
    queue = make_queue(str(tmp_path / "q"))
    alike = [f"AAAAAAAAAA{last}" for last in "ABCDEFGH"] + ["-_-_-_-_-_A", "___________", "-----------"]
    for _ in range(2):
        add(queue, alike)
        assert sorted(held(queue)) == sorted(alike)
    add(queue, ["AAAAAAAAAAI", *alike])
    assert sorted(held(queue)) == sorted(["AAAAAAAAAAI", *alike])


@pytest.mark.parametrize("harm", ["gone", "short", "odd gone", "long"])
def test_the_cache_is_made_again(tmp_path: Path, harm: str) -> None:
    queue = make_queue(str(tmp_path / "q"))
    names = [*ids(20), "AAAAAAAAAAB"]
    add(queue, names)
    path = queue.ids(0)
    if harm == "gone":
        os.unlink(path)
    elif harm == "odd gone":
        os.unlink(path + ".odd")
    else:
        os.truncate(path, 8 * (5 if harm == "short" else 500))
    assert QueueIds(queue).missing(names) == []
    add(queue, [*names, *ids(2, 20)])
    assert sorted(held(queue)) == sorted([*names, *ids(2, 20)])


def test_many_segments_are_searched(tmp_path: Path) -> None:
    queue = make_queue(str(tmp_path / "q"))
    for number in range(12):
        add(queue, ids(7, 5 * number))
    assert sorted(held(queue)) == sorted(ids(62))
    assert QueueIds(queue).missing(ids(70)) == ids(8, 62)


def test_several_segments_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.seeding.seed.SEGMENT_JOBS", 20)
    queue = make_queue(str(tmp_path / "q"))
    add(queue, [*ids(50), *ids(30)])
    assert held(queue) == ids(50)
    assert [header.jobs for header in map(queue.header, queue.segments())] == [20, 20, 10]
    assert verify.audit(queue.root).ok


@pytest.mark.parametrize("torn", [False, True])
def test_a_death_at_any_step_and_seeding_again(tmp_path: Path, torn: bool) -> None:
    queue = make_queue(str(tmp_path / "q"))
    for step in range(1000):
        names = ids(40, 40 * step)
        with dying_at(step, torn=torn):
            try:
                add(queue, names)
                break
            except Crash:
                pass
        before = held(queue)
        assert len(set(before)) == len(before), step
        assert not set(before) & set(names) or set(names) <= set(before), step
        add(queue, names)
        assert len(held(queue)) == len(set(held(queue))) == 40 * (step + 1), step
    assert step > 20
    assert sum(
        len(chunks_in(queue.pending(header.segment), header.segment))
        for header in map(queue.header, queue.segments())
    ) == sum(header.chunks for header in map(queue.header, queue.segments()))
    assert len(queue.segments()) < 20
    found = verify.audit(queue.root)
    assert set(found.totals) <= {"stray temporary file"}
    assert found.jobs == 40 * (step + 1)


def test_a_segment_left_unpublished_is_kept_by_the_next_seeding(tmp_path: Path) -> None:
    queue = batch(tmp_path, 20)
    with open(queue.segment(1), "wb") as file:
        file.write(encode_segment(1, ((name, {}) for name in ids(20, 20)), 20, 16))
    add(queue, ids(20, 30))
    assert held(queue) == ids(50)
    assert verify.audit(queue.root).problems == []


def test_publishing_what_is_published_does_nothing(tmp_path: Path) -> None:
    queue = batch(tmp_path, 20)
    before = sorted(os.walk(queue.root))
    publish_unfinished(queue)
    assert sorted(os.walk(queue.root)) == before


def test_beside_a_worker_that_claims(tmp_path: Path) -> None:
    queue = batch(tmp_path, 16)
    over = threading.Event()

    def work() -> None:
        hand = Hand(queue)
        while not over.is_set() or chunks:
            chunks[:] = [chunk for s in queue.segments() for chunk in chunks_in(queue.pending(s), s)]
            hand.work(3)
        hand.work()
        hand.close()

    chunks = [True]  # type: ignore[list-item]
    worker = threading.Thread(target=work)
    worker.start()
    for number in range(1, 10):
        add(queue, ids(40, 40 * number - 24))
    over.set()
    ends(worker)
    finish(queue)
    found = verify.audit(queue.root)
    assert (found.problems, found.rows) == ([], 16 + 9 * 40)


def test_two_seedings_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = make_queue(str(tmp_path / "q"))
    source = _list(tmp_path / "list.txt", ids(30))
    threads = [threading.Thread(target=lambda: seed(queue, [source])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        ends(thread)
    assert held(queue) == ids(30)
    monkeypatch.setattr("engine.seeding.seed.SEED_WAIT_S", 0.0)
    with take_or_say_who(queue.seed_lock, "seeding"), pytest.raises(HeldError):
        seed(queue, [source])


def test_the_lock_is_free_after_an_error(tmp_path: Path) -> None:
    queue = make_queue(str(tmp_path / "q"))
    with pytest.raises(Crash), dying_at(3):
        add(queue, ids(20))
    add(queue, ids(20))  # it does not wait for a lock, it says who has it
    assert next(lines(ids(1))).video_id == held(queue)[0]
