"""Before anything else: standard streams, process 1, and where modules come from."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from commands import until
from containers import inside, permitted

OPEN = "import os, sys; from engine.process import startup; startup.begin(); fd = os.open('/dev/null', 0)\n"
needs_namespaces = pytest.mark.skipif(not permitted(), reason="no pid namespace can be made here")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", ">&- 2>&-"])
def test_no_file_gets_the_number_of_a_closed_stream(closed: str, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    code = OPEN + (
        "print('out'); print('err', file=sys.stderr); sys.stdout.flush(); sys.stderr.flush(); sys.stdin.read()\n"
        f"open({str(seen)!r}, 'w').write(str(fd) + ' '.join(os.readlink(f'/proc/self/fd/{{n}}') for n in range(3)))"
    )
    subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, code],
        stdin=subprocess.DEVNULL,
        check=True,
    )
    assert int(seen.read_text()[0]) > 2
    assert "/dev/null" in seen.read_text()


@pytest.mark.parametrize("how", ["module", "script"])
def test_modules_beside_the_script_or_in_the_working_directory_are_left_out(how: str, tmp_path: Path) -> None:
    (tmp_path / "foreign_one.py").write_text("")
    (tmp_path / "script.py").write_text("")
    code = "import sys\nfrom engine.process import startup\nstartup.begin()\nimport foreign_one\n"
    (tmp_path / "script.py").write_text(code)
    command = [sys.executable, *(["-m", "script"] if how == "module" else ["script.py"])]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "No module named 'foreign_one'" in ended.stderr


def test_modules_beside_the_package_itself_stay(tmp_path: Path) -> None:
    """Installed with `pip install --target`, all that it needs lies beside it, and so may the script."""
    os.symlink(Path(__file__).parents[2] / "engine", tmp_path / "engine")
    (tmp_path / "beside.py").write_text("")
    code = "import sys; sys.path.insert(0, sys.argv[1]); sys.argv[0] = sys.argv[1] + '/script'\n"
    code += "from engine.process import startup; startup.begin(); import beside"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)


INIT = (
    "import os, signal, subprocess, sys, time\n"
    "from engine.process import startup\n"
    "startup.begin()\n"
    "assert os.getpid() != 1\n"
)


def process_1(code: str) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
    return inside(sys.executable, "-c", INIT + code)


@needs_namespaces
def test_process_1_waits_for_orphans_and_leaves_us_our_own_children() -> None:
    code = """
orphans = ["sh", "-c", "for n in 1 2 3 4 5; do (sleep 0.1; exit 7) & done; exit 3"]
print(subprocess.run(orphans).returncode)
def zombies():
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try: fields = open(f"/proc/{name}/stat").read().rpartition(")")[2].split()
            except OSError: continue
            found.append((fields[0], fields[1]))
    return [its for its in found if its[1] == "1" and its[0] == "Z"], len(found)
until = time.monotonic() + 30
while (zombies()[0] or zombies()[1] > 2) and time.monotonic() < until: time.sleep(0.02)
print(zombies()); sys.stdout.flush(); sys.exit(42)
"""
    with process_1(code) as process:
        out, _ = process.communicate(timeout=60)
    assert out == b"3\n([], 2)\n"
    assert process.returncode == 42


@needs_namespaces
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_process_1_passes_signals_on(number: signal.Signals) -> None:
    code = f"""
def heard(number, frame): os.write(1, str(number).encode()); os._exit(5)
signal.signal({int(number)}, heard)
os.write(1, b"ready "); time.sleep(60)
"""
    with process_1(code) as process:
        assert process.stdout is not None
        assert process.stdout.read(6) == b"ready "
        [first] = children(process.pid)
        os.kill(first, number)
        assert process.stdout.read() == str(int(number)).encode()
        assert process.wait(30) == 5


@needs_namespaces
def test_process_1_ends_as_a_command_that_a_signal_ended() -> None:
    """Without a handler process 1 itself would not even hear of it."""
    with process_1("os.write(1, b'ready'); time.sleep(60)") as process:
        assert process.stdout is not None
        process.stdout.read(5)
        os.kill(children(process.pid)[0], signal.SIGTERM)
        assert process.wait(30) == 128 + signal.SIGTERM


def children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(item) for item in until(lambda: path.read_text().split(), 10.0, "for a child")]
