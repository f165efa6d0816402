"""What a child process finds: no module of the working directory, no secret, and for the user's own what he has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.process import environment

SECRET = "canary-9f3b"


@pytest.fixture(autouse=True)
def _variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "PYTHONSAFEPATH"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    monkeypatch.setattr(environment._Start, "variables", None)
    monkeypatch.setattr(environment._Start, "directory", None)


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("ENGINE_PROXY", f"http://u:{SECRET}@h:1", True),
        ("ENGINE_PROXY", f"h:1:u:{SECRET}", True),
        ("ENGINE_NOTIFY", f"https://hooks.example/{SECRET}", True),
        ("HTTPS_PROXY", f"http://u:{SECRET}@h:1", True),
        ("https_proxy", f"http://{SECRET}@h:1", True),
        ("ALL_PROXY", f"socks5://u:{SECRET}@h:1", True),
        ("HTTPS_PROXY", "http://h:1", False),
        ("NO_PROXY", "localhost", False),
        ("ENGINE_PROXIES", "proxies.txt", False),
        ("HOME", "/home/me@work", False),
    ],
)
def test_secrets(name: str, value: str, secret: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert (name not in environment.environment()) == secret
    assert (name not in environment.users_environment()) == secret
    assert ({**os.environ, **environment.changes()}[name] == "") == secret
    environment.forget_secrets()
    assert (name not in os.environ) == secret


@pytest.mark.parametrize("given", [None, "", ":", "::/nowhere", "lib", "lib:", "/x:/y", ".:lib"])
def test_no_entry_of_the_path_is_where_a_child_happens_to_stand(
    given: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if given is not None:
        monkeypatch.setenv("PYTHONPATH", given)
    environment.prepare()
    entries = os.environ["PYTHONPATH"].split(os.pathsep)
    named = [os.path.abspath(part) for part in (given or "").split(os.pathsep) if part]
    assert all(map(os.path.isabs, filter(None, entries)))
    assert entries[len(entries) - len(named) :] == named
    assert os.environ["PYTHONSAFEPATH"] == "1"
    # What the user's program finds is what he gave us.
    assert environment.users_environment().get("PYTHONPATH") == given
    assert "PYTHONSAFEPATH" not in environment.users_environment()


@pytest.mark.parametrize(
    "how", [["-m", "engine.monitor.monitor"], ["-c", "import queue, token, engine, filelock"]]
)
def test_a_child_imports_nothing_of_the_working_directory(how: list[str], tmp_path: Path) -> None:
    for name in (
        "queue",
        "token",
        "random",
        "filelock",
        "engine",
        "logging",
        "json",
        "sitecustomize",
        "struct",
    ):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('foreign code')")
    ended = subprocess.run(
        [sys.executable, *how], cwd=tmp_path, env=environment.environment(), capture_output=True, check=False
    )
    assert b"foreign code" not in ended.stderr
    assert ended.returncode == (1 if "-m" in how else 0)  # the monitor wants to know of which queue


def test_where_the_user_stood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "his").mkdir()
    (tmp_path / "queue").mkdir()
    monkeypatch.chdir(tmp_path / "his")
    with environment.standing_in(str(tmp_path / "queue")):
        assert os.getcwd() == str(tmp_path / "queue")
        assert environment.users_directory() == str(tmp_path / "his")
        assert environment.shown(str(tmp_path / "queue")) == "../queue"
        (tmp_path / "his").rmdir()
        assert environment.users_directory() is None
        assert environment.shown(str(tmp_path / "queue")) == str(tmp_path / "queue")
    os.chdir(tmp_path)
