"""Foreign text on a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.output.terminal import columns, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 漢", "plain é 漢"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "alink"),
        ("\x9b31mred\x9dtitle\x9c!", "red!"),
        ("\x1bPq\x1b\\a", "a"),
        ("\x1b]0;never ended", "]0;never ended"),
        ("a\r\nb\tc\u2028d\x85e", "a b c d e"),
        ("\u202eevil\u2066\u200b\x00\x07", "evil"),
        ("\ud800", ""),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abcde…"),
        ("漢字漢字", 6, "漢字…"),
        ("a\u0301bc", 3, "a\u0301bc"),
        ("\u0e01\u0e47\u0e01x", 3, "\u0e01\u0e47\u0e01x"),  # Thai, with a mark above
        ("😀😀😀", 5, "😀😀…"),
        ("a b", 2, "a…"),
        ("ab", 1, "…"),
        ("ab", 0, ""),
    ],
)
def test_cut_to_columns(text: str, width: int, shown: str) -> None:
    assert printable(text, width) == shown


@given(st.text(st.characters()) | st.text("\x1b\x9b\x9d\x07[]0;m\\aé漢 "), st.integers(0, 40))
def test_any_text(text: str, width: int) -> None:
    assert printable(text).isprintable()
    assert columns(printable(text, width)) <= width
    assert printable(printable(text)) == printable(text)
