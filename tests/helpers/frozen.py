"""Queues as an earlier engine left them: packed under `data/queues`, unpacked and finished by today's commands.

`NAME.tar.gz` holds `queue/`, `out/` and the lists they were seeded from; `NAME.json` says what is in it, which
commands finish it, and what its rows are then. `data/make_queues.py` made both.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import recount
from commands import Command, Ended, engine, until

PLACE = Path(__file__).parents[1] / "data" / "queues"
QUICK = ("--progress", "none", "-p", "1", "-t", "8")


@dataclass
class Recipe:
    """What is written beside a packed queue."""

    about: str
    tree: list[str] = field(default_factory=list)  # paths below the root that must be there, `*` as in glob
    lines: list[str] = field(
        default_factory=list
    )  # journal lines that must be there: a verb, and fields of it
    finish: list[list[str]] = field(
        default_factory=lambda: [["rehearse"]]
    )  # commands; `./x` is a file of the root
    serve: list[str] | None = None  # what a stand-in for `run` is started with
    env: dict[str, str] = field(default_factory=dict)
    exit: int = 0  # of the last command
    rows: dict[str, int] = field(default_factory=dict)  # by kind, when it is finished
    settled: bool = True  # False: a retry or a repair was cut off, and counts are those of before or of after


def names() -> list[str]:
    return sorted(path.name.removesuffix(".tar.gz") for path in PLACE.glob("*.tar.gz"))


def recipe(name: str) -> Recipe:
    return Recipe(**json.loads((PLACE / f"{name}.json").read_text(encoding="utf-8")))


def pack(root: Path, name: str, what: Recipe) -> None:
    """Write a queue's archive and what belongs beside it: the same files make the same bytes."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(root.rglob("*")):
            info = tar.gettarinfo(path, str(path.relative_to(root)))
            info.uid = info.gid = info.mtime = 0
            info.uname = info.gname = ""
            with contextlib.ExitStack() as stack:
                tar.addfile(info, stack.enter_context(path.open("rb")) if info.isreg() else None)
    (PLACE / f"{name}.tar.gz").write_bytes(gzip.compress(plain.getvalue(), 9, mtime=0))
    text = json.dumps(asdict(what), indent=1, ensure_ascii=False)
    (PLACE / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def unpack(name: str, root: Path) -> Recipe:
    """Lay a packed queue out below a directory, and lead it to its output there."""
    root.mkdir(parents=True, exist_ok=True)
    with tarfile.open(PLACE / f"{name}.tar.gz") as tar:
        tar.extractall(root, filter="tar")
    relocate(root)
    return recipe(name)


def relocate(root: Path) -> None:
    """Have `batch.json` name the output directory beside the queue: an absolute path, with a sum over it."""
    path = root / "queue" / "batch.json"
    batch = json.loads(path.read_bytes()) if path.exists() else {}
    if batch.get("frozen"):
        batch["frozen"]["output"] = str(root / "out")
        if batch.pop("crc32", None) is not None:
            batch["crc32"] = zlib.crc32(json.dumps(batch).encode())
        path.write_text(json.dumps(batch, indent=1) + "\n")


@contextlib.contextmanager
def served(options: list[str], **env: str) -> Iterator[list[str]]:
    """A stand-in of its own; yields the options that lead a run to it."""
    with Command("rehearse", "--serve", *options, **env) as site:
        said = until(
            lambda: [line for line in site.said().splitlines() if "--proxy" in line], 30.0, "for a stand-in"
        )
        yield said[0].split()


def finish(root: Path, what: Recipe) -> Ended:
    """Do the commands that finish a queue; returns how the last one ended."""
    ended = Ended(-1, "", "no command")
    with contextlib.ExitStack() as stack:
        lead = stack.enter_context(served(what.serve)) if what.serve is not None else []
        for verb, *more in what.finish:
            args = [str(root / text[2:]) if text.startswith("./") else text for text in more]
            if verb in ("rehearse", "run"):
                args += ["-o", str(root / "out"), *QUICK]
                args += ["--latency", "0"] if verb == "rehearse" else ["--rate", "none", *lead]
            ended = engine(verb, "-q", root / "queue", *args, timeout_s=100.0, **what.env)
    return ended


def kinds(queue: Path) -> dict[str, int]:
    """How many rows there are of each kind (`ok` for those that have none)."""
    return dict(sorted(Counter(row["kind"] or row["status"] for row in recount.manifest(queue)).items()))


def missing(root: Path, what: Recipe) -> list[str]:
    """What a packed queue should hold by its recipe and does not."""
    absent = [text for text in what.tree if not any(root.glob(text))]
    lines = list(recount.journal_lines(root / "queue"))
    return absent + [
        line for line in what.lines if not any(_fits(line, verb, value) for verb, value in lines)
    ]


def _fits(wanted: str, verb: str, value: dict[str, Any]) -> bool:
    name, *fields = wanted.split()
    return name == verb and all(value.get(text) not in (None, False, [], {}) for text in fields)
