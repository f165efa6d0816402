"""YouTube, as the engine knows it: one video in, a transcript with metadata or a reason out.

`Fetcher.fetch` is the whole of it. Only this package reaches the network, and only through `egress.Door`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import youtube_transcript_api as yta

from engine.errors import EngineError, Interrupted
from engine.model import Failure, Fetched, Kind, Permit, Refused, Transcript
from engine.youtube.egress import Attempt, Door
from engine.youtube.failures import FailureError, classify
from engine.youtube.metadata import read_metadata
from engine.youtube.opinion import Opinion
from engine.youtube.transcripts import Client, OddAnswerError, choose, client_of, read
from engine.youtube.wording import refusal

__all__ = ["Door", "FetchSettings", "Fetcher"]


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """`languages` in order of preference (codes, or `any`); `deadline_s` for one attempt.

    `mask` asks the player for the needed fields only (a fifth of the bytes); untried on the live site.
    """

    languages: tuple[str, ...] = ("en",)
    fetch_mode: Literal["lean", "full"] = "lean"
    deadline_s: float = 60.0
    mask: bool = False


class Fetcher:
    """Fetches videos; shared by all threads of a process.

    The hooks tell the other processes how the lean way does: `lean_allowed()` is asked before each attempt,
    `lean_failed()` is told when only the full way got a transcript, `lean_worked()` when the lean way did.
    """

    def __init__(
        self,
        door: Door,
        settings: FetchSettings,
        *,
        lean_allowed: Callable[[], bool] = lambda: True,
        lean_failed: Callable[[], object] = lambda: None,
        lean_worked: Callable[[], object] = lambda: None,
    ) -> None:
        self.door = door
        self.settings = settings
        self._lean_allowed, self._lean_failed, self._lean_worked = lean_allowed, lean_failed, lean_worked
        self._opinion = Opinion()

    def fetch(self, video_id: str, permit: Permit) -> Fetched | Refused:
        """One attempt at one video, its first request paid by `permit`.

        Raises errors.Interrupted when the attempt has to give way (and lets pass other EngineErrors that the
        door's `take` raises); everything else is returned.
        """
        with self.door.attempt(permit, self.settings.deadline_s) as attempt:
            client = client_of(attempt.session, mask=self.settings.mask)
            client.begin()
            try:
                transcript = self._transcript(attempt, client, video_id)
                return Fetched(read_metadata(client.details(video_id)), transcript, attempt.cost)
            except _GIVE_WAY:
                raise
            except Exception as exc:  # noqa: BLE001 - nothing foreign leaves: it becomes data
                failure = classify(exc, attempt.answer)
                attempt.spoilt = failure.kind is Kind.BLOCKED  # a refused session is not worth keeping
                metadata = read_metadata(client.details(video_id))
                return Refused(failure, attempt.cost, metadata if metadata.title else None)

    def _transcript(self, attempt: Attempt, client: Client, video_id: str) -> Transcript:
        lean = self.settings.fetch_mode == "lean" and self._lean_allowed()
        try:
            transcript = self._by_library(client, video_id, lean=lean)
        except _GIVE_WAY:
            raise
        except Exception as exc:  # noqa: BLE001 - sorted here, raised again where nothing helps
            if not (lean and _is_suspect(attempt, client, exc)):
                return self._by_opinion(attempt, client, video_id, exc)
        else:
            if lean:
                self._lean_worked()
            return transcript
        try:
            transcript = self._by_library(client, video_id, lean=False)
        except _GIVE_WAY:
            raise
        except Exception as exc:  # noqa: BLE001
            return self._by_opinion(attempt, client, video_id, exc)
        self._lean_failed()
        return transcript

    def _by_library(self, client: Client, video_id: str, *, lean: bool) -> Transcript:
        return read(choose(client.tracks(video_id, lean=lean), self.settings.languages))

    def _by_opinion(self, attempt: Attempt, client: Client, video_id: str, exc: Exception) -> Transcript:
        """Let another client confirm what is not to be believed of one; else raise `exc` as a failure."""
        failure = _settled(attempt, client, exc)
        if not isinstance(exc, (yta.TranscriptsDisabled, yta.PoTokenRequired)) and not _is_odd(exc, failure):
            raise FailureError(failure) from None
        try:
            tracks = self._opinion.tracks(attempt, video_id)
        except FailureError as second:
            if failure.kind is Kind.PO_TOKEN and second.failure.kind is Kind.UNKNOWN:
                raise FailureError(failure) from None
            raise
        if not tracks:
            raise FailureError(failure) from None
        return read(choose(tracks, self.settings.languages))


_GIVE_WAY = (Interrupted, EngineError)


def _settled(attempt: Attempt, client: Client, exc: Exception) -> Failure:
    """The failure an exception means, by the whole player answer where the library kept only its reason."""
    if isinstance(exc, yta.VideoUnplayable) and client.player is not None:
        told = refusal(client.player.get("playabilityStatus"))
        if told is not None:
            return told
    return classify(exc, attempt.answer)


def _is_odd(exc: Exception, failure: Failure) -> bool:
    """A refusal to play in words that nobody knows."""
    return isinstance(exc, yta.VideoUnplayable) and failure.kind is Kind.UNKNOWN


def _is_suspect(attempt: Attempt, client: Client, exc: Exception) -> bool:
    """Whether the lean way itself may be what failed, so that the full way is worth its requests.

    Not for TranscriptsDisabled: the second opinion decides that with one request.
    """
    if isinstance(exc, yta.YouTubeRequestFailed):
        return attempt.answer.kind == "player" and 400 <= attempt.answer.status < 500
    if attempt.answer.kind == "timedtext":
        return isinstance(exc, yta.PoTokenRequired)
    if isinstance(exc, (OddAnswerError, yta.YouTubeDataUnparsable, yta.PoTokenRequired)):
        return True
    if isinstance(exc, (AttributeError, LookupError, TypeError)):  # the library met a shape it does not know
        return True
    return _is_odd(exc, _settled(attempt, client, exc))
