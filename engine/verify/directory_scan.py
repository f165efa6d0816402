"""What lies in the queue and output directories, for the audit: tokens, leftovers, files."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterator
from typing import Any

from engine.output.formats import SUFFIXES
from engine.queue.directory import Queue
from engine.verify.findings import Findings

TMP = ".engine-tmp"
MARKERS = ".engine-batches"
OWNER = "owner"
TOKEN = re.compile(r"([0-9]+)\.([0-9]+)\.([0-9]+)")
NAMED = re.compile(r"([0-9]{6,})\.([0-9]+\.[0-9]+\.[0-9]+)")
_OURS = re.compile(rf"([A-Za-z0-9_-]{{11}})\.({'|'.join(SUFFIXES)})")
LEFT = ("lock", "inflight", "died")  # what a dead worker's directory holds beside tokens
_TOKEN_LIKE = re.compile(r"[0-9.~]+")
WORKER = re.compile(r"[A-Za-z0-9-]+\.[0-9]+\.[0-9]+")
FOREIGN = "file(s) in the queue's directories that are not this engine's"

Token = tuple[int, int, int]  # number of the chunk, first byte, jobs
Places = dict[tuple[int, Token], list[str]]


def digits(name: str) -> bool:
    """Whether a name is a number: `²` and other scripts' digits are none."""
    return name.isascii() and name.isdigit()


def listing(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []


def tokens(queue: Queue, findings: Findings) -> Places:
    """Where the token of each chunk lies. What is called like one in those places and is none is a problem; what
    bears another name is somebody else's."""
    places: Places = {}

    def put(segment: int, token: str, where: str, path: str) -> None:
        match = TOKEN.fullmatch(token)
        if match is None:
            stray(os.path.basename(path), path)
        else:
            its = (int(match[1]), int(match[2]), int(match[3]))
            places.setdefault((segment, its), []).append(where)

    def put_named(name: str, where: str, path: str) -> None:
        match = NAMED.fullmatch(name)
        if match is None:
            stray(os.path.basename(path), path)
        else:
            put(int(match[1]), match[2], where, path)

    def stray(name: str, path: str) -> None:
        if _TOKEN_LIKE.fullmatch(name):
            findings.problem("stray file", path, "not a token")
        else:
            findings.note(FOREIGN)

    for where in ("pending", "done", "filed"):
        for directory in listing(queue.path(where)):
            if not digits(directory):
                findings.note(FOREIGN)
                continue
            for token in listing(queue.path(where, directory)):
                put(int(directory), token, where, queue.path(where, directory, token))
    for name in listing(queue.deferred):
        when, tilde, rest = name.partition("~")
        known = rest if tilde and digits(when) else ""
        put_named(known, "deferred", os.path.join(queue.deferred, name))
    for worker in listing(queue.workers):
        if not WORKER.fullmatch(worker) or not os.path.isdir(os.path.join(queue.workers, worker)):
            findings.note(FOREIGN)
            continue
        for name in listing(os.path.join(queue.workers, worker)):
            if name not in LEFT:
                put_named(name, f"workers/{worker}", os.path.join(queue.workers, worker, name))
    return places


class OutputTree:
    """The output directory, looked at without following links."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._plain: dict[str, bool] = {}

    def fault(self, path: str, digest: object) -> str | None:
        """What is wrong with a file that should be there with this sha256; None when nothing is."""
        directory = os.path.dirname(path)
        if directory not in self._plain:
            self._plain[directory] = not os.path.islink(os.path.join(self.root, directory))
        if not self._plain[directory]:
            return "its directory is a symbolic link"
        try:
            fd = os.open(
                os.path.join(self.root, path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            )
        except FileNotFoundError:
            return "missing"
        except OSError as exc:
            return f"cannot be read: {exc.strerror}"
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return "not a regular file"
            try:
                return None if hashlib.file_digest(file, "sha256").hexdigest() == digest else "wrong sha256"
            except OSError as exc:
                return f"cannot be read: {exc.strerror}"

    def faults(self, row: dict[str, Any]) -> list[tuple[str, str]]:
        """(path, what is wrong) of a row's files."""
        pairs = ((path, row["sha256"].get(fmt)) for fmt, path in row["files"].items())
        return [(path, fault) for path, digest in pairs if (fault := self.fault(path, digest))]

    def entries(self) -> Iterator[tuple[str, str | None, str]]:
        """(relative path, video id or None, format) of everything that is not a directory.

        An id is given only where an engine would have put the file.
        """
        for directory, directories, names in os.walk(self.root):
            inside = os.path.relpath(directory, self.root)
            if inside == ".":
                inside = ""
            for name in directories:
                if os.path.islink(os.path.join(directory, name)):
                    names.append(name)
            for name in names:
                match = _OURS.fullmatch(name)
                ours = match is not None and inside == name[:2]
                yield (
                    os.path.join(inside, name),
                    match[1] if match and ours else None,
                    match[2] if match else "",
                )
