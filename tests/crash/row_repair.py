"""Row 16, mended: a half-done batch is damaged in several ways at once; the audit finds it, a repair undoes it.

Then the next run finishes: every job once, every file as its row says, and only what was lost is fetched again.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import recount
from commands import Batch, expected_kinds, kinds, until, videos
from nights import Place
from scorecard import Told, row

JOBS = 160
ABSENT = "absent=0.06"
OPTIONS = ("-p", "2", "-t", "4")
Harm = Callable[[Path, random.Random], bool]  # whether there was anything to harm


def _tokens(queue: Path) -> list[Path]:
    places = ("pending/*/*", "deferred/*", "done/*/*", "filed/*/*")
    return sorted(path for place in places for path in queue.glob(place))


def _some_tokens(queue: Path, dice: random.Random) -> bool:
    there = _tokens(queue)
    for path in dice.sample(there, dice.randint(1, len(there))):
        path.unlink()
    return True


def _swapped_tokens(queue: Path, dice: random.Random) -> bool:
    """Two tokens in each other's place, of different places."""
    pairs = [(one, other) for one in queue.glob("filed/*/*") for other in queue.glob("pending/*/*")]
    if not pairs:
        return False
    one, other = dice.choice(sorted(pairs))
    one.rename(other.parent / one.name)
    other.rename(one.parent / other.name)
    return True


def _doubled_token(queue: Path, dice: random.Random) -> bool:
    there = sorted(queue.glob("*/000000/[0-9]*.[0-9]*.[0-9]*"))
    if not there:
        return False
    token = dice.choice(there)
    others = [queue / place / "000000" for place in ("pending", "done", "filed")]
    (dice.choice([path for path in others if path != token.parent]) / token.name).touch(mode=0o600)
    return True


def _gone(name: str) -> Harm:
    def harm(queue: Path, dice: random.Random) -> bool:
        there = (queue / name).exists()
        (queue / name).unlink(missing_ok=True)
        return there

    return harm


def _no_caches(queue: Path, dice: random.Random) -> bool:
    for path in (queue / "ids").iterdir():
        path.unlink()
    return False  # lost caches are no damage: the next seeding makes them


def _odd_cache(queue: Path, dice: random.Random) -> bool:
    path = queue / "ids/000000.u64"
    if not path.exists():
        return False
    data = bytearray(path.read_bytes())
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    path.write_bytes(data)
    return True


def _no_status(queue: Path, dice: random.Random) -> bool:
    (queue / "status.json").unlink(missing_ok=True)
    return False


def _promised(queue: Path) -> bool:
    return (queue / "checkpoint.json").exists()


def _cut_manifest(queue: Path, dice: random.Random) -> bool:
    length = json.loads((queue / "checkpoint.json").read_bytes())["length"] if _promised(queue) else 0
    if length:  # what lies behind it is nobody's promise
        os.truncate(queue / "manifest.jsonl", dice.randrange(length))
    return length > 0


def _changed_row(queue: Path, dice: random.Random) -> bool:
    """A row says something else, and is as long as it was."""
    path = queue / "manifest.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    at = dice.randrange(len(lines))
    lines[at] = lines[at].replace(b'"attempts": 1', b'"attempts": 9')
    before = path.read_bytes()
    path.write_bytes(b"".join(lines))
    return path.read_bytes() != before


def _lost_files(queue: Path, dice: random.Random) -> bool:
    """Files of ok rows are gone or other than they were."""
    out = Path(json.loads((queue / "batch.json").read_bytes())["frozen"]["output"])
    # Not the marker: without it this is not the batch's output at all, and that is said instead.
    there = sorted(item for item in out.glob("[!.]*/*") if item.is_file())
    for path in dice.sample(there, dice.randint(1, 3)):
        if dice.random() < 0.5:
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[:-1])
    return True


HARMS: dict[str, Harm] = {
    "tokens lost": _some_tokens,
    "tokens swapped": _swapped_tokens,
    "token doubled": _doubled_token,
    "no manifest": _gone("manifest.jsonl"),
    "no checkpoint": _gone("checkpoint.json"),
    "no caches": _no_caches,
    "odd cache": _odd_cache,
    "no status": _no_status,
    "files lost": _lost_files,
}
BEFORE = {"manifest cut": _cut_manifest, "row changed": _changed_row}  # while there is one

UNSURE = {"row changed", "files lost"}  # of rows that were not promised yet: then it is no damage
PROMISES = {
    "no checkpoint",
    "no manifest",
    "manifest cut",
    "row changed",
}  # two of them: nothing may be promised
FIRST = ("no caches", "no status")  # or they would take away what another has damaged


def drawn(dice: random.Random) -> list[str]:
    """Harms, in the order in which they are done."""
    names = dice.sample(sorted(HARMS), dice.randint(1, 4))
    if dice.random() < 0.5:
        names.insert(0, dice.choice(sorted(BEFORE)))
    return sorted(names, key=lambda name: name not in FIRST)


def sure(harmed: list[str]) -> bool:
    """Whether the audit must find something."""
    both = "no checkpoint" in harmed and len(PROMISES.intersection(harmed)) > 1
    return bool(set(harmed) - UNSURE - (PROMISES if both else set()))


def _half_done(place: Place, seed: int, options: tuple[str, ...]) -> Batch:
    """A batch whose run was killed, all of it, on its way; sometimes stopped in good order."""
    site = place.stand_in(seed=seed, latency_s=0.1, scenarios=(ABSENT,))
    batch = place.batch(videos(JOBS, seed), site)
    dice = random.Random(seed)
    manifest = batch.queue / "manifest.jsonl"
    wanted = dice.randint(10_000, 60_000)  # bytes of rows
    with batch.start(*options) as run:
        until(
            lambda: not run.live or (manifest.exists() and manifest.stat().st_size > wanted),
            60.0,
            "no rows are filed",
        )
        if run.live and dice.random() < 0.5:
            batch.does("stop")
            run.wait(60.0)
    return batch


@row(
    16, "repair", "tokens, manifest, checkpoint, caches, files lost or changed; repaired", trials=50, quick=1
)
def repair(place: Place, seed: int) -> Told:
    return repaired(place, seed, OPTIONS)


def repaired(place: Place, seed: int, options: tuple[str, ...]) -> Told:
    """One trial, of runs with these options."""
    batch = _half_done(place, seed, options)
    dice = random.Random(seed + 1)
    harmed = [name for name in drawn(dice) if {**HARMS, **BEFORE}[name](batch.queue, dice)]
    if not sure(harmed):
        harmed += ["tokens lost"] * _some_tokens(batch.queue, dice)

    found = batch.does("verify")
    assert found.code == 14, f"the audit misses {harmed}: {found.said}"
    mended = batch.does("verify", "--repair", "--json")
    told = json.loads(mended.out)
    assert mended.code == 0, f"{harmed}: {told['totals']} {told['repaired']}"
    assert told["repaired"]
    for name in ("manifest.jsonl", "checkpoint.json", "status.json", "ids/000000.u64"):
        assert (batch.queue / name).exists(), name
    assert batch.does("verify").code == 0
    again = batch.does("verify", "--repair", "--json")
    assert (again.code, json.loads(again.out)["repaired"]) == (0, [])
    rows = recount.by_id(recount.manifest(batch.queue))
    final = recount.folded(batch.queue)
    assert rows.items() <= final.items(), "a row that no journal has"

    assert batch.site is not None
    seen = len(batch.site.arrivals())
    ended = batch.run(*options)
    assert ended.code == 0, ended.said
    batch.clean()  # I1, I2, and the audit is content
    rows = batch.rows()
    assert kinds(rows) == expected_kinds(batch.ids, ABSENT, seed)
    assert recount.folded(batch.queue) == rows
    asked = {arrival["video_id"] for arrival in batch.site.arrivals()[seen:]}
    assert not asked & set(final), "a job that was final is fetched again"
    return Told(1, f"{', '.join(harmed)}: {len(told['repaired'])} repairs")
