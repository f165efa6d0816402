"""A tab of Chromium that looks at a page, by Playwright.

`axe-core` is taken from `node_modules` beside the project, or from the directory in AXE_CORE. SHOTS names a directory
for screenshots.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from page_rig import CHROMIUM, Page
from patience import HANG_S, until

from engine.rehearsal import Rehearsal, invented_ids

sync_api = pytest.importorskip("playwright.sync_api")
needs_chromium = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here"),
]

ARGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP evil.example 127.0.0.1",
)  # fmt: skip
SCREEN, PHONE = {"width": 1200, "height": 900}, {"width": 390, "height": 844}
HANG_MS = HANG_S * 1000
AXE = (
    Path(os.environ.get("AXE_CORE") or Path(__file__).parents[2] / "node_modules" / "axe-core") / "axe.min.js"
)


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


def findings(tab: Any) -> list[Any]:
    """What axe-core finds wrong in a tab whose context bypasses the CSP; nothing without axe-core."""
    if not AXE.exists():
        return []
    tab.add_script_tag(path=AXE)
    return [
        (each["id"], [node["html"] for node in each["nodes"]])
        for each in tab.evaluate("axe.run()")["violations"]
    ]


def first_minute(browser: Any, site: Rehearsal, root: Path) -> tuple[int, float]:
    """From `engine page --open` to a transcript on the screen, with the page's own settings and three links pasted:
    how many clicks, and how many seconds."""
    opened, opener = root / "opened", root / "browser"
    opener.write_text(f'#!/bin/sh\nprintf %s "$1" >"{opened}.part" && mv "{opened}.part" "{opened}"\n')
    opener.chmod(0o700)
    env = {"BROWSER": str(opener), "ENGINE_PROXY": site.proxy_url, "ENGINE_CA_BUNDLE": str(site.ca_bundle)}
    env |= {"ENGINE_OUTPUT": str(root / "out"), "XDG_CONFIG_HOME": str(root / "config")}
    clicks, began_s = 0, time.monotonic()
    with Page(root / "queue", "--open", cache=root / "cache", **env) as page:
        until(opened.exists, HANG_S, "for the browser to be opened")
        context = browser.new_context(viewport=SCREEN)
        context.set_default_timeout(HANG_MS)
        tab = context.new_page()
        tab.goto(opened.read_text())
        sync_api.expect(tab.locator("#text")).to_be_focused(timeout=HANG_MS)
        tab.keyboard.insert_text("\n".join(f"https://youtu.be/{name}" for name in invented_ids(3, 21)))
        for selector in ("#go", "#rows [data-video]"):
            tab.locator(selector).first.click()
            clicks += 1
        tab.locator("dialog .transcript a").first.wait_for()
        took_s = time.monotonic() - began_s
        page.enter().do("set", rate="none")
        sync_api.expect(tab.locator("#summary .state")).to_have_text("finished", timeout=HANG_MS)
        context.close()
    return clicks, took_s
