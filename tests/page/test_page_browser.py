"""The page in a real browser: Chromium walks it from an empty queue to the audit, on a screen and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser_rig import AXE, HANG_MS, PHONE, SCREEN, Tab, findings, needs_chromium, sync_api
from page_rig import Page
from warm import start as start_rehearsal

from engine.rehearsal import RehearsalSettings, invented_ids

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory, chromium: Any) -> Iterator[Page]:
    """A page whose batch has been started, steered and finished: all by the keyboard, with a phone beside it."""
    root = tmp_path_factory.mktemp("walk")
    with start_rehearsal(RehearsalSettings(scenarios=("absent=0.1",))) as site:
        env = {
            "ENGINE_PROXY": site.proxy_url,
            "ENGINE_CA_BUNDLE": str(site.ca_bundle),
            "ENGINE_OUTPUT": str(root / "out"),
            "XDG_CONFIG_HOME": str(root / "config"),
        }
        with Page(root / "queue", cache=root / "cache", **env) as page:
            walk(chromium, page)
            yield page.enter()


def walk(chromium: Any, page: Page) -> None:
    screen = Tab(chromium, page, SCREEN, "light")
    screen.sees("#summary", "nothing started yet")
    screen.fits("screen-empty")
    screen.tab_to("#rate")
    screen.press("ControlOrMeta+a")
    screen.tab.keyboard.type("10/s")
    screen.tab_to("#text")
    screen.tab.keyboard.insert_text("\n".join([*invented_ids(120, 8), "no video <b>at all</b>"]))
    screen.sees("#preview", "121 read: 120 new, 1 without a video")
    screen.sees("#preview", "line 121: no video <b>at all</b>: ")
    screen.fits("screen-looked-at")
    screen.tab_to("#go")
    screen.press("Enter")
    screen.sees("#rows table a")

    phone = Tab(chromium, page, PHONE, "dark")
    phone.sees("#rows table a")
    phone.sees("#chart rect.bar")
    screen.tab_to("#at-once")
    screen.press(*["ArrowLeft"] * 4)
    screen.sees("#at-once-now", "4")
    sync_api.expect(phone.tab.locator("#at-once")).to_have_value("4", timeout=HANG_MS)
    screen.fits("screen-running")
    phone.fits("phone-running-dark")
    screen.tab_to("#sequential")
    screen.press("Space")
    sync_api.expect(phone.tab.locator("#sequential")).to_be_checked(timeout=HANG_MS)
    screen.press("Space")
    sync_api.expect(phone.tab.locator("#sequential")).not_to_be_checked(timeout=HANG_MS)
    screen.tab_to("[data-do=pause]")
    screen.press("Enter")
    phone.sees("#summary .state", "paused")
    phone.tab_to("#rate")
    phone.press("ControlOrMeta+a")
    phone.tab.keyboard.type("none")
    phone.tab_to("#set-rate")
    phone.tab.evaluate("show(controls)")  # what the server tells each second leaves it as it was typed
    phone.press("Enter")
    phone.sees("#said", "the rate is none")
    phone.tab_to("[data-do=resume]")
    phone.press("Enter")
    screen.sees("#summary .state", "finished")
    screen.sees("#next", "Verify")
    screen.sees("#rejects", "no video <b>at all</b>")
    for each in (screen, phone):
        assert each.wrong == []
        each.context.close()


@pytest.mark.timeout(600)
def test_the_walk(walked: Page) -> None:
    """It is the fixture: what comes after it looks at what it left."""
    assert "120 of 120" in walked.get("/").text


def test_rows_are_filtered_searched_and_read_by_the_keyboard(walked: Page, chromium: Any) -> None:
    screen = Tab(chromium, walked, SCREEN, "light")
    screen.sees("#rows-note", "120 rows")
    screen.tab_to("#status")
    screen.press("ArrowDown")  # once: each change is a step of the history
    sync_api.expect(screen.tab.locator("#rows-note")).not_to_contain_text("120 rows", timeout=HANG_MS)
    sync_api.expect(screen.tab.locator("#rows td.absent")).to_have_count(0, timeout=HANG_MS)
    assert "status=ok" in screen.tab.url
    screen.tab.go_back()
    screen.sees("#rows-note", "120 rows")
    screen.tab_to("#rows [data-page]")
    screen.press("Enter")
    screen.sees("#rows [data-page]", "Newest")
    assert "before=96" in screen.tab.url
    wanted = screen.tab.locator("#rows [data-video]").nth(2)
    name = wanted.get_attribute("href").rsplit("/", 1)[1]
    screen.tab_to("#q")
    screen.tab.keyboard.type(name.lower())
    sync_api.expect(screen.tab).to_have_url(f"{walked.origin}/?q={name.lower()}", timeout=HANG_MS)
    sync_api.expect(screen.tab.locator("#rows [data-video]")).to_have_count(1, timeout=HANG_MS)
    screen.tab_to("#rows [data-video]")
    screen.press("Enter")
    video = screen.sees("dialog .transcript a").get_attribute("href")
    assert video.startswith(f"https://www.youtube.com/watch?v={name}&t=")
    screen.fits("screen-transcript")
    screen.press("Escape")
    sync_api.expect(screen.tab.locator("#rows [data-video]")).to_be_focused(timeout=HANG_MS)
    screen.fits("screen-search")
    screen.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [SCREEN, PHONE], ids=["screen", "phone"])
def test_nothing_keeps_anybody_out(walked: Page, chromium: Any, size: dict[str, int], scheme: str) -> None:
    """axe-core finds nothing, in either colours and sizes, with and without the transcript."""
    tab = Tab(chromium, walked, size, scheme, bypass_csp=True)
    tab.sees("#rows table a")
    tab.sees("#chart rect.bar")
    name = f"{'screen' if size is SCREEN else 'phone'}-finished-{scheme}"
    tab.fits(name)
    found = []
    for dialog in (False, True):
        if dialog:
            tab.tab.locator("#rows [data-video]").first.click()
            tab.sees("dialog .video h2")
            tab.fits(f"{name}-video")
        found += findings(tab.tab)
    tab.context.close()
    assert found == []
    if not AXE.exists():
        pytest.skip("axe-core is not installed (npm install axe-core)")


def test_without_javascript_it_shows(walked: Page, chromium: Any) -> None:
    tab = Tab(chromium, walked, PHONE, "light", java_script_enabled=False)
    tab.sees("#rows table a").click()
    tab.sees(".video h2")
    tab.sees("h1 a", "All videos").click()
    tab.sees("#rows [data-page]", "Older").click()
    tab.sees("#rows [data-page]", "Newest")
    assert tab.wrong == []
    tab.context.close()


def test_a_page_that_is_gone_is_said_to_be_and_found_again(tmp_path: Path, chromium: Any) -> None:
    """Its server is killed: the browser says so. Another one on that port has another token."""
    with Page(tmp_path / "queue", cache=tmp_path / "cache") as page:
        tab = Tab(chromium, page, SCREEN, "light")
        tab.sees("#summary", "nothing started yet")
        page.command.kill_all()
        tab.sees("#said", "no word from the page's server")
        with Page(tmp_path / "queue", "--port", str(page.port), cache=tmp_path / "cache") as again:
            tab.tab.goto(again.address)
            tab.sees("#summary", "nothing started yet")
        tab.context.close()
