"""Output directories that are shared, gone, moved or copied, with the real command; and one that goes amid a run."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import recount
from commands import Batch, Ended, kinds, videos
from nights import Place, played

pytestmark = pytest.mark.timeout(300)  # waiting for a night included

SEED = 11


def tree(root: Path) -> dict[str, bytes]:
    """Every file below a directory, but markers."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.parent.name != recount.MARKERS
    }


def shared(place: Place) -> dict[str, Any]:
    """Three queues over one output directory: the first archives; for the second all are private; the third would
    write the same videos, and one that the first has not."""
    ids = videos(4, SEED)
    site = place.stand_in(seed=SEED)
    first = place.batch(ids[:3], site, "first")
    private = place.batch(ids[:3], place.stand_in(seed=SEED, scenarios=("private=1",)), "private")
    third = place.batch(ids, site, "third")
    told: dict[str, Any] = {"ids": ids, "codes": [first.run("-p", "1").code]}
    there = tree(first.out)
    for batch in (private, third):
        ended = batch.run("-p", "1", "-o", first.out)
        told["codes"].append(ended.code)
    told["said"] = [ended.err, *(third.does(each).said for each in ("failures", "status", "report"))]
    told["retried"] = third.does("retry", "--kind", "kept").err
    told["again"] = third.run("-p", "1", "-o", first.out).code
    told["same"] = {name: data for name, data in tree(first.out).items() if name in there} == there
    told["kinds"] = [kinds(batch.rows()) for batch in (first, private, third)]
    told["messages"] = {name: row["message"] for name, row in third.rows().items()}
    told["verified"] = [batch.does("verify").code for batch in (first, private, third)]
    told["replaced"] = third.run("-p", "1", "-o", first.out, "--replace").code
    told["after"] = kinds(third.rows())
    told["markers"] = len(os.listdir(first.out / recount.MARKERS))
    return told


@played(shared)
def test_what_another_queue_wrote_stays_until_replace_is_given(night: dict[str, Any]) -> None:
    ids = night["ids"]
    assert night["codes"] == [0, 0, 3]
    assert night["same"], "files of the first queue were removed or changed"
    first, private, third = night["kinds"]
    assert set(first.values()) == {None}
    assert set(private.values()) == {"private"}
    assert third == {**dict.fromkeys(ids[:3], "kept"), ids[3]: None}
    assert f"{ids[0][:2]}/{ids[0]}.json" in night["messages"][ids[0]]
    assert "another queue wrote into" in night["said"][0], "it is known at the start"
    for said in night["said"]:
        assert "--replace" in " ".join(said.split()) and "NEW" in said, said
    assert "3 videos have a transcript in" in night["said"][0]
    assert "--replace" in night["retried"], "a retry alone would end the same"
    assert night["again"] == 3
    assert night["verified"] == [0, 0, 0]
    assert (night["replaced"], set(night["after"].values()), night["markers"]) == (0, {None}, 3)


def moved_about(place: Place) -> dict[str, Any]:
    """A batch that was stopped half way; then its output directory, its queue or both go places."""
    batch = place.batch(videos(12, SEED), place.stand_in(seed=SEED), "one")
    told: dict[str, Any] = {"begun": batch.run("-p", "1", "--limit", "5").code}
    copy = place.root / "copied"
    shutil.copytree(batch.root, copy)
    told["copy"] = Batch(copy, batch.site, batch.ids).run("-p", "1", "-o", batch.out)
    os.rename(batch.out, place.root / "moved")
    told["gone"] = [batch.run("-p", "1"), batch.does("verify"), batch.does("verify", "--repair")]
    told["made"] = batch.out.exists()
    told["repaired"] = batch.does("verify", "--repair", "-o", place.root / "moved")
    told["finished"] = batch.run("-p", "1", "-o", place.root / "moved").code
    shutil.rmtree(place.root / "moved")
    (place.root / "moved").mkdir()
    told["emptied"] = batch.run("-p", "1", "-o", place.root / "moved")
    told["lost"] = batch.run("-p", "1", "-o", place.root / "moved", "--output-lost")
    told["rows"] = kinds(batch.rows())
    recount.check_files(batch.queue, place.root / "moved")
    told["paths"] = (str(batch.queue), str(batch.out), str(place.root / "moved"), str(copy / "queue"))
    return told


@played(moved_about)
def test_an_output_directory_that_is_not_there_is_said_and_not_made(night: dict[str, Any]) -> None:
    queue, out, moved, copy = night["paths"]
    for ended in night["gone"]:
        assert (ended.code, out in ended.err, queue in ended.err) == (2, True, True), ended.said
    assert not night["made"]
    assert (night["repaired"].code, night["finished"]) == (0, 0), night["repaired"].said
    assert (night["emptied"].code, moved in night["emptied"].err) == (2, True), night["emptied"].said
    assert night["lost"].code == 0, night["lost"].said
    assert "12 videos will be fetched again" in night["lost"].err
    assert set(night["rows"].values()) == {None}
    assert (night["copy"].code, copy in night["copy"].err, queue in night["copy"].err) == (2, True, True)


def amid(place: Place) -> tuple[Batch, Ended, list[str]]:
    """The output directory is taken away from under a run, and an empty one put in its place."""
    batch = place.batch(videos(300, SEED), place.stand_in(seed=SEED, latency_s=0.2))
    with batch.start("-p", "2", "-t", "2") as run:
        batch.seen(20)
        os.rename(batch.out, place.root / "away")
        batch.out.mkdir()
        ended = run.wait(60.0)
        batch.gone(run)
    return batch, ended, os.listdir(batch.out)


@played(amid)
def test_an_output_directory_that_goes_amid_a_run_ends_it(night: tuple[Batch, Ended, list[str]]) -> None:
    batch, ended, left = night
    assert ended.code == 13, ended.said
    assert str(batch.out) in ended.err
    assert "Traceback" not in ended.said
    assert left == []
    away = batch.root.parent / "away"
    for row in recount.folded(batch.queue).values():
        for name in row["files"].values():
            assert (away / name).exists(), name
    again = batch.run()
    assert (again.code, str(batch.out) in again.err) == (2, True), again.said
    batch.out.rmdir()
    os.rename(away, batch.out)
    assert batch.run().code == 0
    batch.clean()
    assert json.loads((batch.queue / "batch.json").read_bytes())["frozen"]["output"] == str(batch.out)
