"""The ways to a video's captions, in the order in which they are tried. A way is a client and how it is used.

lean    youtube-transcript-api as ANDROID, without the watch page: two requests with the text
page    the same with the watch page, for answers to the lean way that the missing page may have caused
yt-dlp  yt-dlp as visionOS: confirms a refusal of the library's client, or lists captions that it hides
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import youtube_transcript_api as yta
from youtube_transcript_api import Transcript as Track

from engine.model import ABSENT_KINDS, Failure, Kind
from engine.youtube import player
from engine.youtube.classify import classify
from engine.youtube.library_client import SHAPE_ERRORS, LibraryClient
from engine.youtube.player import OddAnswerError
from engine.youtube.track_choice import OnlyGeneratedError
from engine.youtube.ytdlp_client import YtdlpClient


class Failed(NamedTuple):
    """How a way failed: what it raised, and the failure that this means."""

    exc: Exception
    failure: Failure


class Way(NamedTuple):
    """`tracks` lists a video's caption tracks; empty: this client sees none either, so the failure before it stands.

    `may_help` says whether the way is worth its requests after the way before it failed.
    """

    name: str
    tracks: Callable[[LibraryClient], list[Track]]
    may_help: Callable[[LibraryClient, Failed], bool]


def ways() -> tuple[Way, ...]:
    """All ways, the cheapest first."""
    return (
        Way("lean", partial(LibraryClient.tracks, lean=True), lambda library, failed: False),
        Way("page", partial(LibraryClient.tracks, lean=False), _may_be_the_missing_page),
        Way("yt-dlp", YtdlpClient().tracks, _needs_another_client),
    )


def explain(library: LibraryClient, exc: Exception) -> Failed:
    """What an exception means, at the time when it was raised.

    The library keeps only the reason of a refusal, so the whole player answer is read. A video without captions may
    still get some if it is an event under way.
    """
    failure = None
    if isinstance(exc, yta.VideoUnplayable) and library.player is not None:
        failure = player.refusal(library.player.get("playabilityStatus"))
    failure = failure or classify(exc, library.attempt.answer)
    if failure.kind in (Kind.NO_CAPTIONS, Kind.NO_LANGUAGE):
        failure = player.not_yet(library.details) or failure
    return Failed(exc, failure)


def stands(earlier: Failure, later: Failure) -> bool:
    """Whether a failure stands although a later way failed, too: that one knew less."""
    if earlier.kind is Kind.NO_LANGUAGE:  # the client before played it: a refusal of the video says nothing
        return later.kind in ABSENT_KINDS
    return earlier.kind is Kind.PO_TOKEN and later.kind is Kind.UNKNOWN


def _may_be_the_missing_page(library: LibraryClient, failed: Failed) -> bool:
    """Not after TranscriptsDisabled: another client decides that with one request."""
    exc, answer = failed.exc, library.attempt.answer
    if isinstance(exc, yta.YouTubeRequestFailed):
        return answer.kind == "player" and 400 <= answer.status < 500
    if answer.kind == "timedtext":
        return isinstance(exc, yta.PoTokenRequired)
    if isinstance(exc, (OddAnswerError, yta.YouTubeDataUnparsable, yta.PoTokenRequired, *SHAPE_ERRORS)):
        return True
    return _is_odd(failed)


def _needs_another_client(library: LibraryClient, failed: Failed) -> bool:
    if failed.failure.kind is Kind.NOT_YET:
        return False
    asks = (yta.TranscriptsDisabled, yta.PoTokenRequired, OnlyGeneratedError)
    return isinstance(failed.exc, asks) or _is_odd(failed)


def _is_odd(failed: Failed) -> bool:
    """A refusal to play in unknown words."""
    return isinstance(failed.exc, yta.VideoUnplayable) and failed.failure.kind is Kind.UNKNOWN
