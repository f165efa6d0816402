"""The checksum that a JSON object carries in itself, as `crc32`: the CRC-32 of its text without that field."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any


def crc32_of(value: Mapping[str, Any]) -> int:
    """The checksum of an object, its own field left out; the order of its keys counts."""
    return zlib.crc32(json.dumps({name: held for name, held in value.items() if name != "crc32"}).encode())


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """The object with its checksum."""
    return {**value, "crc32": crc32_of(value)}


def unsealed(value: Any) -> dict[str, Any]:
    """The object without its checksum. ValueError when it is no object, or not the one that was sealed."""
    if not isinstance(value, dict) or value.get("crc32") != crc32_of(value):
        raise ValueError("its checksum does not fit")
    return {name: held for name, held in value.items() if name != "crc32"}
