"""Journals: a line is intact or missing, and a truncated file loses at most its last line."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support import Crash, dying_at

from engine.errors import DiskError
from engine.model import WAYS, Job, Kind, Metadata
from engine.queue.journal import VERBS, Journal, decode, encode, parse, read, row

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
BODIES = st.dictionaries(st.text(), VALUES, max_size=4)
LINES = st.lists(st.tuples(st.sampled_from(sorted(VERBS)), BODIES), max_size=8)


@given(st.sampled_from(sorted(VERBS)), BODIES)
def test_what_is_written_is_read(verb: str, body: dict[str, Any]) -> None:
    line = encode(verb, body)
    assert line.count(b"\n") == 1
    found = decode(line[:-1])
    assert found is not None
    assert found[0] == verb
    assert encode(verb, found[1]) == line
    assert line == verb.encode() + b" " + found[2] + line[-10:]


@given(
    st.from_regex(r"[\w-]{11}", fullmatch=True, alphabet=st.characters(max_codepoint=127)),
    st.none() | st.sampled_from(Kind),
    st.none() | st.text(),
    st.dictionaries(st.text(), VALUES, max_size=3) | st.just({"egress": None, "way": "ios", "elapsed_s": 1}),
    st.none() | st.sampled_from(WAYS),
)
@example("aaaaaaaaaaa", None, ', "egress": null, "way": "ios", ', {"egress": "a", "way": "ios"}, None)
def test_in_brief_a_row_tells_its_job_and_sort(
    video_id: str, kind: Kind | None, text: str | None, columns: dict[str, Any], way: str | None
) -> None:
    """Whatever its texts hold, and as the whole line does."""
    body = row(
        Job(video_id, columns),
        kind=kind,
        message=text,
        attempts=1,
        requests=0,
        body_bytes=0,
        metadata=Metadata(title=text),
        egress=text,
        way=way,
        elapsed_s=0.0,
        finished_at="",
    )
    line = encode("final", body)[:-1]
    whole, brief = decode(line), decode(line, brief=True)
    assert whole is not None
    assert brief is not None
    wanted = {name: whole[1][name] for name in ("video_id", "status", "kind")}
    assert brief == ("final", wanted | ({"way": way} if way else {}), whole[2])


@given(st.sampled_from(sorted(VERBS)), BODIES)
def test_in_brief_other_lines_are_read_as_ever(verb: str, body: dict[str, Any]) -> None:
    line = encode(verb, body)[:-1]
    assert decode(line, brief=True) == decode(line)


def test_lone_surrogates_become_question_marks() -> None:
    found = decode(encode("try", {"job": "\ud800x"})[:-1])
    assert found is not None
    assert found[1] == {"job": "?x"}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"final",
        b"final {}",
        b"final {} 0000000",
        b"final {} zzzzzzzz",
        b"x" * 100,
        b"final {}\x00 12345678",
    ],
)
def test_what_is_no_line(text: bytes) -> None:
    assert decode(text) is None


@pytest.mark.parametrize(
    "text", [b"fin {}", b"final []", b"final 1", b"final", b"final {", b"final " + b"[" * 100_000]
)
def test_a_right_checksum_does_not_make_a_line(text: bytes) -> None:
    assert decode(b"%b %08x" % (text, zlib.crc32(text))) is None


@given(st.binary(max_size=300), st.integers(0, 1000))
def test_no_bytes_raise(data: bytes, start: int) -> None:
    found = parse(data, start)
    assert found.bad + len(found.entries) == data.count(b"\n")
    assert start <= found.end <= start + len(data)


@given(LINES, st.data())
def test_flipped_bytes_lose_only_their_lines(
    written: list[tuple[str, dict[str, Any]]], data: st.DataObject
) -> None:
    lines = [encode(*line) for line in written]
    whole = bytearray(b"".join(lines))
    hurt = data.draw(
        st.lists(st.tuples(st.integers(0, max(0, len(whole) - 1)), st.integers(1, 255)), max_size=3)
    )
    for at, mask in hurt if whole else []:
        whole[at] ^= mask
    touched, at = set(), 0
    for number, line in enumerate(lines):
        if whole[at : at + len(line)] != line:
            touched |= {number, number + 1}  # a newline that is gone takes the next line along
        at += len(line)
    found = {entry.raw for entry in parse(bytes(whole)).entries}
    for number, line in enumerate(lines):
        assert number in touched or line[:-10].partition(b" ")[2] in found


def test_cut_at_every_byte_it_loses_the_last_line_at_most(tmp_path: Path) -> None:
    lines = [encode("try", {"job": f"job-{number}", "message": "ä☂\n"}) for number in range(4)]
    whole = b"".join(lines)
    path = str(tmp_path / "0.jsonl")
    for length in range(len(whole) + 1):
        with open(path, "wb") as file:
            file.write(whole[:length])
        before = read(path)
        assert before.bad == 0
        journal = Journal(path)
        assert os.path.getsize(path) == journal.end == before.end
        journal.write("reopen", {"job": "new"})
        journal.close()
        after = read(path)
        complete = sum(len(b"".join(lines[: n + 1])) <= length for n in range(4))
        assert len(before.entries) == complete
        assert [entry.body["job"] for entry in after.entries] == [f"job-{n}" for n in range(complete)] + [
            "new"
        ]
        assert after.bad == 0


def test_reading_goes_on_where_it_was(tmp_path: Path) -> None:
    path = str(tmp_path / "0.jsonl")
    assert read(path, 7).end == 7
    journal = Journal(path)
    ends = []
    for number in range(5):
        journal.write("try", {"job": str(number)})
        ends.append(journal.end)
    for number, end in enumerate(ends):
        piece = read(path, end)
        assert [entry.body["job"] for entry in piece.entries] == [str(n) for n in range(number + 1, 5)]
        assert piece.end == ends[-1]
    journal.close()


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "0.jsonl")
    journal = Journal(path)
    journal.write("try", {"job": "one"})
    real = os.write

    def full(fd: int, data: bytes) -> int:
        if len(data) < 20:
            raise OSError(28, "No space left on device")
        return real(fd, bytes(data)[:10])

    monkeypatch.setattr("engine.storage.disk._write", full)
    with pytest.raises((OSError, DiskError)):
        journal.write("try", {"job": "two", "message": "x" * 100})
    monkeypatch.undo()
    journal.write("try", {"job": "three"})
    journal.close()
    found = read(path)
    assert ([entry.body["job"] for entry in found.entries], found.bad) == (["one", "three"], 0)


def test_short_counts_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr("engine.storage.disk._write", lambda fd, data: real(fd, bytes(data)[:3]))
    journal = Journal(str(tmp_path / "0.jsonl"))
    journal.write("try", {"job": "one"})
    journal.close()
    assert read(journal.path).entries[0].body == {"job": "one"}


def test_a_death_within_a_write_is_removed_by_the_next_owner(tmp_path: Path) -> None:
    path = str(tmp_path / "0.jsonl")
    journal = Journal(path)
    journal.write("try", {"job": "one"})
    with dying_at(0, torn=True), pytest.raises(Crash):
        journal.write("try", {"job": "two"})
    assert os.path.getsize(path) > journal.end
    after = Journal(path)
    after.write("try", {"job": "three"})
    assert [entry.body["job"] for entry in read(path).entries] == ["one", "three"]
    after.close()
    journal.close()


def test_the_name_is_made_durable_once(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "0.jsonl"))
    with dying_at(10**9) as calls:
        journal.sync()
        first = calls[0]
        journal.sync()
    assert first > calls[0] - first == 1
    journal.close()
