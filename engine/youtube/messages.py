"""Maps YouTube's own messages to failure kinds.

The library's exception class says less than the message: the same bot check raises three different exceptions,
depending on its apostrophe and language. So the message is always read first. The patterns come from player answers
captured in 2025 and 2026, and from yt-dlp.
"""

from __future__ import annotations

import re

from engine.model import Failure, Kind

MAX_MESSAGE = 300
MAX_READ = 2_000  # characters of a text that are read: YouTube's messages have fewer than 300
SESSION_LIMIT_S = 3600.0  # after "try again later" YouTube refuses a guest session for up to an hour

# The first match decides. Texts are matched in lower case with straight apostrophes.
_PATTERNS: tuple[tuple[Kind, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        (Kind.BLOCKED, r"not a bot|unusual traffic|rate.limited by youtube"),
        (Kind.BLOCKED, r"available\b.{0,40}\btry again later"),
        (Kind.REGION_BLOCKED, r"(in|from) your (country|region|location)|not available in this country"),
        (
            Kind.AGE_RESTRICTED,
            r"confirm your age|age.restricted|inappropriate for some users|verify your age",
        ),
        (Kind.PRIVATE, r"video is private|private video"),
        (
            Kind.MEMBERS_ONLY,
            r"members.only|premium members|members on level|to this channel's members|join this channel"
            r"|requires? payment|rent or buy|purchase",
        ),
        (
            Kind.NOT_YET,
            r"premieres? (in|will)|live event (will|in)|live (stream|event) (is )?offline|will begin"
            r"|processing this video|hasn't (started|premiered)|starting soon|waiting for",
        ),
        (
            Kind.UNAVAILABLE,
            r"video (is )?(unavailable|not available|no longer available|isn't available)|no longer available"
            r"|isn't available any ?more|(been|was) removed|removed (by|for)|does(n't| not) exist"
            r"|account.{0,60}terminated|account.{0,60}closed|recording is not available|violat",
        ),
        (Kind.SERVER_ERROR, r"(error occurred|something went wrong).{0,60}try again"),
    )
)

_STATUSES = {
    "LIVE_STREAM_OFFLINE": Kind.NOT_YET,
    "AGE_VERIFICATION_REQUIRED": Kind.AGE_RESTRICTED,
    "AGE_CHECK_REQUIRED": Kind.AGE_RESTRICTED,
}


def clean(text: str, max_chars: int = MAX_MESSAGE) -> str:
    """The beginning of a text as one printable line of at most `max_chars` characters that encodes as UTF-8."""
    limit = max(MAX_READ, 2 * max_chars)
    if len(text) > limit:
        text = text[:limit] + "…"  # shows that something was left out, if there is room for it
    text = text.encode("utf-8", "replace").decode("utf-8")
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    text = " ".join(text.split())
    return text if len(text) <= max_chars else text[: max_chars - 1] + "…"


def kind_of(text: str) -> Kind | None:
    """The kind that a message means; None for an unknown message."""
    plain = " ".join(re.sub("[’‘ʼ`´]", "'", text[:MAX_READ]).lower().split())
    for kind, pattern in _PATTERNS:
        if pattern.search(plain):
            return kind
    return None


def failure_from(text: str, *, status: str = "") -> Failure:
    """The failure that a message of YouTube's means. `status` is the answer's playability status."""
    kind = kind_of(text) or _STATUSES.get(status) or Kind.UNKNOWN
    if kind is Kind.UNAVAILABLE and status == "LIVE_STREAM_OFFLINE":
        kind = Kind.NOT_YET  # "recording is not available", about an event that has just ended
    retry_after_s = None
    if kind is Kind.BLOCKED and "try again later" in text[:MAX_READ].lower():
        retry_after_s = SESSION_LIMIT_S
    quoted = clean(text, MAX_MESSAGE - 40) or "no reason given"
    return Failure(kind, f"YouTube says: {quoted}", retry_after_s=retry_after_s, by_wording=True)
