"""Exports write and sync a lot; what a power cut leaves is for `tests/crash`."""

from __future__ import annotations

import pytest

from engine.export import place
from engine.storage import disk


@pytest.fixture(autouse=True)
def _unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((disk, "_fsync"), (disk, "_fdatasync"), (place, "_sync_file_system")):
        monkeypatch.setattr(module, name, lambda _: None)
