"""The audit: state files, manifest, segments, journals and output files compared with each other."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from engine.errors import EngineError, HeldError
from engine.queue.directory import Queue, open_queue
from engine.storage.locks import living_claims, living_holder, who
from engine.verify.directory_scan import OutputTree, listing
from engine.verify.findings import Audit, Findings
from engine.verify.manifest_audit import ManifestAudit
from engine.verify.output_check import HASHERS, OutputCheck
from engine.verify.output_strays import output_strays
from engine.verify.segment_audit import STATES, SegmentAudit
from engine.verify.shard_audit import SHARDS
from engine.verify.state_files import (
    count_faults,
    frozen_formats,
    frozen_output,
    frozen_store,
    known_fault,
    listing_faults,
    read_checkpoint_facts,
    readable_by_others,
    status_faults,
)
from engine.verify.strays import leftovers

_NO_COUNTS: dict[str, int] = {}


def audit(root: str, *, held: bool = False) -> Audit:
    """Audit the queue in this directory; nothing is changed and no lock is taken.

    `held`: the caller holds its locks, and has checked that the output directory is the right one
    (`engine.output.destination`). Raises NoQueueError, UsageError (format), HeldError beside a live run or seeding.
    """
    queue = open_queue(root)
    if not held:
        _refuse_living(queue)
    findings = Findings()
    for name, path in (("retry", queue.retry), ("gathering", queue.gathering)):
        if os.path.lexists(path):
            findings.problem(f"unfinished {name}", path, "`engine run` finishes it; verify again after that")
            return _result(findings)
    return _audit(queue, findings)


def _refuse_living(queue: Queue) -> None:
    for path, what in ((queue.run_lock, "run"), (queue.seed_lock, "seeding"), (queue.lister_lock, "lister")):
        if holder := living_holder(path):
            message = f"a {what} holds this queue ({who(holder)}): verify it when that is over"
            raise HeldError(message, pid=holder.get("pid"))
    claims = [os.path.join(queue.workers, name, "lock") for name in listing(queue.workers)]
    for holder in living_claims(queue.run_lock, claims):
        raise HeldError(
            f"a worker holds this queue ({who(holder)}): verify it when that is over", pid=holder.get("pid")
        )


def _audit(queue: Queue, findings: Findings) -> Audit:
    batch = _read_batch(queue, findings)
    path = frozen_output(batch, queue.root)
    tree = None if path is None else OutputTree(path)
    checkpoint = read_checkpoint_facts(queue, findings)
    with ThreadPoolExecutor(HASHERS, thread_name_prefix="sha256") as pool:
        output = OutputCheck(tree, pool, findings)
        manifest = ManifestAudit(queue.manifest, output, findings)
        manifest.read(checkpoint.length)
        rows = len(manifest.rows)
        segments = SegmentAudit(queue, checkpoint, manifest.rows, output, findings)
        segments.read()
        output.wait()
    count_faults(queue, checkpoint, manifest.counts, manifest.kinds, findings)
    status_faults(queue, len(segments.jobs), findings)
    listing_faults(queue, findings)
    if fault := known_fault(queue):
        findings.problem("damaged file", queue.known, fault)
    findings.note(
        "file(s) of the queue that others may read: `chmod -R go= DIR`",
        sum(1 for _ in readable_by_others(queue)),
    )
    leftovers(queue, findings)
    if tree is not None:
        batch_id, written = str(batch.get("id") or ""), frozen_formats(batch)
        in_shards = frozen_store(batch) == SHARDS
        output_strays(
            tree,
            batch_id,
            written,
            segments.jobs,
            output.formats,
            segments.reopened,
            findings,
            stores_shards=in_shards,
        )
        if in_shards:
            output.shards.check(tree.root, batch_id, findings)
    return _result(findings, len(segments.jobs), segments.states, segments.kinds, rows, output.files)


def _read_batch(queue: Queue, findings: Findings) -> dict[str, Any]:
    """`batch.json`; empty when it is missing or unreadable, which is reported."""
    try:
        batch = queue.read_batch()
    except EngineError as exc:
        findings.problem("unreadable file", queue.batch, str(exc))
        return {}
    if not os.path.exists(queue.batch):
        if listing(queue.path("segments")):
            findings.problem("unreadable file", queue.batch, "missing")
        else:
            findings.note("queue whose making was interrupted; the next seeding completes it")
    return batch


def _result(
    findings: Findings,
    jobs: int = 0,
    states: Mapping[str, int] = _NO_COUNTS,
    kinds: Mapping[str, int] = _NO_COUNTS,
    rows: int = 0,
    files: int = 0,
) -> Audit:
    return Audit(
        findings.problems,
        dict(findings.totals),
        findings.notes(),
        jobs,
        {state: states.get(state, 0) for state in STATES},
        dict(sorted(kinds.items())),
        rows,
        files,
    )
