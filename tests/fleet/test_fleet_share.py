"""Real shares without Dask: two at once on one machine and one budget, then everything that is made of them."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from commands import Command, engine
from fleet_night import Night, audit, directory_files, fullest_second, settings
from fleet_nights import play
from patience import HANG_S, until

from engine.fleet.ledger import Ledger
from engine.rehearsal import Rehearsal, RehearsalSettings, invented_ids, start

VIDEOS, RATE = 70, 12
ENV = settings()


@dataclass
class Played:
    """A fleet of two shares that are done, and what happened on the way."""

    root: Path
    ledger: str
    ids: list[str]
    site: Rehearsal
    said: list[str]

    def fleet(self, command: str, *args: Any) -> Any:
        return engine("fleet", command, *args, **ENV)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    root = tmp_path_factory.mktemp("fleet")
    ids = list(invented_ids(VIDEOS, 3))
    (root / "videos.csv").write_text(
        "id,topic\n" + "".join(f"{each},t{at % 2}\n" for at, each in enumerate(ids))
    )
    ledger = str(root / "ledger")
    with start(RehearsalSettings(latency_s=0.02, scenarios=("absent=0.1", "premiere=0.05"), seed=3)) as site:
        done = Played(root, ledger, ids, site, [])
        assert done.fleet("plan", root / "videos.csv", ledger, "--share", VIDEOS // 2, "-f", "srt").code == 0
        with _share(done, "0") as first, _share(done, "1") as second:
            until((root / "m" / "shares").exists, HANG_S, "a share begins")
            done.said += [command.wait(HANG_S).err for command in (first, second)]
        yield done


def _share(played: Played, number: str, *more: str, work: str = "m") -> Command:
    proxy = played.site.proxy_url.replace("//", f"//{work}:x@")
    return Command(
        "fleet", "share", played.ledger, number, "--work", played.root / work, "-p", "1", "-t", "8",
        "--rate", f"{RATE}/s", "--proxy", proxy, "--ca-bundle", played.site.ca_bundle, *more, **ENV,
    )  # fmt: skip


def test_each_video_has_one_row_and_no_machine_file_is_left(played: Played) -> None:
    found = audit(directory_files(played.ledger), played.ids)
    assert found.problems == [], played.said
    left = {path.name for path in (played.root / "m").rglob("*") if path.is_file()}
    assert left == {"budget", "engine-fleet.json", "lock"}
    assert "2 of 2 shares done" in played.fleet("verify", played.ledger).out


def test_two_shares_of_a_machine_draw_on_one_budget(played: Played) -> None:
    assert fullest_second(played.site.arrivals(), "m") <= RATE + 6


def test_a_share_that_is_done_costs_one_look(played: Played) -> None:
    before = len(played.site.arrivals())
    with _share(played, "1", work="other") as again:
        assert again.wait(HANG_S).code in (0, 3)
    assert len(played.site.arrivals()) == before
    with _share(played, "7", work="other") as none:
        ended = none.wait(HANG_S)
    assert ended.code == 2 and "shares 0 to 1" in ended.err


def test_status_needs_nobody(played: Played) -> None:
    value = json.loads(played.fleet("status", played.ledger, "--json").out)
    assert (value["state"], value["jobs"], value["pending"]) == ("finished", VIDEOS, 0)
    assert value["ok"] + value["absent"] + value["failed"] == VIDEOS
    assert value["shares"]["done"] == value["shares"]["total"] == 2
    assert "2 of 2 done" in played.fleet("status", played.ledger).out


def test_a_merge_has_one_row_a_video(played: Played, tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    assert played.fleet("merge", played.ledger, "-o", path).code == 0
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert sorted(row["video_id"] for row in rows) == sorted(played.ids)
    assert {row["input"]["topic"] for row in rows} == {"t0", "t1"}
    again = played.fleet("merge", played.ledger, "-o", path)
    assert again.code == 2 and "already" in again.err
    assert sorted(each.name for each in tmp_path.iterdir()) == ["manifest.jsonl"]


def test_an_export_has_the_files_of_the_rows(played: Played, tmp_path: Path) -> None:
    out, path = tmp_path / "out", tmp_path / "manifest.jsonl"
    assert played.fleet("export", played.ledger, "-o", out).code == 0
    assert played.fleet("merge", played.ledger, "-o", path).code == 0
    named = set()
    for row in map(json.loads, path.read_text().splitlines()):
        assert set(row["files"]) == ({"json", "srt"} if row["status"] == "ok" else set())
        for kind, name in row["files"].items():
            assert hashlib.sha256((out / name).read_bytes()).hexdigest() == row["sha256"][kind]
            named.add(name)
    there = {each.relative_to(out).as_posix() for each in out.rglob("*") if each.is_file()}
    assert there == named | {".engine-fleet"}
    again = played.fleet("export", played.ledger, "-o", out)
    assert again.code == 0 and "0 files written" in again.out
    refused = played.fleet("export", played.ledger, "-o", tmp_path)
    assert refused.code == 2 and "something else" in refused.err
    imported = engine("import", out, "-q", tmp_path / "queue", "-o", tmp_path / "transcripts", **ENV)
    assert imported.code == 0, imported.said


def test_damage_is_found(played: Played, tmp_path: Path) -> None:
    copy = tmp_path / "ledger"
    shutil.copytree(played.ledger, copy)
    part = min(copy.glob("parts/*/*.gz"))
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    ended = played.fleet("verify", copy)
    assert ended.code == 14 and "sha256" in ended.out
    part.unlink()
    ended = played.fleet("verify", copy)
    assert ended.code == 14 and "is not there" in ended.out


def test_a_retry_is_another_generation_and_tidying_keeps_what_counts(played: Played, tmp_path: Path) -> None:
    copy = tmp_path / "ledger"
    shutil.copytree(played.ledger, copy)
    failed = [
        row for _, row in _rows(played, tmp_path) if row["status"] == "failed" or row["kind"] == "private"
    ]
    retried = played.fleet("retry", copy, "--kind", "not_yet", "--kind", "private")
    assert retried.code == 0 and f"{len(failed)} videos" in retried.out, retried.said
    status = json.loads(played.fleet("status", copy, "--json").out)
    assert (status["jobs"], status["pending"]) == (len(played.ids), len(failed))
    assert sum(status[name] for name in ("ok", "absent", "failed")) == len(played.ids) - len(failed)
    (copy / "README.md").write_text("mine")
    tidied = played.fleet("tidy", copy)
    assert tidied.code == 0 and "holds 2" in tidied.out, tidied.said
    assert (copy / "README.md").read_text() == "mine"
    assert played.fleet("verify", copy).code == 0
    if failed:
        assert played.fleet("status", copy, "--exit-code").code == 23
        assert {
            str(key)[-2:] for each in Ledger(str(copy)).generations()[1:] for key in each.share_keys()
        } == {"-2"}


def test_a_retry_that_goes_well_leaves_no_failure_in_status_and_exit_code(
    played: Played, tmp_path: Path
) -> None:
    """What failed is counted once, as what came of it at last."""
    other = Played(tmp_path, str(tmp_path / "ledger"), list(invented_ids(8, 5)), played.site, [])
    (tmp_path / "videos.txt").write_text("\n".join(other.ids))
    assert other.fleet("plan", tmp_path / "videos.txt", other.ledger, "--share", "100").code == 0
    with start(RehearsalSettings(latency_s=0.0, scenarios=("premiere=1",))) as other.site:
        with _share(other, "0") as first:
            assert first.wait(HANG_S).code in (0, 3)
        assert other.fleet("status", other.ledger, "--exit-code").code == 3
        assert "8 videos" in other.fleet("retry", other.ledger).out
        other.site.play(replace=True)
        with _share(other, "00000-2") as second:
            assert second.wait(HANG_S).code == 0
    status = json.loads(other.fleet("status", other.ledger, "--json").out)
    assert [status[name] for name in ("jobs", "ok", "failed", "pending")] == [8, 8, 0, 0]
    assert other.fleet("status", other.ledger, "--exit-code").code == 0


def _rows(played: Played, tmp_path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    path = tmp_path / "rows.jsonl"
    played.fleet("merge", played.ledger, "-o", path)
    for line in path.read_text().splitlines():
        row = json.loads(line)
        yield row["video_id"], row


def test_a_share_that_is_told_to_leave_brings_what_it_has(tmp_path: Path, played: Played) -> None:
    """TERM in the middle, another machine goes on at once, and fetches nothing again that was brought."""
    other = Played(tmp_path, str(tmp_path / "ledger"), list(invented_ids(60, 9)), played.site, [])
    (tmp_path / "videos.txt").write_text("\n".join(other.ids))
    assert other.fleet("plan", tmp_path / "videos.txt", other.ledger, "--share", "100").code == 0
    with _share(other, "0", work="a") as first:
        until(lambda: len([e for e in played.site.arrivals() if e["egress"] == "a"]) > 30, HANG_S, "requests")
        first.signal(signal.SIGTERM)
        assert first.wait(HANG_S).code == 143
    with _share(other, "0", work="b") as second:
        assert second.wait(HANG_S).code in (0, 3)
    found = audit(directory_files(other.ledger), other.ids)
    assert found.problems == []
    asked = {who: {e["video_id"] for e in played.site.arrivals() if e["egress"] == who} for who in ("a", "b")}
    brought = [json.loads((tmp_path / "ledger/done/00000.json").read_text())["parts"]]
    first_rows = sum(part["rows"] for part in brought[0] if part["name"].startswith("001."))
    assert first_rows > 0
    assert len(asked["b"]) <= 60 - first_rows


@pytest.mark.crash
def test_a_night_with_dask(tmp_path: Path) -> None:
    """A machine is killed, all of it at once; the other one takes its parts over."""
    with start(RehearsalSettings(latency_s=0.05, scenarios=("absent=0.05",), seed=2)) as site:
        night = Night(tmp_path / "night", site, str(tmp_path / "ledger"), seed=2, places=1, rate="30/s")
        with night:
            night.plan(90, 45)
            night.start_scheduler()
            night.join("m0")
            night.join("m1")
            night.drive()
            night.progressed(5)
            night.kill_machine("m0")
            ended = night.finished()
            assert ended.code in (0, 3), night.said()
            night.leave()
        assert audit(directory_files(night.ledger), night.ids).problems == []


@pytest.mark.long
@pytest.mark.crash
@pytest.mark.parametrize(
    "name", ["machine", "frozen", "scheduler", "workers", "s3", "trouble", "group", "chaos"]
)
def test_nights(name: str, tmp_path: Path) -> None:
    with start(RehearsalSettings(latency_s=0.05, scenarios=("absent=0.05", "flaky=0.05"), seed=1)) as site:
        _, found = play(name, tmp_path, site, 1)
    assert found.problems == []
