"""A multiprocess batch engine with a file-based queue for YouTube transcripts and their metadata.

The public names below are imported when they are first used: `import engine` by itself imports nothing.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from engine.batch import Batch
    from engine.errors import (
        DiskError,
        EngineError,
        HeldError,
        NoAnswerError,
        NoProxyError,
        NoQueueError,
        NoRecordError,
        NoRunError,
        RunDiedError,
        ShortageError,
        UsageError,
    )
    from engine.export import ExportResult
    from engine.model import (
        Cue,
        ImportResult,
        LiveSettings,
        Metadata,
        Record,
        RetryResult,
        SeedResult,
        Transcript,
    )
    from engine.monitor.batch_status import BatchStatus, EgressStatus, WorkerStatus
    from engine.queue.listings import SourceStatus
    from engine.queue.manifest_row import ManifestRow
    from engine.recovery.repair import Repaired
    from engine.report import Report
    from engine.run.child_run import RunHandle, RunOptions, RunResult
    from engine.search import SearchHit
    from engine.verify import Audit, Problem

__all__ = [
    "Audit",
    "Batch",
    "BatchStatus",
    "Cue",
    "DiskError",
    "EgressStatus",
    "EngineError",
    "ExportResult",
    "HeldError",
    "ImportResult",
    "LiveSettings",
    "ManifestRow",
    "Metadata",
    "NoAnswerError",
    "NoProxyError",
    "NoQueueError",
    "NoRecordError",
    "NoRunError",
    "Problem",
    "Record",
    "Repaired",
    "Report",
    "RetryResult",
    "RunDiedError",
    "RunHandle",
    "RunOptions",
    "RunResult",
    "SearchHit",
    "SeedResult",
    "ShortageError",
    "SourceStatus",
    "Transcript",
    "UsageError",
    "WorkerStatus",
]

if not TYPE_CHECKING:
    _MODULES = {
        "batch": "Batch",
        "errors": "DiskError EngineError HeldError NoAnswerError NoProxyError NoQueueError "
        "NoRecordError NoRunError RunDiedError ShortageError UsageError",
        "export": "ExportResult",
        "model": "Cue ImportResult LiveSettings Metadata Record RetryResult SeedResult Transcript",
        "monitor.batch_status": "BatchStatus EgressStatus WorkerStatus",
        "queue.listings": "SourceStatus",
        "queue.manifest_row": "ManifestRow",
        "recovery.repair": "Repaired",
        "report": "Report",
        "run.child_run": "RunHandle RunOptions RunResult",
        "search": "SearchHit",
        "verify": "Audit Problem",
    }
    _MODULE_OF = {name: module for module, names in _MODULES.items() for name in names.split()}

    def __getattr__(name):
        import importlib

        if name not in _MODULE_OF:
            raise AttributeError(f"module 'engine' has no attribute {name!r}")
        return getattr(importlib.import_module(f"engine.{_MODULE_OF[name]}"), name)

    def __dir__():
        return sorted({*globals(), *__all__})
