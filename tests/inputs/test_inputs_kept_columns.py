"""Which columns are kept."""

from __future__ import annotations

import pytest

from engine.inputs import Keep, Line

GIVEN = {"Topic": "x", "n": 1, "a,b": 2}


@pytest.mark.parametrize(
    ("text", "kept", "missed"),
    [
        ("all", GIVEN, []),
        (" All ", GIVEN, []),
        ("none", {}, []),
        ("topic", {"Topic": "x"}, []),
        ("n, TOPIC", {"Topic": "x", "n": 1}, []),
        ('"a,b",Other', {"a,b": 2}, ["Other"]),
    ],
)
def test_what_is_kept(text: str, kept: dict[str, object], missed: list[str]) -> None:
    keep = Keep(text)
    lines = [Line("f", 1, "t", "aaaaaaaaaa1", dict(GIVEN), None), Line("f", 2, "t", None, {}, "why")]
    first, second = keep.of(lines)
    assert first.input == kept
    assert (second.input, second.reason) == ({}, "why")
    assert keep.missed() == missed


@pytest.mark.parametrize("text", ["", " ", ",", ", ,"])
def test_nothing_is_no_answer(text: str) -> None:
    with pytest.raises(ValueError, match="all, none"):
        Keep(text)
