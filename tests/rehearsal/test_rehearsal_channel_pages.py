"""The made-up listings: how many videos they have, how they grow, and what they refuse."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from engine.rehearsal import channel_pages, invented_ids
from engine.rehearsal.request import Request, read_request


def lists(count: int, uploads: int = 0) -> dict[str, tuple[str, ...]]:
    return {
        tab: channel_pages.ids(channel_pages._Listing(count, tab), 1, uploads)
        for tab in channel_pages.PAGE_VIDEOS
    }


@pytest.mark.parametrize("count", [0, 1, 7, 150, 1000])
def test_the_tabs_of_a_channel_are_its_uploads(count: int) -> None:
    found = lists(count)
    tabs = found["videos"] + found["shorts"] + found["streams"]
    assert sorted(tabs) == sorted(found["playlist"]) == sorted(invented_ids(count))


def test_what_is_uploaded_comes_first_and_moves_nothing() -> None:
    before, after = lists(150), lists(150, 40)
    for tab, names in before.items():
        if tab != "search":
            assert after[tab][len(after[tab]) - len(names) :] == names
    assert len(after["playlist"]) == 190


def test_addresses_lead_to_lists_or_nowhere() -> None:
    site = "https://www.youtube.com"
    found = channel_pages.resolve(f"{site}/@made-up-150/videos")
    assert found is not None
    assert found["endpoint"]["browseEndpoint"]["browseId"] == "UCmade-up000000000000150"
    assert channel_pages.resolve(f"{site}/@nobody/videos") is None
    assert channel_pages.resolve("https://example.com/@made-up-150") is None
    for browse_id in ("UCnobodynobodynobodynobo", "VLPLnothing-here", "VLPLmade-up-9999999999"):
        assert "alerts" in channel_pages.browse({"browseId": browse_id}, 1, 0)


def test_lists_with_a_name_of_their_own_share_no_videos() -> None:
    found: dict[str, set[str]] = {}
    for handle in ("@made-up-90", "@zoo-made-up-90", "@Bread.made-up-90", "@bread-made-up-90"):
        at = channel_pages.resolve(f"https://www.youtube.com/{handle}/videos")
        if at is None:
            assert handle == "@Bread.made-up-90"
            continue
        body = {
            name: at["endpoint"]["browseEndpoint"][key]
            for name, key in (("browseId", "browseId"), ("params", "params"))
        }
        page = json.dumps(channel_pages.browse(body, 1, 0))
        token = re.search(r'"token": "([^"]+)"', page)
        assert token is not None
        page += json.dumps(channel_pages.browse({"continuation": token[1]}, 1, 0))
        found[handle] = set(re.findall(r'"contentId": "([\w-]{11})"', page))
        assert len(found[handle]) == 60  # two pages
    assert len(set.union(*found.values())) == 3 * 60
    uploads = json.dumps(channel_pages.browse({"browseId": "VL" + "UU" + body["browseId"][2:]}, 1, 0))
    assert found["@bread-made-up-90"] <= set(re.findall(r'"videoId": "([\w-]{11})"', uploads))
    playlist = json.dumps(channel_pages.browse({"browseId": "VLPLbread-made-up-5"}, 1, 0))
    shared = json.dumps(channel_pages.browse({"browseId": "VLPLmade-up-5"}, 1, 0))
    ids = [set(re.findall(r'"videoId": "([\w-]{11})"', page)) for page in (playlist, shared)]
    assert len(ids[0]) == len(ids[1]) == 5
    assert ids[0].isdisjoint(ids[1])


def test_a_token_of_others_is_refused() -> None:
    for token in ("", "abc", "WzFd", "eyJhIjoxfQ=="):
        with pytest.raises(ValueError, match="not a continuation"):
            channel_pages.browse({"continuation": token}, 1, 0)


@pytest.mark.parametrize(
    ("path", "kind"),
    [("navigation/resolve_url", "resolve"), ("browse", "browse"), ("search", "search")],
)
def test_requests_for_lists_are_known_by_their_path(path: str, kind: str) -> None:
    body: dict[str, Any] = {"url": "x", "context": {}}
    target = f"/youtubei/v1/{path}?prettyPrint=false"
    assert read_request("POST", target, {}, json.dumps(body).encode()) == Request(kind, "", body=body)
    with pytest.raises(ValueError, match="JSON"):
        read_request("POST", target, {}, b"[]")
