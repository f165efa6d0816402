"""A file system that takes two names for one is refused; one that keeps them apart is left as it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.output import folding
from engine.storage import disk


def test_names_that_are_kept(tmp_path: Path) -> None:
    assert folding.kept(str(tmp_path))
    assert folding.refuse(str(tmp_path)) is None
    assert os.listdir(tmp_path) == []


def folds(monkeypatch: pytest.MonkeyPatch, fold: object) -> None:
    """A file system that makes of each new name another one."""
    real = disk._open

    def opened(path: str, flags: int, mode: int = 0o600) -> int:
        directory, name = os.path.split(path)
        return real(os.path.join(directory, fold(name)), flags, mode)  # type: ignore[operator]

    monkeypatch.setattr(disk, "_open", opened)


@pytest.mark.parametrize(
    "fold",
    [str.lower, lambda name: name[:8].upper(), lambda name: name + " "],
    ids=["folds case", "cuts names short", "gives others"],
)
def test_names_that_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fold: object) -> None:
    folds(monkeypatch, fold)
    assert not folding.kept(str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(UsageError, match="on another file system with -o"):
        folding.refuse(str(tmp_path))
    monkeypatch.setattr("sys.platform", "darwin")
    assert "ends `kept`" in str(folding.refuse(str(tmp_path)))


def test_beside_another_queue_s_run_its_temporary_directory_stays(tmp_path: Path) -> None:
    (tmp_path / folding.TMP / "run.0.1").mkdir(parents=True)
    assert folding.refuse(str(tmp_path)) is None
    assert os.listdir(tmp_path / folding.TMP) == ["run.0.1"]
