"""Sweeping: each name that the engine makes, and no other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from small_run import resume, staged
from support import add, batch, finish, ids

from engine.output import temporary
from engine.queue import control, names
from engine.queue.claims import Worker, run_id
from engine.queue.id_index import QueueIds
from engine.queue.making import make_queue
from engine.queue.sweeping import sweep_queue
from engine.recovery.repair import repair
from engine.storage import disk

pytestmark = pytest.mark.usefixtures("no_fsync")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths of all files and directories that are made through `durable`, in order."""
    paths: list[str] = []
    for name in ("_open", "_mkdir"):
        real = getattr(disk, name)

        def call(path: str, flags: int, *more: Any, real: Any = real, name: str = name) -> Any:
            if name == "_mkdir" or flags & os.O_EXCL:
                paths.append(path)
            return real(path, flags, *more)

        monkeypatch.setattr(disk, name, call)
    return paths


def test_each_name_that_a_queue_and_a_run_make_is_known(tmp_path: Path, made: list[str]) -> None:
    """Whoever gives a new file a place in the queue adds its name, else nobody would sweep it."""
    queue = staged(tmp_path)
    control.send_request(queue, control.ControlRequest(paused=True))
    repair(queue.root)
    control.clear_requests(queue)
    resume(tmp_path)
    first = [os.path.relpath(path, queue.root) for path in made if path.startswith(queue.root + os.sep)]
    own = {name for name in (path.split(os.sep)[0] for path in first) if not names.is_first(name)}
    assert own <= names.OWN
    in_tmp = {path.split(os.sep)[1] for path in first if path.startswith("tmp" + os.sep)}
    assert len(in_tmp) > 10
    assert [name for name in in_tmp if not names.is_temporary(name) and not names.is_staging(name)] == []
    out = [os.path.relpath(path, tmp_path / "out") for path in made if path.startswith(str(tmp_path / "out"))]
    hidden = [path.split(os.sep) for path in out if path.startswith(".engine-tmp" + os.sep)]
    assert any(len(parts) == 3 for parts in hidden)
    assert all(names.is_worker(parts[1]) for parts in hidden)
    assert all(temporary.is_temporary(parts[2]) for parts in hidden if len(parts) == 3)


def test_whatever_dies_in_tmp_is_swept(tmp_path: Path, made: list[str]) -> None:
    """Each name once given there, left as a kill would leave it."""
    queue = staged(tmp_path)
    QueueIds(queue)
    born = sorted({path for path in made if path.startswith(queue.tmp + os.sep)})
    top = [path for path in born if os.path.dirname(path) == queue.tmp]
    for path in born:
        if names.is_staging(os.path.basename(path)):
            os.mkdir(path)
        else:
            Path(path).write_text("half")
    assert sweep_queue(queue.root) == len(top) > 10
    assert os.listdir(queue.tmp) == []


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt", ".x.tmp", ".notes.txt.0a1b2c3d.tmp", ".status.json.0a1b2c3.tmp", ".status.json.0A1B2C3D.tmp",
        "x.status.json.0a1b2c3d.tmp", ".status.json.0a1b2c3d.tmp.bak", ".engine.toml.0a1b2c3d.tmp", "manifest.tmp",
        "status.json", ".status.json", "", ".0.json.0a1b2c3d.tmp", "\n.status.json.0a1b2c3d.tmp",
        ".status.json.0a1b2c3d.tmp\n",
    ],
)  # fmt: skip
def test_names_of_others(name: str) -> None:
    assert not names.is_temporary(name)


@pytest.mark.parametrize(
    "name", ["0", "12345", "photos", "run.0.1", "20261122", "2026112", "000000.0.41.4", ".git"]
)
def test_stagings_of_others(name: str) -> None:
    assert names.is_staging(name) is (name in ("20261122", "2026112"))
    assert not names.belongs_in_staging("000000", name) or name.count(".") == 2


def test_a_worker_that_dies_at_its_staging(tmp_path: Path) -> None:
    queue = batch(tmp_path, 4)
    born = Path(queue.tmp, f"{run_id()}.0.1")
    born.mkdir()
    for name in (*names.WORKER_FILES, "000000.0.41.4"):  # with a token, after a power cut that lost a rename
        (born / name).touch()
    assert sweep_queue(queue.root) == 1
    Worker(queue, f"{run_id()}.0.2", 1).close()
    finish(queue)
    assert os.listdir(queue.tmp) == []


def test_nothing_there(tmp_path: Path) -> None:
    assert sweep_queue(str(tmp_path / "none")) == 0
    queue = make_queue(str(tmp_path / "queue"))
    os.rmdir(queue.tmp)
    assert sweep_queue(queue.root) == 0
    make_queue(queue.root)
    add(queue, ids(2))
    assert sweep_queue(queue.root) == 0
