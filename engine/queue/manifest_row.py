"""A row of the manifest as a typed value, and reading all rows in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from engine.queue.directory import Queue
from engine.queue.manifest import read_checkpoint, read_rows


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """What became of one video. `files` are relative to the output directory, by format; `input` the user's columns.

    `status` is `ok`, `absent` or `failed`; `kind` and `message` say why, and are None when it is `ok`. `bytes` are
    body bytes as transferred, `finished_at` is UTC, `way` the way whose word it is.
    Fields that an older engine did not write are None, 0 or empty.
    """

    video_id: str
    status: str
    kind: str | None = None
    message: str | None = None
    attempts: int = 0
    requests: int = 0
    bytes: int = 0
    title: str | None = None
    channel: str | None = None
    channel_id: str | None = None
    duration_s: int | None = None
    published: str | None = None
    views: int | None = None
    language: str | None = None
    is_generated: bool | None = None
    words: int | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    sha256: Mapping[str, str] = field(default_factory=dict)
    egress: str | None = None
    way: str | None = None
    elapsed_s: float = 0.0
    finished_at: str | None = None
    input: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The row in a line of `manifest.jsonl`; fields that are not known here are left out."""
        return cls(**{name: value[name] for name in cls.__dataclass_fields__ if name in value})


def counted_rows(queue: Queue) -> Iterator[dict[str, Any]]:
    """The manifest's rows one by one, as far as the checkpoint promises them. A damaged line is passed over."""
    checkpoint = read_checkpoint(queue)
    if checkpoint is not None:
        yield from (row for row in read_rows(queue, checkpoint.length) if "status" in row)
