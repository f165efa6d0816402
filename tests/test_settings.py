"""What the first run of a queue freezes, and what it says to another value later."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.budget import BudgetSettings
from engine.budget.rate import Rate
from engine.errors import UsageError
from engine.model import WAYS
from engine.queue.directory import Queue, open_queue
from engine.queue.making import make_queue
from engine.settings import Frozen, Settings, check_rehearsal, freeze

FIRST = Frozen("/out", ("en", "de"), ("md", "srt"))
CONTENT = {"captions": "any", "all_languages": False, "translate": None, "metadata": "basic"}
EVERYTHING = frozenset({"output", "languages", "formats", "rate", "threads", *CONTENT})


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return make_queue(str(tmp_path / "q"))


def test_the_first_run_freezes_and_later_ones_get_it_back(queue: Queue) -> None:
    assert freeze(queue, FIRST, EVERYTHING) == FIRST
    assert queue.read_batch()["frozen"] == {
        "output": "/out",
        "languages": ["en", "de"],
        "formats": ["md", "srt"],
        **CONTENT,
    }
    again = open_queue(queue.root)
    assert freeze(again, FIRST, EVERYTHING) == FIRST
    assert freeze(again, Frozen("/default"), frozenset()) == FIRST
    assert freeze(again, Frozen("/default"), frozenset({"rate"})) == FIRST


@pytest.mark.parametrize(
    ("name", "wanted", "option", "was", "now"),
    [
        ("output", Frozen("/other", FIRST.languages, FIRST.formats), "--output", "/out", "/other"),
        ("languages", Frozen("/out", ("de", "en"), FIRST.formats), "--languages", "en,de", "de,en"),
        ("formats", Frozen("/out", FIRST.languages, ("md",)), "--format", "md,srt", "md"),
        (
            "captions",
            replace(FIRST, captions="manual"),
            "--manual-only and --generated-only",
            "any",
            "manual",
        ),
        ("all_languages", replace(FIRST, all_languages=True), "--all-languages", "off", "on"),
        ("translate", replace(FIRST, translate="fr"), "--translate", "none", "fr"),
        ("metadata", replace(FIRST, metadata="full"), "--metadata", "basic", "full"),
    ],
)
def test_another_value_is_refused_and_both_are_named(
    queue: Queue, name: str, wanted: Frozen, option: str, was: str, now: str
) -> None:
    freeze(queue, FIRST, frozenset())
    with pytest.raises(UsageError) as told:
        freeze(queue, wanted, frozenset({name}))
    said = str(told.value)
    assert said.startswith(f"{option}: ")
    assert f"begun with {was}, not {now};" in said
    assert freeze(queue, wanted, EVERYTHING - {name}) == FIRST
    assert freeze(queue, FIRST, frozenset({name})) == FIRST


def test_everything_that_is_frozen_is_read_back(queue: Queue) -> None:
    all_of_it = Frozen("/out", ("orig",), ("txt",), "generated", True, "fr", "full")
    freeze(queue, all_of_it, frozenset())
    assert freeze(open_queue(queue.root), FIRST, frozenset()) == all_of_it


def test_a_queue_from_before_these_options_has_their_defaults(queue: Queue) -> None:
    old = {"output": "/out", "languages": ["en", "de"], "formats": ["md", "srt"]}
    queue.write_batch({**queue.read_batch(), "frozen": old})
    assert freeze(queue, Frozen("/default", metadata="full"), frozenset()) == FIRST
    assert freeze(queue, FIRST, EVERYTHING) == FIRST
    with pytest.raises(UsageError, match="--translate: this queue was begun with none, not fr"):
        freeze(queue, replace(FIRST, translate="fr"), frozenset({"translate"}))


@pytest.mark.parametrize(
    ("ways", "metadata", "requests"),
    [(WAYS, "basic", 2), (("page",), "basic", 3), (("ios",), "full", 4), (("yt-dlp", "ios"), "full", 5)],
)
def test_requests_per_video(ways: Any, metadata: Any, requests: int) -> None:
    frozen = Frozen("/out", metadata=metadata)
    settings = Settings("q", frozen, (), BudgetSettings(Rate("none")), ways=ways)
    assert settings.requests_per_video == requests


def test_freezing_keeps_what_else_the_batch_says(queue: Queue) -> None:
    before = queue.read_batch()
    freeze(queue, FIRST, frozenset())
    assert {**queue.read_batch(), "frozen": None} == before


@pytest.mark.parametrize("rehearsal", [False, True])
def test_a_rehearsal_and_the_real_thing_are_not_mixed(tmp_path: Path, rehearsal: bool) -> None:
    queue = make_queue(str(tmp_path / "q"), rehearsal=rehearsal)
    check_rehearsal(queue, rehearsal)
    with pytest.raises(UsageError, match="rehears") as told:
        check_rehearsal(queue, not rehearsal)
    assert queue.root in str(told.value)
    assert "-q" in str(told.value)


@pytest.mark.parametrize("data", [b"{", b"\xff", b"", b"[]", b"5", b"[" * 100_000])
def test_a_batch_that_cannot_be_read_is_said(queue: Queue, data: bytes) -> None:
    Path(queue.batch).write_bytes(data)
    with pytest.raises(UsageError, match=r"batch\.json"):
        freeze(queue, FIRST, frozenset())
    with pytest.raises(UsageError, match=r"batch\.json"):
        check_rehearsal(queue, False)


@pytest.mark.parametrize(
    "frozen",
    [
        {},
        {"output": "/out", "languages": 5, "formats": []},
        {"output": ["/out"], "languages": ["en"], "formats": ["md"]},
        {"output": "out", "languages": ["en"], "formats": ["md"]},
        {"output": "/out", "languages": [None], "formats": ["md"]},
    ],
)
def test_a_damaged_batch_is_said(tmp_path: Path, frozen: dict[str, Any]) -> None:
    queue = make_queue(str(tmp_path / "q"))
    queue.write_batch({**queue.read_batch(), "frozen": frozen})
    with pytest.raises(UsageError, match=r"batch\.json is damaged"):
        freeze(queue, Frozen("/out"), frozenset())


def test_a_batch_that_was_changed_is_said(tmp_path: Path) -> None:
    """Another output directory would be written to without a word."""
    queue = make_queue(str(tmp_path / "q"))
    freeze(queue, Frozen("/data/out"), frozenset())
    data, before = Path(queue.batch).read_bytes(), queue.read_batch()
    for at in range(len(data) - 1):
        Path(queue.batch).write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        try:
            found = queue.read_batch()
        except UsageError as exc:
            assert queue.batch in str(exc)
        else:  # white space, or the word that names the sum
            assert {name: found.get(name) for name in before} == before
    Path(queue.batch).write_bytes(data.replace(b"/data/out", b"/data/new"))
    with pytest.raises(UsageError, match="take the line with `crc32` out"):
        queue.read_batch()
    value = json.loads(data.replace(b"/data/out", b"/data/new"))
    del value["crc32"]
    Path(queue.batch).write_text(json.dumps(value))  # somebody moved it on purpose
    assert freeze(queue, Frozen("/x"), frozenset()).output == "/data/new"


def test_no_directory_has_nul_in_its_name() -> None:
    with pytest.raises(ValueError, match="a field is not a text"):
        Frozen.from_json({**Frozen("/data/out").to_json(), "output": "/data\0/out"})
