"""The Streamlit page, by Streamlit's own harness: without a browser, and its script in this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from commands import engine
from page_rig import CHROMIUM, Page
from patience import HANG_S, until
from warm import start as start_rehearsal

from engine.batch import Batch
from engine.page import launch, streamlit_server
from engine.page.streamlit_server import served
from engine.rehearsal import RehearsalSettings, invented_ids

pytest.importorskip("streamlit")
from streamlit.testing.v1 import AppTest


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(served, "root", str(tmp_path / "queue"))
    yield tmp_path / "queue"


def opened(token: str | None) -> Any:
    app = AppTest.from_file(streamlit_server.SCRIPT, default_timeout=HANG_S)
    if token is not None:
        app.query_params["token"] = token
    return app.run()


def test_a_ticket_lets_in_once_and_becomes_the_token(queue: Path) -> None:
    """The address that a browser is opened with is in the list of processes; what stays in the tab is another."""
    ticket = served.tickets.issue()
    app = opened(ticket)
    assert not app.exception and app.sidebar.slider
    assert app.query_params["token"] in (served.token, [served.token])
    assert "holds the token" in opened(ticket).error[0].value


@pytest.mark.parametrize("token", [None, "", "another", "ä"])
def test_nothing_is_shown_or_done_without_the_token(queue: Path, token: str | None) -> None:
    app = opened(token)
    assert not app.exception
    assert "holds the token" in app.error[0].value
    assert len(app.main) == 1
    assert not app.sidebar.button and not app.sidebar.slider and not app.dataframe


def test_a_batch_is_started_watched_and_steered(queue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = list(invented_ids(60, 4))
    with start_rehearsal(RehearsalSettings()) as site:
        monkeypatch.setenv("ENGINE_PROXY", site.proxy_url)
        monkeypatch.setenv("ENGINE_CA_BUNDLE", str(site.ca_bundle))
        monkeypatch.setenv("ENGINE_OUTPUT", str(queue.parent / "out"))
        app = opened(served.token)
        assert not app.exception
        assert (app.sidebar.slider[0].min, app.sidebar.slider[0].max) == (2, 20)
        app.sidebar.text_area[0].set_value("\n".join(names))
        app.sidebar.text_input[0].set_value("20/s")
        app.sidebar.slider[0].set_value(5)
        app.sidebar.button[-1].click().run()
        assert not app.exception
        assert "60 added" in app.text[0].value
        assert app.sidebar.text_area[0].value == ""
        batch = Batch(queue)
        until(batch.live_settings, HANG_S, "for the run to say what it is set to")
        settings = batch.live_settings()
        assert settings is not None and (settings.processes, settings.threads) == (1, 5)

        batch.set(threads=9)  # from elsewhere: the slider follows
        app.run()
        assert app.sidebar.slider[0].value == 9
        app.sidebar.slider[0].set_value(3).run()
        settings = batch.live_settings()
        assert settings is not None and settings.threads == 3
        app.sidebar.toggle[0].set_value(True).run()
        settings = batch.live_settings()
        assert settings is not None and settings.threads == 1
        press(app, "Pause")
        assert batch.status().state == "paused"
        batch.set(rate="none", threads=8)
        app.run()
        press(app, "Go on")
        until(lambda: batch.status().finished, HANG_S, "for the run to finish")
        app.run()
        assert [metric.value for metric in app.metric[:2]] == ["60", "0"]
        assert len(app.dataframe[0].value) == 50
    assert engine("verify", "-q", queue).code == 0


class View:
    """A tab on the Streamlit page: what it says on the console and whom it asks."""

    def __init__(self, browser: Any, page: Page, width: int, scheme: str) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900 if width > 500 else 844}, color_scheme=scheme
        )
        self.context.set_default_timeout(HANG_S * 1000)
        self.tab, self.width = self.context.new_page(), width
        self.wrong: list[str] = []
        self.tab.on("console", lambda message: self.wrong.append(message.text))
        self.tab.on(
            "request", lambda sent: None if page.origin[4:] in sent.url else self.wrong.append(sent.url)
        )

    def tab_to(self, name: str) -> None:
        """Move the focus by the keyboard to what a screen reader calls so."""
        for _ in range(60):
            if self.tab.evaluate(_FOCUSED, name):
                return
            self.tab.keyboard.press("Tab")
        raise AssertionError(f"the keyboard does not come to {name}")

    def fits(self, name: str) -> None:
        """Nothing is wider than the screen, and nothing was said; a screenshot where they are wanted."""
        assert self.tab.evaluate("document.documentElement.scrollWidth") <= self.width
        assert self.wrong == []
        if where := os.environ.get("SHOTS"):
            self.tab.wait_for_timeout(1500)
            self.tab.screenshot(path=Path(where) / f"streamlit-{name}.png")


_FOCUSED = """(name) => {
  const on = document.activeElement;
  return [on.ariaLabel, on.innerText, on.closest("label")?.innerText].some((text) => text?.trim().startsWith(name));
}"""


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
def test_the_walk_in_a_browser(tmp_path: Path) -> None:
    """By the keyboard: without the token nothing; start, slide, one after the other, pause, go on. A phone follows.
    Tabs are closed, then the page is killed: the run goes on."""
    sync_api = pytest.importorskip("playwright.sync_api")
    queue = tmp_path / "queue"
    with (
        start_rehearsal(RehearsalSettings(scenarios=("absent=0.1",))) as site,
        sync_api.sync_playwright() as playwright,
    ):
        env = {"ENGINE_PROXY": site.proxy_url, "ENGINE_CA_BUNDLE": str(site.ca_bundle)}
        env |= {"ENGINE_OUTPUT": str(tmp_path / "out")}
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        with Page(queue, "--streamlit", cache=tmp_path / "cache", **env) as page:
            until(lambda: _answers(page), HANG_S, "for Streamlit to listen")
            screen = View(chromium, page, 1200, "light")
            screen.tab.goto(page.origin)
            screen.tab.get_by_text("holds the token").wait_for()
            assert screen.tab.get_by_role("slider").count() == 0
            screen.fits("screen-refused")
            screen.tab.goto(page.address)
            screen.tab.get_by_role("button", name="Start").wait_for()
            screen.fits("screen-empty")
            screen.tab_to("Links, ids")
            screen.tab.keyboard.insert_text("\n".join(invented_ids(200, 11)))
            screen.tab_to("Rate")
            screen.tab.keyboard.press("ControlOrMeta+a")
            screen.tab.keyboard.type("1/s")
            screen.tab_to("Start")
            screen.tab.keyboard.press("Enter")
            screen.tab.get_by_role("button", name="Pause").wait_for()
            batch = Batch(queue)
            until(batch.live_settings, HANG_S, "for the run to say what it is set to")
            screen.tab_to("Videos at once")
            screen.tab.keyboard.press("ArrowRight")
            until(lambda: _threads(batch) == 9, HANG_S, "for the run to follow the slider")

            phone = View(chromium, page, 390, "dark")
            phone.tab.goto(page.address)
            phone.tab.get_by_text("limited by").wait_for()
            phone.fits("phone-running-dark")
            batch.set(threads=3)
            slider = screen.tab.get_by_role("slider")
            sync_api.expect(slider).to_have_value("3", timeout=HANG_S * 1000)
            screen.fits("screen-running")
            screen.tab_to("One after the other")
            screen.tab.keyboard.press("Space")
            until(lambda: _threads(batch) == 1, HANG_S, "for one after the other")
            screen.tab_to("Pause")
            screen.tab.keyboard.press("Enter")
            until(lambda: batch.status().state == "paused", HANG_S, "for the pause")
            phone.tab.get_by_text("paused:").wait_for()
            screen.tab_to("Go on")
            screen.tab.keyboard.press("Enter")
            until(lambda: batch.status().state == "running", HANG_S, "for the run to go on")
            for view in (screen, phone):
                assert view.wrong == []
                view.context.close()
            assert batch.status().live
            batch.set(threads=8)
            for width, scheme in ((1200, "dark"), (390, "light")):
                view = View(chromium, page, width, scheme)
                view.tab.goto(page.address)
                view.tab.get_by_text("limited by").wait_for()
                view.fits(f"{width}-{scheme}")
                view.context.close()
        assert batch.status().live
        batch.set(rate="none")
        until(lambda: batch.status().finished, HANG_S, "for the run to finish")
    assert engine("verify", "-q", queue).code == 0


def _threads(batch: Batch) -> int | None:
    found = batch.live_settings()
    return found.threads if found else None


def _answers(page: Page) -> bool:
    try:
        return page.browser.get(page.origin, timeout=HANG_S).ok
    except requests.ConnectionError:
        return False


def press(app: Any, label: str) -> None:
    next(button for button in app.sidebar.button if button.label == label).click().run()
    assert not app.exception


def test_it_listens_on_loopback_and_sends_no_statistics() -> None:
    given = streamlit_server.arguments(8600)
    assert "--server.address=127.0.0.1" in given
    assert "--browser.gatherUsageStats=false" in given
    assert launch.MOST_AT_ONCE == 20
    assert len(Path(streamlit_server.SCRIPT).read_text().splitlines()) <= 120
    assert os.path.exists(streamlit_server.SCRIPT)
