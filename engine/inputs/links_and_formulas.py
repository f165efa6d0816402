"""What an .xlsx holds behind the text of its cells: links, and formulas.

python-calamine gives texts and results only. The rest is found here, by patterns, in one pass over the sheet's XML,
whose size the caller has checked.
"""

from __future__ import annotations

import html
import posixpath
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_LINKS = 200_000
MAX_FORMULAS = 200_000
MAX_LINKS_BYTES = 64 << 20
_CHUNK_BYTES = 1 << 20
_OVERLAP_BYTES = 64 << 10  # more than a formula takes: Excel allows 8,192 characters
_BOOK = "xl/workbook.xml"

_FORMULA = re.compile(rb"<(?:\w{1,20}:)?f[\s>/]")
_CELL = re.compile(
    rb"<(?:\w{1,20}:)?c\s([^<>]*)>\s{0,9}<(?:\w{1,20}:)?f(?:\s[^<>]*)?(?:/>|>([^<]*)</(?:\w{1,20}:)?f>)"
    rb"\s{0,9}(<(?:\w{1,20}:)?v>[^<])?"
)
_LINKS = re.compile(rb"<(?:\w{1,20}:)?hyperlinks[\s>]")
_LINK = re.compile(r"<(?:\w{1,20}:)?hyperlink\s([^<>]*)>")
_SHEET = re.compile(r"<(?:\w{1,20}:)?sheet\s([^<>]*)>")
_RELATION = re.compile(r"<(?:\w{1,20}:)?Relationship\s([^<>]*)>")
_ATTRIBUTE = re.compile(r"([\w:]{1,40})\s{0,9}=\s{0,9}(?:\"([^\"]*)\"|'([^']*)')")
_RANGE = re.compile(r"\$?([A-Z]{1,3})\$?(\d{1,7})(?::\$?([A-Z]{1,3})\$?(\d{1,7}))?")

Cell = tuple[int, int]
"""(row, column), both from 1."""


@dataclass(slots=True)
class LinksAndFormulas:
    """By cell: links, and of the formulas those that have no stored result or name an address of YouTube."""

    links: dict[Cell, str] = field(default_factory=dict)
    formulas: dict[Cell, str] = field(default_factory=dict)


def links_and_formulas(archive: zipfile.ZipFile, sheet: str) -> LinksAndFormulas:
    """The links and formulas of the sheet of this name; none in workbooks of other formats than .xlsx."""
    if _BOOK not in archive.namelist():
        return LinksAndFormulas()
    targets = _targets(archive, _BOOK)
    for found in map(_attributes, _SHEET.findall(archive.read(_BOOK).decode("utf-8", "replace"))):
        part = _part(targets.get(_relation_id(found), ""))
        if found.get("name") == sheet and part in archive.namelist():
            return read_part(archive, part)
    return LinksAndFormulas()


def read_part(archive: zipfile.ZipFile, part: str) -> LinksAndFormulas:
    """The same, by the name that the sheet's XML has in the archive."""
    found = LinksAndFormulas()
    tail = kept = b""
    with archive.open(part) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            if tail:
                tail += chunk[: MAX_LINKS_BYTES - len(tail)]
                continue
            text = kept + chunk
            if _FORMULA.search(text):
                _add_formulas(text, found.formulas)
            if begun := _LINKS.search(text):
                tail = text[begun.start() :]
            kept = text[-_OVERLAP_BYTES:]
    if tail:
        for cell, target in _linked_cells(tail.decode("utf-8", "replace"), _targets(archive, part)):
            if len(found.links) >= MAX_LINKS:
                break
            found.links[cell] = target
    return found


def _add_formulas(text: bytes, formulas: dict[Cell, str]) -> None:
    """Note the formulas in a piece of XML. The last one may lack its result here and be met again with it."""
    for attributes, formula, result in _CELL.findall(text):
        where = _RANGE.fullmatch(_attributes(attributes.decode("utf-8", "replace")).get("r", ""))
        if where is None:
            continue
        cell = int(where[2]), _column(where[1])
        if result and b"youtu" not in formula.lower():
            formulas.pop(cell, None)
        elif len(formulas) < MAX_FORMULAS:
            formulas[cell] = f"={html.unescape(formula.decode('utf-8', 'replace'))}"


def _targets(archive: zipfile.ZipFile, part: str) -> dict[str, str]:
    """What a part refers to, by the ids it has for it."""
    folder, name = posixpath.split(part)
    try:
        data = archive.read(posixpath.join(folder, "_rels", f"{name}.rels"))
    except KeyError:
        return {}
    relations = map(_attributes, _RELATION.findall(data.decode("utf-8", "replace")))
    return {found["Id"]: found["Target"] for found in relations if "Id" in found and "Target" in found}


def _part(target: str) -> str:
    """The name in the archive of what the workbook refers to."""
    return posixpath.normpath(posixpath.join("/xl", target)).lstrip("/")


def _relation_id(attributes: dict[str, str]) -> str:
    return next((value for name, value in attributes.items() if name.endswith(":id")), "")


def _linked_cells(text: str, targets: dict[str, str]) -> Iterator[tuple[Cell, str]]:
    for link in map(_attributes, _LINK.findall(text)):
        target = targets.get(_relation_id(link))
        where = _RANGE.fullmatch(link.get("ref", ""))
        if target and where:
            rows = range(int(where[2]), int(where[4] or where[2]) + 1)
            columns = range(_column(where[1]), _column(where[3] or where[1]) + 1)
            yield from (((row, column), target) for row in rows for column in columns)


def _attributes(text: str) -> dict[str, str]:
    return {name: html.unescape(double or single) for name, double, single in _ATTRIBUTE.findall(text)}


def _column(letters: str) -> int:
    """The number of a column, from 1."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number
