"""The two ways to store records: `--store files` (a .json and a .md file a video) and `--store shards`.

For each size and store a real run with a canned fetch of records of real size (300 captions, about 28 KB): jobs/s,
CPU a job, the memory of a worker process; then what lies there: files and directories, the bytes in them, the room
they take on the disk; then each export with two processes: records/s and the memory of the largest process. Beside it
stand what one would write with pandas over the .json files, and datatrove's writers in two processes, where they are
installed. Stores take turns; figures are medians.
Run by `scripts/bench corpus [--videos N…] [--rounds N] [--kinds K…] [--unsynced] [--quick]`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from children import CANNED, ENGINE, HERE, UNSYNCED, Measured, measured
from rows import ids
from tables import installed, machine, middle, table

STORES = ("files", "shards")
KINDS = ("jsonl", "parquet", "csv", "sqlite", "txt", "passages")
PEERS = {"pandas": ("parquet",), "datatrove": ("jsonl", "parquet")}
CUES = "300"
OPTIONS = ("-p", "2", "-t", "16", "--rate", "none", "--progress", "none")


def run(room: Path, names: Path, store: str, changes: dict[str, str]) -> Measured:
    command = [*ENGINE, "run", names, "-q", room / "q", "-o", room / "o", "--store", store, *OPTIONS]
    return measured(command, changes=changes, watch=True, CANNED_CUES=CUES)


def lies_there(place: Path) -> tuple[int, int, int]:
    """(files and directories, bytes in files, bytes on the disk) below an output directory."""
    count = size = room = 0
    for directory, names, files in os.walk(place):
        count += len(names) + len(files)
        for name in (*names, *files):
            about = os.lstat(os.path.join(directory, name))
            size += about.st_size if name in files else 0
            room += about.st_blocks * 512
    return count, size, room


def export(room: Path, kind: str) -> Measured:
    found = measured([*ENGINE, "export", "-q", room / "q", "--to", kind, "-o", room / "made", "-p", "2"])
    shutil.rmtree(room / "made")
    return found


def progress(what: str, store: str, count: int, found: Measured) -> None:
    """A line as soon as it is measured: large sizes take hours."""
    rate, cpu_ms = count / found.wall_s, found.cpu_s * 1000 / count
    said = f"{what} {store}: {rate:,.0f}/s, CPU {cpu_ms:.2f} ms a record, {found.peak_mb:.0f} MB"
    print(said, file=sys.stderr, flush=True)


def one(
    count: int, rounds: int, kinds: list[str], changes: dict[str, str], where: str | None
) -> tuple[list[list[str]], list[list[str]]]:
    with tempfile.TemporaryDirectory(prefix="engine-bench-", dir=where) as directory:
        top = Path(directory)
        names = top / "ids.txt"
        names.write_text("\n".join(ids(count)))
        runs: dict[str, list[Measured]] = {store: [] for store in STORES}
        for _ in range(rounds):
            for store in STORES:
                shutil.rmtree(top / store, ignore_errors=True)
                (top / store).mkdir()
                runs[store].append(run(top / store, names, store, changes))
                progress("run", store, count, runs[store][-1])
        there = {store: lies_there(top / store / "o") for store in STORES}
        stored = [_stored(count, store, runs[store], there[store], there["files"]) for store in STORES]
        exports = [[kind, f"{count:,}", *_exported(top, count, rounds, kind)] for kind in kinds]
        return stored, exports


def _stored(
    count: int, store: str, runs: list[Measured], there: tuple[int, int, int], of_files: tuple[int, int, int]
) -> list[str]:
    inodes, size, room = there
    return [
        store,
        f"{count:,}",
        f"{inodes:,}",
        f"{count / inodes:,.2f}",
        f"{size / 1e6:,.1f}",
        f"{size / of_files[1]:.3f}",
        f"{room / 1e6:,.1f}",
        f"{room / of_files[2]:.3f}",
        f"{middle([count / each.wall_s for each in runs]):,.0f}",
        f"{middle([each.cpu_s * 1000 / count for each in runs]):.2f}",
        f"{middle([each.rss_mb.get('worker', 0) for each in runs]):.0f}",
    ]


def _exported(top: Path, count: int, rounds: int, kind: str) -> list[str]:
    by_store: dict[str, list[Measured]] = {store: [] for store in STORES}
    for _ in range(rounds):
        for store in STORES:
            by_store[store].append(export(top / store, kind))
            progress(kind, store, count, by_store[store][-1])
    texts = [f"{middle([count / each.wall_s for each in by_store[store]]):,.0f}" for store in STORES]
    texts += [f"{middle([each.peak_mb for each in by_store[store]]):.0f}" for store in STORES]
    for package in PEERS:
        texts += _beside(top / "files", package, count, rounds, kind)
    return texts


def _beside(room: Path, package: str, count: int, rounds: int, kind: str) -> list[str]:
    """What a peer's script comes to over the same .json files: records/s and MB; nothing where there is none."""
    if kind not in PEERS[package] or not installed(package):
        return ["", ""]
    script = package if package == "pandas" else f"{package}-{kind}"
    found = []
    for _ in range(rounds):
        found.append(measured([sys.executable, HERE / "export_scripts.py", script, room]))
        progress(f"{kind} by {package}", "files", count, found[-1])
        (room / "script.parquet").unlink(missing_ok=True)
        for made in ("made-datatrove", "logs-datatrove"):
            shutil.rmtree(room / made, ignore_errors=True)
    rate = middle([count / each.wall_s for each in found])
    return [f"{rate:,.0f}", f"{middle([each.peak_mb for each in found]):.0f}"]


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench corpus", description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--where", help="a directory for the records, 45 KB each as files")
    parser.add_argument("--unsynced", action="store_true", help="without fsync: what the processor does")
    parser.add_argument("--quick", action="store_true", help="1,000 videos")
    wanted = parser.parse_args()
    changes = CANNED | (UNSYNCED if wanted.unsynced else {})
    stored, exports = [], []
    for count in [1_000] if wanted.quick else wanted.videos:
        first, second = one(count, wanted.rounds, wanted.kinds, changes, wanted.where)
        stored += first
        exports += second
    print(f"\n{machine('orjson', 'pyarrow', *PEERS, 'backports.zstd')}\n")
    table(
        ["store", "videos", "inodes", "videos an inode", "MB", "of files", "MB on disk", "of files", "jobs/s",
         "CPU ms a job", "worker MB"],
        stored,
    )  # fmt: skip
    print()
    table(
        ["kind", "videos", "files: records/s", "shards: records/s", "files: peak MB", "shards: peak MB",
         *(f"{package}: {figure}" for package in PEERS for figure in ("records/s", "MB"))],
        exports,
    )  # fmt: skip


if __name__ == "__main__":
    main()
