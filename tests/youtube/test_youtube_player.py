"""Player answers of live events: to come, running, just ended; and recordings, which are none of these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from youtube_site import VIDEO, Reply, Site, permit, player

from engine.model import Fetched, Kind, Metadata, NotFetched
from engine.network.client import Client
from engine.youtube.fetcher import Fetcher, FetchSettings
from engine.youtube.metadata import read_metadata, with_microformat
from engine.youtube.player import not_yet, refusal

MakeClient = Callable[..., Client]


@pytest.mark.parametrize(
    ("details", "says", "live"),
    [
        ({}, None, None),
        ({"isLiveContent": False}, None, False),
        ({"isLiveContent": True}, None, False),  # a recording, years later
        ({"isLiveContent": True, "isLive": True}, "runs now", True),
        ({"isLiveContent": True, "isLive": False}, None, False),
        ({"isLiveContent": True, "isPostLiveDvr": True}, "just ended", False),
        ({"isLiveContent": True, "isUpcoming": True}, "not begun", False),
        ({"isLive": "yes", "isUpcoming": 1, "isLiveContent": "no"}, None, None),
    ],
)
def test_the_state_as_it_is_now(details: dict[str, Any], says: str | None, live: bool | None) -> None:
    found = not_yet(details)
    assert (found.message if found else "").count(says or "") >= (says is not None)
    assert (found is None) == (says is None)
    assert found is None or found.kind is Kind.NOT_YET
    assert read_metadata(details).is_live is live


def test_the_microformat_knows_it_too() -> None:
    assert with_microformat(Metadata(), {"liveBroadcastDetails": {"isLiveNow": True}}).is_live is True
    assert (
        with_microformat(Metadata(is_live=True), {"liveBroadcastDetails": {"isLiveNow": False}}).is_live
        is False
    )
    assert with_microformat(Metadata(is_live=False), {"liveBroadcastDetails": []}).is_live is False


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("This live stream recording is not available.", Kind.NOT_YET),
        ("Premieres in 3 hours", Kind.NOT_YET),
        ("", Kind.NOT_YET),
        ("This video is private", Kind.PRIVATE),
        ("Join this channel to get access to members-only content", Kind.MEMBERS_ONLY),
        ("Sign in to confirm you’re not a bot", Kind.BLOCKED),
    ],
)
def test_an_event_that_is_off_air_is_to_come_unless_words_say_more(reason: str, kind: Kind) -> None:
    found = refusal({"status": "LIVE_STREAM_OFFLINE", "reason": reason})
    assert found is not None
    assert found.kind is kind


def answer(captions: Any, **state: Any) -> dict[str, Any]:
    found = player()
    found["videoDetails"] = {**found["videoDetails"], "isLiveContent": True, **state}
    found["captions"] = captions
    return found


EMPTY = {"playerCaptionsTracklistRenderer": {"captionTracks": []}}


@pytest.mark.parametrize("captions", [EMPTY, {}, None, {"playerCaptionsTracklistRenderer": {}}])
@pytest.mark.parametrize("state", ["isLive", "isPostLiveDvr", "isUpcoming"])
def test_an_event_without_captions_is_not_absent(
    captions: Any, state: str, site: Site, make_client: MakeClient
) -> None:
    site.video(answer(captions, **{state: True}))
    result = Fetcher(make_client(), FetchSettings()).fetch(VIDEO, permit())
    assert isinstance(result, NotFetched)
    assert (result.failure.kind, result.cost.requests) == (Kind.NOT_YET, 1)


def test_an_event_whose_captions_are_of_another_language_may_get_more(
    site: Site, make_client: MakeClient
) -> None:
    site.video({**player(), "videoDetails": {**player()["videoDetails"], "isLive": True}})
    result = Fetcher(make_client(), FetchSettings(languages=("xx",))).fetch(VIDEO, permit())
    assert isinstance(result, NotFetched)
    assert result.failure.kind is Kind.NOT_YET


@pytest.mark.parametrize("captions", [EMPTY, {}, None, {"playerCaptionsTracklistRenderer": {}}, []])
def test_a_recording_without_captions_has_none_once_a_second_client_agrees(
    captions: Any, site: Site, make_client: MakeClient
) -> None:
    site.video(answer(captions))
    for everything in (False, True):
        site.asked.clear()
        settings = FetchSettings(all_languages=everything)
        result = Fetcher(make_client(), settings).fetch(VIDEO, permit())
        assert isinstance(result, NotFetched)
        assert (result.failure.kind, result.cost.requests) == (Kind.NO_CAPTIONS, 2)
        assert [asked.client for asked in site.asked] == ["ANDROID", "VISIONOS"]


def test_the_second_client_s_tracks_are_read_where_the_first_list_is_empty(
    site: Site, make_client: MakeClient
) -> None:
    site.video()
    full = site.answers["/youtubei/v1/player"]
    site.answers["/youtubei/v1/player"] = lambda asked, _: (
        full if asked.client == "VISIONOS" else Reply(answer(EMPTY), zipped=True)
    )
    result = Fetcher(make_client(), FetchSettings()).fetch(VIDEO, permit())
    assert isinstance(result, Fetched)
    assert result.metadata.is_live is False


def test_a_list_in_a_shape_that_the_library_does_not_know_is_read(
    site: Site, make_client: MakeClient
) -> None:
    made = player()
    for track in made["captions"]["playerCaptionsTracklistRenderer"]["captionTracks"]:
        track["name"] = {"simpleText": "English"}
    site.video(made)
    result = Fetcher(make_client(), FetchSettings()).fetch(VIDEO, permit())
    assert isinstance(result, Fetched)
    assert (result.transcript.language_name, result.cost.requests) == ("English", 2)


def test_a_list_that_nobody_can_read_is_not_taken_for_none(site: Site, make_client: MakeClient) -> None:
    site.video(answer({"playerCaptionsTracklistRenderer": {"captionTracks": [{"baseUrl": 7}, None]}}))
    result = Fetcher(make_client(), FetchSettings()).fetch(VIDEO, permit())
    assert isinstance(result, NotFetched)
    assert result.failure.kind is Kind.GARBLED
