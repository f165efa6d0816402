"""The output directory: whole files or none, names by id alone, and nothing outside of it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import Crash, dying_at, ids, record

from engine.errors import DiskError, UsageError
from engine.model import Cue, Metadata, Record, Transcript
from engine.output.folding import NAMES
from engine.output.ownership import Ownership
from engine.output.publisher import (
    OWNER,
    TMP,
    Output,
    TakenError,
    intact,
    relative,
    remove_output,
    sha256,
    sweep,
)
from engine.queue import marker
from engine.storage import disk
from engine.storage.timestamps import utc

NAME = "dQw4w9WgXcQ"
BATCH, OTHER = "a" * 32, "b" * 32
MINE = Ownership(BATCH, formats=("md", "srt"))


def a_record(name: str = NAME, text: str = "Hello") -> Record:
    transcript = Transcript("en", "English", False, (Cue(0.0, 1.0, text),))
    return Record(name, Metadata(title="A title"), transcript, {"row": 1}, utc(0), batch=BATCH)


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Output]:
    (tmp_path / "out").mkdir()
    marker.write(str(tmp_path / "out"), marker.Note(BATCH))
    found = Output(str(tmp_path / "out"), ("md", "srt"), "run.0.1", BATCH)
    yield found
    found.close()


def files_of(root: str) -> list[str]:
    """All files but markers, and the notes that say whose a temporary directory is."""
    return sorted(
        os.path.relpath(os.path.join(at, name), root)
        for at, _, names in os.walk(root)
        for name in names
        if name != OWNER and os.path.basename(at) != marker.DIR
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
    names = ["_rename_noreplace", "_open", "_fsync"] + [
        "_rename_noreplace"
    ] * 2  # the record's first, and durably
    assert steps == ["_mkdir"] + ["_open", "_write"] * 3 + ["_fdatasync"] * 3 + names
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
        assert all(text in (old[path], new[path]) for path, text in now.items()), step
    assert step >= 12
    assert sums() == new != old


def test_never_through_a_symbolic_link(output: Output, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / f"{NAME}.json").write_text("mine")
    os.symlink(mine, os.path.join(output.root, "dQ"))
    with pytest.raises(UsageError, match="symbolic link"):
        output.publish(a_record())
    remove_output(output.root, NAME, MINE)
    assert os.listdir(mine) == [f"{NAME}.json"]
    assert (mine / f"{NAME}.json").read_text() == "mine"


def test_a_link_in_place_of_a_file_stays_and_no_file_is_read_through_one(
    output: Output, tmp_path: Path
) -> None:
    (tmp_path / "mine").write_text("mine")
    os.makedirs(os.path.join(output.root, "dQ"))
    path = os.path.join(output.root, relative(NAME, "json"))
    os.symlink(tmp_path / "mine", path)
    assert sha256(path) is None
    with pytest.raises(TakenError, match=f"dQ/{NAME}.json"):
        output.publish(a_record())
    assert os.path.islink(path)
    replacing = Output(output.root, output.formats, "run.0.2", BATCH, replace=True)
    replacing.publish(a_record())
    replacing.close()
    assert (tmp_path / "mine").read_text() == "mine"
    assert not os.path.islink(path)


def test_remove_takes_every_format_that_we_write_of_one_video_alone(output: Output) -> None:
    other = ids(1)[0]
    output.publish(a_record(other))
    output.publish(a_record())
    theirs = [
        relative(NAME, extension) for extension in ("txt", "vtt")
    ]  # formats that this queue does not write
    for path in theirs:
        Path(output.root, path).write_text("")
    output.remove(NAME)
    output.remove(NAME)
    ours = [relative(other, extension) for extension in ("json", "md", "srt")]
    assert files_of(output.root) == sorted([*ours, *theirs])


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
    os.mkdir(root)
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
    root.mkdir()
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
    probe = tmp / ".engine-names-0123abcd"  # of a process that was killed as it tried how names are kept
    probe.mkdir()
    (probe / NAMES[0]).touch()
    dead.close()
    sweep(str(root))
    assert all(path.read_text() == "precious" for path in notes)
    assert sorted(os.listdir(tmp / "run.0.1")) == ["notes.txt"]
    assert not probe.exists()


def test_what_another_queue_s_worker_has_in_hand_is_left_alone(tmp_path: Path) -> None:
    root = str(tmp_path / "out")
    os.mkdir(root)
    code = (
        "import sys; from engine.output.publisher import Output; Output(sys.argv[1], ('md',), 'other.0.1');"
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
    remove_output(str(root), video_id, MINE)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["out", "x.json", "x.md"]
    assert not intact(
        str(root), {"files": {"json": "../x.json"}, "sha256": {"json": sha256(str(tmp_path / "x.json"))}}
    )
    assert not intact(str(root), {"files": {"json": 5}, "sha256": {"json": ""}})


def test_temporary_files_are_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".engine-tmp").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="symbolic link"):
        Output(str(tmp_path / "out"), ("md",), "w")


def files(output: Output) -> dict[str, bytes]:
    """What lies under the video's names."""
    return {path: Path(output.root, path).read_bytes() for path in files_of(output.root) if path[:2] == "dQ"}


def put(output: Output, extension: str, data: bytes = b"mine") -> dict[str, bytes]:
    """A file of somebody else's under one of the video's names."""
    os.makedirs(os.path.join(output.root, "dQ"), exist_ok=True)
    Path(output.root, relative(NAME, extension)).write_bytes(data)
    return {relative(NAME, extension): data}


ANOTHER = json.dumps({"video_id": NAME, "batch": OTHER}).encode()


@pytest.mark.parametrize(
    ("extension", "data"), [("json", b"mine"), ("md", b"mine"), ("srt", b""), ("json", ANOTHER)]
)
def test_a_file_of_others_stays_and_nothing_is_written_beside_it(
    output: Output, extension: str, data: bytes
) -> None:
    there = put(output, extension, data)
    with pytest.raises(TakenError) as taken:
        output.publish(a_record())
    assert taken.value.path == relative(NAME, extension)
    assert files(output) == there
    output.remove(NAME)
    assert files(output) == there


@pytest.mark.parametrize("extension", ["json", "md", "srt"])
def test_a_file_that_appears_at_the_last_moment_stays(
    output: Output, extension: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the rename another process takes the name."""
    real, there = disk.rename_new, {}

    def late(source: str, path: str) -> None:
        if path.endswith(extension):
            there.update(put(output, extension))
        real(source, path)

    monkeypatch.setattr(disk, "rename_new", late)
    with pytest.raises(TakenError, match=relative(NAME, extension)):
        output.publish(a_record())
    assert files(output) == there


def test_with_replace_files_of_others_are_overwritten_but_no_directory_is(output: Output) -> None:
    replacing = Output(output.root, output.formats, "run.0.2", BATCH, replace=True)
    for extension in ("json", "md"):
        put(output, extension)
    published, _ = replacing.publish(a_record())
    assert b"mine" not in files(output).values()
    assert set(files(output)) == set(published.values())
    os.unlink(os.path.join(output.root, published["md"]))
    os.mkdir(os.path.join(output.root, published["md"]))
    with pytest.raises(TakenError, match="md"):
        replacing.publish(a_record())
    replacing.close()


@pytest.mark.parametrize("with_old", [False, True])
def test_what_a_death_leaves_at_any_step_is_known_for_ours(output: Output, with_old: bool) -> None:
    """kill -9 between the renames and the journal line: no row, and yet nothing of it looks foreign."""
    for step in range(100):
        if with_old:
            output.publish(a_record(text="old"))
        with dying_at(step):
            try:
                output.publish(a_record())
                break
            except Crash:
                pass
        left = files(output)
        if step % 2:
            output.publish(a_record())
            assert len(files(output)) == 3, (step, left)
        output.remove(NAME)
        assert files(output) == {}, (step, left)
    assert step > 12


def test_a_death_while_it_removes_leaves_nothing_that_looks_foreign(output: Output) -> None:
    for step in range(100):
        output.publish(a_record())
        with dying_at(step):
            try:
                output.remove(NAME)
                break
            except Crash:
                pass
        output.remove(NAME)
        assert files(output) == {}, step
    assert step >= 5


def test_a_directory_without_the_marker_is_not_written_to(output: Output) -> None:
    """It was removed or unmounted amid a run; and made again by somebody, or the mount point shows."""
    output.publish(a_record())
    moved = output.root + ".moved"
    os.rename(output.root, moved)
    with pytest.raises(DiskError, match=re.escape(output.root)):
        output.publish(a_record())
    assert not os.path.exists(output.root)
    os.mkdir(output.root)
    with pytest.raises(DiskError, match="is gone, or is another one"):
        output.publish(a_record())
    with pytest.raises(DiskError, match="is gone, or is another one"):
        Output(output.root, ("md",), "run.0.9", BATCH)
    assert os.listdir(output.root) == []


def test_a_directory_that_goes_while_files_are_written_is_noticed_before_they_count(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = disk.publish_all

    def then_gone(*args: object, **how: object) -> None:
        real(*args, **how)  # type: ignore[arg-type]
        os.rename(output.root, output.root + ".moved")

    monkeypatch.setattr(disk, "publish_all", then_gone)
    with pytest.raises(DiskError, match="bring it back or mount it"):
        output.publish(a_record())


def test_after_a_failed_sync_of_names_none_is_tried_again(
    output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one would say "fine" of names that are not on the disk."""
    tried: list[int] = []

    def fails(fd: int) -> None:
        tried.append(fd)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(disk, "_fsync", fails)
    for again in (lambda: output.publish(a_record()), lambda: output.sync({"dQ"})):
        with pytest.raises(OSError, match="Input/output error"):
            again()
    assert len(tried) == 1


def test_a_file_of_others_where_a_directory_would_be(output: Output) -> None:
    path = Path(output.root, NAME[:2])
    path.write_text("mine")
    with pytest.raises(TakenError, match=NAME[:2]):
        output.publish(a_record())
    assert path.read_text() == "mine"
