"""What the machine refuses to give is named in one sentence: as raised, and by real commands under real limits."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import recount
from commands import COMMAND, environment, until
from patience import HANG_S

import engine
from engine.errors import Exit
from engine.process import shortages


@pytest.mark.parametrize(
    ("exc", "named"),
    [
        (MemoryError(), "memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory"),
        (ImportError("x.so: failed to map segment from shared object"), "memory"),
        (RuntimeError("can't allocate lock"), "memory"),
        (SystemError("error return without exception set"), "memory"),
        (RuntimeError("can't start new thread"), "ulimit -u"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "ulimit -u"),
        (RuntimeError("dictionary changed size"), None),
        (ImportError("No module named x"), None),
        (OSError(errno.ENOSPC, "No space left on device"), None),
    ],
)
def test_what_is_short(exc: BaseException, named: str | None) -> None:
    short = shortages.raised(exc)
    assert (short is None) == (named is None)
    if named is not None:
        assert named in str(short)
        assert short is not None
        assert short.exit_code == Exit.DISK


def run(
    tmp_path: Path, *before: str, limit: Callable[[], None] | None = None
) -> subprocess.CompletedProcess[str]:
    places = ("-q", str(tmp_path / "q"), "-o", str(tmp_path / "o"))
    ended = subprocess.run(
        [
            *before,
            *COMMAND,
            "rehearse",
            "--videos",
            "20",
            "-p",
            "1",
            "-t",
            "8",
            "--progress",
            "none",
            *places,
        ],
        env=environment(OPENBLAS_NUM_THREADS="1"),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit,
        timeout=HANG_S,
    )
    assert "Traceback" not in ended.stdout + ended.stderr, ended.stderr
    return ended


def _mounts() -> bool:
    tried = ["unshare", "-m", "mount", "-t", "tmpfs", "x", "/mnt"]
    return (
        bool(shutil.which("unshare"))
        and subprocess.run(tried, capture_output=True, check=False).returncode == 0
    )


@pytest.mark.skipif(not _mounts(), reason="a mount namespace of our own is not allowed here")
@pytest.mark.parametrize("options", ["size=4k,nr_inodes=1", "ro"])
def test_shared_memory_is_named(on_disk: Path, options: str) -> None:
    script = f'mount -t tmpfs -o {options} x /dev/shm && exec "$@"'
    ended = run(on_disk, "unshare", "-m", "sh", "-c", script, "sh")
    assert ended.returncode == Exit.DISK, ended.stderr
    assert "shared memory (/dev/shm)" in ended.stderr
    assert run(on_disk).returncode == 0, "it goes on when there is some"


@pytest.mark.parametrize("more_mb", [15, 60])
def test_too_little_memory_is_named(tmp_path: Path, more_mb: int) -> None:
    """A little more than importing the command takes: whoever lacks the rest says so."""
    code = (
        "import engine.cli.rehearse, engine.run.supervisor; print(open('/proc/self/statm').read().split()[0])"
    )
    pages = int(
        subprocess.check_output([sys.executable, "-c", code], env=environment(OPENBLAS_NUM_THREADS="1"))
    )
    limit_bytes = pages * resource.getpagesize() + (more_mb << 20)
    ended = run(tmp_path, limit=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes)))
    assert ended.returncode in (Exit.DISK, 0), (ended.returncode, ended.stderr)
    assert ended.returncode == 0 or "memory" in ended.stderr, ended.stderr


def _as_another(processes: int) -> list[str]:
    """A command's prefix: as a user who may have so many processes. The limit does not bind root."""
    uid = str(40_000 + os.getpid() % 20_000)
    caps = "+dac_override,+dac_read_search"
    user = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    return [*user, f"--inh-caps={caps}", f"--ambient-caps={caps}", "prlimit", f"--nproc={processes}"]


def _others() -> bool:
    tools = all(map(shutil.which, ("setpriv", "prlimit")))
    return tools and subprocess.run([*_as_another(50), sys.executable, "-c", ""], check=False).returncode == 0


@pytest.mark.skipif(not _others(), reason="a user of our own cannot be had here")
@pytest.mark.parametrize("processes", [2, 7, 9, 12])
def test_a_limit_on_processes_is_named(processes: int) -> None:
    with tempfile.TemporaryDirectory() as place:  # not below pytest's own, which is root's alone
        os.chmod(place, 0o777)
        ended = run(Path(place), *_as_another(processes))
    assert ended.returncode == Exit.DISK, (ended.returncode, ended.stderr)
    assert "no further process or thread can be started" in ended.stderr


def test_a_package_that_went_away_is_named(tmp_path: Path) -> None:
    """Its files are removed, or replaced by another version's, while a run is under way and a worker dies."""
    for number, after in enumerate((None, '__version__ = "9"\n')):
        home = tmp_path / str(number)
        shutil.copytree(Path(engine.__file__).parent, home / "engine")
        begin = (
            f"import sys; sys.path.insert(0, {str(home)!r}); from engine.cli import main; main(sys.argv[1:])"
        )
        places = ("-q", str(home / "q"), "-o", str(home / "o"))
        run = subprocess.Popen(
            [sys.executable, "-c", begin, "rehearse", "--videos", "500", "--rate", "20", "-p", "1", *places],
            env=environment(PYTHONPATH=str(home)),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            (pid,) = until(lambda at=home / "q": recount.workers(at), 60.0, "for a worker")
            if after is None:
                (home / "engine").rename(home / "gone")
            else:
                (home / "engine" / "__init__.py").write_text(after)
            os.kill(pid, signal.SIGKILL)
            said, _ = run.communicate(timeout=100)
        finally:
            run.kill()
        assert run.returncode == Exit.DISK, said
        assert "removed or replaced" in said
        assert "Traceback" not in said
