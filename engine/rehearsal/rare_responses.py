"""Rare answers of the site that parsers have got wrong before: live events, odd captions, huge texts."""

from __future__ import annotations

from functools import cache
from html import escape

from engine.rehearsal.compressed_bodies import JSON, TEXT, XML, Body, dumps
from engine.rehearsal.generated_videos import Video
from engine.rehearsal.player_responses import SMALL_PLAYER, details, track

MEGABYTE = 1 << 20
HUGE_BYTES = 31 * MEGABYTE  # just below the client's limit
STEPS = 1_000_000  # the length of texts that are made to be slow
CODE = "if i < 10 && j > 5: print('<b>')"
CHORUS = "Hallelujah"
LIVE: dict[str, dict[str, object]] = {
    "live": {"isLive": True, "isLiveContent": True, "lengthSeconds": "0"},
    "ended": {"isPostLiveDvr": True, "isLiveContent": True},
    "replay": {"isLiveContent": True},
}
OFFLINE: dict[str, object] = {
    "playabilityStatus": {
        "status": "LIVE_STREAM_OFFLINE",
        "reason": "This live stream recording is not available.",
    }
}
_HEAD = '<?xml version="1.0" encoding="utf-8" ?>'
_SRV3 = (
    f'{_HEAD}<timedtext format="3"><head><pen id="1" b="1"/><ws id="0"/></head><body>'
    '<w t="0" id="1"/><p t="500" d="1500" p="1"><s>one</s><s t="200"> two</s></p>'
    '<p t="2000" d="1000" a="1">\n</p><p t="2500">a &lt; b<br/>c</p></body></timedtext>'
)
_SRV2 = (
    f'{_HEAD}<timedtext><window t="0" id="1" op="define"/><text t="500" d="1500" w="1">one two</text>'
    '<text t="2500" append="1">a &lt; b</text></timedtext>'
)
_JSON3 = {
    "wireMagic": "pb3",
    "pens": [{}],
    "events": [
        {"tStartMs": 0, "dDurationMs": 9000, "id": 1, "wpWinPosId": 1},
        {"tStartMs": 500, "dDurationMs": 1500, "segs": [{"utf8": "one"}, {"utf8": " two", "tOffsetMs": 200}]},
        {"tStartMs": 2000, "dDurationMs": 1000, "aAppend": 1, "segs": [{"utf8": "\n"}]},
        {"tStartMs": 2500, "segs": [{"utf8": "a < b"}]},
    ],
}
_VTT = (
    "WEBVTT\nKind: captions\nLanguage: en\n\n00:00:00.500 --> 00:00:02.000 align:start position:0%\n"
    "one<00:00:01.000><c> two</c>\n\n00:00:02.500 --> 00:00:04.000\na &lt; b\n"
)
SHAPES = (
    Body(_SRV3.encode(), XML),
    Body(_SRV2.encode(), XML),
    Body(dumps(_JSON3), JSON),
    Body(_VTT.encode(), TEXT),
)


def player(fault: str, video: Video) -> dict[str, object] | None:
    """The player answer of a video with this fault; None for faults that are not rare answers."""
    changes = _changes(fault, video)
    if changes is None:
        return None
    shared = {key: value for key, value in SMALL_PLAYER.items() if key != "captions"}
    return {**shared, **changes}


def _changes(fault: str, video: Video) -> dict[str, object] | None:
    found: dict[str, object] = details(video)
    if fault in LIVE:
        found.update(LIVE[fault])
    if fault in ("live", "ended"):
        return {"videoDetails": found}
    if fault == "offline":
        return {**OFFLINE, "videoDetails": found}
    if fault == "wordy":
        return {"playabilityStatus": {"status": "UNPLAYABLE", "reason": "an account " * (HUGE_BYTES // 11)}}
    if fault == "no_tracks":
        tracks: list[dict[str, object]] = []
    elif fault in ("markup", "chorus", "replay", "shapes", "quadratic", "bulky"):
        tracks = [track(video.video_id, "en", generated=fault == "shapes")]
    elif fault == "old_codes":
        tracks = [track(video.video_id, "iw", generated=False)]
    else:
        return None
    return {"videoDetails": found, "captions": {"playerCaptionsTracklistRenderer": {"captionTracks": tracks}}}


def transcript(fault: str, video: Video) -> Body | None:
    """The transcript of a video with this fault; None for other faults."""
    if fault == "markup":
        return _srv1(
            (0, escape(escape(CODE, quote=False), quote=False)),
            (
                4,
                "it is &lt;i&gt;slanted&lt;/i&gt; and <b>bold</b> to <font color='red'>the <u>end</u></font>.",
            ),
        )
    if fault == "chorus":
        return _srv1(*((n * 2, CHORUS) for n in range(3)))
    if fault == "shapes":
        return SHAPES[video.view_count % len(SHAPES)]
    if fault == "quadratic":
        return _slow(video.view_count % 4)
    if fault == "bulky":
        return _bulky()
    return None


def _srv1(*cues: tuple[int, str]) -> Body:
    texts = "".join(f'<text start="{start}" dur="2">{text}</text>' for start, text in cues)
    return Body(f"{_HEAD}<transcript>{texts}</transcript>".encode(), XML)


@cache
def _slow(which: int) -> Body:
    """Texts that take a careless parser minutes, because it starts again at each character."""
    if which == 0:
        return _srv1((0, "&lt;" * STEPS))
    if which == 1:
        return _srv1((0, "-" * STEPS))
    if which == 2:
        return _srv1(*((n, "\n".join(["a"] * (STEPS // 2))) for n in range(2)))
    return _srv1((0, "<b/>" + "&lt;" * STEPS))  # the element makes the library parse it


@cache
def _bulky() -> Body:
    cue = '<text start="%d" dur="2">' + "water, sand and 雨 &amp;amp; patience " * 4 + "</text>"
    n = HUGE_BYTES // len(cue.encode())
    return Body(f"{_HEAD}<transcript>{''.join(cue % i for i in range(n))}</transcript>".encode(), XML)
