"""Checks proxies: one small request through each, in parallel."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from engine.model import EgressSpec, Failure, Kind, Permit
from engine.network.attempt import Attempt
from engine.network.client import Client
from engine.youtube.classify import classify

URL = "https://www.youtube.com/generate_204"  # an answer without a body
AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Checked:
    """The result for one proxy. `failure` None: it works. `elapsed_s`: from the first packet to the answer."""

    name: str
    failure: Failure | None
    elapsed_s: float


def check(specs: Sequence[EgressSpec], *, ca_bundle: str | None, deadline_s: float) -> list[Checked]:
    """Send one request by each egress, up to 64 at once. The results have the order of `specs`.

    No permits are acquired: it is one request each, outside any run. Raises UsageError for a proxy or CA bundle that
    cannot be used.
    """

    def free(egress: int) -> Permit:
        return Permit(egress, 0, float("inf"))

    client = Client(
        specs,
        acquire=free,
        ca_bundle=ca_bundle,
        connect_s=min(10.0, deadline_s),
        read_s=deadline_s,
        max_bytes=1 << 20,
    )
    try:
        with ThreadPoolExecutor(min(AT_ONCE, len(specs)), thread_name_prefix="check") as pool:
            attempts = [client.attempt(free(egress), deadline_s) for egress in range(len(specs))]
            return list(pool.map(_one, attempts, specs))
    finally:
        client.close()


def _one(attempt: Attempt, spec: EgressSpec) -> Checked:
    started = time.monotonic()
    failure: Failure | None
    try:
        with attempt:
            attempt.drop_session = True  # nothing follows
            failure = _failure(attempt.get(URL).status_code, attempt.answer.captcha)
    except Exception as exc:  # noqa: BLE001 - foreign exceptions become values here
        failure = classify(exc, attempt.answer)
    return Checked(spec.name, failure, time.monotonic() - started)


def _failure(status: int, captcha: bool) -> Failure | None:
    if status == 429 or captcha:
        return Failure(Kind.BLOCKED, "it works, but YouTube refuses its address for now")
    if status < 400:
        return None
    return Failure(Kind.SERVER_ERROR, f"YouTube answers {status}")
