"""Markdown with front matter that any YAML parser reads back to the same values."""

import math
import re
from dataclasses import replace

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from engine.model import Chapter, Cue, Metadata, Record, Transcript
from engine.output.markdown import paragraphs, render
from engine.output.plain_text import one_line
from engine.output.yaml import flow

TRICKY = [
    *(
        "yes",
        "no",
        "on",
        "~",
        "null",
        "1e5",
        "0x1F",
        "1:30",
        "2001-12-14",
        ".inf",
        "=",
        "<<",
        "---",
        "...",
        "# a",
    ),
    *("- a", "a: b", "{a}", "[a]", "&a", "*a", "!a", "%a", "@a", "`a", '"', "'", "\\", " a ", ""),
    *(
        "\x00\x1b\x7f\x85\x9f",
        "\u2028\u2029",
        "\ufeffa",
        "\ufffe\uffff",
        "😀",
        "\u202ea",
        "a\r\n---\ntitle: x",
        "\t",
    ),
    *("\U0001fffe\U0010ffff", "/", "\u00a0", "x" * 3000),
]


def record(text: str = "t", cues: tuple[Cue, ...] = (), **given_input: object) -> Record:
    metadata = Metadata(text, text, text, 213, 5, (text, "k"), text)
    return Record(
        "aaaaaaaaaa1", metadata, Transcript(text, text, True, cues), {**given_input}, "2026-01-01T00:00:00Z"
    )


def front(markdown: str) -> dict[str, object]:
    head, _, _ = markdown.removeprefix("---\n").partition("\n---\n")
    read = yaml.safe_load(head)
    assert isinstance(read, dict)
    return read


def written(text: str) -> str:
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


@pytest.mark.parametrize("text", TRICKY)
def test_tricky_texts(text: str) -> None:
    check_front(text, {text: text, "x" + text: [text, {"k": text}]})


@given(
    st.text(st.characters()),
    st.dictionaries(st.text(), st.recursive(st.text() | st.none() | st.booleans(), st.lists), max_size=3),
)
def test_any_text(text: str, given_input: dict[str, object]) -> None:
    check_front(text, given_input)


def check_front(text: str, given_input: dict[str, object]) -> None:
    made = record(text)
    made = Record(made.video_id, made.metadata, made.transcript, given_input, made.fetched_at)
    same = written(text)
    assert front(render(made)) == {
        "video_id": "aaaaaaaaaa1",
        "url": "https://www.youtube.com/watch?v=aaaaaaaaaa1",
        "title": same,
        "channel": same,
        "channel_id": same,
        "duration_s": 213,
        "view_count": 5,
        "keywords": [same, "k"],
        "description": same,
        "language": same,
        "language_name": same,
        "is_generated": True,
        "fetched_at": "2026-01-01T00:00:00Z",
        "input": given_input,
    }


NUMBERS = st.integers() | st.floats() | st.sampled_from([1e16, 1e-7, 1e22, 1.5e300, -0.0])


@given(st.recursive(NUMBERS | st.text(max_size=2000), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_any_value(value: object) -> None:
    read = yaml.safe_load(f"a: {flow(value)}\n")["a"]
    assert repr(read) == repr(value) or same(read, value)


def same(one: object, two: object) -> bool:
    if isinstance(one, float) and isinstance(two, float):
        return one == two or (math.isnan(one) and math.isnan(two))
    return type(one) is type(two) and one == two


def test_what_is_unknown_is_null() -> None:
    made = Record(
        "aaaaaaaaaa1", Metadata(), Transcript("en", "English", False, ()), {}, "2026-01-01T00:00:00Z"
    )
    assert front(render(made))["title"] is None
    assert render(made).endswith("---\n\n# aaaaaaaaaa1\n")


def test_paragraphs() -> None:
    cues = [
        *(Cue(second, 1.0, f"w{second}") for second in range(70)),
        Cue(80.5, 1, "after a pause"),
        Cue(81, 1, "still"),
        Cue(82, 1, "me\n>> you"),
    ]
    assert list(paragraphs(Transcript("en", "English", True, tuple(cues)))) == [
        (0, " ".join(f"w{second}" for second in range(60))),
        (60, " ".join(f"w{second}" for second in range(60, 70))),
        (80.5, "after a pause still me"),
        (82, ">> you"),
    ]


def test_a_chapter_is_a_heading_before_the_paragraph_that_it_begins_with() -> None:
    chapters = (
        Chapter(0, "Intro"),
        Chapter(10, "C# & *all*"),
        Chapter(11, "Short"),
        Chapter(900, "After the end"),
    )
    cues = tuple(Cue(second, 1.0, f"w{second}") for second in range(9, 14))
    made = record("t", cues)
    made = replace(made, metadata=replace(made.metadata, chapters=chapters))
    body = render(made).split("\n---\n\n", 1)[1]
    lines = [re.sub(r"\(http.*\)", "", line) for line in body.splitlines() if line]
    assert lines[1:] == [
        "## Intro",
        "[00:09] w9",
        r"## C\# & \*all\*",
        "[00:10] w10",
        "## Short",
        "[00:11] w11 w12 w13",
    ]


@given(st.text(st.characters(exclude_categories=["Cs"])) | st.text("[]()<>!*_`~#|&;amp\\-a :\n/h1"))
@example("&amp; &lt;i&gt; &#35; [[a]] [a](b) ~~x~~ #")
def test_foreign_text_makes_no_markup(text: str) -> None:
    body = render(record(text, (Cue(3700, 1, text),))).split("\n---\n\n", 1)[1]
    kinds = set()
    for token in MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(body):
        kinds.add(token.type)
        kinds.update(child.type for child in token.children or ())
        if token.type == "heading_open":
            assert token.tag == "h1"
            assert token.map == [0, 1]
        if token.type == "inline" and token.map == [0, 1]:
            shown = "".join(child.content for child in token.children or ())
            assert shown == (one_line(text) or "aaaaaaaaaa1")
    inline = {"text", "text_special", "inline", "link_open", "link_close"}
    assert kinds <= {"heading_open", "heading_close", "paragraph_open", "paragraph_close", *inline}
    links = re.findall(r"^\[1:01:40\]\(https://www\.youtube\.com/watch\?v=aaaaaaaaaa1&t=3700s\) ", body, re.M)
    tokens = MarkdownIt("commonmark").parse(body)
    assert sum(child.type == "link_open" for token in tokens for child in token.children or ()) == len(links)
