"""The states that a disk may be in after a power cut, for two models of what a file system promises.

`posix`: nothing but what fsync says. Each write to a file not synced since, and each change to a directory not
synced since, may be there or not, alone; a rename from one directory into another is two changes; a write may
be half there, or its length without its bytes.

`ext4` (data=ordered): names change in one order, of which some prefix is there, and each sync that has anything
to commit commits all changes of names before it; a rename is one change. A file's bytes come in the order in
which they were written, later than its name or earlier, and the last may be half there.

There are more legal states than anyone can try. `states` draws distinct ones by a seed: at any step of the run,
nothing of what is open, all of it, all but one thing, one thing alone, the same by file or directory, one write
torn, and all sorts of mixtures.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from power_ops import Disk, Files, Recording, Step, digest

MODELS = ("ext4", "posix")
NOTES = (
    "budget",
    "captions",
    "inflight",
    "lock",
    "run.lock",
    "seed.lock",
    "monitor.lock",
    "status.json",
    "events.jsonl",
)
NEAR = 6  # steps
_TRIES = 60  # draws in a row that bring nothing new: then there is nothing new


@dataclass(frozen=True)
class State:
    """One state of the disk: the cut came after `cut` steps of the recording."""

    model: str
    cut: int
    how: str
    files: Files

    def __str__(self) -> str:
        return f"{self.model}, cut after step {self.cut}, {self.how}"


def parts(step: Step, model: str) -> list[Step]:
    """What of a step may be there without the rest. Promises are nothing that could be there."""
    if step.verb == "sync":
        return []
    if step.verb == "move" and step.gone is not None and model == "posix" and step.gone[0] != step.at:
        came = replace(step, verb="name", gone=None)
        return [came, replace(step, verb="name", inode=None, at=step.gone[0], entry=step.gone[1], gone=None)]
    return [step]


def place(step: Step) -> tuple[str, int]:
    """What has to be synced for a change to be durable: a directory for names, else the file."""
    if step.verb in ("name", "move"):
        return "names", step.at
    return "bytes", step.inode if step.inode is not None else -1


def split(steps: list[Step], model: str) -> tuple[list[Step], list[bool]]:
    """All changes, and of each whether the promises among these steps cover it."""
    changes: list[Step] = []
    sure: list[bool] = []
    open_: dict[int, list[int]] = {}  # by what has to be synced: the changes that no promise covers
    names: list[int] = []  # those of them that are changes of names
    for step in steps:
        if step.verb != "sync":
            for part in parts(step, model):
                if place(part)[0] == "names":
                    names.append(len(changes))
                open_.setdefault(place(part)[1], []).append(len(changes))
                changes.append(part)
                sure.append(False)
            continue
        mine = open_.get(-1 if step.inode is None else step.inode, [])
        covered = [n for n in mine if changes[n].ended < step.began and not sure[n]]
        if covered and model == "ext4":
            covered += [n for n in names if changes[n].ended < step.began]
            names = [n for n in names if changes[n].ended >= step.began]
        for number in covered:
            sure[number] = True
        mine[:] = [n for n in mine if not sure[n]]
    return changes, sure


def disk(recording: Recording, changes: list[Step], kept: Iterable[int], torn: Mapping[int, Step]) -> Files:
    """The files, if of these changes only those are there, some of them torn."""
    item = Disk({inode: {} for inode in recording.directories})
    for number in sorted({*kept, *torn}):
        item.apply(torn.get(number) or changes[number])
    return item.files(recording.directories)


def durable(recording: Recording, model: str, cut: int) -> Files:
    """What is certainly there after a cut."""
    changes, sure = split(recording.steps[:cut], model)
    return disk(recording, changes, [number for number, known in enumerate(sure) if known], {})


def states(
    recording: Recording,
    model: str,
    seed: int,
    count: int,
    *,
    since: int = 0,
    steps: list[Step] | None = None,
    near: str = "",
    focus: str = "",
) -> Iterator[State]:
    """Up to `count` states that differ in more than notes of the moment, none from before step `since`.

    `steps`: those of a broken variant instead of the recorded ones. `near`: only cuts soon after steps whose
    `verb about data` begins as this pattern says. `focus`: what is singled out is often about a path that matches
    this one.
    """
    dice = random.Random(f"{seed} {model}")
    item = recording.steps if steps is None else steps
    # Cuts are drawn where something other than a note of the moment has happened.
    telling = [n + 1 for n, step in enumerate(item) if n >= since and not noted(step)]
    if near:
        wanted = re.compile(near.encode())
        marks = [n for n, s in enumerate(item) if wanted.match(f"{s.verb} {s.about} ".encode() + s.data)]
        telling = [cut for cut in telling if any(0 < cut - mark <= NEAR for mark in marks)]
    seen: set[bytes] = set()
    vain = 0
    while len(seen) < count and vain < _TRIES:
        cut = dice.choice(telling)
        changes, sure = split(item[:cut], model)
        open_ = [number for number, known in enumerate(sure) if not known]
        if focus and dice.random() < 0.7:
            some = [number for number in open_ if re.fullmatch(focus, changes[number].about)]
        else:
            some = [number for number in open_ if not noted(changes[number])] * (dice.random() < 0.85)
        how, kept, torn = (_ext4 if model == "ext4" else _posix)(changes, open_, some or open_, dice)
        certain = {number for number, known in enumerate(sure) if known}
        files = disk(recording, changes, certain | kept, torn)
        print_ = digest(files, NOTES)
        vain += 1
        if print_ not in seen:
            seen.add(print_)
            vain = 0
            yield State(model, cut, how, files)


def noted(step: Step) -> bool:
    """Whether a step only notes the moment; what becomes of those makes no state of its own."""
    return step.about.rpartition("/")[2] in NOTES


Drawn = tuple[str, set[int], dict[int, Step]]


def _torn(step: Step, dice: random.Random, *, blank: bool) -> Step:
    """Half a write: its first bytes, or (`blank`) its length with zeros from somewhere on."""
    keep = dice.randrange(len(step.data)) if step.data else 0
    return replace(step, data=step.data[:keep] + (bytes(len(step.data) - keep) if blank else b""))


def _posix(changes: list[Step], open_: list[int], some: list[int], dice: random.Random) -> Drawn:
    if not open_:
        return "nothing was open", set(), {}
    one = dice.choice(some)
    call = {number for number in open_ if changes[number].ended == changes[one].ended}
    group = {number for number in open_ if place(changes[number]) == place(changes[one])}
    about = changes[one].about
    writes = [number for number in some if changes[number].verb == "write"]
    ways: list[Callable[[], Drawn]] = [
        lambda: ("nothing of what was open", set(), {}),
        lambda: ("all that was open", set(open_), {}),
        lambda: (f"all but {changes[one].verb} {about}", set(open_) - {one}, {}),
        lambda: (f"only {changes[one].verb} {about}", {one}, {}),
        lambda: (f"all but the call about {about}", set(open_) - call, {}),
        lambda: (f"only the call about {about}", call, {}),
        lambda: (f"all but what was open beside {about}", set(open_) - group, {}),
        lambda: (f"only what was open beside {about}", group, {}),
        lambda: ("half of what was open", {n for n in open_ if dice.random() < 0.5}, {}),
        lambda: ("most of what was open", {n for n in open_ if dice.random() < 0.9}, {}),
    ]
    if writes:
        tear = dice.choice(writes)
        blank = dice.random() < 0.5
        half = _torn(changes[tear], dice, blank=blank)
        what = f"{'blank' if blank else 'torn'} write of {changes[tear].about}"
        ways += [
            lambda: (f"all, with a {what}", set(open_) - {tear}, {tear: half}),
            lambda: (f"half, with a {what}", {n for n in open_ if dice.random() < 0.5}, {tear: half}),
        ]
    return dice.choice(ways)()


def _ext4(changes: list[Step], open_: list[int], some: list[int], dice: random.Random) -> Drawn:
    names = [number for number in open_ if place(changes[number])[0] == "names"]
    files: dict[int, list[int]] = {}
    for number in open_:
        if number not in names:
            files.setdefault(place(changes[number])[1], []).append(number)
    committed = dice.choice([0, len(names), dice.randint(0, len(names))])
    kept = set(names[:committed])
    torn: dict[int, Step] = {}
    way = dice.choice(("none", "all", "some", "some", "one", "but one"))
    likely = [item for item in {place(changes[number])[1] for number in some} if item in files]
    one = dice.choice(sorted(likely or files)) if files else -1
    for inode, writes in files.items():
        there = {"none": 0, "all": len(writes), "one": len(writes) * (inode == one)}.get(way)
        if there is None:
            loses = way == "some" or inode == one
            there = dice.randint(0, len(writes)) if loses else len(writes)
        kept |= set(writes[:there])
        if there < len(writes) and changes[writes[there]].verb == "write" and dice.random() < 0.5:
            torn[writes[there]] = _torn(changes[writes[there]], dice, blank=False)
    return f"{committed} of {len(names)} open names, bytes of {way}", kept, torn
