"""Fixtures for the tests with real commands, and *nights*: runs that mostly wait, played side by side.

A test with `@played(play, **options)` takes the fixture `night`: what `play(place, **options)` came to, once
for all tests that name the same. The nights of all selected tests are played in the background from the first
such test on, some at a time, because an outage of ten seconds costs no processor and ten of them need not last
a hundred. A test that measures time takes the fixture `quiet` and has the machine to itself.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest
from commands import LATENCY_S, Batch
from warm import start

from engine.rehearsal import Rehearsal, RehearsalSettings

AT_A_TIME = 7  # they mostly wait
DISK = (
    os.environ.get("TESTS_DISK") or tempfile.gettempdir()
)  # whatever `scripts/test` has everything else lie in


class Place:
    """Where a test or a night works: a directory, and stand-ins that end with it."""

    def __init__(self, root: Path, stack: contextlib.ExitStack) -> None:
        self.root = root
        self._stack = stack

    def stand_in(self, **settings: Any) -> Rehearsal:
        """A stand-in that outlives runs."""
        return self._stack.enter_context(start(RehearsalSettings(**{"latency_s": LATENCY_S, **settings})))

    def batch(self, ids: list[str], site: Rehearsal | None = None, name: str = "batch") -> Batch:
        return Batch(self.root / name, site, ids)


def played(play: Callable[..., Any], **options: Any) -> pytest.MarkDecorator:
    """The mark of a test that looks at a night."""
    return pytest.mark.night.with_args(play, **options)


def _key(mark: pytest.Mark) -> str:
    return f"{mark.args[0].__qualname__} {sorted(mark.kwargs.items())}"


@pytest.fixture(scope="session")
def _nights(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Any]]]:
    nights: dict[str, Future[Any]] = {}
    pool = ThreadPoolExecutor(max_workers=AT_A_TIME)
    with contextlib.ExitStack() as stack:
        stack.callback(pool.shutdown, cancel_futures=True)
        for item in request.session.items:
            mark = item.get_closest_marker("night")
            if mark is not None and _key(mark) not in nights:
                name = mark.args[0].__name__
                if item.get_closest_marker("crash"):
                    root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{name}-", dir=DISK)))
                else:
                    root = tmp_path_factory.mktemp(name)
                place = Place(root, stack)
                nights[_key(mark)] = pool.submit(mark.args[0], place, **mark.kwargs)
        yield nights


@pytest.fixture
def place(tmp_path: Path, _nights: dict[str, Future[Any]]) -> Iterator[Place]:
    """A place for one test; the nights, if there are any, have begun."""
    with contextlib.ExitStack() as stack:
        yield Place(tmp_path, stack)


@pytest.fixture
def on_disk() -> Iterator[Path]:
    """A directory that is not in shared memory."""
    with tempfile.TemporaryDirectory(prefix="engine-test-", dir=DISK) as root:
        yield Path(root)


@pytest.fixture
def quiet(_nights: dict[str, Future[Any]]) -> None:
    """No night is being played."""
    wait(_nights.values())


@pytest.fixture
def night(_nights: dict[str, Future[Any]], request: pytest.FixtureRequest) -> Any:
    """What this test's night came to."""
    return _nights[_key(request.node.get_closest_marker("night"))].result()
