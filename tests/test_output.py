"""The output directory: whole files or none, names by id alone, and nothing outside of it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import Crash, dying_at, ids
from test_durable import record

from engine.clock import utc
from engine.errors import UsageError
from engine.model import Cue, Metadata, Record, Transcript
from engine.output import OWNER, TMP, Output, forget, intact, relative, sha256, sweep

NAME = "dQw4w9WgXcQ"


def a_record(name: str = NAME, text: str = "Hello") -> Record:
    transcript = Transcript("en", "English", False, (Cue(0.0, 1.0, text),))
    return Record(name, Metadata(title="A title"), transcript, {"row": 1}, utc(0))


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Output]:
    found = Output(str(tmp_path / "out"), ("md", "srt"), "run.0.1")
    yield found
    found.close()


def files_of(root: str) -> list[str]:
    """All files but the notes that say whose a temporary directory is."""
    return sorted(
        os.path.relpath(os.path.join(at, name), root)
        for at, _, names in os.walk(root)
        for name in names
        if name != OWNER
    )


def test_what_is_published_is_named_summed_and_nothing_else_is_there(output: Output) -> None:
    files, sums = output.publish(a_record())
    assert files == {extension: f"dQ/{NAME}.{extension}" for extension in ("json", "md", "srt")}
    assert files_of(output.root) == sorted(files.values())
    for extension, path in files.items():
        data = Path(output.root, path).read_bytes()
        assert hashlib.sha256(data).hexdigest() == sums[extension]
        assert os.stat(os.path.join(output.root, path)).st_mode & 0o777 == 0o644
    assert json.loads(Path(output.root, files["json"]).read_bytes())["video_id"] == NAME
    assert intact(output.root, {"files": files, "sha256": sums})


def test_each_file_is_durable_before_its_name_and_the_names_before_the_promise(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = record(monkeypatch)
    output.publish(a_record())
    assert steps == ["_mkdir"] + ["_open", "_write"] * 3 + ["_fdatasync"] * 3 + ["_rename"] * 3
    steps.clear()
    touched = output.touched()
    assert touched == {"", "dQ"}  # the directory itself is new in the root
    output.sync(touched)
    assert steps == ["_open", "_fsync"] * 2
    assert output.touched() == set()
    output.publish(a_record())
    assert output.touched() == {"dQ"}


def test_a_death_at_any_step_leaves_each_file_old_or_new(output: Output, tmp_path: Path) -> None:
    def sums() -> dict[str, str | None]:
        return {path: sha256(os.path.join(output.root, path)) for path in files_of(output.root)}

    output.publish(a_record(text="after"))
    new = sums()
    output.publish(a_record(text="before"))
    old = sums()
    for step in range(100):
        with dying_at(step, torn=True):
            try:
                output.publish(a_record(text="after"))
                break
            except Crash:
                pass
        sweep(output.root)
        os.makedirs(os.path.join(output.root, TMP, "run.0.1"))
        now = sums()
        assert set(now) == set(old), step
        assert all(its in (old[path], new[path]) for path, its in now.items()), step
    assert step >= 12
    assert sums() == new != old


def test_never_through_a_symbolic_link(output: Output, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / f"{NAME}.json").write_text("mine")
    os.symlink(mine, os.path.join(output.root, "dQ"))
    with pytest.raises(UsageError, match="symbolic link"):
        output.publish(a_record())
    forget(output.root, NAME)
    assert os.listdir(mine) == [f"{NAME}.json"]
    assert (mine / f"{NAME}.json").read_text() == "mine"


def test_a_link_in_place_of_a_file_is_replaced_and_no_file_is_read_through_one(
    output: Output, tmp_path: Path
) -> None:
    (tmp_path / "mine").write_text("mine")
    os.makedirs(os.path.join(output.root, "dQ"))
    path = os.path.join(output.root, relative(NAME, "json"))
    os.symlink(tmp_path / "mine", path)
    assert sha256(path) is None
    output.publish(a_record())
    assert (tmp_path / "mine").read_text() == "mine"
    assert not os.path.islink(path)


def test_forget_removes_every_format_of_one_video_alone(output: Output) -> None:
    other = ids(1)[0]
    output.publish(a_record(other))
    output.publish(a_record())
    for extension in ("txt", "vtt"):  # from a run with other formats
        Path(output.root, relative(NAME, extension)).write_text("")
    forget(output.root, NAME)
    forget(output.root, NAME)
    assert files_of(output.root) == sorted(relative(other, extension) for extension in ("json", "md", "srt"))


@pytest.mark.parametrize("harm", ["gone", "changed", "directory", "one more", "no sum"])
def test_not_intact(output: Output, harm: str) -> None:
    files, sums = output.publish(a_record())
    path = os.path.join(output.root, files["md"])
    if harm == "gone":
        os.unlink(path)
    elif harm == "changed":
        os.truncate(path, 5)
    elif harm == "directory":
        os.unlink(path)
        os.mkdir(path)
    elif harm == "one more":
        files["vtt"] = relative(NAME, "vtt")
    else:
        del sums["md"]
    assert not intact(output.root, {"files": files, "sha256": sums})


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"files": []},
        {"files": {}, "sha256": {}},
        {"files": {}, "sha256": None},
        {"files": None, "sha256": {}},
    ],
)
def test_a_row_without_files_is_not_intact(tmp_path: Path, row: dict[str, object]) -> None:
    assert not intact(str(tmp_path), row)


def test_sweep_and_close_remove_what_is_temporary(tmp_path: Path) -> None:
    root = str(tmp_path / "out")
    dead, living = Output(root, ("md",), "run.0.1"), Output(root, ("md",), "run.1.1")
    living.publish(a_record())
    Path(root, TMP, "run.0.1", ".dQw4w9WgXcQ.md.0a1b2c3d.tmp").write_text("half")
    living.close()
    assert os.listdir(os.path.join(root, TMP)) == ["run.0.1"]
    sweep(root)
    assert sorted(os.listdir(root)) == ["dQ"]
    dead.close()
    sweep(str(tmp_path / "none"))


def test_what_others_put_among_temporary_files_stays(tmp_path: Path) -> None:
    root = tmp_path / "out"
    tmp = root / TMP
    dead = Output(str(root), ("md",), "run.0.1")
    notes = [
        tmp / "notes.txt",
        tmp / "run.0.1" / "notes.txt",
        tmp / "photos" / "owner",
        tmp / "photos" / "a.tmp",
    ]
    for path in notes:
        path.parent.mkdir(exist_ok=True)
        path.write_text("precious")
    (tmp / "run.0.2").symlink_to(tmp / "photos")
    dead.close()
    sweep(str(root))
    assert all(path.read_text() == "precious" for path in notes)
    assert sorted(os.listdir(tmp / "run.0.1")) == ["notes.txt"]


def test_what_another_queue_s_worker_has_in_hand_is_left_alone(tmp_path: Path) -> None:
    root = str(tmp_path / "out")
    code = (
        "import sys; from engine.output import Output; Output(sys.argv[1], ('md',), 'other.0.1');"
        "print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, root], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        Output(root, ("md",), "run.0.1")
        sweep(root)
        assert os.listdir(os.path.join(root, TMP)) == ["other.0.1"]
        other.kill()
        other.wait()
    sweep(root)
    assert os.listdir(root) == []


def test_threads_publish_side_by_side(output: Output) -> None:
    names = ids(24)
    threads = [
        threading.Thread(target=lambda part=part: [output.publish(a_record(name)) for name in names[part::4]])
        for part in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(files_of(output.root)) == 72
    assert output.touched() == {"", *(name[:2] for name in names)}


@pytest.mark.parametrize("video_id", ["../x", "../../../../x", "", "dQw4w9WgXc", "dQ/w9WgXcQx"])
def test_what_is_no_id_is_no_path(tmp_path: Path, video_id: str) -> None:
    """A damaged `inflight` or row names anything; nothing is removed or looked at by it."""
    root = tmp_path / "out"
    root.mkdir()
    for path in (tmp_path / "x.json", tmp_path / "x.md"):
        path.write_text("mine")
    forget(str(root), video_id)
    assert sorted(its.name for its in tmp_path.iterdir()) == ["out", "x.json", "x.md"]
    assert not intact(
        str(root), {"files": {"json": "../x.json"}, "sha256": {"json": sha256(str(tmp_path / "x.json"))}}
    )
    assert not intact(str(root), {"files": {"json": 5}, "sha256": {"json": ""}})


def test_temporary_files_are_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".engine-tmp").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="symbolic link"):
        Output(str(tmp_path / "out"), ("md",), "w")
