"""The commands from a person's point of view: exit codes, sentences, nothing foreign on the terminal."""

from __future__ import annotations

import errno
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from patience import HANG_S
from support import batch, ids, some_fail, worked

from engine import cli
from engine.cli import COMMANDS
from engine.errors import Exit
from engine.model import Kind
from engine.queue.making import make_queue
from engine.run.supervisor import hold
from engine.storage import disk

pytestmark = pytest.mark.usefixtures("no_fsync")

NAME = "dQw4w9WgXcQ"
SECRET = "hunter2canary"


class Said(NamedTuple):
    code: int
    out: str
    err: str


Engine = Callable[..., Said]


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Engine:
    """Run a command in this process, in a directory of its own."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("ENGINE_"):
            monkeypatch.delenv(name)

    def run(*args: str, stdin: bytes = b"") -> Said:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        code = cli.invoke(list(args))
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert "\x1b" not in out + err
        return Said(code, out, err)

    return run


# ---- seed -----------------------------------------------------------------------------------------------
def test_seed_says_what_it_read(engine: Engine) -> None:
    assert engine("seed", NAME, f"https://youtu.be/{NAME}") == (
        0,
        "read 2: added 1, duplicate 1, rejected 0\n",
        "",
    )
    assert engine("seed", NAME).out == "read 1: added 0, duplicate 1, rejected 0\n"
    said = engine("seed", "-", "-q", "other", stdin=b"\n".join(name.encode() for name in ids(1200)))
    assert said.out == "read 1,200: added 1,200, duplicate 0, rejected 0\n"


def test_seed_json(engine: Engine) -> None:
    said = engine("seed", NAME, "--json")
    assert json.loads(said.out) == {
        "schema_version": 1,
        "read": 1,
        "added": 1,
        "duplicate": 0,
        "rejected": 0,
        "listed": 0,
    }


def test_an_id_that_begins_with_a_dash(engine: Engine) -> None:
    assert engine("seed", "-AAAAAAAAAE", "-q", "q").out.startswith("read 1: added 1")


def test_a_rejected_line_is_named_and_stops_nobody(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(f"{NAME}\nhttps://example.com/\x1b[31mred\n")
    said = engine("seed", "list.txt")
    assert said.code == 0
    assert "added 1, duplicate 0, rejected 1 (see queue_dir/rejects.csv)" in said.out
    assert len(Path("queue_dir/rejects.csv").read_text().splitlines()) == 2
    (tmp_path / "bad.txt").write_text("nonsense\nmore\n")
    assert engine("seed", "bad.txt").code == Exit.USAGE


@pytest.mark.parametrize("data", ["", "\n\n", "# a comment\n"])
def test_nothing_to_read_is_no_error(engine: Engine, tmp_path: Path, data: str) -> None:
    (tmp_path / "list.txt").write_text(data)
    said = engine("seed", "list.txt")
    assert (said.code, said.out) == (0, "read 0: added 0, duplicate 0, rejected 0\n")


def test_a_mistyped_name_makes_no_queue(engine: Engine) -> None:
    said = engine("seed", "missing.txt")
    assert (said.code, said.out) == (Exit.USAGE, "")
    assert "missing.txt" in said.err
    assert not os.path.exists("queue_dir")


def test_one_bad_input_of_two_loses_nothing(engine: Engine) -> None:
    said = engine("seed", NAME, "missing.txt")
    assert said.code == Exit.USAGE
    assert "added 1" in said.out


def test_seed_beside_a_seeding_names_who(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.storage.locks import take_or_say_who

    monkeypatch.setattr("engine.seeding.reading.SEED_WAIT_S", 0.0)
    queue = make_queue("queue_dir")
    with take_or_say_who(queue.seed_lock, "seeding"):
        said = engine("seed", NAME)
    assert said.code == Exit.HELD
    assert f"pid {os.getpid()}" in said.err


# ---- places ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("command", ["status", "stop", "failures", "retry", "verify", "run"])
def test_no_queue_here(engine: Engine, command: str) -> None:
    said = engine(command, "-q", "none")
    assert said.code == Exit.NO_QUEUE
    assert "no queue in none" in said.err
    assert not os.path.exists("none")


@pytest.mark.parametrize("command", ["seed", "run", "status", "stop", "failures", "retry", "verify"])
def test_a_queue_of_a_newer_format_is_left_alone(engine: Engine, command: str) -> None:
    make_queue("queue_dir")
    Path("queue_dir/FORMAT").write_text("99\n")
    said = engine(command, *([NAME] if command in ("seed", "run") else []))
    assert said.code == Exit.USAGE
    assert "format 99" in said.err


@pytest.mark.parametrize("command", ["seed", "run"])
def test_a_file_in_place_of_a_queue(engine: Engine, tmp_path: Path, command: str) -> None:
    (tmp_path / "file").write_text("mine")
    said = engine(command, NAME, "-q", "file")
    assert said.code == Exit.USAGE
    assert "file" in said.err
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("command", ["seed", "run", "status"])
def test_a_damaged_segment_is_named(engine: Engine, command: str) -> None:
    engine("seed", NAME)
    Path("queue_dir/segments/000000.jsonl").write_text("nonsense\n")
    said = engine(command, *([NAME] if command == "seed" else []))
    assert said.code == Exit.USAGE
    assert "queue_dir/segments/000000.jsonl cannot be read" in said.err


def test_beside_a_live_run(engine: Engine) -> None:
    engine("seed", NAME)
    with hold(make_queue("queue_dir")):
        for command in (["run", ids(1)[0]], ["retry"], ["verify"]):
            said = engine(*command)
            assert said.code == Exit.HELD, command
            assert f"pid {os.getpid()}" in said.err
        said = engine("run", ids(1)[0])
        assert (
            "`engine status -q queue_dir --watch`" in said.err
            and "`engine seed INPUT -q queue_dir`" in said.err
        )
        assert json.loads(engine("status", "--json").out)["total"] == 1  # nothing was seeded
        assert "asked the run" in engine("stop").err
        assert json.loads(Path("queue_dir/control.json").read_text()) == {"stop": True, "now": False}
        engine("stop", "--now")
        assert json.loads(Path("queue_dir/control.json").read_text())["now"] is True
    assert engine("stop") == (0, "", "engine: no run is live here\n")


# ---- looking --------------------------------------------------------------------------------------------
def test_status(engine: Engine, tmp_path: Path) -> None:
    queue = worked(tmp_path, 20, some_fail)
    said = engine("status", "-q", queue.root)
    assert said.code == 0
    assert "20 of 20 final (100.0 %)" in said.out
    value = json.loads(engine("status", "-q", queue.root, "--json").out)
    assert (value["state"], value["schema_version"]) == ("finished", 1)
    assert json.loads(engine("status", "-q", "none", "--json").out)["state"] == "empty"


def test_failures(engine: Engine, tmp_path: Path) -> None:
    queue = worked(tmp_path, 40, some_fail)
    lines = engine("failures", "-q", queue.root).out.splitlines()
    found = [json.loads(line) for line in engine("failures", "-q", queue.root, "--json").out.splitlines()]
    assert len(found) == len(lines) == sum(some_fail(name) != "ok" for name in ids(40))
    assert {item["schema_version"] for item in found} == {1}
    kinds = {item["kind"] for item in found}
    for kind in sorted(kinds):
        only = engine("failures", "-q", queue.root, "--kind", kind).out.splitlines()
        assert len(only) == sum(item["kind"] == kind for item in found)
    assert len(engine("failures", "-q", queue.root, "--kind", ",".join(kinds)).out.splitlines()) == len(lines)
    table = engine("failures", "-q", queue.root, "--csv").out.splitlines()
    assert len(table) == len(lines) + 1


@pytest.mark.parametrize("command", ["failures", "retry"])
@pytest.mark.parametrize(
    ("typed", "meant"), [("timeouts", "timeout"), ("garbeld", "garbled"), ("member_only", "members_only")]
)
def test_an_unknown_kind_names_the_nearest(engine: Engine, command: str, typed: str, meant: str) -> None:
    engine("seed", NAME)
    said = engine(command, "--kind", typed)
    assert said.code == Exit.USAGE
    assert f"did you mean {meant}?" in said.err
    told = engine(command, "--kind", "zzzzzz").err
    assert all(kind in told for kind in Kind)


def test_retry_and_verify(engine: Engine, tmp_path: Path) -> None:
    queue = worked(tmp_path, 40, some_fail)
    queue.write_batch({**queue.read_batch(), "rehearsal": True})
    failed = sum(some_fail(name) in (Kind.NETWORK, Kind.BLOCKED) for name in ids(40))
    assert engine("verify", "-q", queue.root).code == 0
    assert f"{failed:,} jobs would be put back" in engine("retry", "--dry-run", "-q", queue.root).err
    goes_on = f"`engine rehearse --videos 0 -q {queue.root}`"
    assert f"{failed:,} jobs put back: {goes_on}" in engine("retry", "-q", queue.root).err
    assert "nothing to put back" in engine("retry", "-q", queue.root).err
    assert engine("verify", "-q", queue.root).code == 0
    name = next(name for name in ids(40) if some_fail(name) == "ok")
    os.unlink(tmp_path / "out" / name[:2] / f"{name}.md")
    said = engine("verify", "-q", queue.root, "--json")
    assert said.code == Exit.DAMAGED
    assert name in json.dumps(json.loads(said.out))
    assert f"next: `engine verify --repair -q {queue.root}`" in said.err
    said = engine("verify", "--repair", "-q", queue.root)
    left = failed + 1
    assert (said.code, f"next: {goes_on} fetches the {left} that are left" in said.err) == (0, True), said
    Path(queue.path("tmp", ".status.json.00000000.tmp")).touch()
    said = engine("verify", "-q", queue.root)
    assert said.code == Exit.DAMAGED
    assert "left over by a kill; the next run removes it" in said.out
    assert f"next: {goes_on} removes what a kill left over" in said.err


@pytest.mark.parametrize(
    ("typed", "same"),
    [
        (["help"], ["--help"]),
        (["-help"], ["--help"]),
        (["help", "run"], ["run", "--help"]),
        (["run", "-help"], ["run", "--help"]),
        (["status", "-help"], ["status", "--help"]),
        (["help", "fleet", "plan"], ["fleet", "plan", "--help"]),
    ],
)
def test_help_as_other_programs_have_it(engine: Engine, typed: list[str], same: list[str]) -> None:
    assert engine(*typed) == engine(*same)
    assert engine(*typed).code == 0


# ---- what a run refuses before it begins ----------------------------------------------------------------
@pytest.mark.parametrize(
    ("args", "word"),
    [
        (["--rate", "fast"], "--rate"),
        (["--rate", "0"], "--rate"),
        (["-l", ","], "--languages"),
        (["-l", "e n"], "--languages"),
        (["-f", "pdf"], "pdf"),
        (["-p", "0"], "--processes"),
        (["--limit", "0"], "--limit"),
        (["--deadline", "0"], "--deadline"),
        (["--on-block", "cry"], "--on-block"),
        (["--proxy", f"http://user:{SECRET}@host:x"], "--proxy 1"),
        (["--proxy", "host:1", "--proxy", f"ftp://user:{SECRET}@host"], "--proxy 2"),
        (["--proxies", "missing"], "--proxies missing"),
        (["--ca-bundle", "missing"], "--ca-bundle missing"),
        (["-o", "/dev/null/out"], "--output"),
        (["missing.txt"], "missing.txt"),
        (["--nonsense"], "--nonsense"),
    ],
)
def test_wrong_usage_is_said_and_nothing_is_begun(engine: Engine, args: list[str], word: str) -> None:
    said = engine("run", NAME, *args)
    assert said.code == Exit.USAGE
    assert word in said.err
    assert SECRET not in said.err
    assert not os.path.exists("queue_dir/budget")
    assert not os.path.exists("transcripts")


@pytest.mark.parametrize("output", ["/proc/x", "file"])
def test_a_slip_in_output_stays_with_no_queue(engine: Engine, output: str) -> None:
    Path("file").touch()
    said = engine("run", NAME, "-o", output)
    assert said.code == Exit.USAGE
    assert f"{output}: " in said.err
    assert json.loads(engine("status", "--json").out)["total"] == 0
    assert make_queue("queue_dir").read_batch()["frozen"] is None


def test_authorities_that_are_none_are_said_before_anything_begins(engine: Engine) -> None:
    Path("a.pem").write_bytes(b"\0no")
    for args in (["run", NAME], ["proxies", "check", "--proxy", "host:1"]):
        said = engine(*args, "--ca-bundle", "a.pem")
        assert (said.code, "a.pem: holds no certificates" in said.err) == (Exit.USAGE, True)
    assert not os.path.exists("queue_dir")


def test_a_failing_disk_under_the_output_directory_is_no_wrong_usage(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir = disk._mkdir

    def full(path: str, mode: int) -> None:
        if os.path.basename(path) == "new":
            raise OSError(errno.ENOSPC, "No space left on device", path)
        mkdir(path, mode)

    monkeypatch.setattr(disk, "_mkdir", full)
    said = engine("run", NAME, "-o", "new")
    assert said.code == Exit.DISK
    assert "--output" in said.err
    assert "No space left on device. Make room" in said.err


def test_a_strange_pace_is_named(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for pace in ("fast", "-1", "nan", "0"):
        monkeypatch.setenv("ENGINE_BUDGET_PACE", pace)
        said = engine("run", NAME)
        assert said.code == Exit.USAGE
        assert "ENGINE_BUDGET_PACE" in said.err


def test_a_rehearsal_s_queue_is_not_run_nor_the_other_way_round(engine: Engine) -> None:
    make_queue("rehearsed", rehearsal=True)
    assert engine("run", "-q", "rehearsed").code == Exit.USAGE
    make_queue("real")
    said = engine("rehearse", "-q", "real", "--videos", "1")
    assert said.code == Exit.USAGE
    assert "real one" in said.err
    assert engine("rehearse", "--proxy", "host:1").code == Exit.USAGE
    assert "no scenario" in engine("rehearse", "--scene", "none").err


def test_frozen_options_name_both_values(engine: Engine, tmp_path: Path) -> None:
    queue = batch(tmp_path, 4)
    said = engine("run", "-q", queue.root, "-l", "de")
    assert said.code == Exit.USAGE
    assert "begun with en, not de" in said.err
    assert "rehearse" not in said.err


# ---- help and errors of the program itself --------------------------------------------------------------
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_eighty_columns(engine: Engine, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    said = engine(*filter(None, [command]), "--help")
    assert said.code == 0
    assert said.out.startswith("Usage: engine")
    assert max(map(len, said.out.splitlines())) <= 80
    for name in COMMANDS if not command else ():
        assert name in said.out


def test_an_unknown_command(engine: Engine) -> None:
    said = engine("statsu")
    assert said.code == Exit.USAGE
    assert "statsu" in said.err
    assert engine("--version").out.startswith("engine, version ")


@pytest.mark.parametrize(
    ("raised", "code", "word"),
    [
        (OSError(28, "No space left on device", "/q/journal"), 13, "/q/journal: No space left on device"),
        (OSError(5, "Input/output error"), 13, "Input/output error"),
        (PermissionError(13, "Permission denied", "/q/lock"), 2, "/q/lock: Permission denied"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 0, ""),
    ],
)
def test_errors_from_below(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, raised: BaseException, code: int, word: str
) -> None:
    def fail(root: str) -> None:
        raise raised

    monkeypatch.setattr("engine.monitor.status.collect", fail)
    own = SimpleNamespace(**{**vars(os), "dup2": lambda fd, to: None})
    monkeypatch.setattr(cli, "os", own)  # a broken pipe replaces stdout, which is pytest's here
    said = engine("status")
    assert said.code == code
    assert word in said.err


# ---- the program as a process ---------------------------------------------------------------------------
def process(*args: str | bytes, cwd: Path, **env: str) -> subprocess.CompletedProcess[bytes]:
    root = str(Path(cli.__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-m", "engine", *args],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": root, **env},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=HANG_S,
        check=False,
    )


def test_names_and_titles_that_the_terminal_cannot_show(tmp_path: Path) -> None:
    queue = worked(tmp_path, 20, lambda _: Kind.PRIVATE)  # their titles hold an umbrella
    for encoding, args in (("latin-1", []), ("latin-1", ["--json"]), ("ascii", ["--csv"])):
        done = process("failures", *args, "-q", queue.root, cwd=tmp_path, PYTHONIOENCODING=encoding)
        assert (done.returncode, done.stderr) == (0, b""), (encoding, args)
        assert len(done.stdout.splitlines()) >= 20
    assert process("run", "--help", cwd=tmp_path, PYTHONIOENCODING="latin-1").returncode == 0
    strange = os.fsencode(tmp_path) + b"/q\xff\x1b[31m"
    assert process("seed", NAME, "no", "-q", strange, cwd=tmp_path).returncode == 2
    assert process("seed", NAME, "-q", strange, cwd=tmp_path).returncode == 0
    for command in ("status", "verify", "retry"):
        done = process(command, "-q", strange, cwd=tmp_path)
        assert done.returncode == 0
        assert b"\x1b" not in done.stdout + done.stderr
        assert b"Traceback" not in done.stderr


def test_status_pays_for_nothing_that_only_a_run_needs(tmp_path: Path) -> None:
    queue = worked(tmp_path, 4)
    code = (
        "import sys; from engine.cli import invoke\n"
        f"code = invoke(['status', '-q', {queue.root!r}, '--json'])\n"
        "heavy = {'yt_dlp', 'requests', 'numpy', 'loky', 'youtube_transcript_api', 'urllib3', 'psutil', 'rich'}\n"
        "print(code, sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "0 []"


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    queue = worked(tmp_path, 200, lambda _: Kind.PRIVATE)
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "engine", "failures", "-q", queue.root],
        stdout=writer,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("args", [["status", "--json"], ["status"], ["sources", "--json"]], ids=" ".join)
def test_a_full_disk_behind_stdout_is_said(tmp_path: Path, args: list[str]) -> None:
    queue = batch(tmp_path, 4)
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "engine", *args, "-q", queue.root],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == Exit.DISK
    assert b"cannot be written to standard output: No space left" in done.stderr
    assert b"Traceback" not in done.stderr


def test_control_c_while_the_program_is_still_being_read(tmp_path: Path) -> None:
    """It ends as any program does of a signal, without a word of Python's."""
    (tmp_path / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    root = Path(cli.__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"}
    done = subprocess.run(
        [sys.executable, "-m", "engine.cli", "status"],
        env=env,
        capture_output=True,
        check=False,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # a shell's background job ignores it
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")
