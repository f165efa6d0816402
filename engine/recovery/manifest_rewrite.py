"""The manifest without some rows, and the checkpoint that matches it."""

from __future__ import annotations

import os
import zlib

from engine.queue.directory import Queue
from engine.queue.manifest import (
    Checkpoint,
    Counts,
    OpenJournal,
    read_checkpoint,
    read_lines,
    remove_checkpoint,
    write_checkpoint,
)
from engine.queue.segments import Chunk
from engine.storage import disk
from engine.storage.append_file import AppendFile

_BUFFER_BYTES = 1 << 20


def rewrite(queue: Queue, dropped: set[str], ends: dict[Chunk, int]) -> None:
    """Drop these jobs' rows from the manifest. `ends`: where the journals of their chunks end.

    When the manifest is not what the checkpoint says, the checkpoint is removed instead: the monitor then derives
    both from the journals again.
    """
    checkpoint = read_checkpoint(queue)
    if checkpoint is None:
        return
    new = os.path.join(queue.tmp, "manifest.retry.tmp")
    disk.unlink_quietly(new)
    if not _write_without(queue, dropped, checkpoint, new):
        remove_checkpoint(queue)
        disk.unlink(new)
        return
    # The journal of a filed chunk was forgotten, because all of it is in the manifest; from now on only what follows
    # counts. The offset of any other stays: the rows after it are still to come.
    for chunk, end in ends.items():
        if chunk.name not in checkpoint.open and os.path.exists(queue.filed_token(chunk)):
            checkpoint.open[chunk.name] = OpenJournal(end)
    write_checkpoint(queue, checkpoint)


def _write_without(queue: Queue, dropped: set[str], checkpoint: Checkpoint, new: str) -> bool:
    """Replace the manifest by one without these rows, if any, and adapt the checkpoint to it.

    False when the manifest is not what the checkpoint says; then it stays.
    """
    counts, gone, kept = Counts(), 0, bytearray()
    length = old_checksum = new_checksum = 0
    file = AppendFile(new)
    try:
        for row, line in read_lines(queue, checkpoint.length):
            if row is None:
                return False
            length, old_checksum = length + len(line), zlib.crc32(line, old_checksum)
            if row["video_id"] in dropped:
                gone += 1
                continue
            counts.add(row)
            kept += line
            new_checksum = zlib.crc32(line, new_checksum)
            if len(kept) >= _BUFFER_BYTES:
                file.append(bytes(kept))
                kept.clear()
        if length != checkpoint.length or old_checksum != checkpoint.rows_crc32:
            return False
        file.append(bytes(kept))
        file.sync()
    finally:
        file.close()
    if gone:
        disk.rename(new, queue.manifest)
        disk.sync_dir(queue.root)
    else:
        disk.unlink(new)
    checkpoint.length, checkpoint.counts, checkpoint.rows_crc32 = file.size, counts, new_checksum
    return True
