"""The audit: is the queue intact? It shares no journal, state or counting code with what it checks, on purpose."""

from __future__ import annotations

from engine.verify.auditor import audit
from engine.verify.findings import Audit, Problem

__all__ = ["Audit", "Problem", "audit"]
