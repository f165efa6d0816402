"""The page in a real browser: Chromium walks it from an empty queue to the audit, on a screen and on a phone.

`axe-core` is taken from `node_modules` beside the project, or from the directory in AXE_CORE; without it that part is
skipped. SHOTS names a directory for screenshots.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from page_rig import CHROMIUM, Page
from patience import HANG_S

from engine.rehearsal import RehearsalSettings, invented_ids
from engine.rehearsal import start as start_rehearsal

sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here"),
]

ARGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
SCREEN, PHONE = {"width": 1200, "height": 900}, {"width": 390, "height": 844}
HANG_MS = HANG_S * 1000
AXE = (
    Path(os.environ.get("AXE_CORE") or Path(__file__).parents[2] / "node_modules" / "axe-core") / "axe.min.js"
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGS))
        yield browser
        browser.close()


class Tab:
    """A browser's view of the page, and what must never be in it: messages, foreign requests."""

    def __init__(self, browser: Any, page: Page, size: dict[str, int], scheme: str, **more: Any) -> None:
        self.context = browser.new_context(viewport=size, color_scheme=scheme, **more)
        self.context.set_default_timeout(HANG_MS)
        self.tab = self.context.new_page()
        self.wrong: list[str] = []
        self._allowed = ("127.0.0.1", page.port)
        self.width = size["width"]
        self.tab.on("console", lambda message: self.wrong.append(message.text))
        self.tab.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.tab.on("request", self._look)
        self.tab.goto(page.address)
        assert "token" not in self.tab.url

    def _look(self, request: Any) -> None:
        where = urlsplit(request.url)
        if (where.hostname, where.port) != self._allowed:
            self.wrong.append(request.url)

    def sees(self, selector: str, text: str | None = None) -> Any:
        found = self.tab.locator(selector)
        sync_api.expect(found.first).to_be_visible(timeout=HANG_MS)
        if text is not None:
            sync_api.expect(found.first).to_contain_text(text, timeout=HANG_MS)
        return found.first

    def fits(self, name: str) -> None:
        """Nothing is wider than the screen, and nothing was said; a screenshot where they are wanted."""
        assert self.tab.evaluate("document.documentElement.scrollWidth") <= self.width
        assert self.wrong == []
        if where := os.environ.get("SHOTS"):
            self.tab.screenshot(path=Path(where) / f"{name}.png", full_page=True)

    def tab_to(self, selector: str) -> None:
        """Move the focus there by the keyboard alone."""
        for _ in range(120):
            if self.tab.evaluate("s => document.activeElement?.matches(s) ?? false", selector):
                return
            self.tab.keyboard.press("Tab")
        raise AssertionError(f"the keyboard does not come to {selector}")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.tab.keyboard.press(key)


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
    screen.sees("#summary", "no queue yet")
    screen.fits("screen-empty")
    screen.tab_to("#rate")
    screen.press("ControlOrMeta+a")
    screen.tab.keyboard.type("10/s")
    screen.tab_to("#text")
    screen.tab.keyboard.insert_text("\n".join([*invented_ids(120, 8), "no video <b>at all</b>"]))
    screen.sees("#preview", "121 read: 120 new, 1 without a video")
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
    findings = []
    for dialog in (False, True):
        if dialog:
            tab.tab.locator("#rows [data-video]").first.click()
            tab.sees("dialog .video h2")
            tab.fits(f"{name}-video")
        if AXE.exists():
            tab.tab.add_script_tag(path=AXE)
            found = tab.tab.evaluate("axe.run()")
            findings += [
                (each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]
            ]
    tab.context.close()
    assert findings == []
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
        tab.sees("#summary", "no queue yet")
        page.command.kill_all()
        tab.sees("#said", "no word from the page's server")
        with Page(tmp_path / "queue", "--port", str(page.port), cache=tmp_path / "cache") as again:
            tab.tab.goto(again.address)
            tab.sees("#summary", "no queue yet")
        tab.context.close()
