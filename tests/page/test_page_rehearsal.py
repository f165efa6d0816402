"""`engine page --rehearse`: a first try by the page alone, and what other pages say of its queue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import recount
from commands import Ended, engine
from page_rig import Page
from patience import HANG_S, until

from engine.monitor import status
from engine.queue.making import make_queue
from engine.rehearsal import invented_ids


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory in which a batch was rehearsed by the page, in the default queue, without a proxy that works."""
    root = tmp_path_factory.mktemp("tried")
    with Page(None, "--rehearse", cache=root / "cache", ENGINE_PROXY="http://127.0.0.1:1") as page:
        first = page.enter().get("/").text
        assert "rehearsal: made-up videos" in first and "YouTube is not asked" in first
        assert ">@made-up-30</textarea>" in first and 'data-startable="1"' in first
        assert not (root / "rehearsal_queue").exists()
        started = page.do("start", text="@made-up-30", rate="none", at_once=8, languages="en")
        assert started.status_code == 200, started.text
        queue = root / "rehearsal_queue"
        until(
            lambda: status.collect(str(queue))["state"] == "finished",
            HANG_S,
            "for the rehearsal to finish",
            each_s=0.1,
        )
        again = page.do("start", text="dQw4w9WgXcQ", rate="none").json()
        assert again["ok"] and "1 added" in again["say"]
        until(lambda: len(recount.manifest(queue)) == 31, HANG_S, "for one more video", each_s=0.1)
        shown = page.get("/").text
        assert "rehearsal: made-up videos" in shown and "made-up-30</textarea>" not in shown
        assert "This is a rehearsal: go on with" not in shown
    yield root


def test_a_first_try(tried: Path) -> None:
    """The fixture walks it: the run needs no network, and its texts are in the folder of rehearsals."""
    rows = recount.manifest(tried / "rehearsal_queue")
    assert {row["status"] for row in rows} == {"ok"}
    assert (tried / "rehearsal_out" / rows[0]["files"]["md"]).exists()


def test_another_page_says_why_there_is_no_start(tried: Path) -> None:
    queue = tried / "rehearsal_queue"
    before = recount.seeded(queue)
    with Page(queue, cache=tried / "cache") as page:
        shown = page.enter().get("/").text
        assert "This is a rehearsal: go on with" in shown
        assert (
            f"engine rehearse --videos 0 -q {queue}" in shown
            and f"engine page --rehearse -q {queue}" in shown
        )
        assert 'data-startable="0"' in shown
        for verb in ("check", "start"):
            refused = page.do(verb, text="9bZkp7q19f0")
            assert (refused.status_code, "is a rehearsal" in refused.json()["say"]) == (400, True)
    assert recount.seeded(queue) == before


def test_what_another_batch_wrote_is_replaced_when_asked(tmp_path: Path) -> None:
    out, queue = tmp_path / "out", tmp_path / "second"
    names = list(invented_ids(3, 4))
    assert engine("rehearse", "-q", tmp_path / "first", "-o", out, *names).code == 0
    with Page(queue, "--rehearse", cache=tmp_path / "cache", ENGINE_OUTPUT=str(out)) as page:
        page.enter().do("start", text="\n".join(names), rate="none", at_once=4)
        until(lambda: len(recount.manifest(queue)) == 3, HANG_S, "for the second batch", each_s=0.1)
        assert {row["kind"] for row in recount.manifest(queue)} == {"kept"}
        until(lambda: "Fetch and replace" in page.get("/").text, HANG_S, "for what is next", each_s=0.1)
        assert "3 were not written" in page.get("/").text
        engine("wait", "-q", queue)
        said = page.do("replace", rate="none", at_once=4).json()
        assert said["ok"] and said["say"].startswith("3 are tried again"), said
        until(lambda: len(recount.manifest(queue)) == 3, HANG_S, "for the third run", each_s=0.1)
        assert {row["status"] for row in recount.manifest(queue)} == {"ok"}
        engine("wait", "-q", queue)


def test_a_real_queue_is_not_rehearsed(tmp_path: Path) -> None:
    make_queue(str(tmp_path / "real"))
    refused: Ended = engine("page", "--rehearse", "-q", tmp_path / "real")
    assert (refused.code, "is a real one" in refused.err) == (2, True), refused.said


def test_it_is_no_streamlit_page(tmp_path: Path) -> None:
    refused = engine("page", "--rehearse", "--streamlit", "-q", tmp_path / "q")
    assert refused.code == 2 and not (tmp_path / "q").exists()
