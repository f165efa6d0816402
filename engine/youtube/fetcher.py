"""YouTube, as the engine knows it: one video in, a transcript with metadata or a reason out.

`Fetcher.fetch` is the whole of it. Only this package reaches the network, and only through `egress.Door`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import youtube_transcript_api as yta
from youtube_transcript_api import Transcript as Track

from engine.errors import EngineError, Interrupted
from engine.model import ABSENT_KINDS, Failure, Fetched, Kind, Permit, Refused, Transcript
from engine.network.answer import FailureError
from engine.network.client import Attempt, Door
from engine.storage.disk import disk_error
from engine.youtube import microformat
from engine.youtube.classify import classify, shortage
from engine.youtube.library_client import Client, OddAnswerError, client_of, read
from engine.youtube.live import not_yet
from engine.youtube.messages import clean, refusal
from engine.youtube.metadata import read_metadata, with_microformat
from engine.youtube.second_client import Opinion
from engine.youtube.track_choice import Captions, Chosen, Wanted, choose, ranked, spoken_language
from engine.youtube.tracks import listed, offers

__all__ = ["Door", "FetchSettings", "Fetcher"]


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """What to fetch, and how.

    languages      in order of preference: codes, `any`, `orig` (the spoken language)
    captions       made by whom: `any`, `manual` (people), `generated`
    all_languages  every track so made, one more request each; `languages` then say which is the best
    translate      captions in this language if there are, else a translation of the first wanted ones
    metadata       `full` adds dates, category, likes and countries by one more request
    deadline_s     for one attempt
    mask           ask the player for the needed fields only (a fifth of the bytes); untried on the live site

    `all_languages` and `translate` exclude each other.
    """

    languages: tuple[str, ...] = ("en",)
    fetch_mode: Literal["lean", "full"] = "lean"
    deadline_s: float = 60.0
    mask: bool = False
    captions: Captions = "any"
    all_languages: bool = False
    translate: str | None = None
    metadata: Literal["basic", "full"] = "basic"


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
        self._wanted = Wanted(settings.languages, settings.captions, settings.translate)
        self._lean_allowed, self._lean_failed, self._lean_worked = lean_allowed, lean_failed, lean_worked
        self._opinion = Opinion()

    def fetch(self, video_id: str, permit: Permit) -> Fetched | Refused:
        """One attempt at one video, its first request paid by `permit`.

        Raises errors.Interrupted, with its cost, when the attempt has to give way (and lets pass other
        EngineErrors that the door's `take` raises), MemoryError, DiskError when there are no descriptors left;
        everything else is returned.
        """
        with self.door.attempt(permit, self.settings.deadline_s) as attempt:
            client = client_of(attempt.session, mask=self.settings.mask)
            client.begin()
            try:
                found = self._transcripts(attempt, client, video_id)
                metadata = read_metadata(client.details(video_id))
                if self.settings.metadata == "full":
                    metadata = with_microformat(metadata, _microformat(attempt, video_id))
                return Fetched(metadata, found[0], attempt.cost, found if self.settings.all_languages else ())
            except Interrupted:
                raise Interrupted(attempt.cost) from None
            except EngineError:
                raise
            except Exception as exc:  # noqa: BLE001 - nothing foreign leaves: it becomes data
                short = shortage(exc)
                if isinstance(short, OSError) and short.errno != errno.ENOMEM:
                    raise disk_error(short, "opening a connection") from None
                if short is not None:
                    raise MemoryError from None
                failure = _as_of_now(classify(exc, attempt.answer), client, video_id)
                attempt.spoilt = failure.kind is Kind.BLOCKED  # a refused session is not worth keeping
                metadata = read_metadata(client.details(video_id))
                known = metadata if metadata.title else None
                return Refused(failure, attempt.cost, known, captions_listed=offers(client.player))
            finally:
                client.begin()  # an answer may be large, and the client lives as long as its session

    def _transcripts(self, attempt: Attempt, client: Client, video_id: str) -> tuple[Transcript, ...]:
        """What is wanted of a video's captions, the best track first."""
        lean = self.settings.fetch_mode == "lean" and self._lean_allowed()
        try:
            found = self._by_library(attempt, client, video_id, lean=lean)
        except _GIVE_WAY:
            raise
        except Exception as exc:  # noqa: BLE001 - sorted here, raised again where nothing helps
            if not (lean and _is_suspect(attempt, client, exc)):
                return self._by_opinion(attempt, client, video_id, exc)
        else:
            if lean:
                self._lean_worked()
            return found
        try:
            found = self._by_library(attempt, client, video_id, lean=False)
        except _GIVE_WAY:
            raise
        except Exception as exc:  # noqa: BLE001
            return self._by_opinion(attempt, client, video_id, exc)
        self._lean_failed()
        return found

    def _by_library(
        self, attempt: Attempt, client: Client, video_id: str, *, lean: bool
    ) -> tuple[Transcript, ...]:
        tracks = client.tracks(video_id, lean=lean)
        if self.settings.all_languages:
            tracks = listed(attempt.session, video_id, client.player)
        return self._read(attempt, client, tracks)

    def _read(self, attempt: Attempt, client: Client, tracks: list[Track]) -> tuple[Transcript, ...]:
        spoken = spoken_language(client.player)
        if not self.settings.all_languages:
            return (_read(attempt, client, choose(tracks, self._wanted, spoken)),)
        best, *others = ranked(tracks, self._wanted, spoken)
        # Of several tracks one may well be empty, and then that is what there is of it.
        return (read(client, best), *(read(client, track, may_be_empty=True) for track in others))

    def _by_opinion(
        self, attempt: Attempt, client: Client, video_id: str, exc: Exception
    ) -> tuple[Transcript, ...]:
        """Let another client confirm what is not to be believed of one; else raise `exc` as a failure."""
        failure = _as_of_now(_settled(attempt, client, exc), client, video_id)
        if failure.kind is Kind.NOT_YET or (
            not isinstance(exc, (yta.TranscriptsDisabled, yta.PoTokenRequired)) and not _is_odd(exc, failure)
        ):
            raise FailureError(failure) from None
        try:
            tracks = self._opinion.tracks(attempt, video_id)
        except FailureError as second:
            if failure.kind is Kind.PO_TOKEN and second.failure.kind is Kind.UNKNOWN:
                raise FailureError(failure) from None
            raise
        if not tracks:
            raise FailureError(failure) from None
        return self._read(attempt, client, tracks)


_GIVE_WAY = (Interrupted, EngineError)


def _read(attempt: Attempt, client: Client, chosen: Chosen) -> Transcript:
    """The text of one track. A translation that is refused says nothing of the address it was asked from.

    YouTube answers 429 to requests for translations long before it refuses others (yt-dlp's issues 13770 and
    13831). An address that is refused altogether is noticed by the player requests.
    """
    if chosen.translated_from is None:
        return read(client, chosen.track)
    try:
        return read(client, chosen.track, translated_from=chosen.translated_from)
    except _GIVE_WAY:
        raise
    except Exception as exc:
        failure = classify(exc, attempt.answer)
        if failure.kind is not Kind.BLOCKED:
            raise
        message = f"YouTube refuses the translation into {chosen.track.language_code} for now"
        if attempt.answer.status == 429:
            message += " (429)"
        raise FailureError(Failure(Kind.SERVER_ERROR, message)) from None


def _microformat(attempt: Attempt, video_id: str) -> Mapping[str, Any]:
    """What full metadata adds; any failure is one of the attempt.

    A record without what was asked for would look complete. So the job comes again, and fails in the end; a
    final no of this client's is none of the video's, whose captions are at hand.
    """
    try:
        return microformat.ask(attempt, video_id)
    except _GIVE_WAY:
        raise
    except Exception as exc:  # noqa: BLE001 - it becomes data
        failure = classify(exc, attempt.answer)
    final = failure.kind in ABSENT_KINDS or failure.kind is Kind.NOT_YET
    kind = Kind.GARBLED if final else failure.kind
    raise FailureError(replace(failure, kind=kind, message=clean(f"full metadata: {failure.message}")))


def _settled(attempt: Attempt, client: Client, exc: Exception) -> Failure:
    """The failure an exception means, by the whole player answer where the library kept only its reason."""
    if isinstance(exc, yta.VideoUnplayable) and client.player is not None:
        told = refusal(client.player.get("playabilityStatus"))
        if told is not None:
            return told
    return classify(exc, attempt.answer)


def _as_of_now(failure: Failure, client: Client, video_id: str) -> Failure:
    """The failure, unless the video is an event under way: then its captions may come yet."""
    if failure.kind in (Kind.NO_CAPTIONS, Kind.NO_LANGUAGE):
        return not_yet(client.details(video_id)) or failure
    return failure


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
