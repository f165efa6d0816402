"""Fetches one video: a permit and an id in, a transcript with metadata or the reason for none out."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from youtube_transcript_api import Transcript as Track

from engine.errors import EngineError, Interrupted
from engine.model import ABSENT_KINDS, Failure, Fetched, Kind, Permit, Refused, Transcript
from engine.network.answer import FailureError
from engine.network.attempt import Attempt
from engine.network.client import Client
from engine.storage.disk import disk_error
from engine.youtube.classify import classify, shortage
from engine.youtube.clients import CLIENTS, WAYS, InnertubeClient
from engine.youtube.library_client import LibraryClient, library_client
from engine.youtube.messages import clean
from engine.youtube.metadata import fetch_microformat, read_metadata, with_microformat
from engine.youtube.track_choice import (
    ANY,
    ORIG,
    Captions,
    Chosen,
    Wanted,
    choose,
    named_twins,
    ranked,
    spoken_language,
)
from engine.youtube.tracks import list_tracks, lists_tracks
from engine.youtube.ways import Failed, explain, stands, ways

__all__ = ["Client", "FetchSettings", "Fetcher"]

_PASSED_ON = (Interrupted, EngineError)


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """What to fetch, and how.

    languages      in order of preference: codes, `any`, `orig` (the spoken language)
    captions       made by whom: `any`, `manual` (people), `generated`
    all_languages  every track so made, one more request each; `languages` then say which is the best
    translate      captions in this language if there are any, else a translation of the first wanted ones
    metadata       `full` adds dates, category, likes and countries by one more request
    deadline_s     for one attempt
    mask           ask the player for the needed fields only (a fifth of the bytes); untried on the live site
    ways           which are tried, in this order
    clients        the table of clients that they ask as

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
    ways: tuple[str, ...] = WAYS
    clients: tuple[InnertubeClient, ...] = CLIENTS


class Fetcher:
    """Fetches videos; shared by all threads of a process.

    `lean_allowed()` says before each attempt whether the lean way may be used. `lean_worked()` is called when it
    got a transcript, `lean_failed()` when only the way with the watch page did.
    """

    def __init__(
        self,
        client: Client,
        settings: FetchSettings,
        *,
        lean_allowed: Callable[[], bool] = lambda: True,
        lean_failed: Callable[[], object] = lambda: None,
        lean_worked: Callable[[], object] = lambda: None,
    ) -> None:
        self.client = client
        self.settings = settings
        self._wanted = Wanted(settings.languages, settings.captions, settings.translate)
        named = {language.lower() for language in (*settings.languages, settings.translate or "")}
        self._needs_spoken = settings.all_languages or bool(named & {ANY, ORIG})
        self._lean_allowed, self._lean_failed, self._lean_worked = lean_allowed, lean_failed, lean_worked
        self._ways = ways()

    def fetch(self, video_id: str, permit: Permit) -> Fetched | Refused:
        """One attempt at one video; `permit` pays its first request.

        Every failure is returned, except: errors.Interrupted, with the attempt's cost, when it has to end early;
        other EngineErrors that the client's `acquire` raises; MemoryError; DiskError when no descriptors are left.
        """
        with self.client.attempt(permit, self.settings.deadline_s) as attempt:
            library = library_client(attempt, video_id, mask=self.settings.mask)
            try:
                transcripts = self._transcripts(library)
                metadata = read_metadata(library.details, library.player)
                if self.settings.metadata == "full":
                    metadata = with_microformat(metadata, _microformat(attempt, video_id))
                others = transcripts if self.settings.all_languages else ()
                return Fetched(metadata, transcripts[0], attempt.cost, others, note=library.note)
            except Interrupted:
                raise Interrupted(attempt.cost) from None
            except EngineError:
                raise
            except Exception as exc:  # noqa: BLE001 - foreign exceptions become values here
                return _refused(library, exc)
            finally:
                library.forget()

    def _transcripts(self, library: LibraryClient) -> tuple[Transcript, ...]:
        """The wanted captions of a video, the best track first, by the first way that gets them."""
        last = Failed(LookupError(), Failure(Kind.UNKNOWN, "no way was tried"))
        tried: list[str] = []
        for way in self._ways if self._may_be_lean() else self._ways[1:]:
            if tried and not way.may_help(library, last):
                continue
            tried.append(way.name)
            try:
                tracks = way.tracks(library)
                if not tracks:
                    continue
                transcripts = self._read(library, tracks)
            except _PASSED_ON:
                raise
            except Exception as exc:
                if shortage(exc) is not None:
                    raise
                now = explain(library, exc)
                last = last if stands(last.failure, now.failure) else now
            else:
                if tried == ["lean"]:
                    self._lean_worked()
                elif tried == ["lean", "page"]:
                    self._lean_failed()
                return transcripts
        raise FailureError(last.failure)

    def _may_be_lean(self) -> bool:
        return self.settings.fetch_mode == "lean" and self._lean_allowed()

    def _read(self, library: LibraryClient, tracks: list[Track]) -> tuple[Transcript, ...]:
        spoken = spoken_language(library.player) if self._needs_spoken else None
        # The library's list has the last of two tracks of one language; the player's has both.
        tracks = list_tracks(library.attempt.session, library.video_id, library.player) or tracks
        if not self.settings.all_languages:
            chosen = choose(tracks, self._wanted, spoken)
            read = _read_chosen(library, chosen)
            library.note = None if chosen.translated_from else named_twins(tracks, chosen.track)
            return (read,)
        best, *others = ranked(tracks, self._wanted, spoken)
        # One of several tracks may be empty; then its transcript is.
        return (library.read(best), *(library.read(track, may_be_empty=True) for track in others))


def _refused(library: LibraryClient, exc: Exception) -> Refused:
    """A failed attempt as a value. Raises DiskError and MemoryError when this machine lacks descriptors or memory."""
    short = shortage(exc)
    if isinstance(short, OSError) and short.errno != errno.ENOMEM:
        raise disk_error(short, "opening a connection") from None
    if short is not None:
        raise MemoryError from None
    failure = explain(library, exc).failure
    library.attempt.drop_session = failure.kind is Kind.BLOCKED
    metadata = read_metadata(library.details, library.player)
    return Refused(
        failure,
        library.attempt.cost,
        metadata if metadata.title else None,
        captions_listed=lists_tracks(library.player),
    )


def _read_chosen(library: LibraryClient, chosen: Chosen) -> Transcript:
    """The text of one track. A refused translation does not mean that the egress is blocked.

    YouTube answers 429 to requests for translations long before it refuses others (yt-dlp's issues 13770 and
    13831). The player requests show when it refuses all.
    """
    if chosen.translated_from is None:
        return library.read(chosen.track)
    try:
        return library.read(chosen.track, translated_from=chosen.translated_from)
    except _PASSED_ON:
        raise
    except Exception as exc:
        failure = classify(exc, library.attempt.answer)
        if failure.kind is not Kind.BLOCKED:
            raise
        message = f"YouTube refuses the translation into {chosen.track.language_code} for now"
        if library.attempt.answer.status == 429:
            message += " (429)"
        raise FailureError(Failure(Kind.SERVER_ERROR, message)) from None


def _microformat(attempt: Attempt, video_id: str) -> Mapping[str, Any]:
    """What full metadata adds. Any failure fails the attempt: a record without it would look complete.

    A final refusal by the WEB client does not end the job, because the video's captions were read: it is `garbled`.
    """
    try:
        return fetch_microformat(attempt, video_id)
    except _PASSED_ON:
        raise
    except Exception as exc:  # noqa: BLE001 - foreign exceptions become values here
        failure = classify(exc, attempt.answer)
    final = failure.kind in ABSENT_KINDS or failure.kind is Kind.NOT_YET
    kind = Kind.GARBLED if final else failure.kind
    raise FailureError(replace(failure, kind=kind, message=clean(f"full metadata: {failure.message}")))
