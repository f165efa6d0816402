"""A place in a store behind fsspec: `s3://`, `gs://`, `hf://`. The libraries behind it are the user's to install.

A file is made on this machine and uploaded when it is complete. An upload is seen when it has ended.
"""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

from engine.errors import DiskError, EngineError, UsageError
from engine.export.place import OWN, own_name, remove_tree
from engine.export.store_lock import StoreLock
from engine.storage import disk, object_store

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "hf": "huggingface_hub",
    "az": "adlfs",
}


def is_remote(where: str) -> bool:
    """Whether WHERE is an address of a store."""
    return _ADDRESS.match(where) is not None


class RemotePlace:
    """A place in a store that fsspec knows. Its libraries are the user's to install."""

    def __init__(self, where: str, *, is_file: bool) -> None:
        self.shown = where
        self._fs, path = _file_system(where)
        path = path.rstrip("/")
        above, _, last = path.rpartition("/")
        self._root = above if is_file else path
        self.own = own_name(last if is_file else "")
        self._is_file = is_file
        if not self._root:
            raise UsageError(f"{where}: name a bucket and a place in it")
        self.staging = tempfile.mkdtemp(prefix="engine-export-")
        try:
            with _errors_named(where):
                self._fs.invalidate_cache()
                self._lock = StoreLock(
                    self._fs, self._path(self.own), where, commits=where.startswith("hf://")
                )
        except BaseException:
            remove_tree(self.staging)
            raise

    def names(self) -> Iterator[str]:
        if self._is_file:
            return
        with _errors_named(self.shown):
            for path in self._fs.find(self._root):
                name = path[len(self._root) :].lstrip("/")
                if name and not name.partition("/")[0].endswith(OWN):
                    yield name

    def own_names(self) -> list[str]:
        with _errors_named(self.shown):
            return [path.rpartition("/")[2] for path in self._fs.find(self._path(self.own))]

    def has(self, name: str) -> bool:
        with _errors_named(self.shown):
            return bool(self._fs.exists(self._path(name)))

    def settle_staged(self) -> None:
        """Nothing: what is staged is only uploaded."""

    def give(self, files: Sequence[tuple[str, str]]) -> None:
        with _errors_named(self.shown):
            self._fs.put([staged for staged, _ in files], [self._path(name) for _, name in files])
        for staged, _ in files:
            disk.unlink_quietly(staged)

    def fetch(self, name: str) -> bytes | None:
        with contextlib.suppress(FileNotFoundError), _errors_named(self.shown, FileNotFoundError):
            return bytes(self._fs.cat_file(self._path(name)))
        return None

    def write(self, name: str, data: bytes) -> None:
        with _errors_named(self.shown):
            self._fs.pipe_file(self._path(name), data)

    def append(self, name: str, number: int, data: bytes) -> None:
        self.write(f"{name}.{number:08d}", data)

    def lines(self, name: str) -> Iterator[bytes]:
        for path in [self._path(name), *self._parts(name)]:
            with contextlib.suppress(FileNotFoundError), _errors_named(self.shown, FileNotFoundError):
                yield from bytes(self._fs.cat_file(path)).splitlines(keepends=True)

    def local_path(self, name: str) -> str | None:
        return None

    def remove(self, name: str) -> None:
        parts = self._parts(name) if name.startswith(self.own) else []
        for path in [self._path(name), *parts]:
            with contextlib.suppress(FileNotFoundError), _errors_named(self.shown, FileNotFoundError):
                self._fs.rm_file(path)

    def _parts(self, name: str) -> list[str]:
        with _errors_named(self.shown):
            found = sorted(self._fs.find(self._path(self.own)))
        return [path for path in found if path.startswith(f"{self._path(name)}.0")]

    def settle(self) -> None:
        """A store keeps what it has taken."""

    def confirm(self, *, again: bool = False) -> None:
        with _errors_named(self.shown):
            self._lock.confirm(again=again)

    def close(self) -> None:
        self._lock.release()
        with contextlib.suppress(OSError):
            remove_tree(self.staging)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


def _file_system(where: str) -> tuple[Any, str]:
    protocol = where.partition("://")[0].lower()
    package = _PACKAGES.get(protocol)
    try:
        from fsspec.core import url_to_fs

        fs, path = url_to_fs(where, use_listings_cache=False)
    except ImportError:
        more = f" {package}" if package else ""
        raise UsageError(
            f"{where}: a place in a store needs more packages: pip install '.[remote]'{more} in engine's directory"
        ) from None
    except (ValueError, OSError, TypeError) as exc:
        raise UsageError(f"{where}: {exc}") from None
    return fs, path


@contextlib.contextmanager
def _errors_named(where: str, *but: type[Exception]) -> Iterator[None]:
    """Turn whatever a store's library raises into a message for people, but for these.

    Raises UsageError for what lasts (no such bucket, not allowed), DiskError for an outage.
    """
    passed: tuple[type[BaseException], ...] = (EngineError, MemoryError, *but)
    try:
        yield
    except passed:
        raise
    except Exception as exc:  # noqa: BLE001 - each library has its own
        said = f"{where}: {type(exc).__name__}: {object_store.words(exc)}".rstrip(": .")
        on_hub = where.startswith("hf://")
        if object_store.lasts(exc):
            what = "repository" if on_hub else "bucket"
            raise UsageError(
                f"{said}. Is the {what} there, and do your credentials allow writing to it?"
            ) from None
        what = "the Hub" if on_hub else "the store"
        raise DiskError(f"{said}. Run the same again when {what} can be reached") from None
