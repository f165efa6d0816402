"""The page: sound HTML, self-contained, and no text of the site's becomes part of it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from night_before import EVENING, HOSTILE, a_night

from engine import report
from engine.report import html
from engine.report.run_history import Notable
from engine.report.timeline import Span

VOID = {"meta", "rect", "path", "br"}
OPTIONAL = {"th", "td"}  # their end may be left out


class Outline(HTMLParser):
    """Elements and attributes of a page, and its text; fails on an element that is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        while self._open[-1] in OPTIONAL and self._open[-1] != tag:
            self._open.pop()
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> report.Report:
    return report.make(a_night(tmp_path_factory.mktemp("page") / "q", left=3).root, price_per_gb=4)


def test_sound_and_whole(night: report.Report) -> None:
    text = report.page(night)
    outline = Outline(text)
    assert text.startswith("<!doctype html>\n")
    assert outline.elements["details"] == 5
    assert outline.elements["svg"] == outline.elements["h1"] == outline.elements["main"] == 1
    said = " ".join(outline.words)
    for words in (
        "1,800",
        "every egress blocked",
        "no connection",
        "no run",
        "a process died",
        "nearly full",
    ):
        assert words in said
    assert len(text) < 60_000


def test_self_contained(night: report.Report) -> None:
    text = report.page(night)
    outline = Outline(text)
    assert not set(outline.elements) & {
        "script",
        "img",
        "link",
        "iframe",
        "object",
        "embed",
        "base",
        "form",
        "use",
    }
    assert "default-src 'none'" in next(value for _, name, value in outline.attributes if name == "content")
    outside = [(tag, name) for tag, name, value in outline.attributes if "//" in value and name != "xmlns"]
    assert set(outside) == {("a", "href")}  # to be clicked, not loaded
    assert "url(" not in text and "@import" not in text
    assert not any(name.startswith("on") for _, name, _ in outline.attributes)


def test_the_drawing_is_well_formed(night: report.Report) -> None:
    found = re.search(r"<svg.*?</svg>", report.page(night), re.DOTALL)
    assert found
    root = ET.fromstring(found[0])
    sorts = Counter(child.get("class") for child in root)
    assert (sorts["blocked"], sorts["offline"], sorts["idle"], sorts["death"]) == (1, 1, 1, 2)
    width = float(root.get("viewBox", "").split()[2])
    for child in root.iter("{http://www.w3.org/2000/svg}rect"):
        assert float(child.get("x", "")) >= 0 and float(child.get("height", "")) <= 100
        assert float(child.get("x", "")) + float(child.get("width", "")) <= width + 0.2


def with_text(item: report.Report, text: str) -> report.Report:
    """Every place where foreign text may stand says this."""
    example = {"video_id": text, "title": text, "message": text}
    return replace(
        item,
        queue=text,
        kinds=tuple(replace(kind, examples=(example,)) for kind in item.kinds),
        worst=({"name": text, "state": text, "requests": 9, "blocked": 1, "blocked_share": 0.1},),
        deaths={text: 3},
        notable=(Notable(text, 2, EVENING, EVENING, text),),
    )


@pytest.mark.parametrize(
    "text", [HOSTILE, "]]>-->", "'\"><svg onload=x>", "&lt;b&gt;", "<!--", "\u202e\u2066x"]
)
def test_hostile_text_stays_text(night: report.Report, text: str) -> None:
    plain, outline = (
        Outline(report.page(with_text(night, "plain"))),
        Outline(report.page(with_text(night, text))),
    )
    assert outline.elements == plain.elements
    assert [(tag, name) for tag, name, _ in outline.attributes] == [
        (tag, name) for tag, name, _ in plain.attributes
    ]
    assert not {"\u202e", "\u2066", "\x1b"} & set("".join(outline.words))


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.text(max_size=80))
def test_any_text_stays_text(night: report.Report, text: str) -> None:
    plain, outline = (
        Outline(report.page(with_text(night, "plain"))),
        Outline(report.page(with_text(night, text))),
    )
    assert outline.elements == plain.elements


def test_a_link_only_for_what_is_an_id(night: report.Report) -> None:
    example = {"video_id": "dQw4w9WgXcQ", "title": "", "message": ""}
    item = replace(
        night, kinds=(replace(night.kinds[0], examples=(example, {**example, "video_id": "javascript:x"})),)
    )
    links = [
        value for tag, name, value in Outline(report.page(item)).attributes if (tag, name) == ("a", "href")
    ]
    assert links == ["https://www.youtube.com/watch?v=dQw4w9WgXcQ"]


def test_thousands_of_spells_make_no_large_page(night: report.Report) -> None:
    assert night.chart is not None
    spans = tuple(Span(EVENING + 3.6 * n, EVENING + 3.6 * n + 1, "blocked") for n in range(10_000))
    deaths = tuple(EVENING + n for n in range(30_000))
    text = report.page(replace(night, chart=replace(night.chart, closed=spans, deaths=deaths)))
    assert len(text) < 150_000


def test_all_that_a_template_is_given_is_escaped_and_cleaned() -> None:
    """Structural: a new value in a template needs no one to think of it."""
    made = html._templates().from_string("<b title='{{ x }}'>{{ x }}</b>").render(x="<i>'\u202e\x1b[2J&")
    assert made == "<b title='&lt;i&gt;&#39;&amp;'>&lt;i&gt;&#39;&amp;</b>"


def test_the_wheel_holds_the_templates(tmp_path: Path) -> None:
    """As built from setup.cfg: a template that is not named there would be missing only where engine is installed."""
    root = Path(html.__file__).parents[2]
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, tmp_path)
    shutil.copytree(root / "engine", tmp_path / "engine", ignore=shutil.ignore_patterns("__pycache__"))
    build = "from setuptools import setup; setup()"
    subprocess.run([sys.executable, "-c", build, "-q", "build_py", "-d", "built"], cwd=tmp_path, check=True)
    built = tmp_path / "built" / "engine" / "report" / "templates"
    assert {path.name for path in built.iterdir()} == {"page.html", "page.css", "chart.svg"}
    assert (tmp_path / "built" / "engine" / "py.typed").exists()


def test_states_have_their_page(tmp_path: Path, no_fsync: None) -> None:
    from support import batch

    queue: Any = batch(tmp_path, 16)
    assert "What to type next" in report.page(report.make(queue.root))
