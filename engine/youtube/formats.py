"""Reads caption texts in all of YouTube's formats: XML (srv1, srv2, srv3, TTML), json3, WebVTT, SubRip.

Each is read in one pass, in linear time and memory, and has at most `MAX_CUES` cues.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from xml.parsers import expat

from engine.model import Cue, Failure, Kind
from engine.network.answer import FailureError
from engine.youtube.classify import UnreadableError
from engine.youtube.markup import strip_markup

MAX_CUES = 250_000  # twelve hours with a cue for each word
_MAX_NUMBER_CHARS = 40
_CLOCK = re.compile(r"(?:(\d{1,6}):)?(\d{1,2}):(\d{1,2}(?:[.,]\d{1,9})?)|(\d{1,9}(?:\.\d{1,9})?)s")
_EMPTY_LINES = re.compile(r"\n\n++")  # not lines of one space, which generated captions contain
_TIMES = re.compile(r"\s*+([\d:.,]{1,30})[ \t]++-->[ \t]++([\d:.,]{1,30})(?:[ \t]|$)")
_PRINTED = re.compile(r"\S")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,20}")


def too_many() -> FailureError:
    return FailureError(Failure(Kind.TOO_LARGE, f"the transcript has more than {MAX_CUES:,} captions"))


def read(text: str) -> tuple[Cue, ...]:
    """The cues of a text. Raises UnreadableError, which says what it is instead, and FailureError (too_large)."""
    text = text.removeprefix("\ufeff")
    found = _PRINTED.search(text)
    start = text[found.start() : found.start() + 200] if found else ""
    if start.startswith("<"):
        return _Xml(text).cues
    if start.startswith("{"):
        return _json3(text)
    if start.startswith("WEBVTT"):
        return tuple(_blocks(text, vtt=True))
    if start[:1].isdigit() and "-->" in start:
        return tuple(_blocks(text, vtt=False))
    raise UnreadableError("is empty" if not start else "holds no captions in any known format")


class _Xml:
    """The `cues` of a document: its `text` and `p` elements. All text inside them belongs to them."""

    def __init__(self, text: str) -> None:
        self._cues: list[Cue] = []
        self._depth = 0
        self._cue_depth = 0  # depth of the element being read; 0: none
        self._attributes: dict[str, str] = {}  # of the element being read
        self._parts: list[str] = []
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._data
        try:
            parser.Parse(text.encode("utf-8", "replace").decode("utf-8"), True)
        except expat.ExpatError:
            raise UnreadableError("is malformed or was cut short") from None

    @property
    def cues(self) -> tuple[Cue, ...]:
        return tuple(self._cues)

    def _doctype(self, *_: Any) -> None:
        # Captions have no doctype. It could declare entities that expand to terabytes or read files.
        raise UnreadableError("is a web page, or declares entities")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        name = tag.rpartition(":")[2].lower()
        if self._depth == 1 and name not in ("transcript", "timedtext", "tt"):
            shown = name if _NAME.fullmatch(name) else "?"
            raise UnreadableError(
                "is a web page" if name == "html" else f"is XML of another kind (<{shown}>)"
            )
        if self._cue_depth:
            if name == "br":
                self._parts.append("\n")
        elif name in ("text", "p"):
            self._cue_depth = self._depth
            self._attributes = attributes

    def _data(self, data: str) -> None:
        if self._cue_depth:
            self._parts.append(data)

    def _end(self, tag: str) -> None:
        if self._depth == self._cue_depth:
            words, self._parts, self._cue_depth = "".join(self._parts), [], 0
            if "start" in self._attributes:  # srv1: texts are HTML inside XML
                keep, spoken = bool(words), strip_markup(words)
            else:
                keep, spoken = bool(words.strip()), words
            if keep:
                if len(self._cues) >= MAX_CUES:
                    raise too_many()
                self._cues.append(Cue(*_times(self._attributes), spoken))
        self._depth -= 1


def _times(attributes: Mapping[str, str]) -> tuple[float, float]:
    """Start and duration in seconds from attributes of srv1 (s), srv2 and srv3 (ms), or TTML (clock times)."""
    if "start" in attributes:
        return _number(attributes["start"]), _number(attributes.get("dur", "0"))
    if "t" in attributes:
        return _number(attributes["t"]) / 1000, _number(attributes.get("d", "0")) / 1000
    if "begin" in attributes:
        start = _clock(attributes["begin"])
        end = _clock(attributes["end"]) if "end" in attributes else start
        return start, max(0.0, end - start)
    raise UnreadableError("holds a caption without a time")


def _json3(text: str) -> tuple[Cue, ...]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise UnreadableError("is malformed or was cut short") from None
    events = document.get("events", []) if isinstance(document, dict) else None
    if not isinstance(events, list):
        raise UnreadableError("is JSON of another kind")
    cues: list[Cue] = []
    for event in events:
        segments = event.get("segs") if isinstance(event, dict) else None
        if not isinstance(segments, list):
            continue  # a window or a pen
        words = "".join(_text(part) for part in segments)
        if words.strip():
            if len(cues) >= MAX_CUES:
                raise too_many()
            cues.append(Cue(_ms(event.get("tStartMs", 0)), _ms(event.get("dDurationMs", 0)), words))
    return tuple(cues)


def _text(segment: Any) -> str:
    found = segment.get("utf8") if isinstance(segment, dict) else None
    return found if isinstance(found, str) else ""


def _ms(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise UnreadableError("holds a time that is no number")
    return _number(str(value)) / 1000


def _blocks(text: str, *, vtt: bool) -> Iterator[Cue]:
    """The cues of WebVTT, or of SubRip, which has no references."""
    count = 0
    for block in _EMPTY_LINES.split(text.replace("\r\n", "\n").replace("\r", "\n")):
        lines = block.strip("\n").split("\n", 2)
        at = next((n for n in (0, 1) if n < len(lines) and "-->" in lines[n][:200]), None)
        times = _TIMES.match(lines[at]) if at is not None else None
        if times is None or at is None:
            continue  # the header, a note or a style
        words = "\n".join(lines[at + 1 :])
        if vtt:
            words = strip_markup(words, timed=True)
        if words.strip():
            count += 1
            if count > MAX_CUES:
                raise too_many()
            start = _clock(times[1])
            yield Cue(start, max(0.0, _clock(times[2]) - start), words)


def _clock(text: str) -> float:
    """Seconds of `00:01:02.5`, `01:02,5` or `62.5s`."""
    found = _CLOCK.fullmatch(text[:_MAX_NUMBER_CHARS])
    if found is None:
        raise UnreadableError("holds a time that is no number")
    if found[4] is not None:
        return float(found[4])
    return int(found[1] or 0) * 3600 + int(found[2]) * 60 + float(found[3].replace(",", "."))


def _number(text: str) -> float:
    try:
        return float(text if len(text) <= _MAX_NUMBER_CHARS else "long")
    except ValueError:
        raise UnreadableError("holds a time that is no number") from None
