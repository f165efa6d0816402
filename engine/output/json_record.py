"""The record as JSON: the file every other format can be rendered from."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from engine.model import WATCH_URL, Chapter, Cue, Metadata, Record, Transcript
from engine.output.plain_text import replaced

SCHEMA_VERSION = 1
_SOMETIMES = frozenset(
    {
        "publish_date", "upload_date", "category", "like_count", "available_countries", "published", "thumbnail",
    }
)  # fmt: skip


def to_json(record: Record) -> bytes:
    """The record as one line of UTF-8 JSON with a newline; its keys always in the same order.

    Keys that only some runs ask for or some answers hold (full metadata, the date, chapters, a translation, all
    tracks) are there where they say something.
    Lone surrogates become U+FFFD, numbers that JSON cannot hold null (times: 0).
    """
    metadata = asdict(record.metadata)
    chapters = [
        {"start": _finite(chapter["start"]), "title": chapter["title"]}
        for chapter in metadata.pop("chapters")
    ]
    document = {
        "schema_version": SCHEMA_VERSION,
        "video_id": record.video_id,
        "url": WATCH_URL + record.video_id,
        **({} if record.batch is None else {"batch": record.batch}),
        "metadata": {k: v for k, v in metadata.items() if v is not None or k not in _SOMETIMES},
        **({"chapters": chapters} if chapters else {}),
        "transcript": _transcript(record.transcript),
        "input": dict(record.input),
        "fetched_at": record.fetched_at,
    }
    if record.transcripts:
        document["transcripts"] = [_transcript(track) for track in record.transcripts]
    try:
        text = _dumps(document)
    except ValueError:
        text = _dumps(_jsonable(document))
    return f"{replaced(text)}\n".encode()


def from_json(data: bytes) -> Record:
    """The record in these bytes. ValueError says what is wrong with them."""
    try:
        document = json.loads(data)
        version = document["schema_version"]
        if version != SCHEMA_VERSION:
            raise ValueError(f"record of format {version!r}, this program reads {SCHEMA_VERSION}")
        metadata = dict(document["metadata"])
        metadata["keywords"] = tuple(metadata.get("keywords") or ())
        if metadata.get("available_countries") is not None:
            metadata["available_countries"] = tuple(metadata["available_countries"])
        metadata["chapters"] = tuple(
            Chapter(float(each["start"]), each["title"]) for each in document.get("chapters") or ()
        )
        return Record(
            video_id=document["video_id"],
            metadata=Metadata(
                **{key: metadata[key] for key in Metadata.__dataclass_fields__ if key in metadata}
            ),
            transcript=_read_transcript(document["transcript"]),
            input=dict(document["input"]),
            fetched_at=document["fetched_at"],
            transcripts=tuple(map(_read_transcript, document.get("transcripts") or ())),
            batch=document.get("batch"),
        )
    except (KeyError, TypeError, AttributeError, RecursionError) as exc:
        raise ValueError(f"not a record: {type(exc).__name__}: {exc}") from None


def _transcript(transcript: Transcript) -> dict[str, Any]:
    origin = {} if transcript.translated_from is None else {"translated_from": transcript.translated_from}
    return {
        "language": transcript.language,
        "language_name": transcript.language_name,
        "is_generated": transcript.is_generated,
        **origin,
        "segments": [
            {"start": _finite(cue.start), "duration": _finite(cue.duration), "text": cue.text}
            for cue in transcript.cues
        ],
    }


def _read_transcript(value: Any) -> Transcript:
    return Transcript(
        language=value["language"],
        language_name=value["language_name"],
        is_generated=value["is_generated"],
        cues=tuple(Cue(float(s["start"]), float(s["duration"]), s["text"]) for s in value["segments"]),
        translated_from=value.get("translated_from"),
    )


def _dumps(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _finite(time_s: float) -> float:
    return time_s if math.isfinite(time_s) else 0.0


def _jsonable(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _jsonable(item) for key, item in value.items()}
    return [_jsonable(item) for item in value] if isinstance(value, (list, tuple)) else value
