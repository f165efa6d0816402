"""Real answers of the site: those that youtube-transcript-api ships with its own tests.

They are read from the installed package on demand; nothing of them is kept here. An asset that names its video has
that video's id here, and its bytes are unchanged. Two assets are of a video that another asset has already; their
id is replaced by one of their own.

| id | asset | what a client should make of it |
|---|---|---|
| `GJLlxj_dtq8` | youtube.innertube.json | ok |
| `F1xioXWb8CY` | youtube_ww1_nl_en.innertube.json | ok |
| `altered-usA` | youtube_altered_user_agent.innertube.json, id replaced | ok |
| `consent-pgA` | youtube_consent_page.html as watch page until the cookie comes; player as the first | ok |
| `captcha-pgA` | youtube_too_many_requests.html as watch page, and with status 429 for the rest | blocked |
| `bot-check-A` | youtube_request_blocked.innertube.json | blocked |
| `Njp5uhTorCo` | youtube_age_restricted.innertube.json | age_restricted |
| `dsMFmonKDD4` | youtube_transcripts_disabled.innertube.json | no_captions |
| `Fjg5lYqvzUs` | youtube_transcripts_disabled2.innertube.json | no_captions |
| `unplayableA` | youtube_unplayable.innertube.json | unknown |
| `no-such-vdA` | youtube_video_unavailable.innertube.json | unavailable |
| `po-token-rA` | youtube_po_token_required.innertube.json, id replaced | po_token |

The watch page of the others is youtube.html, and all their transcripts are transcript.xml. The authors made the
unplayable asset from a bot check, and its error screen still says so. Clients other than ANDROID get it without the
error screen, so that all clients see the same reason.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache

from engine.errors import UsageError
from engine.rehearsal.compressed_bodies import HTML, JSON, XML, Body, dumps

_FIRST_ID = "GJLlxj_dtq8"


@dataclass(frozen=True, slots=True)
class Capture:
    """A recorded answer: the asset's name, the expected result (`ok` or a failure kind), and how it is used."""

    asset: str
    expected: str
    replaces_id: str | None = None
    watch_asset: str = "youtube.html"


CAPTURES: dict[str, Capture] = {
    "GJLlxj_dtq8": Capture("youtube.innertube.json", "ok"),
    "F1xioXWb8CY": Capture("youtube_ww1_nl_en.innertube.json", "ok"),
    "altered-usA": Capture("youtube_altered_user_agent.innertube.json", "ok", _FIRST_ID),
    "consent-pgA": Capture("youtube.innertube.json", "ok", _FIRST_ID, "youtube_consent_page.html"),
    "captcha-pgA": Capture(
        "youtube_too_many_requests.html", "blocked", watch_asset="youtube_too_many_requests.html"
    ),
    "bot-check-A": Capture("youtube_request_blocked.innertube.json", "blocked"),
    "Njp5uhTorCo": Capture("youtube_age_restricted.innertube.json", "age_restricted"),
    "dsMFmonKDD4": Capture("youtube_transcripts_disabled.innertube.json", "no_captions"),
    "Fjg5lYqvzUs": Capture("youtube_transcripts_disabled2.innertube.json", "no_captions"),
    "unplayableA": Capture("youtube_unplayable.innertube.json", "unknown"),
    "no-such-vdA": Capture("youtube_video_unavailable.innertube.json", "unavailable"),
    "po-token-rA": Capture("youtube_po_token_required.innertube.json", "po_token", _FIRST_ID),
}


def read_asset(name: str) -> bytes:
    """The bytes of the asset `name`.static. Raises UsageError if the installed package has none."""
    from importlib import resources  # slow to import, and most importers of this module never read one

    path = resources.files("youtube_transcript_api") / "test" / "assets" / f"{name}.static"
    try:
        return path.read_bytes()
    except OSError as exc:
        raise UsageError(
            f"The recorded answer {name!r} is not in the installed youtube-transcript-api. Do without the "
            "scenario `captured` and --real-sizes, or install its version 1.2.5."
        ) from exc


@cache
def player_body(video_id: str, client: str) -> Body:
    """The recorded player answer of an id."""
    capture = CAPTURES[video_id]
    data = read_asset(capture.asset)
    if capture.replaces_id is not None:
        data = data.replace(capture.replaces_id.encode(), video_id.encode())
    if video_id == "unplayableA" and client != "ANDROID":
        answer = json.loads(data)
        answer["playabilityStatus"].pop("errorScreen")
        data = dumps(answer)
    return Body(data, JSON)


@cache
def watch_body(asset: str) -> Body:
    """A recorded watch page."""
    return Body(read_asset(asset), HTML)


@cache
def timedtext_body() -> Body:
    """The recorded transcript."""
    return Body(read_asset("transcript.xml"), XML)
