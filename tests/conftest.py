"""What tests of all parts share."""

from __future__ import annotations

import pytest
from nights import _nights, night, place, quiet  # noqa: F401 - fixtures

from engine import durable


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several pytest processes, all tests that look at nights go to the same one: it alone plays them."""
    for item in items:
        if "_nights" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("nights"))


@pytest.fixture
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the disk where a test is about processes that die, not about power cuts."""
    monkeypatch.setattr(durable, "_fsync", lambda fd: None)
    monkeypatch.setattr(durable, "_fdatasync", lambda fd: None)
