"""`engine proxies check`: every way in which a proxy can be of no use, by name, and never a password."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from egress_runs import PASSWORD, closed_port, proxies_file
from warm import start

from engine.cli import invoke as cli
from engine.errors import Exit
from engine.model import EgressSpec, Kind
from engine.network.proxies import egresses
from engine.rehearsal import Rehearsal, RehearsalSettings
from engine.youtube.proxy_check import check


@pytest.fixture(scope="module")
def site() -> Iterator[Rehearsal]:
    with start(
        RehearsalSettings(latency_s=0.0, scenarios=("429/blocked", "gone/dropped", "proxy407/stranger"))
    ) as stand_in:
        yield stand_in


@contextlib.contextmanager
def proxy(answer: bytes | None, *, then: bytes | None = None) -> Iterator[str]:
    """A proxy that says `answer` to CONNECT (None: it closes), then `then` (None: it closes; b"": nothing)."""
    listener = socket.create_server(("127.0.0.1", 0))
    kept: list[socket.socket] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listener.accept()
                client.recv(65536)
                if answer is not None:
                    client.sendall(answer)
                if answer is None or then is None:
                    client.close()
                else:
                    if then:
                        client.recv(65536)  # the client's first word of TLS
                        client.sendall(then)
                    kept.append(client)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://user:{PASSWORD}@127.0.0.1:{listener.getsockname()[1]}"
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for client in kept:
            client.close()


YES = b"HTTP/1.1 200 Connection established\r\n\r\n"


def refusal(status: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()


def one(url: str, ca_bundle: str, deadline_s: float = 60.0) -> tuple[Kind | None, str, bool, bool]:
    (found,) = check([EgressSpec("p001 x", url)], ca_bundle=ca_bundle, deadline_s=deadline_s)
    failure = found.failure
    if failure is None:
        return None, "", False, False
    assert PASSWORD not in repr(failure)
    return failure.kind, failure.message, failure.dead_egress, failure.unreached


@pytest.mark.parametrize(
    ("answer", "then", "kind", "says", "dead"),
    [
        (None, None, Kind.PROXY, "could not be reached", False),
        (refusal("407 Proxy Authentication Required"), None, Kind.PROXY, "407", True),
        (refusal("502 Bad Gateway"), None, Kind.PROXY, "502", False),
        (refusal("503 Service Unavailable"), None, Kind.PROXY, "503", False),
        (YES, b"HTTP/1.1 400 this is no TLS\r\n\r\n", Kind.PROXY, "TLS", False),
        (YES, None, Kind.NETWORK, "cut", False),  # ambiguous: it may be the site
    ],
    ids=["closes", "407", "502", "503", "no-tls", "cuts"],
)
def test_what_a_proxy_can_do_wrong(
    site: Rehearsal, answer: bytes | None, then: bytes | None, kind: Kind, says: str, dead: bool
) -> None:
    with proxy(answer, then=then) as url:
        found, message, is_dead, unreached = one(url, site.ca_bundle)
    assert (found, is_dead, unreached) == (kind, dead, False)
    assert says in message


def test_a_proxy_that_cannot_even_be_reached(site: Rehearsal) -> None:
    kind, message, _, unreached = one(f"http://127.0.0.1:{closed_port()}", site.ca_bundle)
    assert (kind, unreached) == (Kind.PROXY, True)
    assert "refuses" in message
    kind, message, _, unreached = one("http://no-such-proxy.invalid:1", site.ca_bundle)
    assert (kind, unreached) == (Kind.PROXY, True)
    assert "name" in message


def test_a_proxy_that_hangs_takes_its_time_and_no_more(site: Rehearsal) -> None:
    for deadline_s in (0.5, 5.0, 30.0):  # a busy machine may need longer to reach it
        with proxy(YES, then=b"") as url:
            kind, message, _, _ = one(url, site.ca_bundle, deadline_s=deadline_s)
        if kind is Kind.TIMEOUT:
            break
    assert kind is Kind.TIMEOUT
    assert "in time" in message or "within" in message


def checked(
    tmp_path: Path, site: Rehearsal, capsys: pytest.CaptureFixture[str], urls: list[str], *more: str
) -> tuple[int, str, str]:
    path = proxies_file(tmp_path, urls)
    code = cli(["proxies", "check", "--proxies", str(path), "--ca-bundle", site.ca_bundle, *more])
    out, err = capsys.readouterr()
    assert PASSWORD not in out + err
    return code, out, err


def test_all_work(tmp_path: Path, site: Rehearsal, capsys: pytest.CaptureFixture[str]) -> None:
    before = site.stats()["requests"].get("ping", 0)
    code, out, _ = checked(tmp_path, site, capsys, [site.proxy_url_as(name, PASSWORD) for name in "abcdef"])
    assert code == Exit.OK
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == [f"p{number:03d}" for number in range(1, 7)]
    assert all(line.endswith(" ok") for line in lines)
    assert site.stats()["requests"]["ping"] == before + 6  # one request each


def test_some_fail(tmp_path: Path, site: Rehearsal, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["good", "blocked", "dropped", "stranger"]
    urls = [site.proxy_url_as(name, PASSWORD) for name in names]
    code, out, _ = checked(tmp_path, site, capsys, urls, "--json")
    assert code == Exit.SOME_FAILED
    found = json.loads(out)
    assert found["schema_version"] == 1
    assert [(proxy["ok"], proxy["kind"]) for proxy in found["proxies"]] == [
        (True, None),
        (False, "blocked"),
        (False, "proxy"),
        (False, "proxy"),
    ]
    assert all(isinstance(proxy["ms"], int) for proxy in found["proxies"])
    assert "407" in found["proxies"][3]["message"]


def test_none_works(tmp_path: Path, site: Rehearsal, capsys: pytest.CaptureFixture[str]) -> None:
    urls = [site.proxy_url_as("stranger", PASSWORD), f"http://user:{PASSWORD}@127.0.0.1:{closed_port()}"]
    code, out, _ = checked(tmp_path, site, capsys, urls)
    assert code == Exit.NO_PROXY
    assert "407" in out


def test_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(["proxies", "check"]) == Exit.USAGE
    assert "--proxies" in capsys.readouterr().err
    assert cli(["proxies", "check", "--proxy", f"http://user:{PASSWORD}@host:99999999"]) == Exit.USAGE
    assert cli(["proxies", "check", "--proxy", f"ftp://user:{PASSWORD}@host:1"]) == Exit.USAGE
    assert cli(["proxies", "check", "--proxy", "host:1", "--ca-bundle", "/no/such/file"]) == Exit.USAGE
    assert PASSWORD not in capsys.readouterr().err


def test_a_rotating_gateway_is_marked() -> None:
    assert [egress.rotating for egress in egresses(["http://h:1", "http://h:2"], rotating=True)] == [
        True,
        True,
    ]
    assert not egresses(["http://h:1"])[0].rotating
