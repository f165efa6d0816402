"""Responses, without sockets: what each scenario does, their precedence, and that runs repeat."""

from __future__ import annotations

import itertools
import json
import random
from datetime import datetime
from typing import Any

import pytest

from engine.rehearsal import (
    CAPTURES,
    SCENARIOS,
    RehearsalSettings,
    invent,
    invented_ids,
    malicious_responses,
    parse_scenario,
)
from engine.rehearsal.canned_responses import Response
from engine.rehearsal.hidden_limit import HiddenLimit
from engine.rehearsal.recorded_responses import read_asset
from engine.rehearsal.request import Request, read_request
from engine.rehearsal.responses import HUGE_BYTES, Responder
from engine.rehearsal.scenarios import MIXES, Reach

IDS = list(invented_ids(400))


def responder(*scenes: str, **settings: Any) -> Responder:
    return Responder(
        RehearsalSettings(scenarios=scenes, **settings), [parse_scenario(text) for text in scenes]
    )


def ask(on: Responder, kind: str, video_id: str = IDS[0], now_s: float = 0.0, **more: Any) -> Response:
    client = {"player": "ANDROID", "other_client": "VISIONOS", "metadata": "WEB"}.get(kind, "")
    return on.answer(Request(kind, video_id, client, **more), "", now_s)


def whole(answer: Response) -> bytes:
    return answer.body.plain(answer.end)


def player(on: Responder, kind: str = "player", video_id: str = IDS[0], **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(whole(ask(on, kind, video_id, **more)))
    return found


def tracks(answer: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (
        answer.get("captions", {}).get("playerCaptionsTracklistRenderer", {}).get("captionTracks", [])
    )
    return found


def test_every_scenario_is_tested_here_or_in_the_server_tests() -> None:
    here = {"no_language", "po_token", "hidden", "huge", "no_captions", "captured", "slow", "consent"}
    here |= {"dubbed", "polyglot", "429_translated"}
    here |= {row[0] for row in ODD} | {"cookies", "early_hints"}
    here |= {"soft_block", "hostile", "xml_bomb", "astray"}
    here |= {row[0] for row in REFUSALS} | {row[0] for row in PASSING} | {row[0] for row in BLOCKS}
    wire = {"gone", "proxy407"}
    here |= {
        name for name, entry in SCENARIOS.items() if entry.reach is Reach.CLIENT
    }  # test_rehearsal_client_faults
    here |= {"kids", "hidden_manual", "twins", "chapters", "marked_chapters"}  # there, too
    assert here | wire | set(MIXES) == set(SCENARIOS)


ODD = (
    ("markup", 1, b"&amp;lt; 10"),
    ("chorus", 1, b"Hallelujah"),
    ("old_codes", 1, b"in iw"),
    ("shapes", 1, b"one"),
    ("no_tracks", 0, None),
    ("live", 0, None),
    ("ended", 0, None),
    ("offline", 0, None),
    ("replay", 1, b"</text>"),
    ("quadratic", 1, None),
    ("bulky", 1, b"patience"),
    ("wordy", 0, None),
)


@pytest.mark.parametrize(("scene", "listed", "said"), ODD)
def test_odd_answers_are_well_formed(scene: str, listed: int, said: bytes | None) -> None:
    on = responder(scene)
    assert len(tracks(player(on))) == len(tracks(player(on, "other_client"))) == listed
    if said is not None:
        language = "iw" if scene == "old_codes" else "en"
        assert said in whole(ask(on, "timedtext", language=language))


def test_what_comes_around_an_answer() -> None:
    first, second = (ask(responder("cookies"), kind) for kind in ("player", "timedtext"))
    assert len([value for name, value in first.headers if name == "Set-Cookie"]) == 8
    assert second.headers
    assert ask(responder("early_hints"), "player").early_hints
    assert not ask(responder(), "player").early_hints


@pytest.mark.parametrize("real_sizes", [False, True])
def test_without_scenarios_a_video_plays_and_says_what_was_invented(real_sizes: bool) -> None:
    on = responder(real_sizes=real_sizes)
    for video_id, kind in itertools.product(IDS[:20], ("player", "other_client")):
        answer, video = player(on, kind, video_id), invent(1, video_id)
        assert answer["playabilityStatus"]["status"] == "OK"
        told = answer["videoDetails"]
        assert (told["videoId"], told["title"], told["author"]) == (video_id, video.title, video.channel)
        assert (told["lengthSeconds"], told["viewCount"]) == (str(video.duration_s), str(video.view_count))
        assert tuple(told["keywords"]) == video.keywords
        assert tracks(answer)[0]["languageCode"] == "en"
        assert ("kind" in tracks(answer)[0]) is not video.manual
        assert f"v={video_id}&" in tracks(answer)[0]["baseUrl"]


def test_real_sizes_are_real_and_a_mask_makes_them_small() -> None:
    on = responder(real_sizes=True)
    answer, page = ask(on, "player"), ask(on, "watch")
    assert len(whole(answer)) > 150_000
    assert 28_000 < len(answer.body.gzipped(answer.end)) < 40_000
    assert len(whole(page)) > 1_000_000
    assert len(whole(ask(on, "player", masked=True))) < 6_000


REFUSALS = [
    ("unavailable", "ERROR", "This video is unavailable"),
    ("private", "LOGIN_REQUIRED", "private"),
    ("members", "UNPLAYABLE", "members"),
    ("age", "LOGIN_REQUIRED", "inappropriate|confirm your age"),
    ("region", "UNPLAYABLE", "in your country"),
    ("premiere", "LIVE_STREAM_OFFLINE", "Premieres in"),
]


@pytest.mark.parametrize(("scene", "status", "wording"), REFUSALS)
def test_a_refusal_is_the_same_for_every_client_and_every_time(scene: str, status: str, wording: str) -> None:
    on = responder(scene)
    for kind in ("player", "other_client", "player"):
        told = player(on, kind)["playabilityStatus"]
        assert told["status"] == status
        assert any(part in told["reason"] for part in wording.split("|"))
        assert "captions" not in player(on, kind)
    assert ask(on, "timedtext").status == 404


def test_no_captions_plays_without_tracks_for_every_client() -> None:
    on = responder("no_captions")
    for kind in ("player", "other_client"):
        answer = player(on, kind)
        assert answer["playabilityStatus"]["status"] == "OK"
        assert "captions" not in answer
        assert answer["videoDetails"]["title"]


def test_a_soft_block_shows_nobody_captions_while_it_lasts_and_spares_who_has_a_list() -> None:
    on = responder("soft_block@1-2")
    for now_s, count in ((0.0, 1), (1.0, 0), (1.9, 0), (2.0, 1)):
        for kind in ("player", "other_client"):
            answer = json.loads(whole(ask(on, kind, now_s=now_s)))
            assert answer["playabilityStatus"]["status"] == "OK"
            assert answer["videoDetails"]["title"]
            assert min(len(tracks(answer)), 1) == count
        assert b"<text" in whole(ask(on, "timedtext", now_s=now_s))
    assert on.blocked == 0


def test_hidden_captions_are_shown_to_the_second_client_only() -> None:
    on = responder("hidden")
    assert tracks(player(on, "player")) == []
    assert tracks(player(on, "other_client"))[0]["languageCode"] == "en"
    assert b"<text" in whole(ask(on, "timedtext"))


def test_no_language_offers_another_language_only() -> None:
    on = responder("no_language")
    offered = {t["languageCode"] for video_id in IDS[:20] for t in tracks(player(on, "player", video_id))}
    assert offered == {"is", "cy"}


def audio(answer: dict[str, Any]) -> list[Any]:
    """The ids of the audio tracks, the default one first, and how many captions each has."""
    renderer = answer["captions"]["playerCaptionsTracklistRenderer"]
    ordered = renderer["audioTracks"][renderer["defaultAudioTrackIndex"] :] + renderer["audioTracks"]
    return [audio.get("audioTrackId") for audio in ordered[: len(renderer["audioTracks"])]] + [
        len(audio["captionTrackIndices"]) for audio in renderer["audioTracks"]
    ]


@pytest.mark.parametrize("real_sizes", [False, True])
def test_a_dubbed_video_has_two_tracks_of_sound_and_generated_captions(real_sizes: bool) -> None:
    on = responder("dubbed", real_sizes=real_sizes)
    assert [(t["languageCode"], t["kind"]) for t in tracks(player(on))] == [("en", "asr"), ("de", "asr")]
    assert audio(player(on)) == ["de-DE.4", "en-US.10", 2, 2]
    assert audio(player(responder(real_sizes=real_sizes), video_id=IDS[1]))[:1] == [None]


def test_a_polyglot_video_has_eight_tracks_with_texts_of_their_own() -> None:
    on = responder("polyglot")
    found = tracks(player(on))
    assert len({(t["languageCode"], t.get("kind")) for t in found}) == 8
    texts = {whole(ask(on, "timedtext", language=t["languageCode"])) for t in found}
    assert len(texts) == 8


def test_a_translation_is_a_text_of_its_own() -> None:
    on = responder()
    translated = whole(ask(on, "timedtext", translation="fr"))
    assert f"end of {IDS[0]} in fr".encode() in translated
    assert translated != whole(ask(on, "timedtext"))
    offered = player(on)["captions"]["playerCaptionsTracklistRenderer"]["translationLanguages"]
    assert {"de", "fr", "zh-Hans"} <= {language["languageCode"] for language in offered}


def test_translations_alone_can_be_refused() -> None:
    on = responder("429_translated")
    refused = ask(on, "timedtext", translation="fr")
    assert (refused.status, refused.scenario) == (429, "429_translated")
    for kind in ("player", "other_client", "metadata", "timedtext"):
        assert ask(on, kind).status == 200


@pytest.mark.parametrize("scene", [(), ("captured",)])
def test_the_web_client_gets_dates_and_countries(scene: tuple[str, ...]) -> None:
    on = responder(*scene)
    for video_id in [*IDS[:20], *CAPTURES]:
        answer = player(on, "metadata", video_id)
        told = answer["microformat"]["playerMicroformatRenderer"]
        assert set(answer) == {"microformat", "playabilityStatus"}
        assert told["externalVideoId"] == video_id
        assert datetime.fromisoformat(told["publishDate"]) > datetime.fromisoformat(told["uploadDate"])
        assert told["category"]
        assert told["availableCountries"]
    likes = [
        "likeCount" in player(on, "metadata", i)["microformat"]["playerMicroformatRenderer"] for i in IDS[:40]
    ]
    assert len(set(likes)) == 2, "some hide them"


def test_a_blocked_web_client_is_blocked() -> None:
    for scene, status in (("bot", 200), ("429", 429)):
        answer = ask(responder(scene), "metadata")
        assert (answer.status, answer.scenario) == (status, scene)


def test_po_token_marks_the_tracks_and_answers_nothing_without_one() -> None:
    on = responder("po_token")
    assert all("&exp=xpe" in track["baseUrl"] for track in tracks(player(on)))
    assert whole(ask(on, "timedtext")) == b""
    assert b"<text" in whole(ask(on, "timedtext", po_token=True))


def test_huge_unpacks_to_much_and_travels_small() -> None:
    answer = ask(responder("huge"), "timedtext")
    assert len(whole(answer)) > HUGE_BYTES
    assert len(answer.body.gzipped(answer.end)) < 100_000


PASSING = [
    ("empty", 200, "intact"),
    ("garbled", 200, "intact"),
    ("truncated", 200, "truncated"),
    ("reset", 0, "reset"),
    ("error500", 500, "intact"),
    ("error403", 403, "intact"),
    ("redirect", 302, "intact"),
    ("trickle", 200, "trickle"),
    ("hang", 0, "hang"),
]


@pytest.mark.parametrize(("scene", "status", "delivery"), PASSING)
def test_a_passing_fault_spoils_one_or_two_arrivals_and_then_is_over(
    scene: str, status: int, delivery: str
) -> None:
    on, good = responder(scene), responder()
    spoilt = {0: 0, 1: 0, 2: 0}
    for video_id, kind in itertools.product(IDS[:40], ("player", "timedtext")):
        answers = [ask(on, kind, video_id) for _ in range(4)]
        bad = [a.scenario == scene for a in answers]
        assert bad in ([False] * 4, [True, False, False, False], [True, True, False, False])
        spoilt[sum(bad)] += 1
        right = whole(ask(good, kind, video_id))
        for is_bad, answer in zip(bad, answers, strict=True):
            if is_bad:
                assert (answer.status, answer.delivery) == (status, delivery)
                assert whole(answer) != right or delivery in ("truncated", "trickle")
            else:
                assert whole(answer) == right
    assert spoilt[0] == 40, "each video is spoilt at one kind of request"
    assert spoilt[1] > 5
    assert spoilt[2] > 5


def test_garbled_is_a_wrong_page_or_half_an_answer() -> None:
    on = responder("garbled")
    bodies = [whole(ask(on, kind, i)) for i in IDS[:40] for kind in ("player", "timedtext")]
    assert any(body.startswith(b"<!DOCTYPE html>") for body in bodies)
    assert any(body.startswith(b'{"') and not body.endswith(b"}") for body in bodies)


BLOCKS = [
    ("429", {"watch": 429, "player": 429, "other_client": 429, "timedtext": 429}, b"Too Many Requests"),
    ("429_after", {"watch": 429, "player": 429, "other_client": 429, "timedtext": 429}, b"Too Many Requests"),
    ("captcha", {"watch": 200, "player": 429, "other_client": 429, "timedtext": 429}, b"g-recaptcha"),
    ("bot", {"player": 200, "other_client": 200}, "Sign in to confirm you’re not a bot".encode()),
    ("later", {"player": 200, "other_client": 200}, b"This content isn't available, try again later."),
]


@pytest.mark.parametrize(("scene", "statuses", "wording"), BLOCKS)
def test_a_block_holds_in_its_window(scene: str, statuses: dict[str, int], wording: bytes) -> None:
    on = responder(f"{scene}@10-40")
    for kind in ("watch", "player", "other_client", "timedtext"):
        assert ask(on, kind, now_s=100.0).scenario is None, "the first request starts the clock"
    for kind, status in statuses.items():
        answer = ask(on, kind, now_s=110.0)
        assert (answer.status, answer.scenario) == (status, scene)
        assert wording in whole(answer)
    for kind in {"watch", "player", "other_client", "timedtext"} - set(statuses):
        assert ask(on, kind, now_s=110.0).scenario is None
    assert on.blocked == len(statuses)
    assert ask(on, "player", now_s=140.0).scenario is None


def test_retry_after_is_what_is_left_of_the_window() -> None:
    on = responder("429_after@0-30")
    assert ask(on, "player", now_s=5.0).headers == (("Retry-After", "30"),)
    assert ask(on, "player", now_s=25.5).headers == (("Retry-After", "10"),)
    assert ask(responder("429"), "player").headers == ()
    assert ask(responder("429_after"), "player").headers == (("Retry-After", "60"),)


def test_a_share_of_429_refuses_the_same_videos_for_ever() -> None:
    on = responder("429=0.1")
    refused = [{i for i in IDS if ask(on, "player", i, now_s=t).status == 429} for t in (0.0, 500.0)]
    assert refused[0] == refused[1]
    assert 20 < len(refused[0]) < 60


def test_consent_is_asked_for_on_the_watch_page_until_the_cookie_comes() -> None:
    on = responder("consent")
    assert b'action="https://consent.youtube.com/s"' in whole(ask(on, "watch"))
    assert b"INNERTUBE_API_KEY" in whole(ask(on, "watch", consented=True))
    assert ask(on, "player").scenario is None


def test_slow_is_a_tail_on_some_requests() -> None:
    on = responder("slow", latency_s=0.25)
    delays = [ask(on, "player", i).delay_s for i in IDS]
    assert min(delays) == 0.25
    assert 20 < sum(d > 0.25 for d in delays) < 70
    assert max(delays) <= 20.25
    assert max(delays) > 2


def test_the_same_seed_gives_the_same_run_in_any_order() -> None:
    scenes = ("flaky=0.5", "absent=0.3", "slow=0.2")
    requests = [(i, kind) for i in IDS[:150] for kind in ("player", "timedtext")] * 3

    def play(order: list[tuple[str, str]], seed: int = 1) -> dict[tuple[str, str, int], tuple[Any, ...]]:
        on, seen, n = responder(*scenes, seed=seed), {}, dict.fromkeys(requests, 0)
        for video_id, kind in order:
            n[video_id, kind] += 1
            a = ask(on, kind, video_id)
            seen[video_id, kind, n[video_id, kind]] = (a.status, a.delivery, a.delay_s, a.scenario, whole(a))
        return seen

    shuffled = random.Random(5).sample(requests, len(requests))
    assert play(requests) == play(shuffled)
    assert play(requests) != play(requests, seed=2)


def test_blocks_go_before_passing_faults_and_those_before_refusals() -> None:
    on = responder("private", "error500", "429@0-10")
    first = IDS[0]
    assert {ask(on, kind, first, now_s=1.0).scenario for kind in ("player", "timedtext")} == {"429"}
    later = [
        ask(on, kind, first, now_s=20.0 + n).scenario for n in range(3) for kind in ("player", "timedtext")
    ]
    assert "error500" in later
    assert later[-2:] == ["private", "private"]


def test_the_hidden_limit_blocks_one_egress_and_not_the_other() -> None:
    on = responder(limit_rate=1.0, limit_burst=3, limit_block_s=30)
    request = Request("player", IDS[0], "ANDROID")
    assert [on.answer(request, "p1", 0.0).status for _ in range(4)] == [200, 200, 200, 429]
    assert on.answer(request, "p2", 0.0).status == 200
    assert on.answer(request, "p1", 29.9).status == 429
    assert on.answer(request, "p1", 30.0).status == 200
    assert on.blocked == 2


def test_the_settings_shape_the_hidden_limit() -> None:
    on = responder(limit_rate=1.0, limit_window_s=4.0, limit_block_s=30, limit_doubling=True)
    request = Request("player", IDS[0], "ANDROID")
    assert [on.answer(request, "p1", 0.0).status for _ in range(5)] == [200, 200, 200, 200, 429]
    assert [on.answer(request, "p1", 30.0).status for _ in range(5)] == [200, 200, 200, 200, 429]
    assert on.answer(request, "p1", 89.9).status == 429, "twice as long as the first"
    assert on.answer(request, "p1", 90.1).status == 200
    noisy = responder(limit_rate=100.0, limit_spurious_s=10.0)
    refused = sum(noisy.answer(request, "p1", float(second)).status == 429 for second in range(1000))
    assert 60 <= refused <= 140


def test_the_limit_lets_its_own_rate_pass() -> None:
    limit = HiddenLimit(rate=2.0, burst=3, block_s=30)
    assert not any(limit.refuses("", n * 0.5) for n in range(200))
    assert any(limit.refuses("", 1000 + n * 0.4) for n in range(200))


def test_captured_answers_are_the_assets_byte_for_byte() -> None:
    on = responder("captured")
    for video_id, capture in CAPTURES.items():
        asset = read_asset(capture.asset)
        if capture.replaces_id:
            asset = asset.replace(capture.replaces_id.encode(), video_id.encode())
        answer = ask(on, "player", video_id)
        assert whole(answer) == asset, video_id
        assert answer.status == (429 if capture.asset.endswith(".html") else 200)
        if video_id != "unplayableA":
            assert whole(ask(on, "other_client", video_id)) == asset
        assert whole(ask(on, "watch", video_id)) == read_asset(capture.watch_asset)
        if capture.expected == "ok":
            assert whole(ask(on, "timedtext", video_id)) == read_asset("transcript.xml")
    assert whole(ask(on, "watch", "consent-pgA", consented=True)) == read_asset("youtube.html")
    assert "errorScreen" not in player(on, "other_client", "unplayableA")["playabilityStatus"]
    assert ask(responder(), "player", "bot-check-A").scenario is None, (
        "without the scene they are ordinary ids"
    )


@pytest.mark.parametrize(
    ("method", "target", "body", "wanted"),
    [
        ("GET", "/watch?v=abcdefghijk", b"", ("watch", "abcdefghijk")),
        ("HEAD", "/watch?hl=en&v=-bcdefghij_", b"", ("watch", "-bcdefghij_")),
        ("GET", "/api/timedtext?v=abcdefghijk&lang=de", b"", ("timedtext", "abcdefghijk")),
        ("POST", "/youtubei/v1/player?key=x", ("ANDROID", "abcdefghijk"), ("player", "abcdefghijk")),
        ("POST", "/youtubei/v1/player", ("VISIONOS", "abcdefghijk"), ("other_client", "abcdefghijk")),
        (
            "POST",
            "/youtubei/v1/player?$fields=a,microformat",
            ("WEB", "abcdefghijk"),
            ("metadata", "abcdefghijk"),
        ),
        (
            "POST",
            "/youtubei/v1/player?%24fields=microformat",
            ("WEB", "abcdefghijk"),
            ("metadata", "abcdefghijk"),
        ),
        (
            "POST",
            "/youtubei/v1/player?$fields=captions",
            ("WEB", "abcdefghijk"),
            ("other_client", "abcdefghijk"),
        ),
        (
            "POST",
            "/youtubei/v1/player?$fields=microformat",
            ("ANDROID", "abcdefghijk"),
            ("player", "abcdefghijk"),
        ),
        ("GET", "/youtubei/v1/player", b"", None),
        ("GET", "/", b"", None),
        ("GET", "/watch?v=short", b"", ValueError),
        ("GET", "/api/timedtext", b"", ValueError),
        ("POST", "/youtubei/v1/player", b"not json", ValueError),
        ("POST", "/youtubei/v1/player", b"[1]", ValueError),
        ("POST", "/youtubei/v1/player", b'{"videoId": "abcdefghijk"}', ValueError),
    ],
)
def test_requests_are_read(method: str, target: str, body: Any, wanted: Any) -> None:
    if isinstance(body, tuple):
        body = json.dumps({"context": {"client": {"clientName": body[0]}}, "videoId": body[1]}).encode()
    if wanted is ValueError:
        with pytest.raises(ValueError, match=r"video id|player request"):
            read_request(method, target, {}, body)
    else:
        found = read_request(method, target, {}, body)
        assert (found and (found.kind, found.video_id)) == wanted


def test_a_translation_is_read() -> None:
    def asked(query: str) -> Request | None:
        return read_request("GET", f"/api/timedtext?v=abcdefghijk&lang=en{query}", {}, b"")

    assert asked("&tlang=zh-Hans") == Request(
        "timedtext", "abcdefghijk", language="en", translation="zh-Hans"
    )
    assert asked("") == Request("timedtext", "abcdefghijk", language="en")


def test_reaches_are_complete() -> None:
    assert {entry.reach for entry in SCENARIOS.values()} == set(Reach)
    assert all(entry.text and len(entry.text) < 80 for entry in SCENARIOS.values())


def test_hostile_videos_play_and_their_texts_are_hostile() -> None:
    on = responder("hostile")
    titles = {player(on, video_id=video_id)["videoDetails"]["title"] for video_id in IDS}
    assert titles == {*malicious_responses.TITLES}
    assert b"\xe2\x80\xae" in whole(ask(on, "timedtext"))  # a bidi override, as it came


def test_bombs_are_small_and_astray_never_leads_to_youtube() -> None:
    on = responder("xml_bomb")
    bombs = {whole(ask(on, "timedtext", video_id)) for video_id in IDS[:20]}
    assert len(bombs) == 3
    assert sum(b"<!ENTITY" in bomb for bomb in bombs) == 2
    assert max(map(len, bombs)) < 2_000_000
    away = [ask(responder("astray"), "timedtext", video_id) for video_id in IDS[:60]]
    assert {answer.status for answer in away} == {302}
    assert {dict(answer.headers)["Location"] for answer in away} == {*malicious_responses.FOREIGN_URLS}
