"""Exports: tables, data sets, readable texts and passages, made offline from a batch's manifest and records.

The package owns what is written to WHERE and the list of files there. It never sends a request to YouTube and never
changes the queue or its output. What is in a record, and how it is rendered, is for `engine.output`.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from engine.export.exporting import ExportResult, check_place, run_export
from engine.export.request import ExportKind, ExportOptions, parse_run_export, request

__all__ = [
    "ExportKind",
    "ExportOptions",
    "ExportResult",
    "check_place",
    "export",
    "parse_run_export",
    "request",
]


def export(
    root: str,
    kind: ExportKind,
    where: str | os.PathLike[str] | None,
    options: ExportOptions,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> ExportResult:
    """Export a batch; see `Batch.export`."""
    return run_export(root, request(kind, None if where is None else os.fspath(where), options), on_progress)
