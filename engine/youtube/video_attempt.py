"""One video during one attempt: what all ways have been answered about it, and reading the text of a track."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import requests

from engine.model import Failure, InnertubeClient, Kind, Transcript
from engine.network.answer import FailureError
from engine.network.attempt import Attempt
from engine.youtube import player
from engine.youtube.classify import UnreadableError, by_status
from engine.youtube.clients import player_context
from engine.youtube.messages import clean
from engine.youtube.player import OddAnswerError
from engine.youtube.timedtext import parse
from engine.youtube.tracks import Track, check_readable, list_tracks

_QUERY = "prettyPrint=false"
_MASK = "&$fields=playabilityStatus,captions.playerCaptionsTracklistRenderer,videoDetails"
_NO_CAPTIONS = Failure(Kind.NO_CAPTIONS, "the video has no captions")
_NEEDS_TOKEN = Failure(Kind.PO_TOKEN, "YouTube gives this transcript only to clients with a PO token")


class VideoAttempt:
    """The answers about one video in one attempt.

    `player` is the latest player answer, bounded; None before the first and for one that is no object. `page_date` is
    the date of publication, if a watch page told it.
    """

    def __init__(self, attempt: Attempt, video_id: str) -> None:
        self.attempt = attempt
        self.video_id = video_id
        self.player: Mapping[str, Any] | None = None
        self.page_date: str | None = None
        self._latest_details: Mapping[str, Any] = {}  # those of `player`
        self._details: Mapping[str, Any] = {}  # the latest that were not empty

    @property
    def details(self) -> Mapping[str, Any]:
        """The videoDetails that any of this attempt's answers gave for the video; empty when none did."""
        return self._details if self._details.get("videoId") in (None, self.video_id) else {}

    def expect(self) -> None:
        """Forget the latest player answer, because the next one is about to be requested."""
        self.player, self._latest_details = None, {}

    def keep(self, answer: Any) -> None:
        """Keep a player answer."""
        self.player = player.bounded(answer) if isinstance(answer, dict) else None
        self._latest_details = player.at(self.player, "videoDetails")
        self._details = self._latest_details or self._details

    def check(self) -> None:
        """Raise OddAnswerError when the latest player answer is about another video: it says nothing of this one."""
        if self._latest_details.get("videoId") not in (None, self.video_id):
            raise OddAnswerError(Failure(Kind.GARBLED, "the player answer is about another video"))

    def tracks(self, *, titled: bool) -> list[Track]:
        """The tracks of the latest player answer.

        Raises FailureError for a refusal and for a video without captions; OddAnswerError for an answer about another
        video, about none (not `titled`), or with a list of captions that cannot be read.
        """
        self.check()
        playability = self.player.get("playabilityStatus") if self.player is not None else None
        refused = player.refusal(playability)
        if refused is not None:
            raise (FailureError if isinstance(playability, Mapping) else OddAnswerError)(refused)
        if titled and not self._latest_details.get("title"):
            raise OddAnswerError(Failure(Kind.GARBLED, "the player answer names no title"))
        found = list_tracks(self.player)
        if not found:
            check_readable(self.player)
            raise FailureError(_NO_CAPTIONS)
        return found

    def read(
        self, track: Track, *, translated_from: str | None = None, may_be_empty: bool = False
    ) -> Transcript:
        """The text of a track: one request.

        Raises what `requests` raises, UnreadableError, and FailureError: po_token, too_large, or garbled for times
        that are no numbers and for no text, unless it `may_be_empty`.
        """
        if track.needs_token:
            raise FailureError(_NEEDS_TOKEN)
        response = self.attempt.get(track.url)
        if response.status_code != 200:
            raise FailureError(by_status(self.attempt.answer))
        if self.attempt.answer.captcha:
            raise UnreadableError("is a captcha page")
        text = response.text
        response._content = b""  # frees the body before the cues take memory as well
        cues = parse(text)
        if not cues and not may_be_empty:
            raise FailureError(Failure(Kind.GARBLED, "the caption track holds no text"))
        if not math.isfinite(sum(c.start + c.duration for c in cues)):  # one bad number spoils the sum
            raise FailureError(Failure(Kind.GARBLED, "the caption track holds times that are no numbers"))
        return Transcript(
            track.language_code, clean(track.language), track.is_generated, cues, translated_from
        )


def ask_player(video: VideoAttempt, client: InnertubeClient, *, masked: bool) -> None:
    """Ask the player as a client, and keep its answer: one request. `masked`: for the needed fields only.

    Raises FailureError, OddAnswerError for what is no answer to this, and what `requests` raises.
    """
    video.expect()
    session = video.attempt.session
    session.headers["User-Agent"] = client.user_agent
    # As session headers, because a request with headers of its own takes three times as long to prepare.
    added = {"X-YouTube-Client-Name": client.number, "X-YouTube-Client-Version": client.version}
    session.headers.update(added)
    try:
        response = video.attempt.request(
            "POST",
            f"{player.URL}?{_QUERY}{_MASK if masked else ''}",
            json={
                "context": player_context(client),
                "videoId": video.video_id,
                "contentCheckOk": True,
                "racyCheckOk": True,
            },
        )
    finally:
        for name in added:
            session.headers.pop(name, None)
    video.keep(_object(video.attempt, response))


def _object(attempt: Attempt, response: requests.Response) -> dict[str, Any]:
    """The JSON object in a player's response."""
    if response.status_code != 200:
        raise FailureError(by_status(attempt.answer))
    try:
        answer = json.loads(response.content)
    except (ValueError, RecursionError) as exc:
        if attempt.answer.captcha:
            message = "YouTube answers the player request with a captcha page"
            raise FailureError(Failure(Kind.BLOCKED, message)) from None
        what = f"could not be read ({type(exc).__name__})" if response.content else "is empty"
        raise OddAnswerError(Failure(Kind.GARBLED, f"the player answer {what}")) from None
    if not isinstance(answer, dict):
        raise OddAnswerError(Failure(Kind.GARBLED, "the player answer is not an object"))
    status = player.at(answer, "error").get("status")
    if isinstance(status, str):
        raise OddAnswerError(Failure(Kind.SERVER_ERROR, f"YouTube answers {clean(status, 60)}"))
    return answer
