"""What tests ask of an audit."""

from __future__ import annotations

from engine.verify import Audit, audit


def intact(root: str) -> Audit:
    """The audit of a queue, in which there must be no damage."""
    found = audit(root)
    assert found.ok, found.text()
    return found
