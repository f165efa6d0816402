"""Transcripts in windows: nothing is lost, and each short phrase is whole in one of them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.model import Cue
from engine.search.windows import OVERLAP_CHARS, WINDOW_S, separated, windows

STARTS = st.lists(st.floats(0, 1e5), max_size=300).map(sorted)


@given(STARTS)
def test_each_cue_is_there_in_order_with_its_start(starts: list[float]) -> None:
    cues = [Cue(start, 1.0, f"cue\n{number}") for number, start in enumerate(starts)]
    wanted = [(cue.start, " ".join(cue.text.split())) for cue in cues]
    at = 0
    for window in windows(cues):
        lines = list(zip(window.starts, window.lines, strict=True))
        first = wanted.index(lines[0], max(0, at - len(lines)))
        assert first <= at
        assert wanted[first : first + len(lines)] == lines
        at = first + len(lines)
    assert at == len(wanted)


def test_windows_are_about_a_minute_and_overlap_by_a_phrase() -> None:
    cues = [Cue(3.0 * number, 3.0, f"word{number} and more") for number in range(100)]
    found = list(windows(cues))
    assert all(window.starts[-1] - window.starts[0] <= WINDOW_S for window in found)
    assert len(found) < 100 * 3 / WINDOW_S * 1.7
    spoken = " ".join(cue.text for cue in cues)
    for at in range(0, len(spoken) - OVERLAP_CHARS, 7):
        phrase = spoken[at : at + OVERLAP_CHARS]
        assert any(phrase in " ".join(window.lines) for window in found), phrase


def test_a_flood_of_text_in_one_second_is_cut_too() -> None:
    cues = [Cue(0.0, 1.0, "many words " * 10) for _ in range(200)]
    assert max(len(window.lines) for window in windows(cues)) < 20


@given(st.text())
def test_separators_change_nothing_else(text: str) -> None:
    assert separated(separated(text)).replace("\u200b", "") == separated(text).replace("\u200b", "")


def test_only_scripts_without_spaces_get_separators() -> None:
    assert separated("Größe héllo мир שלום 한국") == "Größe héllo мир שלום 한국"
    assert separated("雨の").count("\u200b") == 4
