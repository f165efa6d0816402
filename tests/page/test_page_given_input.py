"""What the form is given: fields are checked and lines without a video named before anything is made."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from page_rig import Page
from patience import HANG_S

from engine.page.field_words import ENCODINGS, by_field, encoding_words
from engine.queue.directory import Queue
from engine.queue.making import make_queue
from engine.seeding.reading import Reading

VIDEO = "dQw4w9WgXcQ"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page on a queue that is not there."""
    root = tmp_path_factory.mktemp("given")
    with Page(root / "queue", cache=root / "cache", ENGINE_PROXY="http://127.0.0.1:1") as found:
        yield found.enter()


def uploaded(page: Page, name: str, data: bytes) -> dict[str, str]:
    """What the script sends of a file that was chosen."""
    headers = {"Origin": page.origin, "X-Engine": "1", "X-Name": name.encode("ascii", "ignore").decode()}
    sent = page.browser.post(f"{page.origin}/do/upload", data=data, headers=headers, timeout=HANG_S).json()
    return {"upload": sent["upload"], "name": name}


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"languages": "deutsch"}, "Languages: 'deutsch' is not a language code; did you mean de?"),
        ({"rate": "fast"}, "Rate: 'fast' is not a rate."),
        ({"formats": ["exe"]}, "Formats: "),
        ({"output": "queue/tmp"}, "Folder: "),
        ({"output": "/dev/null/x"}, "Folder: /dev/null/x: "),
    ],
)
def test_a_field_is_refused_by_its_name_in_the_preview_too(
    page: Page, wanted: dict[str, Any], says: str
) -> None:
    for verb in ("check", "start"):
        answer = page.do(verb, text=VIDEO, **wanted)
        assert (answer.status_code, answer.json()["say"].startswith(says)) == (400, True), answer.text
        assert " --" not in answer.text and '"--' not in answer.text
    assert not Path(page.command.args[2]).exists(), "nothing was seeded"


def test_lines_without_a_video_are_named_before_the_start(page: Page) -> None:
    lines = "\n".join([VIDEO, *(f"no video {n}" for n in range(12))])
    said = page.do("check", text=lines).json()["say"].splitlines()
    assert said[0].startswith("13 read: 1 new, 12 without a video")
    assert [line.partition(": ")[::2][0] for line in said[1:11]] == [f"line {n}" for n in range(2, 12)]
    assert said[1].startswith("line 2: no video 0: ") and said[1].count(": ") >= 2, "with the reason"
    assert said[11:] == ["and 2 more"]


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_list_is_said_to_be_one(page: Page, data: bytes) -> None:
    for verb in ("check", "start"):
        answer = page.do(verb, **uploaded(page, "leer.csv", data)).json()
        assert answer == {"ok": False, "say": "leer.csv names no video"}
    assert not Path(page.command.args[2]).exists()


def test_a_file_is_called_what_its_user_calls_it(page: Page) -> None:
    """In notes and errors; the cache directory is nowhere shown."""
    rows = "url,note\n" + f"https://youtu.be/{VIDEO},für Müller\n" * 3
    given = uploaded(page, "Liste für Jörg.csv", rows.encode("cp1252"))
    looked = page.do("check", **given).json()
    assert "Liste für Jörg.csv: read as Windows-1252; letters such as ä ö ü wrong? Choose" in looked["say"]
    assert looked["encoding"] is True
    assert "uploads" not in looked["say"] and "--" not in looked["say"]
    again = page.do("check", **given, encoding="cp1250").json()
    assert (again["ok"], again["encoding"]) == (True, False)
    wrong = page.do("check", **uploaded(page, "nichts.txt", b"a\nb\n")).json()
    assert wrong["say"].startswith("nichts.txt: all of its 2 lines were rejected")


@pytest.mark.parametrize("name", ENCODINGS)
def test_each_encoding_on_the_page_is_one(name: str, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(VIDEO, encoding=name)
    errors: list[str] = []
    (lines, _) = Reading(encoding=name).open([str(tmp_path / "list.txt")], errors, print)
    assert ([line.video_id for line in lines], errors) == ([VIDEO], [])


def test_words() -> None:
    assert by_field("--rate 'x' is not a rate") == "Rate: 'x' is not a rate"
    assert by_field("--on-block: no such thing") == "--on-block: no such thing"
    for encoding in ("cp1252", "mac_roman", "euc_jp", "cp932", "shift_jis"):
        said = encoding_words(f"a.txt: read as {encoding}; --encoding NAME says otherwise")
        assert encoding not in said and "--" not in said
    assert "--" not in encoding_words("some bytes were replaced; --encoding NAME reads it otherwise")


def test_rejected_lines_are_of_the_file_that_was_uploaded(tmp_path: Path) -> None:
    queue = tmp_path / "queue"
    make_queue(str(queue))
    with Page(queue, cache=tmp_path / "cache", ENGINE_PROXY="http://127.0.0.1:1") as page:
        page.enter()
        (queue / "run.lock").mkdir()  # no run can start: this is about what is seeded
        page.do("start", **uploaded(page, "links ö.csv", f"{VIDEO}\nno video\n".encode()))
        page.do("start", text="9bZkp7q19f0\nnothing at all")
        rows = list(csv.reader(io.StringIO(page.get("/download/rejects.csv").text)))
        shown = page.get("/").text
    assert [row[0] for row in rows[1:]] == ["links ö.csv", "pasted text"]
    assert "links ö.csv:2" in shown and "pasted text:2" in shown
    assert str(tmp_path) not in Path(Queue(str(queue)).rejects).read_text()
