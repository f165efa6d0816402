"""Answers made to do harm: hostile titles and texts, XML bombs, redirects to other hosts."""

from __future__ import annotations

from dataclasses import replace
from html import escape

from engine.rehearsal.compressed_bodies import XML, Body
from engine.rehearsal.generated_videos import Video

ESCAPES = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x9b1m"
BIDI = "\u202egnp.exe\u2066\u2069\u200f"
TITLES = (
    ESCAPES + " title",
    "nul \x00 and \ud800 surrogate \udfff",
    BIDI,
    "long " * 2_000,
    '---\nadmin: true\n- "x": !!python/object/apply:os.system ["id"]\n...',
    "'\": {a: &b *b} # no\ttab\r\nnext: 1",
    "=cmd|' /C calc'!A0",
    "+1+1\n@SUM(1)\t-2",
    "../../../etc/passwd",
    "[x](javascript:1) <script>alert(1)</script> ](](",
)
TEXT = f"{ESCAPES}{BIDI} --> 00:00:00,000 </text> & <b onclick=1>bold</b> &#x1b;[2J\n---\nx: y"
# Each leads to loopback or a foreign host, however it is parsed.
FOREIGN_URLS = (
    "https://www.youtube.com@127.0.0.1/api/timedtext",
    "https://www.youtube.com.evil.test/api/timedtext",
    "http://127.0.0.1:9/api/timedtext",
    "https://www.youtube.com:8443/api/timedtext",
    "file:///etc/passwd",
    "//[::1]/api/timedtext",
)
_LEVELS = 12
_BOMB = (
    '<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY a0 "ha ha ha ha">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, _LEVELS))
    + f']><transcript><text start="0" dur="1">&a{_LEVELS - 1};</text></transcript>'
)
_OUTSIDE = (
    '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
    '<transcript><text start="0" dur="1">&e;</text></transcript>'
)
_DEEP = "<transcript>" + "<a>" * 200_000 + "</a>" * 200_000 + "</transcript>"
_BOMBS = tuple(Body(text.encode(), XML) for text in (_BOMB, _OUTSIDE, _DEEP))


def hostile(video: Video) -> Video:
    """The video with a hostile title, channel, keywords and description."""
    title = TITLES[video.view_count % len(TITLES)]
    return replace(video, title=title, channel=title, description=title * 2, keywords=(title, TEXT))


def transcript() -> bytes:
    """A transcript of hostile texts, without the characters that XML cannot hold."""
    shown = "".join(char for char in TEXT if char in "\n\t" or char >= " ")
    cue = f'<text start="%d" dur="1">{escape(escape(shown))}</text>'
    cues = "".join(cue % n for n in range(3))
    return f'<?xml version="1.0" encoding="utf-8" ?><transcript>{cues}</transcript>'.encode()


def bomb(video: Video) -> Body:
    """Entities that expand to terabytes, one that reads a file, or very deep nesting."""
    return _BOMBS[video.view_count % len(_BOMBS)]


def foreign_url(video: Video) -> str:
    """A URL that is not YouTube's."""
    return FOREIGN_URLS[video.view_count % len(FOREIGN_URLS)]
