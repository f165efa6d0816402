"""Direct player requests, and reading the text of a track."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from youtube_site import VIDEO, Reply, Site, permit, player

from engine.model import Cue, Kind
from engine.network.answer import FailureError
from engine.network.client import Client
from engine.youtube.classify import UnreadableError
from engine.youtube.clients import CLIENTS, client_of
from engine.youtube.player import OddAnswerError
from engine.youtube.track_choice import Wanted, choose
from engine.youtube.tracks import Track
from engine.youtube.video_attempt import VideoAttempt, ask_player

MakeClient = Callable[..., Client]
ANDROID = next(client for client in CLIENTS if client.name == "ANDROID")
OTHER = "aaaaaaaaaaA"


def asked(client: Client, video_id: str = VIDEO, *, masked: bool = False) -> list[Track]:
    with client.attempt(permit(), 30) as attempt:
        video = VideoAttempt(attempt, video_id)
        ask_player(video, ANDROID, masked=masked)
        return video.tracks(titled=True)


def test_two_requests_as_the_client_s_own_app(site: Site, make_client: MakeClient) -> None:
    site.video()
    with make_client().attempt(permit(), 30) as attempt:
        video = VideoAttempt(attempt, VIDEO)
        ask_player(video, ANDROID, masked=False)
        found = video.read(choose(video.tracks(titled=True), Wanted()).track)
    assert attempt.cost.requests == 2
    assert site.paths == ["/youtubei/v1/player", "/api/timedtext"]
    assert site.asked[0].target == "/youtubei/v1/player?prettyPrint=false"
    assert "tlang" not in site.asked[1].target
    assert (found.language, found.language_name, found.is_generated) == ("en", "English", False)
    assert found.cues[0] == Cue(0.0, 1.54, "Hey, this is just a test")
    assert found.cues[1].text == "this is not the original transcript"
    assert video.details["author"] == "Dave2D"


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.way)
def test_a_request_names_the_client_everywhere_alike(
    client: Any, site: Site, make_client: MakeClient
) -> None:
    """User agent, headers and context agree, and the caption request comes from the same app."""
    site.video()
    with make_client().attempt(permit(), 30) as attempt:
        video = VideoAttempt(attempt, VIDEO)
        ask_player(video, client, masked=False)
        video.read(video.tracks(titled=True)[0])
    first, second = site.asked
    named = json.loads(first.body)["context"]["client"]
    assert (named["clientName"], named["clientVersion"]) == (client.name, client.version)
    assert first.headers["x-youtube-client-name"] == client.number
    assert first.headers["x-youtube-client-version"] == client.version
    assert {named["userAgent"], first.headers["user-agent"], second.headers["user-agent"]} == {
        client.user_agent
    }
    assert "x-youtube-client-name" not in second.headers
    assert "python" not in str(first.headers).lower()


def test_the_mask_asks_for_less(site: Site, make_client: MakeClient) -> None:
    site.video()
    asked(make_client(), masked=True)
    assert "$fields=playabilityStatus,captions." in site.asked[0].target.replace("%24", "$")


def test_an_answer_about_another_video_is_odd(site: Site, make_client: MakeClient) -> None:
    for answer in (player(), player("youtube_transcripts_disabled")):
        site.video(answer)
        with pytest.raises(OddAnswerError, match="another video"):
            asked(make_client(), OTHER)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply("<html>"), "could not be read"),
        (Reply(b""), "is empty"),
        (Reply("[]", media="application/json"), "not an object"),
        (Reply({}), "does not say whether"),
        (Reply({"error": {"code": 400, "status": "FAILED_PRECONDITION"}}), "FAILED_PRECONDITION"),
        (Reply({**player(), "videoDetails": {"videoId": VIDEO}}), "names no title"),
    ],
    ids=str,
)
def test_what_is_no_answer_is_odd(reply: Reply, words: str, site: Site, make_client: MakeClient) -> None:
    site.video()
    site.answers["/youtubei/v1/player"] = reply
    with pytest.raises(OddAnswerError, match=words):
        asked(make_client())


@pytest.mark.parametrize("name", [{"simpleText": "English"}, None, 3])
def test_a_track_s_name_may_have_any_shape(name: Any, site: Site, make_client: MakeClient) -> None:
    answer = player()
    for track in answer["captions"]["playerCaptionsTracklistRenderer"]["captionTracks"]:
        track["name"] = name
    site.video(answer)
    assert len(asked(make_client())) == 9


@pytest.mark.parametrize(
    ("xml", "words"),
    [
        (b'<transcript><text start="0" dur="1"></text></transcript>', "no text"),
        (b'<transcript><text start="nan" dur="1">a</text></transcript>', "no numbers"),
    ],
)
def test_text_that_is_none(xml: bytes, words: str, site: Site, make_client: MakeClient) -> None:
    site.video(xml=xml)
    with make_client().attempt(permit(), 30) as attempt:
        video = VideoAttempt(attempt, VIDEO)
        ask_player(video, ANDROID, masked=False)
        with pytest.raises(FailureError, match=words):
            video.read(video.tracks(titled=True)[0])


@pytest.mark.parametrize("body", [b"", b"<html>captcha</html>"])
def test_a_text_that_is_unreadable(body: bytes, site: Site, make_client: MakeClient) -> None:
    site.video()
    site.answers["/api/timedtext"] = Reply(body)
    with make_client().attempt(permit(), 30) as attempt:
        video = VideoAttempt(attempt, VIDEO)
        ask_player(video, ANDROID, masked=False)
        with pytest.raises(UnreadableError):
            video.read(video.tracks(titled=True)[0])


def test_a_text_for_a_token_is_not_asked_for(site: Site, make_client: MakeClient) -> None:
    with make_client().attempt(permit(), 30) as attempt:
        for mark in ("xpe", "xpv"):
            track = Track(
                "English", "en", False, f"https://www.youtube.com/api/timedtext?v=x&exp={mark}&lang=en"
            )
            with pytest.raises(FailureError) as caught:
                VideoAttempt(attempt, VIDEO).read(track)
            assert caught.value.failure.kind is Kind.PO_TOKEN
    assert site.asked == []
    assert client_of("page") is None
