"""Where a ledger's files lie: a directory, or a store that fsspec knows. Names are relative, with `/`.

Two ways to write: `put`, of which the last wins, and `create`, of which the first wins and the others are told.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from typing import Any, Protocol

from engine.errors import EngineError, UsageError
from engine.fleet.names import is_own
from engine.storage import disk, object_store
from engine.storage.object_store import words

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{8}\.tmp")
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}
_DIR, _FILE = 0o755, 0o644


class UnavailableError(Exception):
    """The ledger could not be asked, or did not say whether it has done what was asked: ask again later."""


class Objects(Protocol):
    """What a ledger needs of its place. Each call may raise UnavailableError, or UsageError for what stays so."""

    shown: str

    def names(self, prefix: str) -> list[str]:
        """All names that begin with `prefix`, which ends with `/` or is empty, in order."""

    def read(self, name: str, start: int = 0, end: int | None = None) -> bytes | None:
        """The content of a file, or the bytes from `start` to before `end`; None when there is none."""

    def put(self, name: str, data: bytes) -> None:
        """Write a file whole, in place of an earlier one."""

    def create(self, name: str, data: bytes) -> bool:
        """Write a file whole if there is none of that name; False when there is one."""

    def remove(self, name: str) -> None:
        """Remove a file that may not be there."""


class DirectoryObjects:
    """A ledger in a directory, which may be on a remote file system that has hard links."""

    def __init__(self, root: str) -> None:
        self.shown = root
        self._root = os.path.abspath(root)

    def names(self, prefix: str) -> list[str]:
        found: list[str] = []
        with _disk(self.shown):
            for directory, _, files in os.walk(os.path.join(self._root, prefix)):
                inside = os.path.relpath(directory, self._root)
                inside = "" if inside == "." else inside + "/"
                found += [inside + name for name in files if not _TEMPORARY.fullmatch(name)]
        return sorted(found)

    def read(self, name: str, start: int = 0, end: int | None = None) -> bytes | None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), _disk(self.shown):
            with open(self._path(name), "rb") as file:
                file.seek(start)
                return file.read(-1 if end is None else end - start)
        return None

    def put(self, name: str, data: bytes) -> None:
        with _disk(self.shown):
            path = self._made(name)
            disk.publish(path, data, mode=_FILE)
            disk.sync_dir(os.path.dirname(path))

    def create(self, name: str, data: bytes) -> bool:
        with _disk(self.shown):
            path = self._made(name)
            try:
                disk.publish_all([(path, data)], mode=_FILE, over=())
            except FileExistsError:
                return False
            disk.sync_dir(os.path.dirname(path))
        return True

    def remove(self, name: str) -> None:
        with _disk(self.shown):
            disk.unlink_quietly(self._path(name))
            self._prune(os.path.dirname(self._path(name)))

    def sweep(self) -> int:
        """Remove what processes that died while they wrote left without a name; returns how many files."""
        swept = 0
        with _disk(self.shown):
            for directory, _, files in os.walk(self._root):
                for name in files:
                    meant = _TEMPORARY.fullmatch(name)
                    final = meant and os.path.relpath(os.path.join(directory, meant[1]), self._root)
                    if not final or not is_own(final):
                        continue  # somebody else's, whatever it looks like
                    disk.unlink_quietly(os.path.join(directory, name))
                    swept += 1
        return swept

    def _path(self, name: str) -> str:
        return os.path.join(self._root, *name.split("/"))

    def _made(self, name: str) -> str:
        path = self._path(name)
        if not os.path.isdir(os.path.dirname(path)):
            disk.ensure_dirs(os.path.dirname(path), mode=_DIR)
        return path

    def _prune(self, directory: str) -> None:
        """Remove a directory below the root that is empty by now."""
        if os.path.relpath(directory, self._root).count(os.sep):
            with contextlib.suppress(OSError):
                disk.rmdir(directory)


class StoreObjects:
    """A ledger in a store that fsspec knows, as `s3://bucket/night`. The libraries behind it are the user's."""

    def __init__(self, where: str) -> None:
        self.shown = where
        self._fs, path = _file_system(where)
        self._root = path.rstrip("/")
        if not self._root:
            raise UsageError(f"{where}: name a bucket, and a place in it")

    def names(self, prefix: str) -> list[str]:
        with _store(self.shown):
            self._fs.invalidate_cache()  # a stale listing hides what other machines have written
            try:
                found = self._fs.find(f"{self._root}/{prefix}".rstrip("/"))
            except FileNotFoundError:
                return []
        inside = (path[len(self._root) + 1 :] for path in found)
        return sorted(name for name in inside if name.startswith(prefix))

    def read(self, name: str, start: int = 0, end: int | None = None) -> bytes | None:
        with _store(self.shown):
            try:  # with a range it is one request, also when there is none; no file of a ledger is empty
                return bytes(self._fs.cat_file(self._path(name), start=start, end=end))
            except FileNotFoundError:
                return None

    def put(self, name: str, data: bytes) -> None:
        with _store(self.shown):
            self._fs.pipe_file(self._path(name), data)

    def create(self, name: str, data: bytes) -> bool:
        with _store(self.shown):
            return object_store.create(self._fs, self._path(name), data)

    def remove(self, name: str) -> None:
        with _store(self.shown), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


def open_objects(where: str) -> Objects:
    """The place that `LEDGER` names on a command line. Raises UsageError."""
    if _ADDRESS.match(where):
        return StoreObjects(where)
    if os.path.lexists(where) and not os.path.isdir(where):
        raise UsageError(f"{where} is a file: a ledger is a directory, or a place in a store (s3://…)")
    return DirectoryObjects(where)


def _file_system(where: str) -> tuple[Any, str]:
    protocol = where.partition("://")[0].lower()
    try:
        from fsspec.core import url_to_fs

        fs, path = url_to_fs(where, use_listings_cache=False)
    except ImportError:
        package = _PACKAGES.get(protocol, "")
        raise UsageError(
            f"{where}: a ledger in a store needs more packages: pip install '.[fleet]' in engine's directory"
            + (f", and {package}" if package and package != "s3fs" else "")
        ) from None
    except (ValueError, OSError, TypeError) as exc:
        raise UsageError(f"{where}: {exc}") from None
    return fs, path


@contextlib.contextmanager
def _disk(shown: str) -> Iterator[None]:
    """Turn what a disk refuses for the moment into UnavailableError, and for good into UsageError."""
    try:
        yield
    except (FileNotFoundError, FileExistsError):
        raise
    except (PermissionError, NotADirectoryError, IsADirectoryError) as exc:
        raise UsageError(f"the ledger {shown}: {exc.strerror} ({exc.filename})") from None
    except OSError as exc:
        if exc.errno == errno.EROFS:
            raise UsageError(f"the ledger {shown} cannot be written: {exc.strerror}") from None
        raise UnavailableError(f"the ledger {shown}: {exc.strerror or exc}") from None


@contextlib.contextmanager
def _store(shown: str) -> Iterator[None]:
    """The same for whatever a store's library raises: only what it calls forbidden or impossible is for good."""
    try:
        yield
    except (EngineError, UnavailableError, MemoryError):
        raise
    except FileNotFoundError as exc:  # of what is written: the bucket
        raise UsageError(f"the ledger {shown}: {words(exc)}: is the bucket there?") from None
    except PermissionError as exc:
        raise UsageError(f"the ledger {shown}: permission denied: {words(exc)}") from None
    except Exception as exc:  # noqa: BLE001 - each library has its own
        if object_store.lasts(exc):
            raise UsageError(f"the ledger {shown}: {type(exc).__name__}: {words(exc)}") from None
        raise UnavailableError(f"the ledger {shown}: {type(exc).__name__}: {words(exc)}") from None
