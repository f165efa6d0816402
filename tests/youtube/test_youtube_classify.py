from __future__ import annotations

import email.utils
import http.client
import inspect
import json
import socket
import ssl
from xml.etree.ElementTree import ParseError

import pytest
import requests
import urllib3.exceptions as u3
import youtube_transcript_api as yta
from hypothesis import given
from hypothesis import strategies as st
from requests import exceptions as rx
from youtube_transcript_api import _errors

from engine.model import Failure, Kind
from engine.network.answer import Answer, FailureError, RequestPhase, retry_after_s
from engine.youtube.classify import LIBRARY, classify

V = "GJLlxj_dtq8"
DIRECT = Answer("player", phase=RequestPhase.CONNECT)
PROXIED = Answer("player", phase=RequestPhase.CONNECT, proxied=True)
TUNNEL = Answer("player", phase=RequestPhase.TUNNEL, proxied=True)
SENT = Answer("player", phase=RequestPhase.SENT, proxied=True)
BODY = Answer("timedtext", status=200, size_bytes=10, phase=RequestPhase.BODY)


def got(status: int, **more: object) -> Answer:
    return Answer("player", status=status, size_bytes=5, phase=RequestPhase.BODY, **more)  # type: ignore[arg-type]


def failed(status: int) -> yta.YouTubeRequestFailed:
    return yta.YouTubeRequestFailed(V, requests.HTTPError(f"{status} Client Error: for url: https://secret"))


def unplayable(reason: str | None, *more: str) -> yta.VideoUnplayable:
    return yta.VideoUnplayable(V, reason, list(more))


def json_error() -> Exception:
    return rx.JSONDecodeError("Expecting value", "<html>", 0)


def wrapped(outer: type[Exception], *inner: BaseException) -> Exception:
    """An exception the way requests and urllib3 nest them."""
    return outer(u3.MaxRetryError(None, "/", inner[0]))  # type: ignore[arg-type]


TABLE = [
    (yta.IpBlocked(V), got(429, retry_after_s=12.0), Kind.BLOCKED),
    (yta.IpBlocked(V), Answer("page", status=200, size_bytes=9), Kind.BLOCKED),
    (yta.RequestBlocked(V), got(200), Kind.BLOCKED),
    (unplayable("Sign in to confirm you're not a bot"), got(200), Kind.BLOCKED),
    (unplayable("This content isn't available, try again later."), got(200), Kind.BLOCKED),
    (yta.FailedToCreateConsentCookie(V), Answer("page", status=200), Kind.GARBLED),
    (failed(400), got(400), Kind.SERVER_ERROR),
    (failed(403), got(403), Kind.SERVER_ERROR),
    (failed(500), got(500), Kind.SERVER_ERROR),
    (failed(503), got(503), Kind.SERVER_ERROR),
    (failed(429), got(429), Kind.BLOCKED),
    (yta.YouTubeDataUnparsable(V), got(200), Kind.GARBLED),
    (json_error(), got(200), Kind.GARBLED),
    (json_error(), got(200, captcha=True), Kind.BLOCKED),
    (AttributeError("'NoneType' object has no attribute 'get'"), got(200), Kind.GARBLED),
    (KeyError("runs"), got(200), Kind.GARBLED),
    (TypeError("x"), got(200), Kind.GARBLED),
    (ParseError("no element found"), BODY, Kind.GARBLED),
    (ParseError("no element found"), Answer("timedtext", status=200), Kind.GARBLED),
    (ValueError("could not convert string to float"), BODY, Kind.GARBLED),
    (yta.VideoUnavailable(V), got(200), Kind.UNAVAILABLE),
    (yta.InvalidVideoId(V), got(200), Kind.UNAVAILABLE),
    (unplayable("Video unavailable"), got(200), Kind.UNAVAILABLE),
    (yta.AgeRestricted(V), got(200), Kind.AGE_RESTRICTED),
    (unplayable("This video is private"), got(200), Kind.PRIVATE),
    (
        unplayable("Video unavailable", "The uploader has not made this video available in your country"),
        got(200),
        Kind.REGION_BLOCKED,
    ),
    (unplayable("Custom Reason"), got(200), Kind.UNKNOWN),
    (unplayable(None), got(200), Kind.UNKNOWN),
    (yta.TranscriptsDisabled(V), got(200), Kind.NO_CAPTIONS),
    (yta.PoTokenRequired(V), got(200), Kind.PO_TOKEN),
    (yta.NotTranslatable(V), got(200), Kind.NO_LANGUAGE),
    (yta.TranslationLanguageNotAvailable(V), got(200), Kind.NO_LANGUAGE),
    (rx.ChunkedEncodingError("x"), BODY, Kind.GARBLED),
    (u3.ProtocolError("Connection broken", u3.IncompleteRead(3, 9)), BODY, Kind.GARBLED),
    (u3.DecodeError("bad gzip"), BODY, Kind.GARBLED),
    (u3.ProtocolError("Connection broken", ConnectionResetError(104, "reset")), BODY, Kind.NETWORK),
    (
        rx.ProxyError(u3.ProxyError("Unable to connect", http.client.RemoteDisconnected("x"))),
        SENT,
        Kind.NETWORK,
    ),
    (rx.ConnectionError(u3.ProtocolError("aborted", http.client.BadStatusLine("x"))), SENT, Kind.GARBLED),
    (wrapped(rx.ConnectTimeout, u3.ConnectTimeoutError("x")), DIRECT, Kind.NETWORK),
    (wrapped(rx.ConnectTimeout, u3.ConnectTimeoutError("x")), PROXIED, Kind.PROXY),
    (rx.ReadTimeout("x"), SENT, Kind.TIMEOUT),
    (u3.ReadTimeoutError(None, "/", "x"), BODY, Kind.TIMEOUT),  # type: ignore[arg-type]
    (wrapped(rx.ConnectionError, socket.gaierror(-2, "unknown")), DIRECT, Kind.NETWORK),
    (wrapped(rx.ProxyError, socket.gaierror(-2, "unknown")), PROXIED, Kind.PROXY),
    (wrapped(rx.ConnectionError, ConnectionRefusedError(111, "refused")), DIRECT, Kind.NETWORK),
    (wrapped(rx.ProxyError, ConnectionRefusedError(111, "refused")), PROXIED, Kind.PROXY),
    (wrapped(rx.ProxyError, OSError("Tunnel connection failed: 502 Bad Gateway")), TUNNEL, Kind.PROXY),
    (wrapped(rx.ProxyError, OSError("Tunnel connection failed: 503 x")), TUNNEL, Kind.PROXY),
    (rx.ConnectionError(http.client.RemoteDisconnected("x")), TUNNEL, Kind.PROXY),
    (
        rx.SSLError(ssl.SSLCertVerificationError(1, "CERTIFICATE_VERIFY_FAILED")),
        Answer(phase=RequestPhase.TLS),
        Kind.NETWORK,
    ),
    (
        rx.SSLError(ssl.SSLError(1, "WRONG_VERSION_NUMBER")),
        Answer(phase=RequestPhase.TLS, proxied=True),
        Kind.PROXY,
    ),
    (rx.RetryError("too many 429"), SENT, Kind.BLOCKED),
    (rx.TooManyRedirects("x"), SENT, Kind.GARBLED),
    (rx.InvalidURL("x"), SENT, Kind.GARBLED),
    (FailureError(Failure(Kind.TOO_LARGE, "x")), BODY, Kind.TOO_LARGE),
    (ZeroDivisionError(), BODY, Kind.GARBLED),
    (RuntimeError("who knows"), BODY, Kind.UNKNOWN),
    (MemoryError(), BODY, Kind.UNKNOWN),
]


@pytest.mark.parametrize(("exc", "answer", "kind"), TABLE, ids=lambda v: type(v).__name__)
def test_table(exc: Exception, answer: Answer, kind: Kind) -> None:
    failure = classify(exc, answer)
    assert failure.kind is kind
    assert 0 < len(failure.message) <= 300
    assert failure.message.isprintable()
    assert "secret" not in failure.message
    assert not failure.dead_egress


def test_a_proxy_that_wants_a_password_is_dead() -> None:
    exc = wrapped(rx.ProxyError, OSError("Tunnel connection failed: 407 Proxy Authentication Required"))
    failure = classify(exc, TUNNEL)
    assert (failure.kind, failure.dead_egress) == (Kind.PROXY, True)


def test_a_block_keeps_its_retry_after() -> None:
    assert classify(yta.IpBlocked(V), got(429, retry_after_s=12.0)).retry_after_s == 12.0
    assert classify(unplayable("This content isn't available, try again later.")).retry_after_s == 3600


def test_every_class_of_the_library_is_in_the_table() -> None:
    """A new release with a new class fails here."""
    classes = {n for n, c in inspect.getmembers(_errors, inspect.isclass) if c.__module__ == _errors.__name__}
    assert classes == set(LIBRARY)


def test_a_class_from_a_later_release_is_taken_for_its_parent() -> None:
    class Newer(yta.RequestBlocked):
        pass

    assert classify(Newer(V), got(200)).kind is Kind.BLOCKED


CANARY = "s3cr3t-canary"
OUTER = [
    requests.ConnectionError, rx.ProxyError, rx.SSLError, rx.ReadTimeout, rx.InvalidProxyURL, rx.InvalidHeader,
    OSError, ValueError, RuntimeError, u3.ProtocolError, http.client.HTTPException, u3.LocationParseError,
]  # fmt: skip


@given(
    st.sampled_from(OUTER), st.text(), st.sampled_from(list(RequestPhase)), st.booleans(), st.integers(0, 599)
)
def test_no_foreign_text_is_passed_on(
    outer: type[Exception], text: str, phase: RequestPhase, proxied: bool, status: int
) -> None:
    inner = OSError(f"http://user:{CANARY}@proxy:1/{text}")
    failure = classify(outer(inner), Answer("player", status, phase=phase, proxied=proxied))
    assert CANARY not in repr(failure)
    assert "proxy:1" not in failure.message
    assert failure.message.isprintable()


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        (None, None),
        ("", None),
        ("120", 120.0),
        (" 0 ", 0.0),
        ("9" * 40, 86400.0),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("Sun, 22 Nov 2026 21:00:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 20:00:00 GMT", 0.0),
        ("Sun, 22 Nov 2099 20:00:00 GMT", 86400.0),
        ("Sun, 99 Nov 2026 20:00:00 GMT", None),
    ],
)
def test_retry_after(value: str | None, wait_s: float | None) -> None:
    now = email.utils.parsedate_to_datetime("Sun, 22 Nov 2026 21:00:00 GMT").timestamp()
    assert retry_after_s(value, now_s=now) == wait_s


@given(st.text())
def test_retry_after_never_raises(value: str) -> None:
    wait = retry_after_s(value)
    assert wait is None or 0 <= wait <= 86400
    json.dumps(wait)
