"""The checksum within a JSON object."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.storage.checksum import crc32_of, sealed, unsealed

VALUE = {"schema_version": 1, "of": [1, 2], "name": "é"}


def test_what_was_sealed_is_read_back() -> None:
    read = json.loads(json.dumps(sealed(VALUE), indent=1))
    assert read["crc32"] == crc32_of(VALUE) == crc32_of(read)
    assert unsealed(read) == VALUE


@pytest.mark.parametrize(
    "damaged", [None, [], 1, "x", {}, VALUE, {**sealed(VALUE), "name": "e"}, {"crc32": 0}]
)
def test_what_was_not_is_refused(damaged: Any) -> None:
    with pytest.raises(ValueError, match="checksum"):
        unsealed(damaged)
