"""Transcripts through youtube-transcript-api's public surface, over a session of our own.

The lean way sends two requests: a POST to the player gives metadata and the caption list, a GET the text.
The library also wants the watch page, a megabyte, for one key that the player no longer needs; it gets a stub
from memory. The full way fetches the real page. A text is parsed here (see `timedtext`), and the library gets an
empty one to parse.
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
from engine.network.session import Session
from engine.youtube.bounds import bounded
from engine.youtube.messages import clean
from engine.youtube.timedtext import parse
from engine.youtube.tracks import listed, offers

WATCH = "https://www.youtube.com/watch"
PLAYER = "https://www.youtube.com/youtubei/v1/player"
TIMEDTEXT = "https://www.youtube.com/api/timedtext"
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


class OddAnswerError(FailureError):
    """A player answer that is well-formed and yet not what was asked for."""


_SHAPES = (AttributeError, LookupError, TypeError)  # what the library raises for a shape it does not know


def no_tracks(player: Mapping[str, Any] | None) -> OddAnswerError | None:
    """What is wrong with an answer in which no track was found; None when it lists none."""
    if not offers(player):
        return None
    return OddAnswerError(Failure(Kind.GARBLED, "the list of captions could not be read"))


class Client:
    """The library's client on one session, for one thread at a time."""

    def __init__(self, session: Session, *, mask: bool = False) -> None:
        self.lean = False
        self.mask = mask
        self.player: Mapping[str, Any] | None = None  # the latest player answer
        self._seen: Mapping[str, Any] = {}  # the latest videoDetails that said anything
        self.reading = False
        self.cues: tuple[Cue, ...] = ()  # of the track being read
        session.mount(PLAYER, _Player(self, session.adapter))
        session.mount(TIMEDTEXT, _Text(self, session.adapter))
        self._session = session
        self._api = YouTubeTranscriptApi(http_client=session)

    def tracks(self, video_id: str, *, lean: bool) -> list[Track]:
        """The caption tracks of a video: one request the lean way, two or more the full way.

        Raises what the library raises (TranscriptsDisabled also for a list that is empty), and OddAnswerError for an
        answer about another video, about none, or with a list of captions that cannot be read.
        """
        self.lean, self.player = lean, None
        self._session.instead = (WATCH, _STUB_PAGE) if lean else None
        try:
            tracks = list(self._api.list(video_id))
        except Exception as exc:
            self.check(video_id)  # what is said of another video says nothing of this one
            if not (isinstance(exc, _SHAPES) and self._plays()):
                raise
            tracks = listed(self._session, video_id, self.player)  # a list that the library cannot read
        finally:
            self.lean, self._session.instead = False, None
        self.check(video_id)
        if lean and not _details(self.player).get("title"):
            raise OddAnswerError(Failure(Kind.GARBLED, "the player answer names no title"))
        if not tracks:
            raise no_tracks(self.player) or TranscriptsDisabled(video_id)
        return tracks

    def _plays(self) -> bool:
        playability = self.player.get("playabilityStatus") if self.player else None
        return isinstance(playability, Mapping) and playability.get("status") == "OK"

    def read(self, track: Track) -> tuple[Cue, ...]:
        """The cues of a track: one request. Raises what the library raises, UnreadableError and FailureError."""
        self.reading, self.cues = True, ()
        try:
            track.fetch()
            return self.cues
        finally:
            self.reading, self.cues = False, ()

    def begin(self) -> None:
        """Forget what earlier attempts on this session saw."""
        self.player, self._seen = None, {}

    def check(self, video_id: str) -> None:
        """Raise OddAnswerError when the latest player answer is about another video."""
        told = _details(self.player).get("videoId")
        if told is not None and told != video_id:
            raise OddAnswerError(Failure(Kind.GARBLED, "the player answer is about another video"))

    def keep(self, answer: Any) -> None:
        """Note a player answer."""
        self.player = bounded(answer) if isinstance(answer, dict) else None
        self._seen = _details(self.player) or self._seen

    def details(self, video_id: str) -> Mapping[str, Any]:
        """What any player answer of this attempt said about the video; empty when none did."""
        return self._seen if self._seen.get("videoId") in (None, video_id) else {}


def _details(player: Mapping[str, Any] | None) -> Mapping[str, Any]:
    details = player.get("videoDetails") if player else None
    return details if isinstance(details, Mapping) else {}


def client_of(session: Session, *, mask: bool = False) -> Client:
    """The client that lives with a session, made at its first use."""
    if not isinstance(session.companion, Client):
        session.companion = Client(session, mask=mask)
    return session.companion


class _Through(BaseAdapter):
    def __init__(self, client: Client, adapter: BaseAdapter) -> None:
        super().__init__()
        self._client, self._adapter = client, adapter

    def close(self) -> None:
        """The session's own adapter is closed under its own name."""


class _Player(_Through):
    """Keeps the player's answer; the lean way it also drops the made-up key from the address."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        if self._client.lean:
            query = _QUERY + (_MASK if self._client.mask else "")
            request.url = urlunsplit(urlsplit(str(request.url))._replace(query=query))
        response = self._adapter.send(request, *args, **kwargs)
        if response.status_code == 200:
            try:
                answer = json.loads(response.content)
            except (ValueError, RecursionError):
                return response  # the library says so in its own way
            response.json = lambda **_: answer  # type: ignore[method-assign]  # parsed once is enough
            self._client.keep(answer)
        return response


class _Text(_Through):
    """Keeps the cues of a text, which is parsed here; the library finds none in what it gets."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        response = self._adapter.send(request, *args, **kwargs)
        if self._client.reading and response.status_code == 200:
            text = response.text
            response._content = _STUB_TEXT  # let go of, before what is made of it takes room as well
            self._client.cues = parse(text)
        return response


def read(
    client: Client, track: Track, *, translated_from: str | None = None, may_be_empty: bool = False
) -> Transcript:
    """A track's text: one request.

    Raises what the library raises, and FailureError (garbled) for no text, unless it `may_be_empty`.
    """
    cues = client.read(track)
    if not cues and not may_be_empty:
        raise FailureError(Failure(Kind.GARBLED, "the caption track holds no text"))
    if not math.isfinite(sum(c.start + c.duration for c in cues)):  # one that is not spoils the sum
        raise FailureError(Failure(Kind.GARBLED, "the caption track holds times that are no numbers"))
    return Transcript(track.language_code, clean(track.language), track.is_generated, cues, translated_from)
