"""What files of other programs hold."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import json_values

from engine.importing import reading
from engine.inputs.transcript_file import Form, TranscriptFile
from engine.inputs.transcript_files import find
from engine.model import Cue, Metadata, Record, Transcript
from engine.output.formats import render, to_json

ID = "dQw4w9WgXcQ"
CUES = [{"text": "one", "start": 0.5, "duration": 1.5}, {"text": "two", "start": 2}]
READ = (Cue(0.5, 1.5, "one"), Cue(2.0, 0.0, "two"))
VTT = "WEBVTT\n\n00:00:00.500 --> 00:00:02.000\none\n\n00:00:02.000 --> 00:00:03.000\ntwo\n"


def file(
    path: Path, data: bytes | str | Any, form: Form = Form.JSON, language: str | None = None
) -> TranscriptFile:
    raw = (
        data
        if isinstance(data, bytes)
        else data.encode()
        if isinstance(data, str)
        else json.dumps(data).encode()
    )
    (path / "x").write_bytes(raw)
    return TranscriptFile(str(path / "x"), ID, form, language)


@pytest.mark.parametrize(
    ("value", "language", "generated"),
    [
        (CUES, "und", False),
        ([CUES], "und", False),
        (
            {
                "video_id": ID,
                "language": "German",
                "language_code": "de",
                "is_generated": True,
                "snippets": CUES,
            },
            "de",
            True,
        ),
        ({"transcript": CUES}, "und", False),
        (
            {"id": ID, "language": "pt-BR", "is_generated": False, "segments": CUES, "title": "T"},
            "pt-BR",
            False,
        ),
        (
            {"video_id": ID, "transcript": {"language": "fr", "is_generated": True, "segments": CUES}},
            "fr",
            True,
        ),
    ],
)
def test_shapes_of_json(tmp_path: Path, value: Any, language: str, generated: bool) -> None:
    _, transcript = reading.read(file(tmp_path, value), None)
    assert (transcript.language, transcript.is_generated, transcript.cues) == (language, generated, READ)


def test_a_record_of_ours_is_the_same_again(tmp_path: Path) -> None:
    transcript = Transcript("en", "English", True, READ, "de")
    record = Record(
        ID, Metadata("T", "C", "UC", 9, keywords=("a",), like_count=3), transcript, {"a": 1}, "now", batch="b"
    )
    assert reading.read(file(tmp_path, to_json(record)), None) == (record.metadata, record.transcript)


@pytest.mark.parametrize("fmt", ["srt", "vtt"])
def test_our_own_subtitles(tmp_path: Path, fmt: str) -> None:
    record = Record(ID, Metadata(), Transcript("en", "English", False, READ), {}, "now")
    _, found = reading.read(file(tmp_path, render(record, fmt), Form.CAPTIONS, "en"), None)
    assert [cue.text for cue in found.cues] == ["one", "two"]
    assert [cue.start for cue in found.cues] == [0.5, 2.0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    text = VTT.replace("one", "größer")
    _, found = reading.read(file(tmp_path, text.encode(encoding), Form.CAPTIONS), None)
    assert found.cues[0].text == "größer"


ABOUT = {"subtitles": {"de": []}, "automatic_captions": {"en": [], "de": []}}


@pytest.mark.parametrize(
    ("text", "language", "about", "read_as"),
    [
        (VTT, "en-orig", None, ("en", True)),
        (VTT.replace("one", "o<00:00:01.000><c>ne</c>"), "en", None, ("en", True)),
        (VTT, "en", ABOUT, ("en", True)),
        (VTT, "de", ABOUT, ("de", False)),
        (VTT, "en", None, ("en", False)),
        (VTT, None, None, ("und", False)),
    ],
)
def test_who_made_the_captions(
    tmp_path: Path, text: str, language: str | None, about: dict[str, Any] | None, read_as: tuple[str, bool]
) -> None:
    _, found = reading.read(file(tmp_path, text, Form.CAPTIONS, language), about)
    assert (found.language, found.is_generated) == read_as
    assert found.cues[0].text == "one"


def test_what_yt_dlp_says_of_the_video(tmp_path: Path) -> None:
    about = {
        "id": ID, "title": "T: x", "uploader": "U", "channel_id": "UC", "duration": 9.6, "view_count": 5,
        "tags": ["a", 7], "description": "d", "upload_date": "20200131", "categories": ["Music"], "like_count": None,
        "is_live": False,
    }  # fmt: skip
    read = reading.read_about(file(tmp_path, about, Form.ABOUT))
    metadata, _ = reading.read(file(tmp_path, VTT, Form.CAPTIONS), read)
    assert metadata == Metadata(
        "T: x",
        "U",
        "UC",
        10,
        5,
        ("a",),
        "d",
        is_live=False,
        upload_date="2020-01-31",
        category="Music",
        published="2020-01-31",
    )
    assert reading.read_about(file(tmp_path, {**about, "id": "another"}, Form.ABOUT)) is None
    assert reading.read_about(file(tmp_path, "{", Form.ABOUT)) is None


@pytest.mark.parametrize(
    ("data", "form", "why"),
    [
        ("{", Form.JSON, "not JSON"),
        ("[" * 200_000, Form.JSON, "not JSON: nested too deeply"),
        ("[]", Form.JSON, "no captions"),
        ("3", Form.JSON, "no list of captions"),
        ([{"text": 3, "start": 0}], Form.JSON, "no start or no text"),
        ([{"text": "a"}], Form.JSON, "no start or no text"),
        ([{"text": "a", "start": "nan"}], Form.JSON, "no number of seconds"),
        ([{"text": "a", "start": 1, "duration": math.inf}], Form.JSON, "no number of seconds"),
        ({"schema_version": 9, "metadata": {}}, Form.JSON, "format 9"),
        ("", Form.CAPTIONS, "is empty"),
        ("hello", Form.CAPTIONS, "no captions"),
        ("WEBVTT\n\n", Form.CAPTIONS, "no captions"),
        (b"WEBVTT\n\xff\xff", Form.CAPTIONS, "neither UTF-8"),
        ("hello", Form.UNTIMED, "without times"),
        (f"Transcript for {ID}:\ntitle --> T\nhello\n", Form.SECTION, "without times"),
        ("video_id,text,start\n" + f"{ID},a,\n", Form.ROWS, "no start or no text"),
        ("video_id,text,start\n", Form.ROWS, "no captions"),
        (b"not a frame", Form.FRAME, "the frame at byte 0 is damaged"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, data: Any, form: Form, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        reading.read(file(tmp_path, data, form), None)


@given(value=json_values, about=json_values)
def test_no_json_raises_anything_else(
    tmp_path_factory: pytest.TempPathFactory, value: Any, about: Any
) -> None:
    path = tmp_path_factory.getbasetemp()
    told = reading.read_about(file(path, about, Form.ABOUT))
    for body in (
        value,
        {"snippets": value},
        {"schema_version": 1, "metadata": value},
        [{"text": "a", "start": value}],
    ):
        try:
            _, transcript = reading.read(file(path, body), told)
        except ValueError:
            continue
        assert transcript.cues


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    for form in (Form.CAPTIONS, Form.JSON, Form.ROWS, Form.SECTION, Form.FRAME):
        try:
            reading.read(file(tmp_path_factory.getbasetemp(), b"WEBVTT\n\n" + data, form), None)
        except ValueError:
            continue


def test_a_row_of_an_export_keeps_what_it_says_of_the_video(tmp_path: Path) -> None:
    row = {"id": ID, "title": "T", "channel": "C", "channel_id": "UC", "published": "2020-01-31", "duration_s": 9,
           "views": 5, "language": "en", "segments": [{"start": 0, "duration": 1, "text": "a"}]}  # fmt: skip
    metadata, _ = reading.read(file(tmp_path, row, Form.JSON_PART), None)
    assert metadata == Metadata("T", "C", "UC", 9, 5, published="2020-01-31")


EXPORTS = Path(__file__).parents[1] / "data" / "ytfetcher"  # made by its own exporters, version 2.4


@pytest.mark.parametrize(("suffix", "duration_s"), [("json", 120), ("csv", None), ("txt", 120)])
def test_what_ytfetcher_exports(suffix: str, duration_s: int | None, tmp_path: Path) -> None:
    """Its CSV says the captions' durations in the column for the video's, too."""
    (tmp_path / f"data.{suffix}").write_bytes((EXPORTS / f"data.{suffix}").read_bytes())
    found = [each for each in find(str(tmp_path)) if isinstance(each, TranscriptFile)]
    first, last = (each for each in found if each.video_id != "-cBuzA1w-TY")  # which has no captions
    assert (first.video_id, last.video_id) == (ID, "jNQXAC9IVRw")
    metadata, transcript = reading.read(first, None)
    assert transcript.cues == (Cue(0.0, 1.54, 'Hey there,\n"you"'), Cue(1.56, 4.46, "größer ☂"))
    about = "One line\n\nchapters --> none\n0:00 start"
    assert metadata == Metadata("A title, with: a comma", None, None, duration_s, 1000, description=about)
    assert reading.read(last, None)[1].cues == (Cue(0.25, 2.0, "elephants"),)
