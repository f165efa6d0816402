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

from engine.batch import Batch
from engine.page import launch, streamlit_server
from engine.page.streamlit_server import served
from engine.rehearsal import RehearsalSettings, invented_ids
from engine.rehearsal import start as start_rehearsal

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


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")
def test_a_browser_starts_a_batch_and_its_end_ends_nothing(tmp_path: Path) -> None:
    """Without the token nothing; the slider moves the run; tabs are closed, then the page is killed: it goes on."""
    sync_api = pytest.importorskip("playwright.sync_api")
    queue = tmp_path / "queue"
    said: list[str] = []
    with start_rehearsal(RehearsalSettings()) as site, sync_api.sync_playwright() as playwright:
        env = {"ENGINE_PROXY": site.proxy_url, "ENGINE_CA_BUNDLE": str(site.ca_bundle)}
        env |= {"ENGINE_OUTPUT": str(tmp_path / "out")}
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        with Page(queue, "--streamlit", cache=tmp_path / "cache", **env) as page:
            tab = chromium.new_page()
            tab.set_default_timeout(HANG_S * 1000)
            tab.on("console", lambda message: said.append(message.text))
            tab.on("request", lambda sent: None if page.origin[4:] in sent.url else said.append(sent.url))
            until(lambda: _answers(page), HANG_S, "for Streamlit to listen")
            tab.goto(page.origin)
            tab.get_by_text("holds the token").wait_for()
            assert tab.get_by_role("slider").count() == 0
            tab.goto(page.address)
            tab.get_by_label("Rate").fill("10/s")
            tab.get_by_label("Links, ids").fill("\n".join(invented_ids(80, 11)))
            tab.get_by_role("button", name="Start").click()
            tab.get_by_role("button", name="Pause").wait_for()
            batch = Batch(queue)
            until(batch.live_settings, HANG_S, "for the run to say what it is set to")
            tab.get_by_role("slider").press("ArrowRight")
            until(lambda: _threads(batch) == 9, HANG_S, "for the run to follow the slider")
            batch.set(threads=3)
            slider = tab.get_by_role("slider")
            sync_api.expect(slider).to_have_value("3", timeout=HANG_S * 1000)
            assert said == []
            tab.close()
            assert batch.status().live
        assert batch.status().live
        batch.set(rate="none")
        until(lambda: batch.status().finished, HANG_S, "for the run to finish")


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
