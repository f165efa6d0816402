"""A newcomer's way by the page alone, in Chromium: a first try, slips in the form, a file in another encoding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from browser_rig import HANG_MS, PHONE, SCREEN, Tab, findings, needs_chromium, sync_api
from page_rig import Page

pytestmark = needs_chromium


@pytest.mark.parametrize(("size", "scheme"), [(SCREEN, "light"), (PHONE, "dark")], ids=["screen", "phone"])
def test_one_click_rehearses(tmp_path: Path, chromium: Any, size: dict[str, int], scheme: str) -> None:
    """No link is needed: Start, and the results are offered at the top."""
    name = f"first-try-{size['width']}-{scheme}"
    with Page(None, "--rehearse", cache=tmp_path / "cache", ENGINE_PROXY="http://127.0.0.1:1") as page:
        tab = Tab(chromium, page, size, scheme, bypass_csp=True)
        tab.sees("#summary", "rehearsal: made-up videos")
        tab.sees("#preview", "1 to list")
        tab.fits(name)
        tab.tab.locator("#rate").fill("none")
        tab.sees("#go", "Start").click()
        tab.sees("#summary .state", "finished")
        tab.sees("#next .steps li", "Get the table")
        assert tab.tab.locator("#next").bounding_box()["y"] < tab.tab.locator("#chart").bounding_box()["y"]
        tab.sees("#rows [data-video]")
        tab.fits(f"{name}-finished")
        assert findings(tab.tab) == []
        with tab.tab.expect_download() as found:
            tab.tab.locator("#next a", has_text="Get the texts").click()
        assert found.value.suggested_filename == "texts.zip"
        tab.context.close()


def test_a_slip_is_said_once_beside_the_form(tmp_path: Path, chromium: Any) -> None:
    with Page(tmp_path / "queue", cache=tmp_path / "cache", ENGINE_PROXY="http://127.0.0.1:1") as page:
        tab = Tab(chromium, page, SCREEN, "light")
        tab.sees("#text").fill("dQw4w9WgXcQ\nno video")
        tab.sees("#preview", "2 read: 1 new")
        tab.sees("#preview", "line 2: no video: ")
        tab.tab.locator("#languages").fill("deutsch")
        tab.tab.locator("#languages").blur()
        tab.sees("#preview.bad", "Languages: 'deutsch'")
        with tab.tab.expect_response("**/do/start"):
            tab.tab.locator("#go").click()
        tab.sees("#preview.bad", "Languages: 'deutsch'")
        assert tab.tab.locator("#said").is_hidden()
        said = [text for text in tab.wrong if "400" not in text]  # Chromium notes each refusal
        tab.wrong = said
        tab.fits("slip")
        tab.context.close()
    assert not (tmp_path / "queue").exists()


def test_another_encoding_is_chosen_where_it_was_guessed(tmp_path: Path, chromium: Any) -> None:
    rows = "url,note\n" + "https://youtu.be/dQw4w9WgXcQ,für Müller\n" * 3
    (tmp_path / "Liste.csv").write_bytes(rows.encode("cp1252"))
    with Page(tmp_path / "queue", cache=tmp_path / "cache", ENGINE_PROXY="http://127.0.0.1:1") as page:
        tab = Tab(chromium, page, PHONE, "light")
        tab.sees("#text")
        assert tab.tab.locator("#encoding").is_hidden()
        tab.tab.locator("#file").set_input_files(tmp_path / "Liste.csv")
        tab.sees("#preview", "Liste.csv: read as Windows-1252")
        tab.fits("encoding")
        tab.sees("#encoding").select_option("cp1250")
        sync_api.expect(tab.tab.locator("#preview")).not_to_contain_text("read as", timeout=HANG_MS)
        assert tab.tab.locator("#encoding").is_visible()
        tab.fits("encoding-chosen")
        tab.context.close()


def test_the_example_makes_way_for_a_list(tmp_path: Path, chromium: Any) -> None:
    (tmp_path / "mine.txt").write_text("dQw4w9WgXcQ\n")
    with Page(None, "--rehearse", cache=tmp_path / "cache", ENGINE_PROXY="http://127.0.0.1:1") as page:
        tab = Tab(chromium, page, SCREEN, "light")
        tab.sees("#preview", "1 to list")
        tab.tab.locator("#file").set_input_files(tmp_path / "mine.txt")
        tab.sees("#preview", "1 read: 1 new")
        assert tab.tab.locator("#text").input_value() == ""
        tab.context.close()
