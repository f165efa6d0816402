"""Trying proxies: one small request through each, all at once."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.model import EgressSpec, Failure, Kind, Permit

if TYPE_CHECKING:
    from engine.network.session import Attempt

URL = "https://www.youtube.com/generate_204"  # an answer without a body
AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Checked:
    """What a try came to. `failure` None: it works. `elapsed_s`: from the first packet to the answer."""

    name: str
    failure: Failure | None
    elapsed_s: float


def check(specs: Sequence[EgressSpec], *, ca_bundle: str | None, deadline_s: float) -> list[Checked]:
    """Send one request by each egress, up to 64 at once; what came of each, in the same order.

    No permits are taken: it is one request each, outside any run. Raises UsageError for a proxy or CA bundle
    that cannot be used.
    """
    from engine.network.client import Door

    def take(egress: int) -> Permit:
        return Permit(egress, 0, float("inf"))

    door = Door(
        specs,
        take=take,
        ca_bundle=ca_bundle,
        connect_s=min(10.0, deadline_s),
        read_s=deadline_s,
        max_bytes=1 << 20,
    )
    try:
        with ThreadPoolExecutor(min(AT_ONCE, len(specs)), thread_name_prefix="check") as pool:
            attempts = [door.attempt(take(egress), deadline_s) for egress in range(len(specs))]
            return list(pool.map(_one, attempts, specs))
    finally:
        door.close()


def _one(attempt: Attempt, spec: EgressSpec) -> Checked:
    from engine.youtube.classify import classify

    started = time.monotonic()
    failure: Failure | None
    try:
        with attempt:
            attempt.spoilt = True  # nothing comes after it
            failure = _judged(attempt.get(URL).status_code, attempt.answer.captcha)
    except Exception as exc:  # noqa: BLE001 - nothing foreign leaves: it becomes data
        failure = classify(exc, attempt.answer)
    return Checked(spec.name, failure, time.monotonic() - started)


def _judged(status: int, captcha: bool) -> Failure | None:
    if status == 429 or captcha:
        return Failure(Kind.BLOCKED, "it works, but YouTube refuses its address for now")
    if status < 400:
        return None
    return Failure(Kind.SERVER_ERROR, f"YouTube answers {status}")
