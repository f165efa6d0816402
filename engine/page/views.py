"""HTML from templates. Whatever is foreign in it (titles, messages, names) is escaped, after `printable` took control
characters and bidi overrides out of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import jinja2

from engine.model import Record
from engine.output.markdown import paragraphs
from engine.output.terminal import printable
from engine.units import duration, size

_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_LIMITS = {
    "rate": "the rate you set",
    "blocks": "blocks: every connection waits",
    "network": "the network: no connection works",
    "workers": "videos at once: more would be faster",
    "nothing": "nothing",
}


def render(template: str, **values: Any) -> str:
    """A template with these values, as HTML."""
    return _templates().get_template(template).render(**values)


@cache
def _templates() -> jinja2.Environment:
    found = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader("engine.page"), jinja2.PackageLoader("engine.report")]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: printable(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "number": lambda value: f"{value:,}",
        "size": size,
        "duration": duration,
        "cut": printable,
        "clock": clock,
    }
    found.filters["kind_words"] = lambda kind: str(kind).replace("_", " ")
    found.tests["id"] = lambda value: isinstance(value, str) and _ID.fullmatch(value) is not None
    found.filters["limit"] = limit_words
    return found


def limit_words(limited_by: str) -> str:
    """What limits a run, in words."""
    return _LIMITS.get(limited_by, limited_by)


def clock(time_s: float) -> str:
    """A moment of a video: `1:02:03`, `02:03`."""
    minutes, s = divmod(int(time_s), 60)
    h, m = divmod(minutes, 60)
    return f"{h}:{m:02d}:{s:02d}" if h else f"{m:02d}:{s:02d}"


def spoken(record: Record) -> Iterator[tuple[int, str]]:
    """The transcript as (second, paragraph)."""
    return ((int(start_s), text) for start_s, text in paragraphs(record.transcript))
