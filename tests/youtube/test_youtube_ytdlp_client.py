"""The way `yt-dlp`: its exceptions never leave it, a release with new ones is noticed, plugins reach loopback."""

from __future__ import annotations

import http.server
import inspect
import threading
from typing import Any

import pytest
import yt_dlp.networking.exceptions as networking
import yt_dlp.utils
from youtube_site import VIDEO, Site, permit
from yt_dlp.networking import Request

from engine.model import Kind
from engine.network.answer import FailureError
from engine.youtube.video_attempt import VideoAttempt
from engine.youtube.ytdlp_client import YtdlpClient, open_ytdlp

# What extracting one video can raise. Before adding a new class, check whether it means a refusal by the site that
# the player answer does not show.
KNOWN = {
    "YoutubeDLError", "ExtractorError", "UnsupportedError", "RegexNotFoundError", "GeoRestrictedError",
    "UserNotLive", "DownloadError", "EntryNotInPlaylist", "SameFileError", "PostProcessingError",
    "DownloadCancelled", "ExistingVideoReached", "RejectedVideoReached", "MaxDownloadsReached", "ReExtractInfo",
    "ThrottledDownload", "UnavailableVideoError", "ContentTooShortError", "XAttrMetadataError",
    "XAttrUnavailableError", "UnsafeExecExpansionError",
    "RequestError", "UnsupportedRequest", "NoSupportingHandlers", "TransportError", "HTTPError",
    "IncompleteRead", "SSLError", "CertificateVerifyError", "ProxyError",
}  # fmt: skip


def classes() -> dict[str, type[BaseException]]:
    return {
        name: cls
        for module in (yt_dlp.utils, networking)
        for name, cls in inspect.getmembers(module, inspect.isclass)
        if issubclass(cls, yt_dlp.utils.YoutubeDLError)
    }


def test_every_class_of_yt_dlp_is_known() -> None:
    """A new release with a new class fails here."""
    assert set(classes()) == KNOWN


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_whatever_it_raises_becomes_a_failure(
    name: str, site: Site, make_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = classes()[name]

    def extract_info(*_: Any, **__: Any) -> None:
        raise kind.__new__(kind)  # some constructors need arguments

    monkeypatch.setattr(yt_dlp.YoutubeDL, "extract_info", extract_info)
    with make_client().attempt(permit(), 5) as attempt, pytest.raises(FailureError) as caught:
        YtdlpClient().tracks(VideoAttempt(attempt, VIDEO))
    assert caught.value.failure.kind is Kind.GARBLED
    assert name in caught.value.failure.message
    assert site.asked == []


def test_the_date_in_its_watch_page_is_read(site: Site, make_client: Any) -> None:
    site.video()
    with make_client().attempt(permit(), 5) as attempt:
        video = VideoAttempt(attempt, VIDEO)
        assert YtdlpClient().tracks(video)
    assert video.page_date == "2018-08-02T06:00:08-07:00"


def test_a_program_on_this_machine_leads_nowhere_else(site: Site) -> None:
    """A plugin's request passes uncounted, so its answer must not send it on."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_address[1]}/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ydl, handler = open_ytdlp({}, "YoutubeIE")
    handler.passes_loopback, handler.send_request = True, lambda *_, **__: None
    with pytest.raises(networking.HTTPError):
        ydl.urlopen(Request(f"http://127.0.0.1:{server.server_address[1]}/get_pot"))
    assert asked == ["/get_pot"]
    server.shutdown()
    server.server_close()
