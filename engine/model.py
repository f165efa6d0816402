"""The nouns of the engine, as frozen values without behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any

# Public and captioned for years, of three channels: they tell whether YouTube shows captions to an address.
CONTROL_VIDEOS = ("dQw4w9WgXcQ", "iG9CE55wbtY", "jNQXAC9IVRw")
WATCH_URL = "https://www.youtube.com/watch?v="  # and the id

WAYS = ("android", "visionos", "ios", "page", "yt-dlp")  # in the order in which they are tried


class Status(StrEnum):
    """The three ways a job ends."""

    OK = "ok"
    ABSENT = "absent"  # there is nothing to fetch
    FAILED = "failed"  # gave up; may work another day


class Kind(StrEnum):
    """Why a job is not `ok`. The words are part of the public contract."""

    UNAVAILABLE = "unavailable"
    PRIVATE = "private"
    MEMBERS_ONLY = "members_only"
    AGE_RESTRICTED = "age_restricted"
    REGION_BLOCKED = "region_blocked"
    NO_CAPTIONS = "no_captions"
    NO_LANGUAGE = "no_language"

    NETWORK = "network"
    PROXY = "proxy"
    TIMEOUT = "timeout"
    SERVER_ERROR = "server_error"
    GARBLED = "garbled"
    TOO_LARGE = "too_large"
    PO_TOKEN = "po_token"  # noqa: S105 - the name of a refusal, not a secret
    TRANSLATION_REFUSED = "translation_refused"
    NOT_YET = "not_yet"
    BLOCKED = "blocked"
    KEPT = "kept"
    POISON = "poison"
    UNKNOWN = "unknown"

    @property
    def status(self) -> Status:
        """The status a job gets when this kind is its end."""
        return Status.ABSENT if self in ABSENT_KINDS else Status.FAILED


ABSENT_KINDS = frozenset(
    {
        Kind.UNAVAILABLE,
        Kind.PRIVATE,
        Kind.MEMBERS_ONLY,
        Kind.AGE_RESTRICTED,
        Kind.REGION_BLOCKED,
        Kind.NO_CAPTIONS,
        Kind.NO_LANGUAGE,
    }
)
# The connection was lost, or nothing came in time. That may be the job's fault or its egress's.
CONNECTION_KINDS = frozenset({Kind.NETWORK, Kind.PROXY, Kind.TIMEOUT})


@dataclass(frozen=True, slots=True)
class Job:
    """One video to fetch, and the user's own columns that came with it."""

    video_id: str
    input: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt did not work, as data.

    `dead_egress`: the egress can never work as configured (a proxy that answers 407). `unreached`: not even the proxy
    could be reached, so nothing behind it is at fault. `by_wording`: nobody asked to wait for `retry_after_s`, it is
    how long the wording usually means.
    """

    kind: Kind
    message: str
    retry_after_s: float | None = None
    dead_egress: bool = False
    unreached: bool = False
    by_wording: bool = False


@dataclass(frozen=True, slots=True)
class Chapter:
    """A part of a video: its start in seconds, and its title."""

    start: float
    title: str


@dataclass(frozen=True, slots=True)
class Metadata:
    """What the player answer says about a video; None where it says nothing.

    `publish_date` to `available_countries` come only with full metadata. Dates are as YouTube writes them: ISO 8601
    with or without a time. `published` is there whenever any answer holds the date. `chapters` are those that the
    description lists; `thumbnail` is the address of the largest picture.
    """

    title: str | None = None
    channel: str | None = None
    channel_id: str | None = None
    duration_s: int | None = None
    view_count: int | None = None
    keywords: tuple[str, ...] = ()
    description: str | None = None
    is_live: bool | None = None
    publish_date: str | None = None
    upload_date: str | None = None
    category: str | None = None
    like_count: int | None = None
    available_countries: tuple[str, ...] | None = None
    published: str | None = None
    thumbnail: str | None = None
    chapters: tuple[Chapter, ...] = ()


@dataclass(frozen=True, slots=True)
class Cue:
    """One caption: times in seconds from the start of the video."""

    start: float
    duration: float
    text: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """One caption track, as fetched. `translated_from`: the original language of a machine translation."""

    language: str
    language_name: str
    is_generated: bool
    cues: tuple[Cue, ...]
    translated_from: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """A video's metadata and transcript: the content of the `.json` file, from which all formats are rendered.

    `fetched_at` is UTC in RFC 3339, to the second, with `Z`. `transcripts` are all tracks, the best one included,
    when all were asked for, else empty. `batch` is the id of the queue that fetched it; None when it has none yet.
    """

    video_id: str
    metadata: Metadata
    transcript: Transcript
    input: Mapping[str, Any]
    fetched_at: str
    transcripts: tuple[Transcript, ...] = ()
    batch: str | None = None


@dataclass(frozen=True, slots=True)
class RequestCost:
    """What an attempt used: HTTP requests sent, and body bytes as transferred, before decompression."""

    requests: int = 0
    bytes: int = 0

    def __add__(self, other: RequestCost) -> RequestCost:
        return RequestCost(self.requests + other.requests, self.bytes + other.bytes)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A fetch that worked. `transcripts` as in Record; `way` is the way that served (`engine.youtube.clients`),
    `hidden_by` are those that showed no captions of it before.

    `note` says what a reader of the row should know, such as another track of the same language; usually None.
    """

    metadata: Metadata
    transcript: Transcript
    cost: RequestCost
    transcripts: tuple[Transcript, ...] = ()
    way: str | None = None
    note: str | None = None
    hidden_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NotFetched:
    """A fetch that did not work: the failure, what was learnt about the video (title, channel, whether captions are
    listed) if anything, and the way whose word the failure is."""

    failure: Failure
    cost: RequestCost
    metadata: Metadata | None = None
    captions_listed: bool = False
    way: str | None = None


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to send one request through one egress. Times are of the monotonic clock.

    `egress` indexes the run's list of egresses. `epoch` is that egress's when the permit was granted. After
    `expires_s` the permit is discarded and another is taken, because a late request would come too close to others.
    `granted_s` is when the request is due: the budget compares it with the beginning of a trouble, to tell answers to
    earlier requests from answers to later ones. `probe`: it is for a half-open probe. `ok_at`: when the egress had
    its last success; 0: never. `subnet_epoch`: that of the limit that the egress shares with others; 0: it shares
    none.
    """

    egress: int
    epoch: int
    expires_s: float
    granted_s: float = 0.0
    probe: bool = False
    ok_at: float = 0.0
    subnet_epoch: int = 0


@dataclass(frozen=True, slots=True)
class EgressSpec:
    """One way to the network: direct (`proxy_url` None) or a proxy. `repr` never shows the password.

    `name` is what people see: `direct`, or `p001 host:port`.
    """

    name: str
    proxy_url: str | None = field(default=None, repr=False)
    rotating: bool = False


@dataclass(frozen=True, slots=True)
class InnertubeClient:
    """One of YouTube's own programs, as a player request names it.

    way         the way that asks as this client
    name        `clientName`, `number` the same as a number (the header X-YouTube-Client-Name)
    context     further fields of `context.client`: device and system
    plays_kids  whether it is shown videos made for kids
    dated       when the row was read, and `source` where
    """

    way: str
    name: str
    number: str
    version: str
    user_agent: str
    context: tuple[tuple[str, str | int], ...]
    plays_kids: bool
    dated: date
    source: str


@dataclass(frozen=True, slots=True)
class YtdlpOptions:
    """What a user gives yt-dlp's own way. `extractor_args` as they were written (`youtube:player_client=web`);
    `cookies` is what is in the file, None without."""

    extractor_args: tuple[str, ...] = field(default=(), repr=False)
    plugin_dirs: tuple[str, ...] = ()
    cookies: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What became of the videos in a folder: videos = imported + already + rejected + those in other languages.

    `already` were final before, `rejected` have no file that can be read, `other_language` counts by language those
    that are in none of the batch's. The last two are left for the next run to fetch.
    """

    videos: int
    imported: int
    already: int
    rejected: int
    other_language: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class SeedResult:
    """What became of the lines read: read = added + duplicate + rejected + listed + known.

    `listed` are channels, playlists and searches, whose videos the next run adds; `known` were left out because
    `skip_known` names them (None: nothing was given there). `rejects` is the file that names rejected lines.
    """

    read: int
    added: int
    duplicate: int
    rejected: int
    listed: int
    known: int | None
    rejects: str


@dataclass(frozen=True, slots=True)
class RetryResult:
    """How many jobs, and how many channels, playlists and searches (`sources`), were put back."""

    jobs: int
    sources: int


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """What `set`, `pause` and `resume` change of a live run. `rate` is in the notation of `--rate`."""

    rate: str
    threads: int
    processes: int
    paused: bool
