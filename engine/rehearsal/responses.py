"""What the stand-in answers: from a request, the clock and the scenes to an answer. No sockets here.

In this order: who is blocked is refused; a passing fault spoils the answer; then what the video is decides.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from engine.rehearsal import channel_pages, malicious_responses, recorded_responses, shapes
from engine.rehearsal.caption_responses import TimedText
from engine.rehearsal.compressed_bodies import (
    CAPTCHA_PAGE,
    CONSENT_PAGE,
    HTML,
    JSON,
    WATCH_PAGE,
    XML,
    Body,
    dumps,
)
from engine.rehearsal.generated_videos import Video, invent
from engine.rehearsal.hidden_limit import HiddenLimit
from engine.rehearsal.microformat import microformat
from engine.rehearsal.player_responses import (
    REFUSED,
    SMALL_PLAYER,
    captions_end,
    details,
    playable_head,
    refusal,
)
from engine.rehearsal.request import Request
from engine.rehearsal.scenarios import Reach, Scene, draw, passing_fault, video_fault
from engine.rehearsal.settings import Settings

HUGE_BYTES = 64 * 1024 * 1024
SLOW_MAX_S = 20.0
# A scene without an end still names a time in Retry-After.
RETRY_AFTER_MAX_S = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """`manner`: how it goes out: whole, truncated, trickle, or not at all (status 0): reset, hang.

    `hints`: an answer 103 comes first.
    """

    status: int
    body: Body
    end: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    manner: str = "whole"
    delay_s: float = 0.0
    scene: str | None = None
    hints: bool = False


_EMPTY = Body(b"", HTML)
_EMPTY_XML = Body(b"", XML)
_OPEN = Body(b"{", JSON)
_CAPTCHA = Body(CAPTCHA_PAGE, HTML)
_CONSENT = Body(CONSENT_PAGE, HTML)
_NOT_FOUND = Body(b"<html><title>404 Not Found</title></html>", HTML)
_ERROR_500 = Body(b"<html><title>500 Internal Server Error</title><h1>Server Error</h1></html>", HTML)
_ERROR_403 = Body(b"<html><title>403 Forbidden</title><h1>Forbidden</h1></html>", HTML)
_ERROR_429 = Body(b"<html><title>429 Too Many Requests</title><h1>Too Many Requests</h1></html>", HTML)
_WRONG_PAGE = Body(b"<!DOCTYPE html><html><title>YouTube</title><p>Something went wrong</html>", HTML)


@dataclass(slots=True)
class Stage:
    """Everything answers depend on. One event loop owns it. Times are its clock's, in seconds."""

    settings: Settings
    scenes: list[Scene]
    first_s: float | None = None
    blocked: int = 0
    played: Counter[str] = field(default_factory=Counter)
    _limit: HiddenLimit | None = None
    _arrivals: Counter[tuple[str, str]] = field(default_factory=Counter)
    _timedtext: TimedText = field(default_factory=TimedText)
    _players: dict[tuple[bool, bool], Body] = field(default_factory=dict)
    _watch: Body = _EMPTY
    _huge: Body | None = None

    def prepare(self) -> None:
        """Compress what answers share. Raises UsageError if real sizes are wanted and not to be had."""
        settings = self.settings
        if settings.limit_rate is not None:
            self._limit = HiddenLimit(settings.limit_rate, settings.limit_burst, settings.limit_block_s)
        for full in {False, settings.real_sizes}:
            shared = (
                json.loads(recorded_responses.read_asset("youtube.innertube.json")) if full else SMALL_PLAYER
            )
            with_captions, without = playable_head(shared)
            self._players[(full, True)] = Body(with_captions, JSON)
            self._players[(full, False)] = Body(without, JSON)
        self._watch = Body(
            recorded_responses.read_asset("youtube.html") if settings.real_sizes else WATCH_PAGE, HTML
        )
        self._timedtext.prepare()

    def refuses_connect(self, name: str, egress: str, now_s: float) -> bool:
        """Whether a scene that touches whole egresses (`gone`, `proxy407`) plays for this one."""
        return any(
            scene.name == name and scene.touches(self.settings.seed, egress)
            for scene in self._playing(egress, now_s)
        )

    def answer(self, request: Request, egress: str, now_s: float) -> Answer:
        """The answer to a request that arrived now by an egress."""
        if self.first_s is None:
            self.first_s = now_s
        playing = list(self._playing(egress, now_s)) if self.scenes else []
        delay_s = self.settings.latency_s
        found = self._blocked(request, egress, now_s, playing)
        if found is not None:
            self.blocked += 1
        elif playing:
            delay_s += self._slow_s(request, playing)
            found = self._spoilt(request, playing)
        found = found or self._content(request, playing)
        if playing:
            found = self._around(found, request, playing)
        if found.scene is not None:
            self.played[found.scene] += 1
        return replace(found, delay_s=delay_s)

    def _playing(self, egress: str, now_s: float) -> Iterator[Scene]:
        first_s = now_s if self.first_s is None else self.first_s
        return (scene for scene in self.scenes if scene.plays(egress, now_s, first_s))

    def _count(self, video_id: str, what: str) -> int:
        """How often this was asked for, this time included. Only counted where a scene wants to know."""
        self._arrivals[video_id, what] += 1
        return self._arrivals[video_id, what]

    # --- blocks and delays --------------------------------------------------------------------------------

    def _blocked(self, request: Request, egress: str, now_s: float, playing: list[Scene]) -> Answer | None:
        if self._limit is not None and self._limit.refuses(egress, now_s):
            return Answer(429, _ERROR_429, scene="limit")
        for scene in playing:
            name = scene.name
            if scene.entry.reach is not Reach.EGRESS:
                continue
            if not scene.touches(self.settings.seed, egress if name == "gone" else request.video_id):
                continue
            if name == "429":
                return Answer(429, _ERROR_429, scene=name)
            if name == "429_after":
                since_s = self.first_s if scene.since_s is None else scene.since_s
                left_s = min((since_s or 0.0) + scene.end_s - now_s, RETRY_AFTER_MAX_S)
                return Answer(429, _ERROR_429, headers=(("Retry-After", str(math.ceil(left_s))),), scene=name)
            if name == "captcha":
                return Answer(200 if request.kind == "watch" else 429, _CAPTCHA, scene=name)
            if name == "429_translated" and request.translation is not None:
                return Answer(429, _ERROR_429, scene=name)
            if name in ("bot", "later") and request.kind in ("player", "opinion", "metadata"):
                video = invent(self.settings.seed, request.video_id)
                return Answer(200, refusal(name, video), scene=name)
            if name == "gone":
                return Answer(0, _EMPTY, manner="reset", scene=name)
        return None

    def _slow_s(self, request: Request, playing: list[Scene]) -> float:
        """A heavy tail: half of the touched requests take under a second more, one in forty SLOW_MAX_S."""
        seed = self.settings.seed
        for scene in playing:
            if scene.name == "slow":
                n = self._count(request.video_id, "slow " + request.kind)
                if scene.touches(seed, request.video_id, request.kind, n):
                    self.played["slow"] += 1
                    u = draw(seed, "tail", request.video_id, request.kind, n)
                    return min(0.5 / (1.0 - u), SLOW_MAX_S)
        return 0.0

    def _around(self, found: Answer, request: Request, playing: list[Scene]) -> Answer:
        """The answer with what comes around it by some scenes: cookies, an answer before the answer."""
        if self._touched("cookies", request, playing):
            n = self._count("", "cookies")
            cookies = (f"c{n}_{i}={'x' * 3000}; Domain=.youtube.com; Path=/" for i in range(8))
            found = replace(found, headers=(*found.headers, *(("Set-Cookie", its) for its in cookies)))
        if self._touched("early_hints", request, playing):
            found = replace(found, hints=True)
        return found

    # --- passing faults -----------------------------------------------------------------------------------

    def _spoilt(self, request: Request, playing: list[Scene]) -> Answer | None:
        if request.kind not in ("player", "timedtext"):
            return None
        seed, video_id = self.settings.seed, request.video_id
        hit = None
        for scene in playing:
            if scene.entry.reach is not Reach.PASSING or not scene.touches(seed, video_id):
                continue
            fault, kind, times = passing_fault(scene, seed, video_id)
            # Each scene counts for itself, so that one set on a live server starts afresh.
            if (
                kind == request.kind
                and self._count(video_id, f"{kind} {scene.name} {scene.since_s}") <= times
            ):
                hit = hit or fault
        return None if hit is None else self._fault(hit, request, playing)

    def _fault(self, fault: str, request: Request, playing: list[Scene]) -> Answer:
        if fault == "empty":
            return Answer(200, _EMPTY_XML, scene=fault)
        if fault == "error500":
            return Answer(500, _ERROR_500, scene=fault)
        if fault == "error403":
            return Answer(403, _ERROR_403, scene=fault)
        if fault in ("reset", "hang"):
            return Answer(0, _EMPTY, manner=fault, scene=fault)
        if fault == "redirect":
            target = f"https://www.google.com/sorry/index?q={request.video_id}"
            return Answer(302, _EMPTY, headers=(("Location", target),), scene=fault)
        good = self._content(request, playing)
        if fault == "garbled":
            if draw(self.settings.seed, "garbled", "how", request.video_id) < 0.5:
                return Answer(200, _WRONG_PAGE, scene=fault)
            whole = good.body.plain(good.end)
            return Answer(200, Body(whole[: len(whole) // 2], good.body.content_type), scene=fault)
        # What is left is about how it goes out: truncated, trickle.
        return replace(good, manner=fault, scene=fault)

    # --- what the video is --------------------------------------------------------------------------------

    def _content(self, request: Request, playing: list[Scene]) -> Answer:
        if request.kind == "ping":
            return Answer(204, _EMPTY)
        if request.kind in ("resolve", "browse", "search"):
            return self._list(request)
        names = {scene.name for scene in playing}
        if request.kind == "metadata":
            return Answer(200, _OPEN, dumps(microformat(invent(self.settings.seed, request.video_id)))[1:])
        if request.video_id in recorded_responses.CAPTURES and "captured" in names:
            return _captured(request)
        if request.kind == "watch":
            if "consent" in names and not request.consented and self._touched("consent", request, playing):
                return Answer(200, _CONSENT, scene="consent")
            return Answer(200, self._watch, f"<!-- {request.video_id} --></body></html>".encode())
        video = invent(self.settings.seed, request.video_id)
        fault = self._video_fault(request.video_id, playing)
        if fault in ("hostile", "astray"):
            video = malicious_responses.hostile(video)
        if fault is None and request.kind != "timedtext" and self._touched("soft_block", request, playing):
            return Answer(
                200,
                self._players[(self.settings.real_sizes and not request.masked, False)],
                b'"videoDetails":' + dumps(details(video)) + b"}",
                scene="soft_block",
            )
        if request.kind == "timedtext":
            return self._transcript(request, video, fault)
        odd = shapes.player(fault, video) if fault is not None else None
        if odd is not None:
            return Answer(200, _OPEN, odd[1:], scene=fault)
        if fault == "age" or fault in REFUSED:
            return Answer(200, refusal(fault, video), scene=fault)
        full = self.settings.real_sizes and not request.masked
        end = b'"videoDetails":' + dumps(details(video)) + b"}"
        if fault == "no_captions" or (fault == "hidden" and request.kind == "player"):
            return Answer(200, self._players[(full, False)], end, scene=fault)
        return Answer(200, self._players[(full, True)], captions_end(video, fault) + end, scene=fault)

    def _list(self, request: Request) -> Answer:
        seed = self.settings.seed
        try:
            if request.kind == "search":
                found = channel_pages.search(request.body, seed)
            elif request.kind == "browse":
                found = channel_pages.browse(request.body, seed, self.settings.uploads)
            else:
                known = channel_pages.resolve(str(request.body.get("url")))
                if known is None:
                    error = {"code": 404, "message": "Requested entity was not found.", "status": "NOT_FOUND"}
                    return Answer(404, _OPEN, dumps({"error": error})[1:])
                found = known
        except ValueError as exc:
            error = {"code": 400, "message": str(exc), "status": "INVALID_ARGUMENT"}
            return Answer(400, _OPEN, dumps({"error": error})[1:])
        return Answer(200, _OPEN, dumps(found)[1:])

    def _touched(self, name: str, request: Request, playing: list[Scene]) -> bool:
        return any(s.name == name and s.touches(self.settings.seed, request.video_id) for s in playing)

    def _video_fault(self, video_id: str, playing: list[Scene]) -> str | None:
        if video_id in self.settings.control_videos:  # they have captions, whatever the others come to
            return None
        for scene in playing:
            if scene.entry.reach is Reach.VIDEO and scene.touches(self.settings.seed, video_id):
                return video_fault(scene, self.settings.seed, video_id)
        return None

    def _transcript(self, request: Request, video: Video, fault: str | None) -> Answer:
        if fault == "po_token" and not request.po_token:
            return Answer(200, _EMPTY_XML, scene=fault)
        if fault == "huge":
            if self._huge is None:
                start = b'<?xml version="1.0" encoding="utf-8" ?><transcript>'
                self._huge = Body(start.ljust(HUGE_BYTES), XML)
            return Answer(200, self._huge, b"</transcript>", scene=fault)
        if fault == "hostile":
            return Answer(200, Body(malicious_responses.transcript(), XML), scene=fault)
        if fault == "xml_bomb":
            return Answer(200, malicious_responses.bomb(video), scene=fault)
        if fault == "astray":
            return Answer(302, _EMPTY, headers=(("Location", malicious_responses.away(video)),), scene=fault)
        odd = shapes.transcript(fault, video) if fault is not None else None
        if odd is not None:
            return Answer(200, odd, scene=fault)
        if fault not in (
            None,
            "replay",
            "old_codes",
            "no_language",
            "hidden",
            "po_token",
            "dubbed",
            "polyglot",
        ):
            return Answer(404, _NOT_FOUND, scene=fault)
        body, end = self._timedtext.answer(video, request.translation or request.language, request.fmt)
        return Answer(200, body, end, scene=fault)


def _captured(request: Request) -> Answer:
    capture = recorded_responses.CAPTURES[request.video_id]
    if request.kind == "watch":
        asset = capture.watch_asset
        if "consent" in asset and request.consented:
            asset = "youtube.html"
        return Answer(200, recorded_responses.watch_body(asset), scene="captured")
    if capture.asset.endswith(".html"):
        return Answer(429, recorded_responses.watch_body(capture.asset), scene="captured")
    if request.kind == "timedtext":
        return Answer(200, recorded_responses.timedtext_body(), scene="captured")
    return Answer(200, recorded_responses.player_body(request.video_id, request.client), scene="captured")
