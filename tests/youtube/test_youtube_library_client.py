"""The way `page`: the library as it is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import youtube_transcript_api as yta
from youtube_site import VIDEO, Reply, Site, permit, player

from engine.model import Kind
from engine.network.answer import FailureError
from engine.network.client import Client
from engine.youtube.library_client import library_client
from engine.youtube.player import OddAnswerError
from engine.youtube.tracks import Track
from engine.youtube.video_attempt import VideoAttempt

MakeClient = Callable[..., Client]


def asked(client: Client, video_id: str = VIDEO) -> list[Track]:
    with client.attempt(permit(), 30) as attempt:
        return library_client(attempt.session).tracks(VideoAttempt(attempt, video_id))


def test_it_fetches_the_page_and_uses_its_key(site: Site, make_client: MakeClient) -> None:
    site.video()
    assert len(asked(make_client())) == 9
    assert site.paths == ["/watch", "/youtubei/v1/player"]
    assert "key=AIza" in site.asked[1].target
    assert site.asked[1].client == "ANDROID"


def test_a_list_that_the_library_cannot_read_is_read_all_the_same(
    site: Site, make_client: MakeClient
) -> None:
    answer = player()
    for track in answer["captions"]["playerCaptionsTracklistRenderer"]["captionTracks"]:
        track["name"] = {"simpleText": "English"}
    site.video(answer)
    assert len(asked(make_client())) == 9


def test_all_of_a_refusal_is_read(site: Site, make_client: MakeClient) -> None:
    """The library keeps the reason only."""
    screen = {"playerErrorMessageRenderer": {"subreason": {"simpleText": "It is not shown in your country"}}}
    site.video({"playabilityStatus": {"status": "UNPLAYABLE", "reason": "No", "errorScreen": screen}})
    with pytest.raises(FailureError) as caught:
        asked(make_client())
    assert caught.value.failure.kind is Kind.REGION_BLOCKED


def test_an_answer_about_another_video_is_odd(site: Site, make_client: MakeClient) -> None:
    for answer in (player(), player("youtube_transcripts_disabled")):
        site.video(answer)
        with pytest.raises(OddAnswerError, match="another video"):
            asked(make_client(), "aaaaaaaaaaA")


def test_what_the_library_raises_is_passed_on(site: Site, make_client: MakeClient) -> None:
    site.video()
    site.answers["/youtubei/v1/player"] = Reply("no", 400)
    with pytest.raises(yta.YouTubeRequestFailed):
        asked(make_client())
    site.answers["/youtubei/v1/player"] = Reply("<html>")
    with pytest.raises(ValueError, match="Expecting value"):
        asked(make_client())


def test_other_requests_of_the_session_are_not_its_business(site: Site, make_client: MakeClient) -> None:
    site.video()
    client = make_client()
    asked(client)
    with client.attempt(permit(), 30) as attempt:
        video = VideoAttempt(attempt, VIDEO)
        attempt.request(
            "POST",
            "https://www.youtube.com/youtubei/v1/player",
            json={"context": {"client": {"clientName": "X"}}},
        )
        assert video.player is None
