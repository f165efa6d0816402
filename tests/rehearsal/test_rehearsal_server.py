"""The rehearsal server: unmodified clients, faults as seen by a client, control, start and stop."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPSConnection
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
import yt_dlp
from patience import HANG_S, until
from youtube_transcript_api import YouTubeTranscriptApi, _errors
from youtube_transcript_api.proxies import GenericProxyConfig

from engine.errors import UsageError
from engine.rehearsal import (
    CAPTURES,
    Rehearsal,
    RehearsalSettings,
    invent,
    invented_ids,
    parse_scenario,
    start,
)
from engine.rehearsal.scenarios import transient_fault

IDS = list(invented_ids(50))
SITE = "https://www.youtube.com"


@pytest.fixture(scope="module")
def shared() -> Iterator[Rehearsal]:
    with start(RehearsalSettings(latency_s=0, auth=None)) as rehearsal:
        yield rehearsal


@pytest.fixture
def rehearsal(shared: Rehearsal) -> Iterator[Rehearsal]:
    shared.play(replace=True)
    _until(lambda: _listens(shared))
    yield shared
    shared.play(replace=True)


def _listens(rehearsal: Rehearsal) -> bool:
    try:
        socket.create_connection(("127.0.0.1", rehearsal.address.port)).close()
    except ConnectionRefusedError:
        return False
    return True


def _until(true: Callable[[], bool]) -> None:
    until(true, 10.0, "it did not happen")


def _session(rehearsal: Rehearsal, egress: str | None = None) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    session.verify = rehearsal.ca_bundle
    session.proxies = {"https": rehearsal.proxy_url_as(egress) if egress else rehearsal.proxy_url}
    return session


def _player(session: requests.Session, video_id: str, client: str = "ANDROID") -> requests.Response:
    body = {"context": {"client": {"clientName": client}}, "videoId": video_id}
    return session.post(f"{SITE}/youtubei/v1/player", json=body, timeout=HANG_S)


def _timedtext(session: requests.Session, video_id: str, read_s: float = HANG_S) -> requests.Response:
    return session.get(f"{SITE}/api/timedtext?v={video_id}&lang=en", timeout=(HANG_S, read_s))


def _spoilt(scene: str, kind: str) -> str:
    """An id whose first request of this kind the scenario spoils."""
    return next(i for i in IDS if transient_fault(parse_scenario(scene), 1, i)[1] == kind)


# --- unmodified clients -----------------------------------------------------------------------------------


def test_unmodified_youtube_transcript_api(rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", rehearsal.ca_bundle)
    api = YouTubeTranscriptApi(proxy_config=GenericProxyConfig(rehearsal.proxy_url, rehearsal.proxy_url))
    for video_id in IDS[:3]:
        found = api.fetch(video_id)
        assert len(found) == 300
        assert found[-1].text == f"end of {video_id} in en"
        assert found.is_generated is not invent(1, video_id).manual


def test_unmodified_yt_dlp(rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", rehearsal.ca_bundle)
    options = {
        "proxy": rehearsal.proxy_url,
        "compat_opts": {"no-certifi"},
        "quiet": True,
        "no_warnings": True,
        "cachedir": False,
        "skip_download": True,
        "writesubtitles": True,
        "writeautomaticsub": True,
        "subtitleslangs": ["en"],
        "subtitlesformat": "json3",
        "outtmpl": str(tmp_path / "%(id)s"),
        "extractor_args": {
            "youtube": {
                "player_client": ["visionos"],
                "player_skip": ["webpage", "configs", "js", "initial_data"],
            }
        },
    }
    video = invent(1, IDS[0])
    with yt_dlp.YoutubeDL(options) as dl:
        found = dl.extract_info(f"{SITE}/watch?v={IDS[0]}")
    assert (found["title"], found["duration"]) == (video.title, video.duration_s)
    assert (found["channel_id"], found["view_count"]) == (video.channel_id, video.view_count)
    [file] = tmp_path.iterdir()
    assert f"end of {IDS[0]} in en" in file.read_text(encoding="utf-8")
    assert rehearsal.stats(videos=True)["videos"][IDS[0]]["other_client"] >= 1


def test_a_client_that_died_takes_the_unmodified_library_with_it(
    rehearsal: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scenario for one version spares the other; the log says who asked."""
    api = YouTubeTranscriptApi(http_client=_session(rehearsal))
    rehearsal.play("400:android-21,visionos", replace=True)
    assert len(api.fetch(IDS[0])) == 300
    assert rehearsal.arrivals()[-1]["client"] == "ANDROID 20.10.38"
    rehearsal.play("400:android-20", replace=True)
    with pytest.raises(_errors.YouTubeRequestFailed, match="400"):
        api.fetch(IDS[0])
    rehearsal.play("xpe:android", replace=True)
    with pytest.raises(_errors.PoTokenRequired):
        api.fetch(IDS[0])
    monkeypatch.setenv("SSL_CERT_FILE", rehearsal.ca_bundle)
    options = {
        "proxy": rehearsal.proxy_url,
        "compat_opts": {"no-certifi"},
        "quiet": True,
        "no_warnings": True,
    }
    clients = {
        "player_client": ["android", "ios"],
        "player_skip": ["webpage", "configs", "js"],
    }  # it asks `next`
    with yt_dlp.YoutubeDL({**options, "cachedir": False, "extractor_args": {"youtube": clients}}) as dl:
        listed = dl.extract_info(f"{SITE}/watch?v={IDS[0]}", download=False, process=False)
    urls = [
        each["url"] for name in ("subtitles", "automatic_captions") for each in listed[name].get("en", [])
    ]
    assert urls and all("c=IOS" in url for url in urls), "yt-dlp leaves out tracks that need a token"


EXPECTED: dict[str, type[Exception]] = {
    "captcha-pgA": _errors.IpBlocked,
    "bot-check-A": _errors.RequestBlocked,
    "Njp5uhTorCo": _errors.AgeRestricted,
    "dsMFmonKDD4": _errors.TranscriptsDisabled,
    "Fjg5lYqvzUs": _errors.TranscriptsDisabled,
    "unplayableA": _errors.VideoUnplayable,
    "no-such-vdA": _errors.VideoUnavailable,
    "po-token-rA": _errors.PoTokenRequired,
}


@pytest.mark.parametrize("video_id", sorted(CAPTURES))
def test_the_library_sees_captured_answers_as_in_its_own_tests(rehearsal: Rehearsal, video_id: str) -> None:
    rehearsal.play("captured")
    api = YouTubeTranscriptApi(http_client=_session(rehearsal))
    if CAPTURES[video_id].expected == "ok":
        assert len(api.fetch(video_id)) == 3
    else:
        with pytest.raises(EXPECTED[video_id]) as caught:
            api.fetch(video_id)
        assert caught.type is EXPECTED[video_id]


# --- faults as seen by a client ----------------------------------------------------------------------------


def test_reset_is_a_broken_connection_and_the_next_one_works(rehearsal: Rehearsal) -> None:
    rehearsal.play("reset")
    video_id = _spoilt("reset", "timedtext")
    session = _session(rehearsal)
    with pytest.raises(requests.ConnectionError):
        _timedtext(session, video_id)
    _until(lambda: _works(session, video_id))


def _works(session: requests.Session, video_id: str) -> bool:
    try:
        return _timedtext(session, video_id).status_code == 200
    except requests.ConnectionError:
        return False


def test_truncated_ends_in_the_middle(rehearsal: Rehearsal) -> None:
    rehearsal.play("truncated")
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        _timedtext(_session(rehearsal), _spoilt("truncated", "timedtext"))


def test_a_hang_is_taken_and_not_answered(rehearsal: Rehearsal) -> None:
    rehearsal.play("hang")
    video_id = _spoilt("hang", "timedtext")
    with pytest.raises(requests.ReadTimeout):
        _timedtext(_session(rehearsal), video_id, read_s=0.3)
    _until(lambda: rehearsal.arrivals()[-1]["scene"] == "hang")
    assert rehearsal.arrivals()[-1]["status"] == 0


def test_a_trickle_comes_byte_by_byte(rehearsal: Rehearsal) -> None:
    rehearsal.play("trickle")
    video_id = _spoilt("trickle", "timedtext")
    url = f"{SITE}/api/timedtext?v={video_id}&lang=en"
    with _session(rehearsal).get(url, stream=True, timeout=HANG_S) as answer:
        started_s = time.monotonic()
        assert [len(answer.raw.read1(1000, decode_content=False)) for _ in range(3)] == [1, 1, 1]
        assert time.monotonic() - started_s > 0.15


def test_a_redirect_leads_away(rehearsal: Rehearsal) -> None:
    rehearsal.play("redirect")
    url = f"{SITE}/api/timedtext?v={_spoilt('redirect', 'timedtext')}&lang=en"
    answer = _session(rehearsal).get(url, allow_redirects=False, timeout=HANG_S)
    assert (answer.status_code, answer.headers["Location"][:23]) == (302, "https://www.google.com/")
    with pytest.raises(requests.exceptions.ProxyError, match="502"):
        _session(rehearsal).get(answer.headers["Location"], timeout=HANG_S)


def test_a_gone_network_refuses_and_drops_and_comes_back(rehearsal: Rehearsal) -> None:
    session = _session(rehearsal)
    assert _works(session, IDS[0])
    before = rehearsal.stats()["connections"]["open"]
    rehearsal.play("gone")
    assert not _listens(rehearsal)
    with pytest.raises(requests.exceptions.ProxyError):
        _timedtext(session, IDS[0])
    assert before >= 1
    assert rehearsal.stats()["connections"]["open"] == 0
    rehearsal.play(replace=True)
    _until(lambda: _works(session, IDS[0]))


def test_a_window_of_gone_opens_by_itself(rehearsal: Rehearsal) -> None:
    def closed(for_s: float) -> bool:
        rehearsal.play(f"gone@0-{for_s:g}", replace=True)
        return not _listens(rehearsal)

    assert any(closed(for_s) for for_s in (0.3, 3.0, 30.0)), (
        "on a busy machine a short one may be over already"
    )
    _until(lambda: _listens(rehearsal))


def test_a_network_gone_for_one_egress_only(rehearsal: Rehearsal) -> None:
    first, second = _session(rehearsal, "p1"), _session(rehearsal, "p2")
    assert _works(first, IDS[0])
    rehearsal.play("gone/p1")
    assert not _works(first, IDS[0])
    assert not _works(_session(rehearsal, "p1"), IDS[0])
    assert _works(second, IDS[0])


def test_a_block_of_one_egress_and_the_counts_of_each(rehearsal: Rehearsal) -> None:
    before = rehearsal.stats()
    rehearsal.play("429/p7")
    assert _player(_session(rehearsal, "p7"), IDS[1]).status_code == 429
    assert _player(_session(rehearsal, "p8"), IDS[1]).status_code == 200
    after = rehearsal.stats()
    for egress, refused in (("p7", 1), ("p8", 0)):
        counts = after["egresses"][egress]
        assert (counts["requests"], counts["refused"]) == (1, refused)
    assert after["blocked"] - before["blocked"] == 1
    assert after["scenes"] == ["429/p7"]


@pytest.mark.parametrize("scene", ["", "truncated"])
def test_body_bytes_are_counted_as_they_go_out(rehearsal: Rehearsal, scene: str) -> None:
    rehearsal.play(*filter(None, [scene]))
    video_id, got = _spoilt("truncated", "timedtext"), 0
    url = f"{SITE}/api/timedtext?v={video_id}&lang=en"
    with _session(rehearsal, f"counted{scene}").get(url, stream=True, timeout=HANG_S) as answer:
        whole = int(answer.headers["Content-Length"])
        while part := answer.raw.read1(1000, decode_content=False):
            got += len(part)
            if got == whole // 2 and scene:
                break
    assert got == (whole // 2 if scene else whole)
    assert rehearsal.stats()["egresses"][f"counted{scene}"]["bytes"] == got


def test_proxy407(rehearsal: Rehearsal) -> None:
    rehearsal.play("proxy407/dead")
    with pytest.raises(requests.exceptions.ProxyError, match="407"):
        _player(_session(rehearsal, "dead"), IDS[0])
    assert _player(_session(rehearsal, "alive"), IDS[0]).status_code == 200


def test_a_password_is_asked_for_and_never_shown() -> None:
    with start(RehearsalSettings(latency_s=0, auth="ann:canary-sesame")) as rehearsal:
        assert "canary" not in repr(RehearsalSettings(auth="ann:canary-sesame"))
        assert "canary" not in " ".join(psutil.Process(rehearsal.pid).cmdline())
        for egress, password in (("ann", "wrong"), ("bob", "canary-sesame")):
            session = _session(rehearsal)
            session.proxies = {"https": rehearsal.proxy_url_as(egress, password)}
            with pytest.raises(requests.exceptions.ProxyError, match="407"):
                _player(session, IDS[0])
        session = _session(rehearsal)
        with pytest.raises(requests.exceptions.ProxyError, match="407"):
            _player(session, IDS[0])
        session.proxies = {"https": rehearsal.proxy_url_as("ann", "canary-sesame")}
        assert _player(session, IDS[0]).status_code == 200
        assert "canary" not in json.dumps([rehearsal.stats(), rehearsal.arrivals()])


# --- HTTP -------------------------------------------------------------------------------------------------


def _tunnel(rehearsal: Rehearsal, host: str = "www.youtube.com") -> HTTPSConnection:
    context = ssl.create_default_context(cafile=rehearsal.ca_bundle)
    connection = HTTPSConnection("127.0.0.1", rehearsal.address.port, timeout=HANG_S, context=context)
    connection.set_tunnel(host, 443)
    return connection


@pytest.mark.parametrize("host", ["youtube.com", "consent.youtube.com", "youtubei.googleapis.com"])
def test_other_names_of_the_site_have_a_valid_certificate(rehearsal: Rehearsal, host: str) -> None:
    connection = _tunnel(rehearsal, host)
    connection.request("GET", f"/watch?v={IDS[0]}")
    assert connection.getresponse().status == 200
    connection.close()


def test_other_hosts_are_not_answered_for(rehearsal: Rehearsal) -> None:
    with pytest.raises(OSError, match="502"):
        _tunnel(rehearsal, "example.com").request("GET", "/")


def test_keep_alive_head_plain_and_gzip_on_one_connection(rehearsal: Rehearsal) -> None:
    before = rehearsal.stats()
    connection = _tunnel(rehearsal)
    path = f"/api/timedtext?v={IDS[0]}&lang=en"
    bodies = []
    for method, headers in (("HEAD", {}), ("GET", {}), ("GET", {"Accept-Encoding": "gzip"})):
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        bodies.append(answer.read())
        assert answer.status == 200
        assert (answer.getheader("Content-Encoding") == "gzip") is bool(headers)
    assert bodies[0] == b""
    assert gzip.decompress(bodies[2]) == bodies[1]
    assert len(bodies[2]) < len(bodies[1]) / 3
    connection.request("GET", "/nothing-here")
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 404
    connection.request("POST", "/youtubei/v1/player", body=b"not json")
    answer = connection.getresponse()
    assert answer.status == 400
    assert b"videoId" in answer.read()
    assert rehearsal.stats()["tls_handshakes"] - before["tls_handshakes"] == 1
    connection.close()


def test_two_requests_sent_at_once_are_answered_in_order(rehearsal: Rehearsal) -> None:
    connection = _tunnel(rehearsal)
    connection.connect()
    line = "GET /api/timedtext?v={} HTTP/1.1\r\nHost: www.youtube.com\r\n{}\r\n"
    connection.sock.sendall((line.format(IDS[0], "") + line.format(IDS[1], "Connection: close\r\n")).encode())
    got = b""
    while piece := connection.sock.recv(65536):
        got += piece
    assert 0 < got.find(IDS[0].encode()) < got.find(IDS[1].encode())
    connection.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET http://www.youtube.com/ HTTP/1.1\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"CONNECT www.youtube.com:80 HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"x" * 70_000,
        b"\x16\x03\x01\x00\xff" + b"\r\n\r\n",
    ],
)
def test_nonsense_is_refused_and_hurts_nobody(rehearsal: Rehearsal, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", rehearsal.address.port), timeout=HANG_S) as sock:
        sock.sendall(sent)
        got = b""
        try:
            while piece := sock.recv(4096):
                got += piece
        except ConnectionResetError:
            pass
    assert got == b"" or got.split(b" ")[1] in (b"400", b"411", b"413", b"502")
    assert _works(_session(rehearsal), IDS[0])


def test_nonsense_in_place_of_tls_ends_that_connection_only(rehearsal: Rehearsal) -> None:
    with socket.create_connection(("127.0.0.1", rehearsal.address.port), timeout=HANG_S) as sock:
        sock.sendall(b"CONNECT www.youtube.com:443 HTTP/1.1\r\n\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 200")
        sock.sendall(b"this is not TLS" * 10)
        while sock.recv(4096):
            pass
    assert _works(_session(rehearsal), IDS[0])


# --- control, files, start and stop -----------------------------------------------------------------------


def test_control_is_on_the_proxy_port_too_and_says_what_it_wants(rehearsal: Rehearsal) -> None:
    url = f"http://127.0.0.1:{rehearsal.address.port}"
    with requests.Session() as session:
        session.trust_env = False
        assert session.get(f"{url}/__stats", timeout=HANG_S).json()["connections"]["open"] >= 1
        assert "arrivals" in session.get(f"{url}/__log", timeout=HANG_S).json()
        assert session.post(f"{url}/__scene", json={"scenes": ["bot"]}, timeout=HANG_S).json() == {
            "scenes": ["bot"]
        }
        for body in ({"scenes": ["nonsense"]}, {}, [1], {"scenes": 5}):
            answer = session.post(f"{url}/__scene", json=body, timeout=HANG_S)
            assert answer.status_code == 400
            assert answer.json()["error"]
        assert "POST /__scene" in session.get(f"{url}/__what", timeout=HANG_S).json()["error"]
    with pytest.raises(UsageError, match="There is no scenario"):
        rehearsal.play("nonsense")
    assert rehearsal.stats()["scenes"] == ["bot"], "a scene that cannot be read changes nothing"


def test_arrivals_are_written_to_a_file(tmp_path: Path) -> None:
    file = tmp_path / "arrivals.jsonl"
    with start(RehearsalSettings(latency_s=0, arrivals=str(file))) as rehearsal:
        session = _session(rehearsal, "p1")
        for video_id in IDS[:5]:
            _player(session, video_id)
            _timedtext(session, video_id)
        _until(lambda: file.read_bytes().count(b"\n") == 10)
        session.get(f"{SITE}/watch?v={IDS[5]}", timeout=HANG_S)
        kept = rehearsal.arrivals()
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert rows == kept
    assert [(r["kind"], r["video_id"]) for r in rows[:2]] == [("player", IDS[0]), ("timedtext", IDS[0])]
    assert {(r["egress"], r["status"], r["scene"]) for r in rows} == {("p1", 200, None)}
    assert [r["t"] for r in rows] == sorted(r["t"] for r in rows)
    assert rows[-1]["kind"] == "watch"


def test_a_kept_authority_is_used_again(tmp_path: Path) -> None:
    for _ in range(2):
        with start(RehearsalSettings(latency_s=0, ca_dir=str(tmp_path))) as rehearsal:
            assert rehearsal.ca_bundle == str(tmp_path / "ca.pem")
            pem = Path(rehearsal.ca_bundle).read_bytes()
            assert _works(_session(rehearsal), IDS[0])
    assert Path(rehearsal.ca_bundle).read_bytes() == pem
    assert (tmp_path / "ca.key").stat().st_mode & 0o077 == 0


def test_what_prevents_its_start_is_reported(rehearsal: Rehearsal, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"cannot listen on 127.0.0.1:{rehearsal.address.port}"):
        start(RehearsalSettings(port=rehearsal.address.port))
    with pytest.raises(UsageError, match="no scenario"):
        start(RehearsalSettings(scenarios=("nonsense",)))
    with pytest.raises(UsageError, match=r"arrivals file .* cannot be opened"):
        start(RehearsalSettings(arrivals=str(tmp_path / "no" / "where")))
    (tmp_path / "ca.pem").write_text("x")
    (tmp_path / "ca.key").write_text("x")
    with pytest.raises(UsageError, match="Remove ca"):
        start(RehearsalSettings(ca_dir=str(tmp_path)))


def test_signals_of_the_terminal_do_not_end_it() -> None:
    rehearsal = start(RehearsalSettings(latency_s=0))
    process = psutil.Process(rehearsal.pid)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        process.send_signal(number)
    assert _works(_session(rehearsal), IDS[0])
    ca = rehearsal.ca_bundle
    rehearsal.stop()
    rehearsal.stop()
    assert not process.is_running()
    assert not os.path.exists(ca)
    with pytest.raises(UsageError, match="does not answer"):
        rehearsal.stats()


def test_it_ends_when_its_parent_is_killed() -> None:
    code = (
        "import os, signal\nfrom engine.rehearsal import start\n"
        "r = start()\nprint(r.pid, r.ca_bundle, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    parent = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=False)
    pid, ca = parent.stdout.decode().split()
    child = int(pid)
    _until(lambda: not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE)
    assert not os.path.exists(ca), "and leaves nothing behind"


def test_importing_it_brings_no_server_along() -> None:
    code = (
        "import sys, engine.rehearsal; print([m for m in ('ssl', 'asyncio', 'trustme') if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code]).strip() == b"[]"


def test_many_connections_at_once(rehearsal: Rehearsal) -> None:
    clients, rounds = 120, 10
    ids = list(invented_ids(clients * rounds, seed=9))
    before = rehearsal.stats()
    together = threading.Barrier(clients, timeout=HANG_S)

    def work(k: int) -> int:
        connection = _tunnel(rehearsal)
        connection.timeout = HANG_S
        connection.connect()
        together.wait()
        right = 0
        for video_id in ids[k * rounds : (k + 1) * rounds]:
            connection.request("GET", f"/api/timedtext?v={video_id}", headers={"Accept-Encoding": "gzip"})
            right += video_id.encode() in gzip.decompress(connection.getresponse().read())
        connection.close()
        return right

    with ThreadPoolExecutor(clients) as pool:
        assert sum(pool.map(work, range(clients))) == clients * rounds
    after = rehearsal.stats()
    assert after["connections"]["peak"] >= clients
    assert after["tls_handshakes"] - before["tls_handshakes"] == clients
    assert after["requests"]["timedtext"] - before["requests"].get("timedtext", 0) == clients * rounds


def test_latency_holds_an_answer_and_not_the_server() -> None:
    with start(RehearsalSettings(latency_s=0.5)) as rehearsal:
        started_s = time.monotonic()
        with ThreadPoolExecutor(8) as pool:
            found: list[Any] = list(pool.map(lambda i: _player(_session(rehearsal), i), IDS[:8]))
        took_s = time.monotonic() - started_s
        came_s = sorted(row["t"] for row in rehearsal.arrivals())
    assert all(answer.status_code == 200 for answer in found)
    assert took_s > 0.5
    assert min(b - a for a, b in pairwise(came_s)) < 0.5, "one is taken while another waits for its answer"
