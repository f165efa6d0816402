"""The shared request budget: one file that all worker processes take their permits from.

`Budget` is what a worker holds, `snapshot` what a status reads (no lock, nothing heavy imported), `parse_rate` and
`describe` are for the command line. It owns the budget file: rates, blocks and counts of each egress. It sends
nothing and knows no jobs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.budget.rate import Rate, describe, parse_rate
from engine.budget.settings import BudgetSettings, EgressHealth, Outcome
from engine.budget.snapshot import EgressView, all_retired, snapshot, totals

if TYPE_CHECKING:
    from engine.budget.limiter import Budget

__all__ = [
    "Budget",
    "BudgetSettings",
    "EgressHealth",
    "EgressView",
    "Outcome",
    "Rate",
    "all_retired",
    "describe",
    "parse_rate",
    "snapshot",
    "totals",
]


def __getattr__(name: str) -> Any:
    """Import `Budget` (and with it the file lock) only for those who use it: `engine status` does not."""
    if name == "Budget":
        from engine.budget.limiter import Budget

        return Budget
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
