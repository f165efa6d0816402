"""The report of whole queues: a night, a live one, a finished one, none, and one with damage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from night_before import EVENING, HOUR, a_night, event, leave, row
from support import batch, ids, some_fail, worked

from engine import report
from engine.errors import NoQueueError
from engine.model import Kind
from engine.report.kind_help import MEANINGS
from engine.storage.locks import Lock
from engine.storage.timestamps import seconds

pytestmark = pytest.mark.usefixtures("no_fsync")


def test_a_night(tmp_path: Path) -> None:
    item = report.make(a_night(tmp_path / "q", left=7).root, price_per_gb=4.0)
    assert (item.final, item.left, item.status["state"]) == (2000, 7, "stopped")
    assert {kind.kind: kind.jobs for kind in item.kinds} == dict.fromkeys(
        ("private", "no_captions", "timeout", "blocked", "network"), 40
    )
    times = item.times
    assert (times.runs, times.started, times.ended) == (2, EVENING, EVENING + 10 * HOUR)
    assert times.blocked_s == HOUR / 2
    assert times.offline_s == pytest.approx(360)
    # the killed run is known to have worked until its last row, shortly before 21:00
    assert times.running_s == pytest.approx(9 * HOUR, abs=60)
    assert times.between_s == pytest.approx(HOUR, abs=60)
    assert times.working_s == pytest.approx(times.running_s - times.blocked_s - times.offline_s)
    assert [hour.since for hour in item.slowest] == [EVENING + HOUR, EVENING + 7 * HOUR]
    assert [hour.waiting_s for hour in item.slowest] == [HOUR / 2, pytest.approx(360)]
    assert item.deaths == {"{SIGKILL(-9)}": 2}
    assert (item.requests, item.bytes) == (4000, 80_000_000)
    assert item.price == pytest.approx(0.32)
    assert item.per_thousand(item.requests) == 2000
    assert item.chart is not None
    assert sum(item.chart.jobs) == 2000
    assert [span.why for span in item.chart.closed] == ["blocked", "offline"]


def test_json_is_one_document_with_times_as_text(tmp_path: Path) -> None:
    value = json.loads(json.dumps(report.make(a_night(tmp_path / "q").root).to_json()))
    assert (value["schema_version"], value["state"], value["total"]) == (1, "finished", 2000)
    assert seconds(value["time"]["started"]) == EVENING
    assert value["cost"]["by_status"]["ok"]["jobs"] == 1800
    assert value["cost"]["price"] is None
    assert sum(value["chart"]["jobs"]) == 2000
    assert value["bad_lines"] == {"journals": 0, "manifest": 0, "events": 0}
    assert value["next"][0]["line"].startswith("engine failures -q ")


def test_what_the_last_run_brought(tmp_path: Path) -> None:
    rows = [row(name, EVENING + n * 60, input={"source": "@old"}) for n, name in enumerate(ids(20))]
    later = EVENING + 24 * HOUR
    rows += [
        row(name, later + n, "private" if n == 4 else None, input={"source": "@one" if n % 3 else "PLx"})
        for n, name in enumerate(ids(12, 100))
    ]
    runs = [event(EVENING, "start", run="a"), event(later + 0.9, "start", run="b")]
    item = report.make(leave(tmp_path / "q", rows, runs).root)
    assert item.new is not None
    assert (item.new.ok, item.new.absent, item.new.failed) == (11, 1, 0)
    assert item.new.sources == {"PLx": 4, "@one": 8}
    assert [each["video_id"] for each in item.new.examples] == [
        r["video_id"] for r in rows if r["status"] == "ok"
    ][-10:]
    new = json.loads(json.dumps(item.to_json()))["new"]
    assert (new["ok"], len(new["examples"]), seconds(new["since"])) == (11, 10, int(later))
    said = " ".join(" ".join(report.words(item, 100)).split())
    assert "12, 11 with a transcript, 1 without one to fetch, 0 failed; from @one 8, PLx 4" in said
    assert "About" in report.page(item) and "since the last run began" in report.page(item)


def test_in_the_first_run_nothing_is_called_new(tmp_path: Path) -> None:
    rows = [row(name, EVENING + n) for n, name in enumerate(ids(3))]
    item = report.make(leave(tmp_path / "q", rows, [event(EVENING, "start", run="a")]).root)
    assert item.new is not None
    assert item.new.ok == 3
    assert not any(line.startswith("new") for line in report.words(item))
    assert report.make(leave(tmp_path / "r", rows, []).root).new is None


def test_nothing_done_yet(tmp_path: Path) -> None:
    item = report.make(batch(tmp_path, 16).root)
    assert (item.left, item.chart, item.kinds, item.slowest) == (16, None, (), ())
    assert item.per_thousand(item.requests) is None
    assert "no run so far" in "\n".join(report.words(item))
    assert "<svg" not in report.page(item)


def test_no_queue(tmp_path: Path) -> None:
    with pytest.raises(NoQueueError):
        report.make(str(tmp_path))


def test_a_real_queue_without_events(tmp_path: Path) -> None:
    queue = worked(tmp_path, 40, some_fail)
    item = report.make(queue.root)
    assert item.status["state"] == "finished"
    assert sum(kind.jobs for kind in item.kinds) == item.status["absent"] + item.status["failed"] > 0
    assert "events.jsonl tells of no run" in "\n".join(report.words(item))


def test_a_live_one_is_not_told_to_retry(tmp_path: Path) -> None:
    queue = a_night(tmp_path / "q", 100, left=5)
    lock = Lock(queue.run_lock)
    assert lock.take(note={"since": "2026-11-21T22:00:00Z"})
    with lock:
        item = report.make(queue.root)
    assert item.status["state"] == "running"
    assert [command.line.split()[1] for command in item.following] == ["status", "stop", "failures"]


def test_damage_is_told_and_stops_nothing(tmp_path: Path) -> None:
    rows = [row(name, EVENING + n) for n, name in enumerate(ids(50))]
    queue = leave(tmp_path / "q", rows, [event(EVENING, "start", egresses=1)], extra=b"\xff\xfe\n{}\n")
    with open(queue.events, "ab") as file:
        file.write(b"\x00\x01\n")
    item = report.make(queue.root)
    assert item.bad_lines == {"journals": 0, "manifest": 2, "events": 1}
    assert any(command.line.startswith("engine verify") for command in item.following)
    said = " ".join("\n".join(report.words(item)).split())
    assert "lines that could not be read: 2 in manifest, 1 in events" in said
    assert "2 in manifest, 1 in events" in report.page(item)


def test_every_kind_has_a_meaning() -> None:
    assert set(MEANINGS) == set(Kind)
    assert not any(meaning.again for kind, meaning in MEANINGS.items() if Kind(kind).status == "absent")
