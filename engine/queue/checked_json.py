"""JSON objects that carry the CRC-32 of their own text, in the field `crc32`."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any


def checksum(value: Mapping[str, Any]) -> int:
    """The CRC-32 of an object's JSON text without its field `crc32`."""
    return zlib.crc32(json.dumps({name: item for name, item in value.items() if name != "crc32"}).encode())


def to_bytes(value: Mapping[str, Any], indent: int | None = None) -> bytes:
    """The content of a file that holds this object and its checksum."""
    return (json.dumps({**value, "crc32": checksum(value)}, indent=indent) + "\n").encode()


def read(path: str) -> dict[str, Any]:
    """The object in a file, without its checksum.

    Raises OSError when the file cannot be read, ValueError when it is not what was written.
    """
    with open(path, "rb") as file:
        data = file.read()
    try:
        value: dict[str, Any] = json.loads(data)
        intact = value.pop("crc32") == checksum(value)
    except (KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise ValueError(f"no object with a checksum: {exc}") from None
    if not intact:
        raise ValueError("not what its checksum says")
    return value
