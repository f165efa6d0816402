"""Invented videos: ids, details and cues, all pure functions of (seed, id)."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

from engine.model import Cue

_MASK = (1 << 64) - 1

# Awkward on purpose: quotes, ampersands, markup, other scripts, colons (YAML), a pipe (tables).
_WORDS = (
    "slow rivers", "winter bread", "a quiet engine", "the north road", "seven bridges", "glass and sand",
    "night trains", "“small” lies", "salt & iron", "Überfahrt", "雨の日", "café noir", "how it's made: paper",
    "part 2 | copper", "# one", "<live>", "-- dashes", "100 % wool", "what's next?", "ночь", "🎻 strings",
    "the last kiln",
)  # fmt: skip
_CHANNELS = ("Harbour Workshop", "Näherei Süd", "Field & Fold", "Радио Восток", "The Quiet Lab", "山の声")
_SENTENCES = (
    "so today we begin where we left off", "it's not as hard as it looks",
    "you can see the difference — almost at once", "salt & pepper, nothing else",
    "if a < b, swap them, that is all there is to it", "[Music]", 'he said "wait" and nobody did',
    "and that, I think,\nis the whole point", "noch einmal, bitte", "雨が降っています", "thank you 🙏 for watching",
    "let us look at this from the other side", "the second part takes a little longer",
    "water, sand, and a great deal of patience", "nobody knew why it worked",
    "we measured it twice to be sure",
)  # fmt: skip
CUES = 300
VARIANTS = 16


@dataclass(frozen=True, slots=True)
class Video:
    """An invented video. `manual`: a person wrote its English captions."""

    video_id: str
    title: str
    channel: str
    channel_id: str
    duration_s: int
    view_count: int
    keywords: tuple[str, ...]
    description: str
    manual: bool
    variant: int


def invented_ids(n: int, seed: int = 1) -> Iterator[str]:
    """`n` distinct valid video ids; the same seed gives the same ids.

    An id is 64 bits in URL-safe base 64, so its last character holds four bits. A bijection of a counter (splitmix64,
    Steele, Lea and Flood 2014) makes them distinct.
    """
    start = int.from_bytes(blake2b(str(seed).encode(), digest_size=8).digest(), "big")
    for i in range(n):
        z = (start + i * 0x9E3779B97F4A7C15) & _MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        z ^= z >> 31
        yield base64.urlsafe_b64encode(z.to_bytes(8, "big"))[:11].decode()


def invent(seed: int, video_id: str) -> Video:
    """The video behind an id."""
    h = blake2b(f"{seed}\0{video_id}".encode(), digest_size=16).digest()
    words = [_WORDS[b % len(_WORDS)] for b in h[: 2 + h[0] % 3]]
    owner = h[5] % 64
    channel_id = (
        "UC"
        + base64.urlsafe_b64encode(blake2b(f"{seed}\0{owner}".encode(), digest_size=16).digest())[
            :22
        ].decode()
    )
    return Video(
        video_id=video_id,
        title=f"{' '.join(words)} ({video_id})",
        channel=f"{_CHANNELS[owner % len(_CHANNELS)]} {owner}",
        channel_id=channel_id,
        duration_s=CUES * 4,
        view_count=int.from_bytes(h[6:9], "big"),
        keywords=tuple(_WORDS[b % len(_WORDS)] for b in h[9 : 9 + h[9] % 4]),
        description=f"About {words[0]}.\n\nMade for rehearsals; nobody filmed this.\n{words[-1]} 🎬",
        manual=h[14] % 3 == 0,
        variant=h[15] % VARIANTS,
    )


def shared_cues(variant: int) -> tuple[Cue, ...]:
    """The cues that all videos of a variant share: all but the last."""
    return tuple(
        Cue(float(i * 4), 3.5, _SENTENCES[(i * (2 * variant + 1) + variant) % len(_SENTENCES)])
        for i in range(CUES - 1)
    )


def last_cue(video_id: str, language: str) -> Cue:
    """The cue that distinguishes transcripts."""
    return Cue(float((CUES - 1) * 4), 3.5, f"end of {video_id} in {language}")
