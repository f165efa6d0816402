"""A night of a fleet: real `engine fleet` commands and Dask processes on loopback, that are killed and frozen.

The audit at the end reads the ledger's files with code of its own.
"""

from __future__ import annotations

import collections
import contextlib
import gzip
import hashlib
import json
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import psutil
from commands import Command, Ended, engine, environment
from patience import HANG_S, until

from engine.rehearsal import Rehearsal, invented_ids

PACE = int(os.environ.get("FLEET_NIGHT_PACE", "20"))
DEAD_PROXY = "http://127.0.0.1:9"  # whatever is not told where to go must get nowhere
LATENCY_S, RATE = 0.05, "12/s"


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def settings(**more: str) -> dict[str, str]:
    return {
        "ENGINE_PROXY": DEAD_PROXY, "ENGINE_FLEET_PACE": str(PACE), "ENGINE_BUDGET_PACE": "60",
        "ENGINE_NO_MEMORY": "1", **more,
    }  # fmt: skip


def tree(pid: int) -> list[psutil.Process]:
    """A process and all below it, whatever sessions they are in."""
    try:
        parent = psutil.Process(pid)
        return [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def send(processes: list[psutil.Process], number: int) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


@dataclass
class Night:
    """One ledger, the site, and what is at work on it."""

    root: Path
    site: Rehearsal
    ledger: str
    env: dict[str, str] = field(default_factory=settings)
    seed: int = 1
    machines: dict[str, Command] = field(default_factory=dict)
    driver: Command | None = None
    scheduler: subprocess.Popen[bytes] | None = None
    port: int = 0
    ids: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    rate: str = RATE
    places: int = 2
    seen: dict[int, psutil.Process] = field(default_factory=dict)  # all that ever belonged to it

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.random = random.Random(self.seed)

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    # ---- commands --------------------------------------------------------------------------------------
    def fleet(self, command: str, *args: str | os.PathLike[str], timeout_s: float = 120.0) -> Ended:
        return engine("fleet", command, *args, timeout_s=timeout_s, **self.env)

    def plan(self, videos: int, share: int, *more: str | os.PathLike[str]) -> None:
        self.ids = list(invented_ids(videos, self.seed))
        file = self.root / "videos.txt"
        file.write_text("".join(f"{video_id}\n" for video_id in self.ids))
        ended = self.fleet("plan", file, self.ledger, "--share", str(share), *more)
        assert ended.code == 0, ended.said

    def start_scheduler(self) -> None:
        self.port = self.port or free_port()
        command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
        with (self.root / "scheduler.log").open("ab") as said:
            self.scheduler = subprocess.Popen(command, stdout=said, stderr=said, env=environment(**self.env))

        def listens() -> bool:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return True
            return False

        until(listens, HANG_S, "for the scheduler to listen")

    def join(self, name: str, *more: str, user: str | None = None, **env: str) -> Command:
        """Start a machine, whose egress is a proxy user of its own."""
        proxy = self.site.proxy_url.replace("//", f"//{user or name}:x@")
        args = ["--proxy", proxy] if "--proxies" not in more else []
        self.machines[name] = Command(
            "fleet", "join", self.ledger, "--scheduler", self.address, "--work", self.root / name,
            "--places", str(self.places), "-p", "1", "-t", "8", "--rate", self.rate,
            "--ca-bundle", self.site.ca_bundle, *args, *more, **{**self.env, **env},
        )  # fmt: skip
        return self.machines[name]

    def drive(self, *more: str) -> None:
        self.driver = Command("fleet", "run", self.ledger, "--scheduler", self.address, *more, **self.env)

    # ---- what happens at night -------------------------------------------------------------------------
    def note(self, text: str) -> None:
        self.log.append(text)

    def processes(self, name: str) -> list[psutil.Process]:
        found = tree(self.machines[name].pid)
        self.seen.update({process.pid: process for process in found})
        return found

    def stopped(self, name: str) -> list[psutil.Process]:
        """All of a machine, standing still: those as well that were started while the others were told."""
        found: dict[int, psutil.Process] = {}
        while more := {each.pid: each for each in self.processes(name) if each.pid not in found}:
            send(list(more.values()), signal.SIGSTOP)
            found.update(more)
        return list(found.values())

    def kill_machine(self, name: str) -> None:
        """kill -9 everything of a machine at once."""
        send(self.stopped(name), signal.SIGKILL)  # none sees another die
        self.machines[name].process.wait()
        self.note(f"kill -9 machine {name}")

    def kill_driver(self) -> None:
        assert self.driver is not None
        self.driver.kill_all()
        self.note("kill -9 driver")

    def kill_scheduler(self) -> None:
        assert self.scheduler is not None
        self.scheduler.kill()
        self.scheduler.wait()
        self.note("kill -9 scheduler")

    def kill_workers(self, name: str) -> int:
        """kill -9 the Dask worker processes under a machine's nanny: those whose children are shares."""
        killed = 0
        for process in self.processes(name):
            with contextlib.suppress(psutil.NoSuchProcess):
                if any("share" in child.cmdline() for child in process.children()):
                    process.kill()
                    killed += 1
        self.note(f"kill -9 {killed} Dask workers of {name}")
        return killed

    @contextlib.contextmanager
    def frozen(self, name: str) -> Iterator[None]:
        """Everything of a machine stands still within the block."""
        found = self.stopped(name)
        self.note(f"freeze machine {name}")
        try:
            yield
        finally:
            send(found, signal.SIGCONT)
            self.note(f"machine {name} goes on")

    def rows_brought(self) -> int:
        """How many rows the ledger's parts have by now, as beats and parts say it."""
        value = json.loads(self.fleet("status", self.ledger, "--json").out)
        return value["ok"] + value["absent"] + value["failed"]

    def progressed(self, rows: int) -> None:
        until(lambda: self.rows_brought() >= rows, HANG_S, f"for {rows} rows\n{self.said()}", each_s=0.5)

    def finished(self, timeout_s: float = 400.0) -> Ended:
        assert self.driver is not None
        return self.driver.wait(timeout_s)

    def said(self) -> str:
        found = [f"--- {name}\n{command.said()[-3000:]}" for name, command in self.machines.items()]
        driver = self.driver.said()[-3000:] if self.driver else ""
        return "\n".join([*found, f"--- driver\n{driver}", "; ".join(self.log)])

    # ---- the end ---------------------------------------------------------------------------------------
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for name in self.machines:
            send(self.processes(name), signal.SIGKILL)
        send([process for process in self.seen.values() if process.is_running()], signal.SIGKILL)
        for command in (*self.machines.values(), self.driver):
            if command is not None:
                command.__exit__()
        if self.scheduler is not None:
            self.scheduler.kill()
            self.scheduler.wait()

    def leave(self) -> None:
        """TERM to each machine; all end in good order, and nothing of them is left."""
        for name, command in self.machines.items():
            if command.live:
                self.processes(name)
                command.signal(signal.SIGTERM)
        for command in self.machines.values():
            if command.live:
                command.wait(120.0)
        until(
            lambda: (
                not [each for each in self.seen.values() if each.is_running() and each.status() != "zombie"]
            ),
            HANG_S,
            "processes of machines that have left",
        )


def members(data: bytes) -> list[bytes]:
    """The contents of the gzip members of a part."""
    found = []
    while data:
        decoder = zlib.decompressobj(wbits=31)
        found.append(decoder.decompress(data))
        data = decoder.unused_data
    return found


@dataclass
class Audited:
    """What the ledger's files say, read without any of the engine's code."""

    shares: int = 0
    holds: int = 0
    rows: int = 0
    jobs: int = 0
    problems: list[str] = field(default_factory=list)


def audit(files: dict[str, bytes], ids: list[str]) -> Audited:
    """Each share has its `done/`; its parts have each id exactly once; each record has the sha256 of its row."""
    found = Audited(holds=sum(name.startswith("holds/") and ".left." not in name for name in files))
    everything: collections.Counter[str] = collections.Counter()
    for name, data in sorted(files.items()):
        if not name.startswith("shares/"):
            continue
        found.shares += 1
        key = name.rsplit("/", 1)[1].removesuffix(".jsonl.gz")
        jobs = [json.loads(line)["id"] for line in gzip.decompress(data).splitlines()]
        found.jobs += len(jobs)
        done = json.loads(files.get(f"done/{key}.json", b"null"))
        if done is None:
            found.problems.append(f"{key}: not done")
            continue
        rows: list[dict[str, Any]] = []
        for part in done["parts"]:
            lines, records = members(files[f"parts/{key}/{part['name']}.gz"])
            mine = [json.loads(line) for line in lines.splitlines()[1:]]
            head, _, body = records.partition(b"\n")
            sizes, at = json.loads(head), 0
            for row, size in zip([row for row in mine if row["status"] == "ok"], sizes, strict=True):
                record, at = body[at : at + size], at + size
                if hashlib.sha256(record).hexdigest() != row["sha256"]["json"]:
                    found.problems.append(f"{key}: {row['video_id']} has another sha256")
            if len(mine) != part["rows"]:
                found.problems.append(f"{key}: {part['name']} has {len(mine)} rows, done says {part['rows']}")
            rows += mine
        counted = collections.Counter(row["video_id"] for row in rows)
        everything.update(counted)
        doubled = [video_id for video_id, count in counted.items() if count > 1]
        missing, foreign = set(jobs) - set(counted), set(counted) - set(jobs)
        if doubled or missing or foreign:
            found.problems.append(
                f"{key}: {len(doubled)} doubled, {len(missing)} missing, {len(foreign)} foreign"
            )
    found.rows = sum(everything.values())
    if set(everything) != set(ids) or max(everything.values(), default=1) > 1:
        found.problems.append(f"{len(set(ids) - set(everything))} of {len(ids)} videos have no row")
    return found


def directory_files(root: str | Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in Path(root).rglob("*")
        if path.is_file()
    }


class Troubled:
    """A store's WSGI application that answers some requests with 500, before they are done or after.

    The store's client asks again by itself. A write that was done already is then refused: a 412 that comes late.
    """

    def __init__(self, app: Callable[..., Any], share: float, seed: int) -> None:
        self._app, self._share, self._random = app, share, random.Random(seed)
        self._lock = threading.Lock()
        self.on = False
        self.answers: collections.Counter[str] = collections.Counter()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        with self._lock:
            trouble = self.on and self._random.random() < self._share
            after = self._random.random() < 0.5
        if trouble:
            if after:
                list(self._app(environ, lambda *args: lambda data: None))
            else:
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            self.answers[f"500 {'after' if after else 'before'} a {environ['REQUEST_METHOD']}"] += 1
            start_response("500 Internal Server Error", [("Content-Length", "0")])
            return [b""]

        def noted(status: str, *more: Any) -> Any:
            if status.startswith("412"):
                self.answers["412"] += 1
            return start_response(status, *more)

        return self._app(environ, noted)


class in_store:
    """A ledger in a bucket of moto's server, which this sets in whatever has `ledger` and `env`, as a night does.

    Entered, it is a function that returns all files of the ledger. `trouble`: the part of requests answered with 500.
    """

    def __init__(
        self, night: Any, ledger: str = "s3://fleet/night", *, trouble: float = 0.0, seed: int = 1
    ) -> None:
        from moto.server import ThreadedMotoServer

        port = free_port()
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
        self._trouble, self._seed = trouble, seed
        self._endpoint = f"http://127.0.0.1:{port}"
        self._root = ledger.removeprefix("s3://")
        night.ledger = ledger
        night.env = settings(
            AWS_ACCESS_KEY_ID="x",
            AWS_SECRET_ACCESS_KEY="x",
            AWS_ENDPOINT_URL=self._endpoint,
            AWS_DEFAULT_REGION="us-east-1",
        )

    def __enter__(self) -> Callable[[], dict[str, bytes]]:
        import s3fs

        self._server.start()
        server = self._server._server
        assert server is not None
        self.troubled = Troubled(server.app, self._trouble, self._seed)
        server.app = self.troubled
        fs = s3fs.S3FileSystem(key="x", secret="x", endpoint_url=self._endpoint, use_listings_cache=False)
        fs.mkdir(self._root.partition("/")[0])
        self.troubled.on = True

        def files() -> dict[str, bytes]:
            self.troubled.on = False
            return {path.removeprefix(f"{self._root}/"): fs.cat_file(path) for path in fs.find(self._root)}

        return files

    def __exit__(self, *exc: object) -> None:
        self._server.stop()


def fullest_second(arrivals: list[dict[str, Any]], egress: str) -> int:
    """The most requests of an egress in any second, at the site."""
    times = sorted(each["t"] for each in arrivals if each["egress"] == egress)
    first, most = 0, 0
    for at, when in enumerate(times):
        while when - times[first] >= 1.0:
            first += 1
        most = max(most, at - first + 1)
    return most


def wait_s(seconds: float) -> None:
    """Time that has to go by, and no event ends."""
    time.sleep(seconds)
