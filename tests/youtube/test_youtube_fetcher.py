"""Whole attempts: what a video costs and what they return."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from patience import HANG_S
from warm import start
from youtube_site import VIDEO, Asked, Reply, Site, asset, permit, player

from engine.errors import DiskError, Interrupted
from engine.model import EgressSpec, Fetched, Kind, NotFetched, Permit
from engine.network import sockets
from engine.network.client import Client
from engine.queue.directory import Queue
from engine.rehearsal import CAPTURES, Rehearsal, RehearsalSettings, invented_ids
from engine.youtube.fetcher import Fetcher, FetchSettings
from engine.youtube.way_health_file import WayHealth

MakeClient = Callable[..., Client]
NO_CAPTIONS = "dsMFmonKDD4"


def fetch(client: Client, video_id: str = VIDEO, **settings: Any) -> Fetched | NotFetched:
    return Fetcher(client, FetchSettings(**settings)).fetch(video_id, permit())


def refused(result: Fetched | NotFetched) -> tuple[Kind, int]:
    assert isinstance(result, NotFetched)
    return result.failure.kind, result.cost.requests


def clients(site: Site) -> list[str]:
    return [a.client for a in site.asked if a.path.endswith("/player")]


def by_client(**answers: Any) -> Callable[[Asked, Any], Reply]:
    """Answer the player request by the client that asks."""

    def answer(asked: Asked, _: Any) -> Reply:
        given = answers[asked.client]
        return given if isinstance(given, Reply) else Reply(given, zipped=True)

    return answer


def test_the_good_case(site: Site, make_client: MakeClient) -> None:
    site.video()
    result = fetch(make_client())
    assert isinstance(result, Fetched)
    assert result.metadata.title == "Surface Go Review - It’s Awesome"
    assert (result.transcript.language, len(result.transcript.cues)) == ("en", 3)
    assert result.cost.requests == len(site.asked) == 2
    assert result.cost.bytes == len(site.answers["/api/timedtext"].body) + int(
        site.answers["/youtubei/v1/player"].raw().partition(b"Content-Length: ")[2].split(b"\r")[0]
    )
    assert result.way == "android"


@pytest.mark.parametrize(
    ("ways", "paths", "names"),
    [
        (("visionos",), ["/youtubei/v1/player", "/api/timedtext"], ["VISIONOS"]),
        (("ios", "android"), ["/youtubei/v1/player", "/api/timedtext"], ["IOS"]),
        (("page",), ["/watch", "/youtubei/v1/player", "/api/timedtext"], ["ANDROID"]),
    ],
)
def test_one_way_alone(
    ways: tuple[str, ...], paths: list[str], names: list[str], site: Site, make_client: MakeClient
) -> None:
    site.video()
    result = fetch(make_client(), ways=ways)
    assert isinstance(result, Fetched)
    assert result.way == ways[0]
    assert site.paths == paths
    assert clients(site) == names


BAD_ANSWERS = {
    "400": Reply("bad request", 400),
    "403": Reply("forbidden", 403),
    "precondition": Reply({"error": {"code": 400, "status": "FAILED_PRECONDITION"}}, 400),
    "precondition in 200": Reply({"error": {"code": 400, "status": "FAILED_PRECONDITION"}}),
    "empty object": Reply({}),
    "no JSON": Reply("<html>not json</html>"),
    "nothing": Reply(b""),
    "untitled": Reply({**player(), "videoDetails": {"videoId": VIDEO}}),
    "another video": Reply(
        {**player(), "videoDetails": {**player()["videoDetails"], "videoId": "another-one"}}
    ),
    "unreadable list": Reply(
        {**player(), "captions": {"playerCaptionsTracklistRenderer": {"captionTracks": [{"baseUrl": 7}]}}}
    ),
    "unknown words": Reply({"playabilityStatus": {"status": "UNPLAYABLE", "reason": "Update the app"}}),
    "on this app": Reply(
        {
            "playabilityStatus": {
                "status": "UNPLAYABLE",
                "reason": "The following content is not available on this app.",
            }
        }
    ),
    "not available": Reply(
        {"playabilityStatus": {"status": "ERROR", "reason": "This video is not available"}}
    ),
    "no captions": Reply({**player(), "captions": {}}),
    "xpe": Reply(asset("youtube_po_token_required.innertube.json")),
    "xpv": Reply(asset("youtube_po_token_required.innertube.json").replace(b"exp=xpe", b"exp=xpv")),
}


@pytest.mark.parametrize("bad", BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_an_answer_that_may_be_the_client_s_alone_goes_another_way(
    bad: Reply, site: Site, make_client: MakeClient
) -> None:
    """The two-client cases: whatever the first is told, the second plays the video."""
    site.video()
    site.answers["/youtubei/v1/player"] = by_client(ANDROID=bad, VISIONOS=player())
    result = fetch(make_client())
    assert isinstance(result, Fetched)
    assert result.way == "visionos"
    assert clients(site) == ["ANDROID", "VISIONOS"]
    assert result.cost.requests == len(site.asked) == 3


def test_an_empty_text_goes_another_way(site: Site, make_client: MakeClient) -> None:
    """YouTube gates captions for a client by answering nothing."""
    site.video()
    text = site.answers["/api/timedtext"]
    site.answers["/api/timedtext"] = lambda asked, _: (
        Reply(b"") if "android" in asked.headers["user-agent"] else text
    )
    result = fetch(make_client())
    assert isinstance(result, Fetched)
    assert (result.way, result.cost.requests) == ("visionos", 4)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Reply("busy", 429, headers={"Retry-After": "77"}), Kind.BLOCKED),
        (Reply("busy", 503), Kind.SERVER_ERROR),
        (Reply("<html><div class='g-recaptcha'></div>"), Kind.BLOCKED),
        (Reply(asset("youtube_request_blocked.innertube.json")), Kind.BLOCKED),
        (Reply(asset("youtube_video_unavailable.innertube.json")), Kind.UNAVAILABLE),
        (
            Reply({"playabilityStatus": {"status": "LOGIN_REQUIRED", "reason": "This video is private"}}),
            Kind.PRIVATE,
        ),
        (Reply({"playabilityStatus": {"status": "LIVE_STREAM_OFFLINE", "reason": "Soon"}}), Kind.NOT_YET),
    ],
)
def test_a_plain_refusal_costs_one_request(
    answer: Reply, kind: Kind, site: Site, make_client: MakeClient
) -> None:
    site.video()
    site.answers["/youtubei/v1/player"] = answer
    result = fetch(make_client())
    assert refused(result) == (kind, 1)
    if answer.status == 429:
        assert isinstance(result, NotFetched)
        assert result.failure.retry_after_s == 77


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Reply("<html>"), Kind.GARBLED),
        (Reply("<transcript><text start='0'>cut", media="text/xml"), Kind.GARBLED),
        (
            Reply('<!DOCTYPE t [<!ENTITY a "b">]><transcript><text start="0">&a;</text></transcript>'),
            Kind.GARBLED,
        ),
        (Reply("no", 500), Kind.SERVER_ERROR),
        (Reply("no", 429), Kind.BLOCKED),
    ],
)
def test_a_bad_transcript_costs_two_and_keeps_the_title(
    answer: Reply, kind: Kind, site: Site, make_client: MakeClient
) -> None:
    site.video()
    site.answers["/api/timedtext"] = answer
    result = fetch(make_client())
    assert refused(result) == (kind, 2)
    assert isinstance(result, NotFetched)
    assert result.captions_listed
    assert result.metadata
    assert result.metadata.channel == "Dave2D"


def test_a_missing_language_costs_one_and_names_what_exists(site: Site, make_client: MakeClient) -> None:
    site.video(player("youtube_ww1_nl_en"))
    result = fetch(make_client(), "F1xioXWb8CY", languages=("nl",))
    assert refused(result) == (Kind.NO_LANGUAGE, 1)
    assert isinstance(result, NotFetched)
    assert result.captions_listed
    assert "exists: en, en (generated)" in result.failure.message


def test_the_consent_page_is_passed(site: Site, make_client: MakeClient) -> None:
    site.video()
    page = site.answers["/watch"]
    consent = Reply(asset("youtube_consent_page.html"))
    site.answers["/watch"] = lambda asked, _: (
        page if "CONSENT=YES" in asked.headers.get("cookie", "") else consent
    )
    client = make_client()
    assert isinstance(fetch(client, ways=("page",)), Fetched)
    assert isinstance(fetch(client, ways=("page",)), Fetched)
    assert site.paths.count("/watch") == 3  # the session keeps the cookie


def test_a_captcha_page_is_a_block(site: Site, make_client: MakeClient) -> None:
    site.video()
    site.answers["/watch"] = Reply(asset("youtube_too_many_requests.html"))
    assert refused(fetch(make_client(), ways=("page",))) == (Kind.BLOCKED, 1)


# The second client.


def test_no_captions_is_confirmed_by_one_request(
    site: Site, make_client: MakeClient, capfd: pytest.CaptureFixture[str]
) -> None:
    site.video(player("youtube_transcripts_disabled"))
    result = fetch(make_client(), NO_CAPTIONS)
    assert refused(result) == (Kind.NO_CAPTIONS, 2)
    assert clients(site) == ["ANDROID", "VISIONOS"]
    assert capfd.readouterr() == ("", "")
    assert isinstance(result, NotFetched)
    assert result.metadata
    assert result.metadata.channel == "Blogothèque"
    assert not result.captions_listed


def test_captions_another_client_sees_are_fetched(site: Site, make_client: MakeClient) -> None:
    site.video()
    site.answers["/youtubei/v1/player"] = by_client(ANDROID=NO_CAPTIONS_ANSWER, VISIONOS=player())
    result = fetch(make_client(), languages=("de", "en"))
    assert isinstance(result, Fetched)
    assert (result.transcript.language, result.transcript.language_name) == ("de", "German")
    assert result.cost.requests == 3
    assert "tlang" not in site.asked[2].target


NO_CAPTIONS_ANSWER = {**player(), "captions": {}}
KIDS = Reply({"playabilityStatus": {"status": "ERROR", "reason": "Video unavailable"}})


@pytest.mark.parametrize(
    ("second", "kind", "requests"),
    [
        (Reply("busy", 429), Kind.BLOCKED, 2),
        (Reply("no", 500), Kind.SERVER_ERROR, 2),
        (
            Reply({"playabilityStatus": {"status": "LOGIN_REQUIRED", "reason": "confirm you're not a bot"}}),
            Kind.BLOCKED,
            2,
        ),
        (Reply(asset("youtube_po_token_required.innertube.json")), Kind.PO_TOKEN, 3),
        # Nothing was learnt from it: a third decides, and here it sees none either.
        (Reply("no", 403), Kind.NO_CAPTIONS, 3),
        (Reply("<html>"), Kind.NO_CAPTIONS, 3),
        (Reply(b""), Kind.NO_CAPTIONS, 3),
        (Reply({}), Kind.NO_CAPTIONS, 3),
        (Reply("[]", media="application/json"), Kind.NO_CAPTIONS, 3),
        # A client that refuses the video says nothing against one that plays it.
        (KIDS, Kind.NO_CAPTIONS, 3),
        (Reply({"playabilityStatus": {"status": "UNPLAYABLE", "reason": "Whatever"}}), Kind.NO_CAPTIONS, 3),
        (
            Reply({"playabilityStatus": {"status": "LOGIN_REQUIRED", "reason": "This video is private"}}),
            Kind.NO_CAPTIONS,
            3,
        ),
    ],
    ids=str,
)
def test_what_a_second_client_says_of_a_video_without_captions(
    second: Reply, kind: Kind, requests: int, site: Site, make_client: MakeClient
) -> None:
    """Two clients that play it have to agree."""
    site.video()
    site.answers["/youtubei/v1/player"] = by_client(
        ANDROID=NO_CAPTIONS_ANSWER, VISIONOS=second, IOS=NO_CAPTIONS_ANSWER
    )
    assert refused(fetch(make_client())) == (kind, requests)


def test_a_video_for_kids(site: Site, make_client: MakeClient) -> None:
    """visionOS is shown none: neither its refusal nor its silence makes a video unavailable."""
    site.video()
    dead = Reply("bad request", 400)
    site.answers["/youtubei/v1/player"] = by_client(ANDROID=NO_CAPTIONS_ANSWER, VISIONOS=KIDS, IOS=player())
    assert isinstance(fetch(make_client()), Fetched)
    site.answers["/youtubei/v1/player"] = by_client(ANDROID=NO_CAPTIONS_ANSWER, VISIONOS=KIDS, IOS=KIDS)
    assert refused(fetch(make_client())) == (Kind.NO_CAPTIONS, 3)
    site.answers["/youtubei/v1/player"] = by_client(ANDROID=dead, VISIONOS=KIDS, IOS=player())
    result = fetch(make_client())
    assert isinstance(result, Fetched)
    assert result.way == "ios"
    site.answers["/youtubei/v1/player"] = by_client(ANDROID=dead, VISIONOS=KIDS, IOS=dead)
    result = fetch(make_client(), ways=("android", "visionos", "ios"))
    assert refused(result) == (Kind.SERVER_ERROR, 3)  # never absent by that client's word alone


def test_the_first_s_word_stands_if_none_plays_it(site: Site, make_client: MakeClient) -> None:
    site.video()
    first = {"playabilityStatus": {"status": "ERROR", "reason": "This video is not available"}}
    second = {"playabilityStatus": {"status": "UNPLAYABLE", "reason": "Members only, on level: Friend"}}
    site.answers["/youtubei/v1/player"] = by_client(ANDROID=first, VISIONOS=second)
    result = fetch(make_client())
    assert refused(result) == (Kind.UNAVAILABLE, 2)
    assert isinstance(result, NotFetched)
    assert result.way == "android"
    site.answers["/youtubei/v1/player"] = by_client(ANDROID=player("youtube_unplayable"), VISIONOS=second)
    assert refused(fetch(make_client())) == (Kind.MEMBERS_ONLY, 2)  # the first gave no reason that is known


def hangs(site: Site) -> Callable[[Asked, Any], None]:
    def wait(asked: Asked, sock: Any) -> None:
        site.stopping.wait(HANG_S)

    return wait


def test_one_way_that_hangs_takes_a_third_of_the_deadline(site: Site, make_client: MakeClient) -> None:
    site.video()
    wait = hangs(site)

    def answer(asked: Asked, sock: Any) -> Reply | None:
        return wait(asked, sock) if asked.client == "ANDROID" else Reply(player())

    site.answers["/youtubei/v1/player"] = answer
    began = time.monotonic()
    deadlines_s = (3.0, 30.0)  # a busy machine may need longer for the other answers
    results = (fetch(make_client(), deadline_s=deadline_s) for deadline_s in deadlines_s)
    assert any(isinstance(result, Fetched) and result.way == "visionos" for result in results)
    assert time.monotonic() - began >= 1.0


def test_ways_that_all_hang_keep_the_deadline(site: Site, make_client: MakeClient) -> None:
    site.video()
    site.answers["/youtubei/v1/player"] = hangs(site)
    began = time.monotonic()
    result = fetch(make_client(), deadline_s=1.5)
    assert refused(result)[0] is Kind.TIMEOUT
    assert time.monotonic() - began >= 1.4
    assert refused(result)[1] <= 3


def test_an_odd_refusal_is_confirmed(site: Site, make_client: MakeClient) -> None:
    odd = player("youtube_unplayable")
    site.video(odd)
    assert refused(fetch(make_client())) == (Kind.UNKNOWN, 2)
    assert clients(site) == ["ANDROID", "VISIONOS"]


def test_a_po_token_is_confirmed(site: Site, make_client: MakeClient) -> None:
    locked = player("youtube_po_token_required")
    for second in (locked, player("youtube_unplayable"), NO_CAPTIONS_ANSWER):
        site.video()
        site.answers["/youtubei/v1/player"] = by_client(ANDROID=locked, VISIONOS=second, IOS=locked)
        assert refused(fetch(make_client())) == (Kind.PO_TOKEN, 3)
        # Tokens are asked for by client: a third may need none.
        site.answers["/youtubei/v1/player"] = by_client(ANDROID=locked, VISIONOS=second, IOS=player())
        result = fetch(make_client())
        assert isinstance(result, Fetched)
        assert (result.way, result.cost.requests) == ("ios", 4)


def test_captions_that_two_ways_hide(site: Site, make_client: MakeClient) -> None:
    """A third is asked only where it is known that there are some."""
    site.video()
    site.answers["/youtubei/v1/player"] = by_client(
        ANDROID=NO_CAPTIONS_ANSWER, VISIONOS=NO_CAPTIONS_ANSWER, IOS=player()
    )
    assert refused(fetch(make_client())) == (Kind.NO_CAPTIONS, 2)
    result = Fetcher(make_client(), FetchSettings()).fetch(VIDEO, permit(), has_captions=True)
    assert isinstance(result, Fetched)
    assert (result.way, result.hidden_by) == ("ios", ("android", "visionos"))


def test_nobody_is_asked_in_vain(site: Site, make_client: MakeClient) -> None:
    """The two ways that cost more are tried when no client before them answers, or when they were asked for."""
    site.video()
    site.answers["/youtubei/v1/player"] = Reply("no", 400)
    result = fetch(make_client())
    assert refused(result)[0] is Kind.SERVER_ERROR
    assert clients(site)[:4] == ["ANDROID", "VISIONOS", "IOS", "ANDROID"]
    assert site.paths.count("/watch") >= 2  # the page's, and yt-dlp's
    site.asked.clear()
    site.answers["/youtubei/v1/player"] = Reply(NO_CAPTIONS_ANSWER)
    assert refused(fetch(make_client(), ways=("ios", "page"))) == (Kind.NO_CAPTIONS, 3)
    assert site.paths.count("/watch") == 1


def test_second_clients_in_many_threads(site: Site, make_client: MakeClient) -> None:
    site.video(player("youtube_transcripts_disabled"))
    fetcher = Fetcher(make_client(), FetchSettings())
    results: list[Any] = []
    threads = [
        threading.Thread(
            target=lambda: results.extend(fetcher.fetch(NO_CAPTIONS, permit()) for _ in range(3))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {refused(r) for r in results} == {(Kind.NO_CAPTIONS, 2)}
    assert len(results) == 12


# What is raised, and what is returned.


@pytest.mark.parametrize(
    ("lack", "error"),
    [
        (MemoryError(), MemoryError),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), MemoryError),
        (OSError(errno.EMFILE, "Too many open files"), DiskError),
        (OSError(errno.ENFILE, "Too many open files in system"), DiskError),
    ],
)
@pytest.mark.parametrize("at", ["connecting", "another way"])
def test_a_shortage_of_memory_or_descriptors_is_no_failure_of_a_video(
    lack: Exception, error: type[Exception], at: str, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the first connection, and at the second request."""

    def short(*_: object, **__: object) -> None:
        raise lack

    if at == "connecting":
        monkeypatch.setattr(sockets, "_PlainSocket", short)
        with pytest.raises(error):
            fetch(make_client())
    else:
        with pytest.raises(error):
            fetch(make_client(acquire=short))


@pytest.mark.parametrize("error", [Interrupted, DiskError])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_attempt_can_be_interrupted_anywhere(
    error: type[Exception], at: int, site: Site, make_client: MakeClient
) -> None:
    """At the second client's request, at the transcript's, at the next way's."""
    site.video()
    answers = [{**player(), "captions": {}}, player(), {}]
    site.answers["/youtubei/v1/player"] = Reply(answers[at])

    def take(_: int) -> Permit:
        raise error

    with pytest.raises(error) as raised:
        fetch(make_client(acquire=take))
    assert len(site.asked) == 1
    if isinstance(raised.value, Interrupted):
        assert raised.value.cost.requests == 1 and raised.value.cost.bytes > 0


def test_a_bug_is_a_refusal_by_name(
    site: Site, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.video()

    def broken(*_: object) -> None:
        raise RuntimeError("http://me:s3cr3t@proxy")

    monkeypatch.setattr(WayHealth, "served", broken)
    result = fetch(make_client())
    assert isinstance(result, NotFetched)
    assert result.failure.kind is Kind.UNKNOWN
    assert result.failure.message == "unexpected RuntimeError"


def test_one_videos_answer_is_not_anothers(site: Site, make_client: MakeClient) -> None:
    anonymous = player()
    del anonymous["videoDetails"]["videoId"]
    site.video(anonymous)
    client = make_client()
    assert isinstance(fetch(client), Fetched)
    site.answers["/youtubei/v1/player"] = Reply("busy", 503)
    result = fetch(client, "aaaaaaaaaaA")
    assert isinstance(result, NotFetched)
    assert result.metadata is None


def test_a_refused_session_is_not_used_again(site: Site, make_client: MakeClient) -> None:
    site.video()
    good, site.answers["/youtubei/v1/player"] = site.answers["/youtubei/v1/player"], Reply("busy", 429)
    client = make_client()
    assert refused(fetch(client)) == (Kind.BLOCKED, 1)
    site.answers["/youtubei/v1/player"] = good
    assert isinstance(fetch(client), Fetched)
    assert client.handshakes == 2


def test_importing_is_light() -> None:
    code = "import sys, engine.youtube.classify, engine.youtube; print('yt_dlp' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


# Against the rehearsal server.


@pytest.fixture(scope="module")
def rehearsal() -> Iterator[Rehearsal]:
    with start(RehearsalSettings(latency_s=0, scenarios=("captured",))) as found:
        yield found


@pytest.fixture
def fetcher(rehearsal: Rehearsal) -> Iterator[Fetcher]:
    client = Client([EgressSpec("p001", rehearsal.proxy_url)], acquire=permit, ca_bundle=rehearsal.ca_bundle)
    yield Fetcher(client, FetchSettings(deadline_s=20))
    client.close()


@pytest.mark.parametrize("video_id", CAPTURES)
def test_captured_videos(video_id: str, fetcher: Fetcher, rehearsal: Rehearsal) -> None:
    before = len(rehearsal.arrivals())
    result = fetcher.fetch(video_id, permit())
    arrived = rehearsal.arrivals()[before:]
    told = "ok" if isinstance(result, Fetched) else result.failure.kind.value
    assert told == CAPTURES[video_id].expected
    assert result.cost.requests == len(arrived)
    if told in ("ok", "no_captions"):
        assert len(arrived) == 2


def test_invented_videos(fetcher: Fetcher, rehearsal: Rehearsal) -> None:
    ids = invented_ids(20, 7)
    for video_id, _ in zip(ids, range(20), strict=False):
        result = fetcher.fetch(video_id, permit())
        assert isinstance(result, Fetched)
        assert result.cost.requests == 2
        assert result.metadata.title
    assert fetcher.client.handshakes == 1
    json.dumps(rehearsal.stats())


SCENES = [
    ("no_captions", Kind.NO_CAPTIONS), ("unavailable", Kind.UNAVAILABLE), ("private", Kind.PRIVATE),
    ("members", Kind.MEMBERS_ONLY), ("age", Kind.AGE_RESTRICTED), ("region", Kind.REGION_BLOCKED),
    ("premiere", Kind.NOT_YET), ("no_language", Kind.NO_LANGUAGE), ("po_token", Kind.PO_TOKEN),
    ("reset", Kind.NETWORK),
    ("error500", Kind.SERVER_ERROR),
]  # fmt: skip


@pytest.mark.parametrize("scene", ["empty", "garbled"])
def test_scenes_that_another_way_passes(scene: str, fetcher: Fetcher, rehearsal: Rehearsal) -> None:
    rehearsal.play(scene, replace=True)
    try:
        results = [fetcher.fetch(video_id, permit()) for video_id in invented_ids(4, 11)]
    finally:
        rehearsal.play("captured", replace=True)
    for result in results:  # a text that is there and unreadable is the video's
        assert isinstance(result, Fetched) or (result.failure.kind is Kind.GARBLED and result.captions_listed)
    assert any(isinstance(result, Fetched) and result.way == "visionos" for result in results)


@pytest.mark.parametrize(("scene", "kind"), SCENES)
def test_scenes(scene: str, kind: Kind, fetcher: Fetcher, rehearsal: Rehearsal) -> None:
    rehearsal.play(scene, replace=True)
    try:
        result = fetcher.fetch(next(iter(invented_ids(1, len(scene) + ord(scene[0])))), permit())
    finally:
        rehearsal.play("captured", replace=True)
    assert isinstance(result, NotFetched)
    assert result.failure.kind is kind


# The health of ways.


def test_a_way_that_dies_is_left_out_after_three_videos_and_tried_again(
    site: Site, make_client: MakeClient
) -> None:
    site.video()
    now = [1_795_000_000.0]
    extra: list[int] = []
    health = WayHealth(names=["p001"], wall=lambda: now[0])
    mine = Fetcher(
        make_client(), FetchSettings(), health=health, extra=lambda egress, n_bytes: extra.append(n_bytes)
    )
    site.answers["/youtubei/v1/player"] = by_client(ANDROID=Reply("old", 400), VISIONOS=player())
    costs = [mine.fetch(VIDEO, permit()).cost.requests for _ in range(5)]
    assert costs == [3, 3, 3, 2, 2]
    now[0] += 3_601
    assert mine.fetch(VIDEO, permit()).cost.requests == 2
    assert clients(site)[-2:] == ["VISIONOS", "ANDROID"]  # the trial, which no video pays
    assert len(extra) == 1
    site.answers["/youtubei/v1/player"] = Reply(player())
    now[0] += 3_601
    assert [mine.fetch(VIDEO, permit()).way for _ in range(2)] == ["visionos", "android"]


def test_a_video_that_no_way_is_answered_is_told_from_ways_that_are_dead(
    site: Site, make_client: MakeClient, tmp_path: Path
) -> None:
    """The first time nobody knows; once others were served it is the video, and three such in a row are the ways."""
    (tmp_path / "q" / "tmp").mkdir(parents=True)
    queue = Queue(str(tmp_path / "q"))
    settings = FetchSettings(ways=("android", "visionos"))
    mine = Fetcher(make_client(), settings, health=WayHealth(queue, ["p001"]))
    odd, fine = Reply("no", 400), player()
    site.video()

    def answer(asked: Asked, _: Any) -> Reply:
        video_id = json.loads(asked.body)["videoId"]
        return odd if video_id != VIDEO else Reply(fine)

    site.answers["/youtubei/v1/player"] = answer
    with pytest.raises(Interrupted) as caught:
        mine.fetch("aaaaaaaaaaA", permit())
    assert caught.value.cost.requests == 2
    assert isinstance(mine.fetch(VIDEO, permit()), Fetched)
    assert refused(mine.fetch("aaaaaaaaaaA", permit())) == (Kind.SERVER_ERROR, 2)
    for video_id in ("bbbbbbbbbbA", "cccccccccccA"[:11]):
        with pytest.raises(Interrupted):
            mine.fetch(video_id, permit())
    result = mine.fetch("dddddddddddA"[:11], permit())
    assert isinstance(result, NotFetched)
    assert result.failure.kind is Kind.BLOCKED
    assert result.failure.message.startswith("no way to YouTube works now (android: YouTube answers 400")


def test_two_ways_that_die_together_do_not_look_as_if_none_worked(
    site: Site, make_client: MakeClient, tmp_path: Path
) -> None:
    """Videos in flight then are asked for by these two only, because one is known to work; in four processes here."""
    (tmp_path / "q" / "tmp").mkdir(parents=True)
    queue = Queue(str(tmp_path / "q"))
    client = make_client()
    fetchers = [Fetcher(client, FetchSettings(), health=WayHealth(queue, ["p001"])) for _ in range(4)]
    for each in fetchers:
        each.health.served("android", 0)
    site.video()
    old = Reply("old", 400)
    site.answers["/youtubei/v1/player"] = by_client(ANDROID=old, VISIONOS=old, IOS=player())
    for each in fetchers:
        with pytest.raises(Interrupted) as caught:
            each.fetch(VIDEO, permit())
        assert caught.value.cost.requests == 2
    assert not Path(queue.events).exists()
    served = [each.fetch(VIDEO, permit()) for each in fetchers]
    assert {each.way for each in served if isinstance(each, Fetched)} == {"ios"}


def test_a_video_that_two_ways_do_not_get_comes_again_by_the_others(
    site: Site, make_client: MakeClient, tmp_path: Path
) -> None:
    (tmp_path / "q" / "tmp").mkdir(parents=True)
    mine = Fetcher(make_client(), FetchSettings(), health=WayHealth(Queue(str(tmp_path / "q")), ["p001"]))
    site.video()
    site.answers["/youtubei/v1/player"] = by_client(
        ANDROID=Reply("", 400), VISIONOS=Reply("", 400), IOS=player()
    )
    mine.health.served("android", 0)
    with pytest.raises(Interrupted):
        mine.fetch(VIDEO, permit())
    mine.health.served("android", 0)
    served = mine.fetch(VIDEO, permit())
    assert isinstance(served, Fetched)
    assert (served.way, served.cost.requests) == ("ios", 2)


def test_a_client_that_refuses_one_video_after_another_is_left_out(
    site: Site, make_client: MakeClient
) -> None:
    """A few are made for kids; after so many in a row it costs no further requests."""
    site.video()
    site.answers["/youtubei/v1/player"] = by_client(ANDROID=Reply("no", 400), VISIONOS=KIDS, IOS=player())
    mine = Fetcher(make_client(), FetchSettings(mask="off"), health=WayHealth(names=["p001"]))
    took = []
    for _ in range(30):
        result = mine.fetch(VIDEO, permit())
        assert isinstance(result, Fetched)
        took.append(result.cost.requests)
    assert took == [4] * 3 + [3] * 20 + [2] * 7


def test_a_trial_with_a_video_that_the_client_is_not_shown_proves_nothing(
    site: Site, make_client: MakeClient
) -> None:
    site.video()
    now = [1_795_000_000.0]
    health = WayHealth(names=["p001"], wall=lambda: now[0])
    mine = Fetcher(make_client(), FetchSettings(ways=("visionos", "android")), health=health)
    site.answers["/youtubei/v1/player"] = by_client(VISIONOS=Reply("old", 400), ANDROID=player())
    for _ in range(4):
        mine.fetch(VIDEO, permit())
    now[0] += 3_601
    kids = {"playabilityStatus": {"status": "ERROR", "reason": "This video is unavailable"}}
    site.answers["/youtubei/v1/player"] = by_client(VISIONOS=kids, ANDROID=player())
    mine.fetch(VIDEO, permit())
    now[0] += 200
    site.answers["/youtubei/v1/player"] = Reply(player())
    assert [mine.fetch(VIDEO, permit()).way for _ in range(2)] == ["android", "visionos"]
