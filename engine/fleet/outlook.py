"""How far a fleet is, from the ledger alone: shares that are done, and what the others' beats say.

`summary.json` holds the folded counts of shares that are done, so that not each of them is read every time. It is
derived, and anybody may delete it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from engine.errors import Exit
from engine.fleet import names
from engine.fleet.ledger import Done, Ledger
from engine.fleet.names import ShareKey
from engine.fleet.protocol import FRUITLESS_HOLDS, from_bytes, fruitless, to_bytes
from engine.storage.timestamps import utc

MANY = 50  # shares that are done and in no summary: worth writing one


@dataclass
class Folded:
    """The sums of some shares that are done."""

    keys: set[ShareKey] = field(default_factory=set)
    jobs: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    bytes: int = 0

    def add(self, done: Done) -> None:
        self.keys.add(done.key)
        self.jobs += done.jobs
        self.counts.update(done.counts)
        self.kinds.update(done.kinds)
        self.requests += done.requests
        self.bytes += done.bytes

    def to_json(self) -> dict[str, Any]:
        return {
            "keys": sorted(map(str, self.keys)),
            "jobs": self.jobs,
            "counts": dict(self.counts),
            "kinds": dict(self.kinds),
            "requests": self.requests,
            "bytes": self.bytes,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Folded:
        """Nothing, for one that is damaged."""
        try:
            keys = {key for text in value["keys"] if (key := ShareKey.parse(text)) is not None}
            counts, kinds = Counter(value["counts"]), Counter(value["kinds"])
            return cls(keys, int(value["jobs"]), counts, kinds, int(value["requests"]), int(value["bytes"]))
        except (KeyError, TypeError, ValueError):
            return cls()


def folded(ledger: Ledger, done: set[ShareKey]) -> tuple[Folded, int]:
    """(the sums of these shares, how many of them the summary did not have)."""
    found = Folded.from_json(from_bytes(ledger.read(names.SUMMARY)))
    if not found.keys <= done:
        found = Folded()  # of another fleet that lay here, or damaged
    new = done - found.keys
    for each in ledger.all_done(sorted(new)):
        found.add(each)
    return found, len(new)


def write_summary(ledger: Ledger) -> None:
    """Bring the summary up to date, when there is something new."""
    found, new = folded(ledger, ledger.done_keys())
    if new:
        ledger.put(names.SUMMARY, to_bytes(found.to_json()))


def collect(ledger: Ledger) -> dict[str, Any]:
    """The status of a fleet, as `engine fleet status --json` prints it. Writes nothing."""
    fleet, generations = ledger.fleet(), ledger.generations()
    keys = {
        key: count
        for each in generations
        for key, count in zip(each.share_keys(), _counts(each.jobs), strict=True)
    }
    done = ledger.done_keys() & set(keys)
    sums, new = folded(ledger, done)
    asked = ledger.asked()
    holds = _holds(ledger)
    shares = [_share(key, holds.get(key), beat) for key, beat in _beats(ledger, set(keys) - done, set(holds))]
    fruitful = {key: _fruitful(ledger, key) for key in _suspects(shares, holds)}
    for share in shares:
        if share["key"] in map(str, fruitful):
            number, gone = holds[ShareKey.parse(share["key"])]  # type: ignore[index]
            if fruitless(number, gone, fruitful[ShareKey.parse(share["key"])]) >= FRUITLESS_HOLDS:  # type: ignore[index]
                share["state"] = "set aside"
    at_work = [share for share in shares if share["state"] == "at work"]
    silent_s = ledger.timing.stale_s
    for share in at_work:
        if (share["silent_s"] or 0.0) > silent_s:
            share["state"] = "silent"
    counts, kinds = Counter(sums.counts), Counter(sums.kinds)
    for share in shares:
        counts.update(share["counts"])
        kinds.update(share["kinds"])
    jobs = sum(keys.values())
    final = sum(counts[name] for name in ("ok", "absent", "failed"))
    rate = sum(share["rate_per_s"] for share in shares if share["state"] == "at work")
    left = max(0, jobs - final)
    states = Counter(share["state"] for share in shares)
    return {
        "schema_version": 1,
        "state": _state(len(keys), len(done), states, asked.paused, asked.stopped),
        "fleet": fleet.id,
        "jobs": jobs,
        "pending": left,
        **{name: counts[name] for name in ("ok", "absent", "failed")},
        "kinds": dict(sorted(kinds.items())),
        "requests": sums.requests,
        "bytes": sums.bytes,
        "rate_per_s": round(rate, 3),
        "eta_s": round(left / rate) if rate > 0 and left else None,
        "shares": {
            "total": len(keys),
            "done": len(done),
            "at_work": states["at work"],
            "silent": states["silent"],
            "set_aside": states["set aside"],
            "left": states["left"],
            "waiting": len(keys) - len(done) - sum(states.values()),
        },
        "holds": sum(len(numbers) for numbers, _ in holds.values()),
        "machines": _machines(shares),
        "at_work": sorted(
            (share for share in shares if share["state"] != "left"), key=lambda share: share["key"]
        ),
        "groups": {"total": len(fleet.groups), "held": _groups(ledger) if fleet.groups else 0},
        "generations": len(generations),
        "asked": {"paused": asked.paused, "stopped": asked.stopped, **dict(asked.settings)},
        "not_in_summary": new,
        "updated_at": utc(ms=True),
    }


def exit_code(value: Mapping[str, Any]) -> Exit:
    """0 finished, 3 finished with failures or with shares set aside, 20 running, 21 paused, 23 stopped with work
    left."""
    if value["state"] in ("running", "paused"):
        return Exit.PAUSED if value["state"] == "paused" else Exit.RUNNING
    shares = value["shares"]
    if shares["done"] + shares["set_aside"] < shares["total"]:
        return Exit.STOPPED
    return Exit.SOME_FAILED if value["failed"] or shares["set_aside"] else Exit.OK


def _counts(jobs: Mapping[int, int]) -> list[int]:
    return [jobs[number] for number in sorted(jobs)]


def _holds(ledger: Ledger) -> dict[ShareKey, tuple[list[int], set[int]]]:
    """(numbers, those that were left) of the holds of each share, by one listing."""
    by_key: dict[ShareKey, list[str]] = {}
    for name in ledger.names("holds/"):
        key = ShareKey.parse(name.split("/")[1])
        if key is not None:
            by_key.setdefault(key, []).append(name)
    return {
        key: (sorted(found), gone) for key, each in by_key.items() for found, gone in [names.numbered(each)]
    }


def _beats(
    ledger: Ledger, wanted: set[ShareKey], held: set[ShareKey]
) -> Iterable[tuple[ShareKey, dict[str, Any]]]:
    by_name = {names.beat(key): key for key in sorted(wanted & held)}
    return [(by_name[name], from_bytes(data)) for name, data in ledger.read_all(by_name)]


def _share(key: ShareKey, hold: tuple[list[int], set[int]] | None, beat: Mapping[str, Any]) -> dict[str, Any]:
    numbers, gone = hold or ([], set())
    newest = max(numbers, default=0)
    counts = beat.get("counts") if isinstance(beat.get("counts"), dict) else {}
    kinds = beat.get("kinds") if isinstance(beat.get("kinds"), dict) else {}
    heard = _time(beat.get("at_now"))
    return {
        "key": str(key),
        "state": "left" if newest in gone else "at work",
        "hold": newest,
        "machine": beat.get("machine"),
        "group": beat.get("group"),
        "counts": {name: int(counts.get(name, 0)) for name in ("ok", "absent", "failed")} if counts else {},
        "kinds": dict(kinds or {}),
        "rate_per_s": float(beat.get("rate_per_s") or 0.0),
        "limited_by": beat.get("limited_by"),
        "brought": int(beat.get("brought") or 0),
        "silent_s": None if heard is None else round(max(0.0, time.time() - heard), 1),
    }


def _suspects(
    shares: list[dict[str, Any]], holds: Mapping[ShareKey, tuple[list[int], set[int]]]
) -> list[ShareKey]:
    keys = (ShareKey.parse(share["key"]) for share in shares)
    return [key for key in keys if key is not None and fruitless(*holds[key], ()) >= FRUITLESS_HOLDS]


def _fruitful(ledger: Ledger, key: ShareKey) -> set[int]:
    return {part.hold for part in names.part_names(ledger.names(f"parts/{key}/"))}


def _machines(shares: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for share in shares:
        if share["state"] != "at work" or not share["machine"]:
            continue
        machine = found.setdefault(
            share["machine"],
            {"machine": share["machine"], "shares": 0, "rate_per_s": 0.0, "limited_by": None},
        )
        machine["shares"] += 1
        machine["rate_per_s"] = round(machine["rate_per_s"] + share["rate_per_s"], 3)
        machine["limited_by"] = share["limited_by"] or machine["limited_by"]
        machine["group"] = share["group"]
    return [found[name] for name in sorted(found)]


def _groups(ledger: Ledger) -> int:
    """How many groups have a lease that was not given up."""
    by_group: dict[str, list[str]] = {}
    for name in ledger.names("groups/"):
        by_group.setdefault(name.split("/")[1], []).append(name)
    return sum(
        bool(leases) and max(leases) not in gone for leases, gone in map(names.numbered, by_group.values())
    )


def _state(total: int, done: int, states: Mapping[str, int], paused: bool, stopped: bool) -> str:
    if done == total:
        return "finished"
    if states.get("at work"):
        return "paused" if paused else "running"
    return "stopped"


def _time(text: object) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return None
