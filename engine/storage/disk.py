"""The only way to disk.

Every write, fsync, rename and unlink of the engine goes through here, so that the order of steps is written
in one place and faults can be injected in one place (tests replace the names below; nothing is paid for that
when they do not).

Rules kept here: a write loops on short counts; a failed append cuts the file back to the last whole write; a
failed fsync is final, nobody tries it again (the kernel may have dropped the pages and would say "fine").
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import os
import secrets
from collections.abc import Callable, Container, Sequence
from typing import Any

from engine.errors import DiskError

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
# What a file system answers that does not know the flag, or has no second names for a file.
_UNABLE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK})

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

PRIVATE_FILE = 0o600
PRIVATE_DIR = 0o700

_DISK_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG})

_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})

_ADVICE = {
    errno.EMFILE: "Allow more open files (`ulimit -n`) or use fewer processes and threads",
    errno.ENFILE: "Allow more open files on this machine or use fewer processes and threads",
    errno.ENOENT: "Somebody removed a directory in use: bring it back",
    errno.EACCES: "Mend the permissions",
    errno.EPERM: "Mend the permissions",
    errno.EROFS: "Mount it for writing",
}


def is_disk_error(exc: OSError) -> bool:
    """Whether an OSError says that the disk is full or failing (and not that a name is wrong)."""
    return exc.errno in _DISK_ERRNOS


def is_shortage(exc: OSError) -> bool:
    """Whether an OSError says that no descriptors are left, whatever was to be opened."""
    return exc.errno in _NO_DESCRIPTORS


def disk_error(exc: OSError, doing: str) -> DiskError:
    """The message a person gets for a full or failing disk, or for a file that could not be used."""
    what = exc.strerror or str(exc)
    where = f" ({exc.filename})" if exc.filename and str(exc.filename) not in doing else ""
    advice = _ADVICE.get(exc.errno or 0, "Make room or mend the disk")
    return DiskError(f"{doing}{where}: {what}. {advice}, then run again: it goes on where it was.")


def _name(exc: OSError, fd: int) -> None:
    """Have an error that the system gave for a descriptor say which file it was."""
    if exc.filename is None:
        with contextlib.suppress(OSError):
            exc.filename = os.readlink(f"/proc/self/fd/{fd}")


def write_all(fd: int, data: bytes) -> None:
    """Write all of `data`; a short count is not an error but a reason to go on."""
    try:
        n = 0
        while n < len(data):
            n += _write(fd, data[n:] if n else data)
    except OSError as exc:
        _name(exc, fd)
        raise


def create(path: str, data: bytes, *, mode: int = PRIVATE_FILE, sync: bool = True) -> None:
    """Make a new file (never following a link, never over another) with this content, durable if `sync`."""
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
    """Replace `path` by a file with this content, whole or not at all.

    The temporary file lies in `tmp_dir` (same file system; default: beside it). With `sync` the content is
    durable before the name is; the name itself is durable after `sync_dir` of its directory.
    """
    publish_all([(path, data)], tmp_dir=tmp_dir, mode=mode, sync=sync)


def publish_all(
    contents: Sequence[tuple[str, bytes]],
    *,
    tmp_dir: str | None = None,
    mode: int = PRIVATE_FILE,
    sync: bool = True,
    over: Container[str] | None = None,
    sync_names: Callable[[str], None] | None = None,
) -> None:
    """`publish` for several (path, content) that belong together: all are durable before the first has its name.

    All are written before the first is synced: most file systems then have one commit for them, where one
    after the other has several. With `over` only the paths in it may be replaced: where another one is taken,
    FileExistsError names it and none of these files is left. The first name is then made durable before the second
    is given, so that no crash leaves one of the others without it: by `sync_names` of its directory, or `sync_dir`.
    """
    temporary = [os.path.join(tmp_dir or os.path.dirname(path), _tmp_name(path)) for path, _ in contents]
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
            exc.filename = contents[at][0]  # the temporary name would tell nobody anything
        mine = temporary[: len(fds)]  # of the next one nobody knows whose it is
        for path in [*mine, *(reversed(named) if isinstance(exc, FileExistsError) else ())]:
            with contextlib.suppress(OSError):
                _unlink(path)
        raise
    finally:
        for fd in fds:
            os.close(fd)


def _tmp_name(path: str) -> str:
    return f".{os.path.basename(path)}.{secrets.token_hex(4)}.tmp"


def sync_dir(path: str) -> None:
    """Make the names in a directory durable."""
    fd = _open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _fsync(fd)
    except OSError as exc:
        _name(exc, fd)
        raise
    finally:
        os.close(fd)


def sync_file(path: str) -> None:
    """Make what anyone wrote to a file durable."""
    fd = _open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        sync_fd(fd)
    finally:
        os.close(fd)


def sync_fd(fd: int) -> None:
    """Make what was written through this descriptor durable."""
    try:
        _fdatasync(fd)
    except OSError as exc:
        _name(exc, fd)
        raise


def rename(src: str, dst: str) -> None:
    _rename(src, dst)


def rename_new(src: str, dst: str) -> None:
    """Rename a file to a name that must be free. Raises FileExistsError when it is taken, OSError otherwise.

    Another process may take the name at any moment, so the system itself has to refuse: by a flag of `rename`, or
    by a second name for the file. Where a file system can do neither, the name is looked at first.
    """
    try:
        if _rename_noreplace(src, dst):
            return
        _link(src, dst)
    except OSError as exc:
        if exc.errno not in _UNABLE:
            raise
        if os.path.lexists(dst):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), dst) from None
        _rename(src, dst)
    else:
        _unlink(src)


def _rename_noreplace(src: str, dst: str) -> bool:
    """`renameat2` with RENAME_NOREPLACE; False where there is no such call, or not for this file system."""
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
    except (OSError, AttributeError):  # not Linux, or a C library that does not have it
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
    """Make a directory and its missing parents, and make their names durable. Raises OSError."""
    path = os.path.abspath(path)
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    ensure_dirs(parent, mode=0o777)  # as os.makedirs does: only the last one is ours alone
    if ensure_dir(path, mode=mode):
        with contextlib.suppress(
            PermissionError
        ):  # one may be allowed to write a directory and not to read it
            sync_dir(parent)
    elif not os.path.isdir(path):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)


def rmdir(path: str) -> None:
    _rmdir(path)


def pwrite(fd: int, data: bytes, offset: int) -> None:
    """Write a fixed-size record in place."""
    try:
        n = 0
        while n < len(data):
            n += _pwrite(fd, data[n:] if n else data, offset + n)
    except OSError as exc:
        _name(exc, fd)
        raise


def truncate(fd: int, length: int) -> None:
    _truncate(fd, length)


class AppendFile:
    """A file that only grows, with one writer.

    Opening cuts off what follows the last newline before `length` (default: the whole file): a torn last
    line of a dead writer would otherwise swallow the next one. In a file that may be somebody else's nothing is
    cut off (`theirs`): what is appended begins on a line of its own.
    """

    def __init__(
        self, path: str, *, length: int | None = None, mode: int = PRIVATE_FILE, theirs: bool = False
    ) -> None:
        self.path = path
        self._fd = _open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
        try:
            size = os.fstat(self._fd).st_size
            self.size = size if length is None else min(size, length)
            whole = _last_line_end(self._fd, self.size)
            self._before = b"\n" if theirs and whole < size else b""
            self.size = size if theirs else whole
            if self.size < size:
                _truncate(self._fd, self.size)
            os.lseek(self._fd, self.size, os.SEEK_SET)
        except BaseException:
            os.close(self._fd)
            raise

    def append(self, data: bytes) -> None:
        """Append whole lines. On an error the file is cut back to what it was and the error is raised."""
        data = self._before + data
        try:
            write_all(self._fd, data)
        except BaseException:
            with contextlib.suppress(OSError):
                _truncate(self._fd, self.size)
                os.lseek(self._fd, self.size, os.SEEK_SET)
            raise
        self._before = b""
        self.size += len(data)

    def write_again(self, start: int) -> None:
        """Write what lies behind `start` once more, byte for byte as it is read.

        For a writer who relies on what an earlier one left without having made it durable: that one's `fsync`
        may have failed. The kernel then keeps the pages, calls them clean, and the next `fsync` says "fine"
        without having written them. Written again they are dirty again.
        """
        data = bytearray()
        while piece := os.pread(self._fd, max(0, self.size - start - len(data)), start + len(data)):
            data += piece
        pwrite(self._fd, bytes(data), start)

    def sync(self) -> None:
        sync_fd(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _last_line_end(fd: int, size: int, block: int = 65536) -> int:
    """Offset just behind the last newline within the first `size` bytes (0 if there is none)."""
    end = size
    while end > 0:
        start = max(0, end - block)
        at = os.pread(fd, end - start, start).rfind(b"\n")
        if at >= 0:
            return start + at + 1
        end = start
    return 0
