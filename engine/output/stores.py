"""The two ways to store records (`--store`): files named by id, or shards. All writers ask here which it is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Protocol

from engine.model import Record
from engine.output import publisher, shard_output
from engine.output.shards import DIR as SHARDS
from engine.queue.dead_workers import RemoveOutput
from engine.queue.job_state import ChunkState
from engine.queue.segments import Chunk
from engine.settings import Frozen
from engine.storage import disk


class RecordStore(Protocol):
    """One worker's access to the output directory. See `engine.output.publisher.Output` for what each call does."""

    @property
    def root(self) -> str: ...

    @property
    def batch(self) -> str: ...

    def open_chunk(self, chunk: Chunk, state: ChunkState) -> None: ...

    def close_chunk(self, chunk: Chunk) -> None: ...

    def publish(
        self, record: Record, rows: tuple[Mapping[str, Any], ...] = (), chunk: Chunk | None = None
    ) -> tuple[dict[str, str], dict[str, str]]: ...

    def remove(self, video_id: str, rows: tuple[Mapping[str, Any], ...] = ()) -> None: ...

    def touch(self, video_id: str, files: Mapping[str, str]) -> None: ...

    def touched(self) -> Collection[Any]: ...

    def sync(self, touched: Collection[Any]) -> None: ...

    def sync_names(self, path: str) -> None: ...

    def close(self) -> None: ...


def open_store(frozen: Frozen, worker_id: str, batch: str, *, replace: bool = False) -> RecordStore:
    """The output directory of a queue with this id, for one worker. Raises DiskError when it is not there."""
    if frozen.store == SHARDS:
        return shard_output.ShardOutput(frozen.output, worker_id, batch, replace=replace)
    return publisher.Output(frozen.output, frozen.formats, worker_id, batch, replace=replace)


def output_remover(
    root: str,
    batch: str,
    formats: tuple[str, ...],
    store: str,
    sync_names: Callable[[str], None] = disk.sync_dir,
) -> RemoveOutput:
    """Removes what jobs that are not `ok` left in the output directory, and makes that durable by `sync_names`: in a
    worker its store's, whose threads may have seen an fsync fail."""
    if store == SHARDS:
        return shard_output.index_cleaner(root, batch, sync_names)
    return publisher.output_remover(root, batch, formats, sync_names)


def may_have_left(root: str, video_id: str, store: str) -> bool:
    """Whether a job may have left something in the output directory: a cheap question before its journal is read."""
    return store == SHARDS or publisher.any_file_there(root, video_id)
