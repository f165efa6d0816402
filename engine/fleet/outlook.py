"""How far a fleet is, from the ledger alone: shares that are done, and what the others' beats say."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from engine.errors import Exit
from engine.fleet import names
from engine.fleet.ledger import Ledger
from engine.fleet.names import ShareKey
from engine.fleet.protocol import FRUITLESS_HOLDS, from_bytes, fruitless
from engine.fleet.sums import Folded, counting, folded
from engine.storage.timestamps import utc

MANY = 50  # shares that are done and in no summary: worth writing one
Holds = Mapping[ShareKey, tuple[list[int], set[int]]]


class Outlook:
    """Looks at a fleet, as often as it is asked. What it knows of shares that are done it reads once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._sums: Folded | None = None

    def collect(self) -> dict[str, Any]:
        """The status of a fleet, as `engine fleet status --json` prints it. Writes nothing."""
        ledger = self._ledger
        fleet, generations = ledger.fleet(), ledger.generations()
        keys = {key: each.jobs[key.number] for each in generations for key in each.share_keys()}
        done = ledger.done_keys() & set(keys)
        self._sums, new = folded(ledger, done, self._sums)
        sums, asked = self._sums, ledger.asked()
        holds = _holds(ledger)
        beats = _beats(ledger, (set(keys) - done) & set(holds))
        shares = [_share(ledger, key, keys[key], holds, beat) for key, beat in beats.items()]
        live = [share for share in shares if share["state"] == "at work"]
        counts, kinds = counting(sums, generations)
        for share in shares:
            counts.update(share["counts"])
            kinds.update(share["kinds"])
        jobs = sum(keys.values()) - sum(sum(each.replaced.counts.values()) for each in generations)
        rate = sum(share["rate_per_s"] for share in live)
        left = max(0, jobs - sum(counts[name] for name in ("ok", "absent", "failed")))
        states = Counter(share["state"] for share in shares)
        leases = _leases(ledger) if fleet.groups else []
        return {
            "schema_version": 1,
            "state": _state(len(keys), len(done), states, asked.paused),
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
                **{
                    name: states[name.replace("_", " ")]
                    for name in ("at_work", "silent", "set_aside", "left")
                },
                "waiting": len(keys) - len(done) - sum(states.values()),
            },
            "holds": sum(len(numbers) for numbers, _ in holds.values()),
            "machines": _machines(live),
            "silent_machines": _machines([share for share in shares if share["state"] == "silent"]),
            "shared_proxies": _shared([beats[key] for key in map(_key, live)]),
            "at_work": [share for share in shares if share["state"] != "left"],
            "groups": {"total": len(fleet.groups), "held": len(leases), "leases": leases},
            "generations": len(generations),
            "asked": {"paused": asked.paused, "stopped": asked.stopped, **dict(asked.settings)},
            "not_in_summary": new,
            "updated_at": utc(ms=True),
        }


def collect(ledger: Ledger) -> dict[str, Any]:
    """The status of a fleet at this moment."""
    return Outlook(ledger).collect()


def exit_code(value: Mapping[str, Any]) -> Exit:
    """0 finished, 3 finished with failures or with shares set aside, 20 running, 21 paused, 23 stopped with work
    left."""
    if value["state"] in ("running", "paused"):
        return Exit.PAUSED if value["state"] == "paused" else Exit.RUNNING
    shares = value["shares"]
    if shares["done"] + shares["set_aside"] < shares["total"]:
        return Exit.STOPPED
    return Exit.SOME_FAILED if value["failed"] or shares["set_aside"] else Exit.OK


def also_used(ledger: Ledger, machine: str, egresses: Iterable[str]) -> dict[str, list[str]]:
    """{another machine: those of these egresses that it uses at the moment}, as the beats say it."""
    mine, found = set(egresses), dict[str, list[str]]()
    there = (name.removeprefix("beats/").removesuffix(".json") for name in ledger.names("beats/"))
    keys = {key for text in there if (key := ShareKey.parse(text)) is not None}
    for key, beat in _beats(ledger, keys - ledger.done_keys()).items():
        both = sorted(mine & _egresses(beat))
        if not both or beat.get("machine") in (None, machine) or _is_silent(ledger, _silent_s(beat)):
            continue
        if ledger.read(names.left(key, int(_number(beat.get("hold"))))) is None:
            found[str(beat["machine"])] = both
    return found


# ---- shares ----------------------------------------------------------------------------------------------
def _holds(ledger: Ledger) -> Holds:
    """(numbers, those that were left) of the holds of each share, by one listing."""
    by_key: dict[ShareKey, list[str]] = {}
    for name in ledger.names("holds/"):
        key = ShareKey.parse(name.split("/")[1])
        if key is not None:
            by_key.setdefault(key, []).append(name)
    found = {key: names.numbered(each) for key, each in by_key.items()}
    return {key: (sorted(numbers), gone) for key, (numbers, gone) in found.items()}


def _beats(ledger: Ledger, keys: set[ShareKey]) -> dict[ShareKey, dict[str, Any]]:
    """What these shares say of themselves, in order; empty for one that says nothing."""
    by_name = {names.beat(key): key for key in sorted(keys)}
    return {by_name[name]: from_bytes(data) for name, data in ledger.read_all(by_name)}


def _share(ledger: Ledger, key: ShareKey, jobs: int, holds: Holds, beat: Mapping[str, Any]) -> dict[str, Any]:
    counts, kinds = (_numbers(beat.get(name)) for name in ("counts", "kinds"))
    silent_s = _silent_s(beat)
    return {
        "key": str(key),
        "state": _share_state(ledger, key, *holds[key], silent_s),
        "hold": max(holds[key][0], default=0),
        "machine": _text(beat.get("machine")),
        "group": beat.get("group"),
        "jobs": jobs,
        "counts": {name: counts.get(name, 0) for name in ("ok", "absent", "failed")} if counts else {},
        "kinds": kinds,
        "rate_per_s": float(_number(beat.get("rate_per_s"))),
        "limited_by": _text(beat.get("limited_by")),
        "brought": int(_number(beat.get("brought"))),
        "silent_s": silent_s,
    }


def _share_state(
    ledger: Ledger, key: ShareKey, numbers: list[int], gone: set[int], silent_s: float | None
) -> str:
    if max(numbers, default=0) in gone:
        return "left"
    if fruitless(numbers, gone, ()) >= FRUITLESS_HOLDS:  # unless one of them brought something
        fruitful = {part.hold for part in names.part_names(ledger.names(f"parts/{key}/"))}
        if fruitless(numbers, gone, fruitful) >= FRUITLESS_HOLDS:
            return "set aside"
    return "silent" if _is_silent(ledger, silent_s) else "at work"


def _number(value: object) -> float:
    """A number of a beat; 0 for anything else, as in one that is damaged."""
    return value if isinstance(value, int | float) and math.isfinite(value) else 0


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _numbers(value: object) -> dict[str, int]:
    return {str(name): int(_number(each)) for name, each in value.items()} if isinstance(value, dict) else {}


def _silent_s(beat: Mapping[str, Any]) -> float | None:
    """How old a beat is, by its machine's clock and by this one's; None when it does not say."""
    try:
        heard = datetime.fromisoformat(str(beat.get("at_now"))).timestamp()
    except ValueError:
        return None
    return round(max(0.0, time.time() - heard), 1)


def _is_silent(ledger: Ledger, silent_s: float | None) -> bool:
    return (silent_s or 0.0) > ledger.timing.stale_s


def _key(share: Mapping[str, Any]) -> ShareKey:
    key = ShareKey.parse(share["key"])
    assert key is not None  # noqa: S101
    return key


def _state(total: int, done: int, states: Mapping[str, int], paused: bool) -> str:
    if done == total:
        return "finished"
    if states.get("at work"):
        return "paused" if paused else "running"
    return "stopped"


# ---- machines and egresses -------------------------------------------------------------------------------
def _machines(shares: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the shares of each machine say together, by its name. `silent_s` is that of its latest beat."""
    found: dict[str, dict[str, Any]] = {}
    for share in shares:
        if not share["machine"]:
            continue
        machine = found.setdefault(
            share["machine"],
            {
                "machine": share["machine"],
                "shares": 0,
                "rate_per_s": 0.0,
                "limited_by": None,
                "silent_s": None,
            },
        )
        machine["shares"] += 1
        machine["rate_per_s"] = round(machine["rate_per_s"] + share["rate_per_s"], 3)
        machine["limited_by"] = share["limited_by"] or machine["limited_by"]
        machine["group"] = share["group"]
        heard = [s for s in (machine["silent_s"], share["silent_s"]) if s is not None]
        machine["silent_s"] = min(heard, default=None)
    return [found[name] for name in sorted(found)]


def _egresses(beat: Mapping[str, Any]) -> set[str]:
    found = beat.get("egresses")
    return set(map(str, found)) if isinstance(found, list) else set()


def _shared(beats: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Machines that use the same proxies at once, outside of any group, and how many proxies."""
    users: dict[str, set[str]] = {}
    for beat in beats:
        for egress in _egresses(beat):
            users.setdefault(egress, set()).add(str(beat.get("machine")))
    found = Counter(tuple(sorted(each)) for each in users.values() if len(each) > 1)
    return [{"machines": list(machines), "proxies": count} for machines, count in sorted(found.items())]


def _leases(ledger: Ledger) -> list[dict[str, Any]]:
    """The leases of proxy groups that were not given up: whose they are, and how often they were renewed."""
    by_group: dict[int, list[str]] = {}
    for name in filter(names.is_own, ledger.names("groups/")):
        by_group.setdefault(int(name.split("/")[1]), []).append(name)
    newest = {group: names.numbered(each) for group, each in sorted(by_group.items())}
    held = {group: max(found) for group, (found, gone) in newest.items() if found and max(found) not in gone}
    notes = ledger.read_all(names.group_lease(group, number) for group, number in held.items())
    beats = ledger.read_all(names.group_beat(group) for group in held)
    found = []
    for (group, number), (_, note), (_, data) in zip(held.items(), notes, beats, strict=True):
        beat = from_bytes(data)
        renewals = int(_number(beat.get("renewal"))) if beat.get("lease") == number else 0
        found.append(
            {
                "group": group,
                "machine": _text(from_bytes(note).get("machine")),
                "lease": number,
                "renewals": renewals,
            }
        )
    return found
