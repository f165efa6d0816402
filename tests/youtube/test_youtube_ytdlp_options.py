"""The file of `--ytdlp-options`: three kinds of options, no secret in what is said about them, plugins that work."""

from __future__ import annotations

import http.server
import json
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from youtube_site import VIDEO, Site, permit

from engine.errors import UsageError
from engine.model import YtdlpOptions
from engine.youtube.video_attempt import VideoAttempt
from engine.youtube.ytdlp_client import YtdlpClient, is_loopback
from engine.youtube.ytdlp_options import parsed_args, read_ytdlp_options

COOKIES = "# Netscape HTTP Cookie File\n.youtube.com\tTRUE\t/\tTRUE\t4102444800\tLOGIN_INFO\ts3cr3t\n"


def write(tmp_path: Path, text: str) -> str:
    (tmp_path / "cookies.txt").write_text(COOKIES)
    (tmp_path / "plugins").mkdir(exist_ok=True)
    (tmp_path / "empty").write_text("")
    (tmp_path / "odd").write_text("s3cr3t")
    path = tmp_path / "ytdlp.conf"
    path.write_text(text)
    return str(path)


def test_the_three_kinds(tmp_path: Path) -> None:
    text = (
        "# mine\n--cookies cookies.txt\n--plugin-dirs=plugins\n"
        "--extractor-args 'youtube:player_client=mweb;po_token=s3cr3t'\n"
    )
    options = read_ytdlp_options(write(tmp_path, text))
    assert options.cookies == COOKIES
    assert options.plugin_dirs == (str(tmp_path / "plugins"),)
    assert parsed_args(options) == {"youtube": {"player_client": ["mweb"], "po_token": ["s3cr3t"]}}
    assert "s3cr3t" not in repr(options)
    assert pickle.loads(pickle.dumps(options)) == options
    assert parsed_args(YtdlpOptions()) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("--exec 'rm -rf s3cr3t'", "holds --exec; only --cookies, --extractor-args, --plugin-dirs"),
        ("-f best", "holds -f; only"),
        ("s3cr3t", "a word that is no option"),
        ("--cookies", "names --cookies without a value"),
        ("--cookies nowhere.txt", "nowhere.txt: cannot be read: No such file"),
        ("--cookies cookies.txt --cookies cookies.txt", "names --cookies twice"),
        ("--plugin-dirs nowhere", "is no directory"),
        ("--extractor-args 's3cr3t", "cannot be read: No closing quotation"),
        ("--extractor-args =s3cr3t", "not of yt-dlp's form"),
        ("x" * 2_000_000, "larger than 1 MB"),
        ("--cookies plugins", "cannot be read: Is a directory"),
        ("--cookies empty", "is no file of cookies"),
        ("--cookies odd", "is no file of cookies"),
    ],
)
def test_what_is_refused_is_said_without_its_value(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        read_ytdlp_options(write(tmp_path, text))
    assert "s3cr3t" not in str(caught.value)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        read_ytdlp_options(str(tmp_path / "none"))
    (tmp_path / "odd").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="no UTF-8 text"):
        read_ytdlp_options(str(tmp_path / "odd"))


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("http://127.0.0.1:4416/get_pot", True),
        ("http://localhost:4416/", True),
        ("http://[::1]:4416/", True),
        ("http://127.0.0.1.example.com/", False),
        ("https://www.youtube.com/", False),
        ("http://10.0.0.1/", False),
        ("nonsense", False),
    ],
)
def test_what_leads_to_this_machine(url: str, found: bool) -> None:
    assert is_loopback(url) == found


def test_cookies_are_sent_and_their_file_stays_as_it_is(
    tmp_path: Path, site: Site, make_client: object
) -> None:
    options = read_ytdlp_options(write(tmp_path, "--cookies cookies.txt"))
    site.video()
    with make_client().attempt(permit(), 60) as attempt:  # type: ignore[operator]
        assert YtdlpClient(options).tracks(VideoAttempt(attempt, VIDEO))
    assert any("LOGIN_INFO=s3cr3t" in asked.headers.get("cookie", "") for asked in site.asked)
    assert (tmp_path / "cookies.txt").read_text() == COOKIES


@pytest.fixture
def provider() -> Iterator[tuple[int, list[str]]]:
    """A PO-token provider's server, as plugins of yt-dlp ask one on this machine."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = json.dumps({"po_token": "token"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1], asked
    server.shutdown()
    server.server_close()


PLUGIN = """
from yt_dlp.extractor.youtube import YoutubeIE
from yt_dlp.networking import Request

class _Asks(YoutubeIE, plugin_name="asks"):
    def _real_extract(self, url):
        self._downloader.urlopen(Request("http://127.0.0.1:%d/get_pot")).read()
        return super()._real_extract(url)
"""
ATTEMPT = """
import sys
from youtube_site import VIDEO, permit
from engine.model import EgressSpec, YtdlpOptions
from engine.network.client import Client
from engine.youtube.video_attempt import VideoAttempt
from engine.youtube.ytdlp_client import YtdlpClient
client = Client((EgressSpec("p001", sys.argv[1]),), acquire=permit, ca_bundle=sys.argv[2])
with client.attempt(permit(), 60) as attempt:
    tracks = YtdlpClient(YtdlpOptions(plugin_dirs=(sys.argv[3],))).tracks(VideoAttempt(attempt, VIDEO))
    print(len(tracks), attempt.cost.requests)
"""


def test_a_plugin_asks_this_machine_uncounted(
    tmp_path: Path, site: Site, provider: tuple[int, list[str]]
) -> None:
    """In a process of its own, because yt-dlp loads plugins once."""
    port, asked = provider
    package = tmp_path / "mine" / "yt_dlp_plugins" / "extractor"
    package.mkdir(parents=True)
    (package / "asks.py").write_text(PLUGIN % port)
    site.video()
    done = subprocess.run(
        [sys.executable, "-c", ATTEMPT, site.proxy_url, site.ca_bundle, str(tmp_path)],
        capture_output=True, text=True, timeout=120, check=False,
        env={"PYTHONPATH": f"{Path(__file__).parents[1] / 'helpers'}:{Path(__file__).parents[2]}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    tracks, requests = map(int, done.stdout.split())
    assert tracks >= 1
    assert asked == ["/get_pot"]
    assert requests == len(site.asked)
