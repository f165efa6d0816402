"""Where an export goes: what it needs of a place, and a directory or a file on this machine as such a place.

Names are relative, with `/`. A file is made elsewhere first and gets its name when it is complete.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from engine.errors import EngineError, HeldError, UsageError
from engine.storage import disk
from engine.storage.locks import Lock, take_or_say_who

OWN = ".engine-export"  # the directory with the list of files
_LOCK = "lock"
_STAGED = "staged"
_STAGED_NAME = re.compile(_STAGED + "-[0-9a-f]{8}")
_MODE_DIR = 0o755
_MODE_FILE = 0o644


def own_name(file: str) -> str:
    """The directory with the list of files of a WHERE that is this file, or (empty) a directory."""
    return f".{file}{OWN}" if file else OWN


class Place(Protocol):
    """What an export needs of WHERE. `staging` is a directory on this machine, gone after `close`."""

    shown: str
    staging: str
    own: str

    def names(self) -> Iterator[str]:
        """All files but our own."""

    def own_names(self) -> list[str]:
        """The names of our own files, without their directory."""

    def has(self, name: str) -> bool:
        """Whether there is anything of that name."""

    def settle_staged(self) -> None:
        """Have all that was staged outlast a power cut, before it gets a name."""

    def give(self, files: Sequence[tuple[str, str]]) -> None:
        """Give staged files, (path, name), their names."""

    def fetch(self, name: str) -> bytes | None:
        """A small file's content; None when it is not there."""

    def write(self, name: str, data: bytes) -> None:
        """Replace a small file, durably."""

    def append(self, name: str, number: int, data: bytes) -> None:
        """Add to a file of ours, durably; `number` tells the parts apart where nothing can be appended to."""

    def lines(self, name: str) -> Iterator[bytes]:
        """The lines of a file of ours, as far as it is there."""

    def local_path(self, name: str) -> str | None:
        """Where a file lies on this machine; None in a store."""

    def remove(self, name: str) -> None:
        """Remove a file that may not be there, with its parts, and directories that become empty."""

    def settle(self) -> None:
        """Have everything that was written outlast a power cut."""

    def confirm(self, *, again: bool = False) -> None:
        """Raise HeldError when another export has taken the place over; `again`: ask, whenever that was done last."""

    def close(self) -> None:
        """Remove what was staged, and let go."""


class LocalPlace:
    """A directory on this machine, or the one that a single file lies in."""

    def __init__(self, where: str, *, is_file: bool) -> None:
        self.shown = where
        path = os.path.abspath(where)
        self._only = os.path.basename(path) if is_file else None
        self._root = os.path.dirname(path) if is_file else path
        self.own = own_name(self._only or "")
        try:
            if os.path.lexists(self._root) and not os.path.isdir(self._root):
                raise UsageError(
                    f"{where}: this is a file: give a directory, or for a table a name like x.csv",
                    path=path,
                )
            self._made_root = not os.path.isdir(self._root)
            disk.ensure_dirs(self._root, mode=_MODE_DIR)
            if os.path.islink(os.path.join(self._root, self.own)):
                raise UsageError(
                    f"{where}: {self.own} in it is a link, which no export makes: give another place"
                )
            self._made_own = disk.ensure_dir(os.path.join(self._root, self.own), mode=_MODE_DIR)
            if self._made_own:  # the list of files must not be lost while a file that it names is not
                with contextlib.suppress(PermissionError):  # a directory may be writable and not readable
                    disk.sync_dir(self._root)
        except OSError as exc:
            raise _cannot(where, exc) from None
        self._lock = _alone(where, os.path.join(self._root, self.own, _LOCK))
        # A name of its own: the processes of an export that was killed may still finish what they had begun.
        self.staging = self._path(f"{self.own}/{_STAGED}-{secrets.token_hex(4)}")
        try:
            self._remove_staged()
            disk.mkdir(self.staging, mode=_MODE_DIR)
        except BaseException:
            self._lock.release()
            raise

    def names(self) -> Iterator[str]:
        if self._only:
            return
        waiting = [""]
        while waiting:
            directory = waiting.pop()
            with os.scandir(os.path.join(self._root, directory)) as entries:
                for entry in entries:
                    if not directory and entry.name.endswith(OWN):
                        continue
                    name = f"{directory}/{entry.name}" if directory else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(name)
                    else:
                        yield name

    def own_names(self) -> list[str]:
        return os.listdir(self._path(self.own))

    def has(self, name: str) -> bool:
        return os.path.lexists(self._path(name))

    def settle_staged(self) -> None:
        _sync_file_system(self.staging)

    def give(self, files: Sequence[tuple[str, str]]) -> None:
        for staged, name in files:
            path = self._path(name)
            try:
                disk.rename(staged, path)
            except FileNotFoundError:
                disk.ensure_dirs(os.path.dirname(path), mode=_MODE_DIR)
                disk.rename(staged, path)
        if files and files[0][1].startswith(f"{self.own}/"):
            disk.sync_dir(self._path(self.own))

    def fetch(self, name: str) -> bytes | None:
        try:
            with open(self._path(name), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def lines(self, name: str) -> Iterator[bytes]:
        with contextlib.suppress(FileNotFoundError), open(self._path(name), "rb") as file:
            yield from file

    def local_path(self, name: str) -> str | None:
        return self._path(name)

    def write(self, name: str, data: bytes) -> None:
        disk.publish_durably(self._path(name), data, tmp_dir=self.staging, mode=_MODE_FILE)

    def append(self, name: str, number: int, data: bytes) -> None:
        fd = disk.open_append(self._path(name), _MODE_FILE)
        try:
            os.lseek(fd, 0, os.SEEK_END)
            disk.write_all(fd, data)
            disk.sync_fd(fd)
        finally:
            os.close(fd)
        if number == 1:
            disk.sync_dir(self._path(self.own))

    def remove(self, name: str) -> None:
        disk.unlink_quietly(self._path(name))
        directory = os.path.dirname(name)
        while directory and directory != self.own:
            try:
                disk.rmdir(self._path(directory))
            except OSError:
                return
            directory = os.path.dirname(directory)

    def settle(self) -> None:
        _sync_file_system(self._root)

    def confirm(self, *, again: bool = False) -> None:
        """Nothing: the kernel keeps a lock as long as its holder lives."""

    def close(self) -> None:
        try:
            self._remove_staged()
            if self._made_own and os.listdir(self._path(self.own)) == [_LOCK]:  # nothing came of it
                with contextlib.suppress(OSError):
                    disk.unlink(self._path(f"{self.own}/{_LOCK}"))
                    disk.rmdir(self._path(self.own))
                    if self._made_root:
                        disk.rmdir(self._root)
        finally:
            self._lock.release()

    def _remove_staged(self) -> None:
        """Remove what was staged, also by one that was killed. What cannot be removed now is removed next time."""
        for name in os.listdir(self._path(self.own)):
            if _STAGED_NAME.fullmatch(name):
                with contextlib.suppress(OSError):
                    remove_tree(self._path(f"{self.own}/{name}"))

    def _path(self, name: str) -> str:
        return os.path.join(self._root, name)


def _alone(where: str, lock: str) -> Lock:
    """Have the place to oneself. Raises HeldError while another export writes there."""
    try:
        return take_or_say_who(lock, "export")
    except HeldError as exc:
        named = f" (pid {exc.pid})" if exc.pid else ""
        raise HeldError(
            f"another export is writing to {where}{named}: wait until it has ended, or give another place",
            path=lock,
            pid=exc.pid,
        ) from None


def _cannot(where: str, exc: OSError) -> EngineError:
    if disk.is_disk_error(exc):
        return disk.disk_error(exc, f"making {where}")
    return UsageError(f"{where}: {exc.strerror}: give another place")


def remove_tree(path: str) -> None:
    """Remove a directory of ours with all that is in it. Follows no link."""
    if os.path.islink(path) or not os.path.isdir(path):
        return
    with os.scandir(path) as entries:
        for entry in list(entries):
            if entry.is_dir(follow_symlinks=False):
                remove_tree(entry.path)
            else:
                disk.unlink_quietly(entry.path)
    disk.rmdir(path)


def _sync_file_system(path: str) -> None:
    """One call for a million files: `syncfs`, where the C library has it."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        call: Any = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
        if call is None:
            os.sync()
        elif call(fd):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), path)
    finally:
        os.close(fd)
