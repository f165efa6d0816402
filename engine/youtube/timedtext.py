"""The text of a caption track as cues, in whichever of its formats YouTube sends it.

Asked for srv1, YouTube writes captions in one plain shape, and for that one expression is enough. Whatever differs
from it is read by `formats`, by its own rules. Nothing is left to youtube-transcript-api, whose reader loses what
was said in angle brackets (see `markup`), ends a cue at its first element, and takes minutes for texts made for that.
"""

from __future__ import annotations

import re

from engine.model import Cue
from engine.youtube import formats
from engine.youtube.formats import MAX_CUES, too_many
from engine.youtube.markup import said

_HEAD = re.compile(r'(?:<\?xml version="1\.0" encoding="(?i:utf-8)" ?\?>)?[ \t\n]*+<transcript>[ \t\n]*+')
_CUE = re.compile(r'<text start="([0-9.]{1,40})"(?: dur="([0-9.]{1,40})")?>([^<]*+)</text>')
_END = "</transcript>"
_REFERENCES = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'", "&#39;": "'", "&amp;": "&"}  # & last
_CONTROLS = bytes(c for c in range(32) if c not in b"\t\n")  # no XML; a carriage return is one, but changes
_NO_XML = ("]]>", "\ufffe", "\uffff")


def parse(text: str) -> tuple[Cue, ...]:
    """The cues of a caption track: srv1, srv2, srv3, TTML, json3, WebVTT or SubRip.

    Raises UnreadableError, which says what else it is, and FailureError (too_large) for more than 250,000 cues.
    """
    cues = plain(text)
    return formats.read(text) if cues is None else cues


def plain(text: str) -> tuple[Cue, ...] | None:
    """The cues of a track in the plain shape of srv1; None where it is anything else."""
    if text.count("<text ") > MAX_CUES:
        raise too_many()
    head, *fields = _CUE.split(text)
    if not fields or not _HEAD.fullmatch(head) or fields[-1].strip(" \t\n") != _END or not _is_plain(text):
        return None
    if "".join(fields[3:-1:4]).strip(" \t\n"):  # between the cues
        return None
    cues = []
    try:
        for start, duration, words in zip(fields[0::4], fields[1::4], fields[2::4], strict=False):
            if words:  # an empty element has no text; one of tags alone has an empty one
                heard = said(_decoded(words)) if "&" in words else words
                cues.append(Cue(float(start), float(duration or "0.0"), heard))
    except ValueError:  # no number
        return None
    return tuple(cues)


def _decoded(words: str) -> str:
    """A text without the references of XML; those of HTML inside it stay."""
    for reference, meant in _REFERENCES.items():
        words = words.replace(reference, meant)
    return words


def _is_plain(text: str) -> bool:
    """Whether all characters may be in XML, and all references are among the known ones."""
    raw = text.encode("utf-8", "replace")
    if len(raw.translate(None, _CONTROLS)) != len(raw) or any(part in text for part in _NO_XML):
        return False
    return text.count("&") == sum(map(text.count, _REFERENCES))
