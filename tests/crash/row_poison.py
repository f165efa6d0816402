"""Row 9: jobs that kill their process, from outside (as the out-of-memory killer does) and from inside."""

from __future__ import annotations

import random
import threading

import recount
from commands import Batch, Ended, kill, videos
from injected import injected
from nights import Place
from scorecard import Told, row

LATENCY_S = 0.2
OPTIONS = ("-p", "2", "-t", "4")
WAYS = {
    "segv": "ctypes.string_at(0)",
    "exit": "os._exit(3)",
    "killed": "time.sleep(50)",  # until the watcher has seen it, however late that gets its turn
}
DEADLY = """
import ctypes, os, time
_real = Fetcher.fetch

def _fetch(self, video_id, permit, **more):
    if video_id in {guilty!r}:
        time.sleep(0.05)  # as long as it takes to get into trouble
        {way}
    return _real(self, video_id, permit, **more)

Fetcher.fetch = _fetch
"""


class Assassin:
    """Kills the worker in whose `inflight` a certain job shows, each time it does."""

    def __init__(self, batch: Batch, video_id: str) -> None:
        self.kills = 0
        self._batch, self._video_id = batch, video_id
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        dead: set[int] = set()
        while not self._over.wait(0.01):
            for pid, path in recount.workers(self._batch.queue).items():
                if pid not in dead and self._video_id in recount.busy(path):
                    kill(pid)
                    dead.add(pid)
                    self.kills += 1

    def __enter__(self) -> Assassin:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        self._thread.join(5)


def _batch(place: Place, seed: int) -> tuple[Batch, random.Random]:
    site = place.stand_in(seed=seed, latency_s=LATENCY_S)
    return place.batch(videos(50, seed), site), random.Random(seed)


def _condemned(batch: Batch, guilty: list[str], ended: Ended) -> None:
    """The guilty are poison after one death in company at most and two alone; all others are ok at once."""
    assert ended.code == 3, ended.said
    rows = batch.rows()
    for name in guilty:
        assert (rows[name]["status"], rows[name]["kind"]) == ("failed", "poison"), rows[name]
    others = [row for name, row in rows.items() if name not in guilty]
    assert {(row["status"], row["attempts"]) for row in others} == {("ok", 1)}
    died = [body for verb, body in recount.journal_lines(batch.queue) if verb == "died"]
    for name in guilty:
        alone = [body["alone"] for body in died if body["job"] == name]
        assert alone.count(True) >= 2, (name, died)
        assert len(alone) <= 2 + len(guilty), (name, died)
    batch.clean()


@row(9, "poison-killed", "a job whose process is killed from outside", trials=20, quick=1)
def poison_killed(place: Place, seed: int) -> str:
    """A watcher kills the worker whenever the job shows in its `inflight`."""
    batch, dice = _batch(place, seed)
    guilty = dice.choice(batch.ids)
    changes = {"engine.youtube.fetcher": DEADLY.format(guilty={guilty}, way=WAYS["killed"])}
    with Assassin(batch, guilty) as assassin:
        ended = batch.run(*OPTIONS, **injected(place.root, changes))
    assert assassin.kills in (2, 3), "one death in company, unless it was alone by chance, and two alone"
    _condemned(batch, [guilty], ended)
    assert f"{assassin.kills} times" in batch.rows()[guilty]["message"]
    assert [event["event"] for event in recount.events(batch.queue)].count("slot_died") == assassin.kills
    return ""


def _from_inside(place: Place, seed: int, how: str) -> Told:
    batch, dice = _batch(place, seed)
    guilty = dice.sample(batch.ids, dice.choice([1, 2, 3]))
    changes = {"engine.youtube.fetcher": DEADLY.format(guilty=guilty, way=WAYS[how])}
    ended = batch.run(*OPTIONS, **injected(place.root, changes))
    _condemned(batch, guilty, ended)
    return Told(len(guilty))


@row(9, "poison-segv", "a job that crashes its process (SEGV)", trials=8, quick=1)
def poison_segv(place: Place, seed: int) -> Told:
    """Up to three of them in one batch; each reads from address 0."""
    return _from_inside(place, seed, "segv")


@row(9, "poison-exit", "a job that ends its process (_exit)", trials=8)
def poison_exit(place: Place, seed: int) -> Told:
    """The same with `os._exit`: no signal at all."""
    return _from_inside(place, seed, "exit")
