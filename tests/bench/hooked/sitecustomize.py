"""Found by every Python process that has this directory in PYTHONPATH, which is how the benchmarks reach workers too.

BENCH_FETCH=canned  the fetch asks nobody: see canned.py
BENCH_SYNC=0        nothing is made durable
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType


class AfterImport(importlib.abc.MetaPathFinder):
    """Changes a module as soon as it has been imported."""

    def __init__(self, name: str, change: Callable[[ModuleType], None]) -> None:
        self._name, self._change = name, change

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        run = spec.loader.exec_module

        def run_and_change(module: ModuleType) -> None:
            run(module)
            self._change(module)

        spec.loader.exec_module = run_and_change  # type: ignore[method-assign]
        return spec


def _canned(module: ModuleType) -> None:
    import canned

    module.Fetcher.fetch = canned.fetch


def _unsynced(module: ModuleType) -> None:
    module._fsync = module._fdatasync = lambda fd: None  # type: ignore[attr-defined]


if os.environ.get("BENCH_FETCH") == "canned":
    sys.meta_path.insert(0, AfterImport("engine.youtube", _canned))
if os.environ.get("BENCH_SYNC") == "0":
    sys.meta_path.insert(0, AfterImport("engine.durable", _unsynced))
