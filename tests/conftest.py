"""What tests of all parts share."""

from __future__ import annotations

import pytest
from nights import _nights, night, place, quiet  # noqa: F401 - fixtures

from engine import durable


@pytest.fixture
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the disk where a test is about processes that die, not about power cuts."""
    monkeypatch.setattr(durable, "_fsync", lambda fd: None)
    monkeypatch.setattr(durable, "_fdatasync", lambda fd: None)
