"""The times of the protocol. `ENGINE_FLEET_PACE=60` makes all of them 60 times shorter, for rehearsals."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from typing import Self

from engine.errors import UsageError

VARIABLE = "ENGINE_FLEET_PACE"


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. What must be longer than something else is; `docs/fleet.md` says why."""

    beat_s: float = 60.0  # between two beats of a share at work
    stale_s: float = 240.0  # a beat that has not changed for so long is of a dead machine
    bring_s: float = 300.0  # rows wait no longer than this before they become a part
    renew_s: float = 20.0  # between two renewals of a proxy group's lease
    lease_s: float = 60.0  # a lease is used no longer than this after its last renewal began
    take_s: float = 180.0  # a lease that has not been renewed for so long may be taken by another machine
    insist_s: float = 600.0  # how long a step is repeated that a share cannot do without
    glance_s: float = 1.0  # between two looks at a run at work

    @classmethod
    def at_pace(cls, pace: float) -> Self:
        return cls(**{field.name: getattr(cls(), field.name) / pace for field in fields(cls)})

    @classmethod
    def chosen(cls) -> Self:
        """The times, at the pace that the environment asks for. Raises UsageError."""
        text = os.environ.get(VARIABLE) or "1"
        try:
            pace = float(text)
            if not 0 < pace < float("inf"):
                raise ValueError
        except ValueError:
            raise UsageError(f"{VARIABLE} is {text!r}; it must be a number above 0, 1 is real time") from None
        return cls.at_pace(pace)
