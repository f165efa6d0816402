"""Cookies: the few that YouTube needs, bounded in number and size, each session its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests
from youtube_site import Asked, Site, permit

from engine.model import EgressSpec
from engine.network.client import Client
from engine.network.cookies import MAX_CHARS, NAMES, Jar, worth_reading

PAGE = "https://www.youtube.com/generate_204"
MakeClient = Callable[..., Client]


def serve(site: Site, *cookies: str) -> None:
    n = 0

    def answer(asked: Asked, sock: Any) -> Any:
        nonlocal n
        n += 1

        class Raw:
            def raw(self) -> bytes:
                lines = "".join(f"Set-Cookie: {cookie.replace('#', str(n))}\r\n" for cookie in cookies)
                return f"HTTP/1.1 204 X\r\n{lines}Content-Length: 0\r\n\r\n".encode()

        return Raw()

    site.answers["/generate_204"] = answer


def test_three_hundred_answers_with_new_cookies_leave_three_in_the_header(
    site: Site, make_client: MakeClient
) -> None:
    serve(
        site,
        f"a#={'x' * 3000}; Domain=.youtube.com; Path=/",
        f"b#={'x' * 30}",
        "VISITOR_INFO1_LIVE=v#; Domain=.youtube.com; Path=/; Secure; HttpOnly; SameSite=none",
        "YSC=y#; Domain=youtube.com; Path=/p#",
        "__Secure-ROLLOUT_TOKEN=r#; Path=/generate_204",
        f"PREF={'x' * (MAX_CHARS + 1)}",
    )
    with make_client().attempt(permit(), 60) as attempt:
        for _ in range(300):
            attempt.get(PAGE)
        assert len(attempt.session.cookies) == 3
    sent = [asked.headers.get("cookie", "") for asked in site.asked]
    assert sent[0] == ""
    assert sorted(sent[-1].split("; ")) == [
        "VISITOR_INFO1_LIVE=v299",
        "YSC=y299",
        "__Secure-ROLLOUT_TOKEN=r299",
    ]
    assert max(map(len, sent)) < 100


def test_egresses_share_no_cookie_and_a_session_keeps_its_own(site: Site, make_client: MakeClient) -> None:
    serve(site, "VISITOR_INFO1_LIVE=v#")
    client = make_client(EgressSpec("p001", site.proxy_url), EgressSpec("p002", site.proxy_url))
    for egress in (0, 1, 0, 1):
        with client.attempt(permit(egress), 60) as attempt:
            attempt.get(PAGE)
    sent = [asked.headers.get("cookie") for asked in site.asked]
    assert sent == [None, None, "VISITOR_INFO1_LIVE=v1", "VISITOR_INFO1_LIVE=v2"]


def test_a_cookie_that_is_taken_back_goes(site: Site, make_client: MakeClient) -> None:
    serve(site, "YSC=y#; Domain=.youtube.com; Path=/")
    with make_client().attempt(permit(), 60) as attempt:
        attempt.get(PAGE)
        assert len(attempt.session.cookies) == 1
        serve(site, "YSC=; Max-Age=0")
        attempt.get(PAGE)
        assert len(attempt.session.cookies) == 0


@pytest.mark.parametrize(
    ("name", "value", "kept"), [("CONSENT", "YES+x", 1), ("CONSENT", "x" * 5000, 0), ("SID", "x", 0)]
)
def test_what_the_library_sets_is_bounded_too(name: str, value: str, kept: int) -> None:
    session = requests.Session()
    session.cookies = Jar()
    session.cookies.set(name, value, domain=".youtube.com")
    assert len(session.cookies) == kept


def test_headers_are_judged_before_they_are_parsed() -> None:
    assert worth_reading(["YSC=1", "YSC=2; Path=/", "x=1", f"PREF={'x' * 10_000}", " SOCS =1"]) == [
        "YSC=2; Path=/",
        " SOCS =1",
    ]
    assert len(NAMES) < 20
