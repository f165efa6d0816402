"""A machine's own directory: its name, its budget files, and a queue and an output for each share at work.

    engine-fleet.json                  makes the directory ours; the name of the machine
    join.lock, join.json               the `engine fleet join` at work here, and what it hands to its shares
    budget, budget-007                 the budget of its own egresses, or of a proxy group's; `.lease`: up to when
    proxies-007                        the proxies of the group, for the runs of its shares
    shares/<fleet>/<share>/            lock, queue/, out/
    dask/                              what Dask's worker keeps

It lies on a local disk, and may serve several fleets one after another.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
from collections.abc import Callable

from engine.errors import UsageError
from engine.fleet.names import ShareKey
from engine.output.formats import SUFFIXES
from engine.queue.marker import DIR as MARKERS
from engine.queue.mounts import refuse_remote
from engine.queue.names import is_own
from engine.storage import disk

NOTE = "engine-fleet.json"
_RECORD = re.compile(rf"[A-Za-z0-9_-]{{2}}/[A-Za-z0-9_-]{{11}}\.(?:{'|'.join(SUFFIXES)})")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,80}")
_TEMPORARY = re.compile(rf"\.{re.escape(NOTE)}\.[0-9a-f]{{8}}\.tmp")


class MachineDirectory:
    """The directory of this machine, made where there is none.

    Raises UsageError for one that holds something else.
    """

    def __init__(self, root: str) -> None:
        self.root = os.path.abspath(root)
        try:
            disk.ensure_dirs(self.root)
            there = [name for name in os.listdir(self.root) if not _TEMPORARY.fullmatch(name)]
        except (FileExistsError, NotADirectoryError):
            raise UsageError(f"--work {root}: it is a file: give a new or an empty directory") from None
        except OSError as exc:
            raise UsageError(f"--work {root}: {exc.strerror}") from None
        if there and NOTE not in there:
            raise UsageError(
                f"--work {root}: it holds something else ({there[0]}): give a new or an empty directory"
            )
        refuse_remote(self.root, "machine's directory")
        self.name = self._named()

    def _named(self) -> str:
        """The name of the machine: made once, by whoever comes first."""
        path = self.path(NOTE)
        host = re.sub(r"[^A-Za-z0-9.-]", "-", os.uname().nodename)[:40] or "machine"
        value = {"format": 1, "machine": f"{host}-{secrets.token_hex(3)}"}
        with contextlib.suppress(FileExistsError):
            if not os.path.lexists(path):
                disk.publish_all([(path, json.dumps(value).encode() + b"\n")], over=())
                disk.sync_dir(self.root)
        try:
            name = json.loads(disk.read_small(path, 4096) or b"")["machine"]
            if not _NAME.fullmatch(name):
                raise ValueError
        except (ValueError, KeyError, TypeError):
            raise UsageError(f"{path} is damaged: give another directory with --work") from None
        return str(name)

    def path(self, *parts: str) -> str:
        return os.path.join(self.root, *parts)

    def budget(self, group: int | None) -> str:
        return self.path("budget" if group is None else f"budget-{group:03d}")

    def proxies(self, group: int) -> str:
        return self.path(f"proxies-{group:03d}")

    def share(self, fleet: str, key: ShareKey) -> ShareDirectory:
        """The directory of a share, made if it is missing."""
        found = ShareDirectory(self.path("shares", fleet[:16], str(key)))
        disk.ensure_dirs(found.root)
        return found

    def at_work(self) -> list[str]:
        """The locks of all shares that have a directory here."""
        found = []
        for fleet in _listed(self.path("shares")):
            found += [self.path("shares", fleet, key, "lock") for key in _listed(self.path("shares", fleet))]
        return found


class ShareDirectory:
    """Where one share is at work on this machine."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.lock = os.path.join(root, "lock")
        self.queue = os.path.join(root, "queue")
        self.output = os.path.join(root, "out")

    def clear(self) -> None:
        """Remove queue and output, as far as the engine made what is in them."""
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self.output):
                _remove(
                    self.output,
                    name,
                    lambda path: bool(_RECORD.fullmatch(path)) or path.startswith(f"{MARKERS}/"),
                )
            _rmdir(self.output)
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self.queue):
                if is_own(name):
                    _remove(self.queue, name, lambda path: True)
            _rmdir(self.queue)


def _remove(root: str, name: str, ours: Callable[[str], bool]) -> None:
    """Remove a file or a tree below `root`, but for the files that are not ours."""
    path = os.path.join(root, name)
    if not os.path.isdir(path) or os.path.islink(path):
        if ours(name):
            disk.unlink_quietly(path)
        return
    for inner in os.listdir(path):
        _remove(root, f"{name}/{inner}", ours)
    _rmdir(path)


def _rmdir(path: str) -> None:
    with contextlib.suppress(OSError):  # something else is in it
        disk.rmdir(path)


def _listed(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []
