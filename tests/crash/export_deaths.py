"""An export dies at every step to disk in turn, in a forked process; then the next one.

    export_deaths.py ROOT KIND MODE FAULT SEED [BROKEN]

FAULT: die torn full. Between the two exports more videos come, every other time. Prints how many steps and trials
there were, and the violations. BROKEN: an export that is broken on purpose, see `VARIANTS`.
"""

from __future__ import annotations

import json
import os
import random
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from unittest import mock

HERE = Path(__file__).resolve().parent
MOST_STEPS, MOST_WRONG = 400, 5
sys.path[:0] = [str(HERE), str(HERE.parent / "helpers")]

from export_trial import Trial, export  # noqa: E402
from faults import KILLED, Fault, Seam, dying, full  # noqa: E402

from engine.errors import DiskError  # noqa: E402
from engine.export import place  # noqa: E402
from engine.export.file_list import FileList  # noqa: E402
from engine.export.place import LocalPlace  # noqa: E402
from engine.export.writers import Publishing  # noqa: E402
from engine.storage import disk  # noqa: E402

FAULTS: dict[str, Callable[[int], Fault]] = {
    "die": lambda step: dying(step, torn=False),
    "torn": lambda step: dying(step, torn=True),
    "full": full,
}


def _under_the_name(self: LocalPlace, files: object) -> None:
    """Files are written under their names."""
    for staged, name in files:  # type: ignore[attr-defined]
        target = Path(self._path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        fd = disk.open_append(str(target), 0o644)
        data = Path(staged).read_bytes()
        disk.truncate(fd, 0)
        disk.write_all(fd, data[: len(data) // 2])
        disk.write_all(fd, data[len(data) // 2 :])
        os.close(fd)


_give = Publishing.give


def _listed_late(self: Publishing, given: object, *, texts: bool = False) -> None:
    """Files are listed after they have their names."""
    waiting: list[str] = []
    add = self.listed.add
    with mock.patch.object(self.listed, "add", waiting.extend):
        _give(self, given, texts=texts)  # type: ignore[arg-type]
    add(waiting)


def _one_mark(self: FileList, part: int) -> str:
    """The mark of `--new` is replaced before the header says so."""
    return self._own(f"{self.kind}.rows")


def _nothing_left(self: FileList, header: object) -> tuple[str, ...]:
    """Files of a part that was not completed stay."""
    return ()


VARIANTS: dict[str, tuple[str, str, str, object]] = {  # kind, mode, what is patched
    "under the name": ("csv", "again", "engine.export.place.LocalPlace.give", _under_the_name),
    "listed late": ("txt", "again", "engine.export.writers.Publishing.give", _listed_late),
    "one mark": ("csv", "new", "engine.export.file_list.FileList._rows", _one_mark),
    "nothing left": ("parquet", "new", "engine.export.file_list.FileList._left", _nothing_left),
}


def forked(act: Callable[[], None]) -> int:
    """Do it in a child; its exit code."""
    pid = os.fork()
    if pid == 0:
        try:
            act()
        except DiskError:
            os._exit(13)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def play(trial: Trial, fault: str, luck: random.Random) -> tuple[int, int, list[str]]:
    """(steps, trials, violations)."""
    place._sync_file_system = lambda path: None
    manifest, checkpoint = Path(trial.queue.manifest), Path(trial.queue.checkpoint)
    kept = manifest.read_bytes(), checkpoint.read_bytes()
    wrong: list[str] = []
    step, code = 0, KILLED
    while code and step < MOST_STEPS and len(wrong) < MOST_WRONG:

        def once(at: int = step) -> None:
            Seam(FAULTS[fault](at))
            export(trial.queue.root, trial.kind, trial.where, new=trial.new)

        trial.lay()
        code = forked(once)
        more = luck.random() < 0.5
        try:
            assert code in (0, KILLED, 13), f"it ended with {code}"
            trial.check_now()
            if more:
                trial.come_more()
            ended = forked(
                lambda: (Seam(), export(trial.queue.root, trial.kind, trial.where, new=trial.new))[1]
            )
            assert ended == 0, f"the next export ended with {ended}"
            trial.check_end()
        except (AssertionError, ValueError, KeyError, OSError) as exc:
            wrong.append(f"step {step}{', more came' if more else ''}: {type(exc).__name__}: {exc}"[:400])
        manifest.write_bytes(kept[0])
        checkpoint.write_bytes(kept[1])
        step += 1
    if code and len(wrong) < MOST_WRONG:
        wrong.append("it never came to its end")
    return step - 1, step, wrong


def main() -> None:
    root, kind, mode, fault, seed, *broken = sys.argv[1:]
    trial = Trial(Path(root), kind, mode)
    patched = mock.patch(*VARIANTS[broken[0]][2:]) if broken else mock.patch.object(sys, "flags", sys.flags)
    with patched:
        steps, trials, wrong = play(trial, fault, random.Random(seed))
    print(json.dumps({"steps": steps, "trials": trials, "wrong": wrong}))


if __name__ == "__main__":
    main()
