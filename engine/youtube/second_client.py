"""The second opinion: one yt-dlp request as another client, through the same door.

One client's word is not proof: the ANDROID client hides some caption tracks, and a video that one client
cannot play another can. yt-dlp knows how the others ask; its request takes a permit and is counted
because a request handler of ours sends it. yt-dlp reports a failed player request as a mere warning and a
video without captions, so its result is not asked: the player answer itself is, as it came through the door.
"""

from __future__ import annotations

import json
import threading
from typing import Any

from youtube_transcript_api import Transcript as Track

from engine.errors import EngineError, Interrupted
from engine.model import Failure, Kind
from engine.network.answer import FailureError
from engine.network.session import Attempt
from engine.youtube.classify import by_status, classify
from engine.youtube.library_client import Client, client_of, no_tracks
from engine.youtube.messages import refusal
from engine.youtube.tracks import listed
from engine.youtube.ytdlp_handler import Silent, handler_class

USES = 200  # yt-dlp's objects remember each video a little: a new one after so many
_CLIENT = "visionos"  # needs no page, no JavaScript and no token for captions
_OPTIONS: dict[str, Any] = {
    "quiet": True,
    "no_warnings": False,
    "noprogress": True,
    "skip_download": True,
    "cachedir": False,
    "extractor_retries": 0,
    "ignore_no_formats_error": True,
    "noplaylist": True,
    "js_runtimes": {},  # it would look for one by starting it, and captions need none
    "extractor_args": {
        "youtube": {
            "player_client": [_CLIENT],
            "player_skip": ["webpage", "configs", "js", "initial_data"],
            "skip": ["hls", "dash", "translated_subs"],
        }
    },
}


class Opinion:
    """Asks yt-dlp; shared by all threads. yt-dlp is imported at the first question."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: list[_Asker] = []

    def tracks(self, attempt: Attempt, video_id: str) -> list[Track]:
        """The caption tracks another client sees, empty when it sees none: one request.

        Raises FailureError, and errors.Interrupted when the attempt has to give way.
        """
        with self._lock:
            asker = self._free.pop() if self._free else None
        asker = asker or _Asker()
        try:
            return asker.ask(attempt, video_id)
        finally:
            if asker.uses < USES:
                with self._lock:
                    self._free.append(asker)
            else:
                asker.close()


def _shown(client: Client, video_id: str) -> bytes | None:
    """What yt-dlp is shown of a player answer that is kept here: that it came.

    It would look for songs, chapters and more in title and description, with expressions that take minutes for
    texts made for that, and might ask further clients about a video that this one refuses.
    """
    if client.player is None:
        return None
    details = {"videoId": video_id, "title": video_id, "shortDescription": ""}
    return json.dumps({"playabilityStatus": {"status": "OK"}, "videoDetails": details}).encode()


class _Asker(Silent):
    """One YoutubeDL object and its handler, for one thread at a time."""

    def __init__(self) -> None:
        import yt_dlp
        from yt_dlp.extractor.youtube import YoutubeIE

        self.uses = 0
        self._ydl = yt_dlp.YoutubeDL({**_OPTIONS, "logger": self}, auto_init=False)
        self._ydl.add_info_extractor(YoutubeIE(self._ydl))
        self._handler: Any = None
        self._ydl._request_director = self._ydl.build_request_director([self._make_handler])

    def _make_handler(self, **kwargs: Any) -> Any:
        self._handler = handler_class()(**kwargs)
        return self._handler

    def ask(self, attempt: Attempt, video_id: str) -> list[Track]:
        client = client_of(attempt.session)
        client.lean, client.player = False, None
        self.uses += 1
        handler = self._handler
        handler.ask, handler.trouble = attempt.request, None
        handler.shown = lambda got: _shown(client, video_id) or got.content
        said: BaseException | None = None
        try:
            self._ydl.extract_info(
                f"https://www.youtube.com/watch?v={video_id}", download=False, process=False, ie_key="Youtube"
            )
        except Exception as exc:  # noqa: BLE001 - judged below, by what the door saw
            said = exc
        finally:
            handler.ask = handler.shown = None
        if handler.trouble is not None:
            if isinstance(handler.trouble, (Interrupted, EngineError)):
                raise handler.trouble
            raise FailureError(classify(handler.trouble, attempt.answer)) from None
        return self._judge(attempt, client, video_id, said)

    def _judge(
        self, attempt: Attempt, client: Client, video_id: str, said: BaseException | None
    ) -> list[Track]:
        if client.player is None:
            if attempt.answer.status not in (0, 200) or attempt.answer.captcha:
                raise FailureError(by_status(attempt.answer))
            why = type(said).__name__ if said else "no answer"
            raise FailureError(Failure(Kind.GARBLED, f"the second opinion could not be had ({why})"))
        refused = refusal(client.player.get("playabilityStatus"))
        if refused is not None:
            raise FailureError(refused)
        client.check(video_id)
        found = listed(attempt.session, video_id, client.player)
        odd = None if found else no_tracks(client.player)
        if odd is not None:
            raise odd
        return found

    def close(self) -> None:
        self._ydl.close()
