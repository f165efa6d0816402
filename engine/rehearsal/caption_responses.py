"""Invented transcripts in the formats the site offers: srv1, srv3, json3, vtt."""

from __future__ import annotations

from html import escape

from engine.rehearsal.compressed_bodies import JSON, TEXT, XML, Body, dumps
from engine.rehearsal.generated_videos import VARIANTS, Video, last_cue, shared_cues


class TimedText:
    """Transcripts in the formats the site offers, prepared for each variant on first use."""

    def __init__(self) -> None:
        self._bodies: dict[tuple[str, int], Body] = {}

    def answer(self, video: Video, language: str, fmt: str) -> tuple[Body, bytes]:
        """The shared body and the end of one transcript. An unknown format gets srv1."""
        fmt = fmt if fmt in ("json3", "vtt", "srv3") else "srv1"
        key = (fmt, video.variant)
        body = self._bodies.get(key)
        if body is None:
            body = self._bodies[key] = _shared(fmt, video.variant)
        cue = last_cue(video.video_id, language)
        return body, _cue(fmt, cue.start, cue.duration, cue.text) + _ENDS[fmt]

    def prepare(self) -> None:
        """Prepare the most requested format, so that the first requests are not slower than the others."""
        for variant in range(VARIANTS):
            self._bodies[("srv1", variant)] = _shared("srv1", variant)


_STARTS = {
    "srv1": b'<?xml version="1.0" encoding="utf-8" ?><transcript>',
    "srv3": b'<?xml version="1.0" encoding="utf-8" ?><timedtext format="3"><body>',
    "json3": b'{"wireMagic":"pb3","events":[',
    "vtt": b"WEBVTT\nKind: captions\nLanguage: en\n\n",
}
_ENDS = {"srv1": b"</transcript>", "srv3": b"</body></timedtext>", "json3": b"]}", "vtt": b""}
_TYPES = {"srv1": XML, "srv3": XML, "json3": JSON, "vtt": TEXT}


def _shared(fmt: str, variant: int) -> Body:
    cues = [_cue(fmt, cue.start, cue.duration, cue.text) for cue in shared_cues(variant)]
    between = b"," if fmt == "json3" else b""
    return Body(_STARTS[fmt] + between.join(cues) + between, _TYPES[fmt])


def _cue(fmt: str, start_s: float, duration_s: float, text: str) -> bytes:
    if fmt == "json3":
        return dumps(
            {
                "tStartMs": round(start_s * 1000),
                "dDurationMs": round(duration_s * 1000),
                "segs": [{"utf8": text}],
            }
        )
    if fmt == "vtt":
        return (
            f"{_clock(start_s)} --> {_clock(start_s + duration_s)}\n{escape(text, quote=False)}\n\n".encode()
        )
    if fmt == "srv3":
        return f'<p t="{round(start_s * 1000)}" d="{round(duration_s * 1000)}">{escape(text)}</p>'.encode()
    # srv1 texts are HTML inside XML: escaped twice.
    return f'<text start="{start_s:g}" dur="{duration_s:g}">{escape(escape(text))}</text>'.encode()


def _clock(at_s: float) -> str:
    minutes, seconds = divmod(at_s, 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours:02}:{minutes:02}:{seconds:06.3f}"
