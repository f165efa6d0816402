"""What YouTube says in words, as kinds.

The class an answer arrives in says less than its text: the same bot check comes as three different
exceptions depending on its apostrophe and language. So the words are read first, everywhere.
Wordings: player answers captured in 2025 and 2026, and yt-dlp's list of what it meets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from engine.model import Failure, Kind

MAX_MESSAGE = 300
MAX_READ = 2_000  # characters of a text that are looked at: YouTube's own words are below 300
SESSION_LIMIT_S = 3600.0  # "try again later": YouTube holds a guest session off for up to an hour

# In this order: the first match decides. Text is lower case with straight apostrophes.
_WORDING: tuple[tuple[Kind, re.Pattern[str]], ...] = tuple(
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
    """One printable line of at most `max_chars` characters that encodes as UTF-8, of the beginning of a text."""
    limit = max(MAX_READ, 2 * max_chars)
    if len(text) > limit:
        text = text[:limit] + "…"  # what is left out is told, if there is room for it
    text = text.encode("utf-8", "replace").decode("utf-8")
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= max_chars else text[: max_chars - 1] + "…"


def kind_of(text: str) -> Kind | None:
    """The kind a wording means, None when no known wording is in it."""
    plain = " ".join(re.sub("[’‘ʼ`´]", "'", text[:MAX_READ]).lower().split())
    for kind, pattern in _WORDING:
        if pattern.search(plain):
            return kind
    return None


def said(text: str, *, status: str = "", otherwise: Kind = Kind.UNKNOWN) -> Failure:
    """The failure that YouTube's own words mean; `status` is the answer's playability status."""
    kind = kind_of(text) or _STATUSES.get(status) or otherwise
    if kind is Kind.UNAVAILABLE and status == "LIVE_STREAM_OFFLINE":
        kind = Kind.NOT_YET  # "recording is not available": of an event that ended just now
    retry_after_s = None
    if kind is Kind.BLOCKED and "try again later" in text[:MAX_READ].lower():
        retry_after_s = SESSION_LIMIT_S
    quoted = clean(text, MAX_MESSAGE - 40) or "no reason given"
    return Failure(kind, f"YouTube says: {quoted}", retry_after_s=retry_after_s)


def refusal(playability: Any) -> Failure | None:
    """The failure in a player answer's `playabilityStatus`; None when the video can be played."""
    if not isinstance(playability, Mapping):
        return Failure(Kind.GARBLED, "the player answer does not say whether the video can be played")
    status = playability.get("status")
    if status == "OK":
        return None
    text = ". ".join(dict.fromkeys(part[:MAX_READ] for part in _texts(playability)))
    status = (
        str(status)[:MAX_READ] if isinstance(status, (str, int, float, type(None))) else "of another kind"
    )
    return said(text or f"status {status}", status=status)


def _texts(playability: Mapping[str, Any]) -> Iterator[str]:
    """The reason, and the finer print below it (a country, a level) where there is some."""
    reason = playability.get("reason")
    if isinstance(reason, str) and reason:
        yield reason
    messages = playability.get("messages")
    if isinstance(messages, list):
        yield from (m for m in messages[:10] if isinstance(m, str))
    node: Any = playability
    for key in ("errorScreen", "playerErrorMessageRenderer", "subreason"):
        node = node.get(key) if isinstance(node, Mapping) else None
    if isinstance(node, Mapping):
        runs = node.get("runs")
        parts = [r.get("text") for r in runs if isinstance(r, Mapping)] if isinstance(runs, list) else []
        joined = "".join(p for p in parts[:100] if isinstance(p, str)) or node.get("simpleText")
        if isinstance(joined, str) and joined:
            yield joined
