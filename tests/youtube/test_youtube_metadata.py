"""Metadata from a player answer; full metadata: what the third request sends, what it adds, and how it fails."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import json_values
from youtube_site import VIDEO, Asked, Reply, Site, asset, permit, player

from engine.errors import Interrupted
from engine.model import Fetched, Kind, Metadata, NotFetched, Permit
from engine.network.answer import FailureError
from engine.youtube.fetcher import Fetcher, FetchSettings
from engine.youtube.metadata import page_date, read_metadata, read_microformat, with_microformat

RENDERER = {
    "externalVideoId": VIDEO,
    "publishDate": "2018-08-02T09:00:11-07:00",
    "uploadDate": "2018-08-02",
    "category": "Science & Technology",
    "likeCount": "41230",
    "availableCountries": ["AD", "AE"],
}
GOOD = {"microformat": {"playerMicroformatRenderer": RENDERER}}


def full(site: Site, make_client: Any, web: Any, **client: Any) -> Fetched | NotFetched:
    """Fetch with full metadata, `web` being the answer to the WEB client."""
    site.video()

    def answer(asked: Asked, sock: Any) -> Any:
        reply = web if asked.client == "WEB" else Reply(player(), zipped=True)
        return reply(asked, sock) if callable(reply) else reply

    site.answers["/youtubei/v1/player"] = answer
    return Fetcher(make_client(**client), FetchSettings(metadata="full", deadline_s=5)).fetch(VIDEO, permit())


def test_what_full_metadata_asks_for_and_what_it_tells(site: Site, make_client: Any) -> None:
    result = full(site, make_client, Reply(GOOD))
    assert isinstance(result, Fetched)
    assert (
        result.cost.requests == len(site.asked) == 4
    )  # the last for chapters, of which this site knows nothing
    assert result.metadata.title == "Surface Go Review - It’s Awesome"
    assert result.metadata.publish_date == "2018-08-02T09:00:11-07:00"
    assert result.metadata.upload_date == "2018-08-02"
    assert result.metadata.category == "Science & Technology"
    assert (result.metadata.like_count, result.metadata.available_countries) == (41230, ("AD", "AE"))
    asked = site.asked[2]
    assert asked.target.replace("%24", "$").endswith("$fields=microformat,playabilityStatus")
    body = json.loads(asked.body)
    assert body["videoId"] == VIDEO
    assert body["context"]["client"]["clientVersion"] == asked.headers["x-youtube-client-version"]


def test_basic_asks_for_none_of_it(site: Site, make_client: Any) -> None:
    site.video()
    result = Fetcher(make_client(), FetchSettings()).fetch(VIDEO, permit())
    assert isinstance(result, Fetched)
    assert result.cost.requests == 2
    assert result.metadata.publish_date is result.metadata.available_countries is None


def test_a_date_and_a_picture_from_any_answer_that_has_them() -> None:
    pictures = [
        {"url": "https://i.ytimg.com/vi/x/default.jpg", "width": 120},
        {"url": "https://i.ytimg.com/vi/x/maxres.jpg", "width": 1280},
        {"url": "javascript:alert(1)", "width": 9999},
        {"url": 7},
        None,
    ]
    details = {"title": "a", "thumbnail": {"thumbnails": pictures}}
    found = read_metadata(details, GOOD)
    assert (found.published, found.thumbnail) == (
        "2018-08-02T09:00:11-07:00",
        "https://i.ytimg.com/vi/x/maxres.jpg",
    )
    assert found.publish_date is None, "only full metadata has it"
    bare = read_metadata({"title": "a"}, {"videoDetails": {}})
    assert bare.published is bare.thumbnail is None
    assert with_microformat(bare, RENDERER).published == RENDERER["publishDate"]
    assert with_microformat(found, {}).published == found.published
    assert read_metadata(player()["videoDetails"]).thumbnail


def test_the_date_in_a_real_watch_page() -> None:
    assert page_date(asset("youtube.html")) == "2018-08-02T06:00:08-07:00"
    assert page_date(b"<html>") is None
    assert page_date(b'<meta itemprop="datePublished" content="yesterday">') is None


def refusing(status: str, reason: str) -> Reply:
    return Reply({"playabilityStatus": {"status": status, "reason": reason}})


@pytest.mark.parametrize(
    ("web", "kind", "words"),
    [
        (Reply("busy", 503), Kind.SERVER_ERROR, "answers 503"),
        (Reply("no", 400), Kind.SERVER_ERROR, "update yt-dlp"),
        (Reply("busy", 429, headers={"Retry-After": "9"}), Kind.BLOCKED, "answers 429"),
        (Reply("<html><div class='g-recaptcha'></div>"), Kind.BLOCKED, "captcha"),
        (refusing("LOGIN_REQUIRED", "Sign in to confirm you’re not a bot"), Kind.BLOCKED, "not a bot"),
        (Reply("<html>"), Kind.GARBLED, "could not be read"),
        (Reply(b""), Kind.GARBLED, "empty"),
        (Reply({}), Kind.GARBLED, "no microformat"),
        (Reply("[]", media="application/json"), Kind.GARBLED, "not an object"),
        (Reply({"microformat": {"playerMicroformatRenderer": {}}}), Kind.GARBLED, "no microformat"),
        (refusing("LOGIN_REQUIRED", "This video is private"), Kind.GARBLED, "This video is private"),
        (refusing("UNPLAYABLE", "Premieres in 3 hours"), Kind.GARBLED, "Premieres"),
        (refusing("UNPLAYABLE", "Whatever"), Kind.UNKNOWN, "Whatever"),
        (lambda *_: None, Kind.NETWORK, "cut"),
    ],
)
def test_its_failures_are_the_attempt_s_and_never_final(
    web: Any, kind: Kind, words: str, site: Site, make_client: Any
) -> None:
    result = full(site, make_client, web)
    assert isinstance(result, NotFetched)
    assert result.failure.kind is kind
    assert result.failure.message.startswith("full metadata: ")
    assert words in result.failure.message
    assert result.cost.requests == 3
    assert result.metadata
    assert result.failure.retry_after_s == (9 if "429" in words else None)


def test_it_is_not_asked_for_a_video_that_has_nothing_to_record(site: Site, make_client: Any) -> None:
    site.video({"playabilityStatus": {"status": "LOGIN_REQUIRED", "reason": "This video is private"}})
    result = Fetcher(make_client(), FetchSettings(metadata="full")).fetch(VIDEO, permit())
    assert isinstance(result, NotFetched)
    assert (result.failure.kind, result.cost.requests) == (Kind.PRIVATE, 1)


def test_it_can_be_interrupted(site: Site, make_client: Any) -> None:
    granted: list[int] = []

    def take(_: int) -> Permit:
        if granted:
            raise Interrupted
        granted.append(1)
        return permit()

    with pytest.raises(Interrupted):
        full(site, make_client, Reply(GOOD), acquire=take)
    assert len(site.asked) == 2


def test_what_web_will_not_play_it_still_describes() -> None:
    answer = {**GOOD, "playabilityStatus": {"status": "LOGIN_REQUIRED", "reason": "confirm your age"}}
    assert read_microformat(answer, VIDEO) == RENDERER


@given(json_values)
def test_odd_answers_are_failures(odd: Any) -> None:
    for answer in (
        odd,
        {"microformat": odd},
        {"microformat": {"playerMicroformatRenderer": {"externalVideoId": "x"}}},
    ):
        with pytest.raises(FailureError):
            read_microformat(answer, VIDEO)


keys = st.sampled_from(["publishDate", "uploadDate", "category", "likeCount", "availableCountries"])


@given(st.dictionaries(keys, json_values | st.text() | st.lists(json_values)))
def test_any_renderer_is_read(renderer: dict[str, Any]) -> None:
    found = with_microformat(Metadata(title="a"), renderer)
    assert found.title == "a"
    assert found.like_count is None or found.like_count >= 0
    json.dumps([found.publish_date, found.category, found.available_countries]).encode()


@pytest.mark.parametrize("date", ["yesterday", "2018-13-02", "٢٠١٨-٠٨-٠٢", 20180802, "2018-08-02\n", ""])
def test_what_is_no_date_is_left_out(date: Any) -> None:
    assert with_microformat(Metadata(), {"publishDate": date}).publish_date is None


def test_a_captured_answer() -> None:
    found = read_metadata(player()["videoDetails"])
    assert found.title == "Surface Go Review - It’s Awesome"
    assert (found.channel, found.channel_id) == ("Dave2D", "UCVYamHliCI9rw1tHR1xbkfw")
    assert (found.duration_s, found.view_count, found.is_live) == (316, 1856109, False)
    assert found.keywords[:2] == ("Dave2D", "Review")
    assert found.description
    assert found.description.startswith("Dave2D review of the Microsoft Surface Go.")


def test_other_types_are_none() -> None:
    odd = {"title": 7, "lengthSeconds": "-3", "viewCount": True, "keywords": "a,b", "isLiveContent": "no"}
    assert read_metadata(odd) == Metadata()
    assert read_metadata({"lengthSeconds": 12, "keywords": ["a", 3, "", "b"]}) == Metadata(
        duration_s=12, keywords=("a", "b")
    )
    assert read_metadata({"viewCount": "9" * 5000, "lengthSeconds": "٣"}) == Metadata()


def test_half_a_surrogate_pair_does_not_reach_a_file() -> None:
    assert read_metadata({"title": "a\ud83dz"}).title == "a?z"


keys = st.sampled_from(
    ["title", "author", "channelId", "lengthSeconds", "viewCount", "keywords", "isLiveContent"]
)


@given(st.dictionaries(keys, json_values | st.text(st.characters())) | json_values)
def test_nothing_raises(value: object) -> None:
    found = read_metadata(value)
    assert all(isinstance(k, str) for k in found.keywords)
    for text in (found.title, found.channel, found.description):
        assert text is None or isinstance(text.encode(), bytes)
