"""The door to the network: every request of the engine leaves through here.

Sessions are pooled per egress, last used first, and serve one thread at a time; no more connections stay open
than threads and egresses together. What holds for each request is in `line`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engine.model import EgressSpec, Permit
from engine.network.session import Attempt, Session
from engine.network.sockets import pool_manager, tls_context
from engine.network.turns import turns

__all__ = ["Attempt", "Door", "Session"]

MAX_BYTES = 32 << 20
IDLE_S = 90.0  # a connection idle for longer may be dead without a word (NAT), and would cost a timeout


@dataclass(slots=True)
class _Idle:
    session: Session
    egress: int
    since_s: float


class Door:
    """All egresses of a run, for all threads of a process.

    `take(egress_index)` gives a permit, blocking until it is due; it may raise `errors.Interrupted`.
    `stale(permit)` says whether a prepaid permit has to be thrown away (default: by its `expires_s`), and
    `unused(permit)` is told of one that is: no request was sent with it.
    `ca_bundle` None means certifi's. `connect_s` bounds each step of connecting, `read_s` each wait for an
    answer, `max_bytes` one decoded body. `log(egress_index, sent_at_s)` is called for each request (monotonic
    clock). `turn()` waits until a thread may read on in a large answer (see `engine.network.turns`); False when it
    is to give way. `handshakes` counts TLS connections made. Raises UsageError for a proxy or CA bundle that cannot
    be used.
    """

    def __init__(
        self,
        specs: Sequence[EgressSpec],
        *,
        take: Callable[[int], Permit],
        stale: Callable[[Permit], bool] | None = None,
        unused: Callable[[Permit], None] = lambda permit: None,
        ca_bundle: str | None = None,
        connect_s: float = 10.0,
        read_s: float = 20.0,
        max_bytes: int = MAX_BYTES,
        log: Callable[[int, float], None] | None = None,
        turn: Callable[[], bool] = turns.take,
    ) -> None:
        self.specs = tuple(specs)
        self.take = take
        self.stale = stale or (lambda permit: time.monotonic() > permit.expires_s)
        self.unused = unused
        self.connect_s, self.read_s, self.max_bytes = connect_s, read_s, max_bytes
        self.log = log
        self.turn = turn
        self.handshakes = 0
        self._context = tls_context(ca_bundle)
        self._lock = threading.Lock()
        self._idle: list[_Idle] = []  # oldest first
        self._busy: set[Attempt] = set()
        self._peak = 0  # as many attempts were under way at once: so many threads there are at least
        self._closed = False
        for spec in self.specs:
            pool_manager(spec.proxy_url, self._context)  # a proxy that cannot be used is said now

    def attempt(self, permit: Permit, deadline_s: float) -> Attempt:
        """A context manager: one attempt at one job by the permit's egress; its first request is prepaid."""
        return Attempt(self, permit, deadline_s)

    def close(self) -> None:
        """Close what is idle. Attempts under way close theirs when they end."""
        self._closed = True
        self._trim()

    def checkout(self, attempt: Attempt) -> Session:
        """A session of the attempt's egress: the last used one, or a new one."""
        found: _Idle | None = None
        with self._lock:
            self._busy.add(attempt)
            self._peak = max(self._peak, len(self._busy))
            for at in range(len(self._idle) - 1, -1, -1):
                if self._idle[at].egress == attempt.index:
                    found = self._idle.pop(at)
                    break
        if found is None:
            self._trim()
            spec = self.specs[attempt.index]
            return Session(spec, pool_manager(spec.proxy_url, self._context))
        if time.monotonic() - found.since_s > IDLE_S:
            found.session.close()  # its connection; it makes a new one when it is used
        return found.session

    def checkin(self, attempt: Attempt, session: Session, *, keep: bool) -> None:
        """Take a session back."""
        with self._lock:
            self._busy.discard(attempt)
            if keep:
                self._idle.append(_Idle(session, attempt.index, time.monotonic()))
        if not keep:
            session.close()
        self._trim()

    def count_handshake(self) -> None:
        with self._lock:
            self.handshakes += 1

    def _trim(self) -> None:
        """Close the sessions idle for longest until no more are open than threads and egresses together."""
        with self._lock:
            allowed = 0 if self._closed else self._peak + len(self.specs)
            drop = self._idle[: max(0, len(self._busy) + len(self._idle) - allowed)]
            del self._idle[: len(drop)]
        for item in drop:
            item.session.close()
