"""Invented videos, and bodies that are spliced instead of compressed."""

from __future__ import annotations

import gzip
import itertools
import json
import re
import zlib
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.rehearsal import invent, invented_ids
from engine.rehearsal.caption_responses import TimedText
from engine.rehearsal.compressed_bodies import JSON, Body
from engine.rehearsal.player_responses import SMALL_PLAYER, playable_head


@given(st.binary(max_size=2000), st.binary(max_size=300))
def test_a_spliced_body_is_one_ordinary_gzip_member(head: bytes, end: bytes) -> None:
    body = Body(head, JSON)
    assert body.plain(end) == head + end
    packed = body.gzipped(end)
    assert gzip.decompress(packed) == head + end
    one = zlib.decompressobj(16 + zlib.MAX_WBITS)
    assert one.decompress(packed) == head + end
    assert one.eof
    assert one.unused_data == b""


@pytest.mark.parametrize("size", [0, 1, 65534, 65535, 65536, 131070, 200_000])
def test_ends_of_any_length(size: int) -> None:
    end = bytes(i % 251 for i in range(size))
    assert gzip.decompress(Body(b"head" * 50, JSON).gzipped(end)) == b"head" * 50 + end


def test_ids_are_valid_distinct_and_the_same_for_a_seed() -> None:
    ids = list(invented_ids(50_000, seed=7))
    assert len(set(ids)) == 50_000
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{10}[AEIMQUYcgkosw048]", i) for i in ids)
    assert list(invented_ids(100, seed=7)) == ids[:100]
    assert not set(invented_ids(100, seed=8)) & set(ids)


def test_a_video_depends_on_seed_and_id_alone() -> None:
    ids = list(invented_ids(200))
    first = [invent(1, i) for i in ids]
    assert [invent(1, i) for i in reversed(ids)] == first[::-1]
    assert [invent(2, i) for i in ids] != first
    assert {video.manual for video in first} == {True, False}
    assert len({video.title for video in first}) == 200


@pytest.mark.parametrize("head", playable_head(SMALL_PLAYER))
def test_a_head_and_an_end_make_json(head: bytes) -> None:
    end = b']}},"videoDetails":{}}' if b"captionTracks" in head else b'"videoDetails":{}}'
    assert json.loads(head + end)["playabilityStatus"]["status"] == "OK"


def test_a_transcript_has_the_same_cues_in_every_format() -> None:
    texts = TimedText()
    for video_id in itertools.islice(invented_ids(3), 3):
        video = invent(1, video_id)
        found = {fmt: _plain(texts, video_id, fmt) for fmt in ("srv1", "srv3", "json3", "vtt")}
        srv1 = [(float(e.attrib["start"]), e.text or "") for e in ElementTree.fromstring(found["srv1"])]
        srv3 = [(int(e.attrib["t"]) / 1000, e.text or "") for e in ElementTree.fromstring(found["srv3"])[0]]
        json3 = [(e["tStartMs"] / 1000, e["segs"][0]["utf8"]) for e in json.loads(found["json3"])["events"]]
        assert len(srv1) == 300
        assert srv3 == json3
        assert [start for start, _ in srv1] == [start for start, _ in srv3]
        assert found["vtt"].count(b" --> ") == 300
        assert all(f"end of {video.video_id} in en".encode() in body for body in found.values())


def _plain(texts: TimedText, video_id: str, fmt: str) -> bytes:
    body, end = texts.answer(invent(1, video_id), "en", fmt)
    return body.plain(end)
