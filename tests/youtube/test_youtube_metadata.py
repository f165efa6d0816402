from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from json_values import json_values
from youtube_site import player

from engine.model import Metadata
from engine.youtube.metadata import read_metadata


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
