"""Which tracks are chosen, which language is spoken, and the message when none fits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import json_values
from youtube_site import player

from engine.model import Kind
from engine.network.answer import FailureError
from engine.youtube.track_choice import Chosen, OnlyGeneratedError, Wanted, choose, ranked, spoken_language
from engine.youtube.tracks import Track, Translation


def track(text: str, into: str = "") -> Track:
    """`de` or `de*`, the star meaning generated; `into` names what it can be translated to."""
    code = text.rstrip("*")
    offered = tuple(Translation(code.upper(), code) for code in into.split())
    return Track(code, code, text.endswith("*"), f"/{code}", offered)


def shown(track: Track) -> str:
    return track.language_code + "*" * track.is_generated


def outcome(there: str, wanted: Wanted, spoken: str | None = None, into: str = "") -> str:
    """The chosen track, `source>target*` for a translation, or the message."""
    try:
        chosen = choose([track(t, into) for t in there.split()], wanted, spoken)
    except FailureError as exc:
        assert exc.failure.kind is Kind.NO_LANGUAGE
        return exc.failure.message
    return shown(chosen.track) if chosen.translated_from is None else f"{chosen[1]}>{shown(chosen.track)}"


@pytest.mark.parametrize(
    ("there", "languages", "spoken", "found"),
    [
        ("de en en*", "en", None, "en"),
        ("de en*", "en", None, "en*"),
        ("en-GB en-US", "en", None, "en-GB"),
        ("en-GB en", "en", None, "en"),
        ("en* en-GB", "en", None, "en-GB"),  # written by people, if for another country
        ("en-GB* en*", "en", None, "en*"),
        ("EN-gb", "en", None, "EN-gb"),
        ("de fr", "en,fr,de", None, "fr"),
        ("de* fr", "de,fr", None, "de*"),
        ("zh-Hans", "zh", None, "zh-Hans"),
        ("zh de de*", "any", None, "de"),
        ("zh fr de*", "any", None, "zh"),
        ("fr*", "any", None, "fr*"),
        ("fr* en", "fr,any", None, "fr*"),
        ("en de* en*", "any", "de", "en"),
        ("en* de*", "any", "de-DE", "de*"),
        ("en de en*", "orig", "en", "en"),
        ("en de*", "orig", "de", "de*"),
        ("pt pt-BR pt*", "orig", "pt-BR", "pt-BR"),
        ("en pt*", "orig", "pt-BR", "pt*"),
        ("en-GB en*", "orig", "en", "en-GB"),
        ("en de", "orig,de", None, "de"),
        ("en de", "ja,orig", "de", "de"),
        ("en", "en-GB", None, "no captions in en-GB; exists: en"),
        ("eng", "en", None, "eng"),
        ("enm", "en", None, "no captions in en; exists: enm"),
        ("iw", "he", None, "iw"),
        ("de iw* iw", "he", None, "iw"),
        ("he iw", "iw", None, "iw"),  # the same code first
        ("zh-Hant zh-CN", "zh", None, "zh-CN"),
        ("zh-Hant zh-CN", "zh-TW", None, "zh-Hant"),
        ("pt-PT pt", "pt-BR", None, "pt"),
        ("iw fr*", "orig", "he", "iw"),
        ("cy ta und zxx", "en", None, "no captions in en; exists: cy, ta, und, zxx"),
        ("de* fr", "en,es", None, "no captions in en, es; exists: de (generated), fr"),
        ("", "any", None, "no captions in any; exists: none"),
        ("en de", "orig", None, "no captions in orig (unknown); exists: en, de"),
        ("en de", "orig,ja", "pt", "no captions in orig (pt), ja; exists: en, de"),
    ],
)
def test_choice_of_language(there: str, languages: str, spoken: str | None, found: str) -> None:
    assert outcome(there, Wanted(tuple(languages.split(","))), spoken) == found


@pytest.mark.parametrize(
    ("there", "languages", "captions", "found"),
    [
        ("en en*", "en", "generated", "en*"),
        ("en en*", "en", "manual", "en"),
        ("de en*", "en,any", "manual", "de"),
        ("en-GB en*", "en", "generated", "en*"),
        ("de en*", "en", "manual", "no captions made by people in en; exists: de, en (generated)"),
        ("en de*", "en", "generated", "no generated captions in en; exists: en, de (generated)"),
    ],
)
def test_captions_made_by_whom_was_asked(there: str, languages: str, captions: Any, found: str) -> None:
    assert outcome(there, Wanted(tuple(languages.split(",")), captions), "en") == found


@pytest.mark.parametrize(
    ("there", "languages", "captions", "found"),
    [
        ("en fr", "en", "any", "fr"),  # what people wrote is better than any translation
        ("en fr-CA", "en", "any", "fr-CA"),
        ("en fr*", "en", "any", "fr*"),
        ("en fr*", "en", "manual", "en>fr*"),
        ("en* de", "de,en", "any", "de>fr*"),
        ("en", "en", "any", "en>fr*"),
        ("de", "en", "any", "no captions in fr, en; exists: de"),
    ],
)
def test_translation_is_for_what_is_not_there(there: str, languages: str, captions: Any, found: str) -> None:
    wanted = Wanted(tuple(languages.split(",")), captions, "fr")
    assert outcome(there, wanted, "en", into="de fr") == found


def test_a_translation_asks_for_it_in_the_library_s_way() -> None:
    chosen = choose([track("en", "fr zh-Hans")], Wanted(translate="zh"))
    assert chosen.translated_from == "en"
    assert (chosen.track.language_code, chosen.track.language) == ("zh-Hans", "ZH-HANS")
    assert chosen.track.url == "/en&tlang=zh-Hans"


def test_a_translation_is_found_by_either_code_and_asked_for_by_youtube_s() -> None:
    chosen = choose([track("en", "fr iw")], Wanted(translate="he"))
    assert (chosen.track.language_code, chosen.track.url) == ("iw", "/en&tlang=iw")


def test_what_youtube_does_not_translate_is_skipped_and_then_reported() -> None:
    locked, open_ = track("en"), track("de", "fr")
    assert choose([locked, open_], Wanted(("en", "de"), translate="fr")).translated_from == "de"
    with pytest.raises(FailureError, match="no captions in fr, and YouTube does not translate") as caught:
        choose([locked, open_], Wanted(("en",), translate="fr"))
    assert caught.value.failure.kind is Kind.NO_LANGUAGE
    assert "exists: en, de" in caught.value.failure.message


@pytest.mark.parametrize(
    ("there", "captions", "hidden"),
    [
        ("de*", "any", True),
        ("en*", "manual", True),
        ("en* de*", "manual", True),
        ("de* fr", "any", False),
        ("fr*", "generated", False),
        ("", "manual", False),
    ],
)
def test_only_generated_captions_may_mean_that_others_are_hidden(
    there: str, captions: Any, hidden: bool
) -> None:
    with pytest.raises(FailureError) as caught:
        choose([track(t) for t in there.split()], Wanted(("en",), captions))
    assert isinstance(caught.value, OnlyGeneratedError) is hidden
    assert caught.value.failure.kind is Kind.NO_LANGUAGE


codes = st.sampled_from(["en", "en*", "en-GB", "en-GB*", "de", "de-AT*", "fr*"])
some_languages = st.lists(st.sampled_from(["en", "de", "fr", "es"]), min_size=1, unique=True).map(tuple)


@given(st.lists(codes, unique=True), some_languages)
def test_the_first_language_that_exists_wins(there: list[str], languages: tuple[str, ...]) -> None:
    def base(text: str) -> str:
        return text.rstrip("*").partition("-")[0]

    existing = [w for w in languages if w in map(base, there)]
    try:
        chosen = choose([track(t) for t in there], Wanted(languages)).track
    except FailureError as exc:
        assert not existing
        assert all(t.rstrip("*") in exc.failure.message for t in there)
    else:
        assert base(chosen.language_code) == existing[0]
        if chosen.is_generated:
            assert all(t.endswith("*") for t in there if base(t) == existing[0])


@given(
    st.lists(codes),
    some_languages,
    st.sampled_from(["any", "manual", "generated"]),
    st.sampled_from(["en", None]),
)
def test_all_tracks_are_ranked_once_each_and_the_best_is_what_is_chosen(
    there: list[str], languages: tuple[str, ...], captions: Any, spoken: str | None
) -> None:
    tracks = [track(t) for t in there]
    fitting = [t for t in there if captions == "any" or t.endswith("*") == (captions == "generated")]
    try:
        best, *others = ranked(tracks, Wanted(languages, captions), spoken)
    except FailureError:
        assert not fitting
        return
    assert sorted(map(shown, [best, *others])) == sorted(fitting)
    assert len({id(t) for t in [best, *others]}) == len(fitting)
    try:
        assert choose(tracks, Wanted(languages, captions), spoken) == Chosen(best)
    except FailureError:
        assert best is choose(tracks, Wanted(("any",), captions), spoken).track


def answer(there: str, audio: str = "", default: Any = 0) -> dict[str, Any]:
    """A player answer with these tracks and these ids of audio tracks (`-` for none)."""
    listed = [{"languageCode": t.rstrip("*"), **({"kind": "asr"} if "*" in t else {})} for t in there.split()]
    sounds = [{} if audio_id == "-" else {"audioTrackId": audio_id} for audio_id in audio.split()]
    renderer = {"captionTracks": listed, "audioTracks": sounds, "defaultAudioTrackIndex": default}
    return {"captions": {"playerCaptionsTracklistRenderer": renderer}}


@pytest.mark.parametrize(
    ("player_answer", "spoken"),
    [
        (answer("de en*", "-"), "en"),
        (answer("pt*", "en-US.10 pt-BR.4", 1), "pt"),  # as YouTube answered for a dubbed video in 2025
        (answer("en* de*", "en-US.10 de-DE.4", 1), "de-DE"),
        (answer("en*", "hi.4 en-US.10", 1), "hi"),  # generated from the dubbed sound alone
        (answer("en* de*", "en-US.10 de-DE.4", 0), "de-DE"),  # the original one, whatever is played first
        (answer("en* de*", "fr.3 en.3", 1), "en"),
        (answer("en de", "fr.4"), "fr"),
        (answer("de", "-"), "de"),
        (answer("de de", "-"), "de"),
        (answer("en de", "-"), None),
        (answer("en* de*", "- -"), None),
        (answer("en de", "fr", 7), "fr"),
        (answer("en de", "fr", "0"), "fr"),
        (answer("en de", "fr", True), "fr"),
        (answer("", "-"), None),
        (player(), "en"),
        (player("youtube_ww1_nl_en"), "en"),
        ({}, None),
        (None, None),
    ],
)
def test_the_spoken_language(player_answer: Any, spoken: str | None) -> None:
    assert spoken_language(player_answer) == spoken


@given(json_values, json_values, json_values)
def test_odd_answers_tell_no_language_and_do_no_harm(tracks: Any, audio: Any, default: Any) -> None:
    renderer = {"captionTracks": tracks, "audioTracks": audio, "defaultAudioTrackIndex": default}
    for odd in (renderer, tracks):
        found = spoken_language({"captions": {"playerCaptionsTracklistRenderer": odd}})
        assert found is None or isinstance(found, str)
