"""The tasks of a driver at a Dask scheduler. The only module that knows Dask's client.

Each task is tied to one worker: it runs there or nowhere. When that worker leaves, the scheduler keeps the task for a
worker with the same address; the driver lets go of it.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
from collections.abc import Callable, Iterator
from typing import Any

from engine.errors import UsageError
from engine.fleet import task
from engine.fleet.join import RESOURCE
from engine.fleet.places import Machine, machines

_CONNECT_S = 20.0
_RESULT_S = 30.0
LOST = -1  # in place of an exit code


class DaskTasks:
    """Shares as tasks. `prefix` begins their names, and a token of this driver follows: a task of another driver with
    the same name would be tied to another worker."""

    def __init__(self, client: Any, ledger: str, prefix: str, work: Callable[..., tuple[int, str]]) -> None:
        self._client, self._ledger, self._work = client, ledger, work
        self._names = (f"{prefix}-{secrets.token_hex(4)}-{number}" for number in itertools.count())
        self._demand: list[Any] = []

    @property
    def connected(self) -> bool:
        return bool(self._client.status == "running")

    def machines(self) -> dict[str, Machine] | None:
        """The machines that have joined, by the addresses of their workers; None where no answer comes."""
        with contextlib.suppress(Exception):
            return machines(self._client.scheduler_info(n_workers=-1)["workers"])
        return None

    def submit(self, share: str, worker: str, *, beside: bool) -> Any:
        """The future of a share, which that worker runs when it has a place free."""
        return self._client.submit(
            self._work, self._ledger, share, beside, key=next(self._names), resources={RESOURCE: 1},
            workers=[worker], allow_other_workers=False, retries=0, pure=False,
        )  # fmt: skip

    def show_demand(self, shares: int) -> None:
        """Have the scheduler know of so many shares without a place, which is what an autoscaler goes by: tasks that
        want what no worker has."""
        self._demand = [future for future in self._demand if not future.done()]
        while len(self._demand) > shares:
            self._demand.pop().release()
        while len(self._demand) < shares:
            wanted = {f"{RESOURCE}-ahead": 1}
            self._demand.append(
                self._client.submit(
                    task.nothing, self._ledger, "", key=next(self._names), resources=wanted, pure=False
                )
            )


def ended(future: Any) -> tuple[int, str]:
    """(exit code, what was said) of a task that has come back; LOST where there is no exit code."""
    if future.status == "finished":
        with contextlib.suppress(Exception):
            code, said = future.result(timeout=_RESULT_S)
            return int(code), str(said)
        return LOST, "its result was lost"
    exc = None
    with contextlib.suppress(Exception):
        exc = future.exception(timeout=1)
    return LOST, f"its task failed ({type(exc).__name__}: {str(exc)[:200]})" if exc else "its task was lost"


@contextlib.contextmanager
def connect(scheduler: str) -> Iterator[Any]:
    """A client of a scheduler. Raises UsageError when it cannot be reached, or Dask is not installed."""
    try:
        from distributed import Client
    except ImportError:
        raise UsageError(
            "engine fleet run needs Dask: pip install '.[fleet]' in engine's directory"
        ) from None
    try:
        client = Client(scheduler, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as exc:
        raise UsageError(
            f"--scheduler {scheduler}: {str(exc)[:200]}. Start it with `dask scheduler`, and name the "
            "address that it prints"
        ) from None
    try:
        yield client
    finally:
        with contextlib.suppress(Exception):
            client.close(timeout=5)
