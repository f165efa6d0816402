"""Maps foreign exceptions and answers to failures.

`classify` is a pure function. Messages are short sentences of the engine's own, or quote YouTube. The text of a
foreign exception is never passed on: it may be a page of advice, or contain a path or a password. The rules come
from captured answers, and from faults injected in front of youtube-transcript-api 1.2.5.
"""

from __future__ import annotations

import errno
import http.client
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace

import requests
import urllib3.exceptions as u3
import youtube_transcript_api as yta

from engine.model import Failure, Kind
from engine.network.answer import Answer, FailureError, RequestPhase
from engine.youtube.messages import MAX_READ, failure_from


class UnreadableError(ValueError):
    """An answer that is not what was requested. Its text says what it is and continues the words "the … answer"."""


# All exception classes of the library, by name because older releases lack some.
LIBRARY: dict[str, tuple[Kind, str]] = {
    "IpBlocked": (Kind.BLOCKED, "YouTube refuses this address for now"),
    "RequestBlocked": (Kind.BLOCKED, "YouTube asks to sign in to confirm you're not a bot"),
    "FailedToCreateConsentCookie": (Kind.GARBLED, "YouTube's consent page could not be answered"),
    "AgeRestricted": (Kind.AGE_RESTRICTED, "the video is age-restricted"),
    "VideoUnavailable": (Kind.UNAVAILABLE, "the video is unavailable"),
    "InvalidVideoId": (Kind.UNAVAILABLE, "no video has this id"),
    "TranscriptsDisabled": (Kind.NO_CAPTIONS, "the video has no captions"),
    "NoTranscriptFound": (Kind.NO_LANGUAGE, "no captions in a wanted language"),
    "PoTokenRequired": (Kind.PO_TOKEN, "YouTube gives this transcript only to clients with a PO token"),
    "YouTubeDataUnparsable": (Kind.GARBLED, "YouTube's page could not be read"),
    "YouTubeRequestFailed": (Kind.SERVER_ERROR, "YouTube refused the request"),
    "VideoUnplayable": (Kind.UNKNOWN, "YouTube says the video cannot be played"),
    "NotTranslatable": (Kind.NO_LANGUAGE, "the captions cannot be translated"),
    "TranslationLanguageNotAvailable": (Kind.NO_LANGUAGE, "no translation into the wanted language"),
    "CookieError": (Kind.UNKNOWN, "the cookies could not be used"),
    "CookieInvalid": (Kind.UNKNOWN, "the cookies could not be used"),
    "CookiePathInvalid": (Kind.UNKNOWN, "the cookies could not be used"),
    "CouldNotRetrieveTranscript": (Kind.UNKNOWN, "no transcript, and no reason given"),
    "YouTubeTranscriptApiException": (Kind.UNKNOWN, "no transcript, and no reason given"),
}

# What a parser raises for an answer of an unexpected shape.
_PARSE_ERRORS = (
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    TypeError,
    SyntaxError,
    RecursionError,
)

_SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")


def shortage(exc: BaseException) -> MemoryError | OSError | None:
    """The lack of memory or descriptors behind an exception. It is no failure of a video or an egress."""
    for cause in _chain(exc):
        if isinstance(cause, MemoryError):
            return cause
        if isinstance(cause, OSError) and cause.errno in _SHORTAGES and not isinstance(cause, ssl.SSLError):
            return cause
    return None


def classify(exc: BaseException, answer: Answer | None = None) -> Failure:
    """The failure that an exception means after this last answer of the attempt. Never raises."""
    answer = answer or Answer()
    if isinstance(exc, FailureError):
        return exc.failure
    if isinstance(exc, yta.YouTubeTranscriptApiException):
        return _library(exc, answer)
    if isinstance(exc, requests.exceptions.JSONDecodeError):  # a subclass of OSError, too
        return _parse_error(exc, answer)
    if isinstance(exc, (requests.RequestException, u3.HTTPError, OSError, http.client.HTTPException)):
        return _transport(exc, answer)
    if isinstance(exc, _PARSE_ERRORS):
        return _parse_error(exc, answer)
    return Failure(Kind.UNKNOWN, f"unexpected {type(exc).__name__}")


def _library(exc: yta.YouTubeTranscriptApiException, answer: Answer) -> Failure:
    if isinstance(exc, yta.VideoUnplayable):
        parts = (exc.reason, *exc.sub_reasons[:10])
        return failure_from(". ".join(part[:MAX_READ] for part in parts if isinstance(part, str) and part))
    name = next((c.__name__ for c in type(exc).__mro__ if c.__name__ in LIBRARY), None)
    if name is None:
        return Failure(Kind.UNKNOWN, f"unexpected {type(exc).__name__}")
    kind, message = LIBRARY[name]
    if name == "YouTubeRequestFailed":
        return by_status(answer)
    if kind is Kind.BLOCKED:
        if answer.status == 429:
            message = f"YouTube answers 429 (too many requests) to the {answer.kind} request"
        return Failure(kind, message, retry_after_s=answer.retry_after_s)
    return Failure(kind, message)


def by_status(answer: Answer) -> Failure:
    """The failure that an HTTP status means."""
    what = f"YouTube answers {answer.status} to the {answer.kind} request"
    if answer.status == 429 or answer.captcha:
        return Failure(Kind.BLOCKED, what, retry_after_s=answer.retry_after_s)
    if answer.status == 400:
        # The client's version has become too old. Then every video fails like this.
        what += f"; if all {'lists' if answer.kind == 'listing' else 'videos'} fail like this, update yt-dlp"
    return Failure(Kind.SERVER_ERROR, what)


def _parse_error(exc: BaseException, answer: Answer) -> Failure:
    if answer.captcha:
        return Failure(Kind.BLOCKED, f"YouTube answers the {answer.kind} request with a captcha page")
    if answer.status >= 400:
        return by_status(answer)
    if answer.status and not answer.size_bytes:
        return Failure(Kind.GARBLED, f"the {answer.kind} answer is empty")
    if isinstance(exc, UnreadableError):
        return Failure(Kind.GARBLED, f"the {answer.kind} answer {exc}")
    return Failure(Kind.GARBLED, f"the {answer.kind} answer could not be read ({type(exc).__name__})")


def _transport(exc: BaseException, answer: Answer) -> Failure:
    """What went wrong in transport, and whether the proxy itself was reached at all."""
    failure = _transport_failure(exc, answer)
    if failure.kind is Kind.PROXY and answer.phase is RequestPhase.CONNECT:
        return replace(failure, unreached=True)
    return failure


def _transport_failure(exc: BaseException, answer: Answer) -> Failure:
    """What went wrong in transport, by the exception's causes and how far the request got."""
    chain = list(_chain(exc))

    def has(*types: type[BaseException]) -> bool:
        return any(isinstance(e, types) for e in chain)

    connecting = answer.phase in (RequestPhase.CONNECT, RequestPhase.TUNNEL)
    kind = Kind.PROXY if answer.proxied else Kind.NETWORK
    peer = "the proxy" if answer.proxied else "YouTube"
    if has(requests.exceptions.RetryError):
        return Failure(
            Kind.BLOCKED, "YouTube refuses this address for now", retry_after_s=answer.retry_after_s
        )
    if has(requests.exceptions.TooManyRedirects):
        return Failure(Kind.GARBLED, "YouTube redirects in circles")
    tunnel = next((m for e in chain if (m := _TUNNEL.search(str(e)))), None)
    if tunnel:
        if tunnel[1] == "407":
            return Failure(
                Kind.PROXY, "the proxy wants another user or password (407)", None, dead_egress=True
            )
        return Failure(Kind.PROXY, f"the proxy found no way to YouTube ({tunnel[1]})")
    if has(socket.gaierror, u3.NameResolutionError):
        return Failure(kind, f"the name of {peer} could not be resolved")
    if any("SOCKS5 authentication failed" in str(e) for e in chain):
        return Failure(Kind.PROXY, "the proxy wants another user or password", None, dead_egress=True)
    if connecting and has(ConnectionRefusedError):
        return Failure(kind, f"{peer} refuses the connection")
    slow = [
        e for e in chain if isinstance(e, u3.ConnectTimeoutError) and not isinstance(e, u3.NewConnectionError)
    ]
    if slow or has(requests.exceptions.ConnectTimeout) or (connecting and has(TimeoutError)):
        return Failure(kind, f"{peer} could not be reached in time")
    if has(requests.exceptions.ReadTimeout, u3.ReadTimeoutError, TimeoutError):
        return Failure(Kind.TIMEOUT, f"no answer to the {answer.kind} request in time")
    if has(ssl.SSLCertVerificationError, ssl.CertificateError):
        return Failure(kind, "the certificate shown for YouTube is not trusted; is --ca-bundle needed?")
    if connecting:
        return Failure(kind, f"{peer} could not be reached")
    if has(ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected, ssl.SSLEOFError):
        return Failure(Kind.NETWORK, "the connection to YouTube was cut")
    if has(ssl.SSLError, u3.SSLError):
        return Failure(kind, "TLS with YouTube failed; is another program answering in its place?")
    if has(
        requests.exceptions.ChunkedEncodingError,
        requests.exceptions.ContentDecodingError,
        u3.IncompleteRead,
        u3.DecodeError,
        u3.ProtocolError,
        http.client.HTTPException,
    ):
        return Failure(Kind.GARBLED, f"the {answer.kind} answer was cut short or malformed")
    if has(requests.exceptions.ConnectionError, OSError):
        if isinstance(exc, ValueError):  # InvalidURL and the like: the answer contained a bad address
            return Failure(Kind.GARBLED, f"the {answer.kind} answer leads to a bad address")
        return Failure(Kind.NETWORK, "the connection to YouTube failed")
    return Failure(Kind.UNKNOWN, f"unexpected {type(exc).__name__}")


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """The exception and all exceptions behind it: causes, contexts, reasons and arguments."""
    todo, seen = [exc], set()
    while todo:
        e = todo.pop(0)
        if id(e) in seen:
            continue
        seen.add(id(e))
        yield e
        parts = (e.__cause__, e.__context__, getattr(e, "reason", None), *e.args)
        todo.extend(p for p in parts if isinstance(p, BaseException))
