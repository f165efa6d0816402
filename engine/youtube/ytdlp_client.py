"""The way `yt-dlp`: yt-dlp as installed, over the attempt's own session and permits, with the user's plugins.

It is slow and takes several requests, and others mend it every week. PO-token providers are plugins of it; what they
ask of this machine itself passes, uncounted. yt-dlp reports a failed player request as a mere warning and a video
without captions, so a result without captions is ignored: the player answers themselves are read.
"""

from __future__ import annotations

import functools
import io
import ipaddress
import json
import threading
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

from engine.errors import EngineError, Interrupted
from engine.model import Failure, Kind, YtdlpOptions
from engine.network.answer import FailureError
from engine.youtube import player
from engine.youtube.classify import by_status, classify
from engine.youtube.metadata import page_date
from engine.youtube.tracks import Track, list_tracks
from engine.youtube.video_attempt import VideoAttempt
from engine.youtube.ytdlp_options import parsed_args

USES_MAX = 200  # yt-dlp's objects keep a little of each video, so they are replaced after so many
LOOPBACK_S = 60.0  # for a video: a PO-token provider starts a browser for its first token
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
}
_ARGUMENTS = {"player_skip": ["js"], "skip": ["hls", "dash", "translated_subs"]}
_PREFERRED = ("srv1", "json3", "vtt")


class YtdlpClient:
    """Asks yt-dlp for caption tracks; shared by all threads. yt-dlp is imported at the first use."""

    def __init__(self, options: YtdlpOptions | None = None) -> None:
        self._options = options or YtdlpOptions()
        self._lock = threading.Lock()
        self._free: list[_Extractor] = []

    def tracks(self, video: VideoAttempt) -> list[Track]:
        """The caption tracks that yt-dlp finds.

        Raises FailureError, also for none, and errors.Interrupted when the attempt has to end early.
        """
        with self._lock:
            extractor = self._free.pop() if self._free else None
        extractor = extractor or _Extractor(self._options)
        try:
            return extractor.tracks(video)
        finally:
            if extractor.uses < USES_MAX:
                with self._lock:
                    self._free.append(extractor)
            else:
                extractor.ydl.close()


class _Extractor:
    """One YoutubeDL object and its request handler, for one thread at a time."""

    def __init__(self, options: YtdlpOptions) -> None:
        self.uses = 0
        given = {name: dict(found) for name, found in parsed_args(options).items()}
        given["youtube"] = {**_ARGUMENTS, **given.get("youtube", {})}
        more: dict[str, Any] = {"extractor_args": given}
        if options.cookies is not None:
            more["cookiefile"] = io.StringIO(options.cookies)  # by its path, yt-dlp would write to it
        _add_plugins(options.plugin_dirs)
        self.ydl, self._handler = open_ytdlp({**_OPTIONS, **more}, "YoutubeIE")
        self._handler.passes_loopback = True
        self._handler.cookie_header = self.ydl.cookiejar.get_cookie_header if options.cookies else None

    def tracks(self, video: VideoAttempt) -> list[Track]:
        attempt, handler = video.attempt, self._handler
        video.expect()
        self.uses += 1
        handler.send_request, handler.error = attempt.request, None
        handler.loopback_until = time.monotonic() + LOOPBACK_S
        handler.body = lambda response: _kept(video, response)
        raised: BaseException | None = None
        info: Any = None
        try:
            info = self.ydl.extract_info(
                f"https://www.youtube.com/watch?v={video.video_id}",
                download=False,
                process=False,
                ie_key="Youtube",
            )
        except Exception as exc:  # noqa: BLE001 - the player answers decide, below
            raised = exc
        finally:
            handler.send_request = handler.body = None
        if handler.error is not None:
            if isinstance(handler.error, (Interrupted, EngineError)):
                raise handler.error
            # `shortage` looks at the cause.
            raise FailureError(classify(handler.error, attempt.answer)) from handler.error
        attempt.session.headers["User-Agent"] = self.ydl.params["http_headers"]["User-Agent"]
        found = list(_listed(video, info))
        if found:
            return found
        if video.player is None:
            if attempt.answer.status not in (0, 200) or attempt.answer.captcha:
                raise FailureError(by_status(attempt.answer))
            why = type(raised).__name__ if raised else "no answer"
            raise FailureError(Failure(Kind.GARBLED, f"yt-dlp was given no player answer ({why})"))
        return video.tracks(titled=False)


def _kept(video: VideoAttempt, response: requests.Response) -> bytes:
    """A response as yt-dlp gets it. Player answers are kept, the first that plays before others, and a page's date.

    Their titles and descriptions are left out: yt-dlp would search them for songs and chapters, with expressions that
    take minutes for texts made for that.
    """
    content: bytes = response.content
    path = urlsplit(response.url).path
    if path == "/watch" and response.status_code == 200:
        video.page_date = page_date(content) or video.page_date
    if path != urlsplit(player.URL).path or response.status_code != 200:
        return content
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return content
    if not isinstance(answer, dict):
        return content
    if player.at(video.player, "playabilityStatus").get("status") != "OK" or not list_tracks(video.player):
        video.keep(answer)
    details = answer.get("videoDetails")
    if isinstance(details, dict):
        unread = {"shortDescription": "", "title": video.video_id, "keywords": []}
        answer = {**answer, "videoDetails": {**details, **unread}}
    answer.pop("microformat", None)
    return json.dumps(answer).encode()


def _listed(video: VideoAttempt, info: Any) -> list[Track]:
    """The tracks in yt-dlp's result, those made by people first."""
    if not isinstance(info, Mapping) or info.get("id") not in (None, video.video_id):
        return []
    known = list_tracks(video.player)
    translations = known[0].translation_languages if known else ()
    found = []
    for field, generated in (("subtitles", False), ("automatic_captions", True)):
        languages = info.get(field)
        for code, formats in languages.items() if isinstance(languages, Mapping) else ():
            chosen = _chosen(formats)
            url = chosen.get("url")
            if isinstance(url, str) and "/api/timedtext" in url:  # not a live chat
                named = parse_qs(urlsplit(url).query).get("lang", [code])[0]
                name = chosen.get("name")
                found.append(
                    Track(name if isinstance(name, str) else named, named, generated, url, translations)
                )
    return found


def _chosen(formats: Any) -> Mapping[str, Any]:
    """The format of a track that is the quickest to read."""
    usable: dict[str, Mapping[str, Any]] = {
        str(item.get("ext")): item for item in formats or () if isinstance(item, Mapping)
    }
    wanted = [ext for ext in _PREFERRED if ext in usable] or list(usable)
    return usable[wanted[0]] if wanted else {}


def _add_plugins(directories: tuple[str, ...]) -> None:
    """Have yt-dlp look for plugins in these places as well, before it loads them for this process."""
    from yt_dlp.globals import plugin_dirs

    for directory in directories:
        if directory not in plugin_dirs.value:
            plugin_dirs.value = [*plugin_dirs.value, directory]


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


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine itself, by an address or the name `localhost`."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@functools.cache
def _handler_class() -> type[Any]:
    """The handler's class. Defined at its first use, because yt-dlp is slow to import."""
    from yt_dlp.networking.common import RequestHandler, Response
    from yt_dlp.networking.exceptions import HTTPError, TransportError

    class SessionRH(RequestHandler):  # type: ignore[misc]
        """Sends by `send_request(method, url, data=, headers=)`, and keeps its `error`, which yt-dlp drops.

        `body(response)` is the body that yt-dlp gets; None: the response's own. With `passes_loopback` requests to
        this machine itself are sent past the session until `loopback_until`. `cookie_header(url)` is what to send as
        cookies.
        """

        _SUPPORTED_URL_SCHEMES = ("https", "http")
        _SUPPORTED_PROXY_SCHEMES = None
        _SUPPORTED_FEATURES = None

        send_request: Any = None
        body: Any = None
        error: Exception | None = None
        passes_loopback = False
        loopback_until = 0.0
        cookie_header: Any = None

        def _check_extensions(self, extensions: dict[str, Any]) -> None:
            extensions.clear()

        def _send(self, request: Any) -> Any:
            if self.send_request is None or self.error is not None:
                raise TransportError("no attempt is under way")
            headers = {k: v for k, v in self._get_headers(request).items() if k.lower() != "accept-encoding"}
            if self.passes_loopback and is_loopback(request.url):
                return self._ask_provider(request, headers)
            cookies = self.cookie_header(request.url) if self.cookie_header is not None else None
            if cookies:
                headers["Cookie"] = cookies
            try:
                got = self.send_request(request.method, request.url, data=request.data, headers=headers)
            except Exception as exc:  # noqa: BLE001 - kept, and raised when yt-dlp has returned
                self.error = exc
                raise TransportError("the request failed") from None
            return self._response(got)

        def _ask_provider(self, request: Any, headers: dict[str, str]) -> Any:
            """What a plugin asks of a program on this machine; its failure is the plugin's business."""
            left_s = max(1.0, self.loopback_until - time.monotonic())
            with requests.Session() as session:
                session.trust_env = False
                try:
                    got = session.request(
                        request.method,
                        request.url,
                        data=request.data,
                        headers=headers,
                        timeout=left_s,
                        allow_redirects=False,  # they may lead elsewhere
                    )
                except requests.RequestException as exc:
                    raise TransportError(f"{type(exc).__name__} on loopback") from None
                response = Response(
                    io.BytesIO(got.content), got.url, dict(got.headers), status=got.status_code
                )
                if not 200 <= got.status_code < 300:
                    raise HTTPError(response)
                return response

        def _response(self, got: requests.Response) -> Any:
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
