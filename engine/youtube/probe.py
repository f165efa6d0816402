"""Which ways work by an egress: each is asked for a control video and for three that ways differ on.

A way is asked alone (`FetchSettings.ways`), as a run would ask it. An egress is asked by one thread, one request
after another, at most `MAX_REQUESTS` in all. What is paced is for the `Pacer`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

from engine.errors import Interrupted
from engine.model import (
    ABSENT_KINDS,
    CONTROL_VIDEOS,
    EgressSpec,
    Failure,
    Fetched,
    Kind,
    NotFetched,
    Permit,
    RequestCost,
)
from engine.network.client import Client
from engine.youtube import probe_videos
from engine.youtube.clients import WAYS, YTDLP, InnertubeClient
from engine.youtube.fetcher import Fetcher, FetchSettings

MAX_REQUESTS = 30
AT_ONCE = 32  # egresses
DEFAULT_WAYS = tuple(way for way in WAYS if way != YTDLP)
_UNREACHED = frozenset({Kind.NETWORK, Kind.PROXY, Kind.TIMEOUT})
_ABOUT_THE_VIDEO = ABSENT_KINDS - {Kind.NO_CAPTIONS, Kind.NO_LANGUAGE}


class WayResult(StrEnum):
    """What a way is good for by one egress. The words are those of `engine probe --json`."""

    WORKS = "works"
    NO_CAPTIONS = "no_captions"  # it plays the control video and is shown no captions
    REFUSED = "refused"  # the way itself does not serve, whoever asks
    BLOCKED = "blocked"  # the egress is refused for now
    UNREACHABLE = "unreachable"  # no answer came: the network or the proxy
    NOT_ASKED = "not_asked"


@dataclass(frozen=True, slots=True)
class ProbedVideos:
    """The ids asked for. `control` are tried until one tells something of the way."""

    control: tuple[str, ...] = CONTROL_VIDEOS
    no_captions: str = probe_videos.NO_CAPTIONS
    kids: str = probe_videos.KIDS
    removed: str = probe_videos.REMOVED

    def others(self) -> tuple[tuple[str, str], ...]:
        return (("no_captions", self.no_captions), ("kids", self.kids), ("removed", self.removed))


@dataclass(frozen=True, slots=True)
class VideoAnswer:
    """What one way answered for one video. `failure` None: captions came, in `language`."""

    video: str
    video_id: str
    failure: Failure | None
    cost: RequestCost
    elapsed_s: float
    language: str | None = None
    is_generated: bool | None = None


@dataclass(frozen=True, slots=True)
class WayReport:
    """One way by one egress. `reason` says why it is not asked; `lacks` what it does not serve though it works."""

    way: str
    result: WayResult
    answers: tuple[VideoAnswer, ...] = ()
    reason: str = ""
    lacks: tuple[str, ...] = ()

    @property
    def cost(self) -> RequestCost:
        return sum((answer.cost for answer in self.answers), RequestCost())

    @property
    def shown(self) -> VideoAnswer | None:
        """The answer that tells most: the last one for a control video."""
        return next((answer for answer in reversed(self.answers) if answer.video == "control"), None)


@dataclass(frozen=True, slots=True)
class EgressReport:
    name: str
    proxied: bool
    ways: tuple[WayReport, ...]

    @property
    def cost(self) -> RequestCost:
        return sum((way.cost for way in self.ways), RequestCost())

    @property
    def working(self) -> tuple[str, ...]:
        return tuple(way.way for way in self.ways if way.result is WayResult.WORKS)


class Pacer(Protocol):
    """When requests may leave. `take` waits for a permit, and raises Interrupted when there is none to wait for."""

    def take(self, egress: int) -> Permit: ...
    def unused(self, permit: Permit) -> None: ...
    def report(self, permit: Permit, failure: Failure | None, video_id: str) -> None: ...
    def closed(self, egress: int) -> str:
        """Why it gives no permit now, in words; empty when it does."""
        ...


def probe(
    specs: Sequence[EgressSpec],
    pacer: Pacer,
    *,
    ways: Sequence[str] = DEFAULT_WAYS,
    videos: ProbedVideos = ProbedVideos(),
    settings: FetchSettings | None = None,
    ca_bundle: str | None = None,
    done: Callable[[EgressReport], object] = lambda report: None,
) -> list[EgressReport]:
    """Ask every way by every egress; the reports have the order of `specs`. `done` hears each as it is complete.

    Raises UsageError for a proxy or CA bundle that cannot be used, and DiskError.
    """
    counts = _Counted(pacer, len(specs))
    client = Client(specs, acquire=counts.take, unused=counts.unused, ca_bundle=ca_bundle)
    prober = _Prober(client, counts, tuple(ways), videos, settings or FetchSettings())

    def one(egress: int) -> EgressReport:
        report = prober.egress(egress)
        done(report)
        return report

    pool = ThreadPoolExecutor(min(AT_ONCE, len(specs)), thread_name_prefix="probe")
    try:
        return list(pool.map(one, range(len(specs))))
    finally:
        counts.stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)  # after ^C nobody waits for a deadline
        client.close()


def judge(answers: Sequence[VideoAnswer]) -> tuple[WayResult, tuple[str, ...]]:
    """What a way is good for by its answers, and what it does not serve although it works."""
    control = [answer for answer in answers if answer.video == "control"]
    if not control:
        return WayResult.NOT_ASKED, ()
    failure = control[-1].failure
    if failure is None:
        return WayResult.WORKS, tuple(filter(None, map(_lack, answers)))
    if failure.kind is Kind.BLOCKED:
        return WayResult.BLOCKED, ()
    if failure.kind in _UNREACHED:
        return WayResult.UNREACHABLE, ()
    return (WayResult.NO_CAPTIONS if failure.kind is Kind.NO_CAPTIONS else WayResult.REFUSED), ()


def _lack(answer: VideoAnswer) -> str | None:
    """What an answer for one of the other videos says against a way that works; None: it is as expected.

    A video may have changed meanwhile, so captions where none were expected say nothing.
    """
    failure = answer.failure
    if answer.video == "control" or failure is None or failure.kind is Kind.NO_CAPTIONS:
        return None
    if answer.video == "kids" and failure.kind in ABSENT_KINDS:
        return "shows no videos made for kids"
    if answer.video == "removed" and failure.kind in ABSENT_KINDS:
        return None
    about = {"no_captions": "a video without captions", "kids": "a video made for kids"}
    return f"{about.get(answer.video, 'a removed video')}: {failure.message}"


@dataclass(slots=True)
class _Counted:
    """A pacer that gives an egress at most MAX_REQUESTS permits, and notes how long each was waited for."""

    pacer: Pacer
    egresses: int
    stopped: threading.Event = field(default_factory=threading.Event)
    taken: list[int] = field(init=False)
    waited_s: list[float] = field(init=False)

    def __post_init__(self) -> None:
        self.taken = [0] * self.egresses  # one thread an egress: no lock
        self.waited_s = [0.0] * self.egresses

    def take(self, egress: int) -> Permit:
        if self.stopped.is_set() or self.taken[egress] >= MAX_REQUESTS:
            raise Interrupted
        began = time.monotonic()
        permit = self.pacer.take(egress)
        self.waited_s[egress] += time.monotonic() - began
        self.taken[egress] += 1
        return permit

    def unused(self, permit: Permit) -> None:
        self.taken[permit.egress] -= 1
        self.pacer.unused(permit)

    def why_not(self, egress: int) -> str:
        if self.taken[egress] >= MAX_REQUESTS:
            return f"the {MAX_REQUESTS} requests of a probe are used up"
        return self.pacer.closed(egress) or "the probe was ended"


class _Prober:
    def __init__(
        self,
        client: Client,
        counts: _Counted,
        ways: tuple[str, ...],
        videos: ProbedVideos,
        settings: FetchSettings,
    ) -> None:
        self._client, self._counts, self._ways, self._videos = client, counts, ways, videos
        self._settings = settings

    def egress(self, number: int) -> EgressReport:
        """First a control video by each way, then the others by those that work."""
        spec = self._client.specs[number]
        fetchers = {way: Fetcher(self._client, _alone(self._settings, way)) for way in self._ways}
        answers: dict[str, list[VideoAnswer]] = {way: [] for way in self._ways}
        reasons: dict[str, str] = {}
        gone = ""
        for way in self._ways:
            if gone:
                reasons[way] = gone
                continue
            for video_id in self._videos.control:
                found = self._ask(fetchers[way], number, "control", video_id)
                if found is None:
                    reasons[way] = self._counts.why_not(number)
                    break
                answers[way].append(found)
                if found.failure is None or found.failure.kind not in _ABOUT_THE_VIDEO:
                    break
            if judge(answers[way])[0] is WayResult.UNREACHABLE and _is_whole_egress(answers[way][-1]):
                gone = "no answer came by this egress"
        for video, video_id in self._videos.others():
            for way in self._ways:
                if judge(answers[way])[0] is not WayResult.WORKS or way in reasons:
                    continue
                found = self._ask(fetchers[way], number, video, video_id)
                if found is None:
                    reasons[way] = self._counts.why_not(number)
                    continue
                answers[way].append(found)
        reports = []
        for way in self._ways:
            result, lacks = judge(answers[way])
            reports.append(WayReport(way, result, tuple(answers[way]), reasons.get(way, ""), lacks))
        return EgressReport(spec.name, spec.proxy_url is not None, tuple(reports))

    def _ask(self, fetcher: Fetcher, egress: int, video: str, video_id: str) -> VideoAnswer | None:
        """One video by one way; None when there is no permit for its first request."""
        try:
            permit = self._counts.take(egress)
        except Interrupted:
            return None
        began, waited_s = time.monotonic(), self._counts.waited_s[egress]
        try:
            result: Fetched | NotFetched = fetcher.fetch(video_id, permit)
        except Interrupted:
            return None
        elapsed_s = time.monotonic() - began - (self._counts.waited_s[egress] - waited_s)
        failure = result.failure if isinstance(result, NotFetched) else None
        self._counts.pacer.report(permit, failure, video_id)
        track = result.transcript if isinstance(result, Fetched) else None
        return VideoAnswer(
            video,
            video_id,
            failure,
            result.cost,
            elapsed_s,
            track.language if track else None,
            track.is_generated if track else None,
        )


def _alone(settings: FetchSettings, way: str) -> FetchSettings:
    return replace(settings, ways=(way,), languages=("any",))


def _is_whole_egress(answer: VideoAnswer) -> bool:
    """Whether an answer that never came is that of the egress and not of one way: asking on is of no use."""
    failure = answer.failure
    return failure is not None and failure.kind in (Kind.NETWORK, Kind.PROXY)


def client_words(way: str, clients: Sequence[InnertubeClient]) -> str | None:
    """How a way's client names itself, as `ANDROID 21.26.364`; None for ways that bring their own."""
    return next((f"{client.name} {client.version}" for client in clients if client.way == way), None)
