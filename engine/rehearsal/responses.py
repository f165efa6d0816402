"""The response to a request, from the clock and the scenarios. No sockets here.

First a blocked egress is refused, then a transient fault spoils the response, then the video decides.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from typing import Any

from engine.rehearsal import (
    channel_pages,
    client_faults,
    malicious_responses,
    rare_responses,
    recorded_responses,
)
from engine.rehearsal.canned_responses import (
    CONSENT,
    EMPTY,
    EMPTY_XML,
    ERROR_403,
    ERROR_500,
    NOT_FOUND,
    WRONG_PAGE,
    Response,
    json_response,
)
from engine.rehearsal.caption_responses import TimedText
from engine.rehearsal.compressed_bodies import HTML, JSON, WATCH_PAGE, XML, Body, dumps
from engine.rehearsal.faults import Faults
from engine.rehearsal.generated_videos import Video, invent
from engine.rehearsal.hidden_limit import HiddenLimit
from engine.rehearsal.player_responses import (
    REFUSED,
    SMALL_PLAYER,
    around_player,
    captions_end,
    details,
    listed_chapters,
    microformat,
    playable_head,
    refusal,
    tracks,
    watch_end,
)
from engine.rehearsal.request import Request
from engine.rehearsal.scenarios import Scenario, draw
from engine.rehearsal.settings import RehearsalSettings

HUGE_BYTES = 64 * 1024 * 1024
# Video faults that leave the transcript as it is.
_HAVE_TRANSCRIPT = (
    None, "replay", "old_codes", "no_language", "hidden", "po_token", "dubbed", "polyglot",
    "twins", "hidden_manual", "chapters", "marked_chapters",
)  # fmt: skip


class Responder:
    """Answers requests; owned by one event loop.

    Raises UsageError if bodies of real sizes are wanted and youtube-transcript-api does not have them.
    """

    def __init__(self, settings: RehearsalSettings, scenarios: list[Scenario]) -> None:
        limit = None
        if settings.limit_rate is not None:
            limit = HiddenLimit(
                settings.limit_rate,
                settings.limit_burst,
                settings.limit_block_s,
                window_s=settings.limit_window_s,
                doubling=settings.limit_doubling,
                spurious_s=settings.limit_spurious_s,
                seed=settings.seed,
            )
        self.settings = settings
        self.faults = Faults(settings.seed, scenarios, limit, settings.control_videos)
        self.blocked = 0
        self._timedtext = TimedText()
        self._timedtext.prepare()
        self._huge: Body | None = None
        self._players: dict[tuple[bool, bool], Body] = {}  # by (real size, has captions)
        for real in {False, settings.real_sizes}:
            asset = recorded_responses.read_asset("youtube.innertube.json") if real else None
            with_captions, without = playable_head(json.loads(asset) if asset else SMALL_PLAYER)
            self._players[real, True] = Body(with_captions, JSON)
            self._players[real, False] = Body(without, JSON)
        page = recorded_responses.read_asset("youtube.html") if settings.real_sizes else WATCH_PAGE
        self._watch = Body(page, HTML)

    @property
    def played(self) -> Counter[str]:
        """How many responses each scenario changed."""
        return self.faults.played

    def answer(self, request: Request, egress: str, now_s: float) -> Response:
        """The response to a request that arrived now by an egress."""
        faults = self.faults
        if faults.first_s is None:
            faults.first_s = now_s
        active = faults.active(egress, now_s, request) if faults.scenarios else []
        delay_s = self.settings.latency_s
        found = faults.blocked(request, egress, now_s, active)
        if found is not None:
            self.blocked += 1
        else:
            delay_s += faults.slow_s(request, active)
            fault = faults.transient(request, active)
            found = self._content(request, active) if fault is None else self._spoilt(fault, request, active)
        found = faults.with_extras(found, request, active)
        if found.scenario is not None:
            self.played[found.scenario] += 1
        return replace(found, delay_s=delay_s)

    def _spoilt(self, fault: str, request: Request, active: list[Scenario]) -> Response:
        """The response with a transient fault."""
        if fault == "empty":
            return Response(200, EMPTY_XML, scenario=fault)
        if fault == "error500":
            return Response(500, ERROR_500, scenario=fault)
        if fault == "error403":
            return Response(403, ERROR_403, scenario=fault)
        if fault in ("reset", "hang"):
            return Response(0, EMPTY, delivery=fault, scenario=fault)
        if fault == "redirect":
            target = f"https://www.google.com/sorry/index?q={request.video_id}"
            return Response(302, EMPTY, headers=(("Location", target),), scenario=fault)
        good = self._content(request, active)
        if fault == "garbled":
            if draw(self.settings.seed, "garbled", "how", request.video_id) < 0.5:
                return Response(200, WRONG_PAGE, scenario=fault)
            intact = good.body.plain(good.end)
            return Response(200, Body(intact[: len(intact) // 2], good.body.content_type), scenario=fault)
        return replace(good, delivery=fault, scenario=fault)  # truncated, trickle

    def _content(self, request: Request, active: list[Scenario]) -> Response:
        """The response without transient faults."""
        if request.kind == "ping":
            return Response(204, EMPTY)
        if request.kind == "next":
            marked = self.faults.of_video(request, active) == "marked_chapters"
            return json_response(around_player(marked=marked), scenario="marked_chapters" if marked else None)
        if request.kind in ("resolve", "browse", "search"):
            return self._listing(request)
        names = self.faults.of_client(request, active)
        refused = client_faults.refused(names, request)
        if refused is not None:
            return refused
        if request.kind == "metadata":
            return json_response(microformat(invent(self.settings.seed, request.video_id)))
        captured = any(scenario.name == "captured" for scenario in active)
        if request.video_id in recorded_responses.CAPTURES and captured:
            return _recorded(request)
        if request.kind == "watch":
            if not request.consented and self.faults.touches("consent", request, active):
                return Response(200, CONSENT, scenario="consent")
            return Response(200, self._watch, watch_end(invent(self.settings.seed, request.video_id)))
        video = invent(self.settings.seed, request.video_id)
        fault = self.faults.of_video(request, active)
        if fault == "chapters":
            video = replace(video, description=listed_chapters(video))
        if fault in ("hostile", "astray"):
            video = malicious_responses.hostile(video)
        if request.kind == "timedtext":
            gate = client_faults.is_gated(names, request)
            if gate is not None:
                return Response(200, EMPTY_XML, scenario=gate)
            return self._transcript(request, video, fault)
        if "not_available" in names:
            return Response(200, refusal("not_available", video), scenario="not_available")
        if "other_video" in names:
            video, fault = invent(self.settings.seed, client_faults.ANOTHER_VIDEO), None
        if fault is None and self.faults.touches("soft_block", request, active):
            return self._player(request, video, "soft_block", names, captions=False)
        rare = rare_responses.player(fault, video) if fault is not None else None
        if rare is not None:
            return json_response(_seen(rare, names, request), scenario=fault)
        if fault == "age" or fault in REFUSED:
            return Response(200, refusal(fault, video), scenario=fault)
        hidden = fault == "no_captions" or (fault == "hidden" and request.kind == "player")
        return self._player(request, video, fault, names, captions=not hidden)

    def _player(
        self, request: Request, video: Video, fault: str | None, names: frozenset[str], *, captions: bool
    ) -> Response:
        """The player answer of a video that plays."""
        head = self._players[self.settings.real_sizes and not request.masked, captions]
        end = b""
        if captions:
            listed = tracks(video, fault, hides=request.kind == "player")
            seen = [client_faults.seen_track(track, names, request) for track in listed]
            end = captions_end(seen, dubbed=fault == "dubbed")
        shown = client_faults.seen_details(details(video), names, request)
        end += b'"videoDetails":' + dumps(shown) + b"}"
        return Response(200, head, end, scenario=fault or client_faults.first_shown(names, request))

    def _listing(self, request: Request) -> Response:
        """A page of a channel, playlist or search."""
        seed = self.settings.seed
        try:
            if request.kind == "search":
                return json_response(channel_pages.search(request.body, seed))
            if request.kind == "browse":
                return json_response(channel_pages.browse(request.body, seed, self.settings.uploads))
            found = channel_pages.resolve(str(request.body.get("url")))
        except ValueError as exc:
            error = {"code": 400, "message": str(exc), "status": "INVALID_ARGUMENT"}
            return json_response({"error": error}, 400)
        if found is None:
            error = {"code": 404, "message": "Requested entity was not found.", "status": "NOT_FOUND"}
            return json_response({"error": error}, 404)
        return json_response(found)

    def _transcript(self, request: Request, video: Video, fault: str | None) -> Response:
        if fault == "po_token" and not request.po_token:
            return Response(200, EMPTY_XML, scenario=fault)
        if fault == "huge":
            if self._huge is None:
                start = b'<?xml version="1.0" encoding="utf-8" ?><transcript>'
                self._huge = Body(start.ljust(HUGE_BYTES), XML)
            return Response(200, self._huge, b"</transcript>", scenario=fault)
        if fault == "hostile":
            return Response(200, Body(malicious_responses.transcript(), XML), scenario=fault)
        if fault == "xml_bomb":
            return Response(200, malicious_responses.bomb(video), scenario=fault)
        if fault == "astray":
            location = ("Location", malicious_responses.foreign_url(video))
            return Response(302, EMPTY, headers=(location,), scenario=fault)
        rare = rare_responses.transcript(fault, video) if fault is not None else None
        if rare is not None:
            return Response(200, rare, scenario=fault)
        if fault not in _HAVE_TRANSCRIPT:
            return Response(404, NOT_FOUND, scenario=fault)
        body, end = self._timedtext.answer(video, request.translation or request.language, request.fmt)
        return Response(200, body, end, scenario=fault)


def _seen(answer: dict[str, Any], names: frozenset[str], request: Request) -> dict[str, Any]:
    """A rare player answer as this client gets it."""
    found = dict(answer)
    if "captions" in found:
        listed = found["captions"]["playerCaptionsTracklistRenderer"]["captionTracks"]
        seen = [client_faults.seen_track(track, names, request) for track in listed]
        found["captions"] = {"playerCaptionsTracklistRenderer": {"captionTracks": seen}}
    if "videoDetails" in found:
        found["videoDetails"] = client_faults.seen_details(found["videoDetails"], names, request)
    return found


def _recorded(request: Request) -> Response:
    """A recorded answer of the real site."""
    capture = recorded_responses.CAPTURES[request.video_id]
    if request.kind == "watch":
        asset = capture.watch_asset
        if "consent" in asset and request.consented:
            asset = "youtube.html"
        return Response(200, recorded_responses.watch_body(asset), scenario="captured")
    if capture.asset.endswith(".html"):
        return Response(429, recorded_responses.watch_body(capture.asset), scenario="captured")
    if request.kind == "timedtext":
        return Response(200, recorded_responses.timedtext_body(), scenario="captured")
    body = recorded_responses.player_body(request.video_id, request.client)
    return Response(200, body, scenario="captured")
