"""What an audit finds: problems, notes, and the counts it arrived at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

KEPT = 1000  # problems of one sort that are kept in full; beyond that they are only counted
SHOWN = 20  # … and that are shown to a person


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: its sort, where, and what exactly."""

    what: str
    where: str
    detail: str


@dataclass(frozen=True, slots=True)
class Audit:
    """The outcome of an audit.

    `totals` counts all problems by sort, also those beyond the ones kept. `notes` are sentences about what is
    not damage. `states` are the jobs by state (pending, deferred, ok, absent, failed) by a recount from the
    journals, `kinds` those that are not ok by kind; `rows` is what the manifest holds.
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
            "problems": [
                {"what": its.what, "where": its.where, "detail": its.detail} for its in self.problems
            ],
            "notes": self.notes,
        }

    def text(self) -> str:
        """The report for people."""
        return "\n".join(self.lines())

    def lines(self) -> Iterator[str]:
        """The report for people: a line a problem, at most twenty of each sort; notes; a summary."""
        shown: Counter[str] = Counter()
        for its in self.problems:
            shown[its.what] += 1
            if shown[its.what] <= SHOWN:
                yield f"{its.what}: {its.where}: {its.detail}"
        for what, total in self.totals.items():
            if total > SHOWN:
                yield f"{what}: and {total - SHOWN} more"
        for note in self.notes:
            yield f"note: {note}"
        counts = ", ".join(f"{n} {state}" for state, n in self.states.items() if n)
        found = sum(self.totals.values())
        verdict = f"{found} problem{'s' if found != 1 else ''} found" if found else "no damage found"
        yield f"{self.jobs} jobs ({counts or 'none'}), {self.rows} rows, {self.files} files: {verdict}"


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
        """Remark something that is not damage; equal sentences are counted."""
        if times:
            self.remarks[sentence] += times

    def notes(self) -> list[str]:
        return [f"{n} {sentence}" for sentence, n in self.remarks.items()]
