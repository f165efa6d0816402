"""Videos that one other command gets: what a run and the report say of them."""

from __future__ import annotations

import pytest

from engine.report.next_commands import following
from engine.report.unfetched import Unfetched, closing
from engine.youtube.track_choice import Wanted, choose
from engine.youtube.tracks import Track

KEPT = {"kind": "kept", "message": "dQ/dQw4w9WgXcQ.json was written by another queue and stays: …"}
OTHERS = {"kind": "kept", "message": "dQ/dQw4w9WgXcQ.json was not written by this queue and stays: …"}
RUN = "engine run -q q"


def no_language(message: object) -> dict[str, object]:
    return {"kind": "no_language", "message": message}


def real_message(*codes: str, languages: tuple[str, ...] = ("ne", "da")) -> str:
    tracks = [Track(language_code=code, language=code, is_generated=False, url="") for code in codes]
    with pytest.raises(Exception, match="exists") as raised:
        choose(tracks, Wanted(languages))
    return str(raised.value.failure.message)  # type: ignore[attr-defined]


def test_all_by_another_queue() -> None:
    found = Unfetched.of([KEPT] * 51)
    assert closing(found, final=60, output="transcripts", run=RUN) == [
        "51 videos have a transcript in transcripts/ that another queue wrote: `engine run -q q --replace` fetches "
        "and replaces these, `-o NEW` in a new queue keeps both"
    ]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([OTHERS], "1 video has a file in out/ that this queue did not write"),
        (
            [KEPT, OTHERS],
            "2 videos have a file in out/ that this queue did not write (another queue wrote 1 of them)",
        ),
    ],
)
def test_a_file_of_the_users_own_is_not_called_a_transcript(
    rows: list[dict[str, object]], words: str
) -> None:
    assert Unfetched.of(rows).kept_words("out/") == words


def test_languages_are_counted_from_the_messages_as_they_are_written() -> None:
    rows = [no_language(real_message("en", "de")), no_language(real_message("en"))]
    found = Unfetched.of(rows)
    assert (found.asked, found.language_words()) == ("ne, da", "en 2, de 1")
    (line,) = closing(found, final=2, output="out", run=RUN)
    assert line.startswith("no video has captions in ne, da; they have: en 2, de 1. `-l any`")
    assert closing(found, final=3, output="out", run=RUN) == [], "some video has a transcript, or another end"


@pytest.mark.parametrize("message", [None, 7, "", "the captions cannot be translated"])
def test_messages_that_tell_no_language(message: object) -> None:
    found = Unfetched.of([no_language(message)])
    (line,) = closing(found, final=1, output="out", run=RUN)
    assert line.startswith("no video has captions in the wanted languages. `-l any`")


def test_many_languages_are_cut() -> None:
    found = Unfetched.of([no_language(real_message(*(f"x{n}" for n in range(9))))])
    assert found.language_words().endswith(" and 4 more")


def test_the_reports_next_commands() -> None:
    status = {
        "state": "finished",
        "total": 2,
        "ok": 0,
        "absent": 1,
        "failed": 1,
        "kinds": {"kept": 1, "no_language": 1},
    }
    found = Unfetched.of([KEPT, no_language(real_message("en"))])
    lines = [each.line for each in following("q", status, rehearsal=False, damaged=False, unfetched=found)]
    assert "engine run -q q --replace" in lines
    assert (
        "engine failures --kind no_language --csv -q q > no_language.csv && "
        "engine run no_language.csv -l any -q no_language_queue"
    ) in lines
    assert not any("retry" in line for line in lines), "`retry --kind kept` leads to the same end"
