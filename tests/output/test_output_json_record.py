"""The record file, and the golden files of every format."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import youtube_transcript_api
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.model import Chapter, Cue, Metadata, Record, Transcript
from engine.output.formats import FORMATS, from_json, render, to_json
from engine.youtube.timedtext import parse

GOLDEN = Path(__file__).parent / "golden"
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
TIME = st.floats(allow_nan=False, allow_infinity=False)
INT = st.none() | st.integers()

TRANSCRIPTS = st.builds(
    Transcript,
    TEXT,
    TEXT,
    st.booleans(),
    st.lists(st.builds(Cue, TIME, TIME, TEXT), max_size=3).map(tuple),
    st.none() | TEXT,
)

RECORDS = st.builds(
    Record,
    st.just("aaaaaaaaaa1"),
    st.builds(
        Metadata,
        TEXT,
        TEXT,
        TEXT,
        INT,
        INT,
        st.lists(TEXT, max_size=2).map(tuple),
        TEXT,
        st.none() | st.booleans(),
        st.none() | TEXT,
        st.none() | TEXT,
        st.none() | TEXT,
        INT,
        st.none() | st.lists(TEXT, max_size=2).map(tuple),
        st.none() | TEXT,
        st.none() | TEXT,
        st.lists(st.builds(Chapter, TIME, TEXT), max_size=2).map(tuple),
    ),
    TRANSCRIPTS,
    st.dictionaries(TEXT, st.none() | TEXT | TIME | st.lists(st.integers()), max_size=3),
    TEXT,
    st.lists(TRANSCRIPTS, max_size=2).map(tuple),
)


def captured() -> Record:
    """The real timedtext answer that ships with youtube-transcript-api."""
    assets = Path(youtube_transcript_api.__file__).parent / "test" / "assets"
    cues = parse((assets / "transcript.xml.static").read_text(encoding="utf-8"))
    metadata = Metadata(
        "Never *Gonna* \u2028 [x](y)", "Rick", "UC1", 213, 7, ("a", "yes"), "two\nlines: #1 😀", False
    )
    given_input = {"row": 17, "topic": "music", "nested": {"a": [1.5, None, True]}}
    return Record(
        "dQw4w9WgXcQ",
        metadata,
        Transcript("en", "English", False, cues),
        given_input,
        "2026-11-22T21:03:11Z",
    )


def rolled() -> Record:
    cues = (
        Cue(0.0, 3.0, "[Music]"),
        Cue(2.5, 3.5, ">> so we are back"),
        Cue(4.0, 2.0, ">> so we are back\nand it rolls"),
        Cue(6.0, 0.01, "and it rolls"),
        Cue(6.01, 2.0, "and it rolls\n--> on_and_on"),
        Cue(70.0, 0.0, "1. later"),
        Cue(359_999.0, 5.0, "AT&T <3"),
    )
    metadata = Metadata("# C# & <b>", None, None, None, None, (), None, None)
    return Record(
        "-aaaaaaaaa1",
        metadata,
        Transcript("en-GB", "English (auto-generated)", True, cues),
        {},
        "2026-11-22T21:03:11Z",
    )


@pytest.mark.parametrize("fmt", [*FORMATS, "json"])
@pytest.mark.parametrize("make", [captured, rolled])
def test_golden(fmt: str, make: object) -> None:
    """`UPDATE_GOLDEN=1` writes the files anew; the difference is to be read."""
    record = make()  # type: ignore[operator]
    data = to_json(record) if fmt == "json" else render(record, fmt)
    path = GOLDEN / f"{make.__name__}.{fmt}"  # type: ignore[attr-defined]
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_bytes(data)
    assert data.decode() == path.read_bytes().decode()


@given(RECORDS)
def test_a_record_reads_back_as_it_was(record: Record) -> None:
    data = to_json(record)
    assert from_json(data) == record
    assert data.count(b"\n") == 1
    assert data.endswith(b"\n")


@given(RECORDS)
def test_every_format_takes_every_record(record: Record) -> None:
    for fmt in FORMATS:
        render(record, fmt).decode()


def test_the_shape() -> None:
    document = json.loads(to_json(captured()))
    assert list(document) == [
        "schema_version",
        "video_id",
        "url",
        "metadata",
        "transcript",
        "input",
        "fetched_at",
    ]
    assert document["schema_version"] == 1
    assert document["url"] == "https://www.youtube.com/watch?v=dQw4w9WgXcQ"
    assert list(document["transcript"]) == ["language", "language_name", "is_generated", "segments"]
    assert document["transcript"]["segments"][0] == {
        "start": 0.0,
        "duration": 1.54,
        "text": "Hey, this is just a test",
    }
    assert document["metadata"]["title"].startswith("Never")
    assert document["input"] == {"row": 17, "topic": "music", "nested": {"a": [1.5, None, True]}}


def test_what_only_some_runs_ask_for_is_not_in_the_others_records() -> None:
    plain = json.loads(to_json(captured()))
    english = captured().transcript
    metadata = Metadata("a", publish_date="2018-08-02", like_count=0, available_countries=("AT",))
    french = replace(english, language="fr", translated_from="en")
    fuller = replace(captured(), metadata=metadata, transcript=french, transcripts=(french, english))
    document = json.loads(to_json(fuller))
    assert set(document["metadata"]) - set(plain["metadata"]) == {
        "publish_date", "like_count", "available_countries",
    }  # fmt: skip
    assert document["metadata"]["available_countries"] == ["AT"]
    assert document["transcript"]["translated_from"] == "en"
    assert document["transcripts"] == [document["transcript"], plain["transcript"]]
    front = render(fuller, "md").decode().split("---\n")[1].splitlines()
    assert {'publish_date: "2018-08-02"', "like_count: 0", 'translated_from: "en"'} < set(front)
    assert not any(line.startswith(("category", "available", "transcripts")) for line in front)


def test_chapters_stand_beside_the_transcript() -> None:
    assert "chapters" not in json.loads(to_json(captured()))
    metadata = replace(
        captured().metadata, published="2018-08-02", chapters=(Chapter(0.0, "a"), Chapter(90.0, "b"))
    )
    document = json.loads(to_json(replace(captured(), metadata=metadata)))
    assert document["chapters"] == [{"start": 0.0, "title": "a"}, {"start": 90.0, "title": "b"}]
    assert "chapters" not in document["metadata"]
    assert document["metadata"]["published"] == "2018-08-02"


def test_what_json_cannot_hold() -> None:
    odd = Record(
        "aaaaaaaaaa1",
        Metadata(title="\ud83d"),
        Transcript("en", "English", False, (Cue(float("nan"), float("inf"), "\udc00é"),)),
        {"x": float("nan"), "\ud800": [float("inf"), "\x00"]},
        "2026-01-01T00:00:00Z",
    )
    document = json.loads(to_json(odd))
    assert document["metadata"]["title"] == "\ufffd"
    assert document["transcript"]["segments"] == [{"start": 0.0, "duration": 0.0, "text": "\ufffdé"}]
    assert document["input"] == {"x": None, "\ufffd": [None, "\x00"]}
    for fmt in FORMATS:
        assert "\ufffd" in render(odd, fmt).decode()


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"1", b"{}", b'{"schema_version": 2}', b"\xff", b"[" * 100_000]
)
def test_what_is_no_record(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_json(data)


def test_a_format_there_is_not() -> None:
    with pytest.raises(UsageError, match="md, txt, srt, vtt"):
        render(captured(), "pdf")
