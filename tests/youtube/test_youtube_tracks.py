"""The caption list, parsed without the library."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from json_values import json_values
from youtube_site import VIDEO, Site, permit, player

from engine.network.client import Client
from engine.youtube.library_client import library_client
from engine.youtube.tracks import list_tracks


def test_it_is_the_library_s_list(site: Site, make_client: Any) -> None:
    site.video()
    client: Client = make_client()
    with client.attempt(permit(), 30) as attempt:
        client = library_client(attempt, VIDEO)
        theirs = client.tracks(lean=True)
        ours = list_tracks(attempt.session, VIDEO, client.player)

    def told(tracks: Any) -> list[Any]:
        return sorted(
            (
                t.language_code, t.language, t.is_generated, t._url, t.is_translatable,
                [(language.language_code, language.language) for language in t.translation_languages],
            )
            for t in tracks
        )  # fmt: skip

    assert len(ours) == 9
    assert told(ours) == told(theirs)


def test_two_tracks_in_one_language_are_two() -> None:
    answer = player()
    renderer = answer["captions"]["playerCaptionsTracklistRenderer"]
    name = {"simpleText": "English - Director"}
    added = {"name": name, "baseUrl": "/api/timedtext?x=1", "isTranslatable": False}
    renderer["captionTracks"].append({**renderer["captionTracks"][2], **added})
    found = [t for t in list_tracks(None, VIDEO, answer) if t.language_code == "en" and not t.is_generated]  # type: ignore[arg-type]
    assert [t.language for t in found] == ["English", "English - Director"]
    assert [t.is_translatable for t in found] == [True, False]
    assert found[1]._url == "https://www.youtube.com/api/timedtext?x=1"


keys = st.sampled_from(
    ["baseUrl", "languageCode", "name", "runs", "text", "kind", "languageName", "isTranslatable"]
)


@given(st.dictionaries(keys, json_values | st.just("en")) | json_values, json_values)
def test_what_is_malformed_is_left_out(item: Any, odd: Any) -> None:
    good = {"baseUrl": "https://a", "languageCode": "en", "isTranslatable": True}
    renderer = {"captionTracks": [item, good], "translationLanguages": [item, odd]}
    tracks = list_tracks(None, VIDEO, {"captions": {"playerCaptionsTracklistRenderer": renderer}})  # type: ignore[arg-type]
    assert (tracks[-1].language_code, tracks[-1].language) == ("en", "en")
    for captions in (odd, {"playerCaptionsTracklistRenderer": odd}):
        assert isinstance(list_tracks(None, VIDEO, {"captions": captions}), list)  # type: ignore[arg-type]
