"""What is made of shares that are done: one manifest, files, a retry; and tidying up."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.errors import UsageError
from engine.fleet import names, parts
from engine.fleet.ledger import Generation, Ledger
from engine.fleet.names import ShareKey
from engine.fleet.objects import DirectoryObjects
from engine.output import formats, publisher
from engine.storage import disk

MARKER = ".engine-fleet"
_MODE, _DIR_MODE = 0o644, 0o755
_BLOCK = 1 << 20
OnProgress = Callable[[int, int], None]


@dataclass
class Made:
    """What came of a merge or an export."""

    shares: int = 0
    open_shares: int = 0
    rows: int = 0
    files: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    damaged: list[str] = field(default_factory=list)

    def add(self, row: Mapping[str, Any]) -> None:
        self.rows += 1
        self.counts[row["status"]] += 1


def merge(ledger: Ledger, path: str, on_progress: OnProgress) -> Made:
    """Write the rows of all shares that are done into one manifest: of each id one row, that of its latest
    generation. Raises UsageError when the file is there already."""
    made, there = Made(), UsageError(f"-o {path}: it is there already; give another name, or remove it")
    if os.path.lexists(path):
        raise there
    directory = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(directory):
        raise UsageError(f"-o {path}: there is no directory {directory}")
    temporary = os.path.join(directory, f".{os.path.basename(path)}.merge.{os.getpid():08x}.tmp")
    fd = disk.open_append(temporary, _MODE)
    try:
        waiting = bytearray()
        for line, row in _rows(ledger, made, on_progress):
            waiting += line
            made.add(row)
            if len(waiting) >= _BLOCK:
                disk.write_all(fd, bytes(waiting))
                waiting.clear()
        disk.write_all(fd, bytes(waiting))
        disk.sync_fd(fd)
        disk.rename_new(temporary, path)
        disk.sync_dir(directory)
    except FileExistsError:
        raise there from None
    finally:
        os.close(fd)
        disk.unlink_quietly(temporary)
    return made


def export(ledger: Ledger, root: str, kinds: Iterable[str] | None, on_progress: OnProgress) -> Made:
    """Write the record of each video that is `ok`, and the other formats, as a run would have. What is there already
    with the right content is passed over, so it may be interrupted. Raises UsageError for a directory that holds
    something else."""
    fleet, made = ledger.fleet(), Made()
    wanted = tuple(kinds) if kinds is not None else tuple(fleet.options.get("format", ("md",)))
    _claim(root, fleet.id)
    for row, record in _records(ledger, made, on_progress):
        made.add(row)
        if record is None:
            continue
        contents = {formats.RECORD: record}
        if wanted:
            value = formats.from_json(record)
            contents.update({kind: formats.render(value, kind) for kind in wanted})
        for kind, data in contents.items():
            known = row["sha256"].get(kind)
            if known is not None and known != hashlib.sha256(data).hexdigest():
                made.damaged.append(f"{row['video_id']}.{kind} is not what its row says")
                continue
            made.files += _publish(root, publisher.relative(row["video_id"], kind), data)
    return made


def retry_jobs(
    ledger: Ledger, kinds: frozenset[str], absent: bool, on_progress: OnProgress
) -> Iterator[dict[str, Any]]:
    """The rows of the jobs to be tried again: the latest of each id that failed, or is of one of these kinds, and
    that no open share has."""
    generations = ledger.generations()
    done = ledger.done_keys()
    for _, keys in _numbers(generations, on_progress):
        busy: set[str] = set()
        for generation, key in keys:
            if key not in done:
                busy |= {job.video_id for job in ledger.jobs(generation, key)}
        for _, row in _folded(ledger, [key for _, key in keys if key in done]).values():
            wanted = (
                row["kind"] in kinds
                if kinds
                else row["status"] == "failed" or (absent and row["status"] == "absent")
            )
            if wanted and row["status"] != "ok" and row["video_id"] not in busy:
                yield row


def give_back(ledger: Ledger) -> int:
    """Give back the shares that were set aside; returns how many."""
    from engine.fleet import outlook
    from engine.fleet.protocol import to_bytes
    from engine.fleet.steps import Create, insist

    found = [share for share in outlook.collect(ledger)["at_work"] if share["state"] == "set aside"]
    for share in found:
        key = ShareKey.parse(share["key"])
        if key is not None:
            name = names.left(key, share["hold"])
            ledger.do(insist(Create(name, to_bytes({"why": "retry"})), ledger.timing.beat_s))
    return len(found)


def tidy(ledger: Ledger, *, dry_run: bool) -> Counter[str]:
    """Remove what nobody needs any more, and only that: parts, holds and beats of shares that are done, but for the
    parts that `done/` names; jobs of a plan that died before it counted; probes. Returns how many files of a sort."""
    ledger.fleet()  # raises where there is none
    generations = ledger.generations()
    everything = ledger.names("")
    done = {done.key: done for done in ledger.all_done(sorted(ledger.done_keys()))}
    tokens = {generation.token for generation in generations}
    removed: Counter[str] = Counter()
    for name in everything:
        sort, _, rest = name.partition("/")
        if not names.is_own(name):
            continue
        key = ShareKey.parse(rest.partition("/")[0].removesuffix(".json"))
        found = done.get(key) if key is not None else None
        gone = sort == "probe" or (sort == "shares" and rest.partition("/")[0] not in tokens)
        if found is not None and sort in ("holds", "beats", "parts"):
            gone = name not in {part.name.path(found.key) for part in found.parts}
        if gone:
            removed[sort] += 1
            if not dry_run:
                ledger.objects.remove(name)
    if isinstance(ledger.objects, DirectoryObjects) and not dry_run:
        removed["unnamed"] += ledger.objects.sweep()
    return +removed


# ---- reading shares --------------------------------------------------------------------------------------
def _numbers(
    generations: list[Generation], on_progress: OnProgress
) -> Iterator[tuple[int, list[tuple[Generation, ShareKey]]]]:
    """Each share number with its keys in all generations."""
    numbers = sorted({number for generation in generations for number in generation.jobs})
    for at, number in enumerate(numbers):
        on_progress(at, len(numbers))
        yield (
            number,
            [(each, ShareKey(number, each.number)) for each in generations if number in each.jobs],
        )


def _folded(ledger: Ledger, keys: list[ShareKey]) -> dict[str, tuple[bytes, dict[str, Any]]]:
    """(line, row) of each id in the shares of one number: of several generations the last."""
    rows: dict[str, tuple[bytes, dict[str, Any]]] = {}
    for done in ledger.all_done(sorted(keys, key=lambda key: key.generation)):
        for part in done.parts:
            name = part.name.path(done.key)
            data = ledger.read(name, 0, part.rows_size)
            try:
                lines = parts.unpack_rows(data or b"")
            except ValueError as exc:
                raise UsageError(
                    f"{name} in {ledger.where} is damaged ({exc}): `engine fleet verify`"
                ) from None
            for line in lines:
                row = json.loads(line)
                rows[row["video_id"]] = (line, row)
    return rows


def _finished(ledger: Ledger, made: Made, on_progress: OnProgress) -> Iterator[list[ShareKey]]:
    """The keys of each share number that are done; `made` counts them."""
    done = ledger.done_keys()
    for _, keys in _numbers(ledger.generations(), on_progress):
        finished = [key for _, key in keys if key in done]
        made.shares += len(finished)
        made.open_shares += len(keys) - len(finished)
        yield finished


def _rows(ledger: Ledger, made: Made, on_progress: OnProgress) -> Iterator[tuple[bytes, dict[str, Any]]]:
    for finished in _finished(ledger, made, on_progress):
        yield from _folded(ledger, finished).values()


def _records(
    ledger: Ledger, made: Made, on_progress: OnProgress
) -> Iterator[tuple[dict[str, Any], bytes | None]]:
    """(row, record) of each id, of several generations the last."""
    for finished in _finished(ledger, made, on_progress):
        later: set[str] = set()
        for done in ledger.all_done(sorted(finished, key=lambda key: -key.generation)):
            seen: set[str] = set()
            for part in done.parts:
                name = part.name.path(done.key)
                try:
                    for row, _, record in parts.unpack(ledger.read(name) or b""):
                        seen.add(row["video_id"])
                        if row["video_id"] not in later:
                            yield row, record
                except ValueError as exc:
                    made.damaged.append(f"{name}: {exc}")
            later |= seen


# ---- writing files ---------------------------------------------------------------------------------------
def _claim(root: str, fleet: str) -> None:
    """Make a directory this fleet's export. Raises UsageError for one that holds something else."""
    try:
        disk.ensure_dirs(root, mode=_DIR_MODE)
        there = [name for name in os.listdir(root) if not name.endswith(".tmp")]
    except OSError as exc:
        raise UsageError(f"-o {root}: {exc.strerror}") from None
    marker = os.path.join(root, MARKER)
    if not there:
        disk.publish_durably(marker, f"{fleet}\n".encode(), mode=_MODE)
    elif disk.read_small(marker, 256) != f"{fleet}\n".encode():
        raise UsageError(
            f"-o {root}: it holds something else ({there[0]}): give a new or an empty directory, or this fleet's "
            "earlier export"
        )


def _publish(root: str, name: str, data: bytes) -> bool:
    """Write a file of the export; False when it is there already."""
    path = os.path.join(root, name)
    disk.ensure_dir(os.path.dirname(path), mode=_DIR_MODE)
    with contextlib.suppress(OSError), open(path, "rb") as file:
        if file.read() == data:
            return False
    disk.publish(path, data, mode=_MODE, sync=False)
    return True
