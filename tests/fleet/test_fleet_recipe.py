"""What README, how-to and reference have one type for several machines, typed as it is written.

The store is moto's, the site the rehearsal server. Only the scheduler's address is another: no host is called `head`.
"""

from __future__ import annotations

import json
import re
import shlex
import signal
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import Command
from fleet_night import Night, audit, in_store
from patience import HANG_S
from test_docs import README, ROOT, blocks

from engine.rehearsal import RehearsalSettings, invented_ids, start

PAGES = (README, ROOT / "docs" / "fleet.md", ROOT / "docs" / "howto" / "several-machines.md")
STORE, SCHEDULER = "s3://bucket/night", "tcp://head:8786"


def typed(block: str) -> list[str]:
    """The lines of a block, without its comments."""
    return [re.sub(r"\s+# .*", "", line) for line in block.splitlines() if line.strip()]


RECIPES = {
    path: typed(block) for path in PAGES for block in blocks(path, "sh") if "engine fleet plan" in block
}
AFTERWARDS = [
    line
    for block in blocks(PAGES[1], "sh")
    for line in typed(block)
    if line.startswith("engine fleet") and not line.endswith("--watch") and line not in RECIPES[PAGES[1]]
]


def test_all_pages_have_the_same_three_commands() -> None:
    assert {*PAGES[1:]} <= set(RECIPES)
    assert len({tuple(lines) for lines in RECIPES.values()}) == 1
    assert [line.split()[2] for line in RECIPES[PAGES[1]]] == ["plan", "join", "run"]


@pytest.mark.long
def test_the_three_commands_and_what_follows(tmp_path: Path) -> None:
    plan, join, run = RECIPES[PAGES[1]]
    ids = list(invented_ids(40, 11))
    (tmp_path / "ids.txt").write_text("\n".join(ids))
    store = SimpleNamespace()
    with ExitStack() as stack:
        files = stack.enter_context(in_store(store, STORE))
        site = stack.enter_context(
            start(RehearsalSettings(latency_s=0.02, scenarios=("absent=0.1",), seed=11))
        )
        night = stack.enter_context(Night(tmp_path / "night", site, STORE, store.env))
        night.start_scheduler()

        def type_(line: str, where: Path, user: str) -> Command:
            env = {
                **store.env, "HTTPS_PROXY": "http://127.0.0.1:9", "ENGINE_RATE": "none", "ENGINE_PROCESSES": "1",
                "ENGINE_THREADS": "8", "ENGINE_CA_BUNDLE": str(site.ca_bundle),
                "ENGINE_PROXY": site.proxy_url.replace("//", f"//{user}:x@"),
            }  # fmt: skip
            where.mkdir(exist_ok=True)
            words = shlex.split(line.replace(SCHEDULER, night.address))
            assert words.pop(0) == "engine"
            return stack.enter_context(Command(*words, cwd=where, **env))

        assert type_(plan, tmp_path, "none").wait(HANG_S).code == 0
        for name in ("m0", "m1"):
            night.machines[name] = type_(join, tmp_path / name, name)
        night.driver = type_(run, tmp_path, "none")
        assert night.finished().code in (0, 3), night.said()
        for line in AFTERWARDS:
            ended = type_(line, tmp_path, "none").wait(HANG_S)
            assert ended.code == 0, (line, ended.said)
        for name, machine in night.machines.items():
            night.processes(name)
            machine.signal(signal.SIGTERM)
            assert machine.wait(HANG_S).code == 128 + signal.SIGTERM
        assert audit(files(), ids).problems == []
    rows = [json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text().splitlines()]
    assert sorted(row["video_id"] for row in rows) == sorted(ids)
    there = {path.stem for path in (tmp_path / "records").rglob("*.md")}
    assert there == {row["video_id"] for row in rows if row["status"] == "ok"} != set()
