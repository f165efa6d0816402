"""Whole runs against the stand-in: caps, a plan, and costs that add up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import commands
import pytest
from commands import Ended
from patience import HANG_S
from warm import start

from engine.rehearsal import Rehearsal, RehearsalSettings, invented_ids, parse_scenario


@pytest.fixture
def site() -> Iterator[Rehearsal]:
    with start(RehearsalSettings(latency_s=0.02)) as rehearsal:
        yield rehearsal


def engine(cwd: Path, *args: str, **env: str) -> Ended:
    return commands.engine(*args, cwd=cwd, timeout_s=HANG_S, **env)


def through(site: Rehearsal, *egresses: str) -> list[str]:
    """The options of a quick run by these egresses of the stand-in."""
    proxies = [part for name in egresses for part in ("--proxy", site.proxy_url_as(name))]
    return [
        "--ca-bundle",
        site.ca_bundle,
        "--rate",
        "none",
        "--progress",
        "none",
        "-p",
        "2",
        "-t",
        "4",
        *proxies,
    ]


def rows(cwd: Path) -> list[dict[str, Any]]:
    with open(cwd / "queue_dir" / "manifest.jsonl", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def status(cwd: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(engine(cwd, "status", "--json").out)
    return found


def test_capped_planned_and_finished_with_costs_that_add_up(tmp_path: Path, site: Rehearsal) -> None:
    """One batch: a cap ends its first run, a plan is made from what that measured, the second run finishes it,
    and what status says of each egress is what the stand-in saw and sent."""
    site.play("absent=0.1", "hidden=0.1")
    (tmp_path / "videos.txt").write_text("\n".join(invented_ids(150)))
    by = through(site, "east", "west")

    capped = engine(tmp_path, "run", "videos.txt", *by, "--rate", "40", "--max-requests", "80")
    assert capped.code == 4, capped.err
    assert "stopped at --max-requests 80" in capped.err
    first = status(tmp_path)
    # In flight: one attempt a thread of two requests; let in meanwhile: what a quarter of a second can.
    assert 80 <= first["requests"] < 290, first
    assert first["pending"] + first["deferred"] > 0
    assert first["in_flight"] == 0
    measured = rows(tmp_path)

    asked = engine(tmp_path, "plan", "--json", "--price", "4/GB", "--rate", "2", "--egresses", "2")
    assert asked.code == 0, asked.err
    plan = json.loads(asked.out)
    assert plan["basis"] == "measured"
    assert plan["videos"] == 150 - len(measured)
    expected = sum(value["requests"] for value in measured) / len(measured) * plan["videos"]
    assert plan["requests"]["expected"] == pytest.approx(expected, abs=1)
    assert plan["seconds"]["expected"] == pytest.approx(expected / 4, abs=1)
    assert plan["cost"]["expected"] == pytest.approx(plan["bytes"]["expected"] * 4e-9, abs=1e-4)

    # A cap counts from where its run began: what the first one used does not end the second.
    done = engine(
        tmp_path, "run", *by, ENGINE_MAX_REQUESTS="2000", ENGINE_MAX_BYTES="1G", ENGINE_MAX_DURATION="1h"
    )
    assert done.code in (0, 3), done.err
    value, seen = status(tmp_path), site.stats()["egresses"]
    assert [egress["name"][:4] for egress in value["egresses"]] == ["p001", "p002"]
    for egress, name in zip(value["egresses"], ("east", "west"), strict=True):
        assert egress["requests"] == seen[name]["requests"]
        assert egress["bytes"] == seen[name]["bytes"]
    assert value["requests"] == sum(egress["requests"] for egress in value["egresses"])
    final = rows(tmp_path)
    assert len(final) == 150
    # Rows hold what attempts cost; canaries and attempts that gave way are the egress's alone.
    for name in ("requests", "bytes"):
        in_rows = sum(row[name] for row in final)
        assert 0.97 * value[name] <= in_rows <= value[name], (name, in_rows, value[name])
    assert {row["requests"] for row in final if row["kind"] == "no_captions"} <= {2, 3, 4}
    assert any(row["requests"] > 2 for row in final)


@pytest.mark.parametrize(
    ("option", "amount", "says"),
    [
        ("--max-bytes", "60K", "stopped at --max-bytes 60,000"),
        ("--max-duration", "1s", "stopped at --max-duration 1 s"),
    ],
)
def test_the_other_caps(tmp_path: Path, site: Rehearsal, option: str, amount: str, says: str) -> None:
    (tmp_path / "videos.txt").write_text("\n".join(invented_ids(3000)))
    capped = engine(tmp_path, "run", "videos.txt", *through(site, "east"), option, amount)
    assert capped.code == 4, capped.err
    assert says in capped.err
    assert status(tmp_path)["state"] == "stopped"


@pytest.mark.parametrize("option", ["--max-bytes", "--max-duration"])
def test_a_cap_that_is_none_is_refused_before_anything_is_made(tmp_path: Path, option: str) -> None:
    refused = engine(tmp_path, "run", "dQw4w9WgXcQ", option, "much")
    assert refused.code == 2
    assert option in refused.err
    assert list(tmp_path.iterdir()) == []


def test_a_batch_that_mostly_has_none_comes_to_its_end(tmp_path: Path, site: Rehearsal) -> None:
    real = parse_scenario("no_captions=0.8")
    site.play(str(real))
    names = list(invented_ids(120))
    (tmp_path / "videos.txt").write_text("\n".join(names))
    run = engine(tmp_path, "run", "videos.txt", *through(site, "east"), ENGINE_BUDGET_PACE="60")
    assert run.code == 0, run.err
    bare = {row["video_id"] for row in rows(tmp_path) if row["kind"] == "no_captions"}
    assert bare == {name for name in names if real.touches(1, name)}
