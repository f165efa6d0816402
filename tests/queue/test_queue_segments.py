"""Chunks: names are parsed as written, segments are split without a gap."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import ids

from engine.errors import UsageError
from engine.queue.segments import (
    Chunk,
    chunk_size,
    encode_segment,
    is_intact,
    read_header,
    read_ids,
    read_jobs,
    split_chunks,
)

NUMBER = st.integers(0, 10**9)
COLUMNS = st.dictionaries(
    st.text(), st.one_of(st.none(), st.text(), st.integers(), st.floats(allow_nan=False))
)


@given(NUMBER, NUMBER, NUMBER, NUMBER)
def test_names_read_back(segment: int, k: int, first: int, jobs: int) -> None:
    chunk = Chunk(segment, k, first, jobs)
    assert Chunk.parse(chunk.name) == chunk
    assert Chunk.parse(chunk.token, segment) == chunk


@given(st.text())
def test_any_name_is_a_chunk_or_none(name: str) -> None:
    assert Chunk.parse(name) is None or Chunk.parse(name) == Chunk.parse(name.strip())


@pytest.mark.parametrize(
    "name", ["", "lock", "1.2", "1.2.3", "a.b.c.d", "1.2.3.-4", "1.2.3.4.5", "inflight", "1..2.3"]
)
def test_what_is_no_token(name: str) -> None:
    assert Chunk.parse(name) is None


@pytest.mark.parametrize(
    ("jobs", "cores", "size"), [(1, 1, 16), (1000, 4, 31), (100_000, 2, 256), (0, 0, 16), (256, 2, 16)]
)
def test_chunk_size(jobs: int, cores: int, size: int) -> None:
    assert chunk_size(jobs, cores) == size


@given(st.lists(COLUMNS, max_size=70), st.integers(1, 40))
def test_a_segment_is_cut_without_gap(
    tmp_path_factory: pytest.TempPathFactory, inputs: list[Any], size: int
) -> None:
    path = str(_scratch(tmp_path_factory) / "s.jsonl")
    jobs = [(f"{number:011d}", columns) for number, columns in enumerate(inputs)]
    with open(path, "wb") as file:
        file.write(encode_segment(3, jobs, len(jobs), size))
    header = read_header(path)
    assert (header.segment, header.jobs, header.chunk) == (3, len(jobs), size)
    assert list(read_ids(path)) == [name for name, _ in jobs]
    chunks = list(split_chunks(path))
    assert [chunk.k for chunk in chunks] == list(range(len(chunks)))
    assert all(chunk.jobs == size for chunk in chunks[:-1])
    read = [job for chunk in chunks for job in read_jobs(path, chunk)]
    assert [(job.video_id, job.input) for job in read] == [
        (name, _without_surrogates(columns)) for name, columns in jobs
    ]


def _scratch(factory: pytest.TempPathFactory) -> Path:
    return factory.mktemp("segment", numbered=True)


def _without_surrogates(columns: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(json.dumps(columns, ensure_ascii=False).encode("utf-8", "replace")))


def test_a_token_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    path = str(tmp_path / "s.jsonl")
    with open(path, "wb") as file:
        file.write(encode_segment(0, [("a" * 11, {})], 1, 16))
    first = next(split_chunks(path)).first
    for wrong in (Chunk(0, 0, first + 3, 1), Chunk(0, 0, first, 2)):
        with pytest.raises(UsageError):
            read_jobs(path, wrong)


@pytest.mark.parametrize("name", ["+0.1.2", "00.1.2", " 0.1.2", "0.1_0.2", "0.1.2 ", "٣.1.2", "²", "-1.2.3"])
def test_a_token_written_in_another_way_is_none(name: str) -> None:
    """Under the name made from its numbers there is no file: a claim would look for it for ever."""
    assert Chunk.parse(name, 0) is None
    assert Chunk.parse(f"000000.{name}") is None
    assert Chunk.parse(f"0.{name}") is None


def test_every_flipped_bit_of_a_segment_is_noticed(tmp_path: Path) -> None:
    data = encode_segment(3, ((name, {"a": "ä"}) for name in ids(5)), 5, 2)
    path = tmp_path / "000003.jsonl"
    path.write_bytes(data)
    assert is_intact(str(path))
    for at in range(len(data)):
        for bit in (0, 5):
            path.write_bytes(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :])
            assert not is_intact(str(path)), at


@pytest.mark.parametrize(
    "line",
    [
        '{"id": "../../etc/xx"}',
        '{"id": 5}',
        '{"id": "dQ/w9WgXcQx"}',
        '{"id": "dQw4w9WgXcQ", "input": [1]}',
        "[" * 9999,
    ],
    ids=["path", "number", "slash", "input", "deep"],
)
def test_a_job_that_is_none_is_said_and_never_becomes_a_path(tmp_path: Path, line: str) -> None:
    path = tmp_path / "000000.jsonl"
    path.write_text('{"segment": 0, "jobs": 1, "chunk": 16}\n' + line + "\n")
    (chunk,) = split_chunks(str(path))
    with pytest.raises(UsageError, match="damaged"):
        read_jobs(str(path), chunk)
    rest = "".join(f'{{"id": "{name}"}}\n' for name in ids(3))
    path.write_text('{"segment": 0, "jobs": 5, "chunk": 16}\n' + rest + line + "\n" + rest.splitlines()[0])
    (chunk,) = split_chunks(str(path))
    with pytest.raises(UsageError, match="its job 4 "):
        read_jobs(str(path), chunk)
    if "input" not in line:
        with pytest.raises(UsageError, match="damaged"):
            list(read_ids(str(path)))
