"""Names of text files, from a template and a row: readable, and safe on every file system.

    {channel:.60}/{published:%Y} {title:.80} [{id}]

Fields are columns of the table. `.80` cuts to so many characters, `%…` writes a date as `strftime` does. A slash in
the template begins a directory. The id is always in the name. No name is longer than MAX_BYTES, is one that Windows
reserves, or holds what some file system does not take. Where two ids differ only in upper and lower case, each name
says in addition which letters are upper case, so that the files are two wherever they are copied to.
"""

from __future__ import annotations

import datetime
import hashlib
import re
import string
import unicodedata
from collections.abc import Mapping
from typing import Any

from engine.errors import UsageError
from engine.export.columns import OURS
from engine.output.plain_text import one_line
from engine.output.terminal import printable

MAX_BYTES = 200  # of one name; file systems take 255, encrypting ones 143 of ours and theirs together less
UNKNOWN = "unknown"  # in place of what a row does not say

_BRACKET = " ["
_ID_MARK = "\ue000"  # where the id goes, until the rest is safe
_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f\ue000-\uf8ff]')
_RESERVED = re.compile(
    r"(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)(?:\..*)?", re.IGNORECASE
)
_CUT = re.compile(r"\.([0-9]{1,4})")
_NUMBER_FORMAT = re.compile(r"0?[0-9]{0,2}[d,]?")


class NameTemplate:
    """A template, checked. `types` are the columns and their types, see `engine.export.columns`.

    Raises UsageError for a field that is no column, and for a format that its values cannot have.
    """

    def __init__(self, template: str, types: Mapping[str, str], *, flat: bool = False) -> None:
        known = types.keys() - {"text", "segments", "paths"}
        try:
            parts = list(string.Formatter().parse(template))
        except ValueError as exc:
            raise UsageError(f"--name {template}: {exc}") from None
        self._parts: list[tuple[str, str | None, str]] = []
        for literal, field, spec, conversion in parts:
            if field in known and conversion:
                raise UsageError(f"--name {template}: write {{{field}}} without !{conversion}")
            if field is not None and (field not in known or "{" in (spec or "")):
                raise UsageError(
                    f"--name {template}: there is no {field!a}. A name may hold: {', '.join(sorted(known))}"
                )
            self._parts.append((literal, field, spec or ""))
            if spec and "%" not in spec and not _CUT.fullmatch(spec) and not _NUMBER_FORMAT.fullmatch(spec):
                raise UsageError(
                    f"--name {template}: no format {spec!a}: .80 cuts, %Y-%m-%d is a date, 05d a number"
                )
            if spec and field is not None and not _fits(spec, field, types[field]):
                what = "date" if "%" in spec else "number"
                raise UsageError(f"--name {template}: {{{field}:{spec}}}: {field!a} holds no {what}")
        self._flat = flat
        self.fields = {field for _, field, _ in self._parts if field is not None}

    def path(self, row: Mapping[str, Any], suffix: str, twins: frozenset[int] = frozenset()) -> str:
        """The relative path of a row's file, with `/` between directories.

        `twins` are the `folded` ids that come in more than one case of letters.
        """
        text = "".join(literal + self._value(field, spec, row) for literal, field, spec in self._parts)
        parts = [part for part in text.split("/") if part.strip()] or [""]
        if self._flat:
            parts = parts[-1:]
        if not any(_ID_MARK in part for part in parts):
            parts[-1] = f"{parts[-1]} [{_ID_MARK}]"
        video_id = row["id"]
        shown = f"{video_id}~{_case(video_id)}" if folded(video_id) in twins else video_id
        *directories, name = parts
        made = [_safe(part, shown, MAX_BYTES) for part in directories]
        return "/".join([*made, f"{_safe(name, shown, MAX_BYTES - len(suffix) - 1)}.{suffix}"])

    def _value(self, field: str | None, spec: str, row: Mapping[str, Any]) -> str:
        if field is None:
            return ""
        if field == "id":
            return _ID_MARK
        value = row.get(field)
        if value is None or value == "":
            return UNKNOWN
        if "%" in spec:
            return _date(value, spec)
        if (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and spec
            and not spec.startswith(".")
        ):
            try:
                return format(value, spec)
            except ValueError:
                return str(value)
        text = one_line(value if isinstance(value, str) else str(value))
        cut = _CUT.fullmatch(spec)
        return (text[: int(cut[1])] if cut else text).replace("/", "_").replace(_ID_MARK, "_")


def _fits(spec: str, field: str, kind: str) -> bool:
    """Whether a column of this type can have values for this format. A user's text may be a date."""
    if "%" in spec:
        return kind == "time" or (kind == "text" and (field == "published" or field not in OURS))
    return spec.startswith(".") or kind in ("int", "bigint", "float")


def folded(video_id: str) -> int:
    """A number that ids have in common which differ in case alone (and, once in many billions, others)."""
    return int.from_bytes(hashlib.blake2b(video_id.casefold().encode(), digest_size=8).digest(), "little")


def _case(video_id: str) -> str:
    """Which letters are upper case, in hex."""
    return f"{sum(1 << at for at, letter in enumerate(video_id) if letter.isupper()):x}"


def _date(value: object, spec: str) -> str:
    try:
        return datetime.datetime.fromisoformat(str(value)).strftime(spec).replace("/", "_")
    except ValueError:
        return UNKNOWN


def _safe(part: str, video_id: str, max_bytes: int) -> str:
    """One name: unsafe characters replaced, the text around the id cut to the bytes that are left."""
    before, mark, after = part.partition(_ID_MARK)
    before, after = (
        _UNSAFE.sub("_", printable(unicodedata.normalize("NFC", text))) for text in (before, after)
    )
    # The bracket belongs to the id: a long title is cut before it.
    bracket = _BRACKET if mark and before.endswith(_BRACKET) else ""
    before = before.removesuffix(bracket)
    room = max_bytes - (len(f"{bracket}{video_id}".encode()) if mark else 0)
    after = _cut_bytes(after, room // 2)
    before = _cut_bytes(before, room - len(after.encode()))
    name = f"{f'{before}{bracket}'.lstrip(' .')}{video_id if mark else ''}{after}".rstrip(" .")
    if not name or _RESERVED.fullmatch(name):
        name = f"_{name}"
    return name


def _cut_bytes(text: str, max_bytes: int) -> str:
    """The beginning of a text, no more than so many bytes, without half a character or a lone combining mark."""
    data = text.encode()
    if len(data) <= max_bytes:
        return text
    cut = data[: max(max_bytes, 0)].decode("utf-8", "ignore")
    while cut and unicodedata.combining(text[len(cut) : len(cut) + 1] or " "):
        cut = cut[:-1]
    return cut
