"""The audit itself: segments, tokens, journals, manifest, checkpoint and output files held against each other."""

from __future__ import annotations

import json
import os
import time
import zlib
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from engine.errors import EngineError, HeldError
from engine.queue.directory import Queue, open_queue
from engine.storage.locks import living_claims, living_holder, who
from engine.verify.directory_scan import FOREIGN, OutputTree, Places, digits, listing, tokens
from engine.verify.findings import Audit, Findings
from engine.verify.journal_reader import Book, Final, read_book, row_faults
from engine.verify.output_strays import output_strays
from engine.verify.state_files import (
    Promise,
    cache_fault,
    count_faults,
    exposed,
    frozen_formats,
    frozen_output,
    known_fault,
    listing_faults,
    read_promise,
    status_faults,
)
from engine.verify.strays import is_temporary, leftovers

HASHERS = 4
_BATCH = 64  # rows whose files one task hashes
_CLOCK_JUMP_S = 1800.0  # a wait further ahead than this counts as over
_STATES = ("pending", "deferred", "ok", "absent", "failed")


def audit(root: str, *, held: bool = False) -> Audit:
    """Audit the queue in this directory; nothing is changed and no lock is touched.

    `held`: the caller holds its locks. Whether the output directory is the right one is for the caller to ask first
    (`engine.output.destination`). Raises NoQueueError, UsageError (format), HeldError beside a live run or seeding.
    """
    queue = open_queue(root)
    if not held:
        _refuse_living(queue)
    return _Auditor(queue).audit()


def _refuse_living(queue: Queue) -> None:
    for path, what in (
        (queue.run_lock, "run"),
        (queue.seed_lock, "seeding"),
        (queue.lister_lock, "lister"),
    ):
        holder = living_holder(path)
        if holder:
            raise HeldError(
                f"a {what} holds this queue ({who(holder)}): verify it when that is over",
                pid=holder.get("pid"),
            )
    claims = [os.path.join(queue.workers, name, "lock") for name in listing(queue.workers)]
    for holder in living_claims(queue.run_lock, claims):
        raise HeldError(
            f"a worker holds this queue ({who(holder)}): verify it when that is over", pid=holder.get("pid")
        )


class _Auditor:
    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.findings = Findings()
        self.now = time.time()
        self.jobs: set[str] = set()
        self.states: Counter[str] = Counter(dict.fromkeys(_STATES, 0))
        self.kinds: Counter[str] = Counter()
        self.rows: dict[str, int] = {}  # hash of each row's line; taken out when its journal is met
        self.row_counts: Counter[str] = Counter()
        self.row_kinds: Counter[str] = Counter()
        self.formats: dict[str, tuple[str, ...]] = {}  # of the jobs that are ok
        self.reopened: dict[str, list[dict[str, str]]] = {}
        self.files = 0
        self.batch = ""
        self.written: tuple[str, ...] = ()  # formats beside the records
        self.output: OutputTree | None = None
        self.promise = Promise()
        self._tasks: deque[Future[list[tuple[str, str]]]] = deque()
        self._batch: list[dict[str, Any]] = []

    def audit(self) -> Audit:
        problem = self.findings.problem
        if os.path.exists(self.queue.retry):
            problem("unfinished retry", self.queue.retry, "`engine run` finishes it; verify again after that")
        elif os.path.lexists(gathering := os.path.join(self.queue.root, "gather.json")):
            problem("unfinished gathering", gathering, "`engine run` finishes it; verify again after that")
        else:
            self._output()
            self.promise = read_promise(self.queue, self.findings)
            with ThreadPoolExecutor(HASHERS, thread_name_prefix="sha256") as pool:
                self._manifest(pool)
                rows = len(self.rows)
                self._segments(tokens(self.queue, self.findings))
                self._hash(None, pool)
            count_faults(self.queue, self.promise, self.row_counts, self.row_kinds, self.findings)
            status_faults(self.queue, len(self.jobs), self.findings)
            listing_faults(self.queue, self.findings)
            if fault := known_fault(self.queue):
                self.findings.problem("damaged file", self.queue.path("known.u64"), fault)
            self._strays()
            return self._result(rows)
        return self._result(0)

    def _result(self, rows: int) -> Audit:
        its = self.findings
        states = {state: self.states[state] for state in _STATES}
        return Audit(
            its.problems,
            dict(its.totals),
            its.notes(),
            len(self.jobs),
            states,
            dict(sorted(self.kinds.items())),
            rows,
            self.files,
        )

    # ---- the small files --------------------------------------------------------------------------------
    def _output(self) -> None:
        try:
            batch = self.queue.read_batch()
            output = frozen_output(batch, self.queue.root)
            self.batch = str(batch.get("id") or "")
            self.written = frozen_formats(batch)
        except EngineError as exc:
            self.findings.problem("unreadable file", self.queue.batch, str(exc))
            return
        if output is not None:
            self.output = OutputTree(output)
        elif not os.path.exists(self.queue.batch) and not listing(self.queue.path("segments")):
            self.findings.note("queue whose making was cut off; seeding makes the rest")
        elif not os.path.exists(self.queue.batch):
            self.findings.problem("unreadable file", self.queue.batch, "missing")

    # ---- the manifest -----------------------------------------------------------------------------------
    def _manifest(self, pool: ThreadPoolExecutor) -> None:
        path, length = self.queue.manifest, self.promise.length
        problem = self.findings.problem
        try:
            size = os.stat(path).st_size
        except FileNotFoundError:
            size = 0
        if size < length:
            problem("manifest too short", path, f"{size} bytes, the checkpoint promises {length}")
        elif size > length:
            self.findings.note(
                "byte(s) behind the manifest's promised end; the next run cuts them off", size - length
            )
        at = number = 0
        for line in _lines(path):
            number += 1
            at += len(line)
            if at > length:
                if at - len(line) < length:
                    problem("bad row", f"{path}:{number}", "the checkpoint's length ends within this line")
                return
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if not isinstance(row, dict) or not isinstance(row.get("video_id"), str):
                problem("bad row", f"{path}:{number}", "cannot be parsed")
                continue
            self._row(row, line, f"{path}:{number}", pool)

    def _row(self, row: dict[str, Any], line: bytes, where: str, pool: ThreadPoolExecutor) -> None:
        video_id = row["video_id"]
        faults = list(row_faults(row))
        for fault in faults:
            self.findings.problem("bad row", where, f"{video_id}: {fault}")
        if video_id in self.rows:
            self.findings.problem("duplicate row", where, video_id)
            return
        self.rows[video_id] = hash(line.rstrip(b"\n"))
        self.row_counts[str(row.get("status"))] += 1
        if row.get("status") != "ok":
            self.row_kinds[str(row.get("kind"))] += 1
        elif not faults:
            self.formats[video_id] = tuple(row["files"])
            self._hash(row, pool)

    def _hash(self, row: dict[str, Any] | None, pool: ThreadPoolExecutor) -> None:
        """Have a row's files checked by and by; None waits for all."""
        output = self.output
        if output is None:
            return
        if row is not None:
            self._batch.append(row)
            self.files += len(row["files"])
        if self._batch and (row is None or len(self._batch) >= _BATCH):
            batch, self._batch = self._batch, []
            self._tasks.append(pool.submit(lambda: [fault for its in batch for fault in output.faults(its)]))
        while self._tasks and (row is None or len(self._tasks) > 4 * HASHERS):
            for path, fault in self._tasks.popleft().result():
                self.findings.problem("bad file", os.path.join(output.root, path), fault)

    # ---- segments, tokens, journals ---------------------------------------------------------------------
    def _segments(self, places: Places) -> None:
        queue, problem = self.queue, self.findings.problem
        published = {name for name in listing(queue.path("pending")) if digits(name)}
        for name in listing(queue.path("segments")):
            stem, _, extension = name.partition(".")
            if extension != "jsonl" or not digits(stem):
                self.findings.note(FOREIGN, not is_temporary(queue.path("segments", name)))
            elif stem in published:
                published.discard(stem)
                self._segment(int(stem), places)
            else:
                self.findings.note("segment(s) not published yet; the next seed or run does that")
        for stem in sorted(published):
            problem("lost segment", queue.segment(int(stem)), "missing, and its tokens are there")
        for (segment, token), where in places.items():
            name = f"{segment:06d}." + ".".join(map(str, token))
            problem("stray token", f"{where[0]}/{name}", "its segment has no such chunk")
        for name in self.promise.offsets:
            problem("stray offset", queue.checkpoint, f"{name} is no chunk of this queue")
        for video_id in self.rows:
            problem("stray row", queue.manifest, f"{video_id} is not a job of this queue")

    def _segment(self, segment: int, places: Places) -> None:
        path, problem = self.queue.segment(segment), self.findings.problem
        lines = _lines(path)
        try:
            head = json.loads(next(lines, b""))
            size, jobs = int(head["chunk"]), int(head["jobs"])
            right = int(head["segment"]) == segment and size > 0
            wanted = head.get("crc32")
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            right = False
        if not right:
            problem("bad segment", path, "its first line is not its header")
            return
        with open(path, "rb") as file:
            at = len(file.readline())
            total = zlib.crc32(f"{segment} {jobs} {size}".encode())
            for piece in iter(lambda: file.read(1 << 20), b""):
                total = zlib.crc32(piece, total)
        if wanted != total:
            problem("bad segment", path, "not what its sum says")
        first, k, seen, ids, everyone = at, 0, 0, dict[str, object](), list[str]()
        for line in lines:
            at += len(line)
            seen += 1
            try:
                job = json.loads(line)
                video_id, columns = str(job["id"]), job.get("input") or {}
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                problem("bad segment", f"{path}:{seen + 1}", "cannot be parsed")
                video_id, columns = f"line {seen + 1}", {}
            if video_id in self.jobs:
                problem("duplicate job", f"{path}:{seen + 1}", video_id)
            self.jobs.add(video_id)
            ids[video_id] = columns
            everyone.append(video_id)
            if seen % size == 0 or seen == jobs:
                self._chunk(segment, (k, first, seen - k * size), ids, places)
                first, k, ids = at, k + 1, {}
        if seen != jobs:
            problem("bad segment", path, f"its header says {jobs} jobs, it holds {seen}")
        if fault := cache_fault(self.queue, segment, everyone):
            problem("wrong cache", self.queue.ids(segment), fault)
        for name in listing(self.queue.journal_dir(segment)):
            number = name.removesuffix(".jsonl")
            if not name.endswith(".jsonl") or not digits(number):
                self.findings.note(FOREIGN)
            elif int(number) >= k:
                problem(
                    "stray file", os.path.join(self.queue.journal_dir(segment), name), "no chunk's journal"
                )

    def _chunk(
        self, segment: int, token: tuple[int, int, int], ids: dict[str, object], places: Places
    ) -> None:
        name = f"{segment:06d}." + ".".join(map(str, token))
        where = places.pop((segment, token), [])
        if len(where) != 1:
            what = "lost token" if not where else "doubled token"
            self.findings.problem(what, name, f"lies in {', '.join(where) or 'no place'}")
        path = os.path.join(self.queue.journal_dir(segment), f"{token[0]}.jsonl")
        try:
            book = read_book(path)
        except OSError as exc:
            self.findings.problem("unreadable file", path, exc.strerror or str(exc))
            book = None
        book = book or Book()
        self.reopened.update(book.reopened)
        note = self.findings.note
        note("damaged journal line(s), counted as absent", book.bad)
        note("torn journal line(s); the next owner cuts them off", int(book.torn))
        note("second final line(s) of a job, not counted", book.twice)
        for odd in book.odd:
            self.findings.problem("odd line", path, odd)
        if "pending" in where and (book.named or book.synced):
            self.findings.problem("misplaced token", name, "lies in pending, and work on its chunk has begun")
        for video_id in sorted(book.named - ids.keys()):
            self.findings.problem("stray job", path, f"{video_id} is not of this chunk")
        offset, wanted = self.promise.offsets.pop(name, (None, None))
        if offset is not None and offset > book.size:
            self.findings.problem(
                "journal too short", path, f"{book.size} bytes, {offset} are in the manifest"
            )
        elif wanted is not None and wanted != book.sum_to(offset or 0):
            self.findings.problem("journal changed", path, "not what it was when it went into the manifest")
        filed = where == ["filed"]
        for video_id, columns in ids.items():
            final = book.finals.get(video_id)
            if final is None:
                self._open(video_id, book, where, path)
            else:
                self._final(video_id, final, book, filed, offset, path)
                if _differ(final.body.get("input"), columns):
                    self.findings.problem("bad row", path, f"{video_id}: its input is not the segment's")

    def _open(self, video_id: str, book: Book, where: list[str], path: str) -> None:
        if self.rows.pop(video_id, None) is not None:
            self.findings.problem("row without work", path, f"{video_id} has a row, but no final line here")
        elif where == ["filed"]:
            self.findings.problem("lost job", path, f"{video_id} is not final, and its chunk is filed")
        elif where == ["done"]:
            self.findings.note("open job(s) in finished chunks; the next run takes them up again")
        waits = self.now < book.waits.get(video_id, 0.0) <= self.now + _CLOCK_JUMP_S
        self.states["deferred" if waits else "pending"] += 1

    def _final(
        self, video_id: str, final: Final, book: Book, filed: bool, offset: int | None, path: str
    ) -> None:
        problem = self.findings.problem
        status = str(final.body.get("status"))
        self.states[status if status in _STATES[2:] else "failed"] += 1
        if status != "ok":
            self.kinds[str(final.body.get("kind"))] += 1
        row = self.rows.pop(video_id, None)
        if row is None:
            if filed or (offset is not None and final.end <= offset):
                problem("lost row", path, f"{video_id} is filed, but not in the manifest")
            self.findings.note("row(s) not filed yet")
            self._unfiled(video_id, final, book, path)
            return
        if row not in (
            hash(final.raw),
            hash(json.dumps(final.body, ensure_ascii=False).encode("utf-8", "replace")),
        ):
            problem("row differs", self.queue.manifest, f"{video_id}: {path} says something else")
        if not filed and final.end > (offset or 0):
            problem("row too early", path, f"{video_id} is in the manifest, but would be put there once more")

    def _unfiled(self, video_id: str, final: Final, book: Book, path: str) -> None:
        """A final that is not in the manifest: a synced one must be as good as a row."""
        faults = list(row_faults(final.body))
        for fault in faults:
            self.findings.problem("bad row", path, f"{video_id}: {fault}")
        if faults or final.body["status"] != "ok":
            return
        self.formats[video_id] = tuple(final.body["files"])
        if self.output is None:
            return
        self.files += len(final.body["files"])
        for file, fault in self.output.faults(final.body):
            if final.end <= book.synced:
                self.findings.problem("bad file", os.path.join(self.output.root, file), fault)
            else:
                self.findings.note(
                    "file(s) of rows not yet promised are not right; the next run looks at them"
                )

    # ---- leftovers --------------------------------------------------------------------------------------
    def _strays(self) -> None:
        self.findings.note(
            "file(s) of the queue that others may read: `chmod -R go= DIR`",
            sum(1 for _ in exposed(self.queue)),
        )
        leftovers(self.queue, self.findings)
        if self.output is not None:
            found = (self.jobs, self.formats, self.reopened, self.findings)
            output_strays(self.output, self.batch, self.written, *found)


def _lines(path: str) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            yield from file
    except FileNotFoundError:
        return


def _differ(a: object, b: object) -> bool:
    """Whether two JSON values differ (not-a-number equals itself here)."""
    return a != b and json.dumps(a, sort_keys=True) != json.dumps(b, sort_keys=True)
