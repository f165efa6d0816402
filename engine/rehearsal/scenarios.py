"""Scenes: what goes wrong in a rehearsal, and for whom.

A scene is written `NAME[=SHARE][@FROM-TO][/EGRESS]`: the share of videos it touches, the seconds during which
it plays (TO may be missing: for ever), and the egress (proxy user name) it is limited to. Whether a scene
touches a video is a pure function of (seed, scene name, video id); which arrivals it spoils is one of
(seed, scene name, video id, request kind, n-th arrival), never of the order in which videos come.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b

from engine.errors import UsageError


class Reach(StrEnum):
    """Whom a scene touches."""

    VIDEO = "video"  # this video, each time
    PASSING = "passing"  # the first one or two arrivals of this video
    EGRESS = "egress"  # everybody who comes by an egress
    SET = "set"  # the fixed set of captured answers


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the registry. `share` is what a scene without SHARE touches."""

    reach: Reach
    text: str
    share: float = 1.0


SCENES: dict[str, Entry] = {
    "no_captions": Entry(Reach.VIDEO, "the video plays but has no captions"),
    "unavailable": Entry(Reach.VIDEO, "the video is unavailable"),
    "private": Entry(Reach.VIDEO, "the video is private"),
    "members": Entry(Reach.VIDEO, "for members of the channel only"),
    "age": Entry(Reach.VIDEO, "age-restricted"),
    "region": Entry(Reach.VIDEO, "not available in this country"),
    "premiere": Entry(Reach.VIDEO, "not shown yet: premieres in some hours"),
    "no_language": Entry(Reach.VIDEO, "captions in Icelandic or Welsh only"),
    "po_token": Entry(Reach.VIDEO, "captions need a proof-of-origin token"),
    "hidden": Entry(Reach.VIDEO, "captions that only the second opinion's client is shown"),
    "huge": Entry(Reach.VIDEO, "the transcript unpacks to 64 MB"),
    "dubbed": Entry(Reach.VIDEO, "German, dubbed into English: captions generated for both"),
    "polyglot": Entry(Reach.VIDEO, "manual captions in seven languages, generated English ones"),
    "hostile": Entry(Reach.VIDEO, "titles and texts full of escapes, NUL, YAML, formulas"),
    "xml_bomb": Entry(Reach.VIDEO, "the transcript is an XML bomb"),
    "astray": Entry(Reach.VIDEO, "the transcript redirects to other hosts"),
    "markup": Entry(Reach.VIDEO, "captions with code in angle brackets, and with real elements"),
    "chorus": Entry(Reach.VIDEO, "hand-made captions that say one line three times"),
    "old_codes": Entry(Reach.VIDEO, "captions in Hebrew, which YouTube calls iw"),
    "shapes": Entry(Reach.VIDEO, "captions as srv3, srv2, json3 or WebVTT, unasked"),
    "no_tracks": Entry(Reach.VIDEO, "the list of captions is there and empty"),
    "live": Entry(Reach.VIDEO, "an event that runs now, without captions"),
    "ended": Entry(Reach.VIDEO, "an event that has just ended, without captions"),
    "offline": Entry(Reach.VIDEO, "an event whose recording is not there yet"),
    "replay": Entry(Reach.VIDEO, "the recording of an event"),
    "quadratic": Entry(Reach.VIDEO, "captions made to take a careless reader minutes"),
    "bulky": Entry(Reach.VIDEO, "a transcript of 31 MB"),
    "wordy": Entry(Reach.VIDEO, "a refusal of 31 MB"),
    "absent": Entry(Reach.VIDEO, "a mix of final refusals (default share 0.03)", 0.03),
    "empty": Entry(Reach.PASSING, "timedtext answers 200 with nothing in it"),
    "garbled": Entry(Reach.PASSING, "an HTML page or half an answer instead of the data"),
    "truncated": Entry(Reach.PASSING, "the connection ends in the middle of the body"),
    "reset": Entry(Reach.PASSING, "the connection is reset instead of an answer"),
    "error500": Entry(Reach.PASSING, "status 500"),
    "error403": Entry(Reach.PASSING, "status 403"),
    "redirect": Entry(Reach.PASSING, "a redirect away from youtube.com"),
    "trickle": Entry(Reach.PASSING, "the body comes at one byte every 0.2 s"),
    "hang": Entry(Reach.PASSING, "the request is taken and never answered"),
    "flaky": Entry(Reach.PASSING, "a mix of passing faults (default share 0.05)", 0.05),
    "slow": Entry(Reach.EGRESS, "SHARE of the requests take up to 20 s (default share 0.1)", 0.1),
    "429": Entry(Reach.EGRESS, "every request answers 429, without Retry-After"),
    "429_after": Entry(Reach.EGRESS, "every request answers 429, with Retry-After"),
    "bot": Entry(Reach.EGRESS, "players ask to confirm that one is not a bot"),
    "later": Entry(Reach.EGRESS, "players say: content not available, try again later"),
    "captcha": Entry(Reach.EGRESS, "a captcha page; 429 for players and timedtext"),
    "429_translated": Entry(Reach.EGRESS, "requests for translated captions answer 429"),
    "consent": Entry(Reach.EGRESS, "the watch page asks for consent until the cookie comes"),
    "proxy407": Entry(Reach.EGRESS, "the proxy wants a user and password that nobody has"),
    "gone": Entry(Reach.EGRESS, "the network is gone: connections dropped, new ones refused"),
    "soft_block": Entry(Reach.EGRESS, "players answer as ever, but without captions, whoever asks"),
    "cookies": Entry(Reach.EGRESS, "each answer sets eight new cookies of 3 kB"),
    "early_hints": Entry(Reach.EGRESS, "each answer comes after an answer 103"),
    "captured": Entry(Reach.SET, "real answers of the site, for the videos they are of"),
}

# What a mix is made of, by weight. Hanging and trickling cost a deadline each, so they are rare.
MIXES: dict[str, tuple[tuple[str, float], ...]] = {
    "absent": (
        ("no_captions", 40),
        ("unavailable", 20),
        ("private", 15),
        ("no_language", 10),
        ("members", 5),
        ("age", 5),
        ("region", 5),
    ),
    "flaky": (
        ("error500", 25),
        ("reset", 25),
        ("garbled", 18),
        ("truncated", 15),
        ("empty", 13),
        ("trickle", 2),
        ("hang", 2),
    ),
}

_PATTERN = re.compile(
    r"(?P<name>[a-z0-9_]+)(?:=(?P<share>\d*\.?\d+%?))?"
    r"(?:@(?P<start>\d+(?:\.\d+)?)-(?P<end>\d+(?:\.\d+)?)?)?(?:/(?P<egress>\S+))?"
)


@dataclass(frozen=True, slots=True)
class Scene:
    """A scene to play. Times are seconds after `since_s` on the server's clock (None: the first request)."""

    name: str
    share: float = 1.0
    start_s: float = 0.0
    end_s: float = float("inf")
    egress: str | None = None
    since_s: float | None = None

    @property
    def entry(self) -> Entry:
        return SCENES[self.name]

    def plays(self, egress: str, now_s: float, first_s: float) -> bool:
        """Whether it plays for this egress now; `first_s` is when the first request came."""
        if self.egress is not None and self.egress != egress:
            return False
        elapsed_s = now_s - (first_s if self.since_s is None else self.since_s)
        return self.start_s <= elapsed_s < self.end_s

    def touches(self, seed: int, *parts: object) -> bool:
        """Whether the share falls on this video (or on whatever `parts` name)."""
        return self.share >= 1.0 or draw(seed, self.name, *parts) < self.share

    def __str__(self) -> str:
        text = self.name if self.share == self.entry.share else f"{self.name}={self.share:g}"
        if self.start_s > 0 or self.end_s != float("inf"):
            text += f"@{self.start_s:g}-" + ("" if self.end_s == float("inf") else f"{self.end_s:g}")
        return text if self.egress is None else f"{text}/{self.egress}"


def parse_scene(text: str) -> Scene:
    """A Scene from `NAME[=SHARE][@FROM-TO][/EGRESS]`. Raises UsageError that names what may stand there."""
    match = _PATTERN.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"Scene {text!r} cannot be read. Write NAME[=SHARE][@FROM-TO][/EGRESS], for example "
            "flaky=0.05 or 429@10-40."
        )
    name = match["name"]
    if name not in SCENES:
        raise UsageError(f"There is no scene {name!r}. There are: {', '.join(SCENES)}.")
    share = SCENES[name].share
    if match["share"] is not None:
        share = float(match["share"].rstrip("%")) / (100 if match["share"].endswith("%") else 1)
    if not 0 <= share <= 1:
        raise UsageError(f"Scene {text!r}: the share must lie between 0 and 1 (or 0% and 100%).")
    start_s = float(match["start"] or 0)
    end_s = float(match["end"]) if match["end"] else float("inf")
    if end_s <= start_s:
        raise UsageError(
            f"Scene {text!r} ends before it starts. Write FROM-TO in seconds, for example 10-40."
        )
    return Scene(name, share, start_s, end_s, match["egress"])


def draw(seed: int, *parts: object) -> float:
    """A number in [0, 1) that depends on the seed and the parts alone."""
    data = "\0".join([str(seed), *map(str, parts)]).encode()
    return int.from_bytes(blake2b(data, digest_size=7).digest(), "big") / (1 << 56)


def choose(mix: tuple[tuple[str, float], ...], number: float) -> str:
    """The member of a weighted mix that a number in [0, 1) falls on."""
    left = number * sum(weight for _, weight in mix)
    for name, weight in mix:
        left -= weight
        if left < 0:
            return name
    return mix[-1][0]


def passing_fault(scene: Scene, seed: int, video_id: str) -> tuple[str, str, int]:
    """What a passing scene does to a video it touches: (fault, request kind it spoils, how many arrivals)."""
    name = scene.name
    if name in MIXES:
        name = choose(MIXES[name], draw(seed, name, "which", video_id))
    if name == "empty":
        kind = "timedtext"
    else:
        kind = "player" if draw(seed, scene.name, "kind", video_id) < 0.5 else "timedtext"
    return name, kind, 1 if draw(seed, scene.name, "times", video_id) < 0.6 else 2


def video_fault(scene: Scene, seed: int, video_id: str) -> str:
    """Which permanent scene a video gets that this scene touches (a mix chooses one)."""
    if scene.name in MIXES:
        return choose(MIXES[scene.name], draw(seed, scene.name, "which", video_id))
    return scene.name
