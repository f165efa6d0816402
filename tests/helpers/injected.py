"""Changes inside the engine's own processes, for trials and benchmarks: a `sitecustomize` laid into a directory.

All processes of a run read it at their start, because PYTHONPATH names the directory. It changes a module of the
engine right after that was imported, so the product has no branch for it.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import engine

_HOOK = """
import importlib.abc
import importlib.machinery
import sys

CHANGES = {changes!r}


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name not in CHANGES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            exec(CHANGES[name], vars(module))

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Finder())
"""


def injected(root: Path, changes: dict[str, str]) -> dict[str, str]:
    """The environment for a command in whose processes this text runs at the end of each named module."""
    place = Path(tempfile.mkdtemp(prefix="injected-", dir=root))
    (place / "sitecustomize.py").write_text(_HOOK.format(changes=changes))
    package = Path(engine.__file__).parents[1]
    paths = [str(place), str(package), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths)}
