"""The text of a caption track, read as youtube-transcript-api reads it, at a third of the cost.

The library builds a tree, guarded against what XML may hide, and looks at each element. But YouTube writes its
captions in one plain shape, and for that one expression is enough. Whatever differs from it in any way, were it by
one character, is left to the library.
"""

from __future__ import annotations

import re
from html import unescape

from engine.model import Cue

_HEAD = re.compile(r'(?:<\?xml version="1\.0" encoding="(?i:utf-8)" ?\?>)?[ \t\n]*<transcript>[ \t\n]*')
_CUE = re.compile(r'<text start="([0-9.]+)"(?: dur="([0-9.]+)")?>([^<]*)</text>')
_END = "</transcript>"
_TAG = re.compile("<[^>]*>")
_REFERENCES = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'", "&#39;": "'", "&amp;": "&"}  # & last
_CONTROLS = bytes(c for c in range(32) if c not in b"\t\n")  # no XML; a carriage return is one, but changes
_NO_XML = ("]]>", "\ufffe", "\uffff")


def parse(text: str) -> tuple[Cue, ...] | None:
    """The cues of a track in the format srv1; None where it is for the library to say what they are.

    Its texts are HTML inside XML, so references are resolved twice; tags are dropped, as the library does by
    default.
    """
    head, *fields = _CUE.split(text)
    if not fields or not _HEAD.fullmatch(head) or fields[-1].strip(" \t\n") != _END or not _is_plain(text):
        return None
    if "".join(fields[3:-1:4]).strip(" \t\n"):  # between the cues
        return None
    cues = []
    try:
        for start, duration, said in zip(fields[0::4], fields[1::4], fields[2::4], strict=False):
            if said:  # an empty element has no text; one of tags alone has an empty one
                heard = _resolved(said) if "&" in said else said
                cues.append(Cue(float(start), float(duration or "0.0"), heard))
    except ValueError:  # no number
        return None
    return tuple(cues)


def _resolved(said: str) -> str:
    """A text without the references of XML, then without those of HTML and its tags."""
    for reference, meant in _REFERENCES.items():
        said = said.replace(reference, meant)
    return _TAG.sub("", unescape(said))


def _is_plain(text: str) -> bool:
    """Whether all characters may be in XML, and all references are among the known ones."""
    raw = text.encode("utf-8", "replace")
    if len(raw.translate(None, _CONTROLS)) != len(raw) or any(its in text for its in _NO_XML):
        return False
    return text.count("&") == sum(map(text.count, _REFERENCES))
