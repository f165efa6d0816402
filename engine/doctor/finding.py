"""What a check comes to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is: a problem stops a run, a warning may spoil one."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, what was seen, and what to do (empty when all is well)."""

    level: Level
    about: str
    seen: str
    advice: str = ""


def ok(about: str, seen: str) -> Finding:
    return Finding(Level.OK, about, seen)


def warning(about: str, seen: str, advice: str) -> Finding:
    return Finding(Level.WARNING, about, seen, advice)


def problem(about: str, seen: str, advice: str) -> Finding:
    return Finding(Level.PROBLEM, about, seen, advice)
