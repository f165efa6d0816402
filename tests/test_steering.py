"""Asking a live run: one small file, read whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.queue.layout import make_queue
from engine.steering import clear_request, read_request, request_stop


@pytest.mark.parametrize("now", [False, True])
def test_what_is_asked_is_read_until_it_is_cleared(tmp_path: Path, now: bool) -> None:
    queue = make_queue(str(tmp_path / "q"))
    assert read_request(queue) is None
    request_stop(queue, now=now)
    assert read_request(queue) == {"stop": True, "now": now}
    assert read_request(queue) is not None
    clear_request(queue)
    assert read_request(queue) is None
    clear_request(queue)
    assert os.listdir(queue.tmp) == []


def test_the_last_word_counts(tmp_path: Path) -> None:
    queue = make_queue(str(tmp_path / "q"))
    request_stop(queue, now=False)
    request_stop(queue, now=True)
    assert (read_request(queue) or {})["now"] is True


@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b"\xff", b"5"])
def test_nonsense_asks_for_nothing(tmp_path: Path, data: bytes) -> None:
    queue = make_queue(str(tmp_path / "q"))
    with open(queue.control, "wb") as file:
        file.write(data)
    assert read_request(queue) is None


def test_a_directory_in_its_place_asks_for_nothing(tmp_path: Path) -> None:
    queue = make_queue(str(tmp_path / "q"))
    os.mkdir(queue.control)
    assert read_request(queue) is None
