"""Repairing: damage is undone where segments and journals allow it, and everything is reported."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from queue_damages import DAMAGES
from support import (
    OK,
    Crash,
    Hand,
    batch,
    damage,
    dying_at,
    file_rows,
    finish,
    ids,
    output_of,
    some_fail,
    states,
    worked,
)

from engine import verify
from engine.cli import invoke
from engine.errors import HeldError, UsageError
from engine.model import Kind
from engine.monitor import status
from engine.queue.directory import Queue, chunks_in, deferred_chunks
from engine.recovery.repair import repair
from engine.recovery.startup import recover
from engine.storage.locks import take_or_say_who

pytestmark = pytest.mark.usefixtures("no_fsync")

# Nothing but a copy brings these back, or they are not this engine's to remove.
LEFT = {
    "batch unreadable",
    "journal of no chunk",
    "segment gone",
    "segment header damaged",
    "segment lost a line",
    "segment line damaged",
    "segment names an id twice",
    "job in two segments",
    "input changed",
    "no token",
    "pending back to front",
}


def _rows(queue: Queue) -> dict[str, dict[str, object]]:
    with open(queue.manifest, encoding="utf-8") as file:
        return {row["video_id"]: row for row in map(json.loads, file)}


@pytest.mark.parametrize("name", DAMAGES)
def test_each_damage_is_undone_or_said(tmp_path: Path, name: str) -> None:
    queue = worked(tmp_path, 40, lambda video: Kind.NETWORK if video in ids(6, 3) else OK)
    before = _rows(queue)
    DAMAGES[name][0](queue)
    done = repair(queue.root)
    assert done.audit.ok is (name not in LEFT), (done.did, done.audit.text())
    assert done.audit.totals == verify.audit(queue.root).totals
    if not done.audit.ok:
        assert DAMAGES[name][1] in done.audit.totals
        return
    assert done.did
    again = repair(queue.root)
    assert (again.did, again.audit.ok) == ([], True)
    finish(queue, lambda video: Kind.NETWORK if video in ids(6, 3) else OK)
    found = verify.audit(queue.root)
    assert (found.problems, found.states["pending"]) == ([], 0)
    after = _rows(queue)
    kept = {video_id for video_id, row in after.items() if row["kind"] == "kept"}
    assert len(kept) == (name == "file is a link")  # no engine made that, so it stays
    assert {video_id: row["kind"] for video_id, row in after.items() if video_id in before} == {
        video_id: "kept" if video_id in kept else row["kind"] for video_id, row in before.items()
    }


def _half(root: Path, chunk: int = 16) -> Queue:
    """Chunk 0 filed, 1 done, 2 held by a dead worker and not promised, 3 waits, 4 pending; segment 1 pending."""
    queue = batch(root, 10 * chunk, segments=2)
    hand = Hand(queue, lambda name: 900.0 if name in ids(1, 3 * chunk) else some_fail(name))
    hand.work(1)
    file_rows(queue)
    hand.work(1)
    hand.work(1, sync=False, move=False)
    hand.work(1)
    hand.output.close()
    hand.die()
    return queue


def _empty(*names: str) -> Callable[[Queue], None]:
    """Remove all files in these directories of a queue, or these files."""

    def harm(queue: Queue) -> None:
        for name in names:
            path = Path(queue.path(name))
            for file in [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]:
                file.unlink()

    return harm


def _cut_manifest(queue: Queue) -> None:
    os.truncate(queue.manifest, os.path.getsize(queue.manifest) // 2)


def _swap_tokens(queue: Queue) -> None:
    """The token of a filed chunk and that of a pending one in each other's place."""
    filed, pending = (chunks_in(directory, 0)[0].token for directory in (queue.filed(0), queue.pending(0)))
    os.rename(os.path.join(queue.filed(0), filed), os.path.join(queue.pending(0), filed))
    os.rename(os.path.join(queue.pending(0), pending), os.path.join(queue.filed(0), pending))


def _lose_files(queue: Queue) -> None:
    """One file of each chunk that has been worked on is gone, another one is changed."""
    for state in states(queue).values():
        rows = [
            job_state.final
            for job_state in state.jobs.values()
            if job_state.final and job_state.final["status"] == "ok"
        ]
        os.unlink(os.path.join(output_of(queue), rows[0]["files"]["md"]))
        damage(os.path.join(output_of(queue), rows[1]["files"]["json"]), 5)


HALF_DONE = {
    "all tokens": _empty("pending", "deferred", "done", "filed"),
    "filed tokens and the manifest": _empty("filed", "manifest.jsonl"),
    "manifest": _empty("manifest.jsonl"),
    "manifest, half": _cut_manifest,
    "checkpoint": _empty("checkpoint.json"),
    "caches": _empty("ids"),
    "status": _empty("status.json"),
    "tokens swapped": _swap_tokens,
    "files": _lose_files,
    "all that can be derived": _empty(
        "pending", "deferred", "done", "filed", "manifest.jsonl", "checkpoint.json", "ids", "status.json"
    ),
}


@pytest.mark.parametrize("name", HALF_DONE)
def test_a_half_done_batch_goes_on(tmp_path: Path, name: str) -> None:
    queue = _half(tmp_path)
    HALF_DONE[name](queue)
    lost = name == "files"
    done = repair(queue.root)
    assert done.audit.problems == []
    assert done.did
    assert all(os.path.exists(path) for path in (queue.status, queue.manifest, queue.ids(0), queue.ids(1)))
    assert os.listdir(queue.workers) == []
    assert done.audit.states["deferred"] == 1
    assert sum(done.audit.states.values()) == 160
    assert done.audit.states["pending"] == 96 + lost * 8
    assert repair(queue.root).did == []
    finish(queue, some_fail)
    found = verify.audit(queue.root)
    assert (found.problems, found.rows, found.states["deferred"]) == ([], 159, 1)


def test_nothing_is_done_where_nothing_is_wrong(tmp_path: Path) -> None:
    queue = worked(tmp_path, 40, some_fail, segments=2)
    before = {path: path.read_bytes() for path in Path(queue.root).rglob("*") if path.is_file()}
    done = repair(queue.root)
    assert (done.did, done.audit.ok) == ([], True)
    assert {path: path.read_bytes() for path in Path(queue.root).rglob("*") if path.is_file()} == {
        **before,
        **{Path(lock): b"" for lock in (queue.run_lock, queue.monitor_lock, queue.seed_lock)},
    }
    assert next(iter(done.lines())) == "nothing was repaired: all is well"
    fresh = batch(tmp_path / "b", 20)
    assert repair(fresh.root).audit.states["pending"] == 20


def test_a_finished_batch_is_finished_without_another_run(tmp_path: Path) -> None:
    queue = worked(tmp_path, 40, some_fail, segments=2)
    before = _rows(queue)
    _empty("filed", "manifest.jsonl", "checkpoint.json", "status.json")(queue)
    assert repair(queue.root).audit.ok
    assert _rows(queue) == before
    assert status.finished(queue)
    assert status.collect(queue.root)["state"] == "finished"


def test_it_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    queue = worked(tmp_path, 40)
    os.unlink(os.path.join(output_of(queue), ids(1)[0][:2], f"{ids(1)[0]}.md"))
    _empty("ids")(queue)
    assert invoke(["verify", "-q", queue.root]) == 14
    capsys.readouterr()
    assert invoke(["verify", "-q", queue.root, "--repair", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] is True
    assert said["repaired"][0] == f"reopened {ids(1)[0]}: its row or its files are wrong"
    assert any("cache" in sentence for sentence in said["repaired"])
    assert f"removed {output_of(queue)}/{ids(1)[0][:2]}/{ids(1)[0]}.json" in said["repaired"]
    damage(queue.segment(0), 1)
    assert invoke(["verify", "-q", queue.root, "--repair"]) == 14
    assert "nothing here can be" in capsys.readouterr().out


def test_many_deeds_are_counted(tmp_path: Path) -> None:
    queue = worked(tmp_path, 480, lambda name: Kind.PRIVATE, segments=4)
    _empty("filed")(queue)
    did = repair(queue.root).did
    assert sum("made the token" in sentence for sentence in did) == 20
    assert "… and 12 more of the sort: token" in did


def test_an_intent_to_retry_that_cannot_be_read_goes(tmp_path: Path) -> None:
    queue = worked(tmp_path, 40, some_fail)
    Path(queue.retry).write_text('{"chunks": {"x": 1}}')
    done = repair(queue.root)
    assert done.did[0].startswith("removed retry.json")
    assert done.audit.ok


def test_journals_of_two_chunks_in_each_others_place(tmp_path: Path) -> None:
    queue = worked(tmp_path, 40)
    one, other = (os.path.join(queue.journal_dir(0), f"{k}.jsonl") for k in (0, 1))
    os.rename(one, one + "x")
    os.rename(other, one)
    os.rename(one + "x", other)
    done = repair(queue.root)
    assert done.audit.ok
    assert done.audit.states["pending"] == 32
    finish(queue)
    assert verify.audit(queue.root).rows == 40


def test_a_journal_keeps_the_lines_that_are_its_own(tmp_path: Path) -> None:
    queue = worked(tmp_path, 40)
    before = _rows(queue)
    DAMAGES["journal names a stranger"][0](queue)
    DAMAGES["try with an odd number"][0](queue)
    done = repair(queue.root)
    assert done.did[0] == "removed 2 line(s) that do not belong there from journal/000000/0.jsonl"
    assert (done.audit.ok, done.audit.states["ok"], done.audit.rows) == (True, 40, 24)
    finish(queue, lambda name: Kind.BLOCKED)
    assert _rows(queue) == before


def test_an_output_directory_that_is_gone_is_not_fetched_again(tmp_path: Path) -> None:
    queue = worked(tmp_path, 40)
    os.rename(output_of(queue), output_of(queue) + ".moved")
    with pytest.raises(UsageError, match="not mounted"):
        repair(queue.root)
    os.mkdir(output_of(queue))
    with pytest.raises(UsageError, match="not mounted"):
        repair(queue.root)
    os.rmdir(output_of(queue))
    os.rename(output_of(queue) + ".moved", output_of(queue))
    assert repair(queue.root).did == []


def test_a_job_that_is_opened_again_is_due(tmp_path: Path) -> None:
    """Its chunk waits a quarter of an hour for another job."""
    queue = batch(tmp_path, 16)
    hand = Hand(queue, lambda name: 900.0 if name in ids(1) else OK)
    hand.work(1)
    hand.close()
    file_rows(queue)
    os.unlink(os.path.join(output_of(queue), ids(1, 5)[0][:2], f"{ids(1, 5)[0]}.md"))
    assert repair(queue.root).audit.states == {
        "pending": 1,
        "deferred": 1,
        "ok": 14,
        "absent": 0,
        "failed": 0,
    }
    assert [when for when, _, _ in deferred_chunks(queue)] == [0]


def test_tokens_that_are_written_otherwise_go(tmp_path: Path) -> None:
    queue = worked(tmp_path, 16)
    for path in (queue.pending(0) + "/00.41.4", queue.deferred + "/0~000000.01.41.4"):
        Path(path).touch()
    assert set(verify.audit(queue.root).totals) == {"stray token"}
    done = repair(queue.root)
    assert (len(done.did), done.audit.ok) == (2, True)


def test_files_of_others_stay(tmp_path: Path) -> None:
    queue = worked(tmp_path, 16)
    mine = [Path(output_of(queue), name) for name in ("notes.tmp", "zz/zzzzzzzzzzz.md", "readme")]
    mine += [Path(queue.pending(0), "letter"), Path(queue.path("segments"), "letter")]
    for path in mine:
        path.parent.mkdir(exist_ok=True)
        path.write_text("words")
    assert repair(queue.root).audit.ok  # which says that they are there
    assert all(path.read_text() == "words" for path in mine)


def test_not_beside_a_run_a_monitor_a_seeding_or_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.recovery.exclusive.LEAVE_S", -1.0)
    queue = worked(tmp_path, 16)
    for path in (queue.run_lock, queue.monitor_lock, queue.seed_lock):
        with take_or_say_who(path, "run"), pytest.raises(HeldError):
            repair(queue.root)
    hand = Hand(queue)
    with pytest.raises(HeldError, match="worker"):
        repair(queue.root)
    hand.close()
    assert repair(queue.root).audit.ok


def _everything(queue: Queue) -> None:
    """Damage of each sort that a repair has a step for."""
    _lose_files(queue)
    _swap_tokens(queue)
    _cut_manifest(queue)
    _empty("ids", "deferred")(queue)
    DAMAGES["journal names a stranger"][0](queue)
    DAMAGES["leftover in tmp"][0](queue)
    with open(os.path.join(queue.filed(0), "0.41"), "w"):
        pass


EVERY = [pytest.param(torn, range(400), marks=pytest.mark.long) for torn in (False, True)]


@pytest.mark.parametrize(("torn", "at"), [(False, range(0, 400, 8)), (True, range(4, 400, 8)), *EVERY])
def test_dying_at_any_step_is_repaired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torn: bool, at: range
) -> None:
    """Die at a step, repair again: it comes to what one repair comes to. Now and then a run comes next."""
    monkeypatch.setattr("engine.seeding.seed.chunk_size", lambda jobs, cores: 4)
    queue = _half(tmp_path / "b", 4)
    _everything(queue)
    shutil.copytree(tmp_path / "b", tmp_path / "kept")

    def fresh() -> None:
        if not (
            tmp_path / "first"
        ).exists():  # it stays: the inodes that the marker names must not be given again
            os.rename(tmp_path / "b", tmp_path / "first")
        else:
            shutil.rmtree(tmp_path / "b")
        shutil.copytree(tmp_path / "kept", tmp_path / "b")

    repair(queue.root)
    wanted = verify.audit(queue.root)
    assert wanted.ok
    rows = _rows(queue)
    for number, step in enumerate(at):
        fresh()
        with dying_at(step, torn=torn):
            try:
                repair(queue.root)
                break
            except Crash:
                pass
        if number % 3 == 2:  # a run comes first: it need not mend all of it, and nothing is lost by it
            recover(queue)
            finish(queue, some_fail)
            assert repair(queue.root).audit.problems == [], step
            finish(queue, some_fail)
            found = verify.audit(queue.root)
            assert (found.problems, found.rows) == ([], 39), step
            continue
        again = repair(queue.root)
        assert again.audit.problems == [], step
        assert again.audit.states == wanted.states, step
        assert _rows(queue) == rows, step
    assert 80 < step < 390


def test_what_an_interrupted_repair_opened_is_fetched_by_the_next_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is wrong but some files of filed chunks. A repair dies; then a run, and no second repair."""
    monkeypatch.setattr("engine.seeding.seed.chunk_size", lambda jobs, cores: 4)
    template = worked(tmp_path / "b", 12)
    _lose_files(template)
    os.rename(tmp_path / "b", tmp_path / "kept")
    opened = 0
    for step in range(0, 200, 3):
        queue = Queue(str(tmp_path / "b" / "queue"))
        shutil.copytree(tmp_path / "kept", tmp_path / "b")
        with dying_at(step):
            try:
                repair(queue.root)
                break
            except Crash:
                pass
        folded = states(queue)
        again = {
            name
            for path in folded
            for name, job_state in folded[path].jobs.items()
            if job_state.final is None
        }
        recover(queue)
        file_rows(queue)  # a run's monitor follows from the start
        finish(queue)
        bad = {os.path.basename(problem.where)[:11] for problem in verify.audit(queue.root).problems}
        assert not again & bad, step
        opened += bool(again)
        shutil.rmtree(tmp_path / "b")
    assert opened > 3
