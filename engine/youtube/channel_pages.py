"""Lists the videos of a channel, a playlist or a search by yt-dlp, page by page.

yt-dlp knows the shapes of these pages. Its requests are sent by the engine's HTTP client, each as an attempt of its
own with a permit and a deadline. Without web pages (`youtubetab:skip=webpage`) it takes two requests for the first
page and one for each further page.

A page ends when yt-dlp asks for the next one, and the continuation token of that request is where a listing can
resume: given back later, it replaces the token in the first request for a further page. So resuming a listing of
50,000 videos costs its first page again and no more; yt-dlp's own `playlist_items` would read all pages before.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import requests

from engine.errors import EngineError, Interrupted
from engine.model import Failure, Kind, Permit, RequestCost
from engine.network.answer import FailureError
from engine.network.client import Client
from engine.youtube.classify import by_status, classify
from engine.youtube.messages import clean, failure_from, kind_of
from engine.youtube.ytdlp_client import open_ytdlp

_OPTIONS: dict[str, Any] = {
    "quiet": True,
    "cachedir": False,
    "extractor_retries": 0,
    "js_runtimes": {},
    # A playlist's hidden videos would cost one more request and cannot be fetched.
    "compat_opts": {"no-youtube-unavailable-videos"},
    "extractor_args": {
        "youtubetab": {"skip": ["webpage", "authcheck"]},
        # Without this, an empty answer would pass for the end of the list.
        "youtube": {"raise_incomplete_data": ["1"]},
    },
}
_DATED = {
    **_OPTIONS["extractor_args"],
    "youtubetab": {**_OPTIONS["extractor_args"]["youtubetab"], "approximate_date": ["1"]},
}
_DAY_S = 86_400.0
_CALENDAR = 0.02  # of an age: how much months and years may differ
_VIDEO_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_NO_TAB = re.compile(r"does not have an? \w+ tab")
_WRONG = re.compile(
    r"(does not|doesn't) exist|not found|failed to resolve|terminated|unviewable|is private|been (removed|deleted)"
    r"|unavailable|not available",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Page:
    """Video ids in the order of the list. `following` is the token of the next page, None at the end.

    `repeated`: this is the first page of the list, read again to resume the listing. `dates`, if they were asked for:
    when each video may have been published at the latest, in seconds since 1970; None where the list does not say.
    """

    ids: tuple[str, ...]
    following: str | None
    repeated: bool = False
    dates: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why no page follows. `wrong`: the source does not exist, so trying again is no use. `missing`: the channel has
    no such tab; `channel_id` is the channel's, if it is known."""

    failure: Failure
    wrong: bool = False
    missing: bool = False
    channel_id: str | None = None


def _latest(approximate: object) -> float | None:
    """When a video was published at the latest, with some room.

    A list says `2 weeks ago` of what is two weeks old or more. yt-dlp counts back from now, by the calendar, and
    rounds to whole days; whether the site's months have 30 days is not known.
    """
    if not isinstance(approximate, int | float):
        return None
    return approximate + 1.5 * _DAY_S + _CALENDAR * max(0.0, time.time() - approximate)


def listing_url(kind: str, source: str, part: str, max_results: int | None) -> str:
    """The URL for yt-dlp. `source` is as in `engine.inputs.sources`, `part` a channel's tab or list of uploads."""
    if kind == "search":
        return f"ytsearch{max_results or 1}:{source.removeprefix('search:')}"
    if kind == "playlist" or part.startswith("UU"):
        return f"https://www.youtube.com/playlist?list={part or source}"
    name = quote(source.removesuffix(f"/{part}"), safe="/@")  # a handle may be in any script
    return f"https://www.youtube.com/{f'channel/{name}' if name.startswith('UC') else name}/{part}"


class ListingClient:
    """Reads listings by yt-dlp, for one thread.

    `acquire()` returns a permit of any egress; it may raise errors.Interrupted. `report(permit, failure, cost)` is
    called after each request, with failure None for one that was answered.
    """

    def __init__(
        self,
        client: Client,
        acquire: Callable[[], Permit],
        report: Callable[[Permit, Failure | None, RequestCost], None],
        deadline_s: float,
    ) -> None:
        self._client, self._acquire, self._report, self._deadline_s = client, acquire, report, deadline_s
        self._ydl, self._handler = open_ytdlp(_OPTIONS, "YoutubeTabIE", "YoutubeSearchIE", "YoutubeIE")
        self._handler.send_request = self._send
        self._status = 0
        self._token: str | None = None  # of the latest request
        self._resume_token: str | None = None  # to be put into the next request with a token
        self._channel_id: str | None = None

    def pages(self, url: str, token: str | None = None, *, dated: bool = False) -> Iterator[Page | Stopped]:
        """The pages of a `listing_url`, from `token` on. A Stopped comes last, if there is one.

        `dated`: with the dates of the videos.

        Raises errors.Interrupted, and other EngineErrors that `acquire` raises.
        """
        self._handler.error = None
        self._status, self._token, self._resume_token, self._channel_id = 0, None, token, None
        self._ydl.params["extractor_args"] = _DATED if dated else _OPTIONS["extractor_args"]
        ids: list[str] = []
        dates: list[float | None] = []
        page_token: str | None = None
        repeated = token is not None
        try:
            for entry in self._entries(url):
                if self._token != page_token:
                    yield Page(tuple(ids), self._token, repeated, tuple(dates))
                    ids, dates, page_token, repeated = [], [], self._token, False
                video_id = entry.get("id") if entry.get("ie_key") == "Youtube" else None
                if isinstance(video_id, str) and _VIDEO_ID.fullmatch(video_id):
                    ids.append(video_id)
                    dates.append(_latest(entry.get("timestamp")))
        except Exception as exc:  # noqa: BLE001 - foreign exceptions become values here
            error = self._handler.error
            if isinstance(error, (Interrupted, EngineError)):
                raise error from None
            if ids:
                yield Page(tuple(ids), self._token, repeated, tuple(dates))
            yield self._stopped(error, exc)
            return
        yield Page(tuple(ids), None, repeated, tuple(dates))

    def _entries(self, url: str) -> Iterator[dict[str, Any]]:
        """The entries that yt-dlp yields for a URL, lazily. One redirect within YouTube is followed."""
        for _ in range(2):
            found = self._ydl.get_info_extractor(
                "YoutubeSearch" if url.startswith("ytsearch") else "YoutubeTab"
            )
            found = found.extract(url)
            if found.get("_type") != "url" or found.get("ie_key") != "YoutubeTab":
                break
            url = found["url"]
        yield from (entry for entry in found.get("entries") or () if entry)

    def _stopped(self, error: Exception | None, exc: Exception) -> Stopped:
        is_first = self._token is None  # the first page was not read yet
        if isinstance(error, FailureError):
            if self._status == 404 and is_first:
                return Stopped(
                    Failure(Kind.UNAVAILABLE, "YouTube knows no such channel or playlist"), wrong=True
                )
            return Stopped(error.failure)
        from yt_dlp.utils import ExtractorError

        if not isinstance(exc, ExtractorError):
            message = f"YouTube's list could not be read ({type(exc).__name__}); is there a newer yt-dlp?"
            return Stopped(Failure(Kind.GARBLED, message))
        text = clean(exc.orig_msg.removeprefix("YouTube said: "))
        if _NO_TAB.search(text):
            return Stopped(
                Failure(Kind.UNAVAILABLE, text), wrong=True, missing=True, channel_id=self._channel_id
            )
        if kind_of(text) is Kind.BLOCKED:
            return Stopped(failure_from(text))
        if is_first and _WRONG.search(text):
            return Stopped(Failure(Kind.UNAVAILABLE, f"YouTube says: {text}"), wrong=True)
        return Stopped(Failure(Kind.GARBLED, f"YouTube's list could not be read: {text}"))

    def _send(self, method: str, url: str, *, data: Any, headers: dict[str, str]) -> requests.Response:
        data = self._with_token(data)
        with self._client.attempt(self._acquire(), self._deadline_s) as attempt:
            failure = None
            try:
                got = attempt.request(method, url, data=data, headers=headers)
                self._status = got.status_code
                if got.status_code != 200 or attempt.answer.captcha:
                    failure = by_status(attempt.answer)
            except (Interrupted, EngineError):
                raise
            except Exception as exc:  # noqa: BLE001 - foreign exceptions become values here
                self._status = 0
                failure = classify(exc, attempt.answer)
            attempt.drop_session = failure is not None and failure.kind is Kind.BLOCKED
            self._report(attempt.permit, failure, attempt.cost)
            if failure is not None:
                raise FailureError(failure)
            return got

    def _with_token(self, data: Any) -> Any:
        """A request's body. The first one for a further page gets the token at which the listing resumes."""
        try:
            body = json.loads(data)
            token = body.get("continuation")
        except (TypeError, ValueError, AttributeError):
            return data
        if isinstance(body.get("browseId"), str):
            self._channel_id = body["browseId"]
        if token is None:
            return data
        if self._resume_token is not None:
            token, self._resume_token = self._resume_token, None
            body["continuation"] = token
            data = json.dumps(body).encode()
        self._token = token
        return data

    def close(self) -> None:
        self._ydl.close()
