"""Passages: every word in order, about so many a piece, cut where somebody pauses."""

from __future__ import annotations

import json
from pathlib import Path

import canned_batch
import pytest
from canned_batch import Canned
from hypothesis import given
from hypothesis import strategies as st
from support import ids

from engine import Batch, UsageError
from engine.export.passages import SLACK, passages
from engine.model import Cue

CUES = st.lists(st.tuples(st.floats(0, 3), st.floats(0, 8), st.integers(0, 60)), max_size=40)


@given(CUES, st.integers(1, 120), st.data())
def test_every_word_is_there_in_order(
    shape: list[tuple[float, float, int]], words: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(0, words - 1))
    cues, start, number = [], 0.0, 0
    for pause, duration, count in shape:
        start += pause
        cues.append(Cue(start, duration, " ".join(f"w{number + n}" for n in range(count))))
        start, number = start + duration, number + count
    found = list(passages(cues, words, overlap))
    seen = -1
    for before, piece in zip([None, *found], found, strict=False):
        numbers = [int(word[1:]) for word in piece.text.split()]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert len(numbers) == piece.words
        assert numbers[0] <= seen + 1
        assert seen - numbers[0] + 1 <= overlap
        assert numbers[-1] > seen
        assert piece.words <= words * (1 + SLACK) + max(1, min(words // 4, 40))
        assert piece.end_s >= piece.start_s
        assert before is None or piece.start_s >= before.start_s
        seen = numbers[-1]
    assert seen == number - 1
    assert all(piece.words >= words * (1 - SLACK) for piece in found[:-1])


def test_it_is_cut_at_the_longest_pause() -> None:
    cues = [Cue(n * 1.0 + (5 if n >= 21 else 0), 1.0, "one two three four five") for n in range(60)]
    first, second, *_ = passages(cues, 100, 0)
    assert (first.words, second.start_s) == (105, 26.0)


def test_a_sentence_counts_as_a_pause() -> None:
    cues = [Cue(n * 1.0, 1.0, f"one two three four five{'.' if n == 21 else ''}") for n in range(60)]
    assert next(passages(cues, 100, 0)).text.endswith("five.")


def test_lines_with_times_and_links(tmp_path: Path) -> None:
    cues = tuple(Cue(n * 2.0, 2.0, f"word{n} and more") for n in range(200))
    queue = canned_batch.batch(
        tmp_path, [Canned(ids(1)[0], cues=cues), Canned(ids(2)[1], kind=canned_batch.Kind.PRIVATE)]
    )
    result = Batch(queue.root).export("passages", tmp_path / "x", words=90, overlap=9)
    found = [json.loads(line) for line in (tmp_path / "x/passages.jsonl").read_bytes().splitlines()]
    assert result.rows == len(found) > 5
    name = ids(1)[0]
    for number, piece in enumerate(found):
        first = int(piece["text"].split()[0].removeprefix("word"))
        assert piece["start"] == first * 2.0
        assert piece["url"] == f"https://www.youtube.com/watch?v={name}&t={first * 2}s"
        assert (piece["id"], piece["video_id"], piece["title"]) == (f"{name}:{number}", name, "A title")
    assert found[1]["text"].split()[:9] == found[0]["text"].split()[-9:]


def test_an_overlap_must_be_less_than_the_words(tmp_path: Path) -> None:
    queue = canned_batch.batch(tmp_path, canned_batch.some(1))
    with pytest.raises(UsageError, match="--overlap"):
        Batch(queue.root).export("passages", tmp_path / "x", words=10, overlap=10)
