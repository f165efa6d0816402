"""The way `page`: youtube-transcript-api's public surface as it is, over a session of the engine's own.

It fetches the watch page, a megabyte, for a key and the cookies of a visit, and asks the player as a client of its
own. Only its list of captions is used; texts are read like those of all ways (`video_attempt`).
"""

from __future__ import annotations

import json
from typing import Any

import requests
from requests.adapters import BaseAdapter
from youtube_transcript_api import TranscriptsDisabled, VideoUnplayable, YouTubeTranscriptApi

from engine.network.session import Session
from engine.youtube import player
from engine.youtube.metadata import page_date
from engine.youtube.tracks import Track
from engine.youtube.video_attempt import VideoAttempt

WATCH = "https://www.youtube.com/watch"
# What the library raises for a shape that it does not know.
SHAPE_ERRORS = (AttributeError, LookupError, TypeError)


class LibraryClient:
    """The library on one session, for one attempt at a time."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._adapter = _PlayerAdapter(session.adapter)
        session.mount(player.URL, self._adapter)
        self._page = _PageAdapter(session.adapter)
        session.mount(WATCH, self._page)
        self._api = YouTubeTranscriptApi(http_client=session)

    def tracks(self, video: VideoAttempt) -> list[Track]:
        """The caption tracks of the video, by two or more requests.

        Raises what the library raises, and what `VideoAttempt.tracks` does.
        """
        video.expect()
        self._session.headers["User-Agent"] = requests.utils.default_user_agent()
        self._adapter.video = self._page.video = video
        try:
            self._api.list(video.video_id)
        except Exception as exc:
            video.check()
            plays = player.at(video.player, "playabilityStatus").get("status") == "OK"
            if not (plays and isinstance(exc, (TranscriptsDisabled, *SHAPE_ERRORS))):
                if isinstance(exc, VideoUnplayable) and video.player is not None:
                    video.tracks(titled=False)  # the library keeps only the reason; raises with all of it
                raise
        finally:
            self._adapter.video = self._page.video = None
        return video.tracks(titled=False)


def library_client(session: Session) -> LibraryClient:
    """The library attached to a session, made at its first use."""
    if not isinstance(session.attached, LibraryClient):
        session.attached = LibraryClient(session)
    return session.attached


class _KeepingAdapter(BaseAdapter):
    """Lets requests of the library pass, and keeps of the answers what is about `video`, while there is one."""

    def __init__(self, adapter: BaseAdapter) -> None:
        super().__init__()
        self._adapter = adapter
        self.video: VideoAttempt | None = None

    def close(self) -> None:
        """Nothing to do: the session closes `adapter` itself."""


class _PageAdapter(_KeepingAdapter):
    """Keeps the date in a watch page."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        response = self._adapter.send(request, *args, **kwargs)
        if self.video is not None and response.status_code == 200:
            self.video.page_date = page_date(response.content)
        return response


class _PlayerAdapter(_KeepingAdapter):
    """Keeps the player's answers."""

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        response = self._adapter.send(request, *args, **kwargs)
        if self.video is not None and response.status_code == 200:
            try:
                answer = json.loads(response.content)
            except (ValueError, RecursionError):
                return response  # the library raises for it
            response.json = lambda **_: answer  # type: ignore[method-assign]  # parsing once is enough
            self.video.keep(answer)
        return response
