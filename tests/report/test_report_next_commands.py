"""The next commands: the right ones, and as a shell takes them."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.report.next_commands import following, quote


def status(state: str = "finished", **more: Any) -> dict[str, Any]:
    return {"state": state, "total": 10, "ok": 10, "absent": 0, "failed": 0, "kinds": {}, **more}


def lines(
    root: str = "queue_dir", *, rehearsal: bool = False, damaged: bool = False, **more: Any
) -> list[str]:
    return [
        next_command.line
        for next_command in following(root, status(**more), rehearsal=rehearsal, damaged=damaged)
    ]


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ENGINE_QUEUE", raising=False)


def test_all_done() -> None:
    assert lines() == ["engine verify"]


def test_work_left_and_failures_of_both_sorts() -> None:
    kinds = {"timeout": 2, "poison": 1, "network": 1, "private": 1, "no_captions": 1}
    assert lines(state="stopped", ok=2, absent=2, failed=4, kinds=kinds) == [
        "engine run",
        "engine failures",
        "engine retry --kind network,timeout && engine run",
        "engine retry --kind no_captions --older-than 14d && engine run",
    ]


def test_running() -> None:
    assert lines(state="running", ok=1, failed=1, kinds={"timeout": 1}) == [
        "engine status --watch",
        "engine stop",
        "engine failures",
    ]


def test_a_rehearsal_goes_on_as_one() -> None:
    assert lines("rq", rehearsal=True, state="stopped", ok=2) == ["engine rehearse --videos 0 -q rq"]


def test_sources_that_could_not_be_listed_and_that_are_still_to_list() -> None:
    listings = {"open": 0, "done": 2, "failed": 1, "found": 10}
    assert lines(listings=listings) == [
        "engine failures",
        "engine retry --kind listing && engine run",
        "engine verify",
    ]
    assert lines(state="stopped", listings={**listings, "open": 2, "failed": 0}) == ["engine run"]


def test_damage() -> None:
    assert lines(damaged=True) == ["engine verify"]


def test_the_queue_is_named_unless_it_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lines("my queue; rm -rf /") == ["engine verify -q 'my queue; rm -rf /'"]
    monkeypatch.setenv("ENGINE_QUEUE", "elsewhere")
    assert lines() == ["engine verify -q queue_dir"]


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=20))
def test_quoted_words_are_printable(text: str) -> None:
    assert quote(text).isprintable()


@pytest.mark.parametrize("text", ["a b", "it's", "$HOME `x` \\", "\x1b[2J\n'q'\\ é\u202e", "-q", "ä\t☂"])
def test_a_shell_reads_back_what_was_quoted(text: str) -> None:
    said = subprocess.run(["bash", "-c", f"printf %s {quote(text)}"], capture_output=True, check=True)
    assert said.stdout.decode() == text
