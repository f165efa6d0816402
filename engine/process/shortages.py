"""What a machine may refuse to give a run: threads, processes, memory, shared memory. One sentence for each.

The system reports them in many shapes (a RuntimeError of `threading`, EAGAIN of `fork`, ENOSPC of a semaphore), none
of which names the thing.
"""

from __future__ import annotations

import errno
import os

from engine.errors import ShortageError

SHM = "/dev/shm"  # noqa: S108 - named in a message
AGAIN = "then run again: it goes on where it was."
# How a failed allocation is worded where it is no MemoryError: by a library that found no room, by a lock that could
# not be made, and by the interpreter when C code failed and did not say why.
_MEMORY_WORDS = (
    (ImportError, "failed to map segment"),
    (RuntimeError, "can't allocate lock"),
    (SystemError, "without exception set"),
    (SystemError, "without setting an exception"),
)
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def _version_file() -> bytes | None:
    """The file that changes with each version; None when it is gone."""
    try:
        with open(os.path.join(_PACKAGE, "__init__.py"), "rb") as file:
            return file.read()
    except OSError:
        return None


_OURS = _version_file()


def is_no_process(exc: BaseException) -> bool:
    """Whether an exception says that no further thread or process can be started."""
    if isinstance(exc, RuntimeError):
        return "can't start new thread" in str(exc)
    return isinstance(exc, OSError) and exc.errno == errno.EAGAIN


def no_process() -> ShortageError:
    """A limit on processes or threads is reached."""
    return ShortageError(
        "no further process or thread can be started: a limit of this user (`ulimit -u`), of the container "
        f"(pids.max) or of memory (`ulimit -v`) is reached. Raise it, or use fewer with -p and -t, {AGAIN}"
    )


def no_memory(where: str = "this process") -> ShortageError:
    """There is not enough memory to do anything."""
    return ShortageError(
        f"{where} cannot get enough memory: `ulimit -v`, the container or the machine allows too little. Allow "
        f"more, or use fewer with -p and -t, {AGAIN}"
    )


def no_semaphores(exc: OSError) -> ShortageError:
    """The semaphores between processes could not be made."""
    return ShortageError(
        f"shared memory ({SHM}): {exc.strerror or exc}. Worker processes need it for semaphores: mount a writable "
        f"tmpfs there or make room in it (`engine doctor` looks at it), {AGAIN}"
    )


def package_gone() -> ShortageError | None:
    """An error when the package's files are not those that this process runs: no child of it could begin, or one of
    another version would. None when all is well."""
    if _version_file() == _OURS:
        return None
    return ShortageError(
        f"the engine package in {_PACKAGE} was removed or replaced during the run. Install it, {AGAIN}"
    )


def raised(exc: BaseException) -> ShortageError | None:
    """The shortage behind an exception, or None. A failed allocation counts, a full disk does not."""
    if isinstance(exc, MemoryError) or (isinstance(exc, OSError) and exc.errno == errno.ENOMEM):
        return no_memory()
    if any(isinstance(exc, kind) and words in str(exc) for kind, words in _MEMORY_WORDS):
        return no_memory()
    return no_process() if is_no_process(exc) else None
