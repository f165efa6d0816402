"""An output directory that is gone for good: what was ok is put back, whatever step a crash interrupts."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from support import OK, Crash, batch_of, dying_at, file_rows, finish, ids, output_of, some_fail, worked

from engine import verify
from engine.model import Kind
from engine.output import destination
from engine.output.destination import Standing, standing
from engine.queue.directory import Queue
from engine.recovery.lost_output import put_kept_back, put_lost_back
from engine.storage.locks import take_or_say_who

pytestmark = pytest.mark.usefixtures("no_fsync")


def gone(queue: Queue) -> None:
    shutil.rmtree(output_of(queue))
    os.mkdir(output_of(queue))


def put_back(queue: Queue) -> int:
    with take_or_say_who(queue.run_lock, "run"):
        count = put_lost_back(queue, output_of(queue))
        destination.claim(queue, output_of(queue))
        return count


def test_what_was_ok_is_fetched_again_and_the_rest_stays(tmp_path: Path) -> None:
    queue = worked(tmp_path, 40, some_fail)
    before = verify.audit(queue.root).states
    gone(queue)
    assert put_back(queue) == before["ok"]
    states = verify.audit(queue.root).states
    assert states == {**before, "ok": 0, "pending": before["ok"]}
    finish(queue, some_fail)
    found = verify.audit(queue.root)
    assert (found.problems, found.states) == ([], before)


@pytest.mark.parametrize("missing", ["checkpoint.json", "manifest.jsonl"])
def test_also_when_nothing_says_which_rows_there_are(tmp_path: Path, missing: str) -> None:
    queue = worked(tmp_path, 40, some_fail)
    before = verify.audit(queue.root).states
    gone(queue)
    os.unlink(queue.path(missing))
    assert put_back(queue) == before["ok"]
    file_rows(queue)
    assert verify.audit(queue.root).problems == []


def test_what_is_still_there_is_not_fetched_again(tmp_path: Path) -> None:
    queue = worked(tmp_path, 16)
    keep = ids(2)
    saved = {name: (Path(output_of(queue)) / name[:2] / f"{name}.json").read_bytes() for name in keep}
    texts = {name: (Path(output_of(queue)) / name[:2] / f"{name}.md").read_bytes() for name in keep}
    gone(queue)
    for name in keep:
        (Path(output_of(queue)) / name[:2]).mkdir(exist_ok=True)
        (Path(output_of(queue)) / name[:2] / f"{name}.json").write_bytes(saved[name])
        (Path(output_of(queue)) / name[:2] / f"{name}.md").write_bytes(texts[name])
    assert put_back(queue) == 14


def test_dying_at_any_step_leaves_a_queue_that_says_so_or_goes_on(tmp_path: Path) -> None:
    made = worked(tmp_path / "made", 16, some_fail)
    states = verify.audit(made.root).states
    gone(made)
    told = 0
    for step in range(0, 400, 3):
        shutil.copytree(tmp_path / "made", tmp_path / "b")
        queue = Queue(str(tmp_path / "b" / "queue"))
        out = str(tmp_path / "b" / "out")
        value = queue.read_batch()
        queue.write_batch({**value, "frozen": {**value["frozen"], "output": out}})
        with dying_at(step):
            try:
                put_back(queue)
                break
            except Crash:
                pass
        if standing(queue, out) is Standing.GONE:
            told += 1
            put_back(queue)
        assert standing(queue, out) in (Standing.OURS, Standing.FRESH)
        destination.claim(queue, out)
        with take_or_say_who(queue.run_lock, "run"):
            put_kept_back(queue)  # as any start does: what was cut off is finished
        finish(queue, some_fail)
        found = verify.audit(queue.root)
        assert (found.problems, found.states) == ([], states), step
        shutil.rmtree(tmp_path / "b")
    assert told > 3


def test_what_ended_kept_is_put_back_alone(tmp_path: Path) -> None:
    fates = {ids(1)[0]: Kind.KEPT, ids(2)[1]: Kind.NETWORK}
    queue = worked(tmp_path, 16, lambda name: fates.get(name, OK))
    with take_or_say_who(queue.run_lock, "run"):
        assert put_kept_back(queue) == 1
        assert put_kept_back(queue) == 0
    found = verify.audit(queue.root)
    assert (found.problems, found.states["failed"], found.states["pending"]) == ([], 1, 1)
    assert batch_of(queue)
