"""Slices worked on by several processes at once, their results in order. Works in any thread of any program."""

from __future__ import annotations

import contextlib
import pickle
import queue
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import IO, Any, Self, cast

from engine.errors import ShortageError
from engine.export.slice_work import SliceSpec, SliceWork
from engine.process import environment

AHEAD = 2  # slices that are worked on or wait, beside one for each process


class SlicePool:
    """So many processes, started when the first slice comes. With one process all is done in this one."""

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._children: list[_Child] = []

    def map(self, spec: SliceSpec, method: str, arguments: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """The results of a method of `SliceWork` for each of these arguments, in their order.

        Raises what the work raises, and ShortageError when a process dies.
        """
        if self._processes == 1:
            work = SliceWork(spec)
            yield from (getattr(work, method)(*each) for each in arguments)
            return
        while len(self._children) < self._processes:
            self._children.append(_Child())
        for child in self._children:
            child.ask("begin", (spec,))
        yield from self._mapped(method, arguments)

    def _mapped(self, method: str, arguments: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        idle: queue.SimpleQueue[_Child] = queue.SimpleQueue()
        for child in self._children:
            idle.put(child)

        def work(each: tuple[Any, ...]) -> Any:
            child = idle.get()
            try:
                return child.ask(method, each)
            finally:
                idle.put(child)

        waiting: deque[Future[Any]] = deque()
        with ThreadPoolExecutor(self._processes, "slice") as threads:
            try:
                for each in arguments:
                    waiting.append(threads.submit(work, each))
                    if len(waiting) >= self._processes + AHEAD:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            except BaseException:
                for future in waiting:
                    future.cancel()
                self.close()
                raise

    def close(self) -> None:
        """End the processes, at once."""
        for child in self._children:
            child.end()
        self._children = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Child:
    """One such process."""

    def __init__(self) -> None:
        command = [sys.executable, "-P", "-m", "engine.export.slice_process"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment.environment()
        )
        self._questions = cast(IO[bytes], self._process.stdin)
        self._answers = cast(IO[bytes], self._process.stdout)

    def ask(self, method: str, arguments: tuple[Any, ...]) -> Any:
        try:
            pickle.dump((method, arguments), self._questions, protocol=pickle.HIGHEST_PROTOCOL)
            self._questions.flush()
            ok, answer = pickle.load(self._answers)  # noqa: S301 - from our own process
        except (EOFError, OSError, pickle.UnpicklingError, ValueError):
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
            raise ShortageError(
                f"a process of the export (pid {self._process.pid}) ended with {self._process.returncode}: is there "
                "memory enough? Fewer processes (-p) need less",
                pid=self._process.pid,
            ) from None
        if not ok:
            raise answer
        return answer

    def end(self) -> None:
        self._process.kill()
        for stream in (self._questions, self._answers):
            with contextlib.suppress(OSError):
                stream.close()
        self._process.wait()
