"""What is known of one answer, and how a failure travels up to where it is returned as data."""

from __future__ import annotations

import email.utils
from dataclasses import dataclass
from enum import StrEnum
from time import time

from engine.model import Failure

MAX_RETRY_AFTER_S = 86_400.0


class Phase(StrEnum):
    """How far a request came."""

    CONNECT = "connect"  # name and TCP connection, to the proxy if there is one
    TUNNEL = "tunnel"  # the proxy is asked for a way through
    TLS = "tls"
    SENT = "sent"  # the request is out, the answer's headers are awaited
    BODY = "body"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known about the last request of an attempt. `kind`: page, player, timedtext, listing, other.

    `status` is 0 while no answer has come; `size_bytes` counts the decoded body.
    """

    kind: str = "other"
    status: int = 0
    retry_after_s: float | None = None
    size_bytes: int = 0
    captcha: bool = False
    phase: Phase = Phase.CONNECT
    proxied: bool = False


class FailureError(Exception):
    """Carries a failure up to where it is returned as data; never leaves this package."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def retry_after_s(value: str | None, *, now_s: float | None = None) -> float | None:
    """Seconds to wait from a Retry-After header (a number or an HTTP date); None when it says nothing usable.

    `now_s` is UTC in seconds since 1970 (default: now). At most a day is believed.
    """
    if not value:
        return None
    value = value[:100].strip()
    if value.isascii() and value.isdigit():
        return min(float(value[:12]), MAX_RETRY_AFTER_S)
    try:
        at = email.utils.parsedate_to_datetime(value)
        wait_s = at.timestamp() - (time() if now_s is None else now_s)
    except (ValueError, TypeError, OverflowError, OSError):
        return None
    return min(max(wait_s, 0.0), MAX_RETRY_AFTER_S)
