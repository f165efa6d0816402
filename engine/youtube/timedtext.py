"""Reads a caption text as cues, in whichever format YouTube sends it.

Asked for srv1, YouTube nearly always sends one plain shape, for which one regular expression is enough. Everything
else is read by `formats`. youtube-transcript-api's parser is not used: it drops spoken text in angle brackets (see
`markup`), ends a cue at its first element, and can be made to take minutes.
"""

from __future__ import annotations

import re

from engine.model import Cue
from engine.youtube import formats
from engine.youtube.formats import MAX_CUES, too_many
from engine.youtube.markup import strip_markup

_HEAD = re.compile(r'(?:<\?xml version="1\.0" encoding="(?i:utf-8)" ?\?>)?[ \t\n]*+<transcript>[ \t\n]*+')
_CUE = re.compile(r'<text start="([0-9.]{1,40})"(?: dur="([0-9.]{1,40})")?>([^<]*+)</text>')
_END = "</transcript>"
_REFERENCES = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'", "&#39;": "'", "&amp;": "&"}  # & last
_CONTROLS = bytes(
    c for c in range(32) if c not in b"\t\n"
)  # not allowed in XML; a carriage return is, but XML parsers change it
_NO_XML = ("]]>", "\ufffe", "\uffff")


def parse(text: str) -> tuple[Cue, ...]:
    """The cues of a caption track: srv1, srv2, srv3, TTML, json3, WebVTT or SubRip.

    Raises UnreadableError, which says what it is instead, and FailureError (too_large) for more than 250,000 cues.
    """
    cues = plain(text)
    return formats.read(text) if cues is None else cues


def plain(text: str) -> tuple[Cue, ...] | None:
    """The cues of a text in the plain shape of srv1; None for any other text."""
    if text.count("<text ") > MAX_CUES:
        raise too_many()
    head, *fields = _CUE.split(text)
    if not fields or not _HEAD.fullmatch(head) or fields[-1].strip(" \t\n") != _END or not _is_plain(text):
        return None
    if "".join(fields[3:-1:4]).strip(" \t\n"):  # something stands between the cues
        return None
    cues = []
    try:
        for start, duration, words in zip(fields[0::4], fields[1::4], fields[2::4], strict=False):
            if words:  # an empty element is no cue; one that holds only tags is an empty cue
                spoken = strip_markup(_decoded(words)) if "&" in words else words
                cues.append(Cue(float(start), float(duration or "0.0"), spoken))
    except ValueError:  # not a number
        return None
    return tuple(cues)


def _decoded(words: str) -> str:
    """A text with its XML references resolved; HTML references inside it stay."""
    for reference, meant in _REFERENCES.items():
        words = words.replace(reference, meant)
    return words


def _is_plain(text: str) -> bool:
    """Whether XML allows all its characters, and all its references are known."""
    raw = text.encode("utf-8", "replace")
    if len(raw.translate(None, _CONTROLS)) != len(raw) or any(part in text for part in _NO_XML):
        return False
    return text.count("&") == sum(map(text.count, _REFERENCES))
