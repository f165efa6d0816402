"""What an outcome does to an egress, and who is to blame: pure functions.

A *spell* is one stretch of trouble of an egress: from the first outcome that is not ok to the next success of
a request that was sent after it. A spell is *real* when it proves to be the egress's own and not a job's: the
egress lost its network, a second job was refused as well, or a probe was. Only then the attempts that fell
into it are given back.

Whether a proxy is dead or the site behind it, one egress alone cannot tell: both look like a lost network.
Others can. `others_ok_at` is when one of them had its last success (0: none had any), or None for an egress
that is alone. By it an egress whose connections or probes go on failing is *retired for a while* (`AWAY`), and
jobs without an answer in time count like lost connections; an egress that is alone has neither.
"""

from __future__ import annotations

from engine.budget.rate_controller import measured, resumed
from engine.budget.settings import BudgetSettings, Outcome
from engine.budget.state import AWAY, NETWORK_JOBS, NO_JOBS, WAIT_ASKED, EgressState, State, Why

PROBE_GAP_S = 3.0  # the first cool-down, and the least time between probes
COOL_DOWN_GROWTH = 1.5
MAX_COOL_DOWN_S = 600.0
MAX_NETWORK_COOL_DOWN_S = 10.0
JITTER = 0.1
PROBES = 3  # so many of no avail retire an egress for a while, when others work
AWAY_S = 600.0
MAX_AWAY_S = 3600.0
RECALL_S = 10.0  # an egress that is away is tried so soon once no other works
UNLUCKY = 20  # a rotating gateway lost so many requests in a row: then it is not its exits
SPELLS = 64
_U32 = 0xFFFFFFFF
TIMED_OUT = 1 << 31  # in the mark of a job


def on_outcome(
    state: EgressState,
    outcome: Outcome,
    *,
    epoch: int,
    granted_s: float,
    job: int,
    now: float,
    wall: float,
    settings: BudgetSettings,
    retry_after_s: float | None = None,
    others_ok_at: float | None = None,
) -> tuple[EgressState, int]:
    """The state after an outcome of a request with a permit of `epoch`, due at `granted_s`, for the job with
    this hash; and the spell that the outcome belongs to."""
    if outcome is Outcome.OK:
        return _on_ok(state, epoch, granted_s, now, settings), state.spell
    if outcome is Outcome.BLOCKED:
        state = state._replace(blocked=state.blocked + 1)
    if outcome is Outcome.DEAD:
        state = _retire(state)
    if state.state == State.RETIRED:
        return state, state.spell
    if epoch != state.epoch:
        return _on_late_loss(state, outcome, epoch, job)
    if state.trouble_since == 0:
        state = state._replace(trouble_since=now)
    if state.state == State.CLOSED:
        state = _on_loss(state, outcome, job, now, wall, settings, retry_after_s, others_ok_at)
    else:
        state = _on_probe_lost(state, outcome, now, wall, settings, retry_after_s, others_ok_at)
    return state, state.spell


def fault(state: EgressState, spell: int) -> bool | None:
    """Whether the trouble of this spell was the egress's; None while nobody can know."""
    age = (state.spell - spell) & _U32
    if age == 0 and not state.real & 1:
        return True if state.state == State.RETIRED else None
    return age < SPELLS and bool(state.real >> age & 1)


def cool_down_s(fails: int, why: Why, seed: int, settings: BudgetSettings) -> float:
    """How long an egress stays open after `fails` losses in a row, give or take 10 %."""
    cap = MAX_NETWORK_COOL_DOWN_S if why == Why.NETWORK else MAX_COOL_DOWN_S
    wait_s = min(PROBE_GAP_S * COOL_DOWN_GROWTH ** min(fails - 1, 40), cap)
    spread = (seed * 2654435761 & _U32) / _U32  # so that egresses blocked together are not probed together
    return max(wait_s * (1 + JITTER * (2 * spread - 1)), PROBE_GAP_S) / settings.pace


def _on_ok(
    state: EgressState, epoch: int, granted_s: float, now: float, settings: BudgetSettings
) -> EgressState:
    before, state = state, state._replace(ok=state.ok + 1, ok_at=now, unlucky=0)
    if state.state == State.CLOSED:
        if (
            state.trouble_since != 0
            and granted_s >= state.trouble_since
            and not _before_opening(state, epoch)
        ):
            return _next_spell(state)
        return state
    if state.state == State.RETIRED or _before_opening(state, epoch):
        return state
    closed = resumed(
        state._replace(ok_at=before.ok_at), now, settings
    )  # it asks for the success before this one
    return _next_spell(closed._replace(ok_at=now))


def _on_late_loss(state: EgressState, outcome: Outcome, epoch: int, job: int) -> tuple[EgressState, int]:
    """A loss from before the egress opened: it changes no rate, but it may show that the block was real."""
    if not _before_opening(state, epoch):
        return state, state.spell
    if state.spell != state.opened_spell:  # resumed meanwhile
        return state, state.opened_spell
    if outcome is Outcome.BLOCKED and state.why == Why.BLOCK and job != state.refused_job:
        state = state._replace(real=state.real | 1)
    return state, state.spell


def _on_loss(
    state: EgressState,
    outcome: Outcome,
    job: int,
    now: float,
    wall: float,
    settings: BudgetSettings,
    retry_after_s: float | None,
    others_ok_at: float | None,
) -> EgressState:
    if outcome is Outcome.BLOCKED:
        if state.refused_job == 0:
            state = state._replace(refused_job=job)
        elif state.refused_job != job:
            state = state._replace(real=state.real | 1)
        return _open(state, Why.BLOCK, 1, now, wall, settings, retry_after_s)
    if outcome is Outcome.EXIT:
        state = state._replace(unlucky=min(state.unlucky + 1, _U32))
        lost = len(_marks(jobs := _with_job(state.jobs, job))) == NETWORK_JOBS and state.unlucky >= UNLUCKY
    elif outcome is Outcome.NETWORK:
        jobs = _with_job(state.jobs, job)
        lost = sum(mark < TIMED_OUT for mark in _marks(jobs)) == NETWORK_JOBS
    elif outcome is Outcome.TIMEOUT and others_ok_at is not None:
        jobs = _with_job(state.jobs, job, timed_out=True)
        lost = False
    else:
        return state
    # Where some have timed out it may be the site that is slow: only what works elsewhere is this egress's fault.
    full = len(_marks(jobs)) == NETWORK_JOBS and outcome is not Outcome.EXIT
    lost = lost or (full and others_ok_at is not None and others_ok_at > state.trouble_since)
    state = state._replace(jobs=jobs)
    if lost:
        return _open(state._replace(real=state.real | 1), Why.NETWORK, 1, now, wall, settings, None)
    return state


def _on_probe_lost(
    state: EgressState,
    outcome: Outcome,
    now: float,
    wall: float,
    settings: BudgetSettings,
    retry_after_s: float | None,
    others_ok_at: float | None,
) -> EgressState:
    if outcome is Outcome.BLOCKED:
        fails = state.fails + 1 if state.why == Why.BLOCK else 1
        return _open(
            state._replace(real=state.real | 1), Why.BLOCK, fails, now, wall, settings, retry_after_s
        )
    if state.why == Why.NETWORK and _is_lost(outcome, others_ok_at):
        return _still_lost(state, now, wall, settings, others_ok_at)
    if state.why == Why.NETWORK:
        return resumed(state, now, settings)  # an answer, whatever it says: the network is back
    return _open(
        state,
        Why(state.why),
        1 if state.fails <= 1 else state.fails,
        now,
        wall,
        settings,
        PROBE_GAP_S,
        again=True,
    )


def silent_probe(
    state: EgressState, now: float, wall: float, settings: BudgetSettings, others_ok_at: float | None
) -> EgressState:
    """The state when the probe that is out has said nothing in time. A proxy that only hangs must not have
    one thread after the other waiting for it: to an egress with others this is a failed probe."""
    if (
        others_ok_at is None
        or state.state != State.HALF_OPEN
        or state.why != Why.NETWORK
        or now < state.open_until
    ):
        return state
    return _still_lost(state, now, wall, settings, others_ok_at)


def recalled(state: EgressState, now: float, wall: float, settings: BudgetSettings) -> EgressState:
    """The state when no other egress works any more: one that was retired for a while is tried soon."""
    wait_s = RECALL_S / settings.pace
    if state.state != State.OPEN or not state.flags & AWAY or state.open_until <= now + wait_s:
        return state
    return state._replace(opened_at=now, open_until=now + wait_s, open_until_wall=wall + wait_s)


def _is_lost(outcome: Outcome, others_ok_at: float | None) -> bool:
    """Whether a probe came to nothing; for an egress that is alone a late answer is one."""
    return outcome in (Outcome.NETWORK, Outcome.EXIT) or (
        outcome is Outcome.TIMEOUT and others_ok_at is not None
    )


def _still_lost(
    state: EgressState, now: float, wall: float, settings: BudgetSettings, others_ok_at: float | None
) -> EgressState:
    """Open again after a probe of no avail; for long, when others had a success while this one was open."""
    fails = state.fails + 1
    others_work = others_ok_at is not None and others_ok_at > state.opened_at
    if not others_work or (fails <= PROBES and not state.away):
        opened = _open(state, Why.NETWORK, fails, now, wall, settings, None)
        return opened._replace(flags=opened.flags | AWAY) if state.away else opened
    wait_s = min(AWAY_S * 2.0 ** min(state.away, 10), MAX_AWAY_S) / settings.pace
    state = state._replace(away=min(state.away + 1, _U32))
    state = _open(state, Why.NETWORK, fails, now, wall, settings, None)
    return state._replace(flags=state.flags | AWAY, open_until=now + wait_s, open_until_wall=wall + wait_s)


def _open(
    state: EgressState,
    why: Why,
    fails: int,
    now: float,
    wall: float,
    settings: BudgetSettings,
    retry_after_s: float | None,
    *,
    again: bool = False,
) -> EgressState:
    """Close the way for a cool-down. `again`: the probe said nothing, so the next is not put off further."""
    epoch = (state.epoch + 1) & _U32
    wait_s = PROBE_GAP_S / settings.pace if again else cool_down_s(fails, why, state.key + epoch, settings)
    if state.interval <= 0:
        state = state._replace(measured=measured(state, now))
    flags = state.flags & ~AWAY
    if not again and retry_after_s is not None and retry_after_s > wait_s:
        wait_s = min(retry_after_s, settings.max_open_s)
        flags |= WAIT_ASKED
    return state._replace(
        state=State.OPEN,
        why=why,
        flags=flags,
        fails=min(fails, 0xFFFF),
        epoch=epoch,
        opened_epoch=epoch,
        opened_spell=state.spell,
        holder=0,
        open_until=now + wait_s,
        open_until_wall=wall + wait_s,
        opened_at=now,
    )


def _retire(state: EgressState) -> EgressState:
    return state._replace(
        state=State.RETIRED, why=Why.DEAD, holder=0, epoch=(state.epoch + 1) & _U32, real=state.real | 1
    )


def _next_spell(state: EgressState) -> EgressState:
    return state._replace(
        spell=(state.spell + 1) & _U32,
        real=state.real << 1 & 0xFFFFFFFFFFFFFFFF,
        trouble_since=0.0,
        jobs=NO_JOBS,
        refused_job=0,
    )


def _before_opening(state: EgressState, epoch: int) -> bool:
    """Whether a permit of this epoch was granted before the egress last opened (epochs wrap at 2**32)."""
    return state.opened_epoch != 0 and (epoch - state.opened_epoch) & _U32 >= 1 << 31


def _marks(jobs: bytes) -> list[int]:
    """The marks in a list of jobs, without the free places."""
    marks = (int.from_bytes(jobs[at : at + 4], "little") for at in range(0, 4 * NETWORK_JOBS, 4))
    return [mark for mark in marks if mark]


def _with_job(jobs: bytes, job: int, *, timed_out: bool = False) -> bytes:
    """The list with one more job. A lost connection says more than a timeout and takes its place; else a job
    is in it once, and a full list stays."""
    lost = job % TIMED_OUT or 1
    late = lost | TIMED_OUT
    marks = _marks(jobs)
    if lost in marks or (timed_out and late in marks):
        return jobs
    if late in marks:
        marks[marks.index(late)] = lost
    elif len(marks) < NETWORK_JOBS:
        marks.append(late if timed_out else lost)
    elif not timed_out and max(marks) > TIMED_OUT:
        marks[marks.index(max(marks))] = lost
    return b"".join(mark.to_bytes(4, "little") for mark in marks).ljust(len(NO_JOBS), b"\0")
