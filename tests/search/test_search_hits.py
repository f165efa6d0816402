"""From a text in which FTS5 marked hits to a line of context."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.search.hits import CLOSE, OPEN, Marked, SearchHit, hit

ABOUT = ("dQw4w9WgXcQ", "A title", "A channel", "en")


def marked(text: str) -> str:
    return text.replace("[", OPEN).replace("]", CLOSE)


def test_the_start_is_that_of_the_line_with_the_hit() -> None:
    found = hit(ABOUT, marked("one two\nthree [four]\nfive"), [1.0, 61.5, 70.0])
    assert found == SearchHit(*ABOUT, 61.5, "one two three four five", ((14, 18),))
    assert found.url == "https://www.youtube.com/watch?v=dQw4w9WgXcQ&t=61s"


def test_without_a_start_the_link_goes_to_the_video() -> None:
    found = hit(ABOUT, marked("A [title]"), [])
    assert (found.start_s, found.url) == (None, "https://www.youtube.com/watch?v=dQw4w9WgXcQ")


def test_the_context_is_where_most_hits_are() -> None:
    text = marked("[rain] " + "word " * 80 + "[rain] in the [desert]\n" + "word " * 80)
    found = hit(ABOUT, text, [0.0, 9.0], width=60)
    assert found.text.startswith("…word ") and found.text.endswith(" word…")
    assert [found.text[a:b] for a, b in found.marks] == ["rain", "desert"]
    assert len(found.text) <= 62


@given(
    st.lists(
        st.tuples(st.text("ab 天\u200b\n", max_size=30), st.text("xy 気", min_size=1, max_size=9)),
        min_size=1,
        max_size=9,
    ),
    st.integers(10, 200),
)
def test_marks_are_where_the_hits_are(parts: list[tuple[str, str]], width: int) -> None:
    text = "".join(f"{plain}{OPEN}{word}{CLOSE}" for plain, word in parts)
    whole = Marked.parse(text)
    assert [whole.text[a:b] for a, b in whole.marks] == [word for _, word in parts]
    found = hit(ABOUT, text, [float(n) for n in range(len(whole.lines))], width)
    assert found.marks
    assert {found.text[a:b] for a, b in found.marks} <= {word for _, word in parts}
    assert "\n" not in found.text and "\u200b" not in found.text
    assert found.text.strip("…") in whole.text
