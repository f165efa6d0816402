"""What an audit finds: problems, notes, and its own counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

KEPT = 1000  # so many problems of one sort are kept; the rest is only counted
LEFT_OVER = "left over by a kill; the next run removes it"
SHOWN = 20  # so many of them are shown to a person


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: what sort, where, and the details."""

    what: str
    where: str
    detail: str


@dataclass(frozen=True, slots=True)
class Audit:
    """The result of an audit.

    `totals` counts all problems by sort, also those that are not kept. `notes` are sentences about what is no
    damage. `states` counts the jobs by state (pending, deferred, ok, absent, failed) from the journals, `kinds`
    those that are not ok by kind; `rows` is how many the manifest holds.
    """

    problems: list[Problem]
    totals: dict[str, int]
    notes: list[str]
    jobs: int
    states: dict[str, int]
    kinds: dict[str, int]
    rows: int
    files: int

    @property
    def ok(self) -> bool:
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        return {
            "schema_version": 1,
            "ok": self.ok,
            "jobs": self.jobs,
            "states": self.states,
            "kinds": self.kinds,
            "rows": self.rows,
            "files": self.files,
            "totals": self.totals,
            "problems": [asdict(problem) for problem in self.problems],
            "notes": self.notes,
        }

    def text(self) -> str:
        """The report for people."""
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """The report for people: a line a problem (at most 20 of each sort), then notes and a summary."""
        shown: Counter[str] = Counter()
        for problem in self.problems:
            shown[problem.what] += 1
            if shown[problem.what] <= SHOWN:
                yield f"{problem.what}: {problem.where}: {problem.detail}"
        for what, total in self.totals.items():
            if total > SHOWN:
                yield f"{what}: and {total - SHOWN} more"
        for note in self.notes:
            yield f"note: {note}"
        counts = ", ".join(f"{n} {state}" for state, n in self.states.items() if n)
        found = sum(self.totals.values())
        result = f"{found} problem{'s' if found != 1 else ''} found" if found else "no damage found"
        yield f"{self.jobs} jobs ({counts or 'none'}), {self.rows} rows, {self.files} files: {result}"


@dataclass(slots=True)
class Findings:
    """An audit under way."""

    problems: list[Problem] = field(default_factory=list)
    totals: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)

    def problem(self, what: str, where: str, detail: str) -> None:
        self.totals[what] += 1
        if self.totals[what] <= KEPT:
            self.problems.append(Problem(what, where, detail))

    def note(self, sentence: str, times: int = 1) -> None:
        """Note something that is no damage; equal sentences are counted."""
        if times:
            self.remarks[sentence] += times

    def notes(self) -> list[str]:
        return [f"{n} {sentence}" for sentence, n in self.remarks.items()]
