"""What one `ok` video passes in its fetching thread: functions, files, changes of file, and locks between processes.

A run with one thread fetches videos with captions from the rehearsal server, and `sys.setprofile` follows that thread
(`walked.py`). A video's way lasts from its `Fetcher.fetch` to the next one's; the median of them is shown. Left out
is what reads an answer, what renders a record, and the HTTP stack: these are long, and one enters them on purpose.
Run by `scripts/bench walk [--videos N] [--list]`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from children import ENGINE, measured
from rows import ids
from tables import table

from engine.rehearsal import RehearsalSettings, start

HOOK = {"engine.youtube.fetcher": "import walked; walked.follow(Fetcher.fetch)"}
LEFT_OUT = ("youtube/", "output/", "network/")  # parsing, rendering, HTTP; but not these:
STAYS = ("youtube/fetcher.py", "output/publisher.py", "output/placement.py", "output/ownership.py")
NO_FUNCTIONS = ("comp>", "<genexpr>")  # a comprehension is read where it stands


@dataclass(frozen=True)
class Walk:
    """One video's way: (module, function, the module it was called from) for each call, and the locks it took."""

    calls: list[tuple[str, str, str]]
    locks: list[str]

    @property
    def functions(self) -> Counter[tuple[str, str]]:
        return Counter((module, name) for module, name, _ in self.calls)

    @property
    def files(self) -> set[str]:
        return {module for module, _, _ in self.calls}

    @property
    def switches(self) -> int:
        """How many calls lead into another file."""
        return sum(module != caller for module, _, caller in self.calls)


def left_out(module: str) -> bool:
    return module not in STAYS and module.startswith(LEFT_OUT)


def walks(videos: int) -> list[Walk]:
    """The ways of so many videos but the last, in a run of one thread."""
    with (
        tempfile.TemporaryDirectory(prefix="engine-bench-") as directory,
        start(RehearsalSettings(latency_s=0)) as site,
    ):
        room = Path(directory)
        names, walked = room / "videos.txt", room / "walked.jsonl"
        names.write_text("".join(f"{name}\n" for name in ids(videos)))
        options = ["-p", "1", "-t", "1", "--rate", "none", "--progress", "none"]
        reach = ["--proxy", site.proxy_url, "--ca-bundle", site.ca_bundle]
        command = [*ENGINE, "run", names, "-q", room / "q", "-o", room / "o", *options, *reach]
        measured(command, codes=(0,), changes=HOOK, WALKED=str(walked))
        lines = [json.loads(line) for line in walked.read_text(encoding="utf-8").splitlines()]
    return [
        Walk([call for call in map(tuple, line["calls"]) if _counts(*call)], line["locks"]) for line in lines
    ]


def _counts(module: str, name: str, _: str) -> bool:
    return not left_out(module) and not name.endswith(NO_FUNCTIONS)


def median(found: Iterable[Walk]) -> Walk:
    """The walk that is neither a short nor a long one."""
    ordered = sorted(found, key=lambda walk: len(walk.calls))
    return ordered[len(ordered) // 2]


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench walk", description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=40)
    parser.add_argument("--list", action="store_true", help="name the functions, too")
    wanted = parser.parse_args()
    walk = median(walks(max(3, wanted.videos)))
    locks = ", ".join(f"{name} {count}" for name, count in Counter(walk.locks).most_common()) or "none"
    table(
        ("one ok video, in its fetching thread", ""),
        (
            ("functions", f"{len(walk.functions)}"),
            ("files", f"{len(walk.files)}"),
            ("calls into another file", f"{walk.switches}"),
            ("locks between processes", f"{len(walk.locks)}: {locks}"),
        ),
    )
    if wanted.list:
        print()
        by_file = {
            module: sorted(name for of, name in walk.functions if of == module) for module in walk.files
        }
        table(("file", "functions"), ((module, ", ".join(by_file[module])) for module in sorted(by_file)))


if __name__ == "__main__":
    main()
