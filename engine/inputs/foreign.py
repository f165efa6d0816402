"""What a file is that holds no list, told by its first bytes, so that it is named and not read as text."""

from __future__ import annotations

import re

_AS_LIST = "Export it as CSV or as one address a line."
_SUBTITLES = "subtitles, not a list of videos. Give the ids or addresses of the videos."
_MEDIA = "not a list of videos. Give the ids or addresses of the videos."
_UNPACK = "Unpack it and give the list in it."

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_KINDS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"PAR1", f"a Parquet file, which has to lie there by itself, not packed and not in a pipe. {_AS_LIST}"),
    (0, b"ARROW1", f"an Arrow (Feather) file. {_AS_LIST}"),
    (0, b"ORC", f"an ORC file. {_AS_LIST}"),
    (0, b"Obj\x01", f"an Avro file. {_AS_LIST}"),
    (0, b"\x89HDF\r\n", f"an HDF5 file. {_AS_LIST}"),
    (0, b"SQLite format 3\0", f"an SQLite database. {_AS_LIST}"),
    (0, b"bplist00", f"a binary property list. {_AS_LIST}"),
    (0, b"%PDF", f"a PDF. Copy the addresses out of it, one a line. {_AS_LIST}"),
    (0, b"{\\rtf", "a rich text (RTF). Save it as plain text."),
    (0, b"\x89PNG", f"an image, {_MEDIA}"),
    (0, b"\xff\xd8\xff", f"an image, {_MEDIA}"),
    (0, b"GIF8", f"an image, {_MEDIA}"),
    (0, b"RIFF", f"an image, a sound or a video, {_MEDIA}"),
    (0, b"II*\0", f"an image, {_MEDIA}"),
    (0, b"MM\0*", f"an image, {_MEDIA}"),
    (4, b"ftyp", f"a video, a sound or an image, {_MEDIA}"),
    (0, b"\x1aE\xdf\xa3", f"a video or a sound, {_MEDIA}"),
    (0, b"ID3", f"a sound, {_MEDIA}"),
    (0, b"OggS", f"a sound, {_MEDIA}"),
    (0, b"fLaC", f"a sound, {_MEDIA}"),
    (0, b"BZh", f"packed with bzip2. {_UNPACK}"),
    (0, b"\xfd7zXZ\0", f"packed with xz. {_UNPACK}"),
    (0, b"\x28\xb5\x2f\xfd", f"packed with zstd. {_UNPACK}"),
    (0, b"7z\xbc\xaf\x27\x1c", f"a 7z archive. {_UNPACK}"),
    (0, b"Rar!", f"a RAR archive. {_UNPACK}"),
    (257, b"ustar",
     "a binary file (a tar archive). Unpack it and give the files in it; Google Takeout also makes .zip."),
    (0, b"\x7fELF", f"a binary file, a program, {_MEDIA}"),
    (0, _OLE,
     "an old workbook or document of Office, or one with a password. Name a workbook .xls, or open it and save it as "
     ".xlsx without a password, or as CSV."),
)  # fmt: skip

# What lies in a zip of Office or of Apple, by the names that come first in it.
_APPLE = re.compile(rb"PK\x03\x04.{26}(?:Index/|Metadata/|preview)", re.DOTALL)
_ODS = re.compile(rb"mimetypeapplication/vnd\.oasis\.opendocument\.spreadsheet")
_ZIPPED = (
    (_ODS, "a LibreOffice sheet (.ods)"),
    (re.compile(rb"mimetypeapplication/vnd\.oasis"), "a document of LibreOffice"),
    (re.compile(rb"mimetypeapplication/epub"), "a book (.epub)"),
    (re.compile(rb"PK\x03\x04.{26}word/", re.DOTALL), "a document of Word (.docx)"),
    (re.compile(rb"PK\x03\x04.{26}ppt/", re.DOTALL), "slides of PowerPoint (.pptx)"),
    (_APPLE, "a document of Numbers, Pages or Keynote"),
)  # fmt: skip
_ZIP = b"PK\x03\x04"
_VTT = re.compile(rb"WEBVTT(?:[ \t\r\n]|$)")
_SRT = re.compile(rb"\s*\d+\s*\r?\n\s*\d+:\d\d:\d\d[,.]\d+ *-->")


def named(head: bytes) -> str | None:
    """What the beginning of a file shows it to be, and what to do about it, in a sentence; None if it may be text."""
    for offset, magic, said in _KINDS:
        if head.startswith(magic, offset) and not (magic.isalnum() and _is_text(head)):
            return said
    if head.startswith(_ZIP):
        return zipped(head) or (
            "a binary file, a zip by its beginning, under a name that says otherwise. Name a workbook .xlsx and a "
            "Google Takeout .zip; of anything else give the files in it."
        )
    bare = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if _VTT.match(bare) or _SRT.match(bare):
        return _SUBTITLES
    return None


def document(head: bytes, *, workbook: bool = False) -> str | None:
    """The same for what is a zip (or a `workbook`) by its name; None if it may be that, or nothing known."""
    if workbook and (head.startswith(_OLE) or _ODS.search(head)):
        return None
    return zipped(head) if head.startswith(_ZIP) else named(head)


def zipped(head: bytes) -> str | None:
    """The same for a zip that some program writes its documents as; None for any other."""
    for pattern, name in _ZIPPED:
        if pattern.search(head):
            return f"{name}. Export it as CSV, or as .xlsx if it is a table."
    return None


def is_old_workbook(head: bytes) -> bool:
    """Whether a file called .xls is one: many programs give that name to a page of HTML or a table of tabs."""
    return head.startswith((_OLE, _ZIP, b"\x1f\x8b"))


def _is_text(head: bytes) -> bool:
    """Whether this may be text that happens to begin with the letters of a mark."""
    return not any(byte < 9 or 13 < byte < 32 for byte in head)
