"""What the benchmarks share: the machine in a line, medians with their spread, tables."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version


def machine(*packages: str) -> str:
    """The machine and the versions that a table was made with."""
    versions = []
    for name in packages:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            versions.append(f"{name} missing")
    parts = [f"Python {platform.python_version()}", f"Linux {platform.release()}", f"{os.cpu_count()} cores"]
    return ", ".join(parts + versions)


def installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def middle(values: Sequence[float]) -> float:
    return statistics.median(values)


def spread(values: Sequence[float], form: str = ",.0f") -> str:
    """The median and, when there are several, the least and the most."""
    text = format(middle(values), form)
    return text if len(values) == 1 else f"{text} ({min(values):{form}}-{max(values):{form}})"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)
