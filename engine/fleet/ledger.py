"""The ledger as typed values: what the fleet is, its generations and shares, and which of them are done."""

from __future__ import annotations

import gzip
import json
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from engine.errors import DiskError, NoQueueError, UsageError
from engine.fleet import names
from engine.fleet.names import PartName, ShareKey
from engine.fleet.objects import Objects, UnavailableError, open_objects
from engine.fleet.protocol import FleetAsked, from_bytes, next_number, to_bytes
from engine.fleet.steps import Create, Names, Put, Read, Step, Steps, create_ours, insist, perform
from engine.fleet.timing import Timing
from engine.model import Job
from engine.storage.timestamps import utc

T = TypeVar("T")
AT_ONCE = 16  # files that are read at the same time


@dataclass(frozen=True, slots=True)
class Fleet:
    """What `fleet.json` says. `options` are those of `engine run` that decide the content of a record; `groups` the
    hashes of the egresses of each proxy group."""

    id: str
    shares: int
    options: Mapping[str, Any]
    groups: tuple[tuple[str, ...], ...] = ()
    created_at: str = ""


@dataclass(frozen=True, slots=True)
class Replaced:
    """The rows that a retry deals again and that count no more: how many of each status and kind."""

    counts: Mapping[str, int] = field(default_factory=dict)
    kinds: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Generation:
    """Jobs that were dealt together: `kind` is `plan`, `add` or `retry`; `jobs` says how many each share got."""

    number: int
    token: str
    kind: str
    jobs: Mapping[int, int] = field(default_factory=dict)
    replaced: Replaced = Replaced()

    def share_keys(self) -> list[ShareKey]:
        return [ShareKey(number, self.number) for number in sorted(self.jobs)]


@dataclass(frozen=True, slots=True)
class DonePart:
    """A part of a share that is done, as its `done/` names it."""

    name: PartName
    rows: int
    rows_size: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Done:
    """What the `done/` of a share says: which parts it is, and their sums."""

    key: ShareKey
    parts: tuple[DonePart, ...]
    jobs: int
    counts: Mapping[str, int]
    kinds: Mapping[str, int]
    requests: int
    bytes: int
    holds: int = 0

    @classmethod
    def from_json(cls, key: ShareKey, value: Mapping[str, Any]) -> Done:
        """Raises KeyError, TypeError or ValueError for a damaged one."""
        parts = []
        counts: dict[str, int] = {}
        kinds: dict[str, int] = {}
        for part in value["parts"]:
            hold, _, number = str(part["name"]).partition(".")
            name = PartName(int(hold), int(number))
            parts.append(DonePart(name, part["rows"], part["rows_size"], part["size"], part["sha256"]))
            for total, more in ((counts, part["counts"]), (kinds, part["kinds"])):
                for word, count in more.items():
                    total[word] = total.get(word, 0) + count
        return cls(
            key,
            tuple(parts),
            value["jobs"],
            counts,
            kinds,
            sum(part["requests"] for part in value["parts"]),
            sum(part["bytes"] for part in value["parts"]),
            int(value.get("hold", 0)),
        )


class Ledger:
    """A ledger in its place. Every method raises DiskError when the place does not answer for long."""

    def __init__(self, where: str, objects: Objects | None = None, *, timing: Timing | None = None) -> None:
        self.where = where
        self.objects = objects or open_objects(where)
        self.timing = timing or Timing.chosen()

    # ---- one step --------------------------------------------------------------------------------------
    def do(self, steps: Steps[T]) -> T:
        """Take steps of the protocol, waiting in this thread."""
        try:
            return perform(self.objects, steps, time.sleep)
        except UnavailableError as exc:
            raise DiskError(f"{exc}. Run again when it answers: what was reported as done is there") from None

    def _ask(self, step: Step) -> Any:
        return self.do(insist(step, self.timing.beat_s))

    def names(self, prefix: str) -> list[str]:
        found: list[str] = self._ask(Names(prefix))
        return found

    def read(self, name: str, start: int = 0, end: int | None = None) -> bytes | None:
        data: bytes | None = self._ask(Read(name, start, end))
        return data

    def read_all(self, wanted: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """(name, content) of many small files, several at once, in order."""
        listed = list(wanted)
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="ledger") as pool:
            yield from zip(listed, pool.map(self.read, listed), strict=True)

    def put(self, name: str, data: bytes) -> None:
        self._ask(Put(name, data))

    # ---- what is there ---------------------------------------------------------------------------------
    def fleet(self) -> Fleet:
        """What the fleet is. Raises NoQueueError when there is none, UsageError for one that cannot be read."""
        data = self.read(names.FLEET)
        if data is None:
            raise NoQueueError(
                f"no fleet in {self.where}: make one with `engine fleet plan {self.where} videos.txt`",
                path=self.where,
            )
        value = from_bytes(data)
        if isinstance(value.get("format"), int) and value["format"] > names.FORMAT:
            raise UsageError(
                f"the fleet in {self.where} has format {value['format']}; this engine knows {names.FORMAT}: use a "
                "newer engine"
            )
        try:
            groups = tuple(tuple(map(str, group)) for group in value["groups"])
            return Fleet(value["id"], int(value["shares"]), value["options"], groups, value["created_at"])
        except (KeyError, TypeError, ValueError):
            raise self._damaged(names.FLEET) from None

    def generations(self) -> list[Generation]:
        """The generations that are complete, in order. Raises UsageError for a damaged one."""
        found = []
        for name, data in self.read_all(self.names("generations/")):
            value = from_bytes(data)
            try:
                jobs = {int(number): int(count) for number, count in value["jobs"]}
                before = value.get("replaced") or {}
                replaced = Replaced(dict(before.get("counts", {})), dict(before.get("kinds", {})))
                found.append(Generation(int(value["number"]), value["token"], value["kind"], jobs, replaced))
            except (KeyError, TypeError, ValueError, AttributeError):
                raise self._damaged(name) from None
        return sorted(found, key=lambda generation: generation.number)

    def jobs(self, generation: Generation, key: ShareKey) -> list[Job]:
        """The jobs of a share. Raises UsageError when they cannot be read."""
        name = names.jobs(generation.token, key)
        data = self.read(name)
        try:
            lines = [json.loads(line) for line in gzip.decompress(data or b"").splitlines()]
            if len(lines) != generation.jobs[key.number]:
                raise ValueError("it is not as long as it should be")
            return [Job(line["id"], line.get("input") or {}) for line in lines]
        except (OSError, EOFError, ValueError, KeyError, TypeError) as exc:
            raise self._damaged(name, exc) from None

    def done_keys(self) -> set[ShareKey]:
        """The shares that are done, by one listing."""
        found = (name.removeprefix("done/").removesuffix(".json") for name in self.names("done/"))
        return {key for text in found if (key := ShareKey.parse(text)) is not None}

    def done(self, key: ShareKey) -> Done | None:
        """What the `done/` of a share says. Raises UsageError for a damaged one."""
        return self._done(key, self.read(names.done(key)))

    def all_done(self, keys: Iterable[ShareKey]) -> Iterator[Done]:
        """Those of these shares that are done."""
        by_name = {names.done(key): key for key in keys}
        for name, data in self.read_all(by_name):
            done = self._done(by_name[name], data)
            if done is not None:
                yield done

    def _done(self, key: ShareKey, data: bytes | None) -> Done | None:
        if data is None:
            return None
        try:
            return Done.from_json(key, from_bytes(data))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise self._damaged(names.done(key)) from None

    def _damaged(self, name: str, why: object = "") -> UsageError:
        return UsageError(
            f"{name} in {self.where} is damaged{f' ({why})' * bool(why)}: bring it back from a copy"
        )

    # ---- steering --------------------------------------------------------------------------------------
    def asked(self) -> FleetAsked:
        """What has been asked of the fleet until now."""
        asked = FleetAsked()
        numbers = names.asked_numbers(self.names("asked/"))
        for number, (_, data) in zip(numbers, self.read_all(map(names.asked, numbers)), strict=True):
            asked = asked.after(number, from_bytes(data))
        return asked

    def ask(self, what: str, settings: Mapping[str, Any] | None = None) -> None:
        """Ask something of all shares at work and to come."""
        value: dict[str, Any] = {"ask": what, "at": utc(), "token": secrets.token_hex(8)}
        data = to_bytes({**value, **({"settings": dict(settings)} if settings else {})})
        while True:
            number = next_number(names.asked_numbers(self.names("asked/")))
            if self.do(create_ours(names.asked(number), data, self.timing.beat_s)):
                break
        written = 0
        while (latest := max(names.asked_numbers(self.names("asked/")), default=0)) != written:
            written = latest  # somebody may be asking at the same time: the higher number stays
            self.put(names.LATEST, to_bytes({"number": latest}))

    # ---- making one ------------------------------------------------------------------------------------
    def make(self, fleet: Fleet) -> None:
        """Make a fleet in a place where there is nothing. Raises UsageError where there is, or where two may create
        the same file."""
        there = self.names("")
        if there:
            raise UsageError(
                f"{self.where} is not empty ({there[0]}): a ledger is made in a new or an empty place"
            )
        probe = f"probe/{secrets.token_hex(8)}"
        try:
            first, second = self._ask(Create(probe, b"1")), self._ask(Create(probe, b"2"))
        finally:
            self.objects.remove(probe)
        if not first or second:
            raise UsageError(
                f"{self.where}: this store does not keep two machines from creating the same file, which a ledger "
                "needs. Amazon S3, Google Cloud Storage, Azure and directories do"
            )
        value = {
            "format": names.FORMAT,
            "id": fleet.id,
            "shares": fleet.shares,
            "options": dict(fleet.options),
            "groups": [list(group) for group in fleet.groups],
            "created_at": utc(),
        }
        if not self.do(create_ours(names.FLEET, to_bytes(value), self.timing.beat_s)):
            raise UsageError(f"{self.where}: somebody else has just made a fleet there")
        self.put(names.LATEST, to_bytes({"number": 0}))

    def publish(self, generation: Generation) -> None:
        """Make a generation count, whose jobs are all there. Raises UsageError when another was faster."""
        value = {
            "number": generation.number,
            "token": generation.token,
            "kind": generation.kind,
            "jobs": [[number, count] for number, count in sorted(generation.jobs.items())],
            "replaced": {
                "counts": dict(generation.replaced.counts),
                "kinds": dict(generation.replaced.kinds),
            },
            "created_at": utc(),
        }
        if not self.do(create_ours(names.generation(generation.number), to_bytes(value), self.timing.beat_s)):
            raise UsageError(f"{self.where}: somebody else has added to the fleet meanwhile: do it again")
