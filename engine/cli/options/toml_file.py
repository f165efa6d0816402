"""Reading a TOML file that a person wrote: the result is a table, or an error of one sentence."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from typing import Any

from engine.errors import UsageError

MAX_BYTES = 1 << 20  # a thousand proxies are a tenth of it
MAX_DEPTH = 32  # of a dotted key: tomllib takes quadratic time over them
_LONG_NUMBER = re.compile(r"[0-9_]{4000}")
_DEEP = re.compile(rf"(?:[A-Za-z0-9_\"'-]{{1,64}}[ \t]{{0,8}}\.[ \t]{{0,8}}){{{MAX_DEPTH}}}")


def read_toml(path: str, *, must: bool) -> tuple[dict[str, Any], int] | None:
    """(the file's table, its mode), or None when it is not there. Raises UsageError naming the file.

    Without `must` it is also None when we may not read it, as in another user's home. Never waits for a pipe, and
    reads `MAX_BYTES` at most.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as exc:
        if must:
            raise UsageError(f"{path}: {exc.strerror}") from None
        return None
    except OSError as exc:
        raise UsageError(f"{path}: {exc.strerror}") from None
    except ValueError:  # a NUL in it
        return None
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise UsageError(f"{path}: Is a directory")
        if not stat.S_ISREG(mode):
            raise UsageError(
                f"{path}: this is no file but a pipe or a device: put the settings in a plain file"
            )
        data = _read(fd)
    except OSError as exc:
        raise UsageError(f"{path}: {exc.strerror}") from None
    finally:
        os.close(fd)
    return _parsed(path, data), mode


def _read(fd: int) -> bytes:
    """The file's bytes, at most one more than are allowed."""
    pieces, size = [], 0
    while size <= MAX_BYTES and (piece := os.read(fd, MAX_BYTES + 1 - size)):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


def _parsed(path: str, data: bytes) -> dict[str, Any]:
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path}: larger than {MAX_BYTES >> 20} MB: no settings are so long")
    text = data.decode("utf-8", "replace")
    try:
        data.decode()
        if _DEEP.search(text):
            raise UsageError(f"{path}: a key has more than {MAX_DEPTH} parts")
        return tomllib.loads(text.removeprefix("\ufeff"))
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise UsageError(f"{path}: {_key(text, line)}this is not TOML: line {line} is not UTF-8") from None
    except RecursionError:
        deepest = max(
            enumerate(text.split("\n"), 1), key=lambda line: line[1].count("[") + line[1].count("{")
        )
        raise UsageError(
            f"{path}: {_key(text, deepest[0])}brackets within brackets, too many of them"
        ) from None
    except ValueError as exc:
        message = str(exc)[:200]
        at = re.search(r"\(at line (\d+), ", message)
        line = int(at[1]) if at else len(text.rstrip().split("\n"))  # "at end of document"
        if not isinstance(exc, tomllib.TOMLDecodeError):  # an integer with thousands of digits
            long = _LONG_NUMBER.search(text)
            line = text.count("\n", 0, long.start()) + 1 if long else 0
            raise UsageError(f"{path}: {_key(text, line)}a number of so many digits is none") from None
        raise UsageError(f"{path}: {_key(text, line)}this is not TOML: {message}") from None


def _key(text: str, line: int) -> str:
    """The key that a line (from 1) sets, with a colon; nothing where it sets none."""
    lines = text.split("\n")
    name, equals, _ = (lines[line - 1] if 0 < line <= len(lines) else "").partition("=")
    return f"{name.strip()[:60]}: " if equals and name.strip() else ""
