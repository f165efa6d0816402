"""Captions by youtube-transcript-api's public surface, over a session of the engine's own.

The lean way sends two requests: a POST to the player gives metadata and the list of captions, a GET the text. The
library also wants the watch page, a megabyte, for one key that the player no longer needs; it gets a stub from
memory. Texts are parsed here (see `timedtext`), and the library gets an empty one to parse.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests
from requests.adapters import BaseAdapter
from youtube_transcript_api import Transcript as Track
from youtube_transcript_api import TranscriptsDisabled, YouTubeTranscriptApi

from engine.model import Cue, Failure, Kind, Transcript
from engine.network.answer import FailureError
from engine.network.attempt import Attempt
from engine.youtube import player
from engine.youtube.messages import clean
from engine.youtube.player import OddAnswerError
from engine.youtube.timedtext import parse
from engine.youtube.tracks import check_readable, list_tracks

WATCH = "https://www.youtube.com/watch"
TIMEDTEXT = "https://www.youtube.com/api/timedtext"
SHAPE_ERRORS = (
    AttributeError,
    LookupError,
    TypeError,
)  # what the library raises for a shape it does not know
_STUB_TEXT = b"<transcript/>"
_QUERY = "prettyPrint=false"
_MASK = "&$fields=playabilityStatus,captions.playerCaptionsTracklistRenderer,videoDetails"


def _stub_page() -> requests.Response:
    """A page that holds only the name of the key."""
    response = requests.Response()
    response.status_code = 200
    response.encoding = "utf-8"
    response._content = b'{"INNERTUBE_API_KEY": "keyless"}'
    response._content_consumed = True  # type: ignore[attr-defined]
    return response


_STUB_PAGE = _stub_page()


class LibraryClient:
    """The library's client on one session, for one attempt at a time. It keeps the player answers of all clients.

    `player` is the latest player answer, bounded; None before the first and for one that is no object.
    """

    def __init__(self, attempt: Attempt, video_id: str, *, mask: bool = False) -> None:
        self.attempt = attempt
        self.video_id = video_id
        self.lean = False
        self.note: str | None = None  # on the track that was read, see `model.Fetched`
        self.mask = mask
        self.player: Mapping[str, Any] | None = None
        self._latest_details: Mapping[str, Any] = {}  # those of `player`
        self._details: Mapping[str, Any] = {}  # the latest that were not empty
        self.reading = False
        self.cues: tuple[Cue, ...] = ()  # of the track being read
        session = attempt.session
        session.mount(player.URL, _PlayerAdapter(self, session.adapter))
        session.mount(TIMEDTEXT, _TextAdapter(self, session.adapter))
        self._session = session
        self._api = YouTubeTranscriptApi(http_client=session)

    def tracks(self, *, lean: bool) -> list[Track]:
        """The caption tracks of the video: one request the lean way, two or more with the watch page.

        Raises what the library raises (TranscriptsDisabled also for an empty list), and OddAnswerError for an answer
        about another video, about none, or with a list of captions that cannot be read.
        """
        self.expect(lean=lean)
        self._session.canned = (WATCH, _STUB_PAGE) if lean else None
        try:
            tracks = list(self._api.list(self.video_id))
        except Exception as exc:
            self.check()  # an answer about another video proves nothing about this one
            plays = player.at(self.player, "playabilityStatus").get("status") == "OK"
            if not (isinstance(exc, SHAPE_ERRORS) and plays):
                raise
            tracks = list_tracks(
                self._session, self.video_id, self.player
            )  # the library could not read the list
        finally:
            self.lean, self._session.canned = False, None
        self.check()
        if lean and not self._latest_details.get("title"):
            raise OddAnswerError(Failure(Kind.GARBLED, "the player answer names no title"))
        if not tracks:
            check_readable(self.player)
            raise TranscriptsDisabled(self.video_id)
        return tracks

    def read(
        self, track: Track, *, translated_from: str | None = None, may_be_empty: bool = False
    ) -> Transcript:
        """The text of a track: one request.

        Raises what the library raises, UnreadableError, and FailureError: too_large, or garbled for times that are no
        numbers and for no text, unless it `may_be_empty`.
        """
        self.reading = True
        try:
            track.fetch()
            cues = self.cues
        finally:
            self.reading, self.cues = False, ()
        if not cues and not may_be_empty:
            raise FailureError(Failure(Kind.GARBLED, "the caption track holds no text"))
        if not math.isfinite(sum(c.start + c.duration for c in cues)):  # one bad number spoils the sum
            raise FailureError(Failure(Kind.GARBLED, "the caption track holds times that are no numbers"))
        return Transcript(
            track.language_code, clean(track.language), track.is_generated, cues, translated_from
        )

    def expect(self, *, lean: bool) -> None:
        """Forget the latest player answer, because the next one is about to be requested."""
        self.lean, self.player, self._latest_details = lean, None, {}

    def forget(self) -> None:
        """Forget all answers: they may be large, and this object lives as long as the session."""
        self.player, self._latest_details, self._details, self.note = None, {}, {}, None

    def check(self) -> None:
        """Raise OddAnswerError when the latest player answer is about another video."""
        if self._latest_details.get("videoId") not in (None, self.video_id):
            raise OddAnswerError(Failure(Kind.GARBLED, "the player answer is about another video"))

    def keep(self, answer: Any) -> None:
        """Keep a player answer."""
        self.player = player.bounded(answer) if isinstance(answer, dict) else None
        self._latest_details = player.at(self.player, "videoDetails")
        self._details = self._latest_details or self._details

    @property
    def details(self) -> Mapping[str, Any]:
        """The videoDetails that any of this attempt's answers gave for the video; empty when none did."""
        return self._details if self._details.get("videoId") in (None, self.video_id) else {}


def library_client(attempt: Attempt, video_id: str, *, mask: bool = False) -> LibraryClient:
    """The client attached to the attempt's session (made at its first use), ready to ask for a video."""
    library = attempt.session.attached
    if not isinstance(library, LibraryClient):
        library = attempt.session.attached = LibraryClient(attempt, video_id, mask=mask)
    library.attempt, library.video_id = attempt, video_id
    library.forget()
    return library


class _ClientAdapter(BaseAdapter):
    def __init__(self, client: LibraryClient, adapter: BaseAdapter) -> None:
        super().__init__()
        self._client, self._adapter = client, adapter

    def close(self) -> None:
        """Nothing to do: the session closes `adapter` itself."""


class _PlayerAdapter(_ClientAdapter):
    """Keeps the player's answer. On the lean way it also removes the made-up key from the URL."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        if self._client.lean:
            query = _QUERY + (_MASK if self._client.mask else "")
            request.url = urlunsplit(urlsplit(str(request.url))._replace(query=query))
        response = self._adapter.send(request, *args, **kwargs)
        if response.status_code == 200:
            try:
                answer = json.loads(response.content)
            except (ValueError, RecursionError):
                return response  # the library raises for it
            response.json = lambda **_: answer  # type: ignore[method-assign]  # parsing once is enough
            self._client.keep(answer)
        return response


class _TextAdapter(_ClientAdapter):
    """Parses a caption text and keeps its cues; the library gets a text without any."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        response = self._adapter.send(request, *args, **kwargs)
        if self._client.reading and response.status_code == 200:
            text = response.text
            response._content = _STUB_TEXT  # frees the body before the cues take memory as well
            self._client.cues = parse(text)
        return response
