"""The settings of a run: what the first run freezes for the whole batch, and what belongs to each run."""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO, Literal, Self

from engine.budget import BudgetSettings
from engine.errors import UsageError
from engine.limits import Caps
from engine.model import CONTROL_VIDEOS, EgressSpec
from engine.queue.directory import Queue
from engine.queue.marker import output_of, relative_to


@dataclass(frozen=True, slots=True)
class Frozen:
    """What decides the content of a record: the first run of a queue sets it for good."""

    output: str  # absolute path
    languages: tuple[str, ...] = ("en",)
    formats: tuple[str, ...] = ("md",)
    captions: Literal["any", "manual", "generated"] = "any"
    all_languages: bool = False
    translate: str | None = None
    metadata: Literal["basic", "full"] = "basic"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "languages": list(self.languages), "formats": list(self.formats)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Frozen:
        """What a queue was begun with; what an earlier version did not freeze was as by default.

        Raises KeyError, TypeError or ValueError when it is not that.
        """
        known = {name: value[name] for name in cls.__dataclass_fields__ if name in value}
        its = cls(**{**known, "languages": tuple(value["languages"]), "formats": tuple(value["formats"])})
        words = (*its.languages, *its.formats, its.output, its.captions, its.metadata, its.translate or "")
        if not all(isinstance(word, str) and "\0" not in word for word in words) or not os.path.isabs(
            its.output
        ):
            raise ValueError("not what a run freezes")
        return its


@dataclass(frozen=True, slots=True)
class Settings:
    """A run's settings, as they travel to its workers (over a pipe, never by argument or environment)."""

    queue: str
    frozen: Frozen
    egresses: tuple[EgressSpec, ...]
    budget: BudgetSettings
    processes: int = 1
    threads: int = 16
    attempts: int = 5
    deadline_s: float = 60.0
    grace_s: float = 15.0
    ca_bundle: str | None = field(default=None)
    batch: str = ""  # the queue's id (`engine.queue.marker`)
    replace: bool = False  # overwrite files that this queue did not write
    fetch_mode: Literal["lean", "full"] = "lean"
    mask: bool = False  # of each run: it changes the bytes on the wire, not what is recorded
    on_block: str = "wait"
    limit: int | None = None
    control_videos: tuple[str, ...] = CONTROL_VIDEOS
    caps: Caps = field(default_factory=Caps)
    lap_s: float = 600.0

    @property
    def requests_per_video(self) -> int:
        """Requests that a video with captions costs; with all languages, with the first track only."""
        return 2 + (self.fetch_mode == "full") + (self.frozen.metadata == "full")

    def pack(self) -> bytes:
        """For another process of this run, to be written to its standard input."""
        data = pickle.dumps(self)
        return struct.pack(">Q", len(data)) + data

    @classmethod
    def unpack(cls, stream: BinaryIO) -> Self:
        """What `pack` made. Raises EOFError when whoever wrote it died over it."""
        head = stream.read(8)
        size = struct.unpack(">Q", head)[0] if len(head) == 8 else 0
        data = stream.read(size)
        if not size or len(data) < size:
            raise EOFError("whoever was to say the settings is gone")
        its = pickle.loads(data)  # noqa: S301 - from the process that started this one
        assert isinstance(its, cls)  # noqa: S101
        return its


_OPTION = {
    "output": "--output",
    "languages": "--languages",
    "formats": "--format",
    "captions": "--manual-only and --generated-only",
    "all_languages": "--all-languages",
    "translate": "--translate",
    "metadata": "--metadata",
}


def freeze(queue: Queue, wanted: Frozen, given: frozenset[str], *, relative: bool = False) -> Frozen:
    """Freeze what the first run wants; later give back what was frozen. As `frozen_or` in all else.

    `relative`: the output directory was given by a relative path, and is kept so when it lies beside or below the
    queue. The absolute path is kept as well, as it is now: older engines know no other.
    """
    frozen = frozen_or(queue, wanted, given)
    batch = queue.read_batch()
    known = batch.get("frozen")
    if isinstance(known, dict):
        place = place_of(queue, frozen.output, relative="output_relative" in known)
        value = {**{name: its for name, its in known.items() if name not in _PLACE}, **place}
    else:
        value = {**frozen.to_json(), **place_of(queue, frozen.output, relative=relative)}
    if value != known:
        batch["frozen"] = value
        queue.write_batch(batch)
    return frozen


_PLACE = ("output", "output_relative")


def place_of(queue: Queue, output: str, *, relative: bool) -> dict[str, str]:
    """What is frozen of where the output is. `relative`: by its path from the queue as well, if that may be."""
    inside = relative_to(queue, output) if relative else None
    return {"output": os.path.abspath(output)} | ({"output_relative": inside} if inside else {})


def frozen_or(queue: Queue, wanted: Frozen, given: frozenset[str]) -> Frozen:
    """What was frozen, or before the first run what is wanted; freezes nothing.

    `given` names the fields that the user set. Raises UsageError naming both values when one of them differs.
    """
    known = queue.read_batch().get("frozen")
    if not isinstance(known, dict):
        return wanted
    try:
        frozen = Frozen.from_json({**known, "output": output_of(queue)})
    except (KeyError, TypeError, ValueError):
        raise UsageError(
            f"{queue.batch} is damaged: what the first run froze cannot be read. Bring it back from a copy"
        ) from None
    asked, begun = wanted.to_json(), frozen.to_json()
    for name in sorted(given & set(_OPTION)):
        same_place = name == "output" and os.path.realpath(asked[name]) == os.path.realpath(begun[name])
        if asked[name] != begun[name] and not same_place:
            moved = "; was it moved? `engine verify --repair -o NEW`" if name == "output" else ""
            raise UsageError(
                f"{_OPTION[name]}: this queue was begun with {_show(begun[name])}, not {_show(asked[name])}; "
                f"leave the option out, or start another queue with -q{moved}"
            )
    return frozen


def check_rehearsal(queue: Queue, rehearsal: bool) -> None:
    """Raise UsageError when a rehearsal's queue is to be run for real, or the other way round."""
    if bool(queue.read_batch().get("rehearsal")) == rehearsal:
        return
    if rehearsal:
        raise UsageError(f"the queue in {queue.root} is a real one: rehearse in another, with -q")
    raise UsageError(
        f"the queue in {queue.root} is a rehearsal: go on with `engine rehearse`, or use another -q"
    )


def _show(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "on" if value else "none" if value is None else "off"
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
