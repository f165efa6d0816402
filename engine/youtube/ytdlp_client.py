"""The second client: yt-dlp as visionOS, one request, over the attempt's own session and permits.

One client's answer is no proof: ANDROID hides some caption tracks, and a video that one client cannot play another
can. yt-dlp knows how the others ask. It reports a failed player request as a mere warning and a video without
captions, so its result is ignored: the player answer itself is read, as it came through the session.
"""

from __future__ import annotations

import functools
import io
import json
import threading
from typing import Any

from youtube_transcript_api import Transcript as Track

from engine.errors import EngineError, Interrupted
from engine.model import Failure, Kind
from engine.network.answer import FailureError
from engine.youtube import player
from engine.youtube.classify import by_status, classify
from engine.youtube.library_client import LibraryClient
from engine.youtube.tracks import check_readable, list_tracks

USES_MAX = 200  # yt-dlp's objects keep a little of each video, so they are replaced after so many
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
    "js_runtimes": {},  # yt-dlp would start programs to look for one, and captions need none
    "extractor_args": {
        "youtube": {
            "player_client": [_CLIENT],
            "player_skip": ["webpage", "configs", "js", "initial_data"],
            "skip": ["hls", "dash", "translated_subs"],
        }
    },
}


class YtdlpClient:
    """Asks yt-dlp for caption tracks; shared by all threads. yt-dlp is imported at the first use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: list[_Extractor] = []

    def tracks(self, library: LibraryClient) -> list[Track]:
        """The caption tracks that visionOS is shown, empty when there are none: one request.

        Raises FailureError, and errors.Interrupted when the attempt has to end early.
        """
        with self._lock:
            extractor = self._free.pop() if self._free else None
        extractor = extractor or _Extractor()
        try:
            return extractor.tracks(library)
        finally:
            if extractor.uses < USES_MAX:
                with self._lock:
                    self._free.append(extractor)
            else:
                extractor.ydl.close()


class _Extractor:
    """One YoutubeDL object and its request handler, for one thread at a time."""

    def __init__(self) -> None:
        self.uses = 0
        self.ydl, self._handler = open_ytdlp(_OPTIONS, "YoutubeIE")

    def tracks(self, library: LibraryClient) -> list[Track]:
        attempt, video_id = library.attempt, library.video_id
        library.expect(lean=False)
        self.uses += 1
        handler = self._handler
        handler.send_request, handler.error = attempt.request, None
        handler.body = lambda response: _short_answer(library) or response.content
        raised: BaseException | None = None
        try:
            self.ydl.extract_info(
                f"https://www.youtube.com/watch?v={video_id}", download=False, process=False, ie_key="Youtube"
            )
        except Exception as exc:  # noqa: BLE001 - the player answer decides, below
            raised = exc
        finally:
            handler.send_request = handler.body = None
        if handler.error is not None:
            if isinstance(handler.error, (Interrupted, EngineError)):
                raise handler.error
            raise FailureError(
                classify(handler.error, attempt.answer)
            ) from handler.error  # `shortage` looks there
        if library.player is None:
            if attempt.answer.status not in (0, 200) or attempt.answer.captcha:
                raise FailureError(by_status(attempt.answer))
            why = type(raised).__name__ if raised else "no answer"
            raise FailureError(Failure(Kind.GARBLED, f"the second client gave no answer ({why})"))
        refused = player.refusal(library.player.get("playabilityStatus"))
        if refused is not None:
            raise FailureError(refused)
        library.check()
        found = list_tracks(attempt.session, video_id, library.player)
        if not found:
            check_readable(library.player)
        return found


def _short_answer(library: LibraryClient) -> bytes | None:
    """What yt-dlp gets instead of a player answer that was kept: only that the video plays.

    From a real one it would search title and description for songs and chapters, with expressions that take minutes
    for texts made for that, and it might ask further clients about a video that this one refuses.
    """
    if library.player is None:
        return None
    details = {"videoId": library.video_id, "title": library.video_id, "shortDescription": ""}
    return json.dumps({"playabilityStatus": {"status": "OK"}, "videoDetails": details}).encode()


# ---- yt-dlp over the engine's own sessions ----------------------------------------------------------------


def open_ytdlp(options: dict[str, Any], *extractors: str) -> tuple[Any, Any]:
    """A YoutubeDL with these extractors of yt-dlp's YouTube package, and the handler that sends its requests."""
    import yt_dlp
    from yt_dlp.extractor import youtube

    ydl = yt_dlp.YoutubeDL({**options, "logger": _SilentLogger()}, auto_init=False)
    for name in extractors:
        ydl.add_info_extractor(getattr(youtube, name)(ydl))
    handlers: list[Any] = []

    def make_handler(**kwargs: Any) -> Any:
        handlers.append(_handler_class()(**kwargs))
        return handlers[-1]

    ydl._request_director = ydl.build_request_director([make_handler])
    return ydl, handlers[-1]


@functools.cache
def _handler_class() -> type[Any]:
    """The handler's class. Defined at its first use, because yt-dlp is slow to import."""
    from yt_dlp.networking.common import RequestHandler, Response
    from yt_dlp.networking.exceptions import HTTPError, TransportError

    class SessionRH(RequestHandler):  # type: ignore[misc]
        """Sends by `send_request(method, url, data=, headers=)`, and keeps its `error`, which yt-dlp drops.

        `body(response)` is the body that yt-dlp gets; None: the response's own.
        """

        _SUPPORTED_URL_SCHEMES = ("https",)
        _SUPPORTED_PROXY_SCHEMES = None
        _SUPPORTED_FEATURES = None

        send_request: Any = None
        body: Any = None
        error: Exception | None = None

        def _check_extensions(self, extensions: dict[str, Any]) -> None:
            extensions.clear()

        def _send(self, request: Any) -> Any:
            if self.send_request is None or self.error is not None:
                raise TransportError("no attempt is under way")
            headers = {k: v for k, v in self._get_headers(request).items() if k.lower() != "accept-encoding"}
            try:
                got = self.send_request(request.method, request.url, data=request.data, headers=headers)
            except Exception as exc:  # noqa: BLE001 - kept, and raised when yt-dlp has returned
                self.error = exc
                raise TransportError("the request failed") from None
            unpacked = ("content-encoding", "content-length")
            headers = {k: v for k, v in got.headers.items() if k.lower() not in unpacked}
            body = self.body(got) if self.body is not None else got.content
            response = Response(io.BytesIO(body), got.url, headers, status=got.status_code, reason=got.reason)
            if not 200 <= got.status_code < 300:
                raise HTTPError(response)
            return response

    return SessionRH


class _SilentLogger:
    """yt-dlp's logger interface. What yt-dlp warns of is seen in the answers themselves."""

    def debug(self, message: str, **_: Any) -> None: ...

    info = warning = error = debug
