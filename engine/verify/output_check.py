"""Checking the output files of `ok` rows: those of the manifest in a few threads, others at once."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from engine.verify.directory_scan import OutputTree
from engine.verify.findings import Findings
from engine.verify.shard_audit import ShardAudit

HASHERS = 4
_BATCH = 64  # rows whose files one task hashes


class OutputCheck:
    """Checks files and counts them. Without an output directory (`tree` None) it only notes the formats."""

    def __init__(self, tree: OutputTree | None, pool: ThreadPoolExecutor, findings: Findings) -> None:
        self.tree = tree
        self.files = 0
        self.formats: dict[str, tuple[str, ...]] = {}  # of the jobs that are ok
        self.shards = ShardAudit()
        self._pool = pool
        self._findings = findings
        self._tasks: deque[Future[list[tuple[str, str]]]] = deque()
        self._batch: list[dict[str, Any]] = []

    def later(self, row: dict[str, Any]) -> None:
        """Have the files of a row checked in a thread."""
        self._count(row, filed=True)
        if self.tree is not None:
            self._batch.append(row)
            if len(self._batch) >= _BATCH:
                self._submit(self.tree)

    def now(self, row: dict[str, Any]) -> list[tuple[str, str]]:
        """(path, what is wrong) of a row's files."""
        self._count(row, filed=False)
        return self.tree.faults(row) if self.tree is not None else []

    def wait(self) -> None:
        """Wait until all files are checked."""
        if self.tree is not None:
            self._submit(self.tree)
            self._collect(0)

    def report(self, path: str, fault: str) -> None:
        if self.tree is not None:
            self._findings.problem("bad file", os.path.join(self.tree.root, path), fault)

    def _count(self, row: dict[str, Any], *, filed: bool) -> None:
        self.formats[row["video_id"]] = tuple(row["files"])
        if self.tree is not None:
            self.files += len(row["files"])
            self.shards.add(row, filed=filed)

    def _submit(self, tree: OutputTree) -> None:
        batch, self._batch = self._batch, []
        self._tasks.append(self._pool.submit(lambda: [fault for row in batch for fault in tree.faults(row)]))
        self._collect(4 * HASHERS)

    def _collect(self, most: int) -> None:
        """Report the results of the oldest tasks, until so many are left."""
        while len(self._tasks) > most:
            for path, fault in self._tasks.popleft().result():
                self.report(path, fault)
