"""Notices: a real server on loopback, real commands, and no word of a secret."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from patience import HANG_S

from engine.errors import UsageError
from engine.monitor.status import empty
from engine.run import notify

SECRET = "T0pS3cret"
NOTICE = notify.body(
    "ended",
    "/some/where/my queue",
    {**empty(), "ok": 5},
    code=3,
    reason="it was so",
    before={**empty(), "ok": 2},
)


class Site(ThreadingHTTPServer):
    """Answers each POST with `status`, after `hold` is set, and keeps what it got."""

    def __init__(self) -> None:
        self.status, self.hold, self.trickles = 204, threading.Event(), False
        self.hold.set()
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    def at(self, path: str, login: str = "") -> str:
        return f"http://{login}127.0.0.1:{self.server_port}{path}"


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.path, {k.lower(): v for k, v in self.headers.items()}, data))
        while self.server.trickles and not self.server.hold.wait(0.05):  # a header now, a header then
            self.wfile.write(b"X-Slow: yes\r\n" if self.server.status == 0 else b"HTTP/1.0 200 OK\r\n")
            self.server.status = 0
        self.server.hold.wait(HANG_S)
        self.send_response(self.server.status)
        self.send_header("Location", f"/elsewhere/{SECRET}")
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.hold.set()
        server.shutdown()
        thread.join()


def send(target: str, notice: Any = NOTICE) -> str | None:
    return notify.send(notify.parse(target), notice, queue="q")


def test_one_post_with_the_notice(site: Site) -> None:
    assert send(site.at(f"/hook/{SECRET}?a=b&c")) is None
    [(path, headers, data)] = site.got
    assert path == f"/hook/{SECRET}?a=b&c"
    assert headers["content-type"] == "application/json"
    assert json.loads(data) == {
        "schema_version": 1, "event": "ended", "state": "empty", "queue": "my queue", "exit_code": 3,
        "reason": "it was so",
        "counts": {"total": 0, "pending": 0, "in_flight": 0, "deferred": 0, "ok": 5, "absent": 0, "failed": 0},
        "new": {"ok": 3, "absent": 0, "failed": 0},
    }  # fmt: skip


def test_new_videos_are_told_by_title(tmp_path: Path) -> None:
    news = notify.body(
        "ended", "q", empty(), code=0, reason="", titles=["One", "Two\x1b[2J"], sources={"@a": 3, "@b": 1}
    )
    assert (news["new_titles"], news["new_sources"]) == (["One", "Two\x1b[2J"], {"@a": 3, "@b": 1})
    assert notify.words(news)[1].splitlines()[-2:] == ["- One", "- Two"]
    out = tmp_path / "out"
    assert send(f"sh -c 'echo \"$ENGINE_NEW_TITLES|$ENGINE_NEW_SOURCES\" >{out}'", news) is None
    assert out.read_text() == "One\nTwo|@a 3, @b 1\n"


def test_a_login_in_the_address_goes_into_a_header(site: Site) -> None:
    assert send(site.at("/", "me:p%40ss@")) is None
    assert site.got[0][1]["authorization"] == "Basic bWU6cEBzcw=="


def test_no_proxy_of_the_environment_is_used(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert send(site.at("/")) is None


@pytest.mark.parametrize("status", [302, 404, 500])
def test_an_answer_that_is_no_yes_is_told_and_not_followed(site: Site, status: int) -> None:
    site.status = status
    assert send(site.at(f"/{SECRET}")) == f"it answered {status}"
    assert len(site.got) == 1


def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert send(f"http://127.0.0.1:{port}/{SECRET}") == "Connection refused"


def test_a_silent_server_costs_so_long_and_no_longer(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.hold.clear()
    monkeypatch.setattr(notify, "URL_S", 0.3)
    assert str(send(site.at(f"/{SECRET}"))) in ("no answer in 0.3 s", "ReadTimeout", "timed out")
    assert not site.hold.is_set(), "it was not waited for"


def test_a_trickling_server_costs_no_longer(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.hold.clear()
    site.trickles = True
    monkeypatch.setattr(notify, "URL_S", 0.3)
    assert send(site.at(f"/{SECRET}")) == "no answer in 0.3 s"


def test_https_needs_a_certificate_that_holds(site: Site) -> None:
    said = str(send(site.at(f"/{SECRET}").replace("http:", "https:")))
    assert said and SECRET not in said


def test_a_command_gets_it_on_stdin_and_in_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENGINE_NOTIFY", SECRET)
    out = tmp_path / "two words"
    script = (
        "import json, os, sys; all = [json.load(sys.stdin), dict(os.environ), sys.argv[2:]]; "
        "json.dump(all, open(sys.argv[1], 'w'))"
    )
    assert send(f"{sys.executable} -c {script!r} '{out}' '$HOME;' `x`") is None
    notice, environment, words = json.loads(out.read_text())
    assert notice == NOTICE
    assert words == ["$HOME;", "`x`"]  # no shell came near it
    wanted = {
        "STATE": "empty",
        "EVENT": "ended",
        "REASON": "it was so",
        "EXIT_CODE": "3",
        "OK": "5",
        "FAILED": "0",
    }
    assert {name: environment[f"ENGINE_{name}"] for name in wanted} == wanted
    assert environment["ENGINE_QUEUE"] == os.path.abspath("q")
    assert "ENGINE_NOTIFY" not in environment


def test_a_command_that_fails_hangs_or_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert send("false") == "it ended with 1"
    assert send("true", {**NOTICE, "reason": "x" * 1_000_000}) == "Argument list too long"
    assert send("true") is None
    assert send("sh -c 'kill -9 $$'") == "signal 9 ended it"
    monkeypatch.setattr(notify, "COMMAND_S", 0.2)
    assert send("sh -c 'sleep 60 & wait'") == "it took longer than 0.2 s and was ended"


def test_a_reason_with_a_nul(monkeypatch: pytest.MonkeyPatch) -> None:
    assert send("true", {**NOTICE, "reason": "a\0b"}) is None


@pytest.mark.parametrize(
    "text",
    ["", "  ", f"http://[::1/{SECRET}", f"https:///{SECRET}", f"http://h:x/{SECRET}", f"http://h/a b{SECRET}",
     f"http://h/\n{SECRET}", f"tgram://{SECRET}", f"nothing-of-apprise://{SECRET}",
     f"no-such-program --token {SECRET}", f"sh -c '{SECRET}"],
)  # fmt: skip
def test_slips_are_told_at_once_and_quote_no_secret(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        notify.parse(text)
    assert str(caught.value).startswith("--notify: ")
    assert SECRET not in str(caught.value)


def test_a_service_of_apprise_is_told_in_words(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "SERVICE_S", HANG_S)
    assert send(site.at(f"/{SECRET}").replace("http:", "json:")) is None
    said = json.loads(site.got[0][2])
    assert said["title"] == "engine: my queue ended (empty)"
    assert (
        said["message"] == "5 ok, 0 absent, 0 failed, -5 left, exit code 3\nnew in this run: 3 ok\nit was so"
    )
    assert said["type"] == "warning"


@pytest.mark.parametrize("status", [404, 500])
def test_a_service_that_refuses_is_told_without_its_address(
    site: Site, status: int, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "SERVICE_S", HANG_S)
    site.status = status
    target = notify.parse(site.at(f"/{SECRET}").replace("http:", "json:"))
    assert (target.shown, SECRET in repr(target)) == ("json", False)
    assert notify.send(target, NOTICE, queue="q") == "the service did not take it"
    assert capfd.readouterr() == ("", "")


def test_a_service_that_hangs_costs_no_longer(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.hold.clear()
    monkeypatch.setattr(notify, "SERVICE_S", 3.0)
    assert send(site.at("/").replace("http:", "json:")) == "no answer in 3 s"
    children = [child.cmdline() for child in psutil.Process().children()]
    assert not [words for words in children if any("apprise" in word for word in words)]


def test_without_apprise_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(UsageError, match=r"pip install '\.\[notify\]'"):
        notify.parse(f"tgram://{SECRET}/1")


@pytest.mark.parametrize("text", [f"https://me:{SECRET}@host/{SECRET}?{SECRET}", f"echo {SECRET}"])
def test_a_target_shows_no_secret(text: str) -> None:
    target = notify.parse(text)
    assert SECRET not in repr(target)
    assert target.shown in ("host", "echo")


def test_what_goes_wrong_inside_is_named_without_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> str:
        raise ValueError(SECRET)

    monkeypatch.setattr(notify, "_post", broken)
    assert send("http://h/") == "ValueError"
