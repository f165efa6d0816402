"""Is the queue whole? An independent audit: it shares no journal, fold or count code with what it judges."""

from __future__ import annotations

from engine.errors import DamagedError
from engine.verify.auditor import audit
from engine.verify.findings import Audit, Problem

__all__ = ["Audit", "Problem", "audit", "check"]


def check(root: str) -> Audit:
    """The audit of a queue that is whole. Raises DamagedError with the report when it is not."""
    found = audit(root)
    if not found.ok:
        raise DamagedError(found.text())
    return found
