"""Which encoding a text is in, and its bytes as UTF-8 whatever it was.

A text is UTF-8 until a byte shows otherwise: that may be its first line or its ten-thousandth, so it is decided
there, from the lines around that byte. What does not fit the decision later becomes U+FFFD; the line stays.
"""

from __future__ import annotations

import codecs
import io
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

SAMPLE_BYTES = 32_768
"""How many bytes of lines that are not ASCII decide."""
LOOK_BYTES = 262_144
"""How many bytes are searched for such lines, where they lie in a file."""

_BOMS = (  # a UTF-32 one begins like a UTF-16 one
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WIDE = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
# What people's files are in. charset-normalizer knows more, and takes short texts for all of it.
_LATIN = ["cp1252", "cp1250", "cp1254", "cp1257", "cp1258", "mac_roman"]
_OTHERS = ["cp1251", "koi8_r", "cp1253", "cp1255", "cp1256", "cp874"]
_RARE = frozenset({"cp1257", "cp1258", "mac_roman"})
"""Taken only from so many telling bytes as a chance likeness does not come by."""
_ENOUGH_BYTES = 32
_EAST_ASIAN = ["gb18030", "big5", "cp932", "euc_jp", "cp949"]
_FALLBACK = "cp1252"
_NO_TEXT = frozenset({"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined"})


def checked(name: str) -> str:
    """The encoding of this name, as Python writes it. UsageError when there is none."""
    try:
        found = codecs.lookup(name)
        if not getattr(found, "_is_text_encoding", True) or found.name.replace("-", "_") in _NO_TEXT:
            raise LookupError
        found.incrementaldecoder("replace").decode(b"")
    except (LookupError, ValueError, TypeError):  # a NUL in the name; a codec that is no decoder
        raise UsageError(
            f"--encoding {name!a}: no such encoding. Common ones: utf-8, cp1252 (Windows, western), utf-16, "
            "gb18030 (Chinese), shift_jis (Japanese), cp1251 (Cyrillic)."
        ) from None
    return "utf-8-sig" if found.name == "utf-8" else found.name


def of_wide(head: bytes) -> str | None:
    """UTF-16 or UTF-32 by a byte-order mark or by where the zeros lie; None when it is neither."""
    for mark, name in _BOMS:
        if head.startswith(mark) and (name == "utf-16" or _text_share(head, name)):
            return name
    if b"\0" in head:
        shares = {name: _text_share(head, name) for name in _WIDE}
        best = max(shares, key=shares.__getitem__)
        return best if shares[best] > 0.2 else None
    return None


def for_head(encoding: str | None, head: bytes) -> str | None:
    """The encoding to begin with: the one that was asked for, else a wide one by the beginning, else None."""
    if encoding not in (None, "utf-16", "utf-32") or (
        encoding and head.startswith(tuple(mark for mark, _ in _BOMS))
    ):
        return encoding
    wide = of_wide(head)
    if encoding is None or (wide and wide.startswith(encoding)):
        return wide
    return f"{encoding}-le"  # as Windows writes it


def told(file: str, encoding: str) -> str:
    """The sentence about an encoding that was found out."""
    return f"{file}: read as {encoding}; --encoding NAME says otherwise"


def guessed(data: bytes) -> str:
    """The encoding of a text that is not UTF-8, by charset-normalizer; of those as likely, the commonest."""
    import charset_normalizer

    sample = _telling_lines(data)
    narrow = [name for name in _candidates(sample) if name not in _far_fetched(sample)]
    found = charset_normalizer.from_bytes(sample, cp_isolation=narrow, enable_fallback=False)
    best = found.best()
    if best is None:
        return _FALLBACK
    likely = {
        name: match
        for match in reversed(list(found))
        if match.chaos <= best.chaos + 0.05 and match.coherence >= best.coherence - 0.06
        for name in (*match.could_be_from_charset, match.encoding)
    }
    east_asian = [name for name in _EAST_ASIAN if _decodes(sample, name)] if not _is_latin(sample) else []
    if east_asian and best.encoding in _EAST_ASIAN:
        named = max(east_asian, key=lambda name: _typical_share(sample, name))
        if _typical_share(sample, named) > 0.6:
            return named
    return next((name for name in narrow if name in likely), best.encoding)


def _candidates(sample: bytes) -> list[str]:
    return _LATIN if _is_latin(sample) else _OTHERS + _EAST_ASIAN + _LATIN


def _far_fetched(sample: bytes) -> frozenset[str]:
    """The encodings that this text would be taken for by chance: what reads as cp1252 is no old Mac's, and a few
    accents are no ground for a rare one."""
    if not _decodes(sample, _FALLBACK):
        return frozenset()
    few = sum(byte > 127 for byte in sample) < _ENOUGH_BYTES
    return _RARE if few else frozenset({"mac_roman"})


class Recoded(io.RawIOBase):
    """A stream of bytes as UTF-8. `head` is how it begins, after a `look`.

    `encoding` None: found out; `on_note` is told what was found, in a sentence. `eager`: more may be read for a
    look without waiting for somebody to write it.
    """

    def __init__(
        self,
        file: str,
        stream: io.RawIOBase,
        encoding: str | None,
        on_note: Callable[[str], None] | None,
        *,
        eager: bool,
    ) -> None:
        self.head = b""
        self._file = file
        self._stream = stream
        self._on_note = on_note
        self._eager = eager
        self._decoder = codecs.getincrementaldecoder(encoding)("replace") if encoding else None
        self._utf8_chars = 0  # of more than one byte, so far
        self._rest = b""  # the beginning of a character whose end is not here yet
        self._ended = False

    def look(self, max_bytes: int) -> None:
        """Convert the beginning."""
        while not self.head and not self._ended:
            self.head = self._more(max_bytes)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        while not self.head and not self._ended:
            self.head = self._more(max(len(view), 4096))
        data, self.head = self.head[: len(view)], self.head[len(view) :]
        view[: len(data)] = data
        return len(data)

    def _more(self, max_bytes: int) -> bytes:
        data = self._stream.read(max_bytes) or b""
        self._ended = not data
        if self._decoder is None:
            data = self._rest + data
            self._rest = b""
            if data.isascii():
                return data
            try:
                text, length = codecs.utf_8_decode(data, "strict", self._ended)
            except UnicodeDecodeError:
                return self._decided(data)
            self._utf8_chars += length - len(text)
            data, self._rest = data[:length], data[length:]
            return data
        return self._decoder.decode(data, self._ended).encode("utf-8", "replace")

    def _decided(self, data: bytes) -> bytes:
        """A byte is not UTF-8: decide what all from here on is."""
        while self._eager and not self._ended and len(data) < LOOK_BYTES:
            more = self._stream.read(LOOK_BYTES - len(data)) or b""
            self._ended = not more
            data += more
        text = data.decode("utf-8", "replace")
        bad = text.count("\ufffd")
        good = (
            self._utf8_chars + sum(map(str.isalpha, text)) - sum(map(str.isalpha, filter(str.isascii, text)))
        )
        if good > bad:
            name = "utf-8"
            self._note(
                f"{self._file}: some bytes are not UTF-8 and were replaced; --encoding NAME reads it otherwise"
            )
        else:
            name = guessed(data)
            self._note(told(self._file, name))
        self._decoder = codecs.getincrementaldecoder(name)("replace")
        return self._decoder.decode(data, self._ended).encode("utf-8", "replace")

    def _note(self, sentence: str) -> None:
        if self._on_note:
            self._on_note(sentence)


def _text_share(head: bytes, name: str) -> float:
    """How much of a beginning is ASCII in this encoding; 0 when it is no text in it."""
    try:
        text = codecs.getincrementaldecoder(name)().decode(head)
    except ValueError:
        return 0.0
    unseen = sum(not (char.isprintable() or char in "\t\r\n\f\ufeff\u2028\u00ad\u200b") for char in text)
    return sum(map(str.isascii, text)) / len(text) if text and unseen <= len(text) // 100 else 0.0


def _telling_lines(data: bytes) -> bytes:
    """The lines that are not ASCII, up to a bound."""
    lines: list[bytes] = []
    size = 0
    for line in data.splitlines(keepends=True):
        if not line.isascii():
            lines.append(line[:SAMPLE_BYTES])
            size += len(lines[-1])
            if size >= SAMPLE_BYTES:
                break
    return b"".join(lines)


def _is_latin(sample: bytes) -> bool:
    """Whether bytes beyond ASCII mostly stand alone among letters, as accents do."""
    high = sum(byte > 127 for byte in sample)
    pairs = sum(before > 127 and after > 127 for before, after in itertools.pairwise(sample))
    kana = sample.count(0x82) + sample.count(0x83)  # their first byte in Shift-JIS; rare signs in cp1252
    return 3 * pairs < high and 4 * kana < high


def _decodes(sample: bytes, name: str) -> bool:
    try:
        codecs.getincrementaldecoder(name)().decode(sample)
    except ValueError:
        return False
    return True


def _typical_share(sample: bytes, name: str) -> float:
    """How much of a text that is not ASCII is of the common characters of the language of this encoding."""
    text = [char for char in sample.decode(name, "replace") if not char.isascii()]
    return sum(map(_TYPICAL[name], text)) / len(text) if text else 0.0


def _is_kana(char: str) -> bool:
    return "\u3041" <= char <= "\u30ff"


def _is_japanese(char: str) -> float:
    return 1.0 if _is_kana(char) else 0.75 * (_lead(char, "shift_jis") in range(0x81, 0x98))


def _lead(char: str, name: str) -> int:
    """The first of a character's two bytes; 0 when it has none."""
    data = char.encode(name, "ignore")
    return data[0] if len(data) == 2 else 0


# The commoner characters come first in each of these character sets.
_TYPICAL: dict[str, Callable[[str], float]] = {
    "gb18030": lambda char: _lead(char, "gb2312") in (*range(0xA1, 0xA4), *range(0xB0, 0xD8)),
    "big5": lambda char: _lead(char, "big5") in range(0xA1, 0xC7),
    "cp949": lambda char: 1.1 * ("\uac00" <= char <= "\ud7a3"),
    "cp932": lambda char: 1.1 * _is_japanese(char),
    "euc_jp": lambda char: 1.1 * _is_japanese(char),
}
