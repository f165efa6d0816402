from __future__ import annotations

from collections.abc import Callable

import pytest
import youtube_transcript_api as yta
from hypothesis import given
from hypothesis import strategies as st
from youtube_site import VIDEO, Reply, Site, permit, player

from engine.model import Cue, Kind
from engine.youtube.egress import Door
from engine.youtube.failures import FailureError
from engine.youtube.transcripts import OddAnswerError, choose, client_of, read

MakeDoor = Callable[..., Door]


def track(text: str) -> yta.Transcript:
    """`de` or `de*`, the star meaning generated."""
    code = text.rstrip("*")
    return yta.Transcript(None, VIDEO, "", code, code, text.endswith("*"), [])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("there", "wanted", "found"),
    [
        ("de en en*", "en", "en"),
        ("de en*", "en", "en*"),
        ("en-GB en-US", "en", "en-GB"),
        ("en-GB en", "en", "en"),
        ("en* en-GB", "en", "en-GB"),  # written by people, if for another country
        ("en-GB* en*", "en", "en*"),
        ("EN-gb", "en", "EN-gb"),
        ("de fr", "en,fr,de", "fr"),
        ("de* fr", "de,fr", "de*"),
        ("zh-Hans", "zh", "zh-Hans"),
        ("en", "en-GB", None),
        ("eng", "en", None),
        ("de fr*", "en", None),
        ("zh de de*", "any", "de"),
        ("zh fr de*", "any", "zh"),
        ("fr*", "any", "fr*"),
        ("fr* en", "fr,any", "fr*"),
        ("", "any", None),
    ],
)
def test_choice_of_language(there: str, wanted: str, found: str | None) -> None:
    tracks = [track(t) for t in there.split()]
    if found is None:
        with pytest.raises(FailureError) as caught:
            choose(tracks, wanted.split(","))
        assert caught.value.failure.kind is Kind.NO_LANGUAGE
        return
    chosen = choose(tracks, wanted.split(","))
    assert chosen.language_code + "*" * chosen.is_generated == found


def test_a_missing_language_names_what_exists() -> None:
    with pytest.raises(FailureError) as caught:
        choose([track("de*"), track("fr")], ["en", "es"])
    assert caught.value.failure.message == "no captions in en, es; exists: de (generated), fr"


codes = st.sampled_from(["en", "en*", "en-GB", "en-GB*", "de", "de-AT*", "fr*"])


@given(
    st.lists(codes, unique=True), st.lists(st.sampled_from(["en", "de", "fr", "es"]), min_size=1, unique=True)
)
def test_the_first_language_that_exists_wins(there: list[str], wanted: list[str]) -> None:
    def languages(text: str) -> str:
        return text.rstrip("*").partition("-")[0]

    existing = [w for w in wanted if w in map(languages, there)]
    try:
        chosen = choose([track(t) for t in there], wanted)
    except FailureError as exc:
        assert not existing
        assert all(t.rstrip("*") in exc.failure.message for t in there)
    else:
        assert languages(chosen.language_code) == existing[0]
        if chosen.is_generated:
            assert all(t.endswith("*") for t in there if languages(t) == existing[0])


def test_the_lean_way_is_two_requests(site: Site, make_door: MakeDoor) -> None:
    site.video()
    with make_door().attempt(permit(), 30) as attempt:
        client = client_of(attempt.session)
        tracks = client.tracks(VIDEO, lean=True)
        found = read(choose(tracks, ["en"]))
    assert attempt.cost.requests == 2
    assert site.paths == ["/youtubei/v1/player", "/api/timedtext"]
    assert site.asked[0].target == "/youtubei/v1/player?prettyPrint=false"
    assert site.asked[0].client == "ANDROID"
    assert "tlang" not in site.asked[1].target
    assert (found.language, found.language_name, found.is_generated) == ("en", "English", False)
    assert found.cues[0] == Cue(0.0, 1.54, "Hey, this is just a test")
    assert found.cues[1].text == "this is not the original transcript"
    assert client.details(VIDEO)["author"] == "Dave2D"
    assert client.details("another-one") == {}


def test_the_full_way_fetches_the_page_and_uses_its_key(site: Site, make_door: MakeDoor) -> None:
    site.video()
    with make_door().attempt(permit(), 30) as attempt:
        client_of(attempt.session).tracks(VIDEO, lean=False)
    assert site.paths == ["/watch", "/youtubei/v1/player"]
    assert "key=AIza" in site.asked[1].target


def test_the_mask_asks_for_less(site: Site, make_door: MakeDoor) -> None:
    site.video()
    with make_door().attempt(permit(), 30) as attempt:
        client_of(attempt.session, mask=True).tracks(VIDEO, lean=True)
    assert "$fields=playabilityStatus,captions." in site.asked[0].target.replace("%24", "$")


def test_an_answer_about_another_video_is_not_believed(site: Site, make_door: MakeDoor) -> None:
    with make_door().attempt(permit(), 30) as attempt:
        client = client_of(attempt.session)
        for answer in (player(), player("youtube_transcripts_disabled")):
            site.video(answer)
            with pytest.raises(OddAnswerError, match="another video"):
                client.tracks("aaaaaaaaaaA", lean=True)
        assert client.details("aaaaaaaaaaA") == {}


@pytest.mark.parametrize(
    ("xml", "kind"),
    [
        (b'<transcript><text start="0" dur="1"></text></transcript>', "no text"),
        (b'<transcript><text start="nan" dur="1">a</text></transcript>', "no numbers"),
    ],
)
def test_text_that_is_none(xml: bytes, kind: str, site: Site, make_door: MakeDoor) -> None:
    site.video(xml=xml)
    with make_door().attempt(permit(), 30) as attempt:
        tracks = client_of(attempt.session).tracks(VIDEO, lean=True)
        with pytest.raises(FailureError, match=kind):
            read(tracks[0])


def test_an_answer_that_is_no_json_is_left_to_the_library(site: Site, make_door: MakeDoor) -> None:
    site.video()
    site.answers["/youtubei/v1/player"] = Reply("<html>")
    with make_door().attempt(permit(), 30) as attempt:
        with pytest.raises(ValueError, match="Expecting value"):
            client_of(attempt.session).tracks(VIDEO, lean=True)
