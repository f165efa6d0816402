"""Interim answers, odd encodings, large bodies, and proxies with any address and password."""

from __future__ import annotations

import base64
import json
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from youtube_site import VIDEO, Reply, Site, permit, player

from engine.errors import Interrupted, UsageError
from engine.model import EgressSpec, Failure, Fetched, Kind, NotFetched
from engine.network.client import Attempt, Client
from engine.network.large_answers import LARGE_BYTES, large_slot
from engine.network.proxies import egresses, parse_proxy, read_proxies
from engine.youtube.classify import classify
from engine.youtube.fetcher import Fetcher, FetchSettings
from engine.youtube.video_attempt import VideoAttempt
from engine.youtube.ytdlp_client import YtdlpClient

PLAYER = "https://www.youtube.com/youtubei/v1/player"
MakeClient = Callable[..., Client]


class Bytes:
    """The exact bytes of an answer."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def raw(self) -> bytes:
        return self._raw


def failure_of(attempt: Attempt, url: str = PLAYER) -> Failure:
    with pytest.raises(Exception) as caught:
        attempt.get(url)
    return classify(caught.value, attempt.answer)


HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </s.css>; rel=preload\r\n\r\n"


@pytest.mark.parametrize(
    "before", [HINTS, HINTS * 3, b"HTTP/1.1 102 Processing\r\n\r\n", b"HTTP/1.1 100 x\r\n\r\n"]
)
def test_an_answer_on_the_way_is_not_the_answer(before: bytes, site: Site, make_client: MakeClient) -> None:
    site.video()
    for path, reply in list(site.answers.items()):
        site.answers[path] = lambda asked, _, reply=reply: Bytes(before + reply.raw())
    result = Fetcher(make_client(), FetchSettings()).fetch(VIDEO, permit())
    assert isinstance(result, Fetched)
    assert result.cost.requests == 2


def test_a_proxy_may_send_one_too(site: Site, make_client: MakeClient) -> None:
    site.video()
    site.tunnel = lambda sock, _: sock.sendall(HINTS) is None
    assert isinstance(Fetcher(make_client(), FetchSettings()).fetch(VIDEO, permit()), Fetched)


def test_a_site_that_sends_nothing_else_is_given_up(site: Site, make_client: MakeClient) -> None:
    site.answers["/youtubei/v1/player"] = lambda *_: Bytes(HINTS * 50)
    with make_client().attempt(permit(), 30) as attempt:
        assert failure_of(attempt).kind is Kind.GARBLED


@pytest.mark.parametrize(
    "charset", ["punycode", "idna", "utf-7", "unicode_escape", "x", "", '"UTF-8"', "rot13"]
)
def test_no_encoding_is_taken_from_an_answer_but_a_few(
    charset: str, site: Site, make_client: MakeClient
) -> None:
    site.answers["/youtubei/v1/player"] = Reply("é".encode() * 10, media=f"text/xml; charset={charset}")
    with make_client().attempt(permit(), 30) as attempt:
        response = attempt.get(PLAYER)
        assert (response.encoding, response.text) == ("utf-8", "é" * 10)


def test_an_address_of_absurd_length_is_not_sent(site: Site, make_client: MakeClient) -> None:
    with make_client().attempt(permit(), 30) as attempt:
        failure = failure_of(attempt, PLAYER + "?" + "x" * 1_000_000)
    assert (failure.kind, site.asked) == (Kind.GARBLED, [])


# Large answers.

LARGE = LARGE_BYTES + 100_000


def test_large_answers_are_read_one_at_a_time_and_small_ones_beside_them(
    site: Site, make_client: MakeClient
) -> None:
    site.answers["/watch"] = Reply(b"x" * LARGE, zipped=True)
    site.answers["/youtubei/v1/player"] = Reply(b"small", zipped=True)
    client = make_client(read_s=60.0)
    first_has_it, may_end, second_has_it = threading.Event(), threading.Event(), threading.Event()

    def first() -> None:
        with client.attempt(permit(), 60) as attempt:
            attempt.get("https://www.youtube.com/watch?v=1")
            assert large_slot.mine
            first_has_it.set()
            may_end.wait(60)

    def second() -> None:
        with client.attempt(permit(), 0.5) as attempt:  # waiting for a turn does not count
            attempt.get("https://www.youtube.com/watch?v=2")
            second_has_it.set()

    threads = [threading.Thread(target=act) for act in (first, second)]
    threads[0].start()
    assert first_has_it.wait(60)
    threads[1].start()
    with client.attempt(permit(), 60) as attempt:
        assert attempt.get(PLAYER).text == "small"
    assert not second_has_it.wait(1.5), "longer than its deadline"
    may_end.set()
    assert second_has_it.wait(60)
    for thread in threads:
        thread.join()


def test_a_turn_is_given_back_however_the_attempt_ends(site: Site, make_client: MakeClient) -> None:
    site.answers["/youtubei/v1/player"] = Reply(b"x" * (LARGE * 2), zipped=True)
    site.answers["/watch"] = Reply(b"x" * (LARGE_BYTES + 1), headers={"Content-Length": str(LARGE_BYTES * 2)})
    client = make_client(max_bytes=LARGE)
    with client.attempt(permit(), 30) as attempt:
        assert failure_of(attempt).kind is Kind.TOO_LARGE
        assert large_slot.mine
    assert not large_slot.mine
    other = threading.Thread(target=lambda: fetch_large(client, site))
    other.start()
    other.join()
    assert not large_slot.mine


def fetch_large(client: Client, site: Site) -> None:
    with client.attempt(permit(), 30) as attempt:
        assert failure_of(attempt).kind is Kind.TOO_LARGE


def test_who_is_to_give_way_steps_back_from_a_large_answer(site: Site, make_client: MakeClient) -> None:
    site.answers["/youtubei/v1/player"] = Reply(b"x" * LARGE, zipped=True)
    with (
        make_client(take_large_slot=lambda: False).attempt(permit(), 30) as attempt,
        pytest.raises(Interrupted),
    ):
        attempt.get(PLAYER)


def test_all_bodies_of_an_attempt_have_an_end_together(site: Site, make_client: MakeClient) -> None:
    site.answers["/youtubei/v1/player"] = Reply(b"x" * 90_000)
    with make_client(max_bytes=100_000).attempt(permit(), 30) as attempt:
        for _ in range(4):
            attempt.get(PLAYER)
        assert failure_of(attempt).kind is Kind.TOO_LARGE


def test_a_fetch_leaves_nothing_of_a_large_refusal_behind(site: Site, make_client: MakeClient) -> None:
    site.video({"playabilityStatus": {"status": "UNPLAYABLE", "reason": "an account " * 400_000}})
    client = make_client(read_s=60.0)
    result = Fetcher(client, FetchSettings()).fetch(VIDEO, permit())
    assert isinstance(result, NotFetched)
    assert len(result.failure.message) <= 300
    with client.attempt(permit(), 30) as attempt:
        assert attempt.session.attached is None


def test_yt_dlp_gets_only_that_an_answer_came(
    site: Site, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """yt-dlp's expressions over titles and descriptions take minutes for texts made for that."""
    import yt_dlp.extractor.youtube as youtube

    seen: list[str] = []
    extract = youtube.YoutubeIE._real_extract

    def watched(self: Any, url: str) -> Any:
        found = extract(self, url)
        seen.append(json.dumps(found, default=str))
        return found

    monkeypatch.setattr(youtube.YoutubeIE, "_real_extract", watched)
    full = player()
    full["videoDetails"]["shortDescription"] = full["videoDetails"]["title"] = "a·" * 1_000 + "secret words"
    full["videoDetails"]["videoId"] = VIDEO
    site.video(full)
    with make_client().attempt(permit(), 60) as attempt:
        tracks = YtdlpClient().tracks(VideoAttempt(attempt, VIDEO))
    assert tracks
    assert "secret words" not in "".join(seen)


# Proxies.


def relay(target: int) -> tuple[int, socket.socket]:
    """A port on the IPv6 loopback that leads to a port on the IPv4 one."""
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")

    def copy(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def accept() -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", target))
            for pair in ((near, far), (far, near)):
                threading.Thread(target=copy, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1], listener


@pytest.mark.parametrize(
    "form",
    ["http://[::1]:PORT", "[::1]:PORT", "[::1]:PORT:user:pässwörd", "http://user:p%C3%A4ss@[::1]:PORT"],
)
def test_a_proxy_by_its_ipv6_address(form: str, site: Site, make_client: MakeClient) -> None:
    site.video()
    heads: list[bytes] = []
    site.tunnel = lambda _, head: heads.append(head) is None
    port, listener = relay(site.port)
    with listener:
        (spec,) = egresses([parse_proxy(form.replace("PORT", str(port)), "here")])
        assert spec.name == f"p001 [::1]:{port}"
        result = Fetcher(make_client(spec), FetchSettings()).fetch(VIDEO, permit())
    assert isinstance(result, Fetched), result
    assert len(heads) == 1


@pytest.mark.parametrize(
    ("form", "login"),
    [
        ("http://user:p%C3%A4ssw%C3%B6rd@HOST", "user:pässwörd".encode()),
        ("HOST:user:pässwörd", "user:pässwörd".encode()),
        ("http://ユーザー:密码🔑@HOST", "ユーザー:密码🔑".encode()),
        ("http://user:p%E4ss@HOST", b"user:p\xe4ss"),  # bytes as they were written, whatever they mean
        ("http://user:a%3Ab%0D%0A@HOST", b"user:a:b\r\n"),
        ("http://user:@HOST", b"user:"),
        ("http://user@HOST", b"user:"),
    ],
)
def test_a_password_arrives_byte_for_byte_in_utf_8(
    form: str, login: bytes, site: Site, make_client: MakeClient
) -> None:
    site.video()
    heads: list[bytes] = []
    site.tunnel = lambda _, head: heads.append(head) is None
    url = parse_proxy(form.replace("HOST", f"127.0.0.1:{site.port}"), "here")
    result = Fetcher(make_client(EgressSpec("p001", url)), FetchSettings()).fetch(VIDEO, permit())
    assert isinstance(result, Fetched), result
    sent = heads[0].lower().partition(b"proxy-authorization: basic ")[2].split(b"\r\n")[0]
    at = heads[0].lower().index(sent)
    assert base64.b64decode(heads[0][at : at + len(sent)]) == login


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"host:80:user:p\xe4ss", "not UTF-8"),
        (b"http://us%3Aer:secret@host:80", "user contains a colon"),
        (b"socks5://user:" + b"secret" * 50 + b"@host:80", "at most 255 bytes"),
        (b"socks5h://user:secret%FF@host:80", "not UTF-8, which SOCKS"),
        (b"http://user:secret\xed\xb2\x80@host:80", "not UTF-8"),
    ],
)
def test_a_login_that_cannot_be_sent_is_reported_by_file_and_line(
    line: bytes, says: str, tmp_path: Any
) -> None:
    file = tmp_path / "proxies.txt"
    file.write_bytes(b"\xef\xbb\xbf# mine\r\nhost:1\r\n" + line + b"\r\n")
    with pytest.raises(UsageError, match=says) as told:
        read_proxies(str(file))
    assert f"{file}, line 3: " in str(told.value)
    assert "secret" not in str(told.value)
    assert told.value.exit_code == 2
