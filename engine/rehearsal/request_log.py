"""The log of requests: counted, the last ones kept, and written to a file."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter, deque
from typing import Any

from engine.errors import UsageError
from engine.storage import append_file

KEPT = 100_000


class RequestLog:
    """Counts all requests and keeps the last `KEPT`.

    A request is `{"t", "kind", "video_id", "egress", "status", "scene", "client"}`: `t` is the monotonic clock in
    seconds, `status` is 0 if there was no answer, `scene` names the scenario that changed the answer, or is null,
    `client` is its name and version, empty where the request does not say. They are appended to the file as JSON
    lines. Raises UsageError when it cannot be opened.
    """

    def __init__(self, path: str | None) -> None:
        self.kept: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self.kinds: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.egresses: dict[str, Counter[str]] = {}
        self.clients: Counter[str] = Counter()
        self._path = path
        self._unwritten: list[dict[str, Any]] = []
        self._file: append_file.AppendFile | None = None
        if path is not None:
            try:
                self._file = append_file.AppendFile(path, shared=True)
            except OSError as exc:
                raise UsageError(f"The arrivals file {path} cannot be opened: {exc.strerror}.") from exc

    def note(
        self, kind: str, video_id: str, egress: str, status: int, scenario: str | None, client: str = ""
    ) -> None:
        """Count one request."""
        self.kinds[kind] += 1
        self.statuses[str(status)] += 1
        if client:
            self.clients[client] += 1
        counts = self.egresses.setdefault(egress, Counter())
        counts["requests"] += 1
        counts["refused"] += status in (407, 429)
        row = {
            "t": round(time.monotonic(), 4),
            "kind": kind,
            "video_id": video_id,
            "egress": egress,
            "status": status,
            "scene": scenario,
            "client": client,
        }
        self.kept.append(row)
        if self._file is not None:
            self._unwritten.append(row)

    def sent(self, egress: str, n: int) -> None:
        """Count body bytes sent."""
        self.egresses.setdefault(egress, Counter())["bytes"] += n

    def by_video(self) -> dict[str, dict[str, int]]:
        """The kept requests of each video, by kind."""
        videos: dict[str, Counter[str]] = {}
        for row in self.kept:
            videos.setdefault(row["video_id"], Counter())[row["kind"]] += 1
        return {video_id: dict(kinds) for video_id, kinds in videos.items()}

    def write(self) -> None:
        """Append what is not in the file yet."""
        if self._file is None or not self._unwritten:
            return
        rows, self._unwritten = self._unwritten, []
        try:
            self._file.append(
                b"".join(json.dumps(row, separators=(",", ":")).encode() + b"\n" for row in rows)
            )
        except OSError as exc:
            # The rehearsal continues: nothing in it depends on the file.
            print(
                f"The arrivals file {self._path} cannot be written any more: {exc.strerror}", file=sys.stderr
            )
            self._file.close()
            self._file = None

    def close(self) -> None:
        self.write()
        if self._file is not None:
            self._file.close()
            self._file = None
