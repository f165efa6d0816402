"""The page of a fleet, whose machines are real shares: what it shows with scheduler and driver dead, and to whom."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from browser_rig import AXE, PHONE, SCREEN, Tab, findings, needs_chromium
from commands import Command, engine
from fleet_night import directory_files, in_store, settings
from page_rig import Page
from patience import HANG_S, until
from test_page_access import GOOD, SECRETS, WRONG

from engine.fleet.ledger import Fleet, Ledger
from engine.page.fleet_server import FleetServer
from engine.rehearsal import RehearsalSettings, invented_ids, start

ENV = settings(HTTPS_PROXY="http://127.0.0.1:9")


@dataclass
class Watched:
    """A fleet whose first share is done, and whose second one a machine with a proxy group is working on slowly."""

    ledger: Path
    page: Page
    machine: Command


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    root = tmp_path_factory.mktemp("fleet")
    (root / "videos.txt").write_text("\n".join(invented_ids(60, 7)))
    with start(RehearsalSettings(latency_s=0.02, scenarios=("absent=0.2",), seed=4)) as site:
        pool = root / "pool.txt"
        pool.write_text("".join(f"{site.proxy_url.replace('//', f'//g{at}:secret@')}\n" for at in (0, 1)))
        pool.chmod(0o600)
        planned = engine(
            "fleet", "plan", root / "videos.txt", root / "ledger", "--share", "30", "--groups", "2",
            "--proxies", pool, **ENV,
        )  # fmt: skip
        assert planned.code == 0, planned.said

        def share(number: int, rate: str) -> Command:
            return Command(
                "fleet", "share", root / "ledger", str(number), "--work", root / f"m{number}", "-p", "1",
                "-t", "4", "--rate", rate, "--proxies", pool, "--ca-bundle", site.ca_bundle, **ENV,
            )  # fmt: skip

        with share(0, "none") as first:
            assert first.wait(HANG_S).code in (0, 3), first.said()
        with share(1, "1/s") as second:
            args = ("--ledger", root / "ledger")
            with Page(None, *args, cache=root / "cache", ENGINE_FLEET_PACE=ENV["ENGINE_FLEET_PACE"]) as page:
                page.enter()
                until(lambda: "videos a minute on 1 machine" in page.get("/").text, HANG_S, "for its beat")
                yield Watched(root / "ledger", page, second)


def shows(page: Page, *texts: str) -> str:
    """What the page shows, once all of this is in it."""
    found = [""]

    def look() -> bool:
        found[0] = " ".join(page.get("/").text.split())
        return all(text in found[0] for text in texts)

    until(look, HANG_S, f"for {texts}")
    return found[0]


def test_shares_machines_and_groups(watched: Watched) -> None:
    html = shows(watched.page, ">running<", "</bdi></td><td>at work</td>", "1 of 2 have a holder", ">in use<")
    assert "<b>1</b><span>done</span>" in html and "<b>1</b><span>at work</span>" in html
    assert "of 60 (" in html and "<td>00001</td>" in html
    for unwanted in ("<button", "<form", "secret", "127.0.0.1:"):
        assert unwanted not in html


@pytest.mark.browser
@pytest.mark.skipif(*needs_chromium[1].args, **needs_chromium[1].kwargs)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [SCREEN, PHONE], ids=["screen", "phone"])
def test_nothing_keeps_anybody_out(
    watched: Watched, chromium: Any, size: dict[str, int], scheme: str
) -> None:
    tab = Tab(chromium, watched.page, size, scheme, bypass_csp=True)
    tab.sees("#machines table", "at work")
    tab.fits(f"fleet-{'screen' if size is SCREEN else 'phone'}-{scheme}")
    assert tab.tab.locator("button, input, select, textarea").count() == 0
    found = findings(tab.tab)
    tab.context.close()
    assert found == []
    if not AXE.exists():
        pytest.skip("axe-core is not installed (npm install axe-core)")


def test_nothing_can_be_asked_of_it(watched: Watched) -> None:
    for verb in ("start", "stop", "pause", "set", "upload"):
        assert watched.page.do(verb).status_code == 405
    for path in ("/rows", "/metrics", "/download/manifest.jsonl", "/static/../x"):
        assert watched.page.get(path).status_code == 404
    assert "html" in watched.page.get("/static/live.js").text


@pytest.mark.browser
@pytest.mark.skipif(*needs_chromium[1].args, **needs_chromium[1].kwargs)
def test_a_machine_that_dies_is_silent_and_the_page_writes_nothing(watched: Watched, chromium: Any) -> None:
    """Neither driver nor scheduler was ever there. An open tab sees the death without being loaded again."""
    tab = Tab(chromium, watched.page, SCREEN, "light")
    tab.sees("#machines td", "m")
    watched.machine.kill_all()
    before = directory_files(watched.ledger)
    tab.sees("#machines td.failed", "silent")
    tab.sees("#groups td.failed", "not renewed")
    tab.sees("#summary .state", "stopped")
    assert "stopped" in tab.tab.title()
    tab.fits("fleet-silent")
    tab.context.close()
    assert directory_files(watched.ledger) == before


def test_a_ledger_that_goes_away_is_said_and_found_again(watched: Watched) -> None:
    watched.machine.kill_all()  # it would begin a ledger in the old place
    aside = watched.ledger.with_name("aside")
    watched.ledger.rename(aside)
    try:
        html = shows(watched.page, 'role="alert"', "no fleet in")
        assert "of 60 (" in html  # what was read before
    finally:
        aside.rename(watched.ledger)
    until(lambda: 'role="alert"' not in watched.page.get("/").text, HANG_S, "for the ledger to be read again")


def test_a_ledger_in_a_store(watched: Watched, tmp_path: Path) -> None:
    import s3fs

    night = SimpleNamespace()
    with in_store(night):
        fs = s3fs.S3FileSystem(key="x", secret="x", endpoint_url=night.env["AWS_ENDPOINT_URL"])
        fs.put(str(watched.ledger), night.ledger, recursive=True)
        with Page(None, "--ledger", night.ledger, cache=tmp_path / "cache", **night.env) as page:
            html = shows(page.enter(), "<b>1</b><span>done</span>", "of 60 (", "<td>00001</td>")
    assert "s3://fleet/night" in html


@pytest.mark.parametrize(("what", "change", "status"), WRONG, ids=[each[0] for each in WRONG])
def test_who_is_let_in_is_who_every_page_lets_in(
    what: str, change: dict[str, Any], status: int, tmp_path: Path
) -> None:
    """The table of the page's own tests, for reading: what is asked of this page, before any of it is seen."""
    Ledger(str(tmp_path / "ledger")).make(Fleet("f", 1, {}))
    app = FleetServer(str(tmp_path / "ledger"), 8600, SECRETS).app
    refused = _status(app, {**GOOD, **change}, "GET", "/")
    reading = status if "x-engine" not in change and change != {"origin": None} else 200
    assert refused == reading
    assert _status(app, {**GOOD, **change}, "POST", "/do/stop") in (status, 405)
    assert _status(app, GOOD, "POST", "/do/stop") == 405


def _status(app: Any, headers: dict[str, Any], method: str, path: str) -> int:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    pairs = [
        (name.encode(), each.encode("latin-1", "replace"))
        for name, value in headers.items()
        for each in (value if isinstance(value, list) else [value])
        if each is not None
    ]
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": pairs,
        "root_path": "",
    }
    with ThreadPoolExecutor(1) as own:  # Playwright has a loop in this thread
        own.submit(asyncio.run, app(scope, receive, send)).result()
    return int(sent[0]["status"])


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("--ledger", "nowhere"), 10, "engine fleet plan"),
        (("--ledger", "nowhere", "-q", "queue"), 2, "none of -q"),
        (("--ledger", "nowhere", "--token-file", "t"), 2, "none of -q"),
        (("--ledger", "nowhere", "--streamlit"), 2, "none of -q"),
    ],
)
def test_what_does_not_go_together(args: tuple[str, ...], code: int, said: str, tmp_path: Path) -> None:
    with Command("page", *args, cwd=tmp_path, **ENV) as command:
        ended = command.wait(HANG_S)
    assert (ended.code, said in ended.err) == (code, True), ended.said
    assert os.listdir(tmp_path) == []
