"""Power cuts, played: for each state of the disk the next run, and what must hold after it."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from power_check import Promised, check, promised
from power_ops import Step
from power_record import Recorded
from power_resume import Resumed, lay, resume
from power_states import State, durable, states


@dataclass
class Variant:
    """How the engine is broken: in what it does to the disk before the cut (`steps` of the recorded ones), or in
    what the next run does (`patched`). As it is, nothing is. It is sought where it matters: `near` and
    `focus` as in `states`."""

    name: str = "as it is"
    steps: Callable[[list[Step]], list[Step]] = list
    patched: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext
    near: str = ""
    focus: str = ""
    model: str = "posix"  # where it shows


NextRun = Callable[[Path, Path | None, Mapping[str, str | None]], Resumed]


@dataclass
class Cuts:
    """The cuts of one recorded run under one model."""

    recorded: Recorded
    model: str
    next_run: NextRun = resume
    _promised: dict[int, Promised] = field(default_factory=dict)

    def play(self, seed: int, count: int, variant: Variant | None = None) -> Iterator[tuple[State, str]]:
        """Up to `count` states, each with what is wrong after the next run, nothing when nothing is."""
        item = variant or Variant()
        recording = self.recorded.recording
        steps = item.steps(recording.steps)
        with item.patched():
            drawn = states(
                recording,
                self.model,
                seed,
                count,
                since=self.recorded.since,
                steps=steps,
                near=item.near,
                focus=item.focus,
            )
            for state in drawn:
                yield state, self._wrong(state)

    def before(self, state: State) -> Promised:
        """What the engine, as it is, had promised by then; and what this disk itself promises."""
        if state.cut not in self._promised:
            files = durable(self.recorded.recording, self.model, state.cut)
            self._promised[state.cut] = promised(files)
        return self._promised[state.cut] | promised(state.files)

    def _wrong(self, state: State) -> str:
        recorded = self.recorded
        try:
            before = self.before(state)
            lay(state.files, recorded.root)
            # Once all jobs are in the queue for good nobody has to name them again.
            after = self.next_run(
                recorded.root, None if before.ids == set(recorded.ids) else recorded.listed, recorded.kinds
            )
            check(recorded.root, recorded.ids, before, after)
        except Exception as exc:
            where = traceback.extract_tb(exc.__traceback__)[-1]
            return f"{type(exc).__name__}: {exc} ({where.name}: {where.line})"
        return ""
