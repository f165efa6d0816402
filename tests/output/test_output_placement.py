"""Where an output directory may lie, relative to a queue."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.output.placement import misplaced, refuse_output_place
from engine.queue.making import make_queue
from engine.queue.names import OWN

OWN_FILES, OWN_DIR, TRANSCRIPTS, HIDDEN = (
    "among the queue's own files", "a queue's own directory", "transcripts will lie", "things of its own"
)  # fmt: skip
CASES = [
    ("q", "out", ""),
    ("q", "q2", ""),
    ("q", "q/out", ""),
    ("q", "q/ab", ""),
    ("queue", ".", ""),
    ("q", "q", OWN_DIR),
    ("q", "q/", OWN_DIR),
    ("q", "q/../q", OWN_DIR),
    ("q", "q/tmp", OWN_FILES),
    ("q", "q/tmp/deep/er", OWN_FILES),
    ("q", "q/TMP", OWN_FILES),
    ("q", "q/./pending/../pending/x", OWN_FILES),
    ("q", "q/budget", OWN_FILES),
    ("q", "q/asked", OWN_FILES),
    ("out/ab", "out", TRANSCRIPTS),
    ("out/ab/deep", "out", TRANSCRIPTS),
    ("out/-_", "out/", TRANSCRIPTS),
    ("out/.engine-tmp/q", "out", TRANSCRIPTS),
    ("out/.engine-batches", "out", TRANSCRIPTS),
    ("out/abc", "out", ""),
    ("out/a", "out", ""),
    ("out/q/ab", "out", ""),
    ("q", "out/.engine-tmp", HIDDEN),
    ("q", "out/.engine-tmp/x", HIDDEN),
]


@pytest.mark.parametrize(("queue", "out", "why"), CASES)
@pytest.mark.parametrize("there", [False, True])
def test_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, queue: str, out: str, why: str, there: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    if there and ".engine-" not in queue:
        make_queue(queue)
    found = misplaced(queue, out)
    assert why in found if why else not found
    if why:
        with pytest.raises(UsageError, match="-o"):
            refuse_output_place(queue, out)


@pytest.mark.parametrize("name", sorted(OWN))
def test_every_name_of_a_queue(tmp_path: Path, name: str) -> None:
    root = str(tmp_path / "queue")
    for _ in range(2):
        assert misplaced(root, os.path.join(root, name, "x"))
        make_queue(root)


def test_through_links(tmp_path: Path) -> None:
    queue = make_queue(str(tmp_path / "queue"))
    (tmp_path / "to tmp").symlink_to(queue.tmp)
    (tmp_path / "to queue").symlink_to("queue")
    (tmp_path / "out" / "ab").mkdir(parents=True)
    (tmp_path / "to ab").symlink_to("out/ab")
    for root, out in (
        (queue.root, tmp_path / "to tmp"),
        (queue.root, tmp_path / "to tmp" / "x"),
        (queue.root, tmp_path / "to queue" / "done"),
        (queue.root, tmp_path / "to queue"),
        (str(tmp_path / "to queue"), Path(queue.root)),
        (str(tmp_path / "to ab" / "queue"), tmp_path / "out"),
    ):
        assert misplaced(root, str(out)), (root, out)


def test_another_queues_directories(tmp_path: Path) -> None:
    other = make_queue(str(tmp_path / "other"))
    for out in (other.root, other.tmp, other.path("done", "x")):
        assert misplaced(str(tmp_path / "queue"), out)
    assert not misplaced(str(tmp_path / "queue"), other.path("out"))


def test_what_was_frozen_stands(tmp_path: Path) -> None:
    """A queue of an earlier engine goes on where it was begun; nothing of its output is swept away any more."""
    queue = make_queue(str(tmp_path / "queue"))
    frozen = {"output": queue.tmp, "languages": ["en"], "formats": ["md"]}
    with pytest.raises(UsageError):
        refuse_output_place(queue.root, queue.tmp)
    queue.write_batch({**queue.read_batch(), "frozen": frozen})
    refuse_output_place(queue.root, queue.tmp)
