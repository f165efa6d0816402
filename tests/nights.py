"""Fixtures for the tests with real commands, and *nights*: runs that mostly wait, played side by side.

A test with `@played(play, **options)` takes the fixture `night`: what `play(place, **options)` came to, once for
all tests that name the same. All nights of the selected tests of a module begin together, each in a thread, because an outage of ten
seconds costs no processor and ten of them need not last a hundred.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from commands import LATENCY_S, Batch
from engine.rehearsal import Rehearsal, Settings, start


class Place:
    """Where a test or a night works: a directory, and stand-ins that end with it."""

    def __init__(self, root: Path, stack: contextlib.ExitStack) -> None:
        self.root = root
        self._stack = stack

    def stand_in(self, **settings: Any) -> Rehearsal:
        """A stand-in that outlives runs."""
        return self._stack.enter_context(start(Settings(**{"latency_s": LATENCY_S, **settings})))

    def batch(self, ids: list[str], site: Rehearsal | None = None, name: str = "batch") -> Batch:
        return Batch(self.root / name, site, ids)


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with contextlib.ExitStack() as stack:
        yield Place(tmp_path, stack)


def played(play: Callable[..., Any], **options: Any) -> pytest.MarkDecorator:
    """The mark of a test that looks at a night."""
    return pytest.mark.night.with_args(play, **options)


def _key(mark: pytest.Mark) -> str:
    return f"{mark.args[0].__qualname__} {sorted(mark.kwargs.items())}"


@pytest.fixture(scope="module")
def _nights(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Any]]]:
    nights: dict[str, Future[Any]] = {}
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(max_workers=16) as pool:
        for item in request.session.items:
            mark = item.get_closest_marker("night")
            if mark is not None and item.path == request.path and _key(mark) not in nights:
                place = Place(tmp_path_factory.mktemp(mark.args[0].__name__), stack)
                nights[_key(mark)] = pool.submit(mark.args[0], place, **mark.kwargs)
        yield nights


@pytest.fixture
def night(_nights: dict[str, Future[Any]], request: pytest.FixtureRequest) -> Any:
    """What this test's night came to."""
    return _nights[_key(request.node.get_closest_marker("night"))].result()
