"""The sums of shares that are done. `summary.json` holds them, so that not each `done/` is read every time.

It is derived, and anybody may delete it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.fleet import names
from engine.fleet.ledger import Done, Generation, Ledger
from engine.fleet.names import ShareKey
from engine.fleet.protocol import from_bytes, to_bytes


@dataclass
class Folded:
    """The sums of some shares that are done."""

    keys: set[ShareKey] = field(default_factory=set)
    jobs: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    bytes: int = 0

    def add(self, done: Done) -> None:
        self.keys.add(done.key)
        self.jobs += done.jobs
        self.counts.update(done.counts)
        self.kinds.update(done.kinds)
        self.requests += done.requests
        self.bytes += done.bytes

    def to_json(self) -> dict[str, Any]:
        return {
            "keys": sorted(map(str, self.keys)),
            "jobs": self.jobs,
            "counts": dict(self.counts),
            "kinds": dict(self.kinds),
            "requests": self.requests,
            "bytes": self.bytes,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Folded:
        """Nothing, for one that is damaged."""
        try:
            keys = {key for text in value["keys"] if (key := ShareKey.parse(text)) is not None}
            counts, kinds = Counter(value["counts"]), Counter(value["kinds"])
            return cls(keys, int(value["jobs"]), counts, kinds, int(value["requests"]), int(value["bytes"]))
        except (KeyError, TypeError, ValueError):
            return cls()


def folded(ledger: Ledger, done: set[ShareKey], known: Folded | None = None) -> tuple[Folded, int]:
    """(the sums of these shares, how many of them were not in `known`, or without it in the summary)."""
    found = known if known is not None else Folded.from_json(from_bytes(ledger.read(names.SUMMARY)))
    if not found.keys <= done:
        found = Folded()  # of another fleet that lay here, or damaged
    new = done - found.keys
    for each in ledger.all_done(sorted(new)):
        found.add(each)
    return found, len(new)


def counting(sums: Folded, generations: Iterable[Generation]) -> tuple[Counter[str], Counter[str]]:
    """(rows by status, rows by kind) of these sums, without those that a retry has dealt again."""
    counts, kinds = Counter(sums.counts), Counter(sums.kinds)
    for generation in generations:
        counts.subtract(generation.replaced.counts)
        kinds.subtract(generation.replaced.kinds)
    return +counts, +kinds


def write_summary(ledger: Ledger) -> None:
    """Bring the summary up to date, when there is something new."""
    found, new = folded(ledger, ledger.done_keys())
    if new:
        ledger.put(names.SUMMARY, to_bytes(found.to_json()))
