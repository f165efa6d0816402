"""The HTTP client against a loopback site, with real sockets and TLS."""

from __future__ import annotations

import gzip
import socket
import threading
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
import requests
from patience import HANG_S, shares_s, until
from youtube_site import Asked, Reply, Site, permit, reset

from engine.errors import Interrupted, UsageError
from engine.model import EgressSpec, Failure, Kind, Permit
from engine.network.client import Attempt, Client
from engine.network.session import HOSTS, youtube_host
from engine.youtube.classify import classify

PLAYER = "https://www.youtube.com/youtubei/v1/player"
WATCH = "https://www.youtube.com/watch?v=x"
MakeClient = Callable[..., Client]
TOLERANCE_S = 1.0  # without a deadline it would last for ever
SCALES = (1.0, 5.0, 25.0)  # a busy machine may need longer for a request than the shortest times allow


def failure_of(attempt: Attempt, url: str = PLAYER) -> Failure:
    with pytest.raises(Exception) as caught:
        attempt.get(url)
    return classify(caught.value, attempt.answer)


def connected(site: Site, make_client: MakeClient, **options: Any) -> Client:
    """A client with an open connection, so that what follows is one request and nothing else."""
    site.answers["/watch"] = Reply("x")
    client = make_client(**options)
    with client.attempt(permit(), 60.0) as attempt:
        attempt.get(WATCH)
    return client


def fails(client: Client, url: str = PLAYER, deadline_s: float = 30.0) -> Failure:
    with client.attempt(permit(), deadline_s) as attempt:
        return failure_of(attempt, url)


# Permits and counts.


def test_every_request_takes_a_permit_the_first_is_prepaid(site: Site, make_client: MakeClient) -> None:
    taken: list[int] = []
    logged: list[int] = []

    def take(egress: int) -> Permit:
        taken.append(egress)
        return permit(egress)

    site.answers["/watch"] = Reply(status=302, headers={"Location": "https://consent.youtube.com/m"})
    site.answers["/m"] = Reply(status=302, headers={"Location": "/youtubei/v1/player"})
    site.answers["/youtubei/v1/player"] = Reply("hello", zipped=True)
    client = make_client(acquire=take, log=lambda egress, _: logged.append(egress))
    with client.attempt(permit(), 30) as attempt:
        assert attempt.get(WATCH).status_code == 200
        first = attempt.permit
        assert attempt.get(PLAYER).text == "hello"
        assert attempt.permit is not first
    assert site.paths == ["/watch", "/m", "/youtubei/v1/player", "/youtubei/v1/player"]
    assert taken == [0, 0, 0]
    assert logged == [0, 0, 0, 0]
    assert attempt.cost.requests == 4
    assert attempt.cost.bytes == 2 * len(gzip.compress(b"hello"))


def test_a_stale_permit_is_thrown_away(site: Site, make_client: MakeClient) -> None:
    site.answers["/watch"] = Reply("x")
    taken: list[int] = []
    unused: list[Permit] = []
    client = make_client(acquire=lambda e: taken.append(e) or permit(e), unused=unused.append)  # type: ignore[func-returns-value]
    stale = permit(for_s=-1)
    with client.attempt(stale, 30) as attempt:
        attempt.get(WATCH)
    assert taken == [0]
    assert unused == [stale]


def test_an_interrupted_permit_comes_through_and_nothing_is_sent(site: Site, make_client: MakeClient) -> None:
    site.answers["/watch"] = Reply("x")

    def take(_: int) -> Permit:
        raise Interrupted

    with make_client(acquire=take).attempt(permit(), 30) as attempt:
        attempt.get(WATCH)
        with pytest.raises(Interrupted):
            attempt.get(WATCH)
    assert attempt.cost.requests == len(site.asked) == 1


# Allowed hosts.

AWAY = [
    "https://127.0.0.1/", "http://www.youtube.com/", "https://www.youtube.com:8443/", "https://youtube.com.evil.test/",
    "https://www.youtube.com@evil.test/", "https://user@www.youtube.com/", "https://evil.test/www.youtube.com",
    "https://evilyoutube.com/",
    "file:///etc/passwd", "https://[::1]/", "https://www.youtube.com.", "ftp://www.youtube.com/", "https://[bad/",
]  # fmt: skip


@pytest.mark.parametrize("url", AWAY)
def test_a_redirect_away_is_refused(url: str, site: Site, make_client: MakeClient) -> None:
    site.answers["/watch"] = Reply(status=302, headers={"Location": url})
    failure = fails(make_client(), WATCH)
    assert failure.kind is Kind.GARBLED
    assert len(site.asked) == 1


def test_only_youtube_is_let_through() -> None:
    assert {youtube_host(f"https://{h}/watch") for h in HOSTS} == HOSTS


def test_a_redirect_to_the_page_for_unusual_traffic_is_a_block(site: Site, make_client: MakeClient) -> None:
    site.answers["/watch"] = Reply(
        status=302, headers={"Location": "https://www.google.com/sorry/index?continue=x"}
    )
    assert fails(make_client(), WATCH).kind is Kind.BLOCKED
    assert len(site.asked) == 1


def test_redirects_in_circles_end(site: Site, make_client: MakeClient) -> None:
    site.answers["/watch"] = Reply(status=302, headers={"Location": "/watch"})
    assert fails(make_client(), WATCH).kind is Kind.GARBLED
    assert len(site.asked) == 6


# The deadline.


def trickle(site: Site, head: bytes, every_s: float = 0.05) -> Callable[[Asked, socket.socket], None]:
    def answer(_: Asked, sock: socket.socket) -> None:
        sock.sendall(head)
        while not site.stopping.wait(every_s):
            sock.sendall(b"x")

    return answer


HEADS = {
    "body": b"HTTP/1.1 200 ok\r\nContent-Length: 100000\r\n\r\n",
    "headers": b"HTTP/1.1 200 ok\r\nX-Slow: ",
    "status": b"HTTP/1.1 200 ",
    "until close": b"HTTP/1.1 200 ok\r\n\r\n",
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
def test_a_trickle_is_held_to_the_deadline(head: bytes, site: Site, make_client: MakeClient) -> None:
    site.answers["/youtubei/v1/player"] = trickle(site, head)
    client = connected(site, make_client)
    began = time.monotonic()
    assert fails(client, deadline_s=0.5).kind is Kind.TIMEOUT
    assert time.monotonic() - began > 0.45
    assert shares_s(began) < 0.5 + TOLERANCE_S


def test_a_trickling_proxy_is_held_to_the_deadline(site: Site, make_client: MakeClient) -> None:
    def tunnel(sock: socket.socket, _: bytes) -> bool:
        sock.sendall(b"HTTP/1.1 200 ")
        while not site.stopping.wait(0.05):
            sock.sendall(b"x")
        return False

    site.tunnel = tunnel
    began = time.monotonic()
    assert fails(make_client(), deadline_s=0.5).kind is Kind.TIMEOUT
    assert shares_s(began) < 0.5 + TOLERANCE_S


def test_the_deadline_is_summed_over_requests_without_the_wait_for_permits(
    site: Site, make_client: MakeClient
) -> None:
    scale = [1.0]

    def answer(_: Asked, sock: socket.socket) -> Reply:
        site.stopping.wait(0.3 * scale[0])
        return Reply("x")

    def take(egress: int) -> Permit:
        site.stopping.wait(0.5 * scale[0])
        return permit(egress)

    def second_fails() -> bool:
        """Whether of two requests that are answered in 0.3 s each the first is within 0.5 s, and both are not."""
        with client.attempt(permit(), 0.5 * scale[0]) as attempt:
            try:
                attempt.get(PLAYER)
            except requests.RequestException:
                return False
            failure = failure_of(attempt)
        assert failure.kind is Kind.TIMEOUT
        assert f"{0.5 * scale[0]:g} s" in failure.message
        return True

    site.answers["/youtubei/v1/player"] = answer
    client = connected(site, make_client, acquire=take, read_s=60.0)
    assert any(second_fails() for scale[0] in SCALES)
    with connected(site, make_client).attempt(permit(), 0.2 * scale[0]) as attempt:
        failure_of(attempt)
        assert failure_of(attempt).kind is Kind.TIMEOUT
    assert attempt.cost.requests == 1  # nothing is sent when no time is left


def test_a_suspend_does_not_count(
    site: Site, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept_s = [0.0]
    monotonic = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + slept_s[0])

    def answer(_: Asked, sock: socket.socket) -> Reply:
        slept_s[0] += 600
        return Reply("late")

    site.answers["/youtubei/v1/player"] = answer
    with make_client(read_s=30.0).attempt(permit(for_s=1e6), 100.0) as attempt:
        assert attempt.get(PLAYER).text == "late"
        assert attempt.get(PLAYER).text == "late"


def test_a_hang_is_a_timeout(site: Site, make_client: MakeClient) -> None:
    site.answers["/youtubei/v1/player"] = lambda *_: site.stopping.wait(30) and None
    assert fails(make_client(read_s=0.2)).kind is Kind.TIMEOUT


# Bodies.


def test_a_gzip_bomb_ends_at_the_cap_in_bounded_memory(site: Site, make_client: MakeClient) -> None:
    bomb = gzip.compress(
        gzip.compress(bytes(200 << 20), 1), 9
    )  # twice: the inner one is megabytes of its own
    headers = {"Content-Encoding": "gzip, gzip"}
    site.answers["/youtubei/v1/player"] = Reply(bomb, headers=headers)
    client = make_client(max_bytes=4 << 20)
    tracemalloc.start()
    try:
        failure = fails(client)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert failure.kind is Kind.TOO_LARGE
    assert "4 MB" in failure.message
    assert peak < 24 << 20


def test_a_body_at_the_cap_passes(site: Site, make_client: MakeClient) -> None:
    site.answers["/watch"] = Reply(b"y" * 1000)
    with make_client(max_bytes=1000).attempt(permit(), 30) as attempt:
        assert len(attempt.get(WATCH).content) == 1000
    assert fails(make_client(max_bytes=999), WATCH).kind is Kind.TOO_LARGE


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"HTTP/1.1 200 ok\r\nContent-Length: 50\r\n\r\nshort", Kind.GARBLED),
        (b"HTTP/1.1 200 ok\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", Kind.GARBLED),
        (b"HTTP/1.1 200 ok\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Kind.GARBLED),
        (b"HTTP/1.1 200 ok\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nnogzip", Kind.GARBLED),
        (b"SSH-2.0 hello\r\n\r\n", Kind.GARBLED),
        (b"", Kind.NETWORK),
    ],
)
def test_malformed_answers(raw: bytes, kind: Kind, site: Site, make_client: MakeClient) -> None:
    site.answers["/youtubei/v1/player"] = lambda _, sock: sock.sendall(raw)
    assert fails(make_client()).kind is kind


def test_a_reset_is_the_networks(site: Site, make_client: MakeClient) -> None:
    site.answers["/watch"] = lambda _, sock: reset(sock)
    assert fails(make_client(), WATCH).kind is Kind.NETWORK


def test_text_without_a_charset_is_utf_8(site: Site, make_client: MakeClient) -> None:
    site.answers["/watch"] = Reply("grün", media="text/xml")
    with make_client().attempt(permit(), 30) as attempt:
        assert attempt.get(WATCH).text == "grün"


def test_cookies_are_kept_within_a_session(site: Site, make_client: MakeClient) -> None:
    site.answers["/watch"] = Reply(
        "x", headers={"Set-Cookie": "YSC=abc; Domain=.youtube.com; Path=/; Secure"}
    )
    with make_client().attempt(permit(), 30) as attempt:
        attempt.get(WATCH)
        attempt.get(WATCH)
    assert "YSC=abc" in site.asked[1].headers["cookie"]


# Connections.


@pytest.mark.parametrize(
    "asked",
    [
        {"method": "GET", "url": "https://www.youtube.com/watch?v=ü b"},
        {
            "method": "get",
            "url": "https://www.youtube.com/watch",
            "headers": {"accept-language": "de", "x": "y"},
        },
        {
            "method": "GET",
            "url": "https://www.youtube.com/watch",
            "params": {"a": "b"},
            "cookies": {"k": "v"},
        },
        {"method": "POST", "url": "https://www.youtube.com/youtubei/v1/player", "json": {"a": ["ü"]}},
        {"method": "POST", "url": "https://www.youtube.com/x", "data": b"raw"},
    ],
)
def test_requests_are_prepared_as_requests_prepares_them(
    asked: dict[str, Any], make_client: MakeClient
) -> None:
    with make_client().attempt(permit(), 5) as attempt:
        session = attempt.session
        session.cookies.set("YSC", "abc", domain=".youtube.com")
        ours = session.prepare_request(requests.Request(**asked))
        theirs = requests.Session.prepare_request(session, requests.Request(**asked))
    for what in ("method", "url", "headers", "body", "hooks"):
        assert getattr(ours, what) == getattr(theirs, what)
    assert "YSC=abc" in ours.headers["Cookie"]


def test_no_more_handshakes_than_threads(site: Site, make_client: MakeClient) -> None:
    site.answers["/watch"] = Reply("x")
    client = make_client()
    together = threading.Barrier(4)

    def work() -> None:
        for n in range(25):
            with client.attempt(permit(), 30) as attempt:
                if n == 0:
                    together.wait(HANG_S)
                attempt.get(WATCH)
                attempt.get(WATCH)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(site.asked) == 200
    assert 1 <= site.handshakes == client.handshakes <= 4


def test_open_connections_stay_within_threads_and_egresses(site: Site, make_client: MakeClient) -> None:
    site.answers["/watch"] = Reply("x")
    egresses = [EgressSpec(f"p{n:03d}", site.proxy_url) for n in range(3)]
    client = make_client(*egresses)
    threads = 4

    for egress in range(3):  # each egress has its turn of all threads at once
        attempts = [client.attempt(permit(egress), 30) for _ in range(threads)]
        for attempt in attempts:
            attempt.__enter__()
            attempt.get(WATCH)
            until(lambda: site.open <= threads + 3, 5.0, "the site to notice what was closed")
        for attempt in attempts:
            attempt.__exit__(None, None, None)
    assert site.connections == 12
    with client.attempt(permit(2), 30) as attempt:
        attempt.get(WATCH)
    assert site.connections == 12


def test_a_connection_long_idle_is_not_trusted(
    site: Site, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.answers["/watch"] = Reply("x")
    client = make_client()
    monotonic = time.monotonic
    for later_s in (0, 10, 200):
        monkeypatch.setattr(time, "monotonic", lambda later_s=later_s: monotonic() + later_s)
        with client.attempt(permit(), 30) as attempt:
            attempt.get(WATCH)
    assert client.handshakes == 2


def test_a_rotating_proxy_gets_a_new_connection_each_time(site: Site, make_client: MakeClient) -> None:
    site.answers["/watch"] = lambda asked, _: Reply("x", headers={"Connection": asked.headers["connection"]})
    client = make_client(EgressSpec("p001", site.proxy_url, rotating=True))
    for _ in range(2):
        with client.attempt(permit(), 30) as attempt:
            attempt.get(WATCH)
    assert site.asked[0].headers["connection"] == "close"
    assert client.handshakes == 2


@pytest.mark.parametrize("proxied", [True, False])
def test_nagle_is_off(
    proxied: bool, site: Site, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not proxied:
        site.through_proxy = False
        loopback = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", site.port))
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [loopback])
    seen: list[int] = []
    real = socket.socket.connect

    def connect(sock: socket.socket, address: Any) -> None:
        real(sock, address)
        seen.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    monkeypatch.setattr(socket.socket, "connect", connect)
    site.answers["/watch"] = Reply("x")
    with make_client(EgressSpec("x", site.proxy_url if proxied else None)).attempt(permit(), 30) as attempt:
        attempt.get(WATCH)
    assert seen
    assert all(seen)


def test_the_environment_decides_nothing(
    site: Site, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "netrc").write_text("machine www.youtube.com login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    site.answers["/watch"] = Reply("x")
    with make_client().attempt(permit(), 30) as attempt:
        assert attempt.get(WATCH).text == "x"
    assert "authorization" not in site.asked[0].headers


# Transport failures.


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


CANARY = "s3cr3t-canary"


def test_a_proxy_that_refuses(site: Site, make_client: MakeClient) -> None:
    client = make_client(EgressSpec("p001", f"http://me:{CANARY}@127.0.0.1:{free_port()}"))
    failure = fails(client)
    assert failure.kind is Kind.PROXY
    assert CANARY not in repr(failure)


def test_a_proxy_of_no_name(site: Site, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: Any, **__: Any) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert fails(make_client(EgressSpec("p001", "http://proxy.test:1"))).kind is Kind.PROXY
    assert fails(make_client(EgressSpec("direct"))).kind is Kind.NETWORK


@pytest.mark.parametrize(("status", "dead"), [(407, True), (502, False), (503, False), (403, False)])
def test_a_proxy_that_says_no(status: int, dead: bool, site: Site, make_client: MakeClient) -> None:
    site.tunnel = lambda sock, _: sock.sendall(f"HTTP/1.1 {status} no\r\n\r\n".encode()) or False
    failure = fails(make_client())
    assert (failure.kind, failure.dead_egress) == (Kind.PROXY, dead)


def test_a_proxy_that_hangs_up(site: Site, make_client: MakeClient) -> None:
    site.tunnel = lambda *_: False
    assert fails(make_client()).kind is Kind.PROXY


def test_a_site_that_hangs_up_behind_a_proxy_is_the_networks(site: Site, make_client: MakeClient) -> None:
    site.tunnel = lambda sock, _: sock.sendall(b"HTTP/1.1 200 ok\r\n\r\n") or False
    assert fails(make_client()).kind is Kind.NETWORK


def test_user_and_password_reach_the_proxy_and_nobody_else(site: Site, make_client: MakeClient) -> None:
    heads: list[bytes] = []
    site.tunnel = lambda _, head: heads.append(head) or True
    site.answers["/watch"] = Reply("x")
    url = site.proxy_url.replace("//", f"//us%40er:{CANARY}@")
    client = make_client(EgressSpec("p001", url))
    with client.attempt(permit(), 30) as attempt:
        response = attempt.get(WATCH)
        manager: Any = attempt.session.adapter.poolmanager
        assert CANARY not in str(manager.proxy)
    assert b"proxy-authorization: Basic dXNAZXI6czNjcjN0LWNhbmFyeQ==" in heads[0]
    assert "proxy-authorization" not in site.asked[0].headers
    for thing in (client, attempt, response, response.request.headers, attempt.answer, client.specs):
        assert CANARY not in repr(thing)


def test_direct_refused_and_reset(
    direct: Site, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct.answers["/watch"] = Reply("x")
    client = make_client(EgressSpec("direct"))
    with client.attempt(permit(), 30) as attempt:
        assert attempt.get(WATCH).text == "x"
    nobody = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", free_port()))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [nobody])
    failure = fails(make_client(EgressSpec("direct")))
    assert failure.kind is Kind.NETWORK
    assert "refuses" in failure.message


def test_a_dead_address_does_not_hide_a_living_one(
    direct: Site, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct.answers["/watch"] = Reply("x")
    live = socket.getaddrinfo("www.youtube.com", 443)
    dead = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", free_port())) for _ in range(9)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: dead + live)
    with make_client(EgressSpec("direct")).attempt(permit(), 30) as attempt:
        assert attempt.get(WATCH).text == "x"


def test_connecting_is_bounded_over_all_addresses(
    site: Site, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:  # a full backlog: SYNs are dropped
        waiting = [socket.socket() for _ in range(3)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        silent = (socket.AF_INET, socket.SOCK_STREAM, 6, "", full.getsockname())
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [silent] * 16)
        began = time.monotonic()
        failure = fails(make_client(EgressSpec("direct"), connect_s=0.4))
        assert failure.kind is Kind.NETWORK
        assert shares_s(began) < 0.4 + TOLERANCE_S
        for sock in waiting:
            sock.close()


def test_an_untrusted_certificate_is_refused(site: Site, make_client: MakeClient) -> None:
    failure = fails(make_client(ca_bundle=None))
    assert failure.kind is Kind.PROXY
    assert "--ca-bundle" in failure.message
    assert not site.asked


def test_settings_that_cannot_work_are_reported_at_once(make_client: MakeClient, tmp_path: Any) -> None:
    with pytest.raises(UsageError, match="--ca-bundle"):
        make_client(ca_bundle=str(tmp_path / "none.pem"))
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(UsageError, match="holds no certificates"):
        make_client(ca_bundle=str(tmp_path / "empty.pem"))
    with pytest.raises(UsageError) as caught:
        make_client(EgressSpec("p001", f"gopher://me:{CANARY}@host:1"))
    assert CANARY not in str(caught.value)


def test_socks_needs_a_package(make_client: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "socks", None)
    with pytest.raises(UsageError, match=r"pip install '\.\[socks\]'"):
        make_client(EgressSpec("p001", "socks5h://127.0.0.1:1"))


def test_a_session_works_only_within_an_attempt(site: Site, make_client: MakeClient) -> None:
    with make_client().attempt(permit(), 30) as attempt:
        session = attempt.session
    with pytest.raises(RuntimeError):
        session.get(WATCH)
    with pytest.raises(RuntimeError):
        attempt.get(WATCH)
    assert not site.asked
