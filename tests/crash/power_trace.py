"""Recording what real processes do to a disk: strace runs a command with all its children, and this reads its log.

The log has one line a system call, or two when another thread's came between its beginning and its end. A call
is placed where it ended, and remembers where it began: an `fsync` promises only what was complete before that.
Strings are written in hex, so that no name and no byte of data can be mistaken for the log's own marks.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_CALLS = (
    "open,openat,creat,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat,symlink,symlinkat,"
    "write,writev,pwrite64,pwritev,ftruncate,truncate,fsync,fdatasync,sync,syncfs,sendfile,copy_file_range,fallocate"
)
_LINE = re.compile(r"(?P<pid>\d+) +(?P<at>\d+\.\d+) (?P<rest>.*)", re.DOTALL)
_WHOLE = re.compile(r"(?P<name>\w+)\((?P<args>.*)\) += (?P<result>-?\d+|\?)")
_RESUMED = re.compile(r"<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)", re.DOTALL)
_ARGUMENT = re.compile(
    r'\s*(?:(?P<hex>"(?:\\x[0-9a-f]{2})*"(?:\.\.\.)?)|(?P<fd>-?\d+|AT_FDCWD)<(?P<path>(?:\\x[0-9a-f]{2})*)>[^,]*|(?P<word>[^,"]+))'
)


@dataclass(frozen=True, slots=True)
class Call:
    """One system call that worked. Texts are bytes, descriptors the path they stood for, the rest words."""

    name: str
    args: tuple[bytes | str, ...]
    result: int
    began: int  # line of the log
    ended: int


@cache
def available() -> bool:
    """Whether a command can be logged here: strace is there, and allowed to look."""
    if shutil.which("strace") is None:
        return False
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run([*command(Path(place, "log")), "true"], capture_output=True, check=False)
    return done.returncode == 0


def command(log: Path) -> list[str]:
    """What goes before a command to have it and all its children logged."""
    options = ["-f", "--seccomp-bpf", "-qq", "-ttt", "-y", "-xx", "-s", "4000000", "-e", "signal=none"]
    return ["strace", *options, "-e", "trace=" + _CALLS, "-o", str(log), "--"]


def calls(log: Path, shift: int = 0) -> Iterator[Call]:
    """The calls of a log that worked, in the order in which they ended. `shift`: lines of earlier logs.

    Raises ValueError for what cannot be read, and for calls whose effect this checker does not know.
    """
    begun: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(log.read_text("ascii").splitlines(), shift):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(f"{log}:{number - shift + 1}: not a line of a log: {line[:200]}")
        pid, rest, began = match["pid"], match["rest"], number
        if rest.startswith(("+++", "---")):
            continue
        if rest.endswith("<unfinished ...>"):
            begun[pid] = number, rest.removesuffix("<unfinished ...>").rstrip()
            continue
        if resumed := _RESUMED.fullmatch(rest):
            began, start = begun.pop(pid)
            rest = start + resumed["rest"]
        call = _WHOLE.match(rest)
        if call is None:
            raise ValueError(f"{log}:{number - shift + 1}: not a system call: {rest[:200]}")
        if call["result"] != "?" and int(call["result"]) >= 0:
            yield Call(call["name"], tuple(_arguments(call["args"])), int(call["result"]), began, number)


def _arguments(text: str) -> Iterator[bytes | str]:
    for match in _ARGUMENT.finditer(text):
        if match["hex"] is not None:
            if match["hex"].endswith("..."):
                raise ValueError("a text was cut off: the log needs a greater -s")
            yield _plain(match["hex"][1:-1])
        elif match["path"] is not None:
            yield _plain(match["path"])
        elif match["word"].strip():
            yield match["word"].strip()


def _plain(digits: str) -> bytes:
    return bytes.fromhex(digits.replace("\\x", ""))
