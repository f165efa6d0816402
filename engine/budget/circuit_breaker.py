"""What an outcome does to an egress: pure functions.

A first refusal opens an egress for a moment only. Its probe, by a control video, tells whose it was: served, the
video's, and the rate stays; refused, the egress is blocked, until the last block's length is over, or for what the
server asks or its wording means, whichever is longer. Where most refusals were the videos' own of late, the egress
stays closed: the next request tells. A second refusal (without pacing: a third) before one has passed opens it for a
moment.

An *incident* is one stretch of trouble of an egress: from the first outcome that is not ok to the next success of
a request that was sent after it. It is *confirmed* when it proves to be the egress's own and not a job's: the
egress lost its network, a second job was refused as well, or a probe was. A refusal alone lowers the rate less,
and only outside a confirmed incident it counts for the video (`engine.worker.retry_policy`).

Five attempts in a row that are lost on the way (no connection, no answer in time) open an egress, whichever jobs they
were: its probe, by a control video, tells a lost network from a video that is never answered.

Whether a proxy is dead or the site behind it, one egress alone cannot tell: both look like a lost network.
Others can. `others_ok_at` is when one of them had its last success (0: none had any), or None for an egress
that is alone. By it an egress whose probes go on failing is *retired for a while* (`AWAY`).
"""

from __future__ import annotations

from engine.budget.pacing import probe_interval
from engine.budget.rate_controller import may_pass_by, measured, passed_by, probes_passed_by, resumed
from engine.budget.settings import NO_CAPTIONS_S, BudgetSettings, Outcome
from engine.budget.state import AWAY, CONFIRMED, WAIT_ASKED, EgressState, State, Why

ASK_S = 0.25  # after a first refusal, whose it is not known: a control video is asked for, and tells
PROBE_GAP_S = 3.0  # the first cool-down of a block, and the least time between probes
COOL_DOWN_GROWTH = 1.5
MAX_COOL_DOWN_S = 600.0
MAX_NETWORK_COOL_DOWN_S = 10.0
JITTER = 0.1
PROBES = 3  # after so many failed probes an egress is set aside for a while, if others work
AWAY_S = 600.0
LIKE_THE_LAST = 1.02  # a block is first tested when it has lasted this many times as long as the last one
OVERDUE, MAX_OVERDUE_S = (
    0.15,
    1800.0,
)  # when it takes longer, it is tested again after so large a share of that
SLACK_S = 1.0
SPREAD = 0.02  # later by up to so much, so that egresses blocked together are not probed together
MAX_AWAY_S = 3600.0
RECALL_S = 10.0  # an egress that is set aside is tested this soon once no other works
SILENT_S = 1.0  # an attempt that is lost after so long kept its thread waiting for nothing
LOSSES = 5  # so many attempts lost in a row open an egress
GATEWAY_LOSSES = 20  # a rotating gateway lost so many attempts in a row: then it is not its exits
_U32 = 0xFFFFFFFF
_MOST_LOSSES = {
    Outcome.NETWORK: LOSSES,
    Outcome.TIMEOUT: LOSSES,
    Outcome.EXIT: GATEWAY_LOSSES,
    Outcome.EXIT_NO_CAPTIONS: GATEWAY_LOSSES,
}


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
    shown_at: float = 0.0,
) -> EgressState:
    """The state after an outcome of a request with a permit of `epoch`, due at `granted_s`, for the job with
    this hash. `shown_at`: when the attempt began, if it was shown captions."""
    state = state._replace(shown_at=max(state.shown_at, min(shown_at, now)))
    if outcome not in _MOST_LOSSES or now - state.awaited_since(now) < SILENT_S:
        state = state._replace(asked_at=0.0)
    if outcome is Outcome.OK:
        return _on_ok(state, epoch, granted_s, now, settings)
    if outcome is Outcome.VIDEO_BLOCKED:
        # The video's own, and so was its first one, which the controller may have noted as one of many in a row.
        return state._replace(blocked=state.blocked + 1, learnt=state.learnt._replace(passing=0))
    if outcome in (Outcome.BLOCKED, Outcome.NO_CAPTIONS):
        refusals = state.learnt.refusals + 1 if state.trouble_since else 1
        learnt = state.learnt._replace(refusals=refusals)
        state = state._replace(blocked=state.blocked + 1, learnt=learnt)
    if outcome is Outcome.DEAD:
        state = _retire(state)
    if state.state == State.RETIRED:
        return state
    if epoch != state.epoch:
        return _on_late_loss(state, outcome, epoch, job)
    if state.trouble_since == 0:
        state = state._replace(trouble_since=now)
    if state.state == State.CLOSED:
        state = _on_loss(state, outcome, job, now, wall, settings, retry_after_s)
    else:
        state = _on_probe_lost(state, outcome, now, wall, settings, retry_after_s, others_ok_at)
    return state


def cool_down_s(fails: int, why: Why, seed: int, settings: BudgetSettings) -> float:
    """How long an egress stays open after `fails` losses in a row, give or take 10 %."""
    cap = MAX_NETWORK_COOL_DOWN_S if why == Why.NETWORK else MAX_COOL_DOWN_S
    wait_s = min(PROBE_GAP_S * COOL_DOWN_GROWTH ** min(fails - 1, 40), cap)
    spread = (seed * 2654435761 & _U32) / _U32  # so that egresses blocked together are not probed together
    return max(wait_s * (1 + JITTER * (2 * spread - 1)), PROBE_GAP_S) / settings.pace


def _on_ok(
    state: EgressState, epoch: int, granted_s: float, now: float, settings: BudgetSettings
) -> EgressState:
    before, state = state, state._replace(ok=state.ok + 1, ok_at=now, losses=0)
    if state.state == State.CLOSED:
        if (
            state.trouble_since != 0
            and granted_s >= state.trouble_since
            and not _before_opening(state, epoch)
        ):
            if state.refused_job != 0:
                state = passed_by(state, now, settings)
            return _without_incident(state)
        return state
    if state.state == State.RETIRED or _before_opening(state, epoch):
        return state
    closed = resumed(
        state._replace(ok_at=before.ok_at), now, settings
    )  # it asks for the success before this one
    return _without_incident(closed._replace(ok_at=now))


def _on_late_loss(state: EgressState, outcome: Outcome, epoch: int, job: int) -> EgressState:
    """A loss from before the egress opened: it changes no rate, but it may confirm the incident."""
    lasts = state.state != State.CLOSED and state.why == Why.BLOCK and _before_opening(state, epoch)
    if lasts and outcome is Outcome.BLOCKED and job != state.refused_job:
        return _confirmed(state)
    return state


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
        noisy = may_pass_by(state)
        if state.refused_job == 0:
            state = state._replace(refused_job=job)
        elif state.refused_job != job and not noisy:
            state = _confirmed(state)
        tolerated = (
            1 if state.interval > 0 else probes_passed_by(state) - 1
        )  # without pacing many are on their way
        if noisy and retry_after_s is None and state.learnt.refusals <= tolerated:
            return state
        return _open(state, Why.BLOCK, 1, now, wall, settings, retry_after_s)
    if outcome is Outcome.NO_CAPTIONS:
        return _open_without_captions(state, 2, now, wall, settings)
    if outcome not in _MOST_LOSSES:
        return state
    state = state._replace(losses=min(state.losses + 1, _U32))
    if state.losses < _MOST_LOSSES[outcome]:
        return state
    if outcome is Outcome.EXIT_NO_CAPTIONS:
        return _open_without_captions(state, 2, now, wall, settings)
    return _open(_confirmed(state), Why.NETWORK, 1, now, wall, settings, None)


def _on_probe_lost(
    state: EgressState,
    outcome: Outcome,
    now: float,
    wall: float,
    settings: BudgetSettings,
    retry_after_s: float | None,
    others_ok_at: float | None,
) -> EgressState:
    if outcome in (Outcome.BLOCKED, Outcome.NO_CAPTIONS):
        fails = state.fails + 1 if state.why == Why.BLOCK else 1
        if outcome is Outcome.NO_CAPTIONS:
            return _open_without_captions(state, fails, now, wall, settings)
        if fails <= probes_passed_by(state) and retry_after_s is None:
            return _open(state, Why.BLOCK, 1, now, wall, settings, None)._replace(fails=fails)
        again = (
            probes_passed_by(state) > 1 and fails % 2 == 1 and retry_after_s is None
        )  # it may have been chance
        return _open(_confirmed(state), Why.BLOCK, fails, now, wall, settings, retry_after_s, again=again)
    if state.why == Why.NETWORK and outcome in (Outcome.NETWORK, Outcome.TIMEOUT, Outcome.EXIT):
        return _still_lost(state, now, wall, settings, others_ok_at)
    if state.why == Why.NETWORK:  # an answer, whatever it says: the network is back
        return _without_incident(resumed(state, now, settings)._replace(ok_at=now, losses=0))
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


def _still_lost(
    state: EgressState, now: float, wall: float, settings: BudgetSettings, others_ok_at: float | None
) -> EgressState:
    """Open again after a failed probe, for long if others had a success while this one was open."""
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
    """Open the breaker for a cool-down. `again`: the probe said nothing, so the next is not put off further."""
    epoch = (state.epoch + 1) & _U32
    wait_s = PROBE_GAP_S / settings.pace if again else cool_down_s(fails, why, state.key + epoch, settings)
    if why == Why.BLOCK and not again and state.flags & CONFIRMED:
        wait_s = max(wait_s, left_of_block_s(state, now, settings) or _overdue_s(state, now, settings))
    elif why == Why.BLOCK and not again and fails <= 1 and not (retry_after_s or 0.0) > 0:
        wait_s = ASK_S / settings.pace
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
        holder=0,
        open_until=now + wait_s,
        open_until_wall=wall + wait_s,
        opened_at=now,
        tat=min(state.tat, max(now, state.tat - state.interval + probe_interval(state, settings))),
    )


def _open_without_captions(
    state: EgressState, fails: int, now: float, wall: float, settings: BudgetSettings
) -> EgressState:
    """Open because a control video came without captions: the address is not trusted, and that lasts a while."""
    opened = _open(_confirmed(state), Why.BLOCK, fails, now, wall, settings, None)
    wait_s = max(min(NO_CAPTIONS_S / settings.pace, settings.max_open_s), opened.open_until - now)
    return opened._replace(open_until=now + wait_s, open_until_wall=wall + wait_s)


def left_of_block_s(state: EgressState, now: float, settings: BudgetSettings) -> float:
    """How much longer a block lasts that takes as long as the last one did; 0 when it has already."""
    usual_s = state.learnt.block_s * LIKE_THE_LAST / settings.pace
    spread = (state.key + state.requests) * 2654435761 % (1 << 32) / (1 << 32)
    left_s = state.trouble_since + usual_s * (1 + SPREAD * spread) - now
    return left_s + SLACK_S / settings.pace if usual_s and left_s > 0 else 0.0


def _overdue_s(state: EgressState, now: float, settings: BudgetSettings) -> float:
    """How long to wait where a block takes longer than the last one did: a share of what it has taken."""
    if not state.learnt.block_s:
        return 0.0
    return min(OVERDUE * (now - state.trouble_since), MAX_OVERDUE_S / settings.pace)


def _retire(state: EgressState) -> EgressState:
    retired = _confirmed(state)._replace(state=State.RETIRED, why=Why.DEAD, holder=0)
    return retired._replace(epoch=(state.epoch + 1) & _U32)


def _confirmed(state: EgressState) -> EgressState:
    return state._replace(flags=state.flags | CONFIRMED)


def _without_incident(state: EgressState) -> EgressState:
    return state._replace(flags=state.flags & ~CONFIRMED, trouble_since=0.0, refused_job=0)


def _before_opening(state: EgressState, epoch: int) -> bool:
    """Whether a permit of this epoch was granted before the egress last opened (epochs wrap at 2**32)."""
    return state.opened_epoch != 0 and (epoch - state.opened_epoch) & _U32 >= 1 << 31
