"""The engine's messages in the words of the page: its fields in place of options of the command line."""

from __future__ import annotations

import re

_FIELDS = {
    "rate": "Rate",
    "languages": "Languages",
    "format": "Formats",
    "output": "Folder",
    "encoding": "Encoding",
}
_OPTION = re.compile(r"^--([a-z-]+):?(?= )")
_READ_AS = re.compile(r"read as (\S+); --encoding NAME says otherwise$")

# Encodings to choose from, commonest first: what the engine calls them, and what people do.
ENCODINGS = {
    "utf-8": "UTF-8",
    "cp1252": "Windows-1252 (western Europe)",
    "cp1250": "Windows-1250 (central Europe)",
    "cp1251": "Windows-1251 (Cyrillic)",
    "koi8-r": "KOI8-R (Cyrillic)",
    "cp1253": "Windows-1253 (Greek)",
    "cp1254": "Windows-1254 (Turkish)",
    "cp1255": "Windows-1255 (Hebrew)",
    "cp1256": "Windows-1256 (Arabic)",
    "cp1257": "Windows-1257 (Baltic)",
    "cp1258": "Windows-1258 (Vietnamese)",
    "mac-roman": "Mac Roman",
    "gb18030": "GB 18030 (Chinese)",
    "big5": "Big5 (Chinese)",
    "shift_jis": "Shift JIS (Japanese)",
    "euc_jp": "EUC-JP (Japanese)",
    "cp949": "Windows-949 (Korean)",
    "utf-16": "UTF-16",
}
_LABELS = {re.sub(r"[^a-z0-9]", "", name): label.partition(" (")[0] for name, label in ENCODINGS.items()}
_LABELS["cp932"] = "Shift JIS"


def by_field(line: str) -> str:
    """A message that begins with an option, beginning with the field of the page instead: `Rate: …`."""
    named = _OPTION.sub(lambda found: f"{_FIELDS[found[1]]}:" if found[1] in _FIELDS else found[0], line)
    return named.replace("give another place with -o", "give another folder")


def encoding_words(note: str) -> str:
    """A sentence on the encoding of an input, without the option that a command has for it."""
    asked = "letters such as ä ö ü wrong? Choose another encoding"
    note = _READ_AS.sub(lambda found: f"read as {_label(found[1])}; {asked}", note)
    return note.replace("--encoding NAME reads it otherwise", asked)


def _label(encoding: str) -> str:
    return _LABELS.get(re.sub(r"[^a-z0-9]", "", encoding.lower()), encoding)
