"""Bodies that are compressed once and still differ from video to video.

A body is a large part that many answers share and a small end of its own. The shared part is deflated once and ends
on a byte boundary (a sync flush). There stored blocks may follow (RFC 1951, section 3.2.4), which hold the end. The
checksum continues from that of the shared part. So an answer costs only its end, and the client receives one
ordinary gzip member (RFC 1952).
"""

from __future__ import annotations

import json
import struct
import zlib

_GZIP_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_STORED_MAX_BYTES = 65535


class Body:
    """The shared part of many answers."""

    __slots__ = ("_crc", "_deflated", "_head", "content_type")

    def __init__(self, head: bytes, content_type: str) -> None:
        self._head = head
        self._crc = zlib.crc32(head)
        deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        self._deflated = deflate.compress(head) + deflate.flush(zlib.Z_SYNC_FLUSH)
        self.content_type = content_type

    def plain(self, end: bytes = b"") -> bytes:
        """The body uncompressed."""
        return self._head + end

    def gzipped(self, end: bytes = b"") -> bytes:
        """The body as one gzip member."""
        parts = [_GZIP_HEAD, self._deflated]
        at = 0
        while True:
            piece = end[at : at + _STORED_MAX_BYTES]
            at += len(piece)
            final = at >= len(end)
            parts.append(struct.pack("<BHH", final, len(piece), len(piece) ^ 0xFFFF) + piece)
            if final:
                break
        size = (len(self._head) + len(end)) & 0xFFFFFFFF
        parts.append(struct.pack("<II", zlib.crc32(end, self._crc), size))
        return b"".join(parts)


JSON = "application/json; charset=UTF-8"
HTML = "text/html; charset=utf-8"
XML = "text/xml; charset=UTF-8"
TEXT = "text/vtt; charset=UTF-8"


def dumps(value: object) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:  # a lone surrogate must be escaped
        return json.dumps(value, separators=(",", ":")).encode()


WATCH_PAGE = (
    b'<!DOCTYPE html><html lang="en"><head><title>YouTube</title><script>var ytcfg={d:function(){return {}},'
    b'set:function(){}};ytcfg.set({"INNERTUBE_API_KEY":"rehearsal-key_000000000000000000000000",'
    b'"INNERTUBE_API_VERSION":"v1","INNERTUBE_CONTEXT_CLIENT_NAME":1,"VISITOR_DATA":"rehearsal"});'
    b"</script></head><body><div id='player'></div>"
)

CAPTCHA_PAGE = (
    b"<!DOCTYPE html><html><head><title>YouTube</title></head><body><form action='/das_captcha'>"
    b'<div class="g-recaptcha" data-sitekey="rehearsal"></div></form></body></html>'
)

CONSENT_PAGE = (
    b'<!DOCTYPE html><html lang="en"><head><title>Before you continue to YouTube</title></head><body>'
    b'<form action="https://consent.youtube.com/s" method="POST">'
    b'<input type="hidden" name="v" value="cb.20250101-00-p0.en+FX+000"><button>Accept</button></form>'
    b"</body></html>"
)
