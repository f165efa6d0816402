from __future__ import annotations

from collections.abc import Callable

import pytest
from youtube_site import VIDEO, Reply, Site, permit, player

from engine.model import Cue
from engine.network.answer import FailureError
from engine.network.client import Client
from engine.youtube.library_client import library_client
from engine.youtube.player import OddAnswerError
from engine.youtube.track_choice import Wanted, choose

MakeClient = Callable[..., Client]


def test_the_lean_way_is_two_requests(site: Site, make_client: MakeClient) -> None:
    site.video()
    with make_client().attempt(permit(), 30) as attempt:
        client = library_client(attempt, VIDEO)
        tracks = client.tracks(lean=True)
        found = client.read(choose(tracks, Wanted()).track)
    assert attempt.cost.requests == 2
    assert site.paths == ["/youtubei/v1/player", "/api/timedtext"]
    assert site.asked[0].target == "/youtubei/v1/player?prettyPrint=false"
    assert site.asked[0].client == "ANDROID"
    assert "tlang" not in site.asked[1].target
    assert (found.language, found.language_name, found.is_generated) == ("en", "English", False)
    assert found.cues[0] == Cue(0.0, 1.54, "Hey, this is just a test")
    assert found.cues[1].text == "this is not the original transcript"
    assert client.details["author"] == "Dave2D"


def test_the_full_way_fetches_the_page_and_uses_its_key(site: Site, make_client: MakeClient) -> None:
    site.video()
    with make_client().attempt(permit(), 30) as attempt:
        library_client(attempt, VIDEO).tracks(lean=False)
    assert site.paths == ["/watch", "/youtubei/v1/player"]
    assert "key=AIza" in site.asked[1].target


def test_the_mask_asks_for_less(site: Site, make_client: MakeClient) -> None:
    site.video()
    with make_client().attempt(permit(), 30) as attempt:
        library_client(attempt, VIDEO, mask=True).tracks(lean=True)
    assert "$fields=playabilityStatus,captions." in site.asked[0].target.replace("%24", "$")


def test_an_answer_about_another_video_is_odd(site: Site, make_client: MakeClient) -> None:
    with make_client().attempt(permit(), 30) as attempt:
        client = library_client(attempt, "aaaaaaaaaaA")
        for answer in (player(), player("youtube_transcripts_disabled")):
            site.video(answer)
            with pytest.raises(OddAnswerError, match="another video"):
                client.tracks(lean=True)
        assert client.details == {}


@pytest.mark.parametrize(
    ("xml", "kind"),
    [
        (b'<transcript><text start="0" dur="1"></text></transcript>', "no text"),
        (b'<transcript><text start="nan" dur="1">a</text></transcript>', "no numbers"),
    ],
)
def test_text_that_is_none(xml: bytes, kind: str, site: Site, make_client: MakeClient) -> None:
    site.video(xml=xml)
    with make_client().attempt(permit(), 30) as attempt:
        client = library_client(attempt, VIDEO)
        tracks = client.tracks(lean=True)
        with pytest.raises(FailureError, match=kind):
            client.read(tracks[0])


def test_a_text_out_of_the_ordinary_is_read_by_the_library(site: Site, make_client: MakeClient) -> None:
    plain = b'<transcript><text start="0" dur="1">plain</text></transcript>'
    odd = b'<transcript><!-- x --><text start="0" dur="1">odd</text></transcript>'
    with make_client().attempt(permit(), 30) as attempt:
        client = library_client(attempt, VIDEO)
        for xml, said in ((plain, "plain"), (odd, "odd"), (plain, "plain")):
            site.video(xml=xml)
            track = client.tracks(lean=True)[0]
            assert [cue.text for cue in client.read(track).cues] == [said]
        assert [cue.text for cue in track.fetch()] == [
            "plain"
        ]  # other users of the session get what was sent


def test_an_answer_that_is_no_json_is_left_to_the_library(site: Site, make_client: MakeClient) -> None:
    site.video()
    site.answers["/youtubei/v1/player"] = Reply("<html>")
    with make_client().attempt(permit(), 30) as attempt:
        with pytest.raises(ValueError, match="Expecting value"):
            library_client(attempt, VIDEO).tracks(lean=True)
