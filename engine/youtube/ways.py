"""Asks for a video's caption tracks by one way, and says what a failure of it means."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Literal

import youtube_transcript_api as yta

from engine.model import InnertubeClient, Kind, YtdlpOptions
from engine.network.answer import FailureError
from engine.youtube import mask_check, player
from engine.youtube.classify import classify
from engine.youtube.clients import CLIENTS, PAGE, YTDLP, client_of
from engine.youtube.library_client import SHAPE_ERRORS, library_client
from engine.youtube.mask_suspects import MaskSuspects
from engine.youtube.player import OddAnswerError
from engine.youtube.track_choice import OnlyGeneratedError
from engine.youtube.tracks import Track
from engine.youtube.video_attempt import VideoAttempt, ask_player
from engine.youtube.way_health_file import WayHealth
from engine.youtube.way_rules import Observed, Subject, WayFailure, requests_of, subject
from engine.youtube.ytdlp_client import YtdlpClient

Mask = Literal["auto", "on", "off"]
SPOILT = 2  # answers in a row that can be read only without the mask
REFUSED_S = 10.0  # for so long a client that was refused without the mask as well is not asked so again


class Ways:
    """All ways, for the threads of a process."""

    def __init__(
        self,
        health: WayHealth,
        mask: Mask = "off",
        clients: tuple[InnertubeClient, ...] = CLIENTS,
        ytdlp: YtdlpOptions | None = None,
    ) -> None:
        self._health = health
        self._mask = mask
        self._clients = clients
        self._ytdlp = YtdlpClient(ytdlp or YtdlpOptions())
        self._suspects = {client.way: MaskSuspects() for client in clients}
        self._refused_at: dict[str, float] = {}  # by way: when it was refused without the mask as well

    def tracks(self, way: str, video: VideoAttempt, *, unmasked: bool = False) -> list[Track]:
        """The caption tracks that a way is shown: one request or more.

        Raises FailureError for a refusal and for none, and what `requests` and youtube-transcript-api raise.
        """
        if way == PAGE:
            return library_client(video.attempt.session).tracks(video)
        if way == YTDLP:
            return self._ytdlp.tracks(video)
        client = client_of(way, self._clients)
        if client is None:
            raise ValueError(f"there is no way {way!r}")
        if unmasked or not self.masked(way):
            ask_player(video, client, masked=False)
        else:
            self._ask_masked(video, client)
        return video.tracks(titled=True)

    def masked(self, way: str) -> bool:
        """Whether a way asks for the needed fields only."""
        if way in (PAGE, YTDLP):
            return False
        return self._mask == "on" or (self._mask == "auto" and self._health.masked(way))

    def is_partial(self, way: str) -> bool:
        """Whether the way's client is not shown all videos."""
        client = client_of(way, self._clients)
        return client is not None and not client.plays_kids

    def _ask_masked(self, video: VideoAttempt, client: InnertubeClient) -> None:
        """Ask with the mask; and without it where that is due, and where the mask may have spoilt the answer or
        hidden part of it."""
        due = self._mask == "auto" and self._health.mask_is_due(client.way)
        try:
            ask_player(video, client, masked=True)
            video.check()
        except FailureError as exc:
            seen = Observed(exc.failure, video.attempt.answer, odd=isinstance(exc, OddAnswerError))
            if subject(seen) is not Subject.CLIENT or self._refused_lately(client.way):
                raise
            self._ask_whole(video, client)
            if self._health.mask_spoilt(client.way) >= SPOILT:  # one may be chance
                self._health.mask_differed(client.way, f"with the mask {exc.failure.message}")
            return
        self._health.mask_served(client.way)
        masked = video.player
        missing = mask_check.lacks(masked)
        suspect = self._suspects[client.way].masked(masked)
        if not (missing or due or suspect):
            return
        self._health.mask_checked(client.way)
        ask_player(video, client, masked=False)
        self._suspects[client.way].whole(video.player)
        self._compare(client.way, masked, video.player, missing)

    def _refused_lately(self, way: str) -> bool:
        return time.monotonic() - self._refused_at.get(way, -REFUSED_S) < REFUSED_S

    def _ask_whole(self, video: VideoAttempt, client: InnertubeClient) -> None:
        """Ask without the mask what could not be read with it."""
        try:
            ask_player(video, client, masked=False)
            video.check()
        except FailureError:
            self._refused_at[client.way] = time.monotonic()
            raise

    def _compare(
        self,
        way: str,
        masked: Mapping[str, Any] | None,
        whole: Mapping[str, Any] | None,
        missing: tuple[str, ...],
    ) -> None:
        if missing and set(missing) <= set(mask_check.lacks(whole)):
            return  # they are missing without the mask as well
        found = missing or mask_check.differences(masked, whole)
        if found:
            self._health.mask_differed(way, f"the mask changed {', '.join(found)}")
        else:
            self._health.mask_agreed(way)


def explain(way: str, video: VideoAttempt, exc: Exception, *, partial: bool = False) -> WayFailure:
    """What an exception of a way means, at the time when it was raised.

    A video without captions may still get some if it is an event under way.
    """
    answer = video.attempt.answer
    failure = classify(exc, answer)
    asked = requests_of(way) - (answer.kind != "timedtext")
    if isinstance(exc, OnlyGeneratedError) and player.not_yet(video.details) is None:
        return WayFailure(
            way, Subject.UNSURE, failure, requests=asked
        )  # this client may hide what another shows
    odd = isinstance(exc, (OddAnswerError, yta.YouTubeDataUnparsable, yta.FailedToCreateConsentCookie))
    odd = odd or (isinstance(exc, SHAPE_ERRORS) and answer.kind in ("player", "page"))
    odd = odd or (isinstance(exc, ValueError) and answer.kind == "player" and failure.kind is Kind.GARBLED)
    partial = partial and failure.kind is Kind.UNAVAILABLE
    about = subject(Observed(failure, answer, odd=odd, partial=partial))
    if failure.kind in (Kind.NO_CAPTIONS, Kind.NO_LANGUAGE):
        live = player.not_yet(video.details)
        if live is not None:
            failure, about = live, Subject.VIDEO
    return WayFailure(way, about, failure, partial, asked)
