"""What a command is started in: closed streams, a directory with modules of the user's or none at all, secrets."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import COMMAND, WORKER, Command, engine, environment, session_members, until
from warm import start

from engine.cli import COMMANDS
from engine.rehearsal import Rehearsal, RehearsalSettings, invented_ids

CANARY = "canary-7d41c0"
FOREIGN = ("queue", "token", "random", "filelock", "logging", "json", "loky", "struct", "sitecustomize")
# What makes each command do something, on a queue that is there; `stop` and `pause` find no live run.
ARGUMENTS = {
    "seed": ["seed", "-q", "{q}", "dQw4w9WgXcQ", "-"],
    "run": ["run", "-q", "{q}", "-o", "{o}", "--limit", "1"],
    "rehearse": ["rehearse", "-q", "{q}2", "-o", "{o}2", "--videos", "2"],
    "plan": ["plan", "-q", "{q}"],
    "proxies": ["proxies", "check", "--proxy", "http://127.0.0.1:9", "--deadline", "1"],
    "config": ["config", "show", "-q", "{q}"],
    "wait": ["wait", "-q", "{q}"],
    "report": ["report", "-q", "{q}"],
    "set": ["set", "-q", "{q}", "rate=1/s"],
    "sync": ["sync", "-q", "{q}"],
    "page": ["page", "-q", "{q}", "--token-file", "/"],  # else it would serve
}


@pytest.fixture(scope="module")
def site() -> Iterator[Rehearsal]:
    with start(RehearsalSettings(latency_s=0.05, auth="*:" + CANARY)) as found:
        yield found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rehearsal that is done."""
    root = tmp_path_factory.mktemp("finished")
    args = ["rehearse", "--videos", "3", "-q", root / "queue", "-o", root / "out", "--progress", "none"]
    assert engine(*args).code == 0
    return root


def closed(how: str, *args: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {how}', "sh", *COMMAND, *args],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment(),
        cwd=cwd,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_ends_as_ever_with_all_streams_closed(
    name: str, finished: Path, tmp_path: Path
) -> None:
    (tmp_path / "queue").symlink_to(finished / "queue")
    places = {"q": str(finished / "queue"), "o": str(finished / "out")}
    args = [argument.format(**places) for argument in ARGUMENTS.get(name, [name, "-q", "{q}"])]
    if name == "doctor":
        args += ["-o", places["o"]]
    before = {path: path.read_bytes() for path in finished.rglob("*.json*") if path.is_file()}
    ended = closed("<&- >&- 2>&-", *args, cwd=tmp_path)
    assert ended.returncode not in (1, 139), name
    # Nothing that was meant for a stream went into a file.
    for path, data in before.items():
        if path.parent.name != "queue":
            assert path.read_bytes() == data, path
    for path in finished.rglob("*"):
        if path.is_file():
            assert b"Traceback" not in path.read_bytes(), path
    again = engine(*args, cwd=tmp_path)
    assert again.code == ended.returncode or name in ("seed", "rehearse"), (again, ended)


@pytest.mark.parametrize("how", ["<&-", ">&-", "2>&-", ">/dev/full", "2>/dev/full"])
@pytest.mark.parametrize("args", [["status", "--json"], ["nonsense"], ["seed", "-"]], ids=" ".join)
def test_one_stream_closed_or_broken(how: str, args: list[str], finished: Path, tmp_path: Path) -> None:
    place = (
        [] if args == ["nonsense"] else ["-q", str(tmp_path / "q" if "seed" in args else finished / "queue")]
    )
    ended = closed(how, *args, *place, cwd=tmp_path)
    assert b"Traceback" not in ended.stdout + ended.stderr
    assert ended.returncode in (0, 2, 13)  # the last where nothing can be written


def test_a_run_goes_on_without_streams(tmp_path: Path) -> None:
    args = ["rehearse", "--videos", "20", "-q", str(tmp_path / "q"), "-o", str(tmp_path / "o"), "-p", "2"]
    assert closed("<&- >&- 2>&-", *args, "-v", cwd=tmp_path).returncode == 0
    verified = engine("verify", "-q", tmp_path / "q")
    assert verified.code == 0, verified.said


def test_modules_of_the_user_s_are_not_ours(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    for name in (*FOREIGN, "engine", "usercustomize"):
        (home / f"{name}.py").write_text(f"open({str(tmp_path / 'seen')!r}, 'a').write('{name} ')\n")
    args = ["rehearse", "--videos", "12", "-q", "../q", "-o", "../o", "-p", "2", "--progress", "none"]
    ended = subprocess.run(
        [*COMMAND, *args], cwd=home, env=environment(), capture_output=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert not (tmp_path / "seen").exists(), (tmp_path / "seen").read_text()


def test_a_working_directory_that_is_removed_does_not_matter(site: Rehearsal, tmp_path: Path) -> None:
    """Also not for a worker that begins after that, nor for the command that hears of the end."""
    home = tmp_path / "home"
    home.mkdir()
    ids = list(invented_ids(60, 5))
    (home / "videos.txt").write_text("\n".join(ids))
    (home / "ca.pem").write_bytes(Path(site.ca_bundle).read_bytes())
    (home / "proxies.txt").write_text(site.proxy_url_as("one", CANARY))
    (home / "proxies.txt").chmod(stat.S_IRUSR | stat.S_IWUSR)
    args = ["run", "videos.txt", "-q", "../q", "-o", "../o", "--rate", "8/s", "--progress", "none"]
    args += ["--ca-bundle", "ca.pem", "--proxies", "proxies.txt", "-p", "1", "-t", "2"]
    args += ["--notify", f"sh -c 'pwd > {tmp_path}/told'"]
    with Command(*args, cwd=home) as command:
        until(lambda: command.members(WORKER) and list((tmp_path / "o").glob("??/*")), 60.0, "for work")
        for path in home.iterdir():
            if path.name != "ca.pem":
                path.unlink()
        (home / "ca.pem").rename(tmp_path / "ca.pem")
        home.rmdir()
        [worker, *_] = command.members(WORKER)
        os.kill(worker, 9)
        until(lambda: set(command.members(WORKER)) - {worker}, 30.0, "for the next worker")
        home.mkdir()  # another of that name: its certificates are read by the new worker
        (tmp_path / "ca.pem").rename(home / "ca.pem")
        ended = command.wait(120.0)
    assert ended.code in (0, 3), ended.said
    assert "Traceback" not in ended.said
    assert (tmp_path / "told").read_text().strip() == str(home)


@pytest.mark.parametrize(
    "args", [["status"], ["seed", "x.txt"], ["run", "dQw4w9WgXcQ"], ["verify"], ["doctor"]]
)
def test_a_start_in_a_directory_that_is_gone(args: list[str], tmp_path: Path) -> None:
    home = tmp_path / "gone"
    home.mkdir()
    script = f'cd "{home}" && rmdir "{home}" && exec "$@"'
    ended = subprocess.run(
        ["sh", "-c", script, "sh", *COMMAND, *args],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in ended.stderr
    assert ended.returncode in (2, 10)
    if args[0] in ("seed", "run"):
        assert "the directory you are in was removed" in ended.stderr


def _read(pid: int, name: str) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_bytes()
    return b""


def _exposed(pid: int, parent: bytes) -> bool:
    """Whether a child shows the secret; one that has not become its own program yet still is the parent's memory."""
    before, environment, after = (_read(pid, name) for name in ("cmdline", "environ", "cmdline"))
    return CANARY.encode() in environment + after and parent not in (before, after) and before == after


class _Watch:
    """Looks at every process of a session, again and again, for the secret."""

    def __init__(self, command: Command) -> None:
        self.seen: set[int] = set()
        self.exposed: set[int] = set()
        self._command = command
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        parent = _read(self._command.pid, "cmdline")
        while not self._over.wait(0.05):
            for pid in set(session_members(self._command.pid)) - {self._command.pid}:
                self.seen.add(pid)
                if _exposed(pid, parent):
                    self.exposed.add(pid)

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join()


def test_secrets_reach_no_child_no_command_and_no_file(site: Rehearsal, tmp_path: Path) -> None:
    proxy = site.proxy_url_as("two", CANARY)
    tell = tmp_path / "tell"
    tell.write_text(f"#!/bin/sh\nenv > {tmp_path}/told\n")
    tell.chmod(0o700)
    args = ["run", *invented_ids(30, 6), "-q", tmp_path / "q", "-o", tmp_path / "o", "--rate", "10/s", "-v"]
    args += ["--ca-bundle", site.ca_bundle, "-p", "2", "-t", "4"]
    secrets = {
        "ENGINE_PROXY": proxy,
        "HTTPS_PROXY": f"http://me:{CANARY}@127.0.0.1:9",
        "all_proxy": f"socks5://{CANARY}@127.0.0.1:9",
        "ENGINE_NOTIFY": str(tell),
    }
    with Command(*args, **secrets) as command, _Watch(command) as watch:
        ended = command.wait(120.0)
    assert ended.code == 0, ended.said
    assert len(watch.seen) >= 3  # workers, monitor, trackers
    assert not watch.exposed
    told = (tmp_path / "told").read_text()
    assert CANARY not in told
    assert "ENGINE_NOTIFY" not in told
    assert CANARY not in ended.said
    for path in [*(tmp_path / "q").rglob("*"), *(tmp_path / "o").rglob("*")]:
        if path.is_file():
            assert CANARY.encode() not in path.read_bytes(), path
    assert "command line" not in ended.err


def test_a_password_on_the_command_line_is_warned_of_once(site: Rehearsal, tmp_path: Path) -> None:
    proxy = site.proxy_url_as("three", CANARY)
    args = ["-q", tmp_path / "q", "--proxy", proxy, "--proxy", proxy, "--ca-bundle", site.ca_bundle]
    ended = engine("run", *invented_ids(2, 7), *args, "-o", tmp_path / "o", "--rate", "none")
    assert ended.code == 0, ended.said
    assert ended.err.count("a password on the command line") == 1
    assert "--proxies FILE" in ended.err
    assert CANARY not in ended.said
    assert (
        "command line"
        not in engine("proxies", "check", "--proxy", "http://h.invalid:1", "--deadline", "1").err
    )
