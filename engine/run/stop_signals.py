"""INT, TERM and HUP: the first asks a run to finish what is in flight and end, the second to end at once."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any

from engine.storage.processes import SIGNALS, SignalEvent


class StopSignals:
    """The signals that a run has received, inside `with`. `nohup` has HUP ignored, and it stays so."""

    def __init__(self) -> None:
        self.received = SignalEvent()
        self._numbers: list[int] = []
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        for number in SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @property
    def exit_code(self) -> int | None:
        """That of a run which ends for the first signal; None without one."""
        return 128 + self._numbers[0] if self._numbers else None

    @property
    def twice(self) -> bool:
        """Whether a second one has come."""
        return len(self._numbers) > 1

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._numbers.append(number)
        self.received.set()
