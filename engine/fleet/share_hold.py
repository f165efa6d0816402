"""The steps of one share, from its hold to `done/`. What is decided in them is decided in `protocol`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from engine.fleet import names
from engine.fleet.names import PartName, ShareKey
from engine.fleet.objects import UnavailableError
from engine.fleet.protocol import (
    FRUITLESS_HOLDS,
    Brought,
    FleetAsked,
    Watched,
    complete,
    disjoint,
    from_bytes,
    fruitless,
    next_number,
    to_bytes,
)
from engine.fleet.steps import Create, Names, Pause, Put, Read, Step, Steps, create_ours, insist
from engine.fleet.timing import Timing

ROWS_A_PART = 2000
DONE_BEATS = 5  # so many beats between two looks whether another machine was faster


@dataclass(frozen=True, slots=True)
class ShareEnd:
    """How work on a share ended. `done`: what its `done/` says, by whichever machine; None: it is not done."""

    done: Mapping[str, Any] | None
    why: str = ""  # done | stopped | set aside | ended (its run did, with `code`)
    code: int = 0


@dataclass(frozen=True, slots=True)
class Glance:
    """What a look at a run says: how many rows can be brought, whether all are there, and how it ended."""

    waiting: int = 0
    finished: bool = False
    ended: int | None = None  # the run's exit code
    facts: Mapping[str, Any] = field(default_factory=dict)  # what the beat says of it


class ShareWork(Protocol):
    """What a hold does on its own machine. Only this part touches the engine."""

    def begin(self, ids: frozenset[str], *, resumed: bool) -> None:
        """Start the run on all jobs but these; `resumed`: in the queue that this machine's last hold left."""

    def look(self) -> Glance:
        """How it is by now."""

    def rows(
        self, known: Callable[[str], bool], at_most: int
    ) -> tuple[bytes, frozenset[str], dict[str, Any]] | None:
        """The next part: its bytes, its ids, what to say of it; without rows whose id is known. None: no rows."""

    def follow(self, asked: FleetAsked) -> None:
        """Do what is asked of the fleet."""

    def stopping(self) -> bool:
        """Whether this process was told to leave the share."""


class ShareHold:
    """One machine's work on one share. `me` identifies this process: no other writes the same."""

    def __init__(
        self,
        key: ShareKey,
        wanted: frozenset[str],
        me: Mapping[str, Any],
        work: ShareWork,
        clock: Callable[[], float],
        timing: Timing,
        *,
        mine: Callable[[Mapping[str, Any]], bool] = lambda _: False,
        beside: bool = False,
        on_hold: Callable[[int, Mapping[str, Any]], None] = lambda number, note: None,
        on_first_beat: Callable[[], None] = lambda: None,
        read_part: Callable[[bytes], tuple[frozenset[str], dict[str, Any]]],
        rows_a_part: int = ROWS_A_PART,
    ) -> None:
        """`mine`: whether an earlier hold was of this machine, whose process is gone. `beside`: do not wait for a
        living one. `read_part`: the ids in a part, and its facts; raises ValueError."""
        self.key, self._wanted, self._me, self._work = key, wanted, me, work
        self._clock, self._timing = clock, timing
        self._mine, self._beside, self._read_part = mine, beside, read_part
        self._on_hold, self._on_first_beat = on_hold, on_first_beat
        self._rows_a_part = rows_a_part
        self.number = 0
        self.parts: list[Brought] = []
        self._known: set[str] = set()
        self._resumed = False
        self._own_parts = 0
        self._beats = 0
        self._asked = FleetAsked()
        self._next_beat_s = 0.0
        self._brought_at_s = 0.0
        self._unwritten: tuple[PartName, bytes, Brought] | None = None

    def steps(self) -> Steps[ShareEnd]:
        """All of it. Raises UnavailableError when the ledger does not answer for long."""
        done = yield from self._done()
        if done:
            return ShareEnd(done, "done")
        yield from self._hear(self._timing.insist_s)
        if self._asked.stopped:
            return ShareEnd(None, "stopped")
        why = yield from self._wait_for_turn()
        if why:
            return ShareEnd(None, why)
        done = yield from self._done()
        if done:
            return ShareEnd(done, "done")
        yield from self._take_hold()
        yield from self._take_over()
        self._work.begin(frozenset(self._known), resumed=self._resumed)
        return (yield from self._follow_run())

    def _insist(self, step: Step) -> Steps[Any]:
        """Take a step that the share cannot do without."""
        return insist(step, self._timing.insist_s)

    def _done(self) -> Steps[dict[str, Any]]:
        return from_bytes((yield from self._insist(Read(names.done(self.key)))))

    def _wait_for_turn(self) -> Steps[str]:
        """Wait until no other machine is at work on the share; returns why there is nothing to do here, if so."""
        watched = Watched(self._clock)
        while True:
            found = yield from self._insist(Names(f"holds/{self.key}/"))
            holds, gone = names.numbered(found)
            newest = max(holds, default=0)
            parts = names.part_names((yield from self._insist(Names(f"parts/{self.key}/"))))
            if fruitless(holds, gone, {part.hold for part in parts}) >= FRUITLESS_HOLDS:
                return "set aside"
            if not newest:
                return ""
            note = from_bytes((yield from self._insist(Read(holds[newest]))))
            self._resumed = self._mine(note)
            if self._resumed or newest in gone or self._beside:
                return ""
            beat = yield from self._insist(Read(names.beat(self.key)))
            seen = (newest, len(parts), beat)
            if watched.unchanged_s(seen) >= self._timing.stale_s:
                return ""
            if (yield from self._done()):
                return ""
            if self._work.stopping():
                return "stopped"
            yield Pause(self._timing.beat_s / 2)

    def _take_hold(self) -> Steps[None]:
        while True:
            found = yield from self._insist(Names(f"holds/{self.key}/"))
            self.number = next_number(names.numbered(found)[0])
            note = {**self._me, "hold": self.number}
            name = names.hold(self.key, self.number)
            if (yield from create_ours(name, to_bytes(note), self._timing.insist_s)):
                self._on_hold(self.number, note)
                return

    def _take_over(self) -> Steps[None]:
        """Read the parts that are there: their ids are not fetched again."""
        found = yield from self._insist(Names(f"parts/{self.key}/"))
        parts = []
        for name in names.part_names(found):
            data = yield from self._insist(Read(name.path(self.key)))
            try:
                ids, facts = self._read_part(data or b"")
            except ValueError:
                continue  # damaged: its ids are fetched again, and no `done/` will name it
            parts.append(Brought(name, ids, facts))
        self.parts = disjoint(parts, self._wanted)
        self._known = {video_id for part in self.parts for video_id in part.ids}

    def _follow_run(self) -> Steps[ShareEnd]:
        self._brought_at_s = self._clock() - self._timing.bring_s  # an earlier hold may have left rows behind
        while True:
            glance = self._work.look()
            over = glance.finished or glance.ended is not None
            yield from self._bring(glance, all_of_it=over)
            if over:
                return (yield from self._end(glance))
            if self._clock() >= self._next_beat_s:
                yield from self._say(glance)
            yield Pause(self._timing.glance_s)

    def _say(self, glance: Glance) -> Steps[None]:
        """Tell of the work, and hear what is asked of it. A ledger that does not answer is asked the next time."""
        self._next_beat_s = self._clock() + self._timing.beat_s
        self._beats += 1
        beat = {
            **self._me,
            "hold": self.number,
            "beat": self._beats,
            "brought": len(self._known),
            **glance.facts,
        }
        try:
            yield Put(names.beat(self.key), to_bytes(beat))
            if self._beats == 1:
                self._on_first_beat()
            yield from self._hear(0.0)
            if not self._beats % DONE_BEATS and (yield Read(names.done(self.key))) is not None:
                self._work.follow(FleetAsked(self._asked.number, stopped=True))  # another machine was faster
                return
        except UnavailableError:
            return
        self._work.follow(self._asked)

    def _hear(self, for_s: float) -> Steps[None]:
        latest = from_bytes((yield from insist(Read(names.LATEST), for_s))).get("number")
        while isinstance(latest, int) and self._asked.number < latest:
            number = self._asked.number + 1
            ask = from_bytes((yield from insist(Read(names.asked(number)), for_s)))
            self._asked = self._asked.after(number, ask)

    def _bring(self, glance: Glance, *, all_of_it: bool) -> Steps[None]:
        """Write parts of what is final by now, when there is enough of it or it has waited long enough."""
        late, waiting = self._clock() - self._brought_at_s >= self._timing.bring_s, glance.waiting
        if not (all_of_it or self._unwritten or waiting >= self._rows_a_part or (late and waiting)):
            return
        while True:
            if self._unwritten is None:
                self._unwritten = self._next_part()
            if self._unwritten is None:
                break
            name, data, brought = self._unwritten
            try:
                yield from insist(Put(name.path(self.key), data), self._timing.insist_s if all_of_it else 0.0)
            except UnavailableError:
                if all_of_it:
                    raise
                return  # the run goes on, and the same part is written later
            self._unwritten = None
            self.parts.append(brought)
            waiting -= self._rows_a_part
            if not (all_of_it or late) and waiting < self._rows_a_part:
                break  # what is left waits for company
        self._brought_at_s = self._clock()

    def _next_part(self) -> tuple[PartName, bytes, Brought] | None:
        """The next part. From here on its ids are known: the one place that keeps a row from being brought twice."""
        found = self._work.rows(self._known.__contains__, self._rows_a_part)
        if found is None:
            return None
        data, ids, facts = found
        self._own_parts += 1
        name = PartName(self.number, self._own_parts)
        self._known |= ids
        return name, data, Brought(name, ids, facts)

    def _end(self, glance: Glance) -> Steps[ShareEnd]:
        if not complete(self.parts, self._wanted):
            yield from self._leave()
            stopped = self._asked.stopped or self._work.stopping()
            done = yield from self._done()
            if done:
                return ShareEnd(done, "done")
            return ShareEnd(None, "stopped" if stopped else "ended", glance.ended or 0)
        parts = [dict(part.facts, name=_text(part)) for part in self.parts]
        data = to_bytes({**self._me, "hold": self.number, "parts": parts, "jobs": len(self._wanted)})
        if (yield from create_ours(names.done(self.key), data, self._timing.insist_s)):
            return ShareEnd(from_bytes(data), "done")
        return ShareEnd((yield from self._done()), "done")  # our parts are nobody's

    def _leave(self) -> Steps[None]:
        """Say that nobody needs to wait for this hold."""
        yield from self._insist(Create(names.left(self.key, self.number), to_bytes(self._me)))


def _text(part: Brought) -> str:
    return f"{part.name.hold:03d}.{part.name.number:04d}"
