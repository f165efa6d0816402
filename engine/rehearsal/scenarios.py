"""Scenarios: what goes wrong in a rehearsal, and for which videos, requests or egresses.

A scenario is written `NAME[=SHARE][@FROM-TO][/EGRESS]`: the share of videos it affects, the seconds during which it
is active (without TO: for ever), and the egress (proxy user name) that it is limited to. Whether it affects a video
is a pure function of (seed, name, video id). Which requests it spoils is a function of (seed, name, video id,
request kind, n-th arrival), never of the order in which videos arrive.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b

from engine.errors import UsageError


class Reach(StrEnum):
    """What a scenario affects."""

    VIDEO = "video"  # a video, each time
    TRANSIENT = "transient"  # the first one or two requests for a video
    EGRESS = "egress"  # all requests by an egress
    SET = "set"  # the fixed set of recorded answers


@dataclass(frozen=True, slots=True)
class ScenarioType:
    """One line of the registry. `share` applies to a scenario without SHARE."""

    reach: Reach
    text: str
    share: float = 1.0


SCENARIOS: dict[str, ScenarioType] = {
    "no_captions": ScenarioType(Reach.VIDEO, "the video plays but has no captions"),
    "unavailable": ScenarioType(Reach.VIDEO, "the video is unavailable"),
    "private": ScenarioType(Reach.VIDEO, "the video is private"),
    "members": ScenarioType(Reach.VIDEO, "for members of the channel only"),
    "age": ScenarioType(Reach.VIDEO, "age-restricted"),
    "region": ScenarioType(Reach.VIDEO, "not available in this country"),
    "premiere": ScenarioType(Reach.VIDEO, "not shown yet: premieres in some hours"),
    "no_language": ScenarioType(Reach.VIDEO, "captions in Icelandic or Welsh only"),
    "po_token": ScenarioType(Reach.VIDEO, "captions need a proof-of-origin token"),
    "hidden": ScenarioType(Reach.VIDEO, "captions that only the second client is shown"),
    "huge": ScenarioType(Reach.VIDEO, "the transcript unpacks to 64 MB"),
    "dubbed": ScenarioType(Reach.VIDEO, "German, dubbed into English: captions generated for both"),
    "polyglot": ScenarioType(Reach.VIDEO, "manual captions in seven languages, generated English ones"),
    "hostile": ScenarioType(Reach.VIDEO, "titles and texts full of escapes, NUL, YAML, formulas"),
    "xml_bomb": ScenarioType(Reach.VIDEO, "the transcript is an XML bomb"),
    "astray": ScenarioType(Reach.VIDEO, "the transcript redirects to other hosts"),
    "markup": ScenarioType(Reach.VIDEO, "captions with code in angle brackets, and with real elements"),
    "chorus": ScenarioType(Reach.VIDEO, "hand-made captions that say one line three times"),
    "old_codes": ScenarioType(Reach.VIDEO, "captions in Hebrew, which YouTube calls iw"),
    "shapes": ScenarioType(Reach.VIDEO, "captions as srv3, srv2, json3 or WebVTT instead of srv1"),
    "no_tracks": ScenarioType(Reach.VIDEO, "the list of captions is there and empty"),
    "live": ScenarioType(Reach.VIDEO, "an event that runs now, without captions"),
    "ended": ScenarioType(Reach.VIDEO, "an event that has just ended, without captions"),
    "offline": ScenarioType(Reach.VIDEO, "an event whose recording is not there yet"),
    "replay": ScenarioType(Reach.VIDEO, "the recording of an event"),
    "quadratic": ScenarioType(Reach.VIDEO, "captions that take a careless parser minutes"),
    "bulky": ScenarioType(Reach.VIDEO, "a transcript of 31 MB"),
    "wordy": ScenarioType(Reach.VIDEO, "a refusal of 31 MB"),
    "absent": ScenarioType(Reach.VIDEO, "a mix of final refusals (default share 0.03)", 0.03),
    "empty": ScenarioType(Reach.TRANSIENT, "timedtext answers 200 with nothing in it"),
    "garbled": ScenarioType(Reach.TRANSIENT, "an HTML page or half an answer instead of the data"),
    "truncated": ScenarioType(Reach.TRANSIENT, "the connection ends in the middle of the body"),
    "reset": ScenarioType(Reach.TRANSIENT, "the connection is reset instead of an answer"),
    "error500": ScenarioType(Reach.TRANSIENT, "status 500"),
    "error403": ScenarioType(Reach.TRANSIENT, "status 403"),
    "redirect": ScenarioType(Reach.TRANSIENT, "a redirect away from youtube.com"),
    "trickle": ScenarioType(Reach.TRANSIENT, "the body comes at one byte every 0.2 s"),
    "hang": ScenarioType(Reach.TRANSIENT, "the request is taken and never answered"),
    "flaky": ScenarioType(Reach.TRANSIENT, "a mix of transient faults (default share 0.05)", 0.05),
    "slow": ScenarioType(Reach.EGRESS, "SHARE of the requests take up to 20 s (default share 0.1)", 0.1),
    "429": ScenarioType(Reach.EGRESS, "every request answers 429, without Retry-After"),
    "429_after": ScenarioType(Reach.EGRESS, "every request answers 429, with Retry-After"),
    "bot": ScenarioType(Reach.EGRESS, "players ask to confirm that you are not a bot"),
    "later": ScenarioType(Reach.EGRESS, "players say: content not available, try again later"),
    "captcha": ScenarioType(Reach.EGRESS, "a captcha page; 429 for players and timedtext"),
    "429_translated": ScenarioType(Reach.EGRESS, "requests for translated captions answer 429"),
    "consent": ScenarioType(Reach.EGRESS, "the watch page asks for consent until the cookie comes"),
    "proxy407": ScenarioType(Reach.EGRESS, "the proxy refuses every user and password"),
    "gone": ScenarioType(Reach.EGRESS, "the network is gone: connections dropped, new ones refused"),
    "soft_block": ScenarioType(Reach.EGRESS, "players answer as usual, but without captions, to all clients"),
    "cookies": ScenarioType(Reach.EGRESS, "each answer sets eight new cookies of 3 kB"),
    "early_hints": ScenarioType(Reach.EGRESS, "each answer comes after an answer 103"),
    "captured": ScenarioType(Reach.SET, "real answers of the site, for the videos they are of"),
}

# The members of a mix, by weight. Hanging and trickling each cost a whole deadline, so they are rare.
MIXES: dict[str, tuple[tuple[str, float], ...]] = {
    "absent": (
        ("no_captions", 40), ("unavailable", 20), ("private", 15), ("no_language", 10), ("members", 5), ("age", 5),
        ("region", 5),
    ),
    "flaky": (
        ("error500", 25), ("reset", 25), ("garbled", 18), ("truncated", 15), ("empty", 13), ("trickle", 2),
        ("hang", 2),
    ),
}  # fmt: skip

_PATTERN = re.compile(
    r"(?P<name>[a-z0-9_]+)(?:=(?P<share>\d*\.?\d+%?))?"
    r"(?:@(?P<start>\d+(?:\.\d+)?)-(?P<end>\d+(?:\.\d+)?)?)?(?:/(?P<egress>\S+))?"
)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario to play. Times are seconds after `since_s` on the server's clock; None: after the first request."""

    name: str
    share: float = 1.0
    start_s: float = 0.0
    end_s: float = float("inf")
    egress: str | None = None
    since_s: float | None = None

    @property
    def type(self) -> ScenarioType:
        return SCENARIOS[self.name]

    def plays(self, egress: str, now_s: float, first_s: float) -> bool:
        """Whether it is active for this egress now. `first_s` is when the first request arrived."""
        if self.egress is not None and self.egress != egress:
            return False
        elapsed_s = now_s - (first_s if self.since_s is None else self.since_s)
        return self.start_s <= elapsed_s < self.end_s

    def touches(self, seed: int, *parts: object) -> bool:
        """Whether it affects this video, or whatever `parts` name."""
        return self.share >= 1.0 or draw(seed, self.name, *parts) < self.share

    def __str__(self) -> str:
        text = self.name if self.share == self.type.share else f"{self.name}={self.share:g}"
        if self.start_s > 0 or self.end_s != float("inf"):
            text += f"@{self.start_s:g}-" + ("" if self.end_s == float("inf") else f"{self.end_s:g}")
        return text if self.egress is None else f"{text}/{self.egress}"


def parse_scenario(text: str) -> Scenario:
    """A Scenario from `NAME[=SHARE][@FROM-TO][/EGRESS]`. Raises UsageError that says what is allowed."""
    match = _PATTERN.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"Scenario {text!r} cannot be read. Write NAME[=SHARE][@FROM-TO][/EGRESS], for example "
            "flaky=0.05 or 429@10-40."
        )
    name = match["name"]
    if name not in SCENARIOS:
        raise UsageError(f"There is no scenario {name!r}. There are: {', '.join(SCENARIOS)}.")
    share = SCENARIOS[name].share
    if match["share"] is not None:
        share = float(match["share"].rstrip("%")) / (100 if match["share"].endswith("%") else 1)
    if not 0 <= share <= 1:
        raise UsageError(f"Scenario {text!r}: the share must lie between 0 and 1 (or 0% and 100%).")
    start_s = float(match["start"] or 0)
    end_s = float(match["end"]) if match["end"] else float("inf")
    if end_s <= start_s:
        raise UsageError(
            f"Scenario {text!r} ends before it starts. Write FROM-TO in seconds, for example 10-40."
        )
    return Scenario(name, share, start_s, end_s, match["egress"])


def draw(seed: int, *parts: object) -> float:
    """A number in [0, 1) that depends only on the seed and the parts."""
    data = "\0".join([str(seed), *map(str, parts)]).encode()
    return int.from_bytes(blake2b(data, digest_size=7).digest(), "big") / (1 << 56)


def choose(mix: tuple[tuple[str, float], ...], number: float) -> str:
    """The member of a weighted mix that a number in [0, 1) selects."""
    left = number * sum(weight for _, weight in mix)
    for name, weight in mix:
        left -= weight
        if left < 0:
            return name
    return mix[-1][0]


def transient_fault(scenario: Scenario, seed: int, video_id: str) -> tuple[str, str, int]:
    """What a transient scenario does to a video: (fault, request kind it spoils, how many requests)."""
    name = scenario.name
    if name in MIXES:
        name = choose(MIXES[name], draw(seed, name, "which", video_id))
    if name == "empty":
        kind = "timedtext"
    else:
        kind = "player" if draw(seed, scenario.name, "kind", video_id) < 0.5 else "timedtext"
    return name, kind, 1 if draw(seed, scenario.name, "times", video_id) < 0.6 else 2


def video_fault(scenario: Scenario, seed: int, video_id: str) -> str:
    """The permanent fault of a video that this scenario affects; a mix chooses one."""
    if scenario.name in MIXES:
        return choose(MIXES[scenario.name], draw(seed, scenario.name, "which", video_id))
    return scenario.name
