"""What tests of all parts share."""

from __future__ import annotations

import functools
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import warm
from commands import Batch
from hypothesis import HealthCheck, settings
from nights import _nights, night, on_disk, place, quiet  # noqa: F401 - fixtures

from engine.storage import disk

# Hundreds of interpreters are started here. Where they must not leave what they compiled in the tree, as in many
# containers, each would compile all of the engine again, which is a fifth of what a short run costs.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    cache = Path(__file__).parents[1] / ".pytest_cache" / "pycache"
    sys.pycache_prefix = os.environ.setdefault("PYTHONPYCACHEPREFIX", str(cache))


# What the engine keeps for a user, outside of any queue, is kept for the tests alone.
_HOME = tempfile.TemporaryDirectory(prefix="engine-home-")
os.environ["XDG_CONFIG_HOME"] = os.environ["XDG_CACHE_HOME"] = _HOME.name


# A developer's proxy is not the tests': runs would take it as their egress.
for variable in ("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
    for name in (variable, variable.lower()):
        os.environ.pop(name, None)

# Where a machine names its authorities, each run in this process would read them all: 20 ms. `commands.environment`
# leaves them out, too.
for _name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
    os.environ.pop(_name, None)


# Under nohup what is started here would ignore SIGHUP as well, and a test would wait for an end that does not come.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


# How long an example takes says something about the machine, nothing about the engine.
ANY_MACHINE = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("any machine", ANY_MACHINE, max_examples=40)
settings.register_profile("sweep", ANY_MACHINE, max_examples=1000)  # scripts/test --hypothesis-profile sweep
settings.load_profile("any machine")


@functools.cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _plays(path: Path) -> bool:
    """Whether a file's tests look at nights, or wait for the end of them."""
    said = ("from nights import", "from main_job import", 'usefixtures("quiet")')
    return any(text in _text(path) for text in said)


def _with_processes(path: Path) -> bool:
    """Whether the tests of a file mostly start real commands: one of them takes as long as a file of others."""
    return path.parent.name in ("bench", "crash", "e2e", "fleet", "page")


def _apart(path: Path) -> bool:
    """Whether they share nothing that one process would make for all of them."""
    return path.parent.name != "page" and _with_processes(path) and 'scope="module"' not in _text(path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the process that plays the nights, the tests with runs of their own come first, while the nights are being
    played; then those that look at a night, and at last those that want the machine to themselves. Of all others
    those that take long come first: no process is left alone with them at the end."""

    def turn(item: pytest.Item) -> tuple[int, bool]:
        names = getattr(item, "fixturenames", ())
        number = 2 if "quiet" in names else int(item.get_closest_marker("night") is not None)
        return number, "place" not in names  # the first to take a place has the nights begin

    items.sort(key=lambda item: (not _plays(item.path), not _with_processes(item.path)))
    night_items = sum(_plays(item.path) for item in items)
    items[:night_items] = sorted(items[:night_items], key=turn)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With several pytest processes, all tests that look at nights go to the same one: it alone plays them. Another
    file goes to one process, which makes once what its tests share; where they share nothing and take long, they go
    one by one."""
    from xdist.scheduler import LoadScopeScheduling

    class Apart(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            path = config.rootpath / file
            if _plays(path):
                return "nights"
            return nodeid if _apart(path) else file

    config.option.loadscopereorder = False  # as they were collected: those that take long come first
    return Apart(config, log)


def pytest_configure() -> None:
    Batch.warm = True


def pytest_unconfigure() -> None:
    warm.close()


@pytest.fixture
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the disk where a test is about processes that die, not about power cuts."""
    monkeypatch.setattr(disk, "_fsync", lambda fd: None)
    monkeypatch.setattr(disk, "_fdatasync", lambda fd: None)
