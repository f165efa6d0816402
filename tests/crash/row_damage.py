"""Row 16: damaged files. One damage or two to a queue at rest, then onlookers, a run, onlookers.

Nothing may raise what is no message for a person. What the damage may cost is in `_check`; nothing else is lost.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import hypothesis
import recount
from harm import Harm, escaped, files, harms, inflict, journal_lines_harmed
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from nights import Place
from scorecard import Told, row
from small_run import IDS, SPECIAL, resume, small, staged, told

from engine.errors import EngineError, Exit
from engine.verify.journal_reader import row_faults

TRUTH = ("segments", "batch.json", "FORMAT", "retry.json")  # without these nobody can go on
STRIDE = 40
EACH = 250
STATES = ("pending", "in_flight", "deferred", "ok", "absent", "failed")


class Trials:
    """Copies of one staged queue, each damaged in another way."""

    def __init__(self, root: Path) -> None:
        self.template = root / "template"
        self.at = root / "trial"
        self.count = self.refused = self.found = 0
        self.template.mkdir()
        staged(self.at)
        # Its paths are in batch.json: trials are played where it was made.
        shutil.copytree(self.at, self.template, dirs_exist_ok=True)
        self.retry = (self.template / "queue/retry.json").read_bytes()
        (self.template / "queue/retry.json").unlink()

    def play(self, damages: list[Harm]) -> None:
        queue = self._fresh()
        if any(damage.sort == "retry.json" for damage in damages):
            (queue / "retry.json").write_bytes(self.retry)
        sorts: set[str] = set()
        whole: dict[Path, bytes] = {}
        lines: set[Path] = set()  # of journals, whose sums are wrong now
        for damage in damages:
            before = {path: path.read_bytes() for path in files(queue, damage.sort)}
            path = inflict(queue, damage)
            if path is None:
                continue
            if damage.sort != "tokens" and path.read_bytes() == whole.setdefault(path, before[path]):
                return  # the second flip undid the first
            sorts.add(damage.sort)
            if damage.sort == "journal" and damage.how != "value":
                lines.add(path)
        bad = sum(journal_lines_harmed(path, whole[path]) for path in lines)
        if sorts:
            self.check(queue, sorts, bad)

    def cut(self, sort: str, number: int, length: int) -> None:
        """One file, cut to so many bytes."""
        queue = self._fresh()
        if sort == "retry.json":
            (queue / "retry.json").write_bytes(self.retry)
        path = files(queue, sort)[number]
        path.write_bytes(path.read_bytes()[:length])
        self.check(queue, {sort}, 0)

    def _fresh(self) -> Path:
        first = self.at.with_name(f"{self.at.name}-first")
        if self.at.exists() and not first.exists():
            self.at.rename(first)  # it stays: the inodes that its marker names must not be given again
        shutil.rmtree(self.at, ignore_errors=True)
        shutil.copytree(self.template, self.at)
        return self.at / "queue"

    def check(self, queue: Path, sorts: set[str], bad: int) -> None:
        self.count += 1
        before = _looked(queue)
        if not _at_home(queue, self.at):
            return  # another output directory by its own word: nobody writes there from here
        try:
            code = resume(self.at)
        except EngineError as exc:
            assert exc.exit_code in (Exit.USAGE, Exit.NO_QUEUE), (exc.exit_code, str(exc))
            assert len(str(exc)) > 20, "a message that helps"
            assert sorts & {*TRUTH, "tokens"}, f"{sorted(sorts)} stop a run: {exc}"
            self.refused += 1
            assert escaped(self.at) == []
            return
        after = _looked(queue)
        assert escaped(self.at) == []
        assert code in (Exit.OK, Exit.SOME_FAILED), code
        self._after(queue, sorts, bad, before, after)

    def _after(self, queue: Path, sorts: set[str], bad: int, before: Any, after: Any) -> None:
        assert "segments" not in sorts, "a run does not notice that a segment is damaged"
        if sorts & {"batch.json", "retry.json"}:
            return  # what is asked of it was changed
        if "manifest.jsonl" in sorts and after["verify"] == Exit.DAMAGED:
            # Rows that nobody looked at: the audit has them, and the journals bring them back.
            self.found += 1
            (queue / "checkpoint.json").unlink()
            resume(self.at)
            after = _looked(queue)
        status = after["status"]
        rows = recount.by_id(recount.manifest(queue))
        if _forged(sorts, queue):
            return
        assert set(rows) == set(IDS), "I1"
        recount.check_files(queue, self.at / "out")  # I2
        assert {name: row["kind"] for name, row in rows.items()} == {name: SPECIAL.get(name) for name in IDS}
        counts = recount.counts(queue)
        assert {name: status[name] for name in counts} == counts, "I5"
        assert status["state"] == "finished"
        if bad and sorts == {"journal"}:
            assert status["bad_lines"] > 0 or after["verify"] == Exit.DAMAGED or "damaged" in after["said"]
        if after["verify"] == Exit.DAMAGED:
            assert sorts & {"journal", "tokens"}, after["said"]


def _forged(sorts: set[str], queue: Path) -> bool:
    """Whether a journal holds lines with a right sum and odd values: what they say is then what happened."""
    return "journal" in sorts and any(
        verb == "final" and ("odd" in body or any(row_faults(body)))
        for verb, body in recount.journal_lines(queue)
    )


def _at_home(queue: Path, root: Path) -> bool:
    try:
        frozen = json.loads((queue / "batch.json").read_bytes()).get("frozen")
        return not isinstance(frozen, dict) or frozen.get("output") == str(root / "out")
    except (OSError, ValueError, AttributeError, RecursionError):
        return True


def _looked(queue: Path) -> dict[str, Any]:
    """What onlookers say; none of them raises, and what they say is whole."""
    root = str(queue)
    code, out, err = told("status", "-q", root, "--json")
    assert code in (Exit.OK, Exit.USAGE, Exit.NO_QUEUE), (code, err)
    status = json.loads(out, parse_constant=_no_number) if code == Exit.OK else None
    if status is not None:
        assert min(status[name] for name in STATES) >= 0, status
    else:
        assert err.startswith("engine: "), err
    told("status", "-q", root)
    verified, out, err = told("verify", "-q", root)
    assert verified in (Exit.OK, Exit.DAMAGED, Exit.USAGE, Exit.NO_QUEUE), (verified, err)
    assert told("failures", "-q", root)[0] in (Exit.OK, Exit.USAGE, Exit.NO_QUEUE)
    assert told("plan", "-q", root)[0] in (Exit.OK, Exit.USAGE, Exit.NO_QUEUE)
    return {"status": status, "verify": verified, "said": out + err}


def _no_number(name: str) -> float:
    raise AssertionError(f"{name} is no JSON")


def damaged(place: Place, seed: int, each: int = EACH) -> Told:
    with small():
        trials = Trials(place.root)

        @hypothesis.seed(seed)
        @hypothesis.settings(
            max_examples=each, deadline=None, database=None, suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink), print_blob=False,
        )  # fmt: skip
        @hypothesis.given(
            st.lists(harms(), min_size=1, max_size=2, unique=True)
        )  # twice the same flip is none
        def trial(damages: list[Harm]) -> None:
            trials.play(damages)

        trial()
    return Told(trials.count, f"{trials.refused} refused by name, {trials.found} mended after the audit")


@row(16, "damage", "files damaged: torn, flipped, doubled, odd values", trials=STRIDE, inside=True)
def damage(place: Place, seed: int) -> Told:
    return damaged(place, seed)


@row(16, "damage-few", "the same, a few", trials=1, quick=1, inside=True)
def damage_few(place: Place, seed: int) -> Told:
    return damaged(place, seed, each=60)


@row(16, "damage-cut", "each file cut at every byte", trials=STRIDE, inside=True)
def damage_cut(place: Place, seed: int) -> Told:
    """Every STRIDE-th length of every file, another residue for each seed."""
    with small():
        trials = Trials(place.root)
        number = 0
        for sort in ("journal", "checkpoint.json", "batch.json", "segments", "manifest.jsonl", "ids", "status.json",
                     "events.jsonl", "retry.json", "control.json", "asked", "live.json", "tickets",
                     "captions", "budget", "inflight", "died", "locks", "FORMAT"):  # fmt: skip
            (trials._fresh() / "retry.json").write_bytes(trials.retry)
            for at, path in enumerate(files(trials.at / "queue", sort)):
                for length in range(path.stat().st_size if path.exists() else 0):
                    number += 1
                    if number % STRIDE == seed % STRIDE:
                        trials.cut(sort, at, length)
    return Told(trials.count, f"{trials.refused} refused by name, {trials.found} mended after the audit")
