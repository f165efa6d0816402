"""Auditing segments, tokens and journals against each other and against the manifest's rows."""

from __future__ import annotations

import json
import os
import time
import zlib
from collections import Counter
from collections.abc import Iterator

from engine.queue.directory import Queue
from engine.verify.directory_scan import FOREIGN, Places, Token, digits, find_tokens, listing
from engine.verify.findings import Findings
from engine.verify.journal_reader import FinalLine, JournalContent, read_journal, row_faults
from engine.verify.manifest_audit import file_lines
from engine.verify.output_check import OutputCheck
from engine.verify.state_files import CheckpointFacts, cache_fault
from engine.verify.strays import is_temporary

STATES = ("pending", "deferred", "ok", "absent", "failed")
_FINAL_STATES = STATES[2:]
_CLOCK_JUMP_S = 1800.0  # a wait further ahead than this counts as over


class SegmentAudit:
    """Reads every segment and journal once. `rows`: hashes of the manifest's rows; what is left of them is stray."""

    def __init__(
        self,
        queue: Queue,
        checkpoint: CheckpointFacts,
        rows: dict[str, int],
        output: OutputCheck,
        findings: Findings,
    ) -> None:
        self.queue = queue
        self.findings = findings
        self.jobs: set[str] = set()
        self.states: Counter[str] = Counter(dict.fromkeys(STATES, 0))
        self.kinds: Counter[str] = Counter()
        self.reopened: dict[str, list[dict[str, str]]] = {}
        self._now = time.time()
        self._rows = rows
        self._output = output
        self._offsets = dict(checkpoint.offsets)  # removed when the journal is read
        self._places: Places = {}  # of tokens; removed when their chunk is met

    def read(self) -> None:
        queue, problem = self.queue, self.findings.problem
        self._places = find_tokens(queue, self.findings)
        published = {name for name in listing(queue.path("pending")) if digits(name)}
        for name in listing(queue.path("segments")):
            stem, _, extension = name.partition(".")
            if extension != "jsonl" or not digits(stem):
                self.findings.note(FOREIGN, not is_temporary(queue.path("segments", name)))
            elif stem in published:
                published.discard(stem)
                self._segment(int(stem))
            else:
                self.findings.note("segment(s) not published yet; the next seed or run does that")
        for stem in sorted(published):
            problem("lost segment", queue.segment(int(stem)), "missing, and its tokens are there")
        for (segment, token), where in self._places.items():
            problem("stray token", f"{where[0]}/{_name(segment, token)}", "its segment has no such chunk")
        for name in self._offsets:
            problem("stray offset", queue.checkpoint, f"{name} is no chunk of this queue")
        for video_id in self._rows:
            problem("stray row", queue.manifest, f"{video_id} is not a job of this queue")

    def _segment(self, segment: int) -> None:
        path, problem = self.queue.segment(segment), self.findings.problem
        lines = file_lines(path)
        try:
            head = json.loads(next(lines, b""))
            size, jobs = int(head["chunk"]), int(head["jobs"])
            valid = int(head["segment"]) == segment and size > 0
            wanted = head.get("crc32")
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            valid = False
        if not valid:
            problem("bad segment", path, "its first line is not its header")
            return
        with open(path, "rb") as file:
            at = len(file.readline())
            checksum = zlib.crc32(f"{segment} {jobs} {size}".encode())
            for piece in iter(lambda: file.read(1 << 20), b""):
                checksum = zlib.crc32(piece, checksum)
        if wanted != checksum:
            problem("bad segment", path, "not what its checksum says")
        first, k, seen, columns_of, everyone = at, 0, 0, dict[str, object](), list[str]()
        for video_id, columns, length in self._jobs(path, lines):
            at += length
            seen += 1
            columns_of[video_id] = columns
            everyone.append(video_id)
            if seen % size == 0 or seen == jobs:
                self._chunk(segment, (k, first, seen - k * size), columns_of)
                first, k, columns_of = at, k + 1, {}
        if seen != jobs:
            problem("bad segment", path, f"its header says {jobs} jobs, it holds {seen}")
        if fault := cache_fault(self.queue, segment, everyone):
            problem("wrong cache", self.queue.ids(segment), fault)
        self._check_names(self.queue.journal_dir(segment), k)

    def _jobs(self, path: str, lines: Iterator[bytes]) -> Iterator[tuple[str, object, int]]:
        """(id, columns, length of the line) of each job of a segment; a damaged line counts as a job of its own."""
        for number, line in enumerate(lines, 2):
            try:
                job = json.loads(line)
                video_id, columns = str(job["id"]), job.get("input") or {}
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                self.findings.problem("bad segment", f"{path}:{number}", "cannot be parsed")
                video_id, columns = f"line {number}", {}
            if video_id in self.jobs:
                self.findings.problem("duplicate job", f"{path}:{number}", video_id)
            self.jobs.add(video_id)
            yield video_id, columns, len(line)

    def _check_names(self, directory: str, chunks: int) -> None:
        """Report names in a directory of journals that are no chunk's."""
        for name in listing(directory):
            number = name.removesuffix(".jsonl")
            if not name.endswith(".jsonl") or not digits(number):
                self.findings.note(FOREIGN)
            elif int(number) >= chunks:
                self.findings.problem("stray file", os.path.join(directory, name), "no chunk's journal")

    def _chunk(self, segment: int, token: Token, columns_of: dict[str, object]) -> None:
        name, problem = _name(segment, token), self.findings.problem
        where = self._places.pop((segment, token), [])
        if len(where) != 1:
            what = "lost token" if not where else "doubled token"
            problem(what, name, f"lies in {', '.join(where) or 'no place'}")
        path = os.path.join(self.queue.journal_dir(segment), f"{token[0]}.jsonl")
        content = self._journal(path)
        if "pending" in where and (content.named or content.synced):
            problem("misplaced token", name, "lies in pending, and work on its chunk has begun")
        for video_id in sorted(content.named - columns_of.keys()):
            problem("stray job", path, f"{video_id} is not of this chunk")
        offset, wanted = self._offsets.pop(name, (None, None))
        if offset is not None and offset > content.size:
            problem("journal too short", path, f"{content.size} bytes, {offset} are in the manifest")
        elif wanted is not None and wanted != content.checksum_to(offset or 0):
            problem("journal changed", path, "not what it was when it went into the manifest")
        filed = where == ["filed"]
        for video_id, columns in columns_of.items():
            final = content.finals.get(video_id)
            if final is None:
                self._open_job(video_id, content, where, path)
            else:
                self._final_job(video_id, final, content, filed, offset, path)
                if _differ(final.body.get("input"), columns):
                    problem("bad row", path, f"{video_id}: its input is not the segment's")

    def _journal(self, path: str) -> JournalContent:
        """Read a journal, and report what is wrong with its lines."""
        content = None
        try:
            content = read_journal(path)
        except OSError as exc:
            self.findings.problem("unreadable file", path, exc.strerror or str(exc))
        content = content or JournalContent()
        self.reopened.update(content.reopened)
        note = self.findings.note
        note("damaged journal line(s), counted as missing", content.bad)
        note("torn journal line(s); the next owner removes them", int(content.torn))
        note("second final line(s) of a job, not counted", content.twice)
        for odd in content.odd:
            self.findings.problem("odd line", path, odd)
        return content

    def _open_job(self, video_id: str, content: JournalContent, where: list[str], path: str) -> None:
        if self._rows.pop(video_id, None) is not None:
            self.findings.problem("row without work", path, f"{video_id} has a row, but no final line here")
        elif where == ["filed"]:
            self.findings.problem("lost job", path, f"{video_id} is not final, and its chunk is filed")
        elif where == ["done"]:
            self.findings.note("open job(s) in finished chunks; the next run takes them up again")
        waits = self._now < content.waits.get(video_id, 0.0) <= self._now + _CLOCK_JUMP_S
        self.states["deferred" if waits else "pending"] += 1

    def _final_job(
        self,
        video_id: str,
        final: FinalLine,
        content: JournalContent,
        filed: bool,
        offset: int | None,
        path: str,
    ) -> None:
        problem = self.findings.problem
        status = str(final.body.get("status"))
        self.states[status if status in _FINAL_STATES else "failed"] += 1
        if status != "ok":
            self.kinds[str(final.body.get("kind"))] += 1
        row = self._rows.pop(video_id, None)
        if row is None:
            if filed or (offset is not None and final.end <= offset):
                problem("lost row", path, f"{video_id} is filed, but not in the manifest")
            self.findings.note("row(s) not filed yet")
            self._unfiled(video_id, final, content, path)
            return
        written_again = json.dumps(final.body, ensure_ascii=False).encode("utf-8", "replace")
        if row not in (hash(final.raw), hash(written_again)):
            problem("row differs", self.queue.manifest, f"{video_id}: {path} says something else")
        if not filed and final.end > (offset or 0):
            problem("row too early", path, f"{video_id} is in the manifest, but would be put there once more")

    def _unfiled(self, video_id: str, final: FinalLine, content: JournalContent, path: str) -> None:
        """A final job that is not in the manifest: if its line is synced, its files must be as its row says."""
        faults = list(row_faults(final.body))
        for fault in faults:
            self.findings.problem("bad row", path, f"{video_id}: {fault}")
        if faults or final.body["status"] != "ok":
            return
        for file, fault in self._output.now(final.body):
            if final.end <= content.synced:
                self._output.report(file, fault)
            else:
                self.findings.note(
                    "file(s) of rows that are not durable yet are wrong; the next run checks them"
                )


def _name(segment: int, token: Token) -> str:
    return f"{segment:06d}." + ".".join(map(str, token))


def _differ(a: object, b: object) -> bool:
    """Whether two JSON values differ; here not-a-number equals itself."""
    return a != b and json.dumps(a, sort_keys=True) != json.dumps(b, sort_keys=True)
