"""Whole attempts: what a video costs and what they return."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from patience import HANG_S
from youtube_site import VIDEO, Asked, Reply, Site, asset, permit, player

from engine.errors import DiskError, Interrupted
from engine.model import EgressSpec, Fetched, Kind, NotFetched, Permit
from engine.network import sockets
from engine.network.client import Client
from engine.rehearsal import CAPTURES, Rehearsal, RehearsalSettings, invented_ids, start
from engine.youtube.fetcher import Fetcher, FetchSettings

MakeClient = Callable[..., Client]
NO_CAPTIONS = "dsMFmonKDD4"


class Lean:
    """The hooks, as a list of their calls."""

    def __init__(self, *, allowed: bool = True) -> None:
        self.told: list[str] = []
        self.hooks: dict[str, Callable[[], Any]] = {
            "lean_off": lambda: not allowed,
            "lean_failed": lambda: self.told.append("failed"),
            "lean_worked": lambda: self.told.append("worked"),
        }


def fetch(
    client: Client, video_id: str = VIDEO, lean: Lean | None = None, **settings: Any
) -> Fetched | NotFetched:
    fetcher = Fetcher(client, FetchSettings(**settings), **(lean.hooks if lean else {}))
    return fetcher.fetch(video_id, permit())


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
    lean = Lean()
    result = fetch(make_client(), lean=lean)
    assert isinstance(result, Fetched)
    assert result.metadata.title == "Surface Go Review - It’s Awesome"
    assert (result.transcript.language, len(result.transcript.cues)) == ("en", 3)
    assert result.cost.requests == len(site.asked) == 2
    assert result.cost.bytes == len(site.answers["/api/timedtext"].body) + int(
        site.answers["/youtubei/v1/player"].raw().partition(b"Content-Length: ")[2].split(b"\r")[0]
    )
    assert lean.told == ["worked"]


def test_full_mode_and_lean_switched_off_fetch_the_page(site: Site, make_client: MakeClient) -> None:
    site.video()
    for lean, mode in ((Lean(), "full"), (Lean(allowed=False), "lean")):
        site.asked.clear()
        assert isinstance(fetch(make_client(), lean=lean, fetch_mode=mode), Fetched)
        assert site.paths == ["/watch", "/youtubei/v1/player", "/api/timedtext"]
        assert lean.told == []


def only_full(good: Any, bad: Any) -> Callable[[Asked, Any], Reply]:
    """Answer well only when the watch page's key is shown."""
    return lambda asked, _: bad if "key=AIza" not in asked.target else Reply(good)


@pytest.mark.parametrize(
    "bad",
    [
        Reply("bad request", 400),
        Reply("forbidden", 403),
        Reply({}),
        Reply({"playabilityStatus": {"status": "UNPLAYABLE", "reason": "Update the app"}}),
        Reply(asset("youtube_po_token_required.innertube.json")),
        Reply({**player(), "videoDetails": {"videoId": VIDEO}}),
        Reply({**player(), "videoDetails": {**player()["videoDetails"], "videoId": "another-one"}}),
    ],
    ids=["400", "403", "empty", "odd", "po_token", "untitled", "other"],
)
def test_a_suspect_answer_goes_the_full_way(bad: Reply, site: Site, make_client: MakeClient) -> None:
    site.video()
    site.answers["/youtubei/v1/player"] = only_full(player(), bad)
    lean = Lean()
    result = fetch(make_client(), lean=lean)
    assert isinstance(result, Fetched)
    assert site.paths.count("/watch") == 1
    assert lean.told == ["failed"]
    assert result.cost.requests == len(site.asked)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Reply("busy", 429, headers={"Retry-After": "77"}), Kind.BLOCKED),
        (Reply("busy", 503), Kind.SERVER_ERROR),
        (Reply("<html>not json</html>"), Kind.GARBLED),
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
    lean = Lean()
    result = fetch(make_client(), lean=lean)
    assert refused(result) == (kind, 1)
    assert lean.told == []
    if answer.status == 429:
        assert isinstance(result, NotFetched)
        assert result.failure.retry_after_s == 77


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Reply(b""), Kind.GARBLED),
        (Reply("<html>"), Kind.GARBLED),
        (Reply("<transcript><text start='0'>cut", media="text/xml"), Kind.GARBLED),
        (
            Reply('<!DOCTYPE t [<!ENTITY a "b">]><transcript><text start="0">&a;</text></transcript>'),
            Kind.GARBLED,
        ),
        (Reply("no", 403), Kind.SERVER_ERROR),
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
    assert isinstance(fetch(client, fetch_mode="full"), Fetched)
    assert isinstance(fetch(client, fetch_mode="full"), Fetched)
    assert site.paths.count("/watch") == 3  # the session keeps the cookie


def test_a_captcha_page_is_a_block(site: Site, make_client: MakeClient) -> None:
    site.video()
    site.answers["/watch"] = Reply(asset("youtube_too_many_requests.html"))
    assert refused(fetch(make_client(), fetch_mode="full")) == (Kind.BLOCKED, 1)


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
    site.answers["/youtubei/v1/player"] = by_client(ANDROID={**player(), "captions": {}}, VISIONOS=player())
    result = fetch(make_client(), languages=("de", "en"))
    assert isinstance(result, Fetched)
    assert (result.transcript.language, result.transcript.language_name) == ("de", "German")
    assert result.cost.requests == 3
    assert "tlang" not in site.asked[2].target


@pytest.mark.parametrize(
    ("second", "kind"),
    [
        (Reply("busy", 429), Kind.BLOCKED),
        (Reply("no", 403), Kind.SERVER_ERROR),
        (Reply("no", 500), Kind.SERVER_ERROR),
        (Reply("<html>"), Kind.GARBLED),
        (Reply(b""), Kind.GARBLED),
        (Reply({}), Kind.GARBLED),
        (Reply("[]", media="application/json"), Kind.GARBLED),
        (
            Reply({"playabilityStatus": {"status": "LOGIN_REQUIRED", "reason": "confirm you're not a bot"}}),
            Kind.BLOCKED,
        ),
        (Reply({"playabilityStatus": {"status": "UNPLAYABLE", "reason": "Whatever"}}), Kind.UNKNOWN),
        (Reply({"playabilityStatus": {"status": "ERROR", "reason": "Video unavailable"}}), Kind.UNAVAILABLE),
        (Reply(asset("youtube_po_token_required.innertube.json")), Kind.PO_TOKEN),
    ],
    ids=str,
)
def test_a_failed_second_client_is_never_no_captions(
    second: Reply, kind: Kind, site: Site, make_client: MakeClient, capfd: pytest.CaptureFixture[str]
) -> None:
    site.video()
    site.answers["/youtubei/v1/player"] = by_client(ANDROID={**player(), "captions": {}}, VISIONOS=second)
    assert refused(fetch(make_client())) == (kind, 2)
    assert capfd.readouterr() == ("", "")


def test_a_second_client_that_hangs_keeps_the_deadline(site: Site, make_client: MakeClient) -> None:
    site.video()

    def answer(asked: Asked, _: Any) -> Reply | None:
        if asked.client == "ANDROID":
            return Reply({**player(), "captions": {}})
        site.stopping.wait(HANG_S)
        return None

    site.answers["/youtubei/v1/player"] = answer
    deadlines_s = (0.5, 5.0, 30.0)  # a busy machine may need longer for the first answer
    assert (Kind.TIMEOUT, 2) in (
        refused(fetch(make_client(), deadline_s=deadline_s)) for deadline_s in deadlines_s
    )


def test_an_odd_refusal_is_confirmed(site: Site, make_client: MakeClient) -> None:
    odd = player("youtube_unplayable")
    site.video(odd)
    assert refused(fetch(make_client())) == (Kind.UNKNOWN, 4)
    assert clients(site) == ["ANDROID", "ANDROID", "VISIONOS"]
    site.answers["/youtubei/v1/player"] = by_client(ANDROID=odd, VISIONOS=player())
    assert isinstance(fetch(make_client()), Fetched)


def test_a_po_token_is_confirmed(site: Site, make_client: MakeClient) -> None:
    locked = player("youtube_po_token_required")
    for second in (locked, player("youtube_unplayable")):
        site.video()
        site.answers["/youtubei/v1/player"] = by_client(ANDROID=locked, VISIONOS=second)
        assert refused(fetch(make_client())) == (Kind.PO_TOKEN, 4)
    site.answers["/youtubei/v1/player"] = by_client(ANDROID=locked, VISIONOS=player())
    assert isinstance(fetch(make_client()), Fetched)


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
    """At the second client's request, at the transcript's, at the watch page."""
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


def test_a_bug_is_a_refusal_by_name(site: Site, make_client: MakeClient) -> None:
    site.video()
    lean = Lean()

    def broken() -> None:
        raise RuntimeError("http://me:s3cr3t@proxy")

    lean.hooks["lean_worked"] = broken
    result = fetch(make_client(), lean=lean)
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
    ("empty", Kind.GARBLED), ("garbled", Kind.GARBLED), ("truncated", Kind.GARBLED), ("reset", Kind.NETWORK),
    ("error500", Kind.SERVER_ERROR),
]  # fmt: skip


@pytest.mark.parametrize(("scene", "kind"), SCENES)
def test_scenes(scene: str, kind: Kind, fetcher: Fetcher, rehearsal: Rehearsal) -> None:
    rehearsal.play(scene, replace=True)
    try:
        result = fetcher.fetch(next(iter(invented_ids(1, len(scene) + ord(scene[0])))), permit())
    finally:
        rehearsal.play("captured", replace=True)
    assert isinstance(result, NotFetched)
    assert result.failure.kind is kind
