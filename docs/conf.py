"""How Sphinx builds these pages: `scripts/docs`. Nothing is fetched from the network.

The pages are written to be read on GitHub as well. Three of them stand for a longer page that lies where its subject
lies (CHANGELOG.md, queue_dir/README.md, tests/README.md); here that page follows them.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pygments.lexers.shell import BashLexer
from sphinx.application import Sphinx

import engine

ROOT = Path(__file__).parents[1]

project = "engine"
author = copyright = "the engine authors"
version = release = engine.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click", "sphinx_copybutton"]
exclude_patterns = ["_build"]
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
suppress_warnings = ["myst.header"]  # a page that follows another begins one level deeper
copybutton_prompt_text = "$ "
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "fully-qualified"
autodoc_preserve_defaults = True
maximum_signature_line_length = 70
autodoc_class_signature = "separated"
python_use_unqualified_type_names = True
nitpick_ignore_regex = [
    ("py:class", r"(collections\.abc|os|pathlib)\..*|(Export|Import)(Kind|Options)")
]  # no page of ours
default_role = "code"  # docstrings write `names` in single backticks

html_theme = "furo"
html_title = f"engine {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}
pygments_style, pygments_dark_style = "friendly", "github-dark"

man_pages = [
    (
        "reference/command-help",
        "engine",
        "fetch the transcripts of many YouTube videos as one batch",
        author,
        1,
    )
]

FOLLOWS = {"changes": "CHANGELOG.md", "queue-format": "queue_dir/README.md", "testing": "tests/README.md"}
ELSEWHERE = {path: page for page, path in FOLLOWS.items()} | {"README.md": "tutorial/first-transcripts"}
_LINK = re.compile(r"\]\((?:\.\./)+(?P<path>[\w./-]+\.md)(?P<anchor>#[\w-]+)?\)")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def _read(app: Sphinx, name: str, source: list[str]) -> None:
    """Let the longer page follow, and lead links out of docs/ to the page of this site that has the same text."""
    up = "../" * name.count("/")
    text = source[0] + (_toctrees(source[0]) if name == "index" else "")
    if name in FOLLOWS:
        path = FOLLOWS[name]
        text += "\n\n" + _deeper(_within(path, (ROOT / path).read_text(encoding="utf-8")))

    def here(link: re.Match[str]) -> str:
        page = ELSEWHERE.get(link["path"])
        return f"]({up}{page}.md{link['anchor'] or ''})" if page else link[0]

    source[0] = _LINK.sub(here, text)


def _toctrees(text: str) -> str:
    """The menu: each list of the index under its heading, and pages that no list names."""
    sections = re.findall(r"^## (.+)\n((?:(?!^## ).*\n)+)", text + "\n", re.MULTILINE)
    listed = {
        title: re.findall(r"^- \[[^\]]+\]\(([\w./-]+)\.md\)", lines, re.MULTILINE)
        for title, lines in sections
    }
    named = {page for pages in listed.values() for page in pages} | {"index"}
    others = sorted({path.stem for path in (ROOT / "docs").glob("*.md")} - named)
    return "".join(
        "\n\n```{toctree}\n:hidden:\n:caption: " + title + "\n\n" + "\n".join(pages) + "\n```\n"
        for title, pages in ({**listed, "More": others}).items()
        if pages
    )


def _within(path: str, text: str) -> str:
    """Links of a page that lies elsewhere, as they would be in docs/."""
    folder = Path(path).parent

    def there(link: re.Match[str]) -> str:
        target = (ROOT / folder / link[1]).resolve()
        if target.is_relative_to(ROOT / "docs"):
            return f"]({target.relative_to(ROOT / 'docs')}{link[2] or ''})"
        relative = target.relative_to(ROOT).as_posix()
        return f"](../{relative}{link[2] or ''})" if relative in ELSEWHERE else "]{.elsewhere}"

    found = re.sub(r"\]\((?!https?://|#)([^)#\s]+)(#[\w-]+)?\)", there, text)
    return re.sub(r"\[([^\]]+)\]\{\.elsewhere\}", r"\1", found)


def _deeper(text: str) -> str:
    """Every heading one level deeper; what is in blocks stays."""
    blocks = _FENCE.findall(text)
    text = re.sub(r"^(#+ )", r"#\1", _FENCE.sub("\0", text), flags=re.MULTILINE)
    for block in blocks:
        text = text.replace("\0", block, 1)
    return text


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_lexer("crontab", BashLexer)
    app.connect("source-read", _read)
    return {"parallel_read_safe": True}
