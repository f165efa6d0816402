"""Publishing into shards: a record is a frame at the end of its chunk's shard, durable before a row names it.

The owner of a chunk is the one writer of its shard. When it takes the chunk over, it cuts off what no row names at
the end: what a killed process left there has no journal line. Threads that wait for the disk share an fsync. After
one that failed, a worker fsyncs nothing more: not that shard opened anew, no other, no names.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any

from engine.model import Record
from engine.output import shard_index, shards
from engine.output.formats import RECORD, to_json
from engine.output.publisher import TakenError, linked
from engine.queue import marker
from engine.queue.dead_workers import RemoveOutput
from engine.queue.job_state import ChunkState
from engine.queue.segments import Chunk
from engine.storage import disk, zstd
from engine.storage.fsyncs import Fsyncs

_FILE_MODE = 0o644
_DIR_MODE = 0o755


class ShardFile:
    """A shard that its owner writes. `end`: where the frames that rows name end. Thread-safe.

    `fsyncs` are its worker's. Raises TakenError for a file that this queue did not write, unless it may `replace` it.
    """

    def __init__(
        self, root: str, shard: int, batch: str, end: int, fsyncs: Fsyncs, *, replace: bool = False
    ) -> None:
        fsyncs.check()  # of this very shard, perhaps
        self.number = shard
        self._path = shards.path_of(root, shard)
        self._lock = threading.Lock()  # of the end of the file
        self._turn = threading.Lock()  # of the fsync
        self._fsyncs = fsyncs
        try:
            self._fd = disk.open_append(self._path, _FILE_MODE)
        except OSError as exc:
            if exc.errno in (errno.ELOOP, errno.EISDIR):
                raise TakenError(os.path.relpath(self._path, root)) from None
            raise
        try:
            self._begin(root, batch, end, replace=replace)
        except BaseException:
            os.close(self._fd)
            raise

    def _begin(self, root: str, batch: str, end: int, *, replace: bool) -> None:
        """Have the file begin with the header and end with the last frame that a row names.

        The header and the name are durable before the first frame is written: a file without a header holds none.
        """
        wanted = shards.header(batch)
        size = os.fstat(self._fd).st_size
        start = os.pread(self._fd, len(wanted), 0)
        if not (replace or shards.begins_as_ours(start, size, batch)):
            raise TakenError(os.path.relpath(self._path, root))
        kept = min(size, max(end, len(wanted))) if start == wanted else 0
        if kept < size:
            disk.truncate(self._fd, kept)
        if not kept or end <= len(wanted):  # also one that is there: the fsync of it may have failed
            disk.pwrite(self._fd, wanted, 0)
        self._synced = 0  # whoever wrote the rest may have died before it was durable, its name too
        self._size = max(kept, len(wanted))
        self.sync(self._size)
        self._fsyncs.sync_dir(os.path.dirname(self._path))

    def append(self, data: bytes) -> shards.Frame:
        """Write a frame at the end; it is not durable yet. On an error the file stays what it was."""
        with self._lock:
            self._fsyncs.check()
            offset = self._size
            try:
                disk.pwrite(self._fd, data, offset)
            except BaseException:
                disk.truncate(self._fd, offset)
                raise
            self._size += len(data)
        return shards.Frame(self.number, offset, len(data))

    def sync(self, upto: int) -> None:
        """Make the file durable up to this offset."""
        with self._turn:
            if self._synced >= upto:
                return  # another thread's fsync has covered it
            with self._lock:
                end = self._size
            with self._fsyncs.guarded(self._path):
                disk.sync_fd(self._fd)
            self._synced = end

    def close(self) -> None:
        os.close(self._fd)


class ShardOutput:
    """One worker's access to an output directory with shards; the same calls as `engine.output.publisher.Output`."""

    def __init__(self, root: str, worker_id: str, batch: str, *, replace: bool = False) -> None:
        self.root = root
        self.batch = batch
        self._replace = replace
        self._marker = marker.path_of(root, batch)
        self._lock = threading.Lock()
        self._fsyncs = Fsyncs()
        self._ends: dict[Chunk, int] = {}  # of the chunks that are open: where the frames of rows end
        self._files: dict[Chunk, ShardFile] = {}  # of those with a record since
        self._index_named = False  # durably: whoever made the index may have died before that
        self._lines: list[bytes] = []  # of the index, to be appended with the next `sync`
        marker.check(root, batch)
        directory = os.path.join(root, shards.DIR)
        if os.path.islink(directory):
            raise linked(directory)
        shard_index.refuse_others(root, batch)
        disk.ensure_dir(directory, mode=_DIR_MODE)
        disk.sync_dir(root)  # whoever made it

    def open_chunk(self, chunk: Chunk, state: ChunkState) -> None:
        """Take over the shard of a chunk that was claimed; `state` is what its journal says.

        What follows the last frame that a row names is cut off. Where frames lie that no row names, their owner died,
        and the index may name them: it then forgets the jobs that are not final.
        """
        shard = shards.number_of(chunk)
        try:
            size = os.lstat(shards.path_of(self.root, shard)).st_size
        except FileNotFoundError:
            size = 0
        final = {video_id: job.final for video_id, job in state.jobs.items() if job.final is not None}
        frames = [frame for row in final.values() if (frame := _frame(row)) and frame.shard == shard]
        frames = [frame for frame in frames if frame.end <= size]
        first = len(shards.header(self.batch))
        self._ends[chunk] = max((frame.end for frame in frames), default=first)
        if size > first + sum(frame.length for frame in frames):
            for video_id, place in shard_index.entries(self.root, shard):
                if video_id not in final and shard_index.find(self.root, video_id) == place:
                    self.touch(video_id, {RECORD: shard_index.GONE})
        if size > self._ends[chunk]:
            self.sync(self.touched())  # first: whoever comes next would see no sign of what is cut off
            with contextlib.suppress(TakenError):  # whoever wants to publish into it hears of it
                self._file(chunk)

    def close_chunk(self, chunk: Chunk) -> None:
        """Let go of a chunk, whose rows are synced."""
        self._ends.pop(chunk, None)
        with self._lock:
            file = self._files.pop(chunk, None)
        if file is not None:
            file.close()

    def publish(
        self, record: Record, rows: tuple[Mapping[str, Any], ...] = (), chunk: Chunk | None = None
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Write the record into the shard of its chunk, durably; returns ({"json": place}, {"json": sha256}).

        Raises TakenError when a file that this queue did not write has the shard's name; DiskError when the directory
        is not ours (any more).
        """
        assert chunk is not None  # noqa: S101 - a shard is a chunk's
        self._check_marker()
        data = to_json(record)
        packed = zstd.compress(data)
        file = self._file(chunk)
        frame = file.append(packed)
        file.sync(frame.end)
        self._check_marker()
        place = str(frame)
        self.touch(record.video_id, {RECORD: place})
        return {RECORD: place}, {RECORD: hashlib.sha256(data).hexdigest()}

    def _check_marker(self) -> None:
        if not os.path.lexists(self._marker):
            marker.check(self.root, self.batch)

    def _file(self, chunk: Chunk) -> ShardFile:
        with self._lock:
            file = self._files.get(chunk)
            if file is None:
                number, end = shards.number_of(chunk), self._ends[chunk]
                file = ShardFile(self.root, number, self.batch, end, self._fsyncs, replace=self._replace)
                self._files[chunk] = file
            return file

    def remove(self, video_id: str, rows: tuple[Mapping[str, Any], ...] = ()) -> None:
        """Take a job that is not `ok` out of the index. Its frames count as absent, as no row names them."""
        if rows:
            self.touch(video_id, {RECORD: shard_index.GONE})

    def touch(self, video_id: str, files: Mapping[str, str]) -> None:
        """Have the index name a job's record with the next `sync`."""
        with self._lock:
            self._lines.append(shard_index.line(video_id, files[RECORD]))

    def touched(self) -> Collection[Any]:
        """What the index lacks; the caller must `sync` it."""
        with self._lock:
            lines, self._lines = self._lines, []
        return lines

    def sync(self, touched: Collection[Any]) -> None:
        if touched:
            with self._fsyncs.guarded(shard_index.path_of(self.root)):
                named = self._index_named
                shard_index.append(self.root, self.batch, touched, self._fsyncs.sync_dir, sync_name=not named)
            self._index_named = True

    def sync_names(self, path: str) -> None:
        self._fsyncs.sync_dir(path)

    def close(self) -> None:
        for chunk in list(self._files):
            self.close_chunk(chunk)


def _frame(row: Mapping[str, Any]) -> shards.Frame | None:
    files = row.get("files")
    place = files.get(RECORD) if isinstance(files, Mapping) else None
    return shards.Frame.parse(place) if isinstance(place, str) else None


def index_cleaner(root: str, batch: str, sync_names: Callable[[str], None]) -> RemoveOutput:
    """Takes jobs out of the index that had a record and have none any more."""

    def remove(video_id: str, rows: tuple[Mapping[str, Any], ...], since: float | None = None) -> None:
        if rows and os.path.exists(shard_index.path_of(root)):
            shard_index.append(root, batch, [shard_index.line(video_id, shard_index.GONE)], sync_names)

    return remove
