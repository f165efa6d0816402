"""A recorded run as steps on a disk: names in directories, bytes in files, and what was made durable when."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from power_trace import Call

Files = dict[str, bytes | None]  # by path; None for a directory
ROOT = 0  # the directory that everything lies in; it is there from the beginning


@dataclass(frozen=True, slots=True)
class Step:
    """One change, or a promise that earlier ones are durable. `about` is the path at the time, for people.

    `name`: directory `at` has (or, with `inode` None, no longer has) `entry`. `move`: `gone` leaves one directory
    for another in one call. `write`, `cut`: bytes of `inode`. `sync`: all of `inode` from before line `began`.
    """

    verb: str  # name | move | write | cut | sync
    about: str
    inode: int | None = None
    at: int = ROOT
    entry: str = ""
    gone: tuple[int, str] | None = None
    offset: int = 0
    data: bytes = b""
    began: int = 0
    ended: int = 0


@dataclass
class Disk:
    """A tree: entries of each directory, bytes of each file."""

    entries: dict[int, dict[str, int]] = field(default_factory=lambda: {ROOT: {}})
    content: dict[int, bytearray] = field(default_factory=dict)

    def apply(self, step: Step) -> None:
        inode = step.inode
        if step.verb in ("name", "move"):
            if step.gone is not None:
                self.entries.get(step.gone[0], {}).pop(step.gone[1], None)
            names = self.entries.setdefault(step.at, {})
            if inode is None:
                names.pop(step.entry, None)
            else:
                names[step.entry] = inode
        elif inode is not None and step.verb == "write":
            data = self.content.setdefault(inode, bytearray())
            data.extend(bytes(max(0, step.offset - len(data))))  # a hole reads as zeros
            data[step.offset : step.offset + len(step.data)] = step.data
        elif inode is not None and step.verb == "cut":
            data = self.content.setdefault(inode, bytearray())
            del data[step.offset :]
            data.extend(bytes(step.offset - len(data)))

    def files(self, directories: set[int]) -> Files:
        """Every path with its bytes, None for a directory. A directory with two names is there twice."""
        found: Files = {}
        stack = [(ROOT, "")]
        while stack:
            inode, above = stack.pop()
            for name, entry in self.entries.get(inode, {}).items():
                path = f"{above}{name}"
                if entry in directories:
                    found[path] = None
                    stack.append((entry, path + "/"))
                else:
                    found[path] = bytes(self.content.get(entry, b""))
        return found


@dataclass
class Recording:
    """What a run did under one directory."""

    root: Path
    steps: list[Step] = field(default_factory=list)
    directories: set[int] = field(default_factory=lambda: {ROOT})
    live: Disk = field(default_factory=Disk)  # as the processes saw it, up to the last step
    _inodes: int = ROOT

    @property
    def lines(self) -> int:
        """How many lines of logs have been taken, or a few less."""
        return self.steps[-1].ended + 1 if self.steps else 0

    def begin(self, files: Files) -> None:
        """Begin with these files on the disk, all of them durable."""
        made = [
            Call("mkdir" if files[path] is None else "creat", (self._raw(path),), 0, 0, 0)
            for path in sorted(files)
        ]
        for call in made:
            self._take(call)
            data = files[self._inside(call.args[0]) or ""]  # type: ignore[arg-type]
            if data:
                self._take(replace(call, name="write", args=(*call.args, data), result=len(data)))
        for path in (".", *files):
            self._take(Call("fsync", (self._raw(path),), 0, 1, 1))

    def _raw(self, path: str) -> bytes:
        return os.fsencode(os.path.join(self.root, path))

    def take(self, calls: Iterable[Call]) -> None:
        """Add a log's calls. Raises ValueError for what has no place in this model."""
        for call in calls:
            # Whoever stands in the queue names it with every `openat`, also of what lies elsewhere.
            if any(path is not None for path in self._paths(call)):
                self._take(call)

    def matches(self) -> list[str]:
        """Where the recorded steps, applied, differ from what really lies there: the recorder's own proof."""
        really: Files = {}
        for directory, directories, names in os.walk(self.root):
            inside = os.path.relpath(directory, self.root)
            for name in directories:
                really[os.path.normpath(f"{inside}/{name}")] = None
            for name in names:
                really[os.path.normpath(f"{inside}/{name}")] = Path(directory, name).read_bytes()
        mine = self.live.files(self.directories)
        return sorted(
            path for path in really.keys() | mine.keys() if really.get(path, 0) != mine.get(path, 0)
        )

    def _inside(self, raw: bytes) -> str | None:
        path = os.path.normpath(os.fsdecode(raw))
        root = str(self.root)
        return os.path.relpath(path, root) if path == root or path.startswith(root + "/") else None

    def _find(self, path: str) -> int | None:
        at: int | None = ROOT
        for part in [] if path == "." else path.split("/"):
            at = self.live.entries.get(at, {}).get(part) if at is not None else None
        return at

    def _parent(self, path: str) -> tuple[int, str]:
        above, _, name = path.rpartition("/")
        found = self._find(above or ".")
        if found is None:
            raise ValueError(f"{path}: nobody made its directory")
        return found, name

    def _add(self, call: Call, verb: str, about: str, **what: object) -> None:
        step = Step(verb, about, began=call.began, ended=call.ended, **what)  # type: ignore[arg-type]
        self.live.apply(step)
        self.steps.append(step)

    def _new(self, call: Call, path: str, *, directory: bool = False) -> None:
        self._inodes += 1
        if directory:
            self.directories.add(self._inodes)
            self.live.entries[self._inodes] = {}
        at, name = self._parent(path)
        self._add(call, "name", path, inode=self._inodes, at=at, entry=name)

    def _take(self, call: Call) -> None:
        paths = [path for path in self._paths(call) if path is not None]
        path = paths[0]
        words = [arg for arg in call.args if isinstance(arg, str)]
        if call.name in ("open", "openat", "creat"):
            flags = words[0] if words else "O_CREAT|O_TRUNC"
            if self._find(path) is None and "O_CREAT" in flags:
                self._new(call, path)
            elif "O_TRUNC" in flags:
                self._add(call, "cut", path, inode=self._find(path), offset=0)
        elif call.name in ("mkdir", "mkdirat"):
            self._new(call, path, directory=True)
        elif call.name in ("unlink", "unlinkat", "rmdir"):
            at, name = self._parent(path)
            self._add(call, "name", path, at=at, entry=name)
        elif call.name in ("rename", "renameat", "renameat2"):
            source, target = self._parent(path), self._parent(paths[1])
            inode = self._find(path)
            if inode is None:
                raise ValueError(f"{path}: renamed before it was there")
            self._add(call, "move", paths[1], inode=inode, at=target[0], entry=target[1], gone=source)
        elif call.name in ("fsync", "fdatasync"):
            self._add(call, "sync", path, inode=self._find(path))
        elif call.name == "syncfs":
            for inode in {*self.live.entries, *self.live.content}:
                self._add(call, "sync", path, inode=inode)
        elif call.name in ("ftruncate", "truncate"):
            self._add(call, "cut", path, inode=self._find(path), offset=int(words[-1]))
        elif call.name in ("write", "pwrite64"):
            inode = self._find(path)
            data = next(arg for arg in call.args[1:] if isinstance(arg, bytes))[: call.result]
            # Whoever writes without an offset here appends: new files, journals, manifest, events.
            end = len(self.live.content.get(inode, b"")) if inode is not None else 0
            offset = int(words[-1]) if call.name == "pwrite64" else end
            self._add(call, "write", path, inode=inode, offset=offset, data=data)
        else:
            raise ValueError(f"{call.name} of {path}: this checker does not know what that leaves")

    def _paths(self, call: Call) -> list[str | None]:
        """The paths of a call, each put together of a directory's descriptor and a name where there are two."""
        raw = [arg for arg in call.args if isinstance(arg, bytes)]
        if call.name in ("write", "pwrite64", "fsync", "fdatasync", "syncfs", "ftruncate"):
            raw = raw[:1]
        elif call.name in ("openat", "mkdirat", "unlinkat", "renameat", "renameat2"):
            raw = [os.path.join(raw[i], raw[i + 1]) for i in range(0, len(raw) - 1, 2)]
        return [self._inside(each) for each in raw]


def digest(files: Files, passing: tuple[str, ...]) -> bytes:
    """A state's fingerprint. What only notes the moment (`passing`: last parts of paths) makes no new state."""
    summary = hashlib.blake2b(digest_size=16)
    for path in sorted(files):
        if path.rpartition("/")[2] not in passing:
            summary.update(
                path.encode() + b"\0" + (files[path] or b"") + b"\0" + bytes([files[path] is None])
            )
    return summary.digest()
