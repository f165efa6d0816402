"""What an outcome does to an egress, and who is to blame: pure functions.

A *spell* is one stretch of trouble of an egress: from the first outcome that is not ok to the next success of
a request that was sent after it. A spell is *real* when it proves to be the egress's own and not a job's: the
egress lost its network, a second job was refused as well, or a probe was. Only then the attempts that fell
into it are given back.
"""

from __future__ import annotations

from engine.budget.climb import measured, resumed
from engine.budget.settings import BudgetSettings, Outcome
from engine.budget.state import NETWORK_JOBS, NO_JOBS, WAIT_ASKED, EgressState, State, Why

PROBE_GAP_S = 3.0  # the first cool-down, and the least time between probes
COOL_DOWN_GROWTH = 1.5
MAX_COOL_DOWN_S = 600.0
MAX_NETWORK_COOL_DOWN_S = 10.0
JITTER = 0.1
SPELLS = 64
_U32 = 0xFFFFFFFF


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
        state = _on_loss(state, outcome, job, now, wall, settings, retry_after_s)
    else:
        state = _on_probe_lost(state, outcome, now, wall, settings, retry_after_s)
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
    state = state._replace(ok=state.ok + 1)
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
    return _next_spell(resumed(state, now, settings))


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
) -> EgressState:
    if outcome is Outcome.BLOCKED:
        if state.refused_job == 0:
            state = state._replace(refused_job=job)
        elif state.refused_job != job:
            state = state._replace(real=state.real | 1)
        return _open(state, Why.BLOCK, 1, now, wall, settings, retry_after_s)
    if outcome is Outcome.NETWORK:
        state = state._replace(jobs=_with_job(state.jobs, job))
        if state.jobs[-4:] != NO_JOBS[-4:]:
            return _open(state._replace(real=state.real | 1), Why.NETWORK, 1, now, wall, settings, None)
    return state


def _on_probe_lost(
    state: EgressState,
    outcome: Outcome,
    now: float,
    wall: float,
    settings: BudgetSettings,
    retry_after_s: float | None,
) -> EgressState:
    if outcome is Outcome.BLOCKED:
        fails = state.fails + 1 if state.why == Why.BLOCK else 1
        return _open(
            state._replace(real=state.real | 1), Why.BLOCK, fails, now, wall, settings, retry_after_s
        )
    if outcome is Outcome.NETWORK and state.why == Why.NETWORK:
        return _open(state, Why.NETWORK, state.fails + 1, now, wall, settings, None)
    if outcome is Outcome.OTHER and state.why == Why.NETWORK:
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
    flags = state.flags
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


def _with_job(jobs: bytes, job: int) -> bytes:
    """The list with one more job, if it is new and there is room; filled from the front."""
    new = job.to_bytes(4, "little")
    known = [jobs[at : at + 4] for at in range(0, 4 * NETWORK_JOBS, 4)]
    if new in known or NO_JOBS[:4] not in known:
        return jobs
    known[known.index(NO_JOBS[:4])] = new
    return b"".join(known)
