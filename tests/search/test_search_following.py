"""The index follows the manifest: what is new, what a retry took back, what was moved, lost, killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import canned_batch
import pytest
from canned_batch import Canned
from patience import FOR_EVER_S
from support import OK, Hand, Outcome, add, batch, file_rows, finish, ids, output_of, video_id, worked

from engine import Batch
from engine.errors import UsageError
from engine.model import Cue, Kind
from engine.queue.directory import Queue
from engine.recovery.lost_output import put_lost_back
from engine.recovery.repair import repair
from engine.recovery.requeue import retry
from engine.search import following, search

pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "engine" / "search"


def found(queue: Queue, words: str = "hello", **how: object) -> set[str]:
    """The videos in whose transcript (not title) a word is said."""
    hits = search(queue, words, limit=None, **how)  # type: ignore[arg-type]
    return {hit.video_id for hit in hits if hit.start_s is not None}


def failing(names: set[str]) -> Callable[[str], Outcome]:
    return lambda name: Kind.NETWORK if name in names else OK


def indexed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The records that are read from now on."""
    read: list[str] = []
    real = following._read
    monkeypatch.setattr(following, "_read", lambda output, path: read.append(path) or real(output, path))
    return read


def test_it_takes_in_what_is_new_and_only_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = worked(tmp_path, 30)
    read = indexed(monkeypatch)
    assert found(queue) == set(ids(30))
    assert len(read) == 30
    add(queue, ids(10, 30))
    finish(queue)
    read.clear()
    assert found(queue) == set(ids(40))
    assert len(read) == 10


def test_an_unchanged_batch_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = worked(tmp_path, 5)
    found(queue)
    monkeypatch.setattr(following, "_step", lambda *args: pytest.fail("there was nothing to do"))
    assert len(found(queue)) == 5


def test_a_retry_takes_out_and_brings_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that a retry takes out of the manifest vanish; then the unchanged ones are not read again."""
    names = ids(40)
    bad = set(names[3:9])
    queue = batch(tmp_path)
    finish(queue, failing(bad))
    assert found(queue) == set(names) - bad
    assert retry(queue) == len(bad)
    read = indexed(monkeypatch)
    assert found(queue) == set(names) - bad
    assert read == []
    finish(queue)
    assert found(queue) == set(names)
    assert len(read) == len(bad)


def test_what_a_later_row_replaces_is_not_found_any_more(tmp_path: Path) -> None:
    """A video whose output was lost, and which then fails."""
    queue = worked(tmp_path, 20)
    name = video_id(7)
    assert len(found(queue)) == 20
    os.unlink(os.path.join(output_of(queue), name[:2], f"{name}.json"))
    assert put_lost_back(queue, output_of(queue)) == 1
    assert found(queue) == set(ids(20)) - {name}
    finish(queue, failing({name}))
    assert found(queue) == set(ids(20)) - {name}


def test_a_manifest_that_is_written_anew_in_place(tmp_path: Path) -> None:
    """As a monitor does that derives it from the journals: the same file, as long as before, other rows."""
    queue = worked(tmp_path, 20)
    assert len(found(queue)) == 20
    lines = Path(queue.manifest).read_bytes().splitlines(keepends=True)
    lines[3] = lines[3].replace(b'"status": "ok"', b'"status": "no"')
    Path(queue.manifest).write_bytes(b"".join(reversed(lines)))
    assert found(queue) == set(ids(20)) - {json.loads(lines[3])["video_id"]}


def test_the_output_was_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = worked(tmp_path, 5)
    assert len(found(queue)) == 5
    os.rename(output_of(queue), tmp_path / "elsewhere")
    assert repair(queue.root, str(tmp_path / "elsewhere")).audit.ok
    add(queue, ids(2, 5))
    finish(queue)
    read = indexed(monkeypatch)
    assert found(queue) == set(ids(7))
    assert len(read) == 2


def test_an_output_that_is_not_mounted_costs_nothing(tmp_path: Path) -> None:
    queue = worked(tmp_path, 5)
    assert len(found(queue)) == 5
    out = output_of(queue)
    add(queue, ids(2, 5))
    finish(queue)
    os.rename(out, f"{out}.away")
    notes: list[str] = []
    assert len(found(queue, on_note=notes.append)) == 5
    assert any("is not there" in note for note in notes)
    os.rename(f"{out}.away", out)
    assert len(found(queue)) == 7


def test_a_record_that_cannot_be_read_is_said_and_taken_in_later(tmp_path: Path) -> None:
    queue = worked(tmp_path, 5)
    name = video_id(2)
    path = Path(output_of(queue)) / name[:2] / f"{name}.json"
    data = path.read_bytes()
    path.write_bytes(b"{")
    notes: list[str] = []
    assert found(queue, on_note=notes.append) == set(ids(5)) - {name}
    assert notes == ["1 of 5 transcripts cannot be read and are not searched"]
    path.write_bytes(data)
    assert found(queue) == set(ids(5))


def test_before_anything_is_final(tmp_path: Path) -> None:
    notes: list[str] = []
    assert found(batch(tmp_path, 3), on_note=notes.append) == set()
    assert notes == ["there is no transcript to search yet"]


def test_beside_a_live_worker(tmp_path: Path) -> None:
    queue = batch(tmp_path, 48)
    hand = Hand(queue)
    seen = [len(found(queue))]
    while hand.work(1):
        file_rows(queue)
        seen.append(len(found(queue)))
    hand.close()
    file_rows(queue)
    assert seen == sorted(seen)
    assert len(found(queue)) == 48


@pytest.mark.parametrize("harm", ["deleted", "no database", "torn", "empty"])
def test_the_index_may_be_deleted_or_damaged(tmp_path: Path, cache: Path, harm: str) -> None:
    queue = worked(tmp_path, 20)
    found(queue)
    (path,) = cache.iterdir()
    data = path.read_bytes()
    if harm == "deleted":
        path.unlink()
    else:
        torn = data[: len(data) // 2] + os.urandom(len(data) // 3)
        path.write_bytes({"no database": b"hello" * 999, "torn": torn, "empty": b""}[harm])
    assert found(queue) == set(ids(20))


def test_where_no_index_can_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = worked(tmp_path, 1)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="XDG_CACHE_HOME"):
        search(queue, "hello")


def test_a_copy_of_the_queue_has_an_index_of_its_own(tmp_path: Path, cache: Path) -> None:
    queue = worked(tmp_path / "a", 5)
    subprocess.run(["cp", "-r", tmp_path / "a", tmp_path / "b"], check=True)
    copy = Queue(str(tmp_path / "b" / "queue"))
    add(copy, ids(2, 5))
    finish(copy)
    assert (len(found(queue)), len(found(copy)), len(found(queue))) == (5, 7, 5)
    assert len(list(cache.iterdir())) == 2


SEARCHER = """
import sys
from engine.queue.directory import Queue
from engine.search import following, search
following.ROWS = 2
def progress(what, done, total):
    print(done, flush=True)
hits = search(Queue(sys.argv[1]), "hello", limit=None, on_progress=progress)
print("found", len({hit.video_id for hit in hits if hit.start_s is not None}), flush=True)
"""


def searcher(queue: Queue) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", SEARCHER, queue.root], stdout=subprocess.PIPE, text=True)


@pytest.mark.crash
def test_killed_while_indexing_it_goes_on(tmp_path: Path) -> None:
    queue = worked(tmp_path, 60)
    for _ in range(3):
        process = searcher(queue)
        assert process.stdout is not None
        for _ in range(4):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=FOR_EVER_S)
    assert found(queue) == set(ids(60))


def test_searches_at_the_same_time_share_the_work(tmp_path: Path) -> None:
    queue = worked(tmp_path, 60)
    processes = [searcher(queue) for _ in range(3)]
    ends = [process.communicate(timeout=FOR_EVER_S)[0].splitlines()[-1] for process in processes]
    assert ends == ["found 60"] * 3
    assert found(queue) == set(ids(60))


def test_halves_of_surrogate_pairs_stop_nothing(tmp_path: Path) -> None:
    """Our own journals hold none; another program's manifest, and the bytes that somebody types, may."""
    videos = [Canned(ids(1)[0], "half \ud800 title", cues=(Cue(0, 1, "hello there"),))]
    queue = canned_batch.batch(tmp_path, videos)
    assert found(queue) == found(queue, "\udcff hello") == set(ids(1))
    export = str(tmp_path / "x.db")
    Batch(queue.root).export("sqlite", export)
    for source in (queue, export):
        assert search(source, "hello OR there", fts=True)
        with pytest.raises(UsageError, match="cannot be understood"):
            search(source, "\udcff", fts=True)
