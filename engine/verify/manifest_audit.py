"""Auditing the manifest: each line on its own, and how long the file is."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

from engine.verify.findings import Findings
from engine.verify.journal_reader import row_faults
from engine.verify.output_check import OutputCheck


class ManifestAudit:
    """Reads the manifest once; has the files of its rows checked meanwhile."""

    def __init__(self, path: str, output: OutputCheck, findings: Findings) -> None:
        self.path = path
        self.rows: dict[str, int] = {}  # hash of each row's line; removed when its journal is read
        self.counts: Counter[str] = Counter()
        self.kinds: Counter[str] = Counter()
        self._output = output
        self._findings = findings

    def read(self, length: int) -> None:
        """Audit the rows within the first `length` bytes."""
        self._check_size(length)
        at = number = 0
        for line in file_lines(self.path):
            number += 1
            at += len(line)
            where = f"{self.path}:{number}"
            if at > length:
                if at - len(line) < length:
                    self._findings.problem("bad row", where, "the checkpoint's length ends within this line")
                return
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict) or not isinstance(row.get("video_id"), str):
                self._findings.problem("bad row", where, "cannot be parsed")
                continue
            self._row(row, line, where)

    def _check_size(self, length: int) -> None:
        try:
            size = os.stat(self.path).st_size
        except FileNotFoundError:
            size = 0
        if size < length:
            self._findings.problem(
                "manifest too short", self.path, f"{size} bytes, the checkpoint says {length}"
            )
        elif size > length:
            self._findings.note(
                "byte(s) after the manifest's valid end; the next run removes them", size - length
            )

    def _row(self, row: dict[str, Any], line: bytes, where: str) -> None:
        video_id = row["video_id"]
        faults = list(row_faults(row))
        for fault in faults:
            self._findings.problem("bad row", where, f"{video_id}: {fault}")
        if video_id in self.rows:
            self._findings.problem("duplicate row", where, video_id)
            return
        self.rows[video_id] = hash(line.rstrip(b"\n"))
        self.counts[str(row.get("status"))] += 1
        if row.get("status") != "ok":
            self.kinds[str(row.get("kind"))] += 1
        elif not faults:
            self._output.later(row)


def file_lines(path: str) -> Iterator[bytes]:
    """The lines of a file; none when it is missing."""
    try:
        with open(path, "rb") as file:
            yield from file
    except FileNotFoundError:
        return
