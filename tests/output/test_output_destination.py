"""How an output directory stands to its queue: each case of the table, what is said, and deaths in between."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support import Crash, add, batch, batch_of, dying_at, ids, output_of, print_of, worked

from engine import verify
from engine.cli import invoke
from engine.errors import UsageError
from engine.model import Kind
from engine.output import destination
from engine.output.destination import UNMARKED, Standing, standing
from engine.queue import marker
from engine.queue.directory import Queue
from engine.queue.making import make_queue
from engine.recovery.repair import repair
from engine.settings import Frozen, freeze

pytestmark = pytest.mark.usefixtures("no_fsync")


def as_of_old(queue: Queue) -> None:
    """A queue from before there were ids and markers."""
    shutil.rmtree(os.path.join(output_of(queue), marker.DIR))
    value = queue.read_batch()
    del value["id"]
    queue.write_batch(value)


def _unmark(queue: Queue) -> None:
    shutil.rmtree(os.path.join(output_of(queue), marker.DIR))


def _emptied(queue: Queue) -> None:
    shutil.rmtree(output_of(queue))
    os.mkdir(output_of(queue))


def _moved(queue: Queue) -> None:
    os.rename(output_of(queue), output_of(queue) + ".moved")


def _another(queue: Queue) -> None:
    """A queue that is not this one has its output there."""
    os.rename(output_of(queue), output_of(queue) + ".moved")
    worked(Path(queue.root).parent / "b", 16)
    os.rename(Path(queue.root).parent / "b" / "out", output_of(queue))


def _copied(queue: Queue) -> None:
    shutil.copytree(queue.root, queue.root + ".copy")
    shutil.rmtree(queue.root)
    os.rename(queue.root + ".copy", queue.root)


def both(*harms: Callable[[Queue], None]) -> Callable[[Queue], None]:
    def harm(queue: Queue) -> None:
        for item in harms:
            item(queue)

    return harm


# what was done to it, how it stands with rows that are ok, and without
CASES: dict[str, tuple[Callable[[Queue], None], Standing, Standing]] = {
    "nothing": (lambda queue: None, Standing.OURS, Standing.OURS),
    "not mounted, deleted or moved": (_moved, Standing.GONE, Standing.FRESH),
    "emptied": (_emptied, Standing.GONE, Standing.FRESH),
    "another queue's": (_another, Standing.GONE, Standing.FRESH),
    "the marker gone, the files there": (_unmark, Standing.GONE, Standing.FRESH),
    "the queue a copy": (_copied, Standing.COPIED, Standing.COPIED),
    "of old": (as_of_old, Standing.FRESH, Standing.FRESH),
    "of old, gone": (both(as_of_old, _moved), Standing.GONE, Standing.FRESH),
    "of old, emptied": (both(as_of_old, _emptied), Standing.GONE, Standing.FRESH),
    "of old, copied": (both(as_of_old, _copied), Standing.FRESH, Standing.FRESH),
}


@pytest.mark.parametrize("ok", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_how_it_stands(tmp_path: Path, name: str, ok: bool, capsys: pytest.CaptureFixture[str]) -> None:
    queue = worked(tmp_path, 16, lambda _: "ok" if ok else Kind.PRIVATE)
    harm, with_ok, without = CASES[name]
    harm(queue)
    found = standing(queue, output_of(queue))
    assert found is (with_ok if ok else without)
    if found in (Standing.OURS, Standing.FRESH):
        destination.check(queue, output_of(queue))
        assert invoke(["verify", "-q", queue.root]) == 0
        return
    assert invoke(["verify", "-q", queue.root]) == 2
    assert output_of(queue) in capsys.readouterr().err
    for refused in (lambda: destination.check(queue, output_of(queue)), lambda: repair(queue.root)):
        with pytest.raises(UsageError) as said:
            refused()
        assert output_of(queue) in str(said.value)
        assert queue.root in str(said.value)
        assert "engine verify --repair" in str(said.value)
        assert ("--output-lost" in str(said.value)) == (found is Standing.GONE)


def test_rows_that_only_a_journal_has_count(tmp_path: Path) -> None:
    """Nothing is filed yet, or the checkpoint is gone: what is ok is ok."""
    queue = worked(tmp_path, 16)
    os.unlink(queue.checkpoint)
    os.unlink(queue.manifest)
    assert destination.any_ok(queue)
    assert destination.any_file(queue, output_of(queue))
    assert not destination.any_ok(batch(tmp_path / "fresh", 16))
    _unmark(queue)
    assert standing(queue, output_of(queue)) is Standing.GONE


def test_the_marker_is_durable_before_anything_is_frozen(tmp_path: Path) -> None:
    """Die at any step of a first run's beginning: what is frozen has its marker, and the next one goes on."""

    def begin() -> None:
        destination.claim(queue, out)
        freeze(queue, Frozen(out), frozenset(), relative=True)

    for step in range(100):
        out = str(tmp_path / str(step) / "out")
        queue = make_queue(str(tmp_path / str(step) / "queue"))
        os.mkdir(out)
        with dying_at(step, torn=True):
            try:
                begin()
                break
            except Crash:
                pass
        batch_id = batch_of(queue)
        if queue.read_batch()["frozen"] is not None:
            assert marker.read(out, batch_id) == marker.Note.of(batch_id, queue.root, out), step
        begin()
        assert os.listdir(os.path.join(out, marker.DIR)) == [batch_id], step
        assert standing(queue, out) is Standing.OURS
    assert step > 8


def test_a_queue_of_old_gets_its_id_and_its_marker_whenever_it_dies(tmp_path: Path) -> None:
    made = worked(tmp_path / "made", 16)
    as_of_old(made)
    for step in range(100):
        shutil.copytree(tmp_path / "made", tmp_path / "b")
        queue = Queue(str(tmp_path / "b" / "queue"))
        out = str(tmp_path / "b" / "out")
        value = queue.read_batch()
        queue.write_batch({**value, "frozen": {**value["frozen"], "output": out}})
        with dying_at(step, torn=True):
            try:
                destination.claim(queue, out)
                break
            except Crash:
                pass
        destination.check(queue, out)
        given = batch_of(queue)
        assert destination.claim(queue, out) == batch_of(queue)
        assert given in ("", batch_of(queue)), step
        assert UNMARKED not in queue.read_batch()
        assert os.listdir(os.path.join(out, marker.DIR)) == [batch_of(queue)], step
        _unmark(queue)
        assert standing(queue, out) is Standing.GONE  # from now on it is like any other
        shutil.rmtree(tmp_path / "b")
    assert step > 12


def test_an_output_that_was_moved_is_found_again(tmp_path: Path) -> None:
    queue = worked(tmp_path, 16)
    _moved(queue)
    new = output_of(queue) + ".moved"
    done = repair(queue.root, new)
    assert (done.audit.ok, done.audit.states["ok"]) == (True, 16)
    assert done.did == [f"the output directory is {new}"]
    assert output_of(queue) == marker.output_of(queue) == new
    assert standing(queue, new) is Standing.OURS


def test_only_the_files_that_people_see_were_moved(tmp_path: Path) -> None:
    """`mv out/* new/` leaves what begins with a dot. One file was lost on the way."""
    queue = worked(tmp_path, 16)
    old, new = output_of(queue), str(tmp_path / "new")
    os.mkdir(new)
    for name in os.listdir(old):
        if not name.startswith("."):
            os.rename(os.path.join(old, name), os.path.join(new, name))
    lost = ids(1)[0]
    os.unlink(os.path.join(new, lost[:2], f"{lost}.md"))
    done = repair(queue.root, new)
    assert (done.audit.ok, done.audit.states["ok"], done.audit.states["pending"]) == (True, 15, 1)
    assert not os.path.exists(os.path.join(old, marker.DIR))  # we made it, and it is no longer true
    assert repair(queue.root).did == []


def test_a_copy_that_is_to_go_on_is_told_so(tmp_path: Path) -> None:
    queue = worked(tmp_path, 16)
    copy = Queue(queue.root + ".copy")
    shutil.copytree(queue.root, copy.root)
    with pytest.raises(UsageError, match=f"belongs to the queue {queue.root}"):
        destination.check(copy, output_of(copy))
    with pytest.raises(UsageError, match=r"of which .* is a copy"):
        repair(copy.root, output_of(queue))
    destination.check(queue, output_of(queue))  # nothing was taken from it
    own = str(tmp_path / "own")
    shutil.copytree(output_of(queue), own)
    assert repair(copy.root, own).audit.ok
    assert verify.audit(copy.root).ok
    assert verify.audit(queue.root).ok
    output = output_of(queue)
    os.rename(queue.root, queue.root + ".gone")
    assert repair(copy.root, output).audit.ok


def test_a_queue_brought_back_from_a_copy_goes_on(tmp_path: Path) -> None:
    queue = worked(tmp_path, 16)
    _copied(queue)
    with pytest.raises(UsageError, match="was brought back from a copy: it is not the directory"):
        destination.check(queue, output_of(queue))
    assert repair(queue.root, output_of(queue)).audit.ok
    destination.check(queue, output_of(queue))


def _older(output: str) -> None:
    """The transcripts of an earlier fetch, which the rows say nothing of."""
    for path in Path(output).glob("??/*.json"):
        path.write_bytes(path.read_bytes().replace(b"fetched_at", b"fetched_at "))


def _others(output: str) -> None:
    """The output of another queue with the same videos."""
    shutil.rmtree(output)
    os.rename(output_of(worked(Path(output).parent / "other", 16)), output)


@pytest.mark.parametrize("harm", [_older, _others])
def test_a_directory_whose_files_the_rows_do_not_know_is_not_where_it_was_moved_to(
    tmp_path: Path, harm: Callable[[str], None]
) -> None:
    """Taken for it, all of its files would count as strays: nothing in it, nor in the queue, changes."""
    queue = worked(tmp_path / "one", 16)
    wrong = str(tmp_path / "wrong")
    shutil.copytree(output_of(queue), wrong)
    harm(wrong)
    before = print_of(Path(wrong))
    with pytest.raises(UsageError, match=r"of 16 transcripts .*, 0 lie there"):
        repair(queue.root, wrong)
    assert print_of(Path(wrong)) == before
    assert verify.audit(queue.root).ok


def test_where_nothing_of_it_lies_it_cannot_have_been_moved_to(tmp_path: Path) -> None:
    queue = worked(tmp_path, 16)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"of 16 transcripts .*, 0 lie there"):
        repair(queue.root, str(tmp_path / "empty"))
    with pytest.raises(UsageError, match="no such directory"):
        repair(queue.root, str(tmp_path / "none"))
    fresh = make_queue(str(tmp_path / "fresh"))
    add(fresh, ids(3))
    with pytest.raises(UsageError, match="no run has begun"):
        repair(fresh.root, str(tmp_path / "empty"))
    assert os.listdir(tmp_path / "empty") == []


def test_dying_amid_a_move_is_made_good_by_the_same_again(tmp_path: Path) -> None:
    made = worked(tmp_path / "made", 16)
    _moved(made)
    for step in range(200):
        shutil.copytree(tmp_path / "made", tmp_path / "b")
        queue, new = Queue(str(tmp_path / "b" / "queue")), str(tmp_path / "b" / "out.moved")
        with dying_at(step, torn=True):
            try:
                destination.move(queue, new, relative=False)
                break
            except Crash:
                pass
        destination.move(queue, new, relative=False)
        assert output_of(queue) == new
        assert standing(queue, new) is Standing.OURS, step
        assert os.listdir(os.path.join(new, marker.DIR)) == [batch_of(queue)]
        shutil.rmtree(tmp_path / "b")
    assert step > 8


def test_a_marker_that_cannot_be_read_is_damage_and_is_repaired(tmp_path: Path) -> None:
    queue = worked(tmp_path, 16)
    path = Path(marker.path_of(output_of(queue), batch_of(queue)))
    path.write_bytes(b"\0" * 40)
    assert set(verify.audit(queue.root).totals) == {"unreadable file"}
    done = repair(queue.root)
    assert done.audit.ok
    assert done.did[0].startswith("wrote the marker")
    path.with_name(f".{batch_of(queue)}.01234567.tmp").write_text("half")
    assert set(verify.audit(queue.root).totals) == {"stray temporary file"}
    assert repair(queue.root).audit.ok
