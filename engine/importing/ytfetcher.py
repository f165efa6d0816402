"""What ytfetcher exports of a video as CSV or TXT, in the shape of its JSON (its version 2.4, `services/exports.py`).

    {"title": …, "description": …, "duration": 213.0, "view_count": 5, "transcript": [{"start", "duration", "text"}]}

It writes neither the language nor who made the captions.
"""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Mapping
from typing import Any

_TEXTS = ("title", "description")
_NUMBERS = {"duration": float, "view_count": int}
_FIELDS = ("url", "thumbnails", "uploader_url", *_TEXTS, *_NUMBERS)
# Times are floats as Python prints them. A line of a description or a caption does not look like that.
_TIMES = re.compile(r"(\d+\.\d+(?:e[+-]?\d+)?) --> (\d+\.\d+(?:e[+-]?\d+)?)\r?\n")
_ABOUT = re.compile(rf"^({'|'.join(_FIELDS)}) --> ", re.MULTILINE)
_MS = 3  # decimals: it writes the sum of start and duration


def from_rows(data: bytes) -> dict[str, Any]:
    """What rows of a CSV hold, the first line being their columns.

    With comments there is a row for each, which repeats the last caption. Two columns are called `duration`, and both
    have the caption's. Raises ValueError for what is no CSV.
    """
    text = data.decode("utf-8-sig", "replace").replace("\0", "")
    try:
        rows = [row for row in csv.DictReader(io.StringIO(text, newline="")) if not row.get("comment")]
        said = [{"start": row["start"], "duration": row.get("duration"), "text": row["text"]} for row in rows]
    except csv.Error as exc:
        raise ValueError(f"not CSV: {exc}") from None
    except KeyError as exc:
        raise ValueError(f"no column {exc}") from None
    about = _about(rows[0]) if rows else {}
    about.pop("duration", None)
    return {**about, "transcript": said}


def from_section(data: bytes) -> dict[str, Any]:
    """What a section of a TXT holds. Raises ValueError for one without times."""
    text, _, _ = data.decode("utf-8-sig", "replace").partition("\nComments for ")
    head, *parts = _TIMES.split(text)
    if not parts:
        raise ValueError("text without times")
    said = []
    for start, end, words in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        duration_s = round(float(end) - float(start), _MS)
        said.append({"start": float(start), "duration": duration_s, "text": words.rstrip("\r\n")})
    _, *fields = _ABOUT.split(head)
    values = (text.rstrip("\r\n") for text in fields[1::2])
    return {**_about(dict(zip(fields[::2], values, strict=True))), "transcript": said}


def _about(fields: Mapping[str, str | None]) -> dict[str, Any]:
    """What it says of the video; an empty field or one that is no number is left out."""
    found: dict[str, Any] = {name: fields[name] for name in _TEXTS if fields.get(name)}
    for name, number in _NUMBERS.items():
        with contextlib.suppress(TypeError, ValueError):
            found[name] = number(fields.get(name) or "")
    return found
