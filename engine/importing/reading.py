"""What a file that another program left holds of a video: its captions, and what it says about the video."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engine.importing import ytfetcher
from engine.inputs.transcript_file import Form, TranscriptFile
from engine.model import Cue, Metadata, Transcript
from engine.network.answer import FailureError
from engine.output import json_record
from engine.youtube import formats
from engine.youtube.classify import UnreadableError

UNKNOWN_LANGUAGE = "und"  # ISO 639-2: undetermined
_WORD_TIMES = re.compile(r"<\d\d:\d\d:\d\d\.\d{3}>")  # in the captions that YouTube generates
_ORIGINAL = "-orig"  # yt-dlp: the generated captions in the language that is spoken
_DATE = re.compile(r"(\d{4})(\d\d)(\d\d)")
_MAX_CUES = formats.MAX_CUES


def read(file: TranscriptFile, about: Mapping[str, Any] | None) -> tuple[Metadata, Transcript]:
    """The metadata and the transcript in a file. `about`: what yt-dlp's info says of the video.

    Raises ValueError, which says in words what is wrong, and OSError.
    """
    if file.form is Form.UNTIMED:
        raise ValueError("text without times")
    data = file.read()
    metadata = _metadata(about) if about else Metadata(title=file.title)
    if file.form is Form.CAPTIONS:
        return metadata, _captions(file, data, about)
    if file.form is Form.ROWS:
        return _document(ytfetcher.from_rows(data), metadata)
    if file.form is Form.SECTION:
        return _document(ytfetcher.from_section(data), metadata)
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("not JSON: nested too deeply") from None
    except ValueError as exc:
        raise ValueError(f"not JSON: {exc}") from None
    if isinstance(value, dict) and "schema_version" in value and isinstance(value.get("metadata"), dict):
        record = json_record.from_json(data)
        if file.form is Form.FRAME and record.video_id != file.video_id:
            raise ValueError(f"the frame at byte {file.offset} is of another video")
        return record.metadata, record.transcript
    return _document(value, metadata)


def read_about(file: TranscriptFile) -> dict[str, Any] | None:
    """What yt-dlp's `.info.json` says; None when it cannot be read, which takes nothing from the transcript."""
    try:
        value = json.loads(file.read())
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and value.get("id") in (None, file.video_id) else None


def _captions(file: TranscriptFile, data: bytes, about: Mapping[str, Any] | None) -> Transcript:
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("neither UTF-8 nor UTF-16") from None
    try:
        cues = formats.read(text)
    except UnreadableError as exc:
        raise ValueError(f"it {exc}") from None
    except FailureError as exc:
        raise ValueError(exc.failure.message) from None
    if not cues:
        raise ValueError("it holds no captions")
    named = file.language or ""
    language = named.removesuffix(_ORIGINAL) or UNKNOWN_LANGUAGE
    generated = (
        named.endswith(_ORIGINAL) or bool(_WORD_TIMES.search(text[:20_000])) or _is_generated(about, named)
    )
    return Transcript(language, language, generated, cues)


def _is_generated(about: Mapping[str, Any] | None, language: str) -> bool:
    """Whether yt-dlp's info knows captions of this language only as generated ones."""
    if not about:
        return False
    by_people, generated = about.get("subtitles"), about.get("automatic_captions")
    return language in (generated or {}) and language not in (by_people or {})


def _metadata(about: Mapping[str, Any]) -> Metadata:
    """The fields of yt-dlp's info under our names; what is not as expected is left out."""

    def text(*keys: str) -> str | None:
        return next((value for key in keys if isinstance(value := about.get(key), str) and value), None)

    tags = about.get("tags")
    categories = about.get("categories")
    uploaded = _DATE.fullmatch(text("upload_date") or "")
    date = "-".join(uploaded.groups()) if uploaded else None
    return Metadata(
        title=text("title", "fulltitle"),
        channel=text("channel", "uploader"),
        channel_id=text("channel_id"),
        duration_s=_number(about.get("duration")),
        view_count=_number(about.get("view_count")),
        keywords=tuple(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else (),
        description=text("description"),
        is_live=about.get("is_live") if isinstance(about.get("is_live"), bool) else None,
        upload_date=date,
        published=date,
        category=_text(categories[0]) if isinstance(categories, list) and categories else None,
        like_count=_number(about.get("like_count")),
    )


def _document(value: Any, metadata: Metadata) -> tuple[Metadata, Transcript]:
    """A transcript of youtube-transcript-api, in any of its shapes, of ytfetcher, or a row of an export."""
    while isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]  # its command line prints one list for each video
    language, name, generated = UNKNOWN_LANGUAGE, None, False
    if isinstance(value, dict):
        inner = value.get("transcript")
        described = {**value, **inner} if isinstance(inner, dict) else value
        language = (
            _text(described.get("language_code")) or _code(described.get("language")) or UNKNOWN_LANGUAGE
        )
        name = _text(described.get("language_name")) or _text(described.get("language"))
        generated = described.get("is_generated") is True
        metadata = _row_metadata(value, metadata)
        value = next(
            (described[key] for key in ("segments", "snippets", "transcript") if key in described), None
        )
    cues = _cues(value)
    return metadata, Transcript(language, name or language, generated, cues)


def _cues(value: Any) -> tuple[Cue, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError("it holds no list of captions")
    if len(value) > _MAX_CUES:
        raise ValueError(f"more than {_MAX_CUES:,} captions")
    try:
        cues = tuple(
            Cue(float(each["start"]), float(each.get("duration") or 0.0), _said(each)) for each in value
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise ValueError("a caption in it has no start or no text") from None
    if not all(math.isfinite(cue.start) and math.isfinite(cue.duration) for cue in cues):
        raise ValueError("a caption in it starts or lasts for no number of seconds")
    if not cues:
        raise ValueError("it holds no captions")
    return cues


def _said(each: Mapping[str, Any]) -> str:
    if not isinstance(each["text"], str):
        raise TypeError
    return each["text"]


def _row_metadata(row: Mapping[str, Any], otherwise: Metadata) -> Metadata:
    """What a row of an export, this program's or ytfetcher's, says of the video, where there is no better."""
    title, channel, channel_id = (_text(row.get(key)) for key in ("title", "channel", "channel_id"))
    if otherwise.channel or not (title or channel):
        return otherwise
    return Metadata(
        title=title,
        channel=channel,
        channel_id=channel_id,
        duration_s=_number(row.get("duration_s", row.get("duration"))),
        view_count=_number(row.get("views", row.get("view_count"))),
        description=_text(row.get("description")),
        published=_text(row.get("published")),
    )


def _number(value: object) -> int | None:
    """A whole number; None for what is none, or is not finite."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return None
    return round(value)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _code(value: object) -> str | None:
    """A language code; a language's name is none."""
    return value if isinstance(value, str) and re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]+)*", value) else None


def all_of(files: Iterable[TranscriptFile]) -> dict[Form, list[TranscriptFile]]:
    """The files of a video by what they hold."""
    found: dict[Form, list[TranscriptFile]] = {}
    for file in files:
        found.setdefault(file.form, []).append(file)
    return found
