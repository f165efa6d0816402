"""Ids that the user has already: kept in the queue, and skipped when sources are listed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lister_bench import IDS, Bench
from support import damage, every_step

from engine import verify
from engine.cli import invoke
from engine.errors import UsageError
from engine.queue.directory import Queue
from engine.queue.id_index import IdSet
from engine.queue.making import make_queue
from engine.seeding import known_ids

pytestmark = pytest.mark.usefixtures("no_fsync")

ODD = "aaaaaaaaaa1"  # no number stands for it
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
some_ids = st.lists(st.text(ALPHABET, min_size=11, max_size=11), unique=True, max_size=20)


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return make_queue(str(tmp_path / "q"))


def ids_of(*names: str) -> IdSet:
    ids = IdSet()
    for name in names:
        ids.add([name])
    return ids


def unknown(queue: Queue, names: list[str]) -> list[str]:
    kept = known_ids.KnownIds(queue).ids()
    return kept.missing(names) if kept is not None else names


@given(st.lists(some_ids, max_size=4), some_ids)
@settings(max_examples=50, deadline=None)
def test_what_was_kept_is_known_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[str]], others: list[str]
) -> None:
    queue = make_queue(str(tmp_path_factory.mktemp("q")))
    held: set[str] = set()
    for names in batches:
        known_ids.add_known_ids(queue, ids_of(*names))
        held.update(names)
        asked = [*names, *(other for other in others if other not in names)]
        assert unknown(queue, asked) == [name for name in asked if name not in held]
    assert os.path.exists(queue.known) == bool(held)
    assert verify.audit(queue.root).ok


def test_the_same_again_writes_nothing(queue: Queue) -> None:
    known_ids.add_known_ids(queue, ids_of(*IDS[:9], ODD))
    before = os.stat(queue.known)
    known_ids.add_known_ids(queue, ids_of(ODD, IDS[3]))
    assert os.stat(queue.known).st_ino == before.st_ino
    assert before.st_size == known_ids.HEADER_BYTES + 9 * 8 + 12
    assert before.st_mode & 0o777 == 0o600


def test_it_is_read_again_only_when_it_changed(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = known_ids.KnownIds(queue)
    assert kept.ids() is None
    known_ids.add_known_ids(queue, ids_of(IDS[0]))
    first = kept.ids()
    assert first is not None
    assert kept.ids() is first
    known_ids.add_known_ids(queue, ids_of(IDS[1]))
    second = kept.ids()
    assert second is not None
    assert second.missing(IDS[:3]) == [IDS[2]]


@pytest.mark.parametrize("torn", [False, True])
def test_a_death_at_any_step_leaves_the_old_or_the_new(queue: Queue, torn: bool) -> None:
    known_ids.add_known_ids(queue, ids_of(IDS[0]))
    for _, died in every_step(lambda: known_ids.add_known_ids(queue, ids_of(IDS[1])), torn=torn):
        assert unknown(queue, IDS[:2]) in ([IDS[1]], [])
        assert died or unknown(queue, IDS[:3]) == [IDS[2]]


@pytest.mark.parametrize("offset", [0, 7, 9, 20, 64, 70, 136, 147])
def test_damage_is_said_by_all(queue: Queue, offset: int, capsys: pytest.CaptureFixture[str]) -> None:
    known_ids.add_known_ids(queue, ids_of(*IDS[:9], ODD))
    damage(queue.known, offset)
    with pytest.raises(UsageError, match=r"known\.u64 cannot be read .*--skip-known again"):
        known_ids.KnownIds(queue).ids()
    (problem,) = verify.audit(queue.root).problems
    assert problem.where == queue.known
    assert "--skip-known" in problem.detail
    assert invoke(["seed", IDS[0], "-q", queue.root]) == 0, "what needs no known ids is not stopped"


def test_a_cut_one_is_damaged(queue: Queue) -> None:
    known_ids.add_known_ids(queue, ids_of(*IDS[:9], ODD))
    whole = Path(queue.known).read_bytes()
    for length in range(len(whole)):
        Path(queue.known).write_bytes(whole[:length])
        with pytest.raises(UsageError, match="cannot be read"):
            known_ids.KnownIds(queue).ids()


def test_the_lister_adds_none_of_them(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    try:
        known_ids.add_known_ids(bench.queue, ids_of(*IDS[:300:2], *IDS[3000:]))
        bench.site.lists["videos"] = IDS[:300]
        listing = bench.work()
        assert (listing.state, listing.found, listing.added) == ("done", 300, 150)
        assert bench.seeded() == IDS[1:300:2]
        # Named while it is at work: it holds from then on.
        known_ids.add_known_ids(bench.queue, ids_of(IDS[3000]))
        listing.restart()
        bench.site.lists["videos"] = IDS[3000:3001] + IDS[:300]
        bench.lister.work(listing)
        assert bench.seeded() == IDS[1:300:2]
    finally:
        bench.lister.close()


def test_every_command_that_seeds_keeps_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("known.txt").write_text(f"{IDS[0]}\n")
    for args in (["seed", IDS[1]], ["seed", "@handle"], ["rehearse", IDS[1], "-o", "o"]):
        assert invoke([*args, "--skip-known", "known.txt", "-q", f"q{len(args)}{args[1][:1]}"]) == 0
        queue = Queue(f"q{len(args)}{args[1][:1]}")
        assert unknown(queue, IDS[:2]) == [IDS[1]], args
    for args in (["seed", IDS[1], "--dry-run"], ["seed", IDS[1], "--preview", "1"], ["plan", IDS[1]]):
        assert invoke([*args, "--skip-known", "known.txt", "-q", "none"]) == 0
    assert not Path("none").exists()
    # A run that is given nothing to seed has listings that are open.
    assert invoke(["rehearse", IDS[1], "-q", "q", "-o", "other"]) == 0
    assert invoke(["rehearse", "--videos", "0", "--skip-known", "known.txt", "-q", "q", "-o", "other"]) == 0
    assert unknown(Queue("q"), IDS[:2]) == [IDS[1]]
    assert invoke(["seed", IDS[0], "-q", "q"]) == 0
    assert "added 1" in capsys.readouterr().out, "what is given by name is added all the same"
