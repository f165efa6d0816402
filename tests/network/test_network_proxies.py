"""Proxies in all forms that providers export, and no message that shows a password."""

from __future__ import annotations

import os
import pickle
import traceback
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.budget import BudgetSettings, Rate
from engine.errors import UsageError
from engine.model import EgressSpec
from engine.network.proxies import DIRECT, egresses, environment_proxy, parse_proxy, read_proxies
from engine.settings import Frozen, Settings

SECRET = "hunter2canary"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("host:80", "http://host:80"),
        ("  host:80\t", "http://host:80"),
        ("10.0.0.1:3128", "http://10.0.0.1:3128"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("host:80:user:password", "http://user:password@host:80"),
        ("[::1]:80:user:password", "http://user:password@[::1]:80"),
        ("host:80:user:p:w", "http://user:p%3Aw@host:80"),
        ("host:80:user:p@w", "http://user:p%40w@host:80"),
        ("host:80:user:p@w:x", "http://user:p%40w%3Ax@host:80"),
        ("host:80:user:a://b", "http://user:a%3A%2F%2Fb@host:80"),
        ("host:80:user:100%", "http://user:100%25@host:80"),
        ("user:password@host:80", "http://user:password@host:80"),
        ("user:p:w@host:80", "http://user:p%3Aw@host:80"),
        ("http://host", "http://host:80"),
        ("https://host", "https://host:443"),
        ("HTTPS://Host:1/", "https://host:1"),
        ("socks5://host", "socks5://host:1080"),
        ("socks5h://user@host:9", "socks5h://user@host:9"),
        ("http://user:p@w@host:1", "http://user:p%40w@host:1"),
        ("http://user:p%40w@host:1", "http://user:p%40w@host:1"),
        ("http://user:@host:1", "http://user:@host:1"),
        ("http://[2001:db8::1]:1", "http://[2001:db8::1]:1"),
    ],
)
def test_every_form(text: str, url: str) -> None:
    assert parse_proxy(text, "here") == url
    assert parse_proxy(url, "here") == url  # what is parsed parses to itself


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "host:port"),
        ("host", "host:port"),
        ("host:80:user", "host:port"),
        (f"user:{SECRET}@host", "host:port"),
        (f"::1:80:user:{SECRET}", "host:port"),
        (f"ho st:80:user:{SECRET}", "host:port"),
        (f"user:12:{SECRET}@host:80", "two readings"),
        (f"host:80:user:{SECRET}@x:80", "two readings"),
        (f"ftp://user:{SECRET}@host:1", "'ftp'"),
        (f"http://user:{SECRET}@:1", "host:port"),
        (f"http://user:{SECRET}@ho st:1", "host:port"),
        (f"http://user:{SECRET}@host:port", "port"),
        (f"http://user:{SECRET}@host:99999", "port"),
        (f"http://user:{SECRET}@host:0", "port"),
        (f"http://user:{SECRET}@host:８０", "port"),
        (f"http://user:{SECRET}@[::1:80", "port"),
        (f"http://user:{SECRET}@host:1/path", "follows"),
        (f"http://user:1/{SECRET}@host:1", "follows"),
        (f"http://user:{SECRET}/x@host:1", "port"),
        (f"http://user:1#{SECRET}@host:1", "follows"),
        (f"http://user:{SECRET}\udcff@host:1", "characters"),
        (f"http://user:{SECRET}\0@host:1", "characters"),
        (f"http://user:{SECRET}\n@host:1", "characters"),
    ],
)
def test_what_is_no_proxy_is_reported_without_the_password(text: str, word: str) -> None:
    with pytest.raises(UsageError) as told:
        parse_proxy(text, "--proxy 3")
    assert str(told.value).startswith("--proxy 3: ")
    assert word in str(told.value)
    assert SECRET not in "".join(traceback.format_exception(told.value))


@settings(deadline=None)
@given(
    st.text(max_size=12),
    st.sampled_from(["", "http://", "host:80:", "u:", "ftp://", "@"]),
    st.text(max_size=12),
)
def test_no_text_shows_its_password(before: str, form: str, after: str) -> None:
    """Neither an error nor the name of an egress repeats it, whatever surrounds it."""
    text = f"{form}{before}:{SECRET}@{after}"
    try:
        url = parse_proxy(text, "here")
    except UsageError as exc:
        assert SECRET not in str(exc)
    else:
        (spec,) = egresses([url])
        assert SECRET not in repr(spec)
        assert SECRET in str(spec.proxy_url)


secrets = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1)


@settings(deadline=None)
@given(secrets.filter(lambda secret: ":" not in secret), secrets)
def test_user_and_password_arrive_as_they_were(user: str, password: str) -> None:
    url = parse_proxy(f"http://{quote(user, safe='')}:{quote(password, safe='')}@host:1", "here")
    parts = urlsplit(url)
    assert (unquote(parts.username or ""), unquote(parts.password or "")) == (user, password)
    assert (parts.hostname, parts.port) == ("host", 1)
    try:
        assert parse_proxy(f"host:1:{user}:{password}", "here") == url
    except UsageError as exc:
        assert "two readings" in str(exc)


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "proxies.txt"
    path.write_bytes(b"\xef\xbb\xbf# mine\r\n\r\n  host:1\r\nhost:2:user:password\n  # http://no:no@no:1\n")
    path.chmod(0o600)
    assert read_proxies(str(path)) == (["http://host:1", "http://user:password@host:2"], [])
    path.chmod(0o640)
    _, warnings = read_proxies(str(path))
    assert len(warnings) == 1
    assert "chmod 600" in warnings[0]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "names no proxy"),
        (b"# none\n\n", "names no proxy"),
        (b"host:1\n\nhost:x:user:" + SECRET.encode(), "line 3"),
        (b"\xff\xfe\0\1" * 9, "line 1"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "proxies.txt"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=said) as told:
        read_proxies(str(path))
    assert str(path) in str(told.value)
    assert SECRET not in str(told.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_proxies(str(tmp_path / "none"))
    with pytest.raises(UsageError, match="directory"):
        read_proxies(os.fspath(tmp_path))


def test_egresses_are_named_without_their_login_and_each_is_there_once() -> None:
    urls = ["http://user:password@host:1", "http://[::1]:2", "http://user:password@host:1"]
    found = egresses(urls)
    assert [spec.name for spec in found] == ["p001 host:1", "p002 [::1]:2"]
    assert [spec.proxy_url for spec in found] == urls[:2]
    assert egresses([]) == (DIRECT,)


def test_settings_travel_with_the_password_and_never_show_it() -> None:
    spec = EgressSpec("p001 host:1", f"http://user:{SECRET}@host:1")
    settings = Settings("q", Frozen("/out"), (spec,), BudgetSettings(Rate("none")))
    assert SECRET not in repr(settings)
    assert pickle.loads(pickle.dumps(settings)).egresses[0].proxy_url == spec.proxy_url


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "h:1"}, ("http://h:1", "HTTPS_PROXY")),
        ({"ALL_PROXY": "socks5h://h:1"}, ("socks5h://h:1", "ALL_PROXY")),
        ({"ALL_PROXY": "http://a:1", "https_proxy": "http://h:2"}, ("http://h:2", "https_proxy")),
        ({"HTTPS_PROXY": "http://h:1", "NO_PROXY": "example.com"}, ("http://h:1", "HTTPS_PROXY")),
        ({"HTTPS_PROXY": "http://h:1", "NO_PROXY": "youtube.com"}, None),
        ({"HTTPS_PROXY": "http://h:1", "no_proxy": "*"}, None),
    ],
)
def test_the_environments_proxy(variables: dict[str, str], found: tuple[str, str] | None) -> None:
    assert environment_proxy(variables) == found
