"""Attempts at captions of all sorts, against the rehearsal server and a site that answers what the test wants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from warm import start
from youtube_site import VIDEO, Asked, Reply, Site, permit, player

from engine.budget import Outcome
from engine.model import EgressSpec, Failure, Fetched, Kind, NotFetched
from engine.network.client import Client
from engine.rehearsal import Rehearsal, RehearsalSettings, invented_ids
from engine.worker.results import outcome_of
from engine.worker.retry_policy import Circumstances, Finish, Past, decide
from engine.youtube.fetcher import Fetcher, FetchSettings

MakeClient = Callable[..., Client]
IDS = list(invented_ids(12, 3))


@pytest.fixture(scope="module")
def rehearsal() -> Iterator[Rehearsal]:
    with start(RehearsalSettings(latency_s=0)) as found:
        yield found


@pytest.fixture
def client(rehearsal: Rehearsal) -> Iterator[Client]:
    found = Client([EgressSpec("p001", rehearsal.proxy_url)], acquire=permit, ca_bundle=rehearsal.ca_bundle)
    yield found
    found.close()


@contextmanager
def playing(rehearsal: Rehearsal, *scenes: str) -> Iterator[None]:
    rehearsal.play(*scenes, replace=True)
    try:
        yield
    finally:
        rehearsal.play(replace=True)


def fetch(client: Client, video_id: str = IDS[0], **settings: Any) -> Fetched | NotFetched:
    return Fetcher(client, FetchSettings(deadline_s=20, **settings)).fetch(video_id, permit())


def got(result: Fetched | NotFetched) -> tuple[str, bool, int]:
    assert isinstance(result, Fetched), result
    return result.transcript.language, result.transcript.is_generated, result.cost.requests


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"languages": ("orig",)}, ("de", True, 2)),
        ({"languages": ("orig",), "mask": "on"}, ("de", True, 2)),
        ({"languages": ("orig",), "ways": ("page",)}, ("de", True, 3)),
        ({"languages": ("en",)}, ("en", True, 2)),
        ({"languages": ("any",)}, ("de", True, 2)),
        ({"languages": ("fr", "orig"), "translate": "ja"}, ("ja", True, 2)),
        ({"languages": ("orig",), "metadata": "full"}, ("de", True, 4)),
    ],
)
def test_a_dubbed_video(settings: Any, found: Any, rehearsal: Rehearsal, client: Client) -> None:
    with playing(rehearsal, "dubbed"):
        assert got(fetch(client, **settings)) == found


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"languages": ("en",)}, ("en-GB", False, 2)),
        ({"languages": ("en",), "captions": "generated"}, ("en", True, 2)),
        ({"languages": ("orig",), "captions": "generated"}, ("en", True, 2)),
        ({"languages": ("orig",)}, ("en-GB", False, 2)),
        ({"languages": ("zh",)}, ("zh-Hans", False, 2)),
        ({"languages": ("es-419", "en")}, ("es-419", False, 2)),
        ({"translate": "fr"}, ("fr", False, 2)),
        ({"translate": "fr", "captions": "generated"}, ("fr", True, 2)),
    ],
)
def test_a_polyglot_video(settings: Any, found: Any, rehearsal: Rehearsal, client: Client) -> None:
    with playing(rehearsal, "polyglot"):
        assert got(fetch(client, **settings)) == found


def test_what_is_not_wanted_is_named(rehearsal: Rehearsal, client: Client) -> None:
    with playing(rehearsal, "dubbed"):
        result = fetch(client, languages=("en", "any"), captions="manual")
    assert isinstance(result, NotFetched)
    # Only generated ones are listed, so another client is asked: it may be shown what this one is not.
    assert (result.failure.kind, result.cost.requests) == (Kind.NO_LANGUAGE, 2)
    told = "no captions made by people in en, any; exists: en (generated), de (generated)"
    assert result.failure.message == told


def test_captions_by_people_that_the_first_client_hides(rehearsal: Rehearsal, client: Client) -> None:
    with playing(rehearsal, "hidden_manual"):
        assert got(fetch(client, captions="manual")) == ("en", False, 3)
        assert got(fetch(client)) == ("en", True, 2), "nobody asked for them"
        assert got(fetch(client, captions="generated")) == ("en", True, 2)


def test_a_second_client_that_refuses_the_video_does_not_overrule(
    rehearsal: Rehearsal, client: Client
) -> None:
    with playing(rehearsal, "dubbed", "kids"):
        result = fetch(client, captions="manual")
    assert isinstance(result, NotFetched)
    # A client that refuses the video says nothing of its captions, so a third one is asked.
    assert (result.failure.kind, result.cost.requests) == (Kind.NO_LANGUAGE, 3)


def test_of_two_tracks_of_one_language_the_first_is_read_and_the_other_named(
    rehearsal: Rehearsal, client: Client
) -> None:
    with playing(rehearsal, "twins"):
        result = fetch(client)
        every = fetch(client, all_languages=True)
    assert isinstance(result, Fetched) and isinstance(every, Fetched)
    assert result.transcript.language_name == "English - Director’s cut"
    assert (
        result.note
        == "took 'English - Director’s cut'; the video has also 'English - For learners', see --all-languages"
    )
    assert [each.language_name for each in every.transcripts] == [
        "English - Director’s cut",
        "English - For learners",
    ]
    assert every.note is None
    with playing(rehearsal):
        again = fetch(client)
    assert isinstance(again, Fetched) and again.note is None


def test_chapters_from_the_description_and_else_from_what_youtube_marks(
    rehearsal: Rehearsal, client: Client
) -> None:
    def chapters(scene: str, **settings: Any) -> tuple[list[str], int]:
        with playing(rehearsal, scene):
            result = fetch(client, **settings)
        assert isinstance(result, Fetched)
        return [chapter.title for chapter in result.metadata.chapters], result.cost.requests

    listed = ["Intro", "How it is made: part 1", "Q & A"]
    assert chapters("chapters") == (listed, 2)
    assert chapters("chapters", metadata="full") == (listed, 3), "nothing more is asked"
    assert chapters("marked_chapters") == ([], 2)
    assert chapters("marked_chapters", metadata="full") == (["Opening", "Found by YouTube", "Close"], 4)


def test_all_tracks_the_best_one_first(rehearsal: Rehearsal, client: Client) -> None:
    with playing(rehearsal, "polyglot"):
        result = fetch(client, all_languages=True, languages=("ja", "en"), metadata="full")
    assert isinstance(result, Fetched)
    assert result.cost.requests == 1 + 8 + 2
    assert result.transcript is result.transcripts[0]
    listed = [(transcript.language, transcript.is_generated) for transcript in result.transcripts]
    assert listed[0] == ("ja", False)
    assert len(set(listed)) == 8
    assert ("en", True) in listed
    for transcript in result.transcripts:
        assert transcript.cues[-1].text == f"end of {IDS[0]} in {transcript.language}"
    assert result.metadata.category


def test_all_tracks_are_had_whatever_languages_were_named(rehearsal: Rehearsal, client: Client) -> None:
    with playing(rehearsal, "no_language"):
        result = fetch(client, all_languages=True, languages=("en",))
    assert isinstance(result, Fetched)
    assert [transcript.language for transcript in result.transcripts] in (["is"], ["cy"])
    assert isinstance(plain := fetch(client), Fetched)
    assert plain.transcripts == ()


def test_all_tracks_of_the_second_client(rehearsal: Rehearsal, client: Client) -> None:
    with playing(rehearsal, "hidden"):
        result = fetch(client, all_languages=True)
        translated = fetch(client, translate="fr")
    assert isinstance(result, Fetched)
    assert result.transcripts[0].language == "en"
    assert result.cost.requests == 2 + len(result.transcripts)
    assert got(translated) == ("fr", True, 3)


def empty_but(language: str) -> Callable[[Asked, Any], Reply]:
    def answer(asked: Asked, _: Any) -> Reply:
        text = "hello" if f"lang={language}&" in asked.target + "&" else ""
        return Reply(f"<transcript><text start='0' dur='1'>{text}</text></transcript>", media="text/xml")

    return answer


def test_of_several_tracks_one_may_be_empty_but_not_the_best(site: Site, make_client: MakeClient) -> None:
    site.video()
    site.answers["/api/timedtext"] = empty_but("de")
    good = fetch(make_client(), VIDEO, all_languages=True, languages=("de",))
    assert isinstance(good, Fetched)
    assert [len(transcript.cues) for transcript in good.transcripts] == [1] + [0] * 8
    bad = fetch(make_client(), VIDEO, all_languages=True, languages=("fr", "cs"))
    assert isinstance(bad, NotFetched)
    assert bad.failure.kind is Kind.GARBLED


def test_two_tracks_in_one_language_are_two(site: Site, make_client: MakeClient) -> None:
    answer = player("youtube_ww1_nl_en")
    listed = answer["captions"]["playerCaptionsTracklistRenderer"]["captionTracks"]
    listed.append({**listed[0], "name": {"runs": [{"text": "English - described"}]}})
    site.video(answer)
    result = fetch(make_client(), "F1xioXWb8CY", all_languages=True)
    assert isinstance(result, Fetched)
    names = [transcript.language_name for transcript in result.transcripts]
    assert names == ["English", "English (auto-generated)", "English - described"]


# Translations.


def test_a_translation(rehearsal: Rehearsal, client: Client) -> None:
    for video_id in IDS:
        result = fetch(client, video_id, translate="ja")
        assert got(result) == ("ja", True, 2)
        assert isinstance(result, Fetched)
        transcript = result.transcript
        assert (transcript.translated_from, transcript.language_name) == ("en", "Japanese")
        assert transcript.cues[-1].text == f"end of {video_id} in ja"


def outcome(failure: Failure) -> Outcome:
    return outcome_of(failure, rotating=False)


def test_a_refused_translation_says_nothing_of_the_egress(rehearsal: Rehearsal, client: Client) -> None:
    with playing(rehearsal, "429_translated"):
        result = fetch(client, translate="ja")
        plain = fetch(client)
    assert isinstance(result, NotFetched)
    assert (result.failure.kind, result.cost.requests) == (Kind.TRANSLATION_REFUSED, 2)
    assert result.failure.message == "YouTube refuses the translation into ja (429)"
    assert outcome(result.failure) is Outcome.OK
    assert isinstance(plain, Fetched)
    with playing(rehearsal, "429"):
        blocked = fetch(client, translate="ja")
    assert isinstance(blocked, NotFetched)
    assert (blocked.failure.kind, blocked.cost.requests) == (Kind.BLOCKED, 1)
    assert outcome(blocked.failure) is Outcome.BLOCKED


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Reply("busy", 429), Kind.TRANSLATION_REFUSED),
        (Reply("<html><div class='g-recaptcha'></div>"), Kind.TRANSLATION_REFUSED),
        (
            Reply(b"", 302, headers={"Location": "https://www.google.com/sorry/index"}),
            Kind.TRANSLATION_REFUSED,
        ),
        (Reply("no", 403), Kind.TRANSLATION_REFUSED),
        (Reply(b""), Kind.TRANSLATION_REFUSED),
        (Reply("no", 500), Kind.SERVER_ERROR),
        (lambda *_: None, Kind.NETWORK),
    ],
)
def test_whatever_a_translation_is_answered(
    answer: Any, kind: Kind, site: Site, make_client: MakeClient
) -> None:
    site.video()
    site.answers["/api/timedtext"] = answer
    result = fetch(make_client(), VIDEO, translate="fr")
    assert isinstance(result, NotFetched)
    assert result.failure.kind is kind
    assert "&tlang=fr" in site.asked[1].target
    assert result.cost.requests == len(site.asked) == 2
    decided = decide(result.failure, Past(), Circumstances(), 5)
    assert (decided == Finish(kind)) == (kind is Kind.TRANSLATION_REFUSED)


# The mask.


def test_a_mask_that_the_site_rejects_costs_requests_and_no_video(
    site: Site, make_client: MakeClient
) -> None:
    site.video()

    def answer(asked: Asked, _: Any) -> Reply:
        return Reply("unknown field", 400) if "fields" in asked.target else Reply(player(), zipped=True)

    site.answers["/youtubei/v1/player"] = answer
    assert got(fetch(make_client(), VIDEO, mask="on")) == ("en", False, 3)
    assert site.paths == ["/youtubei/v1/player", "/youtubei/v1/player", "/api/timedtext"]


def test_a_mask_saves_bytes() -> None:
    with start(RehearsalSettings(latency_s=0, real_sizes=True)) as found:
        results = []
        for mask in ("off", "on"):  # of a run, like its client
            client = Client([EgressSpec("p001", found.proxy_url)], acquire=permit, ca_bundle=found.ca_bundle)
            results.append(fetch(client, mask=mask))
            client.close()
    whole, masked = results
    assert isinstance(whole, Fetched)
    assert isinstance(masked, Fetched)
    assert masked.transcript == whole.transcript
    assert masked.metadata == whole.metadata
    assert whole.cost.bytes > 3 * masked.cost.bytes
