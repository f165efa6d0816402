"""The marker in an output directory: what it says, and how it tells a copy from a moved queue."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from engine.errors import DiskError
from engine.queue import marker
from engine.queue.directory import Queue
from engine.queue.making import make_queue
from engine.queue.marker import Note

pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project directory with a queue and its marked output, kept by its relative path."""
    root = tmp_path / "project"
    mark(root / "queue", root / "out", relative=True)
    return root


def mark(queue: Path, out: Path, *, relative: bool) -> Queue:
    made = make_queue(str(queue))
    out.mkdir(parents=True, exist_ok=True)
    batch = made.read_batch()
    marker.write(str(out), Note.of(batch["id"], str(queue), str(out)))
    frozen = {"output": str(out)}
    if relative:
        frozen["output_relative"] = os.path.relpath(out, queue)
    made.write_batch({**batch, "frozen": frozen})
    return made


def stands(queue: Path) -> tuple[str, bool | None]:
    """(the queue's output directory as it is found, whether it is the queue's; None without a marker)"""
    found = Queue(str(queue))
    output = marker.output_of(found)
    assert output is not None
    note = marker.read(output, marker.id_of(found.read_batch()))
    return output, None if note is None else marker.belongs(note, found, output)


def test_it_says_whose_it_is(project: Path) -> None:
    batch_id = Queue(str(project / "queue")).read_batch()["id"]
    note = marker.read(str(project / "out"), batch_id)
    assert note == Note(
        batch_id,
        str(project / "queue"),
        os.stat(project / "queue").st_ino,
        str(project / "out"),
        os.stat(project / "out").st_ino,
    )
    assert stands(project / "queue") == (str(project / "out"), True)
    assert os.listdir(project / "out") == [marker.DIR]
    assert marker.read(str(project / "out"), "f" * 32) is None
    assert marker.read(str(project / "none"), batch_id) is None
    marker.check(str(project / "out"), batch_id)
    with pytest.raises(DiskError):
        marker.check(str(project / "none"), batch_id)


def test_a_project_that_is_moved_takes_its_output_with_it(project: Path) -> None:
    moved = project.with_name("moved")
    os.rename(project, moved)
    assert stands(moved / "queue") == (str(moved / "out"), True)


def test_a_project_that_is_copied_uses_the_copy_of_its_output(project: Path) -> None:
    copy = project.with_name("copy")
    shutil.copytree(project, copy)
    assert stands(copy / "queue") == (str(copy / "out"), True)
    assert stands(project / "queue") == (str(project / "out"), True)


def test_a_copied_queue_is_distinguished_from_the_queue(project: Path) -> None:
    shutil.copytree(project / "queue", project / "beside")
    assert stands(project / "beside") == (str(project / "out"), False)
    assert stands(project / "queue") == (str(project / "out"), True)


def test_a_copied_project_whose_output_path_is_absolute_is_recognised(tmp_path: Path) -> None:
    mark(tmp_path / "p" / "queue", tmp_path / "p" / "out", relative=False)
    shutil.copytree(tmp_path / "p", tmp_path / "copy")
    assert stands(tmp_path / "copy" / "queue") == (str(tmp_path / "p" / "out"), False)


def test_a_queue_that_is_moved_alone_finds_its_output(project: Path, tmp_path: Path) -> None:
    (tmp_path / "far" / "away").mkdir(parents=True)
    os.rename(project / "queue", tmp_path / "far" / "away" / "queue")
    assert stands(tmp_path / "far" / "away" / "queue") == (str(project / "out"), True)


def test_a_queue_brought_back_from_a_copy_is_a_copy(project: Path) -> None:
    os.rename(project / "queue", project / "old")
    shutil.copytree(project / "old", project / "queue")
    assert stands(project / "queue") == (str(project / "out"), False)
    assert stands(project / "old") == (str(project / "out"), True)  # that one was moved


def test_queue_and_output_brought_back_together_are_one_another_s(project: Path) -> None:
    os.rename(project, project.with_name("kept"))  # it stays: a removed directory's inode may be given again
    shutil.copytree(project.with_name("kept"), project)
    assert stands(project / "queue") == (str(project / "out"), True)


def test_by_another_name_it_is_the_same(project: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(project)
    queue = Queue(str(tmp_path / "link" / "queue"))
    output = marker.output_of(queue)
    assert output == str(project / "out")
    note = marker.read(output, marker.id_of(queue.read_batch()))
    assert note is not None
    assert marker.belongs(note, queue, output)


def test_where_inode_numbers_pass_the_path_decides(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marker, "file_system", lambda path: "exfat")
    queue, out = project / "queue", project / "out"
    mark(queue, out, relative=True)
    assert stands(queue) == (str(out), True)
    shutil.copytree(queue, project / "beside")
    assert stands(project / "beside") == (str(out), False)
    shutil.rmtree(queue)
    assert stands(project / "beside") == (str(out), True)  # moved, for all that can be told


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"id": "x", "queue": 5}', b"\xff" * 9])
def test_one_that_cannot_be_read_is_still_there(project: Path, data: bytes) -> None:
    batch_id = Queue(str(project / "queue")).read_batch()["id"]
    Path(marker.path_of(str(project / "out"), batch_id)).write_bytes(data)
    assert marker.read(str(project / "out"), batch_id) == Note(batch_id)
    assert stands(project / "queue") == (str(project / "out"), True)


def test_what_a_death_left_of_writing_it_goes_and_others_stay(project: Path) -> None:
    out, batch_id = str(project / "out"), Queue(str(project / "queue")).read_batch()["id"]
    for name in (f".{batch_id}.0123abcd.tmp", f".{'b' * 32}.0123abcd.tmp", "b" * 32, "notes.tmp"):
        (project / "out" / marker.DIR / name).write_text("x")
    marker.write(out, Note.of(batch_id, str(project / "queue"), out))
    rest = {f".{'b' * 32}.0123abcd.tmp", "b" * 32, "notes.tmp"}
    assert set(os.listdir(project / "out" / marker.DIR)) == {batch_id, *rest}
    marker.remove(out, batch_id)
    assert set(os.listdir(project / "out" / marker.DIR)) == rest


@pytest.mark.parametrize("value", [None, 5, "", "../x", "A" * 32, "a" * 65, "a" * 15])
def test_what_could_lead_elsewhere_is_no_id(value: object) -> None:
    assert marker.id_of({"id": value}) == ""


@pytest.mark.parametrize("inside", [5, "", "/abs", "a\0b", None])
def test_a_relative_path_that_is_none_is_not_followed(tmp_path: Path, inside: object) -> None:
    queue = make_queue(str(tmp_path / "q"))
    queue.write_batch({"frozen": {"output": "/o", "output_relative": inside}})
    assert marker.output_of(queue) == "/o"
    assert json.loads(Path(queue.batch).read_bytes())["frozen"]["output_relative"] == inside


@pytest.mark.parametrize(
    ("output", "inside"),
    [
        ("p/out", "../out"),
        ("p/queue/out", "out"),
        ("p", ".."),
        ("p/a/b", "../a/b"),
        ("out", None),
        ("p2/out", None),
    ],
)
def test_what_lies_beside_or_below_is_kept_relative(tmp_path: Path, output: str, inside: str | None) -> None:
    assert marker.relative_to(Queue(str(tmp_path / "p" / "queue")), str(tmp_path / output)) == inside
