"""Scenarios: what goes wrong in a rehearsal, and for which videos, requests or egresses.

A scenario is written `NAME[:CLIENT,…][=SHARE][@FROM-TO][#FROM-TO][/EGRESS]`: the clients it is limited to, the share
of videos it affects, the seconds during which it is active (without TO: for ever), the videos by the order in which
they were first asked for (1 is the first), and the egress (proxy user name). Whether it affects a video is a pure
function of (seed, name, video id). Which requests it spoils is a function of (seed, name, video id, request kind,
n-th arrival), never of the order in which videos arrive.

A CLIENT is a name of `CLIENTS`, with the beginning of a version if wanted: `android-20` are all ANDROID 20.x. `all`
lifts the limit that a scenario has by itself. A client's requests are those to the player and those for the texts of
the tracks that the player listed to it.
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
    CLIENT = "client"  # what a client of the player gets, control videos included
    SET = "set"  # the fixed set of recorded answers


@dataclass(frozen=True, slots=True)
class ScenarioType:
    """One line of the registry. `share` and `clients` apply to a scenario without SHARE and CLIENT."""

    reach: Reach
    text: str
    share: float = 1.0
    clients: tuple[str, ...] = ()


# What a scenario calls a client, and how that names itself. `page` is the watch page; `other` any client not here.
CLIENTS = {
    "android": "ANDROID",
    "visionos": "VISIONOS",
    "ios": "IOS",
    "web": "WEB",
    "page": "page",
    "other": "",
}

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
    "hidden_manual": ScenarioType(Reach.VIDEO, "captions made by people are hidden from ANDROID"),
    "twins": ScenarioType(Reach.VIDEO, "two tracks of English captions that people made"),
    "chapters": ScenarioType(Reach.VIDEO, "the description lists chapters"),
    "marked_chapters": ScenarioType(Reach.VIDEO, "chapters that YouTube marks itself"),
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
    "400": ScenarioType(Reach.CLIENT, "players answer 400 FAILED_PRECONDITION: the client is too old"),
    "gated": ScenarioType(Reach.CLIENT, "timedtext answers 200 with nothing in it"),
    "xpe": ScenarioType(Reach.CLIENT, "tracks are marked exp=xpe and empty without a token"),
    "xpv": ScenarioType(Reach.CLIENT, "tracks are marked exp=xpv and empty without a token"),
    "kids": ScenarioType(
        Reach.VIDEO, "made for kids: visionOS says that it is unavailable", clients=("visionos",)
    ),
    "not_available": ScenarioType(Reach.CLIENT, "players say: This video is not available"),
    "other_video": ScenarioType(Reach.CLIENT, "players answer about another video"),
    "reshaped": ScenarioType(Reach.CLIENT, "captions are listed in a shape that nobody knows"),
    "odd_names": ScenarioType(Reach.CLIENT, "tracks are named by simpleText or not at all"),
    "mask_field": ScenarioType(Reach.CLIENT, "answers asked for by $fields lack a detail of the video"),
    "mask_400": ScenarioType(Reach.CLIENT, "players answer 400 to requests with $fields"),
    "captured": ScenarioType(Reach.SET, "real answers of the site, for the videos they are of"),
}

ALL = "all"
CONNECTION = frozenset({"gone", "proxy407"})  # decided before any request is read

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
    r"(?P<name>[a-z0-9_]+)(?::(?P<clients>[a-z0-9.,-]+))?(?:=(?P<share>\d*\.?\d+%?))?"
    r"(?:@(?P<start>\d+(?:\.\d+)?)-(?P<end>\d+(?:\.\d+)?)?)?"
    r"(?:#(?P<first>\d+)-(?P<last>\d+)?)?(?:/(?P<egress>\S+))?"
)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario to play. Times are seconds after `since_s` on the server's clock; None: after the first request.

    `clients` empty: all. `first_job` and `last_job` count videos in the order in which they were first asked for.
    """

    name: str
    share: float = 1.0
    start_s: float = 0.0
    end_s: float = float("inf")
    egress: str | None = None
    since_s: float | None = None
    clients: tuple[str, ...] = ()
    first_job: int = 1
    last_job: float = float("inf")

    @property
    def type(self) -> ScenarioType:
        return SCENARIOS[self.name]

    def plays(self, egress: str, now_s: float, first_s: float) -> bool:
        """Whether it is active for this egress now. `first_s` is when the first request arrived."""
        if self.egress is not None and self.egress != egress:
            return False
        elapsed_s = now_s - (first_s if self.since_s is None else self.since_s)
        return self.start_s <= elapsed_s < self.end_s

    @property
    def counts_jobs(self) -> bool:
        return self.first_job > 1 or self.last_job != float("inf")

    def concerns(self, client: str, version: str, job: int) -> bool:
        """Whether it affects requests by this client (as it names itself) for the n-th video."""
        if not self.first_job <= job <= self.last_job:
            return False
        return not self.clients or any(_is_client(each, client, version) for each in self.clients)

    def touches(self, seed: int, *parts: object) -> bool:
        """Whether it affects this video, or whatever `parts` name."""
        return self.share >= 1.0 or draw(seed, self.name, *parts) < self.share

    def __str__(self) -> str:
        text = self.name
        if self.clients != self.type.clients:
            text += f":{','.join(self.clients) or ALL}"
        if self.share != self.type.share:
            text += f"={self.share:g}"
        if self.start_s > 0 or self.end_s != float("inf"):
            text += f"@{self.start_s:g}-" + ("" if self.end_s == float("inf") else f"{self.end_s:g}")
        if self.counts_jobs:
            text += f"#{self.first_job}-" + ("" if self.last_job == float("inf") else f"{self.last_job:.0f}")
        return text if self.egress is None else f"{text}/{self.egress}"


def parse_scenario(text: str) -> Scenario:
    """A Scenario from `NAME[:CLIENT,…][=SHARE][@FROM-TO][#FROM-TO][/EGRESS]`.

    Raises UsageError that says what is allowed.
    """
    match = _PATTERN.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"Scenario {text!r} cannot be read. Write NAME[:CLIENT][=SHARE][@FROM-TO][#FROM-TO][/EGRESS], for "
            "example flaky=0.05, 429@10-40 or 400:android#500-."
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
    first, last = int(match["first"] or 1), float(match["last"] or "inf")
    if last < first:
        raise UsageError(
            f"Scenario {text!r} ends before its first video. Write #FROM-TO, for example #500-900."
        )
    clients = tuple(match["clients"].split(",")) if match["clients"] else SCENARIOS[name].clients
    clients = () if clients == (ALL,) else clients
    found = Scenario(name, share, start_s, end_s, match["egress"], None, clients, max(first, 1), last)
    _check_limits(text, found)
    return found


def _check_limits(text: str, scenario: Scenario) -> None:
    """Raise UsageError for a client that is not known, and for limits that this scenario cannot have."""
    unknown = [each for each in scenario.clients if each.partition("-")[0] not in CLIENTS]
    if unknown:
        raise UsageError(
            f"Scenario {text!r}: there is no client {unknown[0]!r}. There are: {', '.join(CLIENTS)}; "
            "android-20 are its versions 20.x."
        )
    if scenario.name in CONNECTION and (scenario.clients or scenario.counts_jobs):
        raise UsageError(
            f"Scenario {text!r}: {scenario.name} affects connections, not clients or videos. "
            "Limit it by time or egress."
        )


def _is_client(given: str, client: str, version: str) -> bool:
    name, _, beginning = given.partition("-")
    if name == "other":
        return bool(client) and client not in CLIENTS.values()
    return client == CLIENTS[name] and (not beginning or f"{version}.".startswith(f"{beginning}."))


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
