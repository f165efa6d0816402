"""What copying leaves around an address is taken off, in time that grows with its length."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.inputs import find_source, video_id
from engine.inputs.pasted import plain_query, trimmed, unwrapped

ID = "dQw4w9WgXcQ"
WATCH = "https://www.youtube.com/watch"


@pytest.mark.parametrize(
    "mark",
    [
        "\u200e",
        "\u200f",
        "\u202a",
        "\u202c",
        "\u2060",
        "\ufeff",
        "\u200b",
        "\u00ad",
        "\u2066",
        "\ufe0f",
        "\u061c",
    ],
)
def test_invisible_characters(mark: str) -> None:
    for text in (ID, f"https://youtu.be/{ID}", f"{WATCH}?v={ID}&t=1", f"youtube.com/shorts/{ID}"):
        for shown in (
            mark + text,
            text + mark,
            f" {mark} {text}{mark}\t",
            f'{mark}"{mark}{text}"{mark}',
            text[:-4] + mark + text[-4:],
        ):
            assert video_id(shown) == ID, ascii(shown)
    assert find_source(f"{mark}@handle{mark}") == find_source("@handle")
    assert find_source(f"{mark}search:words{mark}") == find_source("search:words")


@pytest.mark.parametrize(
    "text",
    [
        f"{WATCH}?v\\={ID}",
        f"{WATCH}\\?v\\={ID}\\&t\\=3",
        f"https:\\/\\/www.youtube.com\\/watch?v={ID}",
        f"{WATCH}?v\\u003d{ID}\\u0026t=1",
        f"{WATCH}?t=1&#38;v={ID}",
        f"{WATCH}?t=1&amp;amp;v={ID}",
        f"{WATCH}?v&#x3D;{ID}&#x26;t=1",
        f"https%3A%2F%2Fwww.youtube.com%2Fwatch%3Fv%3D{ID}",
        f"[What it is, at length](https://youtu.be/{ID})",
        f'=HYPERLINK("https://youtu.be/{ID}","watch it")',
        f'=hyperlink( "{WATCH}?v={ID}" )',
        f"1. https://youtu.be/{ID}",
        f"12) {WATCH}?v={ID}",
        f"- https://youtu.be/{ID}",
        f"* {ID}",
        f"\u2022\t{ID}",
        f"https://youtu.be/{ID},",
        f"{WATCH}?v={ID};",
        f"{WATCH}?v={ID}.",
        f"(https://youtu.be/{ID})",
    ],
)
def test_escapes_and_wrappings(text: str) -> None:
    assert video_id(text) == ID


def test_escapes_within_an_id() -> None:
    assert video_id(r"https://youtu.be/a\_b4w9WgXc\-") == "a_b4w9WgXc-"
    assert video_id(r"a\_b4w9WgXc\-") == "a_b4w9WgXc-"


@pytest.mark.parametrize(
    "text",
    [
        f"-{ID}",
        f"- {ID} and more",
        f"https://evil.test\\@youtube.com/watch?v={ID}",
        f"[x](https://evil.test/watch?v={ID})",
        f'=HYPERLINK("https://evil.test/watch?v={ID}")',
        f"https%3A%2F%2Fevil.test%2Fwatch%3Fv%3D{ID}",
        f'=A1&"https://youtu.be/{ID}"',
        f"https://youtu.be/{ID}\u2028https://youtu.be/{ID}",
    ],
)
def test_what_is_still_none(text: str) -> None:
    assert video_id(text) is None


@given(st.text(max_size=40))
def test_nothing_is_added(text: str) -> None:
    assert trimmed(text) in text
    assert len(unwrapped(text)) <= len(text)
    assert len(plain_query(text)) <= len(text)


@pytest.mark.parametrize(
    "make",
    [
        lambda n: "a" + " " * n + "b",
        lambda n: "é" + " " * n + "#",
        lambda n: "x" + "\u200b " * n + "x",
        lambda n: "[x](" + "a" * n,
        lambda n: "[" * n + "](" + ")" * n,
        lambda n: "-" * n + ".mp4",
        lambda n: "x [aaaaaaaaaaa]" * n + ".mp4",
        lambda n: "=HYPERLINK(" + " " * n,
        lambda n: "youtu.be/?" + "&amp;amp;" * n,
        lambda n: "@" + "ก\u0e48" * n,
    ],
)
def test_no_text_is_slow(make: Callable[[int], str]) -> None:
    """Many characters: what grows with the square of the length would take hours."""
    text = make(300_000)
    assert video_id(text) is None
    find_source(text)
