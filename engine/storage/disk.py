"""The way to the disk: writes, fsyncs, renames and unlinks go through here (`tests/test_tidy.py` lists exceptions).

Tests inject faults by replacing the names below. Two rules are kept here: a write loops on short counts, and nobody
repeats a failed fsync (the kernel may have dropped the pages and would report success).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import stat
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any

from engine.storage.disk_errors import disk_error as disk_error
from engine.storage.disk_errors import is_disk_error as is_disk_error
from engine.storage.disk_errors import is_shortage as is_shortage

_open = os.open
_write = os.write
_pwrite = os.pwrite
_fsync = os.fsync
_fdatasync = getattr(os, "fdatasync", os.fsync)
_rename = os.rename
_link = os.link
_unlink = os.unlink
_mkdir = os.mkdir
_rmdir = os.rmdir
_truncate = os.ftruncate

_AT_FDCWD, _RENAME_NOREPLACE = -100, 1
# The answers of a file system that does not know the flag, or has no hard links.
_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK})

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

PRIVATE_FILE = 0o600
PRIVATE_DIR = 0o700


@contextlib.contextmanager
def _naming(fd: int) -> Iterator[None]:
    """Add the file's name to an error that the system raises for a descriptor."""
    try:
        yield
    except OSError as exc:
        if exc.filename is None:
            with contextlib.suppress(OSError):
                exc.filename = os.readlink(f"/proc/self/fd/{fd}")
        raise


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`, in several calls when the system takes only a part."""
    with _naming(fd):
        n = 0
        while n < len(data):
            n += _write(fd, data[n:] if n else data)


def create(path: str, data: bytes, *, mode: int = PRIVATE_FILE, sync: bool = True) -> None:
    """Make a new file with this content, durable if `sync`. Raises FileExistsError when the name is taken."""
    fd = _open(path, _NEW, mode)
    try:
        write_all(fd, data)
        if sync:
            sync_fd(fd)
    finally:
        os.close(fd)


def publish(
    path: str, data: bytes, *, tmp_dir: str | None = None, mode: int = PRIVATE_FILE, sync: bool = True
) -> None:
    """Replace `path` by a file with this content, completely or not at all.

    The temporary file lies in `tmp_dir` (on the same file system; default: beside `path`). With `sync` the content is
    durable before the name is given; the name is durable after `sync_dir` of its directory.
    """
    publish_all([(path, data)], tmp_dir=tmp_dir, mode=mode, sync=sync)


def publish_durably(path: str, data: bytes, *, tmp_dir: str | None = None, mode: int = PRIVATE_FILE) -> None:
    """`publish`, with the name durable as well."""
    publish(path, data, tmp_dir=tmp_dir, mode=mode)
    sync_dir(os.path.dirname(path))


def publish_all(
    contents: Sequence[tuple[str, bytes]],
    *,
    tmp_dir: str | None = None,
    mode: int = PRIVATE_FILE,
    sync: bool = True,
    over: Container[str] | None = None,
    sync_names: Callable[[str], None] | None = None,
) -> None:
    """`publish` for several (path, content) that belong together: all are durable before the first gets its name.

    All are written before the first is synced, because most file systems then need one commit instead of several.
    With `over` only the paths in it may be replaced: when another one is taken, FileExistsError names it and none of
    these files is left. The first name is then made durable before the second is given (by `sync_names` of its
    directory, default `sync_dir`), so that no crash leaves one of the others without it.
    """
    names = [f".{os.path.basename(path)}.{os.urandom(4).hex()}.tmp" for path, _ in contents]
    temporary = [
        os.path.join(tmp_dir or os.path.dirname(path), name)
        for (path, _), name in zip(contents, names, strict=True)
    ]
    fds: list[int] = []
    at = 0
    named: list[str] = []
    try:
        for at, (_, data) in enumerate(contents):
            fds.append(_open(temporary[at], _NEW, mode))
            write_all(fds[at], data)
        if sync:
            for at in range(len(fds)):
                sync_fd(fds[at])
        for at, (path, _) in enumerate(contents):
            if over is None or path in over:
                _rename(temporary[at], path)
            else:
                rename_new(temporary[at], path)
            named.append(path)
            if sync and over is not None and at == 0 and len(contents) > 1:
                (sync_names or sync_dir)(os.path.dirname(path))
    except BaseException as exc:
        if isinstance(exc, OSError):
            exc.filename = contents[at][0]  # the temporary name would mean nothing to the user
        made = temporary[: len(fds)]  # the next one may belong to somebody else
        for path in [*made, *(reversed(named) if isinstance(exc, FileExistsError) else ())]:
            with contextlib.suppress(OSError):
                _unlink(path)
        raise
    finally:
        for fd in fds:
            os.close(fd)


def sync_dir(path: str) -> None:
    """Make the names in a directory durable."""
    fd = _open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with _naming(fd):
            _fsync(fd)
    finally:
        os.close(fd)


def sync_file(path: str) -> None:
    """Make a file's content durable, whoever wrote it."""
    fd = _open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync_fd(fd)
    finally:
        os.close(fd)


def sync_fd(fd: int) -> None:
    """Make what was written through this descriptor durable. A failure is final: never call it again."""
    with _naming(fd):
        _fdatasync(fd)


def rename(src: str, dst: str) -> None:
    _rename(src, dst)


def rename_new(src: str, dst: str) -> None:
    """Rename a file to a free name. Raises FileExistsError when it is taken, OSError otherwise.

    Another process may take the name at any moment, so the system itself has to refuse: by a flag of `rename`, or
    by a hard link. On a file system that has neither, the name is checked first.
    """
    try:
        if _rename_noreplace(src, dst):
            return
        _link(src, dst)
    except OSError as exc:
        if exc.errno not in _UNSUPPORTED:
            raise
        if os.path.lexists(dst):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), dst) from None
        _rename(src, dst)
    else:
        _unlink(src)


def _rename_noreplace(src: str, dst: str) -> bool:
    """`renameat2` with RENAME_NOREPLACE; False when the system or the file system does not offer it."""
    call = _renameat2()
    if call is None:
        return False
    if call(_AT_FDCWD, os.fsencode(src), _AT_FDCWD, os.fsencode(dst), _RENAME_NOREPLACE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS):
        return False
    raise OSError(number, os.strerror(number), src, None, dst)


@functools.cache
def _renameat2() -> Callable[..., int] | None:
    try:
        call: Any = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):  # not Linux, or a C library without it
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    return call  # type: ignore[no-any-return]


def unlink(path: str) -> None:
    _unlink(path)


def unlink_quietly(path: str) -> None:
    """Remove a file that may not be there."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        _unlink(path)


def mkdir(path: str, *, mode: int = PRIVATE_DIR) -> None:
    _mkdir(path, mode)


def ensure_dir(path: str, *, mode: int = PRIVATE_DIR) -> bool:
    """Make a directory if it is missing; True when it was made."""
    try:
        _mkdir(path, mode)
    except FileExistsError:
        return False
    return True


def ensure_dirs(path: str, *, mode: int = PRIVATE_DIR) -> None:
    """Make a directory and its missing parents, with their names durable. Raises OSError."""
    path = os.path.abspath(path)
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    ensure_dirs(parent, mode=0o777)  # as os.makedirs does: only the last one gets `mode`
    if ensure_dir(path, mode=mode):
        with contextlib.suppress(PermissionError):  # a directory may be writable and not readable
            sync_dir(parent)
    elif not os.path.isdir(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)


def read_small(path: str, max_bytes: int) -> bytes | None:
    """The content of a small regular file; None for anything else. Follows no link and never blocks."""
    try:
        fd = _open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        info = os.fstat(fd)
        return os.read(fd, max_bytes) if stat.S_ISREG(info.st_mode) and info.st_size <= max_bytes else None
    except OSError:
        return None
    finally:
        os.close(fd)


def read_part(path: str, offset: int, length: int) -> bytes | None:
    """So many bytes of a file from an offset on; None when they are not all there. Follows no link."""
    try:
        fd = _open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if os.fstat(fd).st_size < offset + length:
            return None
        data = os.pread(fd, length, offset)
        while len(data) < length and (more := os.pread(fd, length - len(data), offset + len(data))):
            data += more
        return data if len(data) == length else None
    except OSError:
        return None
    finally:
        os.close(fd)


def rmdir(path: str) -> None:
    _rmdir(path)


def pwrite(fd: int, data: bytes, offset: int) -> None:
    """Write a fixed-size record in place."""
    with _naming(fd):
        n = 0
        while n < len(data):
            n += _pwrite(fd, data[n:] if n else data, offset + n)


def truncate(fd: int, length: int) -> None:
    _truncate(fd, length)


def open_append(path: str, mode: int) -> int:
    """A descriptor to read and write a file that is made if it is missing; never through a link."""
    return _open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
