"""What a command sets up before anything else is imported: streams, orphans, and where modules come from.

- **Standard streams.** A daemon or `>&-` may start us without them. The next files that are opened would get their
  numbers, and whatever is printed would go into these. So `/dev/null` takes every free place.
- **Process 1** of a container inherits the orphans of all others, and must wait for them; the kernel delivers it no
  signal that it has no handler for. So this process becomes a small one that does nothing else, and the command runs
  in its child.
- **Foreign modules.** `python -m` and scripts look for modules in the working directory or the script's own first,
  and an empty entry of PYTHONPATH is the working directory, too: a `queue.py` there would take the place of Python's.
- **Threads** that find no memory for their first step (`engine.process.threads`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

_MINE = os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
)  # where this package lies
_KEPT = frozenset({signal.SIGCHLD, signal.SIGTTIN, signal.SIGTTOU, signal.SIGTSTP})  # not passed on
_begun = False


def begin() -> None:
    """Do all of it; a second call does nothing."""
    global _begun
    if not _begun:
        _begun = True
        open_streams()
        if os.getpid() == 1:
            wait_for_orphans()
        leave_out_foreign_modules()
        from engine.process.threads import prepare_threads

        prepare_threads()


def open_streams() -> None:
    """Open what is missing of the descriptors 0 to 2 onto /dev/null, for us and for all that we start."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            with contextlib.suppress(OSError):
                fd = os.open(os.devnull, os.O_RDWR)
                if fd != number:
                    os.dup2(fd, number)
                    os.close(fd)
                os.set_inheritable(number, True)
    for name, number, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        if getattr(sys, name) is None:
            with contextlib.suppress(OSError):
                setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))


def wait_for_orphans() -> None:
    """Go on in a child process. This one passes signals on, waits for whoever ends, and ends as the child does."""
    everything = signal.valid_signals()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, everything)
    try:
        child = os.fork()
    except OSError:  # no process can be made: then there will not be many orphans either
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    if not child:
        _take_terminal()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    while True:
        number = signal.sigwait(everything)
        if number not in _KEPT:
            with contextlib.suppress(OSError):
                os.kill(child, number)
        _reap(child)


def _take_terminal() -> None:
    """A group of our own, in the foreground: else ^C would come twice, from the terminal and from process 1."""
    with contextlib.suppress(OSError):
        os.setpgid(0, 0)
        if os.isatty(0):
            os.tcsetpgrp(0, os.getpgrp())  # all signals are held, the one that would stop us for it as well


def _reap(child: int) -> None:
    """Wait for all who have ended; when the command has, end with its exit code."""
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == child:
                code = os.waitstatus_to_exitcode(ended[1])
                os._exit(code if code >= 0 else 128 - code)


def leave_out_foreign_modules() -> None:
    """Take off the path what is there only because of where we were started, unless this package came from there."""
    foreign = set()
    here = _working_directory()
    if not sys.flags.safe_path and sys.path:
        script = sys.argv[0] if sys.argv else ""
        implied = {"", here, os.path.dirname(os.path.realpath(script))} if script else {"", here}
        if sys.path[0] in implied:
            foreign.add(sys.path[0])
    if not sys.flags.ignore_environment and "" in os.environ.get("PYTHONPATH", "x").split(os.pathsep):
        foreign |= {"", here}
    sys.path[:] = [path for path in sys.path if path not in foreign or os.path.realpath(path) == _real_mine()]


def _real_mine() -> str:
    return os.path.realpath(_MINE)


def _working_directory() -> str:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return ""
