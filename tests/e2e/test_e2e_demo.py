"""`scripts/demo`: ends well again and again, keeps what it made, and removes nothing of others'."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with these scripts and an installed engine: this one."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    (tmp_path / "scripts" / "install").write_text('#!/bin/sh\necho "$#$1" >> asked\n')
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    command = tmp_path / ".venv" / "bin" / "engine"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m engine "$@"\n')
    command.chmod(0o755)
    return tmp_path


def demo(project: Path, *args: str) -> str:
    env = {name: text for name, text in os.environ.items() if not name.startswith("ENGINE_")}
    env |= {"PYTHONPATH": str(ROOT), "ENGINE_PROGRESS": "none"}
    done = subprocess.run(
        [project / "scripts" / "demo", *args],
        env=env,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(300)
def test_again_and_again(project: Path) -> None:
    """Its arguments are those of `engine rehearse`; the second demo begins where the first began."""
    for args in (("--videos", "8"), ("--videos", "6", "--scene", "error500=1", "--attempts", "1")):
        said = demo(project, *args)
        assert f"{args[1]} jobs" in said
        assert (project / "demo" / "queue" / "manifest.jsonl").exists()
    assert (project / "asked").read_text() == "1\n1\n", "it installs the project alone"
    (project / "demo" / "out" / "mine.txt").touch()
    (project / "demo" / "mine.txt").touch()
    demo(project, "--videos", "2", "-q", "other")
    assert (project / "other" / "manifest.jsonl").exists()
    assert (project / "demo" / "mine.txt").exists()


@pytest.mark.timeout(200)
def test_a_directory_of_somebody_elses_stays(project: Path) -> None:
    for name in ("queue", "out"):
        (project / "demo" / name).mkdir(parents=True)
        (project / "demo" / name / "mine.txt").touch()
    demo(project, "--videos", "2")
    assert sorted(os.listdir(project / "demo" / "out")) == ["mine.txt"]
    assert sorted(os.listdir(project / "demo" / "queue")) == ["mine.txt"]
    assert (project / "demo-2" / "queue" / "manifest.jsonl").exists()
