"""Pages of HTML that are no watch history: their links to videos, and nothing else."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.inputs import pages, read

A, B, C = "aaaaaaaaaa1", "-bbbbbbbbb2", "cccccccc_-3"

BOOKMARKS = f"""<!DOCTYPE NETSCAPE-Bookmark-file-1>
<TITLE>Bookmarks</TITLE>
<DL><p>
    <DT><A HREF="https://www.youtube.com/watch?v={A}&amp;t=10s" ADD_DATE="1700000000" ICON="data:,">One</A>
    <DT><A HREF="https://example.com/watch?v={C}">Another site</A>
    <DT><A HREF='https://youtu.be/{B}'>Two</A>
    <DT><A HREF="https://www.youtube.com/@handle">A channel</A>
</DL>
"""
SAVED = f"""<html><head><link href="https://www.youtube.com/watch?v={C}"></head><body>
<script>var a = "<b href='https://youtu.be/{C}'>";</script>
<a id="thumbnail" class="x" href="/watch?v={A}"><img></a><a id="video-title" href="/watch?v={A}&amp;pp=x">One</a>
<a href = "https://www.youtube.com/shorts/{B}">Two</a>
<a href="/playlist?list=PL1">x</a> <a href="{C}">a relative page of eleven characters</a>
</body></html>"""


@pytest.mark.parametrize(("text", "lines"), [(BOOKMARKS, [4, 6]), (SAVED, [3, 4])])
@pytest.mark.parametrize("name", ["page.html", "page.HTM", "page", "-"])
def test_links_to_videos(text: str, lines: list[int], name: str, tmp_path: Path) -> None:
    if name == "-":
        found = list(read("-", stdin=io.BytesIO(text.encode())))
    else:
        (tmp_path / name).write_text(text)
        found = list(read(str(tmp_path / name)))
    assert [(line.line, line.video_id) for line in found] == list(zip(lines, (A, B), strict=True))


def test_a_page_without_a_video(tmp_path: Path) -> None:
    (tmp_path / "x.html").write_text("<html><a href='https://example.com/'>x</a></html>")
    with pytest.raises(UsageError, match=r"x\.html: .*no link to a video"):
        list(read(str(tmp_path / "x.html")))


@given(st.integers(1, 400), st.lists(st.sampled_from([A, B, C, None]), max_size=12))
def test_where_a_page_is_cut_for_reading_makes_no_difference(size: int, names: list[str | None]) -> None:
    text = "".join(f'x > \n<a\nhref="/watch?v={name}">y</a>\n' if name else "<p>\n" for name in names)
    whole = list(pages.links(io.StringIO(text), "x"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "_READ_CHARS", size)
        assert list(pages.links(io.StringIO(text), "x")) == whole
    assert {line.video_id for line in whole} == set(names) - {None}


@pytest.mark.parametrize("piece", ["<a href=", "<a href='/watch?v=", "a", "<", "\n", "<a " + " " * 99])
def test_no_page_is_slow_or_large(piece: str) -> None:
    assert list(pages.links(io.StringIO(piece * (2_000_000 // len(piece))), "x")) == []
