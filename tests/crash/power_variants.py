"""Broken engines that the power-cut checker must catch: a checker that finds nothing proves nothing by itself.

Broken before the cut: the recorded steps, with a sort of promise taken out, or one made too early. Broken after
it: the next run, with one of its precautions taken out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from unittest import mock

from power_ops import Step
from power_play import Variant

from engine.output import publisher, shard_output, shards
from engine.queue import gathering
from engine.queue.job_state import ChunkState
from engine.queue.segments import Chunk
from engine.recovery import startup
from engine.storage import append_file, disk


def _unsynced(pattern: str) -> Callable[[list[Step]], list[Step]]:
    """The steps, in which syncs of what matches promise nothing."""
    wanted = re.compile(pattern)

    def steps(recorded: list[Step]) -> list[Step]:
        assert any(step.verb == "sync" and wanted.fullmatch(step.about) for step in recorded), pattern
        return [
            replace(step, began=-1) if step.verb == "sync" and wanted.fullmatch(step.about) else step
            for step in recorded
        ]

    return steps


def _synced_too_early(recorded: list[Step]) -> list[Step]:
    """Each `synced` line comes right behind the line before it, ahead of the fsyncs that it speaks of."""
    steps: list[Step] = []
    for step in recorded:
        if step.verb == "write" and step.data.startswith(b"synced "):
            at = max(n for n, item in enumerate(steps) if item.verb == "write" and item.inode == step.inode)
            steps.insert(at + 1, replace(step, began=steps[at].began, ended=steps[at].ended))
        else:
            steps.append(step)
    assert steps != recorded
    return steps


def _removed_too_early(recorded: list[Step]) -> list[Step]:
    """What a new segment stands for goes before its own file has its name."""
    steps: list[Step] = []
    made = -1
    for step in recorded:
        if step.verb == "move" and re.fullmatch(r"queue/segments/\d+\.jsonl", step.about):
            made = len(steps)
        old = (
            step.verb == "name"
            and step.inode is None
            and re.fullmatch(r"queue/segments/\d+\.jsonl", step.about)
        )
        if old:
            steps.insert(made, replace(step, began=steps[made].began, ended=steps[made].began))
        else:
            steps.append(step)
    assert steps != recorded
    return steps


def _record_unsynced(recorded: list[Step]) -> list[Step]:
    """The sync between a record's rename and those of its renderings promises nothing."""
    steps: list[Step] = []
    last: dict[str, str] = {}  # by directory: the file that got its name there last
    for step in recorded:
        if step.verb == "move":
            last[os.path.dirname(step.about)] = step.about
        early = step.verb == "sync" and last.get(step.about, "").endswith(".json")
        steps.append(replace(step, began=-1) if early else step)
    assert steps != recorded
    return steps


def _patched(module: object, name: str, value: object) -> Callable[[], AbstractContextManager[object]]:
    return lambda: mock.patch.object(module, name, value)


class _NotCutBack(append_file.AppendFile):
    def __init__(self, path: str, *, length: int | None = None, mode: int = disk.PRIVATE_FILE) -> None:
        super().__init__(path, mode=mode)


_JOURNAL, _MANIFEST, _CHECKPOINT = (
    r"queue/journal/\d+/\d+\.jsonl",
    r"queue/manifest\.jsonl",
    r"queue/checkpoint\.json",
)
_GATHERED = r"\w+ queue/(gather\.json|segments/\d+\.jsonl|pending/\d+)"
_FILES, _DIRECTORIES, _FILED = r"out/../.*", r"out(/..)?", r"queue/filed/\d+.*"

VARIANTS = [
    Variant("no fsync of output files", _unsynced(r"out/\.engine-tmp/.*"), near=r"\w+ " + _JOURNAL),
    Variant("no fsync of journals", _unsynced(_JOURNAL), near=r"\w+ " + _MANIFEST),
    Variant("no fsync of output directories", _unsynced(_DIRECTORIES), near=r"\w+ " + _JOURNAL, focus=_FILES),
    Variant(
        "no fsync of the marker's name",
        _unsynced(r"out(/\.engine-batches)?"),
        near=r"\w+ " + _MANIFEST,
        focus=r"out/\.engine-batches(/.*)?",
    ),
    Variant(
        "no fsync of the record's name before the others get theirs",
        _record_unsynced,
        near=r"move out/../.*\.md",
        focus=r"out/../.*\.json",
    ),
    Variant("no fsync of any directory", _unsynced(r"out(/..)?|queue|queue/(.*/)?[^.]+")),
    Variant("no fsync of the manifest", _unsynced(_MANIFEST), near=r"\w+ " + _CHECKPOINT, focus=_MANIFEST),
    Variant("no fsync of filed/", _unsynced(r"queue/filed/\d+"), near=r"\w+ " + _CHECKPOINT, focus=_FILED),
    Variant("no fsync of segments", _unsynced(r"queue/tmp/\.\d+\.jsonl\..*"), near=r"\w+ queue/pending/.*"),
    Variant("no fsync of the names of gathered segments", _unsynced(r"queue/segments"), near=_GATHERED),
    Variant("no fsync of gathered journals", _unsynced(r"queue/journal/000004/\d+\.jsonl"), near=_GATHERED),
    Variant("gathered segments removed before the new one is there", _removed_too_early, near=_GATHERED),
    Variant(
        "a gathering that was cut off is forgotten",
        patched=_patched(gathering, "complete", lambda queue: False),
        near=_GATHERED,
    ),
    Variant("synced before the fsyncs", _synced_too_early, near=f"write {_JOURNAL} synced", focus=_FILES),
    Variant(
        "manifest not cut back to its checkpoint",
        patched=_patched(append_file, "AppendFile", _NotCutBack),
        near=r"\w+ " + _MANIFEST,
    ),
    Variant(
        "torn journal line not cut off",
        patched=_patched(append_file, "_last_line_end", lambda fd, size: size),
        near=r"\w+ " + _JOURNAL,
        focus=_JOURNAL,
        model="ext4",
    ),
    Variant(
        "ok rows believed without a look",
        patched=_patched(publisher, "intact", lambda root, row: True),
        near=r"\w+ " + _JOURNAL,
        focus=_FILES,
    ),
    Variant(
        "tokens not compared with segments",
        patched=_patched(startup, "check_tokens", lambda queue: []),
        near=r"\w+ " + _FILED,
        focus=_FILED,
    ),
]

_SHARD = r"out/shards/\d+\.zst"


def _row_before_frame(recorded: list[Step]) -> list[Step]:
    """A writer that names a frame before it writes it: each frame's bytes come behind the journal line, and nobody
    syncs the shard after that."""
    steps = _unsynced(_SHARD)(recorded)
    assert any(step.verb == "write" and re.fullmatch(_SHARD, step.about) for step in steps)
    late: list[Step] = []
    found: list[Step] = []
    for step in steps:
        if step.verb == "write" and re.fullmatch(_SHARD, step.about):
            late.append(step)
            continue
        found.append(step)
        if step.verb == "write" and step.data.startswith(b"synced "):
            found += [replace(frame, began=step.began, ended=step.ended) for frame in late]
            late = []
    return found + late


class _TailKept(shard_output.ShardOutput):
    def open_chunk(self, chunk: Chunk, state: ChunkState) -> None:
        """A successor that goes on writing where the first row ends, whatever other rows name."""
        super().open_chunk(chunk, state)
        self._ends[chunk] = len(shards.header(self.batch))


# That rows behind the last `synced` are checked is a second precaution here: a frame is durable before its row.
SHARD_VARIANTS = [
    Variant("no fsync of shards", _unsynced(_SHARD), near=r"\w+ " + _JOURNAL, focus=_SHARD),
    Variant("rows that name frames not written yet", _row_before_frame, near=r"\w+ " + _JOURNAL),
    Variant("no fsync of the shards' names", _unsynced(r"out/shards"), near=r"\w+ " + _JOURNAL, focus=_SHARD),
    Variant(
        "no fsync of the index",
        _unsynced(r"out/shards/index"),
        near=r"\w+ " + _JOURNAL,
        focus=r"out/shards/index",
    ),
    Variant(
        "a shard cut off before its last row",
        patched=_patched(shard_output, "ShardOutput", _TailKept),
        near=r"\w+ " + _SHARD,
    ),
]
