"""What is known about an answer, and the exception that carries a failure to the caller that returns it."""

from __future__ import annotations

import email.utils
from dataclasses import dataclass
from enum import StrEnum
from time import time

from engine.model import Failure

MAX_RETRY_AFTER_S = 86_400.0


class RequestPhase(StrEnum):
    """How far a request got."""

    CONNECT = "connect"  # resolving the name and connecting, to the proxy if there is one
    TUNNEL = "tunnel"  # the proxy was sent a CONNECT
    TLS = "tls"
    SENT = "sent"  # the request was sent, the headers have not arrived
    BODY = "body"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known about the last request of an attempt.

    `kind` is page, player, timedtext, listing or other. `status` is 0 until an answer arrives. `size_bytes` counts
    the decoded body.
    """

    kind: str = "other"
    status: int = 0
    retry_after_s: float | None = None
    size_bytes: int = 0
    captcha: bool = False
    phase: RequestPhase = RequestPhase.CONNECT
    proxied: bool = False


class FailureError(Exception):
    """Carries a failure to the caller that returns it as a value. Other packages never see it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def retry_after_s(value: str | None, *, now_s: float | None = None) -> float | None:
    """The seconds to wait that a Retry-After header asks for (a number or an HTTP date), at most a day; else None.

    `now_s` is UTC in seconds since 1970 (default: now).
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
