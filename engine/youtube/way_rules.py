"""What an answer says, of whom, and whether another way is worth its requests: pure tables.

The first line that fits an answer decides its subject (`subject`):

| the answer                                                             | speaks of                        |
|------------------------------------------------------------------------|----------------------------------|
| a block, a lost connection, a proxy's failure                          | the egress: nothing more is sent |
| 5xx                                                                    | the site: later                  |
| none, though the request was sent                                      | SILENT: the client, or the site  |
| 4xx to a player, page or caption request; an error object              | the CLIENT                       |
| about another video, of an unreadable shape, an empty caption text     | the CLIENT                       |
| plays without captions; captions for a PO token only (exp=xpe, xpv)    | UNSURE: the client or the video  |
| only generated captions, and others are wanted (said by `ways`)        | UNSURE: the client or the video  |
| a refusal in words that mean "on this client", or in unknown words     | UNSURE                           |
| "unavailable" to a client that is not shown all videos (visionOS)      | UNSURE, and no proof             |
| anything else: private, removed, members only, live, no such language  | the VIDEO                        |

- Another way is asked after CLIENT, SILENT and UNSURE, and after a refusal when an earlier client plays the video: a
  client that refuses it says nothing against one that plays it (visionOS is shown no videos made for kids).
- Two clients that agree on UNSURE are enough. `no_captions` always needs two that play the video, as far as there
  are two; of a video that has captions, three. A token is asked for by client, so three clients are asked before that
  stands, and all ways if the user chose them: one may have a token.
- `page` and `yt-dlp` cost more. Unless they were asked for, they are tried only when no client before them answers.
- Once it is known that the ways work, a video costs no more requests than two of them do when they serve it. A third
  may still be asked: a refusal is one request and not two.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from engine.model import Failure, Kind
from engine.network.answer import Answer, RequestPhase
from engine.youtube.clients import PAGE, YTDLP

ENOUGH = 2  # ways for a video, once they are known to work
_REQUESTS_OF = {PAGE: 3, YTDLP: 3}  # of a way that serves a video; two of all others
# YouTube's words for a video that this client is not given, though others may be. "This video is unavailable" and
# whatever says why (removed, private, terminated) are about the video itself.
_ON_THIS_CLIENT = re.compile(
    r"\b(?:not|isn't) available(?! (?:in|from) your)(?! any ?more)|on this (?:app|device|client)"
    r"|update (?:the|your) app|^(?:youtube says: )?video unavailable\.?$|latest version"
)


class Subject(StrEnum):
    """Whom an answer speaks of."""

    EGRESS = "egress"
    SITE = "site"
    SILENT = "silent"
    CLIENT = "client"
    UNSURE = "unsure"
    VIDEO = "video"


@dataclass(frozen=True, slots=True)
class Observed:
    """How a way failed. `odd`: the answer is well-formed, and not what was asked for. `partial`: it came to a client
    that is not shown all videos."""

    failure: Failure
    answer: Answer
    odd: bool = False
    partial: bool = False


@dataclass(frozen=True, slots=True)
class WayFailure:
    """A way that failed for a video, and whom that speaks of. `partial` as in Observed; `requests` that it took."""

    way: str
    subject: Subject
    failure: Failure
    partial: bool = False
    requests: int = 1

    @property
    def unheard(self) -> bool:
        """Whether nothing was learnt about the video."""
        return self.subject in (Subject.CLIENT, Subject.SILENT)

    @property
    def final(self) -> bool:
        """Whether nothing is to be learnt from another way."""
        if self.subject in (Subject.EGRESS, Subject.SITE):
            return True
        return self.subject is Subject.VIDEO and self.failure.kind not in _REFUSALS


_ON_THE_WAY = frozenset({Kind.BLOCKED, Kind.NETWORK, Kind.PROXY})
_REFUSALS = frozenset(
    {
        Kind.UNAVAILABLE,
        Kind.PRIVATE,
        Kind.MEMBERS_ONLY,
        Kind.AGE_RESTRICTED,
        Kind.REGION_BLOCKED,
        Kind.UNKNOWN,
    }
)
_REQUESTS = frozenset({"player", "page", "timedtext"})


def subject(seen: Observed) -> Subject:
    """Whom an answer speaks of, by the table above."""
    failure, answer = seen.failure, seen.answer
    kind, status = failure.kind, answer.status
    if kind is Kind.TRANSLATION_REFUSED:
        return Subject.VIDEO
    if kind in _ON_THE_WAY or failure.dead_egress:
        return Subject.EGRESS
    if status >= 500:
        return Subject.SITE
    if kind is Kind.TIMEOUT:
        return Subject.SILENT if answer.phase in (RequestPhase.SENT, RequestPhase.BODY) else Subject.EGRESS
    if 400 <= status < 500 and answer.kind in _REQUESTS:
        return Subject.CLIENT
    if seen.odd or (kind is Kind.GARBLED and answer.kind == "timedtext" and status and not answer.size_bytes):
        return Subject.CLIENT
    if kind in (Kind.NO_CAPTIONS, Kind.PO_TOKEN) or (kind is Kind.UNKNOWN and answer.kind == "player"):
        return Subject.UNSURE
    if kind is Kind.UNAVAILABLE and (seen.partial or means_this_client(failure.message)):
        return Subject.UNSURE
    return Subject.VIDEO


def means_this_client(message: str) -> bool:
    """Whether YouTube's words say that this client is not given the video, rather than that nobody is."""
    plain = " ".join(re.sub("[’‘ʼ`´]", "'", message).lower().split())
    return _ON_THIS_CLIENT.search(plain) is not None


def requests_of(way: str) -> int:
    """How many requests a way takes to serve a video, at least."""
    return _REQUESTS_OF.get(way, 2)


def asks_on(
    failed: Sequence[WayFailure],
    way: str,
    *,
    explicit: bool,
    in_health: Collection[str] = (),
    has_captions: bool = False,
) -> bool:
    """Whether `way` is worth its requests after these failures.

    explicit      the ways were chosen by the user
    in_health     ways that served another video lately and have not failed since
    has_captions  the video is known to have some: ways that show none may be at fault
    """
    if not failed:
        return True
    if failed[-1].final:
        return False
    heard = [each for each in failed if not each.unheard]
    known = any(each.way in in_health for each in failed)
    if not heard:
        return len(failed) < ENOUGH or not known
    token = any(each.failure.kind is Kind.PO_TOKEN for each in heard)
    if known and not has_captions and not (token and explicit) and _costs_too_much(failed, way):
        return False
    if way in (PAGE, YTDLP) and not explicit and not all(each.partial for each in heard):
        return False
    if failed[-1].subject is Subject.VIDEO and not _plays(heard):
        return False
    if token:
        return explicit or len(heard) <= ENOUGH
    return not _agreed(heard, ENOUGH + has_captions)


def _costs_too_much(failed: Sequence[WayFailure], way: str) -> bool:
    """Whether a video would take more requests by this way as well than two ways take that serve it."""
    *_, dear, dearest = sorted(requests_of(name) for name in (way, *(each.way for each in failed)))
    return sum(each.requests for each in failed) + requests_of(way) > dear + dearest


def standing(failed: Sequence[WayFailure], *, in_health: Collection[str] = ()) -> WayFailure:
    """The failure that stands for the video after all ways that were worth it."""
    if failed[-1].final:
        return failed[-1]
    heard = [each for each in failed if not each.unheard]
    unheard = [each for each in failed if each.unheard]
    token = next((each for each in heard if each.failure.kind is Kind.PO_TOKEN), None)
    if token is not None or not heard:
        return token or failed[0]
    lists = next((each for each in heard if each.failure.kind is Kind.NO_LANGUAGE), None)
    if lists is not None:
        return lists
    plays = [each for each in heard if each.failure.kind is Kind.NO_CAPTIONS]
    if plays:
        # A way that works and was not heard this time might have shown captions.
        missed = [each for each in unheard if each.way in in_health or each.subject is Subject.SILENT]
        return missed[0] if missed and len(plays) < ENOUGH else plays[0]
    if unheard and all(each.partial for each in heard):
        return unheard[0]
    return next((each for each in heard if each.failure.kind is not Kind.UNKNOWN), heard[0])


def all_unheard(failed: Sequence[WayFailure]) -> bool:
    """Whether no way was answered anything about the video: then it may be that no way works at all."""
    return all(each.unheard for each in failed) and any(each.subject is Subject.CLIENT for each in failed)


def _plays(heard: Sequence[WayFailure]) -> bool:
    """Whether one of the clients plays the video."""
    return any(each.failure.kind is Kind.NO_CAPTIONS for each in heard)


def _agreed(heard: Sequence[WayFailure], showing_none: int) -> bool:
    """Whether two clients say the same of the video; so many of those that show no captions."""
    kinds = [each.failure.kind for each in heard]
    if Kind.NO_CAPTIONS in kinds:
        return kinds.count(Kind.NO_CAPTIONS) >= showing_none
    return len([each for each in heard if not each.partial]) >= ENOUGH or len(heard) > ENOUGH
