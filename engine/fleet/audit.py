"""`engine fleet verify`: whether each share that is done has exactly the rows of its jobs, with their records."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field

from engine.errors import UsageError
from engine.fleet import names, parts
from engine.fleet.ledger import Done, Generation, Ledger
from engine.fleet.names import ShareKey
from engine.fleet.results import OnProgress


@dataclass
class FleetAudit:
    """What `engine fleet verify` found."""

    shares: int = 0
    done: int = 0
    jobs: int = 0
    rows: int = 0
    records: int = 0
    nobodys_parts: int = 0  # of holds that lost
    foreign: int = 0  # files with other names
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems


def verify(ledger: Ledger, on_progress: OnProgress, *, records: bool = True) -> FleetAudit:
    """Audit the ledger: each share that is done has exactly the rows of its jobs, in parts that are as `done/` says,
    with records that are as their rows say."""
    audit, generations = FleetAudit(), ledger.generations()
    everything = ledger.names("")
    audit.foreign = sum(not names.is_own(name) for name in everything)
    there = set(everything)
    named: set[str] = set()
    keys = [(generation, key) for generation in generations for key in generation.share_keys()]
    for at, (generation, key) in enumerate(keys):
        on_progress(at, len(keys))
        audit.shares += 1
        try:
            jobs = [job.video_id for job in ledger.jobs(generation, key)]
            done = ledger.done(key)
        except UsageError as exc:
            audit.problems.append(str(exc))
            continue
        audit.jobs += len(jobs)
        if len(set(jobs)) != len(jobs):
            audit.problems.append(f"share {key}: a job is in it twice")
        if done is None:
            continue
        audit.done += 1
        named |= {part.name.path(key) for part in done.parts}
        _audit_share(ledger, key, jobs, done, there, audit, records=records)
    doubled = _across(ledger, generations)
    audit.problems += [f"{name} is in several generations, and is no retry" for name in doubled]
    known = {str(key) for _, key in keys}
    finished = {
        f"parts/{text.removeprefix('done/').removesuffix('.json')}/"
        for text in there
        if text.startswith("done/")
    }
    stray = [name for name in everything if name.startswith("parts/") and name not in named]
    audit.nobodys_parts = sum(name[: name.rindex("/") + 1] in finished for name in stray)
    audit.problems += [f"{name} belongs to no share" for name in stray if name.split("/")[1] not in known]
    return audit


def _audit_share(
    ledger: Ledger,
    key: ShareKey,
    jobs: list[str],
    done: Done,
    there: set[str],
    audit: FleetAudit,
    *,
    records: bool,
) -> None:
    found: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for part in done.parts:
        name = part.name.path(key)
        data = ledger.read(name) if name in there else None
        if data is None:
            audit.problems.append(f"{name}, which done/{key}.json names, is not there")
            continue
        if len(data) != part.size or hashlib.sha256(data).hexdigest() != part.sha256:
            audit.problems.append(f"{name} has not the sha256 that done/{key}.json says")
            continue
        try:
            for row, _, record in parts.unpack(data):
                found[row["video_id"]] += 1
                counts[row["status"]] += 1
                audit.rows += 1
                if record is not None and records:
                    audit.records += 1
                    if hashlib.sha256(record).hexdigest() != row["sha256"]["json"]:
                        audit.problems.append(
                            f"{name}: the record of {row['video_id']} has not the sha256 of its row"
                        )
        except (ValueError, KeyError, TypeError) as exc:
            audit.problems.append(f"{name} is damaged: {exc}")
    doubled = sorted(name for name, count in found.items() if count > 1)
    for what, ids in (
        ("in it twice", doubled),
        ("missing", sorted(set(jobs) - set(found))),
        ("in it that are no jobs of it", sorted(set(found) - set(jobs))),
    ):
        if ids:
            audit.problems.append(f"share {key}: {len(ids):,} videos are {what}, as {ids[0]}")
    if +counts != +Counter(done.counts):
        audit.problems.append(
            f"share {key}: done/{key}.json says {dict(done.counts)}, its parts {dict(counts)}"
        )


def _across(ledger: Ledger, generations: list[Generation]) -> list[str]:
    """Ids that an added generation has, and an earlier one as well."""
    found: list[str] = []
    added = [generation for generation in generations if generation.kind == "add"]
    for generation in added:
        for key in generation.share_keys():
            mine = {job.video_id for job in ledger.jobs(generation, key)}
            for elder in generations[: generation.number - 1]:
                if key.number in elder.jobs and elder.kind != "retry":
                    other = {job.video_id for job in ledger.jobs(elder, ShareKey(key.number, elder.number))}
                    found += sorted(mine & other)[:1]
    return found
