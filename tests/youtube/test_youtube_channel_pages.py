"""Pages of listings: where they resume, and what stops them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from youtube_site import Asked, Reply, Site, permit

from engine.errors import Interrupted
from engine.model import Failure, Kind
from engine.rehearsal import channel_pages
from engine.youtube.channel_pages import ListingClient, Page, Stopped, listing_url

VIDEOS = channel_pages.ids(channel_pages._Listing(80, "videos"), 1, 0)
CHANNEL = "https://www.youtube.com/@made-up-80/videos"
API = "/youtubei/v1/"
Got = list[Page | Stopped]


@pytest.fixture
def asked(site: Site) -> list[dict[str, Any]]:
    """The bodies of the requests for pages; the site answers like the rehearsal server."""
    bodies: list[dict[str, Any]] = []

    def browse(request: Asked, _: object) -> Reply:
        bodies.append(json.loads(request.body))
        return Reply(channel_pages.browse(bodies[-1], 1, 0))

    site.answers[API + "navigation/resolve_url"] = lambda request, _: Reply(
        channel_pages.resolve(json.loads(request.body)["url"]) or {}
    )
    site.answers[API + "browse"] = browse
    return bodies


@pytest.fixture
def lists(make_client: Any) -> Callable[..., Got]:
    told: list[Failure | None] = []

    def go(
        url: str = CHANNEL, token: str | None = None, acquire: Any = permit, *, dated: bool = False
    ) -> Got:
        client = ListingClient(
            make_client(max_bytes=1 << 20), acquire, lambda _, failure, __: told.append(failure), 5.0
        )
        try:
            return list(client.pages(url, token, dated=dated))
        finally:
            client.close()

    go.told = told  # type: ignore[attr-defined]
    return go


def spoil(site: Site, nth: int, reply: Any) -> None:
    """Give another answer to the nth request for a page."""
    good, seen = site.answers[API + "browse"], [0]

    def answer(request: Asked, sock: Any) -> Any:
        seen[0] += 1
        return reply if seen[0] == nth else good(request, sock)

    site.answers[API + "browse"] = answer


def stopped(got: Got) -> Stopped:
    assert isinstance(got[-1], Stopped)
    return got[-1]


def names(got: Got) -> list[str]:
    return [name for page in got if isinstance(page, Page) for name in page.ids]


def test_pages_come_one_by_one_and_say_where_it_goes_on(asked: Any, lists: Any) -> None:
    got = lists()
    assert [len(page.ids) for page in got] == [30, 30, 10]
    assert [page.following for page in got[:-1]] == [body["continuation"] for body in asked[1:]]
    assert got[-1].following is None
    assert tuple(names(got)) == VIDEOS
    assert lists.told == [None] * 4, "each request is told of: one to resolve, three pages"


def test_it_goes_on_at_a_token_for_the_price_of_the_first_page(asked: Any, lists: Any) -> None:
    whole = lists()
    asked.clear()
    again = lists(token=whole[1].following)
    assert [page.repeated for page in again] == [True, False]
    assert names(again) == [*whole[0].ids, *whole[2].ids]
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (Reply(status=500), Kind.SERVER_ERROR),
        (Reply(status=429), Kind.BLOCKED),
        (Reply("<div class='g-recaptcha'>"), Kind.BLOCKED),
        (Reply("<html>Sorry"), Kind.GARBLED),
        (Reply({}), Kind.GARBLED),
        (Reply({"onResponseReceivedActions": []}), Kind.GARBLED),
        (Reply("[1]"), Kind.GARBLED),
        (Reply(channel_pages._alert("The playlist does not exist.")), Kind.GARBLED),
        (Reply(channel_pages._alert("Sign in to confirm you're not a bot")), Kind.BLOCKED),
        (Reply(b"x" * (2 << 20)), Kind.TOO_LARGE),
        (None, Kind.NETWORK),
    ],
)
def test_a_bad_page_never_passes_for_the_end(
    site: Site, asked: Any, lists: Any, reply: Any, kind: Kind
) -> None:
    spoil(site, 3, reply)
    got = lists()
    stop = stopped(got)
    assert not stop.wrong
    assert stop.failure.kind in (kind, Kind.PROXY if kind is Kind.NETWORK else kind)
    assert tuple(names(got)) == VIDEOS[:60], "what came before it is handed over"
    assert isinstance(got[-2], Page)
    assert got[-2].following not in (None, asked[-1].get("continuation")), "and where to go on"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (listing_url("playlist", "PLnot-here-at-all", "", None), "The playlist does not exist"),
        (listing_url("channel", "UCnobodynobodynobodynobo", "videos", None), "This channel does not exist"),
    ],
)
def test_a_source_that_is_not_there_is_wrong_for_good(
    asked: Any, lists: Any, source: str, words: str
) -> None:
    stop = stopped(lists(source))
    assert stop.wrong
    assert words in stop.failure.message


def test_a_404_at_the_beginning_is_final_and_later_is_not(site: Site, asked: Any, lists: Any) -> None:
    spoil(site, 2, Reply(status=404))
    assert not stopped(lists()).wrong
    site.answers[API + "navigation/resolve_url"] = Reply({"error": {"code": 404}}, status=404)
    stop = stopped(lists())
    assert stop.wrong
    assert stop.failure.message == "YouTube knows no such channel or playlist"


def test_a_channel_without_the_tab(asked: Any, lists: Any) -> None:
    stop = stopped(lists("https://www.youtube.com/@made-up-4/shorts"))
    assert (stop.wrong, stop.missing, stop.channel_id) == (True, True, "UCmade-up000000000000004")


@pytest.mark.parametrize("exc", [RecursionError("x"), KeyError("x"), RuntimeError("x"), MemoryError()])
def test_whatever_yt_dlp_raises_becomes_data(
    asked: Any, lists: Any, exc: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def entries(*_: Any) -> Any:
        yield {"id": VIDEOS[0], "ie_key": "Youtube"}
        raise exc

    monkeypatch.setattr(ListingClient, "_entries", entries)
    got = lists()
    assert names(got) == [VIDEOS[0]]
    assert type(exc).__name__ in stopped(got).failure.message


def test_an_interruption_passes_through(asked: Any, lists: Any) -> None:
    count = [0]

    def take(*_: Any) -> Any:
        count[0] += 1
        if count[0] > 3:
            raise Interrupted
        return permit()

    with pytest.raises(Interrupted):
        lists(acquire=take)


@pytest.mark.parametrize(
    ("arguments", "url"),
    [
        (("channel", "@a-b", "shorts", None), "https://www.youtube.com/@a-b/shorts"),
        (("channel", "@a-b/shorts", "shorts", None), "https://www.youtube.com/@a-b/shorts"),
        (("channel", "UCx", "videos", None), "https://www.youtube.com/channel/UCx/videos"),
        (("channel", "@อน", "videos", None), "https://www.youtube.com/@%E0%B8%AD%E0%B8%99/videos"),
        (("channel", "c/name", "videos", None), "https://www.youtube.com/c/name/videos"),
        (("channel", "UCx", "UUx", None), "https://www.youtube.com/playlist?list=UUx"),
        (("playlist", "PLx", "", None), "https://www.youtube.com/playlist?list=PLx"),
        (("search", "search:a b", "", 7), "ytsearch7:a b"),
    ],
)
def test_listing_urls(arguments: Any, url: str) -> None:
    assert listing_url(*arguments) == url


@pytest.mark.parametrize(
    "url",
    ["https://www.youtube.com/@made-up-900/videos", "https://www.youtube.com/playlist?list=PLmade-up-900"],
)
def test_no_date_is_before_the_day_of_its_video_nor_long_after_it(
    lists: Callable[..., Got], asked: list[dict[str, Any]], url: str
) -> None:
    day_s, now = 86_400.0, time.time()
    pages = [page for page in lists(url, dated=True) if isinstance(page, Page)]
    dates = [at for page in pages for at in page.dates]
    assert len(dates) == sum(len(page.ids) for page in pages) > 700
    for days, latest in enumerate(
        dates
    ):  # the site's words for a video that is `days` old, and up to a day more
        assert latest is not None
        coarse = next((unit for unit in (365, 30, 7) if days >= unit), 1)
        assert now - days * day_s <= latest <= now - (days * 0.97 - coarse - 4) * day_s + 60
    assert not any(at for page in lists(url) if isinstance(page, Page) for at in page.dates)


def test_shorts_have_no_dates(lists: Callable[..., Got], asked: list[dict[str, Any]]) -> None:
    (page,) = lists("https://www.youtube.com/@made-up-100/shorts", dated=True)
    assert isinstance(page, Page)
    assert page.dates == (None,) * 10
