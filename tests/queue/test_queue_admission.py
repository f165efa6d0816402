"""Which directory is a queue, which may become one, and which is never touched."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import Crash, add, batch, dying_at, every_step, ids, print_of

from engine import verify
from engine.errors import NoQueueError, UsageError
from engine.queue import names
from engine.queue.admission import DirectoryState, inspect
from engine.queue.directory import exists, open_queue
from engine.queue.making import make_queue
from engine.recovery.startup import recover
from engine.storage import disk

pytestmark = pytest.mark.usefixtures("no_fsync")

Make = Callable[[Path], object]


def _files(*found: str, text: str = "words\n") -> Make:
    """A directory with these files; a name that ends in / is an empty directory."""

    def make(root: Path) -> None:
        for name in found:
            path = root / name
            if name.endswith("/"):
                path.mkdir(parents=True, exist_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)

    return make


def _format(text: bytes, *others: str) -> Make:
    def make(root: Path) -> None:
        _files(*others)(root)
        (root / "FORMAT").write_bytes(text)

    return make


def _half(count: int, *others: str, mode: int = 0o700) -> Make:
    """What an engine that made FORMAT last had made when it was killed."""

    def make(root: Path) -> None:
        for name in names.DIRS[:count]:
            (root / name).mkdir()
            (root / name).chmod(mode)
        _files(*others)(root)

    return make


def _batch(root: Path, **more: object) -> None:
    value = {"schema_version": 1, "created_at": "2026-11-22T09:05:21Z", "rehearsal": False, "frozen": None}
    (root / "batch.json").write_text(json.dumps({**value, **more}))


FREE: dict[str, Make] = {
    "empty": lambda root: None,
    "readme": _files("README", "README.md"),
    "kept by git": _files(".gitignore", ".gitkeep"),
    "a disk of its own": _files("lost+found/"),
    "settings": _files("engine.toml"),
    "settings and proxies": _files("engine.toml", "proxies.txt", "videos.csv"),
    "settings and all": _files("engine.toml", "src/a.py", "README.md", "ab/x"),
    "killed before the first name": _files(".FORMAT.0a1b2c3d.tmp", text="1\n"),
}
FOREIGN: dict[str, Make] = {
    "a project": _files("src/a.py", "tmp/notes.txt", "README.md"),
    "an empty tmp": _files("tmp/"),
    "a tmp with settings": _files("engine.toml", "tmp/"),
    "done": _files("done/", "todo.txt"),
    "names of ours in capitals": _files("engine.toml", "TMP/"),
    "settings and a lock": _files("engine.toml", "run.lock"),
    "settings and a budget": _files("engine.toml", "budget"),
    "one file": _files("x"),
    "hidden": _files(".env"),
    "a directory called README": _files("README/a"),
    "lost+found as a file": _files("lost+found"),
    "git": _files(".git/"),
    "git of a worktree": _files(".git", "README"),
    "git and settings": _files(".git/", "engine.toml"),
    "FORMAT says parquet": _format(b"parquet\n"),
    "FORMAT says parquet, settings": _format(b"parquet\n", "engine.toml"),
    "FORMAT is empty": _format(b"", "data"),
    "FORMAT is long": _format(b"1" * 100),
    "FORMAT is 01": _format(b"01\n"),
    "FORMAT is 1 of another kind": _format(b"1\n", "data/x", "index"),
    "FORMAT is 1 beside tmp and done": _format(b"1\n", "tmp/notes.txt", "done/"),
    "FORMAT is 1 beside an empty done": _format(b"1\n", "done/"),
    "FORMAT is 1 beside an empty tmp": _format(b"1\n", "tmp/"),
    "FORMAT is 1 beside an empty segments": _format(b"1\n", "segments/"),
    "FORMAT is 1 beside a log's segments": _format(b"1\n", "segments/00000000000000000000.log", "journal/a"),
    "FORMAT is 1, settings, an own name in use": _format(b"1\n", "engine.toml", "tmp/notes.txt"),
    "FORMAT is 2 of another kind": _format(b"2\n", "data"),
    "FORMAT is a directory": _files("FORMAT/x"),
    "FORMAT is a directory, settings": _files("FORMAT/", "engine.toml"),
    "FORMAT is a pipe": lambda root: os.mkfifo(root / "FORMAT"),
    "FORMAT is a link": lambda root: (root / "FORMAT").symlink_to("/etc/hostname"),
    "FORMAT leads nowhere": lambda root: (root / "FORMAT").symlink_to("nowhere"),
    "FORMAT is a link to a number": lambda root: (
        (root / "number").write_text("1\n"),
        (root / "FORMAT").symlink_to("number"),
    ),
    "FORMAT is huge": lambda root: os.truncate(_made(root / "FORMAT"), 1 << 40),
    "batch.json of another kind": _files("batch.json", "FORMATS"),
    "a queue without its FORMAT": lambda root: (make_queue(str(root)), add(open_queue(str(root)), ids(2)),
                                                os.unlink(root / "FORMAT")),
    "directories of ours in another order": _files("segments/", "tmp/"),
    "half a queue that others may read": _half(4, mode=0o755),
    "half a queue and a file": _half(4, "x"),
    "half a queue with something in it": _half(10, "tmp/notes.txt"),
    "half a queue with a foreign batch.json": _half(10, "batch.json"),
}  # fmt: skip


def _made(path: Path) -> Path:
    path.touch()
    return path


@pytest.fixture
def place(tmp_path: Path) -> Path:
    root = tmp_path / "place"
    root.mkdir()
    return root


@pytest.mark.parametrize("name", FREE)
def test_what_may_become_a_queue(place: Path, name: str) -> None:
    FREE[name](place)
    kept = {
        path: path.read_bytes() for path in place.rglob("*") if path.is_file() and "FORMAT" not in path.name
    }
    assert inspect(str(place)).state is DirectoryState.FREE
    assert not exists(str(place))
    with pytest.raises(NoQueueError):
        open_queue(str(place))
    queue = make_queue(str(place))
    add(queue, ids(3))
    assert recover(queue) in ([], ["removed 1 leftover(s) in tmp/"])
    assert verify.audit(str(place)).ok
    assert queue.total() == 3
    assert all(path.read_bytes() == data for path, data in kept.items())


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_somebody_elses_stays_as_it_is(place: Path, name: str) -> None:
    FOREIGN[name](place)
    before = print_of(place)
    assert inspect(str(place)).state is DirectoryState.FOREIGN
    assert not exists(str(place))
    with pytest.raises(NoQueueError, match=r"place") as none:
        open_queue(str(place))
    with pytest.raises(UsageError, match=r"place.*-q") as refused:
        make_queue(str(place))
    assert all("\n" not in str(said.value) for said in (none, refused))
    assert print_of(place) == before


@pytest.mark.parametrize(("path", "why"), [("/", "root"), ("/../.", "root"), ("/root/..", "root")])
def test_the_root_directory(path: str, why: str) -> None:
    assert why in inspect(path).why


def test_home_directories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, other = tmp_path / "me", tmp_path / "other"
    for path in (home, other):
        path.mkdir()
    monkeypatch.setenv("HOME", str(home))
    mine = pwd.getpwuid(os.getuid())
    monkeypatch.setattr(
        pwd, "getpwall", lambda: [mine, pwd.struct_passwd(("o", "x", 7, 7, "", str(other), ""))]
    )
    link = tmp_path / "link"
    link.symlink_to("other")
    ways = [
        home,
        other,
        link,
        f"{other}/",
        f"{tmp_path}/me/../other",
        os.path.relpath(other),
        f"{tmp_path}//me",
    ]
    for way in ways:
        assert inspect(str(way)).why == "it is a home directory", way
    assert inspect(mine.pw_dir).state is DirectoryState.FOREIGN
    assert inspect(str(home / "queue")).state is DirectoryState.NOTHING
    assert list(tmp_path.iterdir()) and not list(home.iterdir())
    monkeypatch.setenv("HOME", "me")  # a relative one says nothing
    assert inspect(str(home)).state is DirectoryState.FREE


def test_a_home_that_is_not_there_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "later"))
    with pytest.raises(UsageError, match="home"):
        make_queue(str(tmp_path / "later"))
    assert not list(tmp_path.iterdir())


def test_a_queue_at_home_stays_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_queue(str(tmp_path))
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert make_queue(str(tmp_path)) == open_queue(str(tmp_path))


def test_links(tmp_path: Path) -> None:
    (tmp_path / "to nothing").symlink_to(tmp_path / "not mounted")
    (tmp_path / "circle").symlink_to("circle")
    for name in ("to nothing", "to nothing/", "circle"):
        with pytest.raises(UsageError):
            make_queue(str(tmp_path / name))
        with pytest.raises(NoQueueError):
            open_queue(str(tmp_path / name))
    assert not (tmp_path / "not mounted").exists()
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    make_queue(str(tmp_path / "link"))
    assert exists(str(tmp_path / "real"))


def test_a_missing_parent_is_made_and_nothing_else(tmp_path: Path) -> None:
    make_queue(str(tmp_path / "a" / "b"))
    assert os.listdir(tmp_path) == ["a"]
    assert os.listdir(tmp_path / "a") == ["b"]
    for path in (tmp_path / "a" / "b" / "budget" / "x", tmp_path / "a" / "b" / "tmp"):
        with pytest.raises(UsageError, match="another queue"):
            make_queue(str(path))
    with pytest.raises(UsageError, match="things of its own"):
        make_queue(str(tmp_path / "out" / ".engine-tmp" / "q"))
    assert sorted(os.listdir(tmp_path)) == ["a"]


@pytest.mark.parametrize("name", sorted(names.DIRS))
def test_a_queue_without_one_of_its_directories_is_one(place: Path, name: str) -> None:
    """A copy may have left the empty ones behind, and somebody may remove one."""
    make_queue(str(place))
    shutil.rmtree(place / name)
    assert exists(str(place))
    (place / "batch.json").write_text("damaged")
    assert exists(str(place)) is (name not in ("pending", "deferred", "filed"))
    _batch(place)
    for other in names.DIRS:
        shutil.rmtree(place / other, ignore_errors=True)
    assert exists(str(place))


@pytest.mark.parametrize("text", [b"", b"one", b"\xff", b"01", b"1" * 90])
def test_a_damaged_format_of_a_queue_is_said(place: Path, text: bytes) -> None:
    make_queue(str(place))
    (place / "FORMAT").write_bytes(text)
    for opens in (open_queue, make_queue):
        with pytest.raises(UsageError, match="damaged"):
            opens(str(place))
    assert exists(str(place))


# ---- a queue in the making -------------------------------------------------------------------------------
def test_a_death_at_any_step_leaves_nothing_or_a_queue(tmp_path: Path) -> None:
    """From the first name on it is one to every command, and the next seeding makes the rest."""
    seen = set()
    for step in range(200):
        root = tmp_path / str(step)
        with dying_at(step):
            try:
                make_queue(str(root), rehearsal=True)
                break
            except Crash:
                pass
        state = inspect(str(root)).state
        seen.add(state)
        if (root / "FORMAT").exists():
            assert state is DirectoryState.QUEUE
            assert set(verify.audit(str(root)).totals) <= {"stray temporary file"}
            assert open_queue(str(root)).total() == 0
        else:
            assert state in (DirectoryState.NOTHING, DirectoryState.FREE)
        queue = make_queue(str(root), rehearsal=True)
        assert queue.read_batch()["rehearsal"] is True
        add(queue, ids(3))
        recover(queue)
        assert sorted(os.listdir(root)) == sorted(
            {*names.DIRS, "FORMAT", "batch.json", "seed.lock", "monitor.lock"}
        )
        assert verify.audit(str(root)).ok
    assert step > 15
    assert seen == {DirectoryState.NOTHING, DirectoryState.FREE, DirectoryState.QUEUE}


def test_a_death_at_any_step_of_a_first_seeding(tmp_path: Path) -> None:
    root, steps = str(tmp_path / "queue"), 0
    for _ in every_step(lambda: add(make_queue(root), ids(3))):
        steps += 1
        assert inspect(root).state in (DirectoryState.NOTHING, DirectoryState.FREE, DirectoryState.QUEUE)
        queue = make_queue(root)
        recover(queue)
        add(queue, ids(3))
        assert queue.total() == 3
        assert verify.audit(root).ok
        shutil.rmtree(root)
    assert steps > 30


@pytest.mark.parametrize("count", range(1, 11))
def test_what_an_older_engine_left_half_made_becomes_a_queue(place: Path, count: int) -> None:
    _half(count)(place)
    (place / "engine.toml").touch()
    assert inspect(str(place)).state is DirectoryState.HALF
    with pytest.raises(NoQueueError, match="interrupted"):
        open_queue(str(place))
    queue = make_queue(str(place))
    add(queue, ids(3))
    assert verify.audit(str(place)).ok


def test_the_last_steps_of_an_older_engine(place: Path) -> None:
    _half(10)(place)
    (place / "tmp" / ".batch.json.0a1b2c3d.tmp").write_text("{")
    assert inspect(str(place)).state is DirectoryState.HALF
    _batch(place, rehearsal=True)
    (place / "tmp" / ".FORMAT.0a1b2c3d.tmp").write_text("")
    assert inspect(str(place)).state is DirectoryState.HALF
    assert make_queue(str(place)).read_batch()["rehearsal"] is True
    os.unlink(place / "FORMAT")
    _batch(place, frozen={"output": "/out"})
    assert inspect(str(place)).state is DirectoryState.FOREIGN


def _make_with_others(root: str, begin: threading.Barrier, failures: list[BaseException]) -> None:
    begin.wait()
    try:
        assert make_queue(root).read_batch()["frozen"] is None
    except BaseException as exc:
        failures.append(exc)


def test_many_make_one_queue_at_once(tmp_path: Path) -> None:
    for number in range(20):
        root, begin = str(tmp_path / str(number)), threading.Barrier(4)
        failures: list[BaseException] = []

        def make(
            root: str = root, begin: threading.Barrier = begin, failures: list[BaseException] = failures
        ) -> None:
            begin.wait()
            try:
                queue = make_queue(root)
                assert queue.read_batch()["frozen"] is None
            except BaseException as exc:
                failures.append(exc)

        threads = [threading.Thread(target=make) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert verify.audit(root).ok


def test_a_batch_that_was_frozen_is_not_made_again(tmp_path: Path) -> None:
    queue = batch(tmp_path, 4)
    os.unlink(queue.batch)
    assert make_queue(queue.root).read_batch() == {}


@given(
    st.sets(
        st.sampled_from([*sorted(names.OWN), "engine.toml", "README.md", ".git", "x", "ab", ".env"]),
        max_size=6,
    )
)
def test_only_what_is_free_becomes_a_queue(tmp_path_factory: pytest.TempPathFactory, found: set[str]) -> None:
    """By the rule as it is written down, whatever files lie together."""
    root = tmp_path_factory.mktemp("place")
    for name in found:
        (root / name).write_text("1\n")
    own = found & names.OWN
    free = ".git" not in found and not own and (found <= {"README.md"} or "engine.toml" in found)
    begun = "FORMAT" in found and own <= {"FORMAT", *names.LOCKS} and ".git" not in found
    begun = begun and (found - own <= {"README.md"} or "engine.toml" in found)
    state = inspect(str(root)).state
    assert (state is DirectoryState.FREE) is free
    assert (state is DirectoryState.QUEUE) is begun


def test_names_that_a_kill_left_unsynced_are_made_durable(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever made the directories may have died before; once a segment lies there they are durable."""
    synced: list[str] = []
    monkeypatch.setattr(disk, "sync_dir", synced.append)
    for _ in range(2):
        queue = make_queue(str(place))
        assert synced.pop() == str(place)
    add(queue, ids(2))
    synced.clear()
    make_queue(str(place))
    assert synced == []
