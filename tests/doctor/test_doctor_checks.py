"""The doctor: sound things pass, and each illness is found when it is there."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
from collections import namedtuple
from collections.abc import Iterable
from datetime import date
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import worked

from engine.doctor import Asked, Finding, Level, examine, filesystem, host, software
from engine.model import EgressSpec
from engine.queue.making import make_queue
from engine.storage import disk


def levels(found: Iterable[Finding]) -> list[str]:
    return [str(finding.level) for finding in found]


def one(found: Iterable[Finding]) -> Finding:
    [finding] = found
    assert (finding.level is Level.OK) == (finding.advice == "")
    return finding


def test_a_sound_machine(tmp_path: Path) -> None:
    asked = Asked(str(tmp_path / "q"), str(tmp_path / "deep" / "out"), 2, 16)
    found = list(examine(asked))
    assert Level.PROBLEM not in [finding.level for finding in found], found
    assert [finding.about for finding in found][:2] == ["python", "yt-dlp"]
    assert list(tmp_path.iterdir()) == []  # nothing is made, nothing is left


@pytest.mark.parametrize(
    ("version", "level", "says"),
    [
        ("2026.11.20", Level.OK, "2 days"),
        ("2026.09.23", Level.OK, "60 days"),
        ("2026.09.22", Level.WARNING, "61 days"),
        ("2026.10.26.232813.dev0", Level.OK, "27 days"),
        ("2027.01.01", Level.OK, "0 days"),
        ("master", Level.WARNING, "no date"),
        ("2026.13.45", Level.WARNING, "no date"),
    ],
)
def test_yt_dlp_ages(version: str, level: Level, says: str) -> None:
    age = software.age(version, date(2026, 11, 22))
    assert age.level is level
    assert says in age.seen


def test_packages_that_are_missing_or_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version
    monkeypatch.setattr(
        metadata,
        "requires",
        lambda name: ["click>=8.1", "rich>=999", "nobody-has-this>=1", "extra>=1; extra == 'x'"],
    )
    found = {package.about: package for package in software.packages()}
    assert found["rich"].level is found["nobody-has-this"].level is Level.PROBLEM
    assert "needed is 999" in found["rich"].seen
    assert found["packages"].seen == f"click {real('click')}"
    assert "extra" not in found


def test_the_clock(tmp_path: Path) -> None:
    queue = make_queue(str(tmp_path / "q"))
    Path(queue.events).write_text("")
    assert one(software.clock(queue.root)).level is Level.OK
    behind = one(software.clock(queue.root, now=os.stat(queue.events).st_mtime - 3600))
    assert behind.level is Level.PROBLEM
    assert "the queue was last worked on" in behind.seen
    assert (
        one(software.clock(str(tmp_path), now=86_400.0)).level is Level.PROBLEM
    )  # a machine without a battery


@pytest.mark.parametrize(
    ("limits", "threads", "level"),
    [
        ((1024, 4096), 16, Level.OK),
        ((1024, 4096), 900, Level.WARNING),
        ((1024, 1024), 1000, Level.PROBLEM),
        ((60, 60), 16, Level.PROBLEM),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), 1024, Level.OK),
    ],
)
def test_open_files(
    monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], threads: int, level: Level
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda what: limits)
    assert one(host.descriptors(2, threads)).level is level


def test_certificates(tmp_path: Path) -> None:
    assert one(host.authorities(None)).level is Level.OK
    (tmp_path / "empty.pem").write_text("nothing\n")
    for path in ("missing.pem", "empty.pem"):
        assert one(host.authorities(str(tmp_path / path))).level is Level.PROBLEM


def test_shared_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert one(host.shared_memory()).level is Level.OK
    usage = namedtuple("usage", "free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(0))
    assert one(host.shared_memory()).level is Level.WARNING
    monkeypatch.setattr("multiprocessing.context.BaseContext.Lock", _no_semaphore)
    assert one(host.shared_memory()).level is Level.PROBLEM


def _no_semaphore(self: object) -> None:
    raise OSError("Function not implemented")


def test_proxies_that_nobody_reaches() -> None:
    dead = tuple(EgressSpec(f"p00{n} 127.0.0.1:9", "http://u:T0pS3cret@127.0.0.1:9") for n in (1, 2))
    found = list(host.proxies(dead, None))
    assert levels(found) == ["warning", "warning", "problem"]
    assert not re.search("T0pS3cret", repr(found))
    assert list(host.proxies((), None)) == []


# ---- where things will lie ------------------------------------------------------------------------------
def test_a_file_in_the_way_and_a_place_without_leave(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    finding = one(filesystem.place("output", str(tmp_path / "file")))
    assert (finding.level, "-o" in finding.advice) == (Level.PROBLEM, True)
    if os.geteuid() != 0:
        tmp_path.chmod(0o500)
        assert one(filesystem.place("queue", str(tmp_path / "q"))).level is Level.PROBLEM


@pytest.mark.parametrize(
    ("free", "level"), [(10 << 30, Level.OK), (500 << 20, Level.WARNING), (50 << 20, Level.PROBLEM)]
)
def test_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, level: Level) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(20 << 30, 0, free))
    assert next(filesystem.place("queue", str(tmp_path))).level is level


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="there is no /proc here")
def test_a_place_that_holds_no_files() -> None:
    finding = one(filesystem.place("output", "/proc/transcripts"))
    assert (finding.level, "-o" in finding.advice, "room" in finding.advice) == (Level.PROBLEM, True, False)


def test_a_remote_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.queue.mounts.file_system", lambda path: "nfs4")
    finding = one(filesystem.place("queue", str(tmp_path)))
    assert (finding.level, "nfs4" in finding.seen) == (Level.PROBLEM, True)


def test_what_a_file_system_fails_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert filesystem.try_out(str(tmp_path)) == ""
    with monkeypatch.context() as patch:
        patch.setattr(disk, "_rename", lambda src, dst: None)
        assert "rename" in filesystem.try_out(str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(disk, "_fdatasync", _fails)
        assert "Input/output error" in filesystem.try_out(str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(filesystem, "_other_tries", lambda path: 0)
        assert "keep another out" in filesystem.try_out(str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(filesystem, "_other_tries", lambda path: filesystem._REFUSED)
        assert "not free" in filesystem.try_out(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_free_inodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs(tmp_path)
    for free, levels in (
        (10**9, [Level.OK]),
        (10_000, [Level.WARNING, Level.OK]),
        (12, [Level.PROBLEM, Level.OK]),
    ):
        fake = SimpleNamespace(f_files=10**9, f_favail=free)
        with monkeypatch.context() as patch:
            patch.setattr(os, "statvfs", lambda path, fake=fake: fake if str(path) == str(tmp_path) else real)
            patch.setattr(filesystem.shutil, "disk_usage", lambda path: (1 << 40, 0, 1 << 40))
            patch.setattr(filesystem, "try_out", lambda path: "")
            found = list(filesystem.place("output", str(tmp_path)))
        assert [finding.level for finding in found] == [*levels, Level.OK]


def test_names_that_are_folded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(filesystem.names(str(tmp_path / "none"))) == []
    monkeypatch.setattr("engine.output.folding.kept", lambda path: False)
    monkeypatch.setattr("sys.platform", "linux")
    assert one(filesystem.names(str(tmp_path))).level is Level.PROBLEM
    assert list(filesystem.names("/proc/none")) == []


def test_an_output_directory_that_is_gone_or_another_queue_s(tmp_path: Path) -> None:
    queue = worked(tmp_path, 4)
    assert list(filesystem.belongs(queue.root)) == list(filesystem.belongs(str(tmp_path / "none"))) == []
    shutil.copytree(queue.root, tmp_path / "copy")
    assert "belongs to the queue" in one(filesystem.belongs(str(tmp_path / "copy"))).seen
    shutil.rmtree(tmp_path / "out")
    finding = one(filesystem.belongs(queue.root))
    assert (finding.level, "--output-lost" in finding.seen) == (Level.PROBLEM, True)


def _fails(fd: int) -> None:
    raise OSError(5, os.strerror(5))


def test_a_check_that_breaks_is_a_problem_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise OSError(13, "Permission denied")

    monkeypatch.setattr(subprocess, "run", broken)
    found = list(examine(Asked(str(tmp_path / "q"), str(tmp_path / "o"), 1, 1)))
    assert [finding.about for finding in found if finding.level is Level.PROBLEM] == ["queue", "output"]
    assert list(tmp_path.iterdir()) == []
