"""`engine get`, in this process, against the rehearsal server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import ids
from warm import start

from engine.budget import snapshot
from engine.cli import invoke
from engine.model import CONTROL_VIDEOS
from engine.output.formats import from_json
from engine.rehearsal import Rehearsal, RehearsalSettings
from engine.storage.user_cache import user_cache
from engine.worker import retry_policy

Get = Callable[..., tuple[int, str, str]]
FINE = CONTROL_VIDEOS[0]


@pytest.fixture(scope="module")
def site() -> Iterator[Rehearsal]:
    with start(RehearsalSettings(latency_s=0.0)) as found:
        yield found


@pytest.fixture
def get(
    site: Rehearsal,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> Get:
    """Calls the command: (exit code, stdout, stderr). Without a rate or proxy of its own it is not paced."""
    site.play(replace=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("ENGINE_RATE", "none")
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(retry_policy, "WAITS_S", (0.05, 0.1, 0.2))

    def call(*args: str, named: bool = True) -> tuple[int, str, str]:
        named = named and "--proxy" not in args
        more = ("--proxy", site.proxy_url) if named else ()
        code = invoke(["get", *args, *more, "--ca-bundle", site.ca_bundle])
        out, err = capfdbinary.readouterr()
        return code, out.decode(), err.decode()

    return call


def test_one_video_is_its_text_and_nothing_else(get: Get, tmp_path: Path) -> None:
    code, out, err = get(FINE)
    assert (code, err) == (0, "")
    assert len(out.splitlines()) > 100 and "==>" not in out
    assert [path.name for path in (tmp_path / "engine").iterdir()] == ["budget"]


@pytest.mark.parametrize(("fmt", "first"), [("srt", "1"), ("vtt", "WEBVTT"), ("md", "---"), ("json", "{")])
def test_formats(get: Get, fmt: str, first: str) -> None:
    code, out, _ = get(f"https://youtu.be/{FINE}", "-f", fmt)
    assert code == 0
    assert out.startswith(first)


def test_several_are_told_apart_and_one_that_is_missing_stops_none(get: Get, site: Rehearsal) -> None:
    videos = ids(6)
    site.play("absent=0.5", replace=True)
    code, out, err = get(*videos, "-f", "json")
    there = [from_json(line.encode()).video_id for line in out.splitlines()]
    missing = [line.split(":")[0] for line in err.splitlines()]
    assert code == 3
    assert there and missing
    assert sorted(there + missing) == sorted(videos)
    assert [name for name in videos if name in there] == there
    assert get(*there, "-f", "txt")[1].count("==> ") == len(there)


def test_an_id_may_begin_with_a_dash_and_is_fetched_once(get: Get) -> None:
    code, out, _ = get("-cBuzA1w-TY", "-cBuzA1w-TY", "-f", "json")
    assert (code, json.loads(out)["video_id"]) == (0, "-cBuzA1w-TY")


def test_what_is_no_video_is_said_before_anything_is_sent(get: Get, site: Rehearsal) -> None:
    before = site.stats()["requests"]
    code, out, err = get(FINE, "nonsense", "http://example.com/x")
    assert (code, out) == (2, "")
    assert "'nonsense'" in err and "example.com" in err
    assert site.stats()["requests"] == before


@pytest.mark.parametrize(
    ("what", "kind"), [("links.txt", "a file"), ("@TED", "channel"), ("PLmade-up-20", "playlist")]
)
def test_what_names_many_is_for_a_run(
    get: Get, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "links.txt").write_text(f"{FINE}\n")
    code, _, err = get(what)
    assert code == 2
    assert f"{kind}; here only ids and addresses of videos: `engine run {what}`" in err


def test_faults_are_tried_again(get: Get, site: Rehearsal) -> None:
    site.play("flaky=1", replace=True)
    code, out, err = get(FINE)
    assert code == 0, err
    assert out
    assert "trying again" in err


def test_a_blocked_address_is_said_and_remembered(get: Get, site: Rehearsal, tmp_path: Path) -> None:
    site.play("429", replace=True)
    code, out, err = get(FINE)
    assert (code, out) == (5, "")
    assert "YouTube refuses the proxy" in err
    (view,), said_s, before = (
        snapshot(str(tmp_path / "engine" / "budget")),
        time.monotonic(),
        len(site.arrivals()),
    )
    assert get(FINE)[0] == 5
    # The cool-down is that of all commands. On a busy machine it may be over, and then one request is the probe.
    more, over = len(site.arrivals()) - before, time.monotonic() - said_s > view.open_in_s
    assert more == 0 or (more == 1 and over)
    site.play(replace=True)
    code, _, err = get(FINE, "--proxy", site.proxy_url_as("another"), "--proxy", site.proxy_url)
    assert code == 0, err


def test_no_captions_count_only_where_others_have_some(get: Get, site: Rehearsal) -> None:
    site.play("no_captions", replace=True)
    code, _, err = get(ids(1)[0])
    assert code in (3, 5), err
    assert "no_captions" in err if code == 3 else "refuses" in err


def test_proxies_that_cannot_be_used(get: Get) -> None:
    assert get(FINE, "--proxy", "http://127.0.0.1:9")[0] == 12
    assert get(FINE, "--proxy", "ftp://127.0.0.1:9")[0] == 2


def test_the_environments_proxy_is_used_and_said(
    get: Get, site: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", site.proxy_url_as("me", "s3cret"))
    code, out, err = get(FINE, named=False)
    assert code == 0
    assert out
    assert err == f"through 127.0.0.1:{site.address.port}, as HTTPS_PROXY says\n"
    assert get(FINE, "--proxy", site.proxy_url)[2] == ""


def test_commands_share_the_rate(get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_RATE", "20/s")
    assert get(FINE)[0] == 0
    (first,) = snapshot(user_cache("budget"))
    assert get(FINE)[0] == 0
    (second,) = snapshot(user_cache("budget"))
    assert second.rate_per_s == first.rate_per_s == 20
    assert second.requests == 2 * first.requests
