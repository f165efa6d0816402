"""A held answer in a `try` line: it comes back as it was, or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.model import Failure, Kind, Metadata, Refused, RequestCost
from engine.worker import kept

NAMES = ("p001 host:1", "p002 host:2")
ABOUT = Metadata(title="About ☂", channel="Someone", channel_id="UC1", duration_s=61)
RUN, AT = "20261122T210311Z-1-abcdef", 100.0


def line(metadata: Metadata | None = ABOUT, **more: Any) -> dict[str, Any]:
    """A `try` line as it is read from a journal."""
    got = Refused(Failure(Kind.NO_CAPTIONS, "it has none"), RequestCost(2, 1000), metadata)
    body = {"job": "x" * 11, "message": "it has none", "egress": NAMES[1], "doubted": False}
    body["held"] = kept.note(RUN, got, AT, 0.25)
    read: dict[str, Any] = json.loads(json.dumps(body))
    read["held"].update(more.pop("held", {}))
    return {**read, **more}


@pytest.mark.parametrize("metadata", [ABOUT, Metadata(), Metadata(title="alone")])
def test_it_comes_back_as_it_was_and_costs_nothing_more(metadata: Metadata) -> None:
    its = kept.read(line(metadata), RUN, NAMES, AT + 1)
    got = Refused(Failure(Kind.NO_CAPTIONS, "it has none"), RequestCost(), metadata)
    assert its == kept.Kept(got, 1, AT, 0.25)


def test_what_waited_because_nobody_could_speak_for_it_says_so() -> None:
    its = kept.read(line(doubted=True), RUN, NAMES, AT + 1)
    assert its is not None
    assert its.looked


@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        {"held": None},
        {"held": {}},
        line(held={"run": "another"}),
        line(held={"at": AT + 2}),  # of another boot
        line(held={"at": -1.0}),
        line(held={"at": float("nan")}),
        line(held={"at": True}),
        line(held={"elapsed_s": "long"}),
        line(egress="p003 host:3"),
        line(egress=None),
        line(message=None),
    ],
)
def test_of_anything_else_nothing_is_believed(body: dict[str, Any] | None) -> None:
    assert kept.read(body, RUN, NAMES, AT + 1) is None


def test_without_a_run_nothing_is_kept() -> None:
    assert kept.read(line(held={"run": ""}), "", NAMES, AT + 1) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda its: st.lists(its, max_size=3) | st.dictionaries(st.text(max_size=5), its, max_size=3),
    max_leaves=6,
)
FIELDS = ("at", "elapsed_s", "title", "channel", "channel_id", "duration_s")


@given(held=st.dictionaries(st.sampled_from(FIELDS), JSON), more=st.dictionaries(
    st.sampled_from(("egress", "message", "doubted")), JSON))  # fmt: skip
def test_a_whole_line_may_hold_anything(held: dict[str, Any], more: dict[str, Any]) -> None:
    its = kept.read(line(held=held, **more), RUN, NAMES, AT + 1)
    if its is not None:
        about = its.got.metadata
        assert about is not None
        assert all(text is None or isinstance(text, str) for text in (about.title, about.channel))
        assert about.duration_s is None or type(about.duration_s) is int
        assert 0 <= its.at <= AT + 1
