"""The HTTP client: every request of the engine is sent by it.

It pools sessions per egress, last used first; a session serves one thread at a time. At most threads + egresses
connections stay open. The rules for one request are in `attempt` and `session`.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.model import EgressSpec, Permit
from engine.network.attempt import Attempt
from engine.network.large_answers import large_slot
from engine.network.session import Session
from engine.network.sockets import pool_manager, tls_context
from engine.process import suspends

__all__ = ["Attempt", "Client", "Session"]

MAX_BYTES = 32 << 20
IDLE_S = 90.0  # a NAT may have dropped a connection idle for longer, which would cost a timeout


@dataclass(slots=True)
class _Idle:
    session: Session
    egress: int
    since_s: float


class Client:
    """Sends requests by all egresses of a run, for all threads of a process.

    acquire    `acquire(egress_index)` waits for a permit; it may raise errors.Interrupted
    unused     `unused(permit)` is called with a permit that was not used
    ca_bundle  None means certifi's
    connect_s  limits each step of connecting, `read_s` each wait for an answer, `max_bytes` one decoded body
    log        `log(egress_index, sent_at_s)` is called for each request (monotonic clock)
    take_large_slot  waits until this thread may hold a large answer (`engine.network.large_answers`); False when the
               attempt must end

    `handshakes` counts TLS connections made. Raises UsageError for a proxy or CA bundle that cannot be used.
    """

    def __init__(
        self,
        specs: Sequence[EgressSpec],
        *,
        acquire: Callable[[int], Permit],
        unused: Callable[[Permit], None] = lambda permit: None,
        ca_bundle: str | None = None,
        connect_s: float = 10.0,
        read_s: float = 20.0,
        max_bytes: int = MAX_BYTES,
        log: Callable[[int, float], None] | None = None,
        take_large_slot: Callable[[], bool] = large_slot.take,
    ) -> None:
        self.specs = tuple(specs)
        self.acquire = acquire
        self.unused = unused
        self.connect_s, self.read_s, self.max_bytes = connect_s, read_s, max_bytes
        self.log = log
        self.take_large_slot = take_large_slot
        self.handshakes = 0
        self._context = tls_context(ca_bundle)
        self._lock = threading.Lock()
        self._idle: OrderedDict[int, _Idle] = OrderedDict()  # by a number, oldest first
        self._idle_of: dict[int, deque[int]] = {}  # those of an egress
        self._number = itertools.count()
        self._busy: set[Attempt] = set()
        self._peak = 0  # the most attempts under way at once, so at least as many threads exist
        self._closed = False
        suspends.watch()  # they cost no attempt its deadline
        for spec in self.specs:
            pool_manager(spec.proxy_url, self._context)  # raises for a proxy that cannot be used

    def attempt(self, permit: Permit, deadline_s: float) -> Attempt:
        """One attempt at one job by the permit's egress, as a context manager. `permit` pays its first request."""
        return Attempt(self, permit, deadline_s)

    def close(self) -> None:
        """Close idle sessions. Attempts under way close theirs when they end."""
        self._closed = True
        self._trim()

    def checkout(self, attempt: Attempt) -> Session:
        """The last used session of the attempt's egress, or a new one."""
        found: _Idle | None = None
        with self._lock:
            self._busy.add(attempt)
            self._peak = max(self._peak, len(self._busy))
            if self._idle_of.get(attempt.egress):
                found = self._idle.pop(self._idle_of[attempt.egress].pop())
        if found is None:
            self._trim()
            spec = self.specs[attempt.egress]
            return Session(spec, pool_manager(spec.proxy_url, self._context))
        if time.monotonic() - found.since_s > IDLE_S:
            found.session.close()  # closes its connection; the next request opens another
        return found.session

    def checkin(self, attempt: Attempt, session: Session, *, keep: bool) -> None:
        """Return a session to the pool, or close it."""
        if not keep:
            session.close()  # first: once it is not busy any more, another may be opened in its place
        with self._lock:
            self._busy.discard(attempt)
            if keep:
                number = next(self._number)
                self._idle[number] = _Idle(session, attempt.egress, time.monotonic())
                self._idle_of.setdefault(attempt.egress, deque()).append(number)
        self._trim()

    def count_handshake(self) -> None:
        with self._lock:
            self.handshakes += 1

    def _trim(self) -> None:
        """Close the sessions idle for longest, until at most threads + egresses are open."""
        with self._lock:
            allowed = 0 if self._closed else self._peak + len(self.specs)
            count = min(len(self._busy) + len(self._idle) - allowed, len(self._idle))
            drop = [self._idle.popitem(last=False)[1] for _ in range(count)]
            for item in drop:
                self._idle_of[item.egress].popleft()
                item.session.close()  # under the lock: nobody opens another before it is closed
