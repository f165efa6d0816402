"""What a row says of a video beyond how its job ended."""

from __future__ import annotations

from engine.model import Cue, Job, Kind, Metadata, Transcript
from engine.queue.journal import row
from engine.queue.manifest_row import ManifestRow


def made(metadata: Metadata | None, transcript: Transcript | None) -> ManifestRow:
    return ManifestRow.from_json(
        row(
            Job("dQw4w9WgXcQ"),
            kind=None if transcript else Kind.PRIVATE,
            message=None,
            attempts=1,
            requests=0,
            body_bytes=0,
            metadata=metadata,
            transcript=transcript,
            files={},
            sha256={},
            egress=None,
            elapsed_s=0.0,
            finished_at="2026-11-25T00:00:00Z",
        )
    )


def test_date_views_and_words() -> None:
    cues = (Cue(0, 1, "two\nwords "), Cue(1, 1, ""), Cue(2, 1, "a third"))
    found = made(Metadata(published="2018-08-02", view_count=0), Transcript("en", "English", False, cues))
    assert (found.published, found.views, found.words) == ("2018-08-02", 0, 4)


def test_what_is_not_known_is_none() -> None:
    found = made(None, None)
    assert found.published is found.views is found.words is None
