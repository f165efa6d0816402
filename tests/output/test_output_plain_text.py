"""Captions as plain text."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from patience import growth

from engine.model import Cue, Transcript
from engine.output.plain_text import clean, lines, spoken


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        # What looks like markup was said; the fetch has taken out what was none.
        ("the <b> tag, &amp; and &lt;", "the <b> tag, &amp; and &lt;"),
        ("one<br/>two", "one<br/>two"),
        ("[Music]", "[Music]"),
        ("I <3 you, 1 < 2 > 0", "I <3 you, 1 < 2 > 0"),
        ("x<y and y>z", "x<y and y>z"),
        (" a\u00a0 b \r\n\n \u200b\n c\u2028d\x85e", "a b\nc\nd\ne"),
        ("a\x00b\x1b[31mc\x9d", "ab[31mc"),
        ("\ud800x", "\ufffdx"),
        (" \n ", ""),
        ("שלום\u200f!", "שלום\u200f!"),
    ],
)
def test_clean(raw: str, expected: str) -> None:
    assert clean(raw) == expected


@given(st.text() | st.text("<>/bic &;amplt\n 0:.#3-"))
def test_cleaning_twice_changes_nothing(raw: str) -> None:
    text = clean(raw)
    assert clean(text) == text
    text.encode()
    assert "" not in text.split("\n") or text == ""


@given(st.text(st.characters()) | st.text("ab \n\u3000<&\x85\u200b"))
def test_the_short_cut_agrees_with_the_long_way(raw: str) -> None:
    # An invisible character at the end forces the long way.
    assert clean(raw) == clean(f"{raw}\u200b")


def test_a_text_made_to_be_slow_is_not() -> None:
    for act in (lambda n: clean("&" + "amp;" * n), lambda n: clean("<b " * n)):
        assert growth(act, 10_000, 200_000) < 100, "20 times as long; its square would be 400"


def cues(*given: tuple[float, float, str]) -> tuple[Cue, ...]:
    return tuple(Cue(*cue) for cue in given)


def track(given: Iterable[Cue], *, generated: bool = True) -> Transcript:
    return Transcript("en", "English", generated, tuple(given))


@pytest.mark.parametrize(
    ("given_cues", "expected"),
    [
        (cues((0, 2, "a"), (2, 2, "a\nb"), (4, 0.01, "b"), (4.01, 2, "b\nc")), ["a", "b", "c"]),
        (cues((0, 3, "a\nb"), (1, 3, "a\nb\nc"), (2, 3, "b\nc\nd")), ["a", "b", "c", "d"]),
        (cues((0, 2, "a"), (2, 1, " \n "), (2, 2, "a\nb")), ["a", "b"]),
        (
            cues((0, 1, "a\nb"), (1, 1, "b\nno"), (5, 1, "no")),
            ["a", "b", "no", "no"],
        ),  # after a pause: said again
        (cues((0, 1, "a"), (1, 1, "b"), (2, 1, "a")), ["a", "b", "a"]),
        (cues((0, 1, "I"), (1, 1, "I think")), ["I", "I think"]),
        ((), []),
    ],
)
def test_each_line_of_rolling_captions_once(given_cues: tuple[Cue, ...], expected: list[str]) -> None:
    assert lines(track(given_cues)) == expected


CHORUS = cues(
    (0, 2, "Hallelujah"), (2, 2, "Hallelujah"), (4, 2, "Hallelujah\nHallelujah"), (6, 2, "Hallelujah")
)


def test_what_people_wrote_is_never_folded() -> None:
    assert lines(track(CHORUS, generated=False)) == ["Hallelujah"] * 5
    assert spoken(track(CHORUS, generated=False)) == list(CHORUS)


def test_generated_captions_that_do_not_roll_are_not_folded() -> None:
    assert lines(track(cues((0, 2, "no"), (1, 2, "no"), (2, 2, "[Music]"), (3, 2, "[Music]")))) == [
        "no",
        "no",
        "[Music]",
        "[Music]",
    ]


def test_a_line_shown_on_is_one_long_cue() -> None:
    rolled = cues((0, 1, "x"), (1, 1, "x\na"), (2, 3, "a"))
    assert spoken(track(rolled)) == [Cue(0, 1, "x"), Cue(1, 4, "a")]


@given(
    st.lists(st.builds(Cue, st.floats(0, 100), st.floats(0, 5), st.sampled_from(["a", "a\na", "b", "a\nb"])))
)
def test_of_captions_that_people_made_nothing_is_left_out(made: list[Cue]) -> None:
    assert lines(track(made, generated=False)) == [line for cue in made for line in cue.text.split("\n")]


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=3), max_size=20))
def test_rolled_captions_unroll(said: list[list[int]]) -> None:
    """Two lines at a time, as generated captions roll, give back the lines that were said."""
    words = [f"{number}-{'.'.join(map(str, line))}" for number, line in enumerate(said)]
    rolled, shown = [], ""
    for number, word in enumerate(words):
        rolled.append(Cue(number, 0.99, f"{shown}\n{word}"))
        rolled.append(Cue(number + 0.99, 0.01, word))
        shown = word
    assert lines(track(rolled)) == words
