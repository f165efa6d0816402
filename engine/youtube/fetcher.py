"""Fetches one video: a permit and an id in, a transcript with metadata or the reason for none out.

The ways are tried in their order, as far as `way_rules` finds the next one worth it. What a failed way means for the
videos to come is in `way_health`.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from engine.errors import EngineError, Interrupted
from engine.model import (
    WAYS,
    Failure,
    Fetched,
    InnertubeClient,
    Kind,
    Metadata,
    NotFetched,
    Permit,
    Transcript,
    YtdlpOptions,
)
from engine.network.answer import FailureError
from engine.network.client import Client
from engine.storage.disk import disk_error
from engine.youtube.classify import classify, shortage
from engine.youtube.clients import CLIENTS, PAGE, YTDLP
from engine.youtube.messages import clean
from engine.youtube.metadata import fetch_full, read_metadata
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
from engine.youtube.tracks import Track, lists_tracks
from engine.youtube.video_attempt import VideoAttempt
from engine.youtube.way_health_file import WayHealth
from engine.youtube.way_rules import Subject, WayFailure, all_unheard, asks_on, standing
from engine.youtube.ways import Mask, Ways, explain

__all__ = ["Client", "FetchSettings", "Fetcher"]

_PASSED_ON = (Interrupted, EngineError)
_REMEMBERED = 1_000  # videos
_REFUSALS = 20  # in a row by a client that is not shown all videos: that is more than a few made for kids
_PARTS = 3  # one way takes a third of the deadline at most, while others follow


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """What to fetch, and how.

    languages      in order of preference: codes, `any`, `orig` (the spoken language)
    captions       made by whom: `any`, `manual` (people), `generated`
    all_languages  every track so made, one more request each; `languages` then say which is the best
    translate      captions in this language if there are any, else a translation of the first wanted ones
    metadata       `full` adds dates, category, likes and countries by one more request
    deadline_s     for one attempt
    mask           whether the player is asked for the needed fields only, a fifth of the bytes: `auto` while that
                   proves to change nothing
    ways           which are tried, in this order
    clients        the table of clients that they ask as
    ytdlp          what the way `yt-dlp` gets from the user

    `all_languages` and `translate` exclude each other.
    """

    languages: tuple[str, ...] = ("en",)
    deadline_s: float = 60.0
    mask: Mask = "off"
    captions: Captions = "any"
    all_languages: bool = False
    translate: str | None = None
    metadata: Literal["basic", "full"] = "basic"
    ways: tuple[str, ...] = WAYS
    clients: tuple[InnertubeClient, ...] = CLIENTS
    ytdlp: YtdlpOptions | None = None


class _Served(NamedTuple):
    """What a way served."""

    way: str
    transcripts: tuple[Transcript, ...]
    metadata: Metadata
    note: str | None
    hidden_by: tuple[str, ...] = ()


class _Before(NamedTuple):
    """A video that no way answered anything about: how much was served by then, and which ways were asked."""

    served: int
    asked: frozenset[str]


class _WaysFailed(FailureError):
    """No way served the video."""

    def __init__(self, standing: WayFailure) -> None:
        super().__init__(standing.failure)
        self.way = standing.way


class Fetcher:
    """Fetches videos; shared by all threads of a process.

    health  of the ways, shared with other processes if it has a queue
    extra   `extra(egress, bytes)` is called with what was received for no video of the queue
    """

    def __init__(
        self,
        client: Client,
        settings: FetchSettings,
        *,
        health: WayHealth | None = None,
        extra: Callable[[int, int], object] = lambda egress, n_bytes: None,
    ) -> None:
        self.client = client
        self.settings = settings
        self.health = health or WayHealth(names=[spec.name for spec in client.specs])
        self._wanted = Wanted(settings.languages, settings.captions, settings.translate)
        named = {language.lower() for language in (*settings.languages, settings.translate or "")}
        self._needs_spoken = settings.all_languages or bool(named & {ANY, ORIG})
        self._extra = extra
        self._ways = Ways(self.health, settings.mask, settings.clients, settings.ytdlp)
        self._explicit = settings.ways != WAYS
        self._failed_before: dict[str, _Before] = {}  # by video
        self._served = 0
        self._refused: Counter[str] = (
            Counter()
        )  # by way that is not shown all videos: refusals since it served one

    def fetch(self, video_id: str, permit: Permit, *, has_captions: bool = False) -> Fetched | NotFetched:
        """One attempt at one video; `permit` pays its first request. Of a video that is known to have captions a
        third way is asked when two show none.

        Every failure is returned, except: errors.Interrupted, with the attempt's cost, when it has to end early or no
        way answers and nobody knows yet why; other EngineErrors that the client's `acquire` raises; MemoryError;
        DiskError when no descriptors are left.
        """
        with self.client.attempt(permit, self.settings.deadline_s) as attempt:
            video = VideoAttempt(attempt, video_id)
            try:
                served = self._by_ways(video, has_captions=has_captions)
                metadata = served.metadata
                if self.settings.metadata == "full":
                    metadata = fetch_full(attempt, video_id, metadata)
                others = served.transcripts if self.settings.all_languages else ()
                first = served.transcripts[0]
                got = Fetched(
                    metadata, first, attempt.cost, others, served.way, served.note, served.hidden_by
                )
            except Interrupted:
                raise Interrupted(attempt.cost) from None
            except EngineError:
                raise
            except Exception as exc:  # noqa: BLE001 - foreign exceptions become values here
                return _not_fetched(video, exc)
        self._try_again(video_id, attempt.egress)
        return got

    def _by_ways(self, video: VideoAttempt, *, has_captions: bool = False) -> _Served:
        """The wanted captions of a video by the first way that gets them. Raises FailureError."""
        failed: list[WayFailure] = []
        ways = self.health.usable(self.settings.ways, video.attempt.egress)
        before = self._failed_before.get(video.video_id)
        if before is not None:  # those that were not asked come first
            ways = tuple(sorted(ways, key=before.asked.__contains__))
        for number, way in enumerate(ways):
            in_health = self.health.in_health() if failed else ()
            if not asks_on(
                failed, way, explicit=self._explicit, in_health=in_health, has_captions=has_captions
            ):
                continue
            if failed and video.attempt.time_is_up:
                break
            more = number + 1 < len(ways)
            try:
                with video.attempt.part(self.settings.deadline_s / _PARTS if more else None):
                    served = self._by(way, video, failed)
            except _PASSED_ON:
                raise
            except Exception as exc:
                if shortage(exc) is not None:
                    raise
                failed.append(explain(way, video, exc, partial=self._ways.is_partial(way)))
            else:
                self._note_served(video, served, failed)
                return served
        shown = self._without_mask(video, failed)
        if shown is not None:
            return shown
        raise self._unserved(video, failed, ways)

    def _without_mask(self, video: VideoAttempt, failed: list[WayFailure]) -> _Served | None:
        """The captions that the only way which was heard shows without the mask alone; None for none.

        A second way is always asked without, so this is for videos that have no second.
        """
        said = [each for each in failed if each.failure.kind is Kind.NO_CAPTIONS]
        if (
            len(said) != 1
            or failed[-1].final
            or not self._ways.masked(said[0].way)
            or video.attempt.time_is_up
        ):
            return None
        try:
            served = self._by(said[0].way, video, failed)
        except _PASSED_ON:
            raise
        except Exception as exc:
            found = explain(said[0].way, video, exc)
            if shortage(exc) is not None or found.subject in (Subject.EGRESS, Subject.SITE):
                raise
            return None
        self.health.mask_differed(served.way, "the mask hid the captions")
        return served

    def _by(self, way: str, video: VideoAttempt, failed: list[WayFailure]) -> _Served:
        """The wanted captions by one way."""
        # The mask may have hidden the captions from the way before.
        unmasked = any(each.failure.kind is Kind.NO_CAPTIONS for each in failed)
        tracks = self._ways.tracks(way, video, unmasked=unmasked)
        transcripts, note = self._read(video, tracks)
        hidden_by = tuple(each.way for each in failed if each.failure.kind is Kind.NO_CAPTIONS)
        return _Served(way, transcripts, _metadata(video), note, hidden_by)

    def _note_served(self, video: VideoAttempt, served: _Served, failed: list[WayFailure]) -> None:
        """A way served the video: then the ways before it failed."""
        egress = video.attempt.egress
        self._served += 1
        self._refused.pop(served.way, None)
        self._refused.update(each.way for each in failed if each.partial)
        for each in failed:
            if not (_blames(each) or self._refused[each.way] > _REFUSALS):
                continue
            if each.failure.kind is Kind.NO_CAPTIONS and self._was_the_mask(each.way, video):
                continue
            self.health.failed(each.way, egress, each.failure.message)
        self.health.served(served.way, egress)
        self._failed_before.pop(video.video_id, None)

    def _was_the_mask(self, way: str, video: VideoAttempt) -> bool:
        """Whether a way that showed no captions shows them without the mask."""
        if not self._ways.masked(way):
            return False
        try:
            self._ways.tracks(way, video, unmasked=True)
        except _PASSED_ON:
            raise
        except Exception:  # noqa: BLE001 - it shows none either
            return False
        self.health.mask_differed(way, "the mask hid the captions")
        return True

    def _unserved(self, video: VideoAttempt, failed: list[WayFailure], ways: tuple[str, ...]) -> FailureError:
        """Why no way served the video. Raises Interrupted while it is not known whether any way still works, or
        whether one that was too many for this time would serve it: then a queue's job is to come again, at no cost,
        and by the ways first that were not asked this time."""
        stands = standing(failed, in_health=self.health.in_health())
        none_heard = all_unheard(failed)
        if not (self.health.is_shared and (none_heard or stands.subject is Subject.CLIENT)):
            return _WaysFailed(stands)
        if len(self._failed_before) > _REMEMBERED:
            self._failed_before.clear()
        asked = frozenset(each.way for each in failed)
        before = self._failed_before.get(video.video_id)
        since = before or _Before(self._served, frozenset())
        self._failed_before[video.video_id] = since._replace(asked=asked | since.asked)
        rest = set(ways) - asked - since.asked
        if not (none_heard or self._explicit):
            rest -= {PAGE, YTDLP}  # they are for when no other way is answered
        if rest and not video.attempt.time_is_up:  # the others may well work
            if none_heard:
                self.health.forget_served()
            raise Interrupted
        if not none_heard or self._served > since.served:  # others were served since: it is this video
            return _WaysFailed(stands)
        why = "; ".join(f"{each.way}: {each.failure.message}" for each in failed)
        if self.health.unheard(self.settings.ways, video.attempt.egress, why):
            message = clean(f"no way to YouTube works now ({why})")
            return _WaysFailed(replace(stands, failure=Failure(Kind.BLOCKED, message)))
        raise Interrupted

    def _try_again(self, video_id: str, egress: int) -> None:
        """Try a way whose time off is over with a video that another way has just served."""
        way = self.health.trial(self.settings.ways, egress)
        if way is None:
            return
        try:
            with self.client.attempt(
                self.client.acquire(egress), self.settings.deadline_s / _PARTS
            ) as attempt:
                video = VideoAttempt(attempt, video_id)
                try:
                    self._by(way, video, [])
                except _PASSED_ON:
                    raise
                except Exception as exc:  # noqa: BLE001 - foreign exceptions become values here
                    found = explain(way, video, exc, partial=self._ways.is_partial(way))
                    if _blames(found) and found.subject not in (Subject.EGRESS, Subject.SITE):
                        self.health.trial_failed(way, egress, found.failure.message)
                else:
                    self.health.served(way, egress)
            self._extra(egress, attempt.cost.bytes)
        except Interrupted as exc:
            self._extra(egress, exc.cost.bytes)  # another video will do

    def _read(self, video: VideoAttempt, tracks: list[Track]) -> tuple[tuple[Transcript, ...], str | None]:
        """The texts of the wanted tracks, and what to say of the choice."""
        spoken = spoken_language(video.player) if self._needs_spoken else None
        if not self.settings.all_languages:
            chosen = choose(tracks, self._wanted, spoken)
            note = None if chosen.translated_from else named_twins(tracks, chosen.track)
            return (_read_chosen(video, chosen),), note
        best, *others = ranked(tracks, self._wanted, spoken)
        # One of several tracks may be empty; then its transcript is.
        return (video.read(best), *(video.read(track, may_be_empty=True) for track in others)), None


def _blames(failed: WayFailure) -> bool:
    """Whether a failure speaks against the way, once another served the video. A client that is not shown all videos
    or all tracks works."""
    return not failed.partial and failed.failure.kind is not Kind.NO_LANGUAGE


def _metadata(video: VideoAttempt) -> Metadata:
    found = read_metadata(video.details, video.player)
    return found if found.published else replace(found, published=video.page_date)


def _not_fetched(video: VideoAttempt, exc: Exception) -> NotFetched:
    """A failed attempt as a value. Raises DiskError and MemoryError when this machine lacks descriptors or memory."""
    short = shortage(exc)
    if isinstance(short, OSError) and short.errno != errno.ENOMEM:
        raise disk_error(short, "opening a connection") from None
    if short is not None:
        raise MemoryError from None
    failure = classify(exc, video.attempt.answer)
    video.attempt.drop_session = failure.kind is Kind.BLOCKED
    metadata = _metadata(video)
    return NotFetched(
        failure,
        video.attempt.cost,
        metadata if metadata.title else None,
        captions_listed=lists_tracks(video.player),
        way=exc.way if isinstance(exc, _WaysFailed) else None,
    )


def _read_chosen(video: VideoAttempt, chosen: Chosen) -> Transcript:
    """The text of one track. A refused translation does not mean that the egress is blocked.

    YouTube answers 429 to requests for translations long before it refuses others (yt-dlp's issues 13770 and
    13831), and by now to nearly all of them. The player requests show when it refuses all.
    """
    if chosen.translated_from is None:
        return video.read(chosen.track)
    try:
        return video.read(chosen.track, translated_from=chosen.translated_from)
    except _PASSED_ON:
        raise
    except Exception as exc:
        failure, answer = classify(exc, video.attempt.answer), video.attempt.answer
        empty = answer.status == 200 and not answer.size_bytes
        if failure.kind is not Kind.BLOCKED and not 400 <= answer.status < 500 and not empty:
            raise
        message = f"YouTube refuses the translation into {chosen.track.language_code}"
        if answer.status >= 400:
            message += f" ({answer.status})"
        raise FailureError(Failure(Kind.TRANSLATION_REFUSED, message)) from None
