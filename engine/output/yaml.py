"""Values as YAML that any parser reads back to the same values.

Only the part of YAML that looks like JSON is written: double-quoted text and flow collections, each value on one
line. That leaves no room for the surprises of plain scalars (dates, `yes`, `1e5`, `---`). PyYAML would do this, but
its C emitter writes an emoji in a title as `\\U0001F600`, and its Python one takes milliseconds a video.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from engine.output.plain_text import replaced

# What JSON leaves as it is and YAML forbids, takes for a line end or a byte-order mark; and what turns the direction
# of text around.
_ESCAPED = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff]")
_MAX_SIMPLE_KEY_CHARS = 1000  # YAML 1.2, 7.4.2: a key without `?` has at most 1024 characters


def flow(value: Any) -> str:
    """A value in YAML's flow style. What JSON does not know is written as its text."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(str(key))}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(flow, value)) + "]"
    return quoted(str(value))


def quoted(text: str) -> str:
    """A text as a double-quoted scalar on one line."""
    return _ESCAPED.sub(
        lambda found: f"\\u{ord(found[0]):04x}", json.dumps(replaced(text), ensure_ascii=False)
    )


def _key(text: str) -> str:
    scalar = quoted(text)
    return scalar if len(scalar) <= _MAX_SIMPLE_KEY_CHARS else f"? {scalar} "


def _number(value: float) -> str:
    if not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    digits, e, exponent = repr(float(value)).partition("e")
    # YAML 1.1 takes 1e+16 for a text: there a number with an exponent needs a point.
    return f"{digits if '.' in digits else digits + '.0'}{e}{exponent}"
