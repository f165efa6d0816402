"""Which scenarios are active, and what they do to a request: blocks, delays, transient faults, extra headers."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace

from engine.rehearsal.canned_responses import CAPTCHA, EMPTY, ERROR_429, Response
from engine.rehearsal.generated_videos import invent
from engine.rehearsal.hidden_limit import HiddenLimit
from engine.rehearsal.player_responses import refusal
from engine.rehearsal.request import Request
from engine.rehearsal.scenarios import CLIENTS, Reach, Scenario, draw, transient_fault, video_fault
from engine.youtube import probe_videos

PROBE_FAULTS = {
    probe_videos.NO_CAPTIONS: "no_captions",
    probe_videos.KIDS: "kids",
    probe_videos.REMOVED: "unavailable",
}
SLOW_MAX_S = 20.0
RETRY_AFTER_MAX_S = 60.0  # for a scenario without an end


@dataclass(slots=True)
class Faults:
    """The scenarios and the hidden limit. Times are the event loop's clock, in seconds.

    `first_s` is when the first request arrived. `played` counts what was done, by scenario. `control_videos` have no
    fault of their own.
    """

    seed: int
    scenarios: list[Scenario]
    limit: HiddenLimit | None = None
    control_videos: tuple[str, ...] = ()
    first_s: float | None = None
    played: Counter[str] = field(default_factory=Counter)
    _arrivals: Counter[tuple[str, str]] = field(default_factory=Counter)
    _jobs: dict[str, int] = field(
        default_factory=dict
    )  # each video's number; counted while a scenario needs it

    def active(self, egress: str, now_s: float, request: Request | None = None) -> list[Scenario]:
        """The scenarios that play for an egress now; with a request, those that concern its client and video."""
        first_s = now_s if self.first_s is None else self.first_s
        found = [scenario for scenario in self.scenarios if scenario.plays(egress, now_s, first_s)]
        if request is None:
            return found
        job = self._job(request.video_id)
        return [s for s in found if s.concerns(request.client, request.version, job)]

    def _job(self, video_id: str) -> int:
        """The video's number. Control videos and listings have none of their own: they get the latest."""
        if not any(scenario.counts_jobs for scenario in self.scenarios):
            return 1
        if not video_id or video_id in self.control_videos:
            return max(len(self._jobs), 1)
        return self._jobs.setdefault(video_id, len(self._jobs) + 1)

    def refuses_connect(self, name: str, egress: str, now_s: float) -> bool:
        """Whether a scenario that affects whole egresses (`gone`, `proxy407`) plays for this one."""
        return any(s.name == name and s.touches(self.seed, egress) for s in self.active(egress, now_s))

    def touches(self, name: str, request: Request, active: list[Scenario]) -> bool:
        return any(s.name == name and s.touches(self.seed, request.video_id) for s in active)

    def of_client(self, request: Request, active: list[Scenario]) -> frozenset[str]:
        """What this client gets for this video, whatever the video's own fault."""
        return frozenset(
            s.name for s in active if s.type.reach is Reach.CLIENT and s.touches(self.seed, request.video_id)
        )

    def of_video(self, request: Request, active: list[Scenario]) -> str | None:
        """The permanent fault of a video; one for this client alone comes first. Control videos have none.

        The videos that `engine probe` asks for are what it takes them for.
        """
        video_id = request.video_id
        if video_id in self.control_videos:
            return None
        if video_id in PROBE_FAULTS:
            fault = PROBE_FAULTS[video_id]
            return None if fault == "kids" and request.client != CLIENTS["visionos"] else fault
        for scenario in sorted(active, key=lambda scenario: not scenario.clients):
            if scenario.type.reach is Reach.VIDEO and scenario.touches(self.seed, video_id):
                return video_fault(scenario, self.seed, video_id)
        return None

    def blocked(self, request: Request, egress: str, now_s: float, active: list[Scenario]) -> Response | None:
        """The response to a request by a blocked egress; None when it is not blocked."""
        if self.limit is not None and self.limit.refuses(egress, now_s):
            return Response(429, ERROR_429, scenario="limit")
        for scenario in active:
            key = egress if scenario.name == "gone" else request.video_id
            if scenario.type.reach is Reach.EGRESS and scenario.touches(self.seed, key):
                found = self._refusal(scenario, request, now_s)
                if found is not None:
                    return found
        return None

    def _refusal(self, scenario: Scenario, request: Request, now_s: float) -> Response | None:
        name = scenario.name
        if name == "429" or (name == "429_translated" and request.translation is not None):
            return Response(429, ERROR_429, scenario=name)
        if name == "429_after":
            since_s = self.first_s if scenario.since_s is None else scenario.since_s
            left_s = min((since_s or 0.0) + scenario.end_s - now_s, RETRY_AFTER_MAX_S)
            headers = (("Retry-After", str(math.ceil(left_s))),)
            return Response(429, ERROR_429, headers=headers, scenario=name)
        if name == "captcha":
            return Response(200 if request.kind == "watch" else 429, CAPTCHA, scenario=name)
        if name in ("bot", "later") and request.kind in ("player", "other_client", "metadata"):
            return Response(200, refusal(name, invent(self.seed, request.video_id)), scenario=name)
        if name == "gone":
            return Response(0, EMPTY, delivery="reset", scenario=name)
        return None

    def slow_s(self, request: Request, active: list[Scenario]) -> float:
        """The extra delay: for half of the affected requests below a second, for one in forty SLOW_MAX_S."""
        for scenario in active:
            if scenario.name == "slow":
                n = self._count(request.video_id, "slow " + request.kind)
                if scenario.touches(self.seed, request.video_id, request.kind, n):
                    self.played["slow"] += 1
                    number = draw(self.seed, "tail", request.video_id, request.kind, n)
                    return min(0.5 / (1.0 - number), SLOW_MAX_S)
        return 0.0

    def transient(self, request: Request, active: list[Scenario]) -> str | None:
        """The fault that spoils this one request, if any."""
        asked = "player" if request.kind == "other_client" else request.kind
        if asked not in ("player", "timedtext"):
            return None
        hit = None
        for scenario in active:
            if scenario.type.reach is not Reach.TRANSIENT or not scenario.touches(
                self.seed, request.video_id
            ):
                continue
            if request.kind == "other_client" and not scenario.clients:
                continue  # the second client is spared unless it is named
            fault, kind, times = transient_fault(scenario, self.seed, request.video_id)
            # Each scenario counts for itself, so that one set on a live server starts from zero.
            key = f"{kind} {scenario.name} {scenario.since_s}"
            if kind == asked and self._count(request.video_id, key) <= times:
                hit = hit or fault
        return hit

    def with_extras(self, response: Response, request: Request, active: list[Scenario]) -> Response:
        """The response with what some scenarios add to it: cookies, an interim answer."""
        if self.touches("cookies", request, active):
            n = self._count("", "cookies")
            cookies = (f"c{n}_{i}={'x' * 3000}; Domain=.youtube.com; Path=/" for i in range(8))
            added = tuple(("Set-Cookie", cookie) for cookie in cookies)
            response = replace(response, headers=response.headers + added)
        if self.touches("early_hints", request, active):
            response = replace(response, early_hints=True)
        return response

    def _count(self, video_id: str, what: str) -> int:
        """How many times this was requested, this time included."""
        self._arrivals[video_id, what] += 1
        return self._arrivals[video_id, what]
