"""A part: some finished rows of a share, and their records byte for byte.

A part is two gzip members, one after the other: the rows, a line each, and the records of the `ok` rows in the same
order. `done/` says how long the first member is, so that rows can be read without the records. The first line of
each member says how many lines, or how many bytes of each record, follow.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

_LEVEL = 6


def pack(rows: Iterable[tuple[bytes, bytes | None]]) -> tuple[bytes, frozenset[str], dict[str, Any]]:
    """(bytes, ids, facts) of a part with these rows (lines of a manifest) and their records."""
    lines, records = [], []
    counts: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    ids, requests, body_bytes = [], 0, 0
    for line, record in rows:
        row = json.loads(line)
        lines.append(line if line.endswith(b"\n") else line + b"\n")
        if record is not None:
            records.append(record)
        ids.append(row["video_id"])
        counts[row["status"]] += 1
        if row["status"] != "ok":
            kinds[str(row.get("kind"))] += 1
        requests += int(row.get("requests") or 0)
        body_bytes += int(row.get("bytes") or 0)
    head = json.dumps({"rows": len(lines)}).encode() + b"\n"
    first = gzip.compress(head + b"".join(lines), _LEVEL, mtime=0)
    sizes = json.dumps([len(record) for record in records]).encode() + b"\n"
    data = first + gzip.compress(sizes + b"".join(records), _LEVEL, mtime=0)
    facts = {
        "rows": len(lines),
        "counts": dict(sorted(counts.items())),
        "kinds": dict(sorted(kinds.items())),
        "requests": requests,
        "bytes": body_bytes,
        "rows_size": len(first),
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    return data, frozenset(ids), facts


def unpack_rows(data: bytes) -> list[bytes]:
    """The lines of the rows of a part, from its first member or from all of it. Raises ValueError."""
    text, _ = _member(data)
    head, _, body = text.partition(b"\n")
    lines = body.splitlines(keepends=True)
    try:
        if json.loads(head)["rows"] != len(lines):
            raise ValueError("it is not as long as it says")
    except (KeyError, TypeError) as exc:
        raise ValueError(f"its first line is damaged: {exc}") from None
    return lines


def unpack(data: bytes) -> Iterator[tuple[dict[str, Any], bytes, bytes | None]]:
    """(row, the row's line, record) of each row of a part. Raises ValueError."""
    _, rest = _member(data)
    lines = unpack_rows(data)
    text, _ = _member(rest)
    head, _, body = text.partition(b"\n")
    sizes = json.loads(head)
    rows = [json.loads(line) for line in lines]
    if not isinstance(sizes, list) or sum(sizes) != len(body):
        raise ValueError("its records are not as long as it says")
    if len(sizes) != sum(row["status"] == "ok" for row in rows):
        raise ValueError("it has not a record for each row that is ok")
    at, ends = 0, iter(sizes)
    for row, line in zip(rows, lines, strict=True):
        record = None
        if row["status"] == "ok":
            size = next(ends)
            record, at = body[at : at + size], at + size
        yield row, line, record


def read(data: bytes) -> tuple[frozenset[str], dict[str, Any]]:
    """(ids, facts) of a part that another hold wrote. Raises ValueError when it is damaged."""
    found = [(line, record) for _, line, record in unpack(data)]
    _, ids, facts = pack(found)
    if len(ids) != len(found):
        raise ValueError("an id is in it twice")
    _, rest = _member(data)
    return ids, {
        **facts,
        "rows_size": len(data) - len(rest),
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def _member(data: bytes) -> tuple[bytes, bytes]:
    """(the content of the first gzip member, what follows it). Raises ValueError."""
    decoder = zlib.decompressobj(wbits=31)
    try:
        text = decoder.decompress(data)
    except zlib.error as exc:
        raise ValueError(str(exc)) from None
    if not decoder.eof:
        raise ValueError("it is cut off")
    return text, decoder.unused_data
