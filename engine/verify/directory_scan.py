"""What lies in the queue and output directories, for the audit: tokens and output files."""

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
from engine.verify.shard_audit import frame_fault, is_place

TMP = ".engine-tmp"
MARKERS = ".engine-batches"
OWNER = "owner"
TOKEN = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")
NAMED = re.compile(r"[0-9]{6,}\.[0-9]+\.[0-9]+\.[0-9]+")
_ANY_TOKEN = re.compile(r"([0-9]+)\.([0-9]+)\.([0-9]+)\.([0-9]+)")
_OURS = re.compile(rf"([A-Za-z0-9_-]{{11}})\.({'|'.join(SUFFIXES)})")
WORKER_FILES = ("lock", "inflight", "died")  # what a worker's directory holds beside tokens
_TOKEN_LIKE = re.compile(r"[0-9.~]+")
WORKER = re.compile(r"[A-Za-z0-9-]+\.[0-9]+\.[0-9]+")
FOREIGN = "file(s) in the queue's directories that are not this engine's"

Token = tuple[int, int, int]  # number of the chunk, first byte, jobs
Places = dict[tuple[int, Token], list[str]]


def digits(name: str) -> bool:
    """Whether a name is a number in ASCII digits."""
    return name.isascii() and name.isdigit()


def listing(path: str) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []


def find_tokens(queue: Queue, findings: Findings) -> Places:
    """Where the token of each chunk lies.

    A name that resembles a token's and is none is a problem; any other name is somebody else's.
    """
    places: Places = {}
    for token, where, path in _token_files(queue, findings):
        match = _ANY_TOKEN.fullmatch(token)
        if match is not None:
            segment, k, first, jobs = map(int, match.groups())
            places.setdefault((segment, (k, first, jobs)), []).append(where)
        elif _TOKEN_LIKE.fullmatch(os.path.basename(path)):
            findings.problem("stray file", path, "not a token")
        else:
            findings.note(FOREIGN)
    return places


def _token_files(queue: Queue, findings: Findings) -> Iterator[tuple[str, str, str]]:
    """(token with its segment, place, path) of everything where tokens lie; the token is empty when it is none."""
    for where in ("pending", "done", "filed"):
        for directory in listing(queue.path(where)):
            if not digits(directory):
                findings.note(FOREIGN)
                continue
            for name in listing(queue.path(where, directory)):
                yield f"{directory}.{name}", where, queue.path(where, directory, name)
    for name in listing(queue.deferred):
        when, tilde, token = name.partition("~")
        valid = tilde and digits(when) and NAMED.fullmatch(token)
        yield token if valid else "", "deferred", os.path.join(queue.deferred, name)
    for worker in listing(queue.workers):
        directory = os.path.join(queue.workers, worker)
        if not WORKER.fullmatch(worker) or not os.path.isdir(directory):
            findings.note(FOREIGN)
            continue
        for name in listing(directory):
            if name not in WORKER_FILES:
                token = name if NAMED.fullmatch(name) else ""
                yield token, f"workers/{worker}", os.path.join(directory, name)


class OutputTree:
    """The output directory, read without following links."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._plain: dict[str, bool] = {}

    def fault(self, path: str, digest: object) -> str | None:
        """What is wrong with a file that should have this sha256; None when nothing is."""
        if is_place(path):
            return frame_fault(self.root, path, digest)
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

        The id is given only for a file that lies where an engine would put it.
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
