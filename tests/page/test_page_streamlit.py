"""The Streamlit page, by Streamlit's own harness: without a browser, and its script in this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import engine
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
