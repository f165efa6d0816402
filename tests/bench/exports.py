"""How fast `engine export` is, beside plain scripts for the same files, and how much memory it takes.

The records are of real size: 300 captions, about 28 KB. One in ten rows is `absent`. The scripts are what one would
write: one process, orjson, and pyarrow with the same schema and the same options. All contenders take turns in the
same run, each in processes of its own; figures are medians, ratios are taken within a turn.
Run by `scripts/bench export [--videos N…] [--rounds N] [--kinds K…] [--small] [--quick]`.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import random
import shutil
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from children import ENGINE, HERE, Measured, measured
from rows import full_row, ids
from tables import machine, middle, spread, table

from engine.model import Cue, Metadata, Record, Transcript
from engine.output import destination, shards
from engine.output.json_record import to_json
from engine.queue.making import make_queue, raise_format
from engine.queue.manifest import Checkpoint, write_checkpoint
from engine.queue.names import SHARDS_FORMAT
from engine.storage import zstd

CUES, BODIES = 300, 64
ABSENT_EVERY = 10
KINDS = ("jsonl", "parquet", "csv", "sqlite", "txt", "passages")
SCRIPTS = ("jsonl", "parquet")
PLACE = "-" * 11


def bodies() -> list[bytes]:
    """Some different records, in which the id is to be filled in."""
    found = []
    for seed in range(BODIES):
        dice = random.Random(seed)
        words = ["".join(dice.choices("etaoinshrdlu", k=dice.randint(2, 9))) for _ in range(2000)]
        cues = tuple(Cue(n * 2.5, 2.4, " ".join(dice.choices(words, k=7))) for n in range(CUES))
        about = Metadata(f"About {PLACE} and more", "A channel", "UCVYamHliCI9rw1tHR1xbkfw", 750, 123_456,
                         ("some", "keywords"), " ".join(dice.choices(words, k=120)))  # fmt: skip
        track = Transcript("en", "English", True, cues)
        found.append(to_json(Record(PLACE, about, track, {"topic": "politics"}, "2026-11-22T21:03:11Z")))
    return found


def make_small(room: Path, count: int) -> Path:
    """A finished batch of so many rows, for memory: one in ten has a record, of three captions, in a shard."""
    queue = make_queue(str(room / "q"))
    out = room / "o"
    (out / shards.DIR).mkdir(parents=True)
    destination.claim(queue, str(out))
    raise_format(queue, SHARDS_FORMAT)
    frozen = {"output": str(out), "languages": ["en"], "formats": [], "store": "shards"}
    queue.write_batch({**queue.read_batch(), "frozen": frozen})
    made, at = Checkpoint(), 0
    cues = tuple(Cue(n * 2.5, 2.4, "seven words are said in this line") for n in range(3))
    with open(queue.manifest, "wb") as manifest, open(shards.path_of(str(out), 0), "wb") as shard:
        at += shard.write(shards.header(str(queue.read_batch()["id"])))
        for n, name in enumerate(ids(count)):
            row = full_row(name) | {
                "status": "absent",
                "kind": "private",
                "files": {},
                "sha256": {},
                "language": None,
            }
            if n % ABSENT_EVERY == 0:
                track = Transcript("en", "English", True, cues)
                data = to_json(
                    Record(name, Metadata(f"About {name}"), track, {"row": n}, "2026-11-22T21:03:11Z")
                )
                frame = shards.Frame(0, at, shard.write(zstd.compress(data)))
                at = frame.end
                row |= {"status": "ok", "kind": None, "language": "en", "files": {"json": str(frame)}}
                row["sha256"] = {"json": hashlib.sha256(data).hexdigest()}
            made.counts.add(row)
            made.length += manifest.write(json.dumps(row).encode() + b"\n")
    write_checkpoint(queue, made)
    return room


def make(room: Path, count: int) -> Path:
    """A finished batch of so many videos."""
    queue = make_queue(str(room / "q"))
    out = room / "o"
    out.mkdir()
    destination.claim(queue, str(out))
    frozen = {"output": str(out), "languages": ["en"], "formats": []}
    queue.write_batch({**queue.read_batch(), "frozen": frozen})
    known, made = bodies(), Checkpoint()
    with open(queue.manifest, "wb") as manifest:
        for n, name in enumerate(ids(count)):
            row = full_row(name)
            if n % ABSENT_EVERY == 9:
                row |= {
                    "status": "absent",
                    "kind": "no_captions",
                    "files": {},
                    "sha256": {},
                    "language": None,
                }
            else:
                data = known[n % BODIES].replace(PLACE.encode(), name.encode())
                path = out / name[:2] / f"{name}.json"
                with contextlib.suppress(FileExistsError):
                    path.parent.mkdir()
                path.write_bytes(data)
                row |= {
                    "files": {"json": f"{name[:2]}/{name}.json"},
                    "sha256": {"json": hashlib.sha256(data).hexdigest()},
                }
            made.counts.add(row)
            made.length += manifest.write(json.dumps(row).encode() + b"\n")
    write_checkpoint(queue, made)
    return room


def engine(room: Path, kind: str) -> Measured:
    command = [*ENGINE, "export", "-q", room / "q", "--to", kind, "-o", room / "made", "-p", "2"]
    found = measured(command, watch=True)
    shutil.rmtree(room / "made")
    return found


def script(room: Path, kind: str) -> Measured:
    found = measured([sys.executable, HERE / "export_scripts.py", kind, room])
    for path in room.glob("script.*"):
        path.unlink()
    return found


def one(count: int, rounds: int, kinds: list[str], where: str | None, *, small: bool) -> list[list[str]]:
    with tempfile.TemporaryDirectory(prefix="engine-bench-", dir=where) as directory:
        with ProcessPoolExecutor(
            1
        ) as apart:  # a child's peak counts its parent's, so this process stays small
            room = apart.submit(make_small if small else make, Path(directory), count).result()
        found: dict[str, list[tuple[Measured, Measured | None]]] = {kind: [] for kind in kinds}
        for _ in range(rounds):
            for kind in kinds:
                beside = script(room, kind) if kind in SCRIPTS and not small else None
                found[kind].append((engine(room, kind), beside))
                print("|".join(_line(kind, count, found[kind][-1:])), file=sys.stderr, flush=True)
        return [_line(kind, count, turns) for kind, turns in found.items()]


def _line(kind: str, count: int, turns: list[tuple[Measured, Measured | None]]) -> list[str]:
    ours = [count / mine.wall_s for mine, _ in turns]
    both = [(mine, theirs) for mine, theirs in turns if theirs]
    return [
        kind,
        f"{count:,}",
        spread(ours),
        f"{middle([mine.peak_mb for mine, _ in turns]):.0f}",
        f"{middle([mine.rss_mb.get('slices', 0) for mine, _ in turns]):.0f}",
        spread([count / theirs.wall_s for _, theirs in both]) if both else "",
        spread([theirs.wall_s / mine.wall_s for mine, theirs in both], ".2f") if both else "",
        f"{middle([theirs.peak_mb for _, theirs in both]):.0f}" if both else "",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench export", description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--where", help="a directory for the records, 28 KB each")
    parser.add_argument(
        "--small", action="store_true", help="rows with small records in a shard: memory, many rows"
    )
    parser.add_argument("--quick", action="store_true", help="2,000 videos, once")
    wanted = parser.parse_args()
    sizes, rounds = ([2_000], 1) if wanted.quick else (wanted.videos, wanted.rounds)
    lines = [
        line for count in sizes for line in one(count, rounds, wanted.kinds, wanted.where, small=wanted.small)
    ]
    print(f"\n{machine('orjson', 'pyarrow')}\n")
    head = ["kind", "videos", "records/s", "peak MB", "of each helper", "script records/s", "×", "script MB"]
    table(head, lines)


if __name__ == "__main__":
    main()
