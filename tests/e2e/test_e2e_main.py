"""The main job: a list goes in, each video comes out exactly once, and its files are what its row says."""

from __future__ import annotations

import json
import random

import pytest
import recount
import yaml
from commands import expected_kinds, kinds
from main_job import ABSENT, SEED, Undisturbed, undisturbed

from engine.rehearsal import invent
from engine.worker.unconfirmed import ASKED_AGAIN

CONTROLS = 12  # one an egress and minute, and the minutes of tests are short


def asked_again(main: Undisturbed) -> set[str]:
    """Videos asked for more often than their rows say: without captions, before anything had shown any."""
    return {name for name, row in main.rows.items() if row["requests"] != main.requests[name]}


def check(main: Undisturbed, count: int) -> None:
    assert main.ended.code == 0, main.ended.said
    batch, rows = main.batch, main.rows
    assert len(recount.manifest(batch.queue)) == count
    assert kinds(rows) == expected_kinds(batch.ids, ABSENT, SEED)
    absent = [row for row in rows.values() if row["kind"]]
    assert 0.015 < len(absent) / count < 0.05
    assert {row["status"] for row in absent} == {"absent"}
    spoilt = sum(row["attempts"] > 1 for row in rows.values()) / count
    assert 0.02 < spoilt < 0.08
    again = asked_again(main)
    assert {rows[name]["kind"] for name in again} <= {"no_captions", None}  # None: it was the control video
    assert len(again) <= ASKED_AGAIN * 4 + CONTROLS
    assert all(main.requests[name] > rows[name]["requests"] for name in again)
    batch.clean()


def test_every_job_ends_once_with_the_right_kind_and_true_files() -> None:
    check(undisturbed(1000, 0.6), 1000)


def test_every_sort_of_fault_was_played() -> None:
    """What is said above would be worth little if the faults had not come."""
    played = undisturbed(1000, 0.6).played
    assert {"error500", "reset", "garbled", "truncated", "empty", "hang", "trickle"} <= set(played), played


def test_records_say_what_the_site_said() -> None:
    main = undisturbed(1000, 0.6)
    for video_id in random.Random(1).sample([i for i, row in main.rows.items() if row["status"] == "ok"], 25):
        row, video = main.rows[video_id], invent(SEED, video_id)
        record = json.loads((main.batch.out / row["files"]["json"]).read_text())
        wanted = {"title": video.title, "channel": video.channel, "channel_id": video.channel_id}
        wanted["duration_s"] = video.duration_s
        assert {name: row[name] for name in wanted} == wanted
        assert {name: record["metadata"][name] for name in wanted} == wanted
        segments = record["transcript"]["segments"]
        assert segments[-1]["text"] == f"end of {video_id} in en"
        assert record["transcript"]["is_generated"] is not video.manual
        markdown = (main.batch.out / row["files"]["md"]).read_text()
        front = yaml.safe_load(markdown.split("---\n")[1])
        assert front["title"] == video.title
        assert front["channel"] == video.channel


def test_status_agrees_with_a_recount() -> None:
    main = undisturbed(1000, 0.6)
    status = main.batch.status()
    assert status["state"] == "finished"
    for name, count in recount.counts(main.batch.queue).items():
        assert status[name] == count
    assert status["requests"] == sum(main.requests.values())
    # A request that tries out an egress counts for that, and for no video.
    tried = asked_again(main) or any(event["event"] == "probe" for event in recount.events(main.batch.queue))
    surplus = status["bytes"] - sum(row["bytes"] for row in main.rows.values())
    assert surplus == 0 or (tried and surplus > 0)
    assert status["eta_s"] is None or status["eta_s"]["high"] == 0


@pytest.mark.long
def test_five_thousand_jobs() -> None:
    main = undisturbed(5000, 0.05)
    check(main, 5000)
    print(f"median time of engine status: {main.status_s:.3f} s")
