"""The table of clients, and how the installed yt-dlp renews it."""

from __future__ import annotations

import pickle
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import json_values

from engine.youtube.clients import (
    CLIENTS,
    WAYS,
    client_of,
    installed_clients,
    installed_table,
    newest,
    player_context,
)

TODAY = date(2027, 3, 1)
ANDROID = {
    "clientName": "ANDROID", "clientVersion": "22.1.5", "androidSdkVersion": 34, "osName": "Android",
    "osVersion": "14", "userAgent": "com.google.android.youtube/22.1.5 (Linux; U; Android 14) gzip", "hl": "en",
}  # fmt: skip


def row(**changes: Any) -> dict[str, Any]:
    return {"android": {"INNERTUBE_CONTEXT": {"client": {**ANDROID, **changes}}}}


def test_each_way_but_the_libraries_has_a_client_whose_agent_names_its_version() -> None:
    for way in WAYS:
        client = client_of(way)
        assert (client is None) == (way in ("page", "yt-dlp"))
        if client is not None and client.name != "VISIONOS":
            assert client.version in client.user_agent
    assert [client.way for client in CLIENTS if not client.plays_kids] == ["visionos"]
    assert pickle.loads(pickle.dumps(CLIENTS)) == CLIENTS


def test_the_installed_ytdlp_has_each_client_of_the_table_under_the_same_name() -> None:
    """What changes there is seen here first, and by `engine doctor`."""
    known, version = installed_table()
    assert version
    for client in CLIENTS:
        found = known[client.way]
        assert found["INNERTUBE_CONTEXT"]["client"]["clientName"] == client.name
        assert str(found["INNERTUBE_CONTEXT_CLIENT_NAME"]) == client.number
    assert [client.way for client in installed_clients()] == [client.way for client in CLIENTS]


def test_a_newer_version_is_taken_with_all_that_belongs_to_it() -> None:
    android, *others = newest(row(), dated=TODAY, source="yt-dlp 2027.3.1")
    assert (android.version, android.user_agent) == ("22.1.5", ANDROID["userAgent"])
    assert (android.dated, android.source) == (TODAY, "yt-dlp 2027.3.1")
    assert player_context(android) == {"client": {**ANDROID}}
    assert tuple(others) == CLIENTS[1:]


@pytest.mark.parametrize(
    "changes",
    [
        {"clientVersion": "21.26.364"},
        {"clientVersion": "20.99.999"},
        {"clientVersion": "9.9"},
        {"clientVersion": 22},
        {"clientVersion": "22\r\nX-Evil: 1"},
        {"clientName": "ANDROID_VR"},
        {"userAgent": None},
        {"userAgent": "x" * 400},
    ],
    ids=str,
)
def test_what_is_not_newer_or_not_the_same_is_not_taken(changes: dict[str, Any]) -> None:
    assert newest(row(**changes), dated=TODAY, source="") == CLIENTS


@given(
    st.dictionaries(st.sampled_from(["android", "ios"]), json_values) | st.builds(dict, android=json_values)
)
def test_whatever_ytdlp_holds_the_table_stays_a_table(known: Any) -> None:
    assert newest(known, dated=TODAY, source="") == CLIENTS
