"""What lies behind the cells of a sheet: links, and whether there are formulas.

openpyxl keeps links only when it holds a whole workbook in memory, so they are read here, from the end of the
sheet's part of the file. Nothing is parsed that openpyxl has not been given the bounds of already.
"""

from __future__ import annotations

import html
import posixpath
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_LINKS = 200_000
MAX_LINKS_BYTES = 64 << 20
_CHUNK_BYTES = 1 << 20
_OVERLAP_BYTES = 64

_FORMULA = re.compile(rb"<(?:\w{1,20}:)?f[\s>]")
_LINKS = re.compile(rb"<(?:\w{1,20}:)?hyperlinks[\s>]")
_LINK = re.compile(r"<(?:\w{1,20}:)?hyperlink\s([^<>]*)>")
_RELATION = re.compile(r"<(?:\w{1,20}:)?Relationship\s([^<>]*)>")
_ATTRIBUTE = re.compile(r"([\w:]{1,40})\s{0,9}=\s{0,9}(?:\"([^\"]*)\"|'([^']*)')")
_RANGE = re.compile(r"\$?([A-Z]{1,3})\$?(\d{1,7})(?::\$?([A-Z]{1,3})\$?(\d{1,7}))?")


@dataclass(slots=True)
class Behind:
    """`links` by (row, column), both from 1; `has_formulas` of any cell."""

    links: dict[tuple[int, int], str] = field(default_factory=dict)
    has_formulas: bool = False


def look_behind(archive: zipfile.ZipFile, part: str) -> Behind:
    """What lies behind the cells of the sheet that is this part of a workbook."""
    found = Behind()
    tail = b""
    with archive.open(part) as stream:
        kept = b""
        while chunk := stream.read(_CHUNK_BYTES):
            if tail:
                tail += chunk[: MAX_LINKS_BYTES - len(tail)]
                continue
            text = kept + chunk
            found.has_formulas = found.has_formulas or _FORMULA.search(text) is not None
            if begun := _LINKS.search(text):
                tail = text[begun.start() :]
            kept = text[-_OVERLAP_BYTES:]
    if tail:
        targets = _targets(archive, part)
        for cell, target in _cells(tail.decode("utf-8", "replace"), targets):
            if len(found.links) >= MAX_LINKS:
                break
            found.links[cell] = target
    return found


def _targets(archive: zipfile.ZipFile, part: str) -> dict[str, str]:
    """The addresses that a sheet's links are, by the ids it has for them."""
    folder, name = posixpath.split(part)
    try:
        data = archive.read(posixpath.join(folder, "_rels", f"{name}.rels"))
    except KeyError:
        return {}
    relations = map(_attributes, _RELATION.findall(data.decode("utf-8", "replace")))
    return {its["Id"]: its["Target"] for its in relations if "Id" in its and "Target" in its}


def _cells(text: str, targets: dict[str, str]) -> Iterator[tuple[tuple[int, int], str]]:
    for link in map(_attributes, _LINK.findall(text)):
        target = targets.get(next((value for name, value in link.items() if name.endswith(":id")), ""))
        where = _RANGE.fullmatch(link.get("ref", ""))
        if target and where:
            rows = range(int(where[2]), int(where[4] or where[2]) + 1)
            columns = range(_number(where[1]), _number(where[3] or where[1]) + 1)
            yield from (((row, column), target) for row in rows for column in columns)


def _attributes(text: str) -> dict[str, str]:
    return {name: html.unescape(double or single) for name, double, single in _ATTRIBUTE.findall(text)}


def _number(letters: str) -> int:
    """The number of a column, from 1."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number
