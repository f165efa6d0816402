"""What single clients get: refusals, other tracks, empty texts; by share, version, video and time."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from engine.model import CONTROL_VIDEOS
from engine.rehearsal import RehearsalSettings, invent, invented_ids, parse_scenario
from engine.rehearsal.client_faults import ANOTHER_VIDEO, DETAILS
from engine.rehearsal.request import Request, read_request
from engine.rehearsal.responses import Responder

IDS = list(invented_ids(200))
CLIENTS = {
    "android": ("ANDROID", "21.26.364"),
    "library": ("ANDROID", "20.10.38"),
    "visionos": ("VISIONOS", "1.02"),
    "ios": ("IOS", "21.26.4"),
}


def responder(*scenes: str) -> Responder:
    return Responder(RehearsalSettings(scenarios=scenes), [parse_scenario(text) for text in scenes])


def ask(
    on: Responder, client: str, video_id: str = IDS[0], *, fields: str = "", now_s: float = 0.0
) -> tuple[int, Any]:
    """A player request as it is read off the wire: the status, and the answer."""
    name, version = CLIENTS[client]
    body = {"context": {"client": {"clientName": name, "clientVersion": version}}, "videoId": video_id}
    request = read_request("POST", f"/youtubei/v1/player{fields}", {}, json.dumps(body).encode())
    assert request is not None
    found = on.answer(request, "", now_s)
    return found.status, json.loads(found.body.plain(found.end))


def tracks(answer: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (
        answer.get("captions", {}).get("playerCaptionsTracklistRenderer", {}).get("captionTracks", [])
    )
    return found


def text(on: Responder, answer: Any, more: str = "") -> bytes:
    """The text of the first track in an answer."""
    target = tracks(answer)[0]["baseUrl"].removeprefix("https://www.youtube.com") + more
    request = read_request("GET", target, {}, b"")
    assert request is not None
    found = on.answer(request, "", 0.0)
    assert found.status == 200
    return found.body.plain(found.end)


def refusing(on: Responder, video_id: str = IDS[0]) -> set[str]:
    """The clients to whom the player does not show a readable track of this video."""
    found = set()
    for client in CLIENTS:
        status, answer = ask(on, client, video_id)
        about = answer.get("videoDetails", {}).get("videoId") == video_id
        if status != 200 or not about or not any("baseUrl" in track for track in tracks(answer)):
            found.add(client)
    return found


@pytest.mark.parametrize(
    ("scene", "refused"),
    [
        ("400:android-20", {"library"}),
        ("400:android-21", {"android"}),
        ("400:android-2", set()),
        ("400:android", {"android", "library"}),
        ("400", set(CLIENTS)),
        ("400:web,page", set()),
        ("kids", {"visionos"}),
        ("kids:all", set(CLIENTS)),
        ("not_available:android", {"android", "library"}),
        ("other_video:ios", {"ios"}),
        ("reshaped:visionos", {"visionos"}),
        ("no_captions:android", {"android", "library"}),
        ("unavailable:visionos,ios", {"visionos", "ios"}),
        ("bot:ios", {"ios"}),
    ],
)
def test_a_scenario_affects_the_clients_it_names(scene: str, refused: set[str]) -> None:
    assert refusing(responder(scene)) == refused


def test_what_a_refused_client_reads() -> None:
    status, answer = ask(responder("400:android"), "android")
    assert (status, answer["error"]["status"]) == (400, "FAILED_PRECONDITION")
    said = {
        scene: ask(responder(scene), client)[1]["playabilityStatus"]["reason"]
        for scene, client in (("kids", "visionos"), ("not_available:ios", "ios"))
    }
    assert said == {"kids": "Video unavailable", "not_available:ios": "This video is not available"}
    _, answer = ask(responder("other_video:android"), "android")
    assert answer["videoDetails"]["videoId"] == ANOTHER_VIDEO
    assert tracks(answer), "it would be taken for this video's"


def test_the_page_can_be_refused_alone() -> None:
    on = responder("400:page")
    assert on.answer(Request("watch", IDS[0], "page"), "", 0.0).status == 400
    assert refusing(on) == set()


@pytest.mark.parametrize(("scene", "marked"), [("xpe", "&exp=xpe"), ("xpv", "&exp=xpv"), ("gated", None)])
def test_texts_are_empty_for_the_client_to_whom_the_track_was_listed(scene: str, marked: str | None) -> None:
    on = responder(f"{scene}:android")
    _, android = ask(on, "android")
    _, ios = ask(on, "ios")
    assert text(on, android) == b""
    assert (f"end of {IDS[0]}".encode()) in text(on, ios)
    url = tracks(android)[0]["baseUrl"]
    assert marked is None or marked in url
    assert "exp=xp" not in tracks(ios)[0]["baseUrl"]
    assert (text(on, android, "&pot=token") == b"") is (scene == "gated")


def test_names_of_tracks_come_in_two_odd_shapes() -> None:
    on = responder("odd_names:android")
    shapes = Counter(
        "simpleText" in track["name"] if "name" in track else None
        for video_id in IDS[:40]
        for track in tracks(ask(on, "android", video_id)[1])
    )
    assert set(shapes) == {True, None}
    assert "runs" in tracks(ask(on, "ios")[1])[0]["name"]


def test_a_share_is_a_share_of_the_videos_the_same_for_all_clients() -> None:
    on = responder("not_available:android,ios=0.3")
    hit = [refusing(on, video_id) for video_id in IDS]
    assert set(map(frozenset, hit)) == {frozenset(), frozenset({"android", "library", "ios"})}
    assert 30 < sum(map(bool, hit)) < 90


def test_it_begins_at_a_time_or_at_a_video_and_holds_for_videos_asked_again() -> None:
    on = responder("400:android@10-20")
    assert [ask(on, "android", now_s=s)[0] for s in (0, 9, 10, 19, 20)] == [200, 200, 400, 400, 200]
    on = responder("400:android#3-4")
    assert [ask(on, "android", v)[0] for v in IDS[:6]] == [200, 200, 400, 400, 200, 200]
    assert [ask(on, "android", v)[0] for v in reversed(IDS[:6])] == [200, 200, 400, 400, 200, 200]
    assert ask(on, "visionos", IDS[2])[0] == 200


def test_control_videos_count_for_no_job_and_share_what_a_client_gets_at_that_time() -> None:
    on = responder("400:android#3-", "no_captions:android")
    statuses = [
        ask(on, "android", v)[0] for v in (CONTROL_VIDEOS[0], IDS[0], CONTROL_VIDEOS[1], IDS[1], IDS[2])
    ]
    assert statuses == [200, 200, 200, 200, 400]
    assert ask(on, "android", CONTROL_VIDEOS[0])[0] == 400
    assert tracks(ask(responder("no_captions:android"), "android", CONTROL_VIDEOS[0])[1])


def test_a_fault_for_one_client_goes_before_one_for_all() -> None:
    """Made for kids and without captions: the first client says so, the second refuses the video."""
    on = responder("no_captions", "kids")
    assert tracks(ask(on, "android")[1]) == []
    assert ask(on, "android")[1]["playabilityStatus"]["status"] == "OK"
    assert ask(on, "visionos")[1]["playabilityStatus"]["reason"] == "Video unavailable"


def test_only_masked_answers_lack_a_detail() -> None:
    on = responder("mask_field#2-")
    mask = "?prettyPrint=false&$fields=videoDetails"
    missing: Counter[str] = Counter()
    for n, video_id in enumerate(IDS[:60]):
        whole, masked = (ask(on, "android", video_id, fields=f)[1]["videoDetails"] for f in ("", mask))
        assert set(DETAILS) <= set(whole)
        missing.update(set(whole) - set(masked))
        assert len(set(whole) - set(masked)) == (1 if n else 0)
    assert set(missing) == set(DETAILS)
    on = responder("mask_400:android")
    assert [ask(on, "android", fields=f)[0] for f in ("", mask)] == [200, 400]


def test_hidden_manual_tracks_twins_and_chapters() -> None:
    on = responder("hidden_manual")
    kinds = {client: [t.get("kind") for t in tracks(ask(on, client)[1])] for client in CLIENTS}
    assert kinds["android"] == kinds["library"] == ["asr"]
    assert kinds["visionos"] == kinds["ios"] == [None, "asr"]
    twins = tracks(ask(responder("twins"), "android")[1])
    assert [(t["languageCode"], "kind" in t) for t in twins] == [("en", False)] * 2
    assert len({t["name"]["runs"][0]["text"] for t in twins}) == 2
    assert len({t["baseUrl"] for t in twins}) == 2
    _, answer = ask(responder("chapters"), "android")
    assert "\n0:00 Intro\n5:00 " in answer["videoDetails"]["shortDescription"]
    assert invent(1, IDS[0]).description in answer["videoDetails"]["shortDescription"]


def test_transient_faults_reach_other_clients_only_when_these_are_named() -> None:
    named, everyone = responder("error500:ios"), responder("error500")

    def spoilt(on: Responder, client: str) -> int:
        return sum(
            on.answer(Request("other_client", video_id, *CLIENTS[client]), "", 0.0).status == 500
            for video_id in IDS
        )

    assert spoilt(named, "ios") > 50
    assert spoilt(named, "visionos") == spoilt(everyone, "ios") == 0
