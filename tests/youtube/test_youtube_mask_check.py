"""What the mask may not change, and what an attempt does when it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from youtube_site import VIDEO, Asked, Reply, Site, asset, permit, player

from engine.model import Fetched, Kind, NotFetched
from engine.network.client import Client
from engine.youtube.fetcher import Fetcher, FetchSettings
from engine.youtube.mask_check import REQUIRED, differences, lacks
from engine.youtube.way_health_file import WayHealth

MakeClient = Callable[..., Client]
CAPTURED = ("youtube", "youtube_ww1_nl_en", "youtube_transcripts_disabled", "youtube_transcripts_disabled2")


def changed(**details: Any) -> dict[str, Any]:
    found = player()
    return {**found, "videoDetails": {**found["videoDetails"], **details}}


@pytest.mark.parametrize("name", CAPTURED)
def test_every_captured_answer_has_what_is_required(name: str) -> None:
    assert lacks(player(name)) == ()
    assert differences(player(name), player(name)) == ()


def test_a_refusal_needs_nothing() -> None:
    assert lacks(player("youtube_video_unavailable")) == ()
    assert lacks({"playabilityStatus": {"status": "OK"}}) == REQUIRED
    assert lacks(None) == REQUIRED


@pytest.mark.parametrize(
    ("masked", "names"),
    [
        (changed(viewCount="999999999"), ()),
        (changed(title="another"), ("title",)),
        (changed(keywords=[]), ("keywords",)),
        ({**player(), "captions": {}}, ("captions",)),
        ({**player(), "playabilityStatus": {"status": "UNPLAYABLE"}}, ("playability",)),
        ({key: value for key, value in player().items() if key != "streamingData"}, ()),
    ],
)
def test_in_what_two_answers_differ(masked: Any, names: tuple[str, ...]) -> None:
    assert differences(masked, player()) == names


def test_missing_views_differ() -> None:
    without = changed()
    del without["videoDetails"]["viewCount"]
    assert differences(without, player()) == ("view_count",)


# ---- attempts ---------------------------------------------------------------------------------------------


class MaskedSite:
    """A site that answers masked requests with `masked`, others well."""

    def __init__(self, site: Site, masked: Any, whole: Any = None, **by_client: Any) -> None:
        site.video()
        self.asked: list[str] = []

        def answer(asked: Asked, _: Any) -> Reply:
            is_masked = "fields" in asked.target
            self.asked.append(
                ("m" if is_masked else "w") + ("" if asked.client == "ANDROID" else asked.client[0])
            )
            found = by_client.get(asked.client) or (masked if is_masked else whole or player())
            return found if isinstance(found, Reply) else Reply(found)

        site.answers["/youtubei/v1/player"] = answer


def fetcher(client: Client, **settings: Any) -> Fetcher:
    return Fetcher(client, FetchSettings(**{"mask": "auto", **settings}), health=WayHealth(names=["p001"]))


def test_it_proves_itself_with_the_first_video_and_then_now_and_again(
    site: Site, make_client: MakeClient
) -> None:
    seen = MaskedSite(site, player())
    mine = fetcher(make_client())
    for _ in range(130):
        assert isinstance(mine.fetch(VIDEO, permit()), Fetched)
    assert seen.asked.count("w") == 3
    assert len(seen.asked) == 133
    assert seen.asked[:3] == ["m", "w", "m"]


def test_a_lost_field_is_asked_for_again_before_anything_is_written(
    site: Site, make_client: MakeClient
) -> None:
    """At the answer that lacks it, whichever that is."""
    mine = fetcher(make_client())
    seen = MaskedSite(site, player())
    for _ in range(5):
        mine.fetch(VIDEO, permit())
    without = player()
    del without["videoDetails"]["author"]
    seen = MaskedSite(site, without)
    for _ in range(5):
        result = mine.fetch(VIDEO, permit())
        assert isinstance(result, Fetched)
        assert result.metadata.channel == "Dave2D"
        assert result.way == "android"
    assert seen.asked == ["m", "w", "w", "w", "w", "w"]


def test_what_all_answers_had_is_missed_at_once(site: Site, make_client: MakeClient) -> None:
    mine = fetcher(make_client())
    MaskedSite(site, player())
    for _ in range(5):
        mine.fetch(VIDEO, permit())
    without = changed()
    del without["videoDetails"]["keywords"]
    seen = MaskedSite(site, without)
    result = mine.fetch(VIDEO, permit())
    assert isinstance(result, Fetched)
    assert result.metadata.keywords
    assert seen.asked == ["m", "w"]
    assert not mine.health.masked("android")


def test_a_difference_is_seen_within_sixty_videos(site: Site, make_client: MakeClient) -> None:
    mine = fetcher(make_client())
    MaskedSite(site, player())
    mine.fetch(VIDEO, permit())
    seen = MaskedSite(site, changed(keywords=[]))
    for _ in range(61):
        mine.fetch(VIDEO, permit())
    assert not mine.health.masked("android")
    assert len(seen.asked) - seen.asked.index("w") >= 2


def test_captions_that_the_mask_hides(site: Site, make_client: MakeClient) -> None:
    """The second client is asked without it; then the first proves that it was the mask, and stays on."""
    mine = fetcher(make_client())
    MaskedSite(site, player())
    mine.fetch(VIDEO, permit())
    seen = MaskedSite(site, {**player(), "captions": {}})
    result = mine.fetch(VIDEO, permit())
    assert isinstance(result, Fetched)
    assert seen.asked == ["m", "wV", "w"]
    assert not mine.health.masked("android")
    result = mine.fetch(VIDEO, permit())
    assert isinstance(result, Fetched)
    assert (result.way, result.cost.requests) == ("android", 2)


def test_captions_that_the_mask_hides_where_there_is_no_second_client(
    site: Site, make_client: MakeClient
) -> None:
    mine = fetcher(make_client(), ways=("android",))
    MaskedSite(site, player())
    mine.fetch(VIDEO, permit())
    seen = MaskedSite(site, {**player(), "captions": {}})
    assert isinstance(mine.fetch(VIDEO, permit()), Fetched)
    assert seen.asked == ["m", "w"]
    assert not mine.health.masked("android")


def test_a_refusal_that_only_the_mask_brings(site: Site, make_client: MakeClient) -> None:
    mine = fetcher(make_client())
    MaskedSite(site, player())
    for _ in range(5):
        mine.fetch(VIDEO, permit())
    seen = MaskedSite(site, player("youtube_video_unavailable"))
    assert isinstance(mine.fetch(VIDEO, permit()), Fetched)
    assert seen.asked == ["m", "w"]
    assert not mine.health.masked("android")


def test_a_block_is_not_asked_again_without_the_mask(site: Site, make_client: MakeClient) -> None:
    mine = fetcher(make_client())
    MaskedSite(site, player())
    for _ in range(5):
        mine.fetch(VIDEO, permit())
    bot = {"status": "LOGIN_REQUIRED", "reason": "Sign in to confirm you’re not a bot"}
    seen = MaskedSite(site, {"playabilityStatus": bot})
    result = mine.fetch(VIDEO, permit())
    assert isinstance(result, NotFetched)
    assert (result.failure.kind, seen.asked) == (Kind.BLOCKED, ["m"])


def test_no_captions_cost_two_requests_with_the_mask_as_well(site: Site, make_client: MakeClient) -> None:
    mine = fetcher(make_client())
    MaskedSite(site, player())
    mine.fetch(VIDEO, permit())
    none = player("youtube_transcripts_disabled")
    seen = MaskedSite(site, none, none)
    result = mine.fetch("dsMFmonKDD4", permit())
    assert isinstance(result, NotFetched)
    assert (result.failure.kind, result.cost.requests) == (Kind.NO_CAPTIONS, 2)
    assert seen.asked == ["m", "wV"]
    assert mine.health.masked("android")


def test_a_mask_that_is_refused_costs_two_requests_and_no_video(site: Site, make_client: MakeClient) -> None:
    seen = MaskedSite(site, Reply("no such field", 400))
    mine = fetcher(make_client())
    for _ in range(4):
        assert isinstance(mine.fetch(VIDEO, permit()), Fetched)
    assert seen.asked == ["m", "w", "m", "w", "w", "w"]  # one may be chance


def test_one_bad_answer_is_not_the_mask_s_fault(site: Site, make_client: MakeClient) -> None:
    bad = [Reply("<html>"), player(), player(), Reply("<html>"), player()]
    site.video()
    site.answers["/youtubei/v1/player"] = lambda asked, _: (
        (found if isinstance(found := bad.pop(0), Reply) else Reply(found))
        if "fields" in asked.target and bad
        else Reply(player())
    )
    mine = fetcher(make_client())
    for _ in range(5):
        assert isinstance(mine.fetch(VIDEO, permit()), Fetched)
    assert mine.health.masked("android")


def test_on_is_on_and_off_is_off(site: Site, make_client: MakeClient) -> None:
    for mask, asked in (("on", ["m"] * 3), ("off", ["w"] * 3)):
        seen = MaskedSite(site, player())
        mine = fetcher(make_client(), mask=mask)
        for _ in range(3):
            mine.fetch(VIDEO, permit())
        assert seen.asked == asked
    assert asset("youtube.innertube.json")
