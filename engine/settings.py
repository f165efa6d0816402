"""The settings of a run: what the first run fixes for the whole batch, and what belongs to each run."""

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
from engine.model import CONTROL_VIDEOS, WAYS, EgressSpec, InnertubeClient, YtdlpOptions
from engine.queue.directory import Queue
from engine.queue.making import raise_format
from engine.queue.marker import output_of, relative_to
from engine.queue.names import SHARDS_FORMAT

STORES = ("files", "shards")
NO_FORMATS = (
    "--format: a batch with --store shards writes records alone; `engine export --to {name}` makes the other formats "
    "of them at any time"
)


@dataclass(frozen=True, slots=True)
class Frozen:
    """What decides the content of a record; the first run of a queue fixes it for good."""

    output: str  # absolute path
    languages: tuple[str, ...] = ("en",)
    formats: tuple[str, ...] = ("md",)
    captions: Literal["any", "manual", "generated"] = "any"
    all_languages: bool = False
    translate: str | None = None
    metadata: Literal["basic", "full"] = "basic"
    store: Literal["files", "shards"] = "files"

    def to_json(self) -> dict[str, Any]:
        value = {**asdict(self), "languages": list(self.languages), "formats": list(self.formats)}
        if self.store == "files":
            del value["store"]  # a queue of format 1 stays as engines before 2026-11-26 made it
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Frozen:
        """What the first run fixed. A field that an earlier version did not know has its default.

        Raises KeyError, TypeError or ValueError when the value is damaged.
        """
        known = {name: value[name] for name in cls.__dataclass_fields__ if name in value}
        frozen = cls(**{**known, "languages": tuple(value["languages"]), "formats": tuple(value["formats"])})
        texts = (
            *frozen.languages,
            *frozen.formats,
            frozen.output,
            frozen.captions,
            frozen.metadata,
            frozen.store,
        )
        if not all(isinstance(text, str) and "\0" not in text for text in (*texts, frozen.translate or "")):
            raise ValueError("a field is not a text")
        if frozen.store not in STORES:
            raise ValueError("records are stored in a way that nobody knows")
        if not os.path.isabs(frozen.output):
            raise ValueError("the output directory is not an absolute path")
        return frozen


@dataclass(frozen=True, slots=True)
class Settings:
    """A run's settings, as its workers get them: by a pipe, never by argument or environment."""

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
    # Not fixed: they change what goes over the wire, not what is recorded.
    ways: tuple[str, ...] = WAYS
    clients: tuple[InnertubeClient, ...] = ()  # empty: the engine's own table
    mask: Literal["auto", "on", "off"] = "auto"
    ytdlp: YtdlpOptions | None = field(default=None, repr=False)
    on_block: str = "wait"
    limit: int | None = None
    control_videos: tuple[str, ...] = CONTROL_VIDEOS
    caps: Caps = field(default_factory=Caps)

    @property
    def requests_per_video(self) -> int:
        """Requests for a video with captions; with all languages, those for the first track only.

        Full metadata takes two, one of them only where the description lists no chapters.
        """
        return 2 + (self.ways[0] in ("page", "yt-dlp")) + 2 * (self.frozen.metadata == "full")

    def pack(self) -> bytes:
        """The settings as bytes, for the standard input of another process of this run."""
        data = pickle.dumps(self)
        return struct.pack(">Q", len(data)) + data

    @classmethod
    def unpack(cls, stream: BinaryIO) -> Self:
        """Read what `pack` made. Raises EOFError when the writer died first."""
        head = stream.read(8)
        size = struct.unpack(">Q", head)[0] if len(head) == 8 else 0
        data = stream.read(size)
        if not size or len(data) < size:
            raise EOFError("the process that sends the settings is gone")
        settings = pickle.loads(data)  # noqa: S301 - from the process that started this one
        assert isinstance(settings, cls)  # noqa: S101
        return settings


_OPTION = {
    "output": "--output",
    "languages": "--languages",
    "formats": "--format",
    "captions": "--manual-only and --generated-only",
    "all_languages": "--all-languages",
    "translate": "--translate",
    "metadata": "--metadata",
    "store": "--store",
}


def freeze(queue: Queue, wanted: Frozen, given: frozenset[str], *, relative: bool = False) -> Frozen:
    """Fix what the first run wants, durably; a later run gets what was fixed. Otherwise as `frozen_or`.

    `relative`: the output directory was given by a relative path. It is then also stored by its path from the queue,
    if it lies beside or below it; the absolute path is stored in any case, as older engines know no other.
    """
    frozen = frozen_or(queue, wanted, given)
    batch = queue.read_batch()
    known = batch.get("frozen")
    if isinstance(known, dict):
        place = place_of(queue, frozen.output, relative="output_relative" in known)
        value = {**{name: each for name, each in known.items() if name not in _PLACE}, **place}
    else:
        value = {**frozen.to_json(), **place_of(queue, frozen.output, relative=relative)}
    if value != known:
        if frozen.store == "shards":
            raise_format(
                queue, SHARDS_FORMAT
            )  # first: an older engine must not take such a queue for one it knows
        batch["frozen"] = value
        queue.write_batch(batch)
    return frozen


_PLACE = ("output", "output_relative")


def place_of(queue: Queue, output: str, *, relative: bool) -> dict[str, str]:
    """The fields that say where the output is; with `relative` also by its path from the queue, where it has one."""
    inside = relative_to(queue, output) if relative else None
    return {"output": os.path.abspath(output)} | ({"output_relative": inside} if inside else {})


def frozen_or(queue: Queue, wanted: Frozen, given: frozenset[str]) -> Frozen:
    """What was fixed, or before the first run what is wanted. Writes nothing.

    `given` names the fields that the user set. Raises UsageError with both values when one of them differs.
    """
    known = queue.read_batch().get("frozen")
    if not isinstance(known, dict):
        return wanted
    try:
        frozen = Frozen.from_json({**known, "output": output_of(queue)})
    except (KeyError, TypeError, ValueError):
        raise UsageError(
            f"{queue.batch} is damaged: what the first run fixed cannot be read. Restore it from a copy"
        ) from None
    asked, fixed = ({**each.to_json(), "store": each.store} for each in (wanted, frozen))
    if frozen.store == "shards" and "formats" in given and wanted.formats:
        raise UsageError(NO_FORMATS.format(name=wanted.formats[0]))
    for name in sorted(given & set(_OPTION)):
        same_place = name == "output" and os.path.realpath(asked[name]) == os.path.realpath(fixed[name])
        if asked[name] != fixed[name] and not same_place:
            moved = "; was it moved? `engine verify --repair -o NEW`" if name == "output" else ""
            raise UsageError(
                f"{_OPTION[name]}: this queue was begun with {_show(fixed[name])}, not {_show(asked[name])}; "
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
