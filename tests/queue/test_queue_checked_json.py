"""JSON with a checksum: read back as written, and refused when a single character differs."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.queue import checked_json

VALUE = {"schema_version": 1, "chunks": {"000000.0.40.16": ["4kJ2QMAR01o"]}, "n": 7}


@pytest.mark.parametrize("indent", [None, 1])
def test_it_is_read_back_as_written(tmp_path: Path, indent: int | None) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(checked_json.to_bytes(VALUE, indent))
    assert checked_json.read(str(path)) == VALUE


def test_a_changed_value_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(checked_json.to_bytes(VALUE).replace(b'"n": 7', b'"n": 8'))
    with pytest.raises(ValueError, match="checksum"):
        checked_json.read(str(path))


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '"x"', "null", '{"n": 7}', "[" * 100_000])
def test_anything_else_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(ValueError):
        checked_json.read(str(path))


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        checked_json.read(str(tmp_path / "file.json"))
