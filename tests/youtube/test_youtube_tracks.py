"""The caption list, parsed without the library."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import json_values
from youtube_site import VIDEO, Site, permit, player
from youtube_transcript_api import YouTubeTranscriptApi

from engine.network.client import Client
from engine.youtube.tracks import Track, list_tracks


def test_it_is_the_library_s_list(site: Site, make_client: Any) -> None:
    site.video()
    client: Client = make_client()
    with client.attempt(permit(), 30) as attempt:
        theirs = list(YouTubeTranscriptApi(http_client=attempt.session).list(VIDEO))
    ours = list_tracks(player())

    def told(tracks: Any, address: str) -> list[Any]:
        return sorted(
            (
                t.language_code, t.language, t.is_generated, getattr(t, address), bool(t.translation_languages),
                [(language.language_code, language.language) for language in t.translation_languages],
            )
            for t in tracks
        )  # fmt: skip

    assert len(ours) == 9
    assert told(ours, "url") == told(theirs, "_url")


@pytest.mark.parametrize(
    ("url", "needs"),
    [
        ("/api/timedtext?v=x&exp=xpe&lang=en", True),
        ("/api/timedtext?v=x&exp=xpv&lang=en", True),
        ("/api/timedtext?v=x&lang=en&exp=xpv", True),
        ("/api/timedtext?v=x&exp=xpa&lang=en", False),
        ("/api/timedtext?v=x&expire=xpe&lang=en", False),
        ("/api/timedtext?v=x&lang=en", False),
    ],
)
def test_which_texts_need_a_token(url: str, needs: bool) -> None:
    assert Track("English", "en", False, url).needs_token == needs


def test_a_translation_is_asked_for_by_the_track_s_own_address() -> None:
    track = next(t for t in list_tracks(player()) if t.language_code == "en")
    found = track.translate("fr")
    assert found.url == track.url + "&tlang=fr"
    assert (found.language, found.language_code, found.is_generated) == ("French", "fr", True)
    assert found.translation_languages == ()


def test_two_tracks_in_one_language_are_two() -> None:
    answer = player()
    renderer = answer["captions"]["playerCaptionsTracklistRenderer"]
    name = {"simpleText": "English - Director"}
    added = {"name": name, "baseUrl": "/api/timedtext?x=1", "isTranslatable": False}
    renderer["captionTracks"].append({**renderer["captionTracks"][2], **added})
    found = [t for t in list_tracks(answer) if t.language_code == "en" and not t.is_generated]
    assert [t.language for t in found] == ["English", "English - Director"]
    assert [bool(t.translation_languages) for t in found] == [True, False]
    assert found[1].url == "https://www.youtube.com/api/timedtext?x=1"


keys = st.sampled_from(
    ["baseUrl", "languageCode", "name", "runs", "text", "kind", "languageName", "isTranslatable"]
)


@given(st.dictionaries(keys, json_values | st.just("en")) | json_values, json_values)
def test_what_is_malformed_is_left_out(item: Any, odd: Any) -> None:
    good = {"baseUrl": "https://a", "languageCode": "en", "isTranslatable": True}
    renderer = {"captionTracks": [item, good], "translationLanguages": [item, odd]}
    tracks = list_tracks({"captions": {"playerCaptionsTracklistRenderer": renderer}})
    assert (tracks[-1].language_code, tracks[-1].language) == ("en", "en")
    for captions in (odd, {"playerCaptionsTracklistRenderer": odd}):
        assert isinstance(list_tracks({"captions": captions}), list)
