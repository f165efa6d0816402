"""One table from foreign exceptions and answers to failures: nothing foreign leaves this package.

`classify` is a pure function. Messages are the engine's own short sentences, or YouTube's words quoted; the
text of a foreign exception is never passed on (it may be a page of advice, or name a path or a password).
Where a row comes from: captured answers and faults put in front of youtube-transcript-api 1.2.5.
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
from engine.network.answer import Answer, FailureError, Phase
from engine.youtube.messages import MAX_READ, said


class UnreadableError(ValueError):
    """An answer that is none of what was asked for. Its text says what it is, in the engine's own words, and
    goes on from `the … answer`."""


# Every exception class of the library, by its name so that an older release may lack some.
LIBRARY: dict[str, tuple[Kind, str]] = {
    "IpBlocked": (Kind.BLOCKED, "YouTube refuses this address for now"),
    "RequestBlocked": (Kind.BLOCKED, "YouTube asks to sign in to confirm you're not a bot"),
    "FailedToCreateConsentCookie": (Kind.GARBLED, "YouTube's consent page could not be answered"),
    "AgeRestricted": (Kind.AGE_RESTRICTED, "the video is age-restricted"),
    "VideoUnavailable": (Kind.UNAVAILABLE, "the video is unavailable"),
    "InvalidVideoId": (Kind.UNAVAILABLE, "there is no video of this id"),
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

# What a library raises when an answer has another shape than it expects.
_SURPRISES = (
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    TypeError,
    SyntaxError,
    RecursionError,
)

_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})")


def shortage(exc: BaseException) -> MemoryError | OSError | None:
    """The want of memory or of descriptors behind an exception: it says nothing of a video, nor of an egress."""
    for its in _chain(exc):
        if isinstance(its, MemoryError):
            return its
        if isinstance(its, OSError) and its.errno in _SHORT and not isinstance(its, ssl.SSLError):
            return its
    return None


def classify(exc: BaseException, answer: Answer | None = None) -> Failure:
    """The failure that an exception means, given the attempt's last answer. Never raises."""
    answer = answer or Answer()
    if isinstance(exc, FailureError):
        return exc.failure
    if isinstance(exc, yta.YouTubeTranscriptApiException):
        return _library(exc, answer)
    if isinstance(exc, requests.exceptions.JSONDecodeError):  # also an OSError by descent
        return _surprise(exc, answer)
    if isinstance(exc, (requests.RequestException, u3.HTTPError, OSError, http.client.HTTPException)):
        return _wire(exc, answer)
    if isinstance(exc, _SURPRISES):
        return _surprise(exc, answer)
    return Failure(Kind.UNKNOWN, f"unexpected {type(exc).__name__}")


def _library(exc: yta.YouTubeTranscriptApiException, answer: Answer) -> Failure:
    if isinstance(exc, yta.VideoUnplayable):
        parts = (exc.reason, *exc.sub_reasons[:10])
        return said(". ".join(part[:MAX_READ] for part in parts if isinstance(part, str) and part))
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
    """The failure an HTTP status means."""
    what = f"YouTube answers {answer.status} to the {answer.kind} request"
    if answer.status == 429 or answer.captcha:
        return Failure(Kind.BLOCKED, what, retry_after_s=answer.retry_after_s)
    if answer.status == 400:
        # The client version the library names gets too old; then every video fails like this.
        library = "yt-dlp" if answer.kind == "listing" else "youtube-transcript-api"
        what += f"; if all {'lists' if answer.kind == 'listing' else 'videos'} fail so, update {library}"
    return Failure(Kind.SERVER_ERROR, what)


def _surprise(exc: BaseException, answer: Answer) -> Failure:
    if answer.captcha:
        return Failure(Kind.BLOCKED, f"YouTube answers the {answer.kind} request with a captcha page")
    if answer.status >= 400:
        return by_status(answer)
    if answer.status and not answer.size_bytes:
        return Failure(Kind.GARBLED, f"the {answer.kind} answer is empty")
    if isinstance(exc, UnreadableError):
        return Failure(Kind.GARBLED, f"the {answer.kind} answer {exc}")
    return Failure(Kind.GARBLED, f"the {answer.kind} answer could not be read ({type(exc).__name__})")


def _wire(exc: BaseException, answer: Answer) -> Failure:
    """What went wrong on the way, and whether a proxy itself was reached at all."""
    failure = _way(exc, answer)
    if failure.kind is Kind.PROXY and answer.phase is Phase.CONNECT:
        return replace(failure, unreached=True)
    return failure


def _way(exc: BaseException, answer: Answer) -> Failure:
    """What went wrong on the way, from the exception's ancestry and how far the request came."""
    chain = list(_chain(exc))

    def has(*types: type[BaseException]) -> bool:
        return any(isinstance(e, types) for e in chain)

    reaching = answer.phase in (Phase.CONNECT, Phase.TUNNEL)
    kind = Kind.PROXY if answer.proxied else Kind.NETWORK
    far = "the proxy" if answer.proxied else "YouTube"
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
        return Failure(kind, f"the name of {far} could not be resolved")
    if any("SOCKS5 authentication failed" in str(e) for e in chain):
        return Failure(Kind.PROXY, "the proxy wants another user or password", None, dead_egress=True)
    if reaching and has(ConnectionRefusedError):
        return Failure(kind, f"{far} refuses the connection")
    slow = [
        e for e in chain if isinstance(e, u3.ConnectTimeoutError) and not isinstance(e, u3.NewConnectionError)
    ]
    if slow or has(requests.exceptions.ConnectTimeout) or (reaching and has(TimeoutError)):
        return Failure(kind, f"{far} could not be reached in time")
    if has(requests.exceptions.ReadTimeout, u3.ReadTimeoutError, TimeoutError):
        return Failure(Kind.TIMEOUT, f"no answer to the {answer.kind} request in time")
    if has(ssl.SSLCertVerificationError, ssl.CertificateError):
        return Failure(kind, "the certificate shown for YouTube is not trusted; is --ca-bundle needed?")
    if reaching:
        return Failure(kind, f"{far} could not be reached")
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
        if isinstance(exc, ValueError):  # InvalidURL and its kin: an answer that led to a bad address
            return Failure(Kind.GARBLED, f"the {answer.kind} answer leads to a bad address")
        return Failure(Kind.NETWORK, "the connection to YouTube failed")
    return Failure(Kind.UNKNOWN, f"unexpected {type(exc).__name__}")


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """The exception and all it was made from: causes, contexts, reasons and arguments."""
    todo, seen = [exc], set()
    while todo:
        e = todo.pop(0)
        if id(e) in seen:
            continue
        seen.add(id(e))
        yield e
        parts = (e.__cause__, e.__context__, getattr(e, "reason", None), *e.args)
        todo.extend(p for p in parts if isinstance(p, BaseException))
