"""The videos of a channel, a playlist or a search, page by page, as yt-dlp finds them.

yt-dlp knows the shapes of these pages; its requests go through the door, each one an attempt of its own with its own
permit and deadline. It is asked without web pages (`youtubetab:skip=webpage`): two requests to begin with, then one a
page. A page is over when the next one is asked for, and the token of that request is where a listing can go on:
given back later, it is put into the first request for a further page, so that a listing of 50,000 videos that was cut
off costs its first page again and no more. (yt-dlp's own `playlist_items` would read all pages before.)
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import requests

from engine.errors import EngineError, Interrupted
from engine.model import Failure, Kind, Permit, RequestCost
from engine.network.answer import FailureError
from engine.network.client import Door
from engine.youtube.classify import by_status, classify
from engine.youtube.messages import clean, kind_of, said
from engine.youtube.ytdlp_handler import Silent, handler_class

_OPTIONS: dict[str, Any] = {
    "quiet": True,
    "cachedir": False,
    "extractor_retries": 0,
    "js_runtimes": {},
    # A playlist's hidden videos cost a request more and come to nothing.
    "compat_opts": {"no-youtube-unavailable-videos"},
    "extractor_args": {
        "youtubetab": {"skip": ["webpage", "authcheck"]},
        "youtube": {
            "raise_incomplete_data": ["1"]
        },  # else an empty answer would pass for the end of the list
    },
}
_VIDEO_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_NO_TAB = re.compile(r"does not have an? \w+ tab")
_WRONG = re.compile(
    r"(does not|doesn't) exist|not found|failed to resolve|terminated|unviewable|is private|been (removed|deleted)"
    r"|unavailable|not available",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Page:
    """Videos in the order of the list, and the token of what follows; None at the end.

    `repeated`: it is the list's first page, come again on the way to where the listing goes on.
    """

    ids: tuple[str, ...]
    following: str | None
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Stopped:
    """Why no page follows. `wrong`: the source itself is, no further try helps; `missing`: a channel without this tab
    (`channel_id`: whose, as far as it was learnt)."""

    failure: Failure
    wrong: bool = False
    missing: bool = False
    channel_id: str | None = None


def address(kind: str, source: str, part: str, max_results: int | None) -> str:
    """What yt-dlp is asked for: `source` as in `engine.inputs.sources`, `part` a channel's tab or list of uploads."""
    if kind == "search":
        return f"ytsearch{max_results or 1}:{source.removeprefix('search:')}"
    if kind == "playlist" or part.startswith("UU"):
        return f"https://www.youtube.com/playlist?list={part or source}"
    name = quote(source.removesuffix(f"/{part}"), safe="/@")  # a handle may be of any script
    return f"https://www.youtube.com/{f'channel/{name}' if name.startswith('UC') else name}/{part}"


class Lists:
    """Asks yt-dlp, for one thread.

    `take()` gives a permit, of any egress; it may raise errors.Interrupted. `told(permit, failure,
    cost)` hears of each request, failure None for one that was answered.
    """

    def __init__(
        self,
        door: Door,
        take: Callable[[], Permit],
        told: Callable[[Permit, Failure | None, RequestCost], None],
        deadline_s: float,
    ) -> None:
        import yt_dlp
        from yt_dlp.extractor.youtube import YoutubeIE, YoutubeSearchIE, YoutubeTabIE

        self._door, self._take, self._told, self._deadline_s = door, take, told, deadline_s
        self._ydl = yt_dlp.YoutubeDL({**_OPTIONS, "logger": Silent()}, auto_init=False)
        for each in (YoutubeTabIE, YoutubeSearchIE, YoutubeIE):
            self._ydl.add_info_extractor(each(self._ydl))
        self._handler: Any = handler_class()
        self._ydl._request_director = self._ydl.build_request_director([self._make_handler])
        self._handler.ask = self._ask
        self._status = 0
        self._asked_for: str | None = None  # the token of the latest request
        self._jump: str | None = None
        self._browsed: str | None = None

    def _make_handler(self, **kwargs: Any) -> Any:
        self._handler = handler_class()(**kwargs)
        return self._handler

    def pages(self, url: str, token: str | None = None) -> Iterator[Page | Stopped]:
        """The pages behind an address of `address`, from `token` on; a Stopped comes last if it comes.

        Raises errors.Interrupted, and other EngineErrors that `take` raises.
        """
        self._handler.trouble = None
        self._status, self._asked_for, self._jump, self._browsed = 0, None, token, None
        ids: list[str] = []
        at: str | None = None
        repeated = token is not None
        try:
            for entry in self._entries(url):
                if self._asked_for != at:
                    yield Page(tuple(ids), self._asked_for, repeated)
                    ids, at, repeated = [], self._asked_for, False
                video_id = entry.get("id") if entry.get("ie_key") == "Youtube" else None
                if isinstance(video_id, str) and _VIDEO_ID.fullmatch(video_id):
                    ids.append(video_id)
        except Exception as exc:  # noqa: BLE001 - yt-dlp's own, or a shape that it does not know: it becomes data
            trouble = self._handler.trouble
            if isinstance(trouble, (Interrupted, EngineError)):
                raise trouble from None
            if ids:
                yield Page(tuple(ids), self._asked_for, repeated)
            yield self._stopped(trouble, exc)
            return
        yield Page(tuple(ids), None, repeated)

    def _entries(self, url: str) -> Iterator[dict[str, Any]]:
        """What yt-dlp yields for an address, lazily; a redirect within YouTube is followed once."""
        for _ in range(2):
            found = self._ydl.get_info_extractor(
                "YoutubeSearch" if url.startswith("ytsearch") else "YoutubeTab"
            )
            found = found.extract(url)
            if found.get("_type") != "url" or found.get("ie_key") != "YoutubeTab":
                break
            url = found["url"]
        yield from (entry for entry in found.get("entries") or () if entry)

    def _stopped(self, trouble: Exception | None, exc: Exception) -> Stopped:
        began = self._asked_for is None  # nothing came yet
        if isinstance(trouble, FailureError):
            if self._status == 404 and began:
                return Stopped(
                    Failure(Kind.UNAVAILABLE, "YouTube knows no such channel or playlist"), wrong=True
                )
            return Stopped(trouble.failure)
        from yt_dlp.utils import ExtractorError

        if not isinstance(exc, ExtractorError):
            message = f"YouTube's list could not be read ({type(exc).__name__}); is there a newer yt-dlp?"
            return Stopped(Failure(Kind.GARBLED, message))
        text = clean(exc.orig_msg.removeprefix("YouTube said: "))
        if _NO_TAB.search(text):
            return Stopped(
                Failure(Kind.UNAVAILABLE, text), wrong=True, missing=True, channel_id=self._browsed
            )
        if kind_of(text) is Kind.BLOCKED:
            return Stopped(said(text))
        if began and _WRONG.search(text):
            return Stopped(Failure(Kind.UNAVAILABLE, f"YouTube says: {text}"), wrong=True)
        return Stopped(Failure(Kind.GARBLED, f"YouTube's list could not be read: {text}"))

    # ---- one request -----------------------------------------------------------------------------------------
    def _ask(self, method: str, url: str, *, data: Any, headers: dict[str, str]) -> requests.Response:
        data = self._noted(data)
        with self._door.attempt(self._take(), self._deadline_s) as attempt:
            failure = None
            try:
                got = attempt.request(method, url, data=data, headers=headers)
                self._status = got.status_code
                if got.status_code != 200 or attempt.answer.captcha:
                    failure = by_status(attempt.answer)
            except (Interrupted, EngineError):
                raise
            except Exception as exc:  # noqa: BLE001 - nothing foreign leaves: it becomes data
                self._status = 0
                failure = classify(exc, attempt.answer)
            attempt.spoilt = failure is not None and failure.kind is Kind.BLOCKED
            self._told(attempt.permit, failure, attempt.cost)
            if failure is not None:
                raise FailureError(failure)
            return got

    def _noted(self, data: Any) -> Any:
        """A request's body, with where the listing goes on in the first one for a further page."""
        try:
            body = json.loads(data)
            token = body.get("continuation")
        except (TypeError, ValueError, AttributeError):
            return data
        if isinstance(body.get("browseId"), str):
            self._browsed = body["browseId"]
        if token is None:
            return data
        if self._jump is not None:
            token, self._jump = self._jump, None
            body["continuation"] = token
            data = json.dumps(body).encode()
        self._asked_for = token
        return data

    def close(self) -> None:
        self._ydl.close()
