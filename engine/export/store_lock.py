"""The lock of an export in a store: an object that is made only if there is none and renewed while the export works.

    .engine-export/lock-000001     who writes here, since when

A store frees no lock when its holder dies. So a lock that was not renewed for `stale_s` may be taken over, by making
the next number: of several who try, one is first. Its age is by the store's clock alone, which an object of the
onlooker's tells. Where a store does not refuse the second, the first finds a note that is not its own and gives up.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import threading
import time
from typing import Any, NoReturn

from engine.errors import HeldError
from engine.storage import object_store, processes
from engine.storage.timestamps import utc

BEAT_S = 20.0  # between two renewals
STALE_S = 120.0
_COMMITS = 15  # so many times longer on the Hub, where each renewal is a commit, for all to see
_NAME = re.compile(r"lock-([0-9]{6})")


class StoreLock:
    """The lock on a place in a store, held until `release`. A thread renews it."""

    def __init__(self, fs: Any, directory: str, shown: str, *, commits: bool = False) -> None:
        """Raises HeldError while another export writes there, and what the store's library raises."""
        self._fs, self._directory, self._shown = fs, directory, shown
        times = _COMMITS if commits else 1
        self._beat_s, self._stale_s = BEAT_S * times, STALE_S * times
        identity = {} if commits else processes.identity()
        self._note = {**identity, "token": secrets.token_hex(8), "since": utc(), "stale_s": self._stale_s}
        self._number = 0
        self._lost: HeldError | None = None
        self._renewed_at = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew_often, name="export-lock", daemon=True)
        try:
            self._take()
            self._thread.start()
        except BaseException:  # a signal, for one, when it is made already
            self._remove()
            raise

    def confirm(self, *, again: bool = False) -> None:
        """Raise HeldError when another export has taken the place over.

        The store is asked only `again`, or when the lock could not be renewed lately.
        """
        if self._lost is None and (again or time.monotonic() - self._renewed_at > 2 * self._beat_s):
            self._look()
        if self._lost is not None:
            raise self._lost

    def release(self) -> None:
        """Let go. What cannot be removed now becomes stale."""
        self._ended.set()
        self._thread.join()
        if self._lost is None:
            self._remove()

    def _remove(self) -> None:
        with contextlib.suppress(Exception):
            if self._number and self._is_ours():
                self._fs.rm_file(self._path(self._number))

    # ---- taking ----------------------------------------------------------------------------------------
    def _take(self) -> None:
        there = self._numbers()
        for number in there:
            self._refuse_live(number)
        self._number = max(there, default=0) + 1
        if not object_store.create(self._fs, self._path(self._number), self._data()):
            self._refuse(self._read(self._number), None)
        self._renewed_at = time.monotonic()
        others = [number for number in self._numbers() if number not in (*there, self._number)]
        if others or not self._is_ours():  # begun in the moment in which an earlier one ended
            self._remove()
            self._refuse(self._read((others or [self._number])[-1]), None)
        for number in there:
            with contextlib.suppress(FileNotFoundError):
                self._fs.rm_file(self._path(number))

    def _refuse_live(self, number: int) -> None:
        """Raise HeldError for a lock that has been renewed lately."""
        with contextlib.suppress(FileNotFoundError):  # it ends just now
            note = self._read(number)
            stale_s = note.get("stale_s")
            left_s = (stale_s if isinstance(stale_s, int | float) else self._stale_s) - self._age_s(number)
            if left_s > 0:
                self._refuse(note, left_s)

    def _age_s(self, number: int) -> float:
        """How long ago it was renewed, by the store's clock."""
        probe = f"{self._directory}/clock-{secrets.token_hex(4)}"
        self._fs.pipe_file(probe, b"\n")
        try:
            now, then = self._fs.modified(probe), self._fs.modified(self._path(number))
        finally:
            with contextlib.suppress(FileNotFoundError):
                self._fs.rm_file(probe)
        return float((now - then).total_seconds())

    def _refuse(self, note: dict[str, Any], left_s: float | None) -> NoReturn:
        raise self._held(note, left_s)

    def _held(self, note: dict[str, Any], left_s: float | None) -> HeldError:
        pid, since, host = note.get("pid"), note.get("since"), note.get("host")
        named = f"pid {pid}" if isinstance(pid, int) else "its pid is not known"
        named += f" on {str(host)[:64]}" if host else ""
        named += f", since {str(since)[:20]}" if since else ""
        until = time.time() + (note.get("stale_s") or self._stale_s if left_s is None else left_s)
        return HeldError(
            f"another export is writing to {self._shown} ({named}): wait until it has ended, or give another place. "
            f"If it was killed, its lock ends at {utc(until)}: run the same again then",
            pid=pid if processes.alive(note) else None,
        )

    # ---- while it is held ------------------------------------------------------------------------------
    def _renew_often(self) -> None:
        while not self._ended.wait(self._beat_s) and self._lost is None:
            with contextlib.suppress(Exception):  # a store in trouble: `confirm` asks again
                self._look()
                if self._lost is None:
                    self._fs.pipe_file(self._path(self._number), self._data())
                    self._renewed_at = time.monotonic()

    def _look(self) -> None:
        """Find out whether it is still ours."""
        numbers = self._numbers()
        if numbers and numbers[-1] == self._number and self._is_ours():
            return
        note = self._read(numbers[-1]) if numbers else {}
        self._lost = HeldError(
            f"another export has taken {self._shown} over, because this one stood still for more than "
            f"{self._stale_s:g} s: what lies there is that one's",
            pid=note["pid"] if processes.alive(note) else None,
        )

    def _is_ours(self) -> bool:
        return self._read(self._number).get("token") == self._note["token"]

    # ---- the objects -----------------------------------------------------------------------------------
    def _numbers(self) -> list[int]:
        try:
            found = self._fs.find(self._directory)
        except FileNotFoundError:
            return []
        names = (_NAME.fullmatch(path.rpartition("/")[2]) for path in found)
        return sorted(int(name[1]) for name in names if name)

    def _read(self, number: int) -> dict[str, Any]:
        """What the note says; empty when it is gone or damaged."""
        try:
            note = json.loads(bytes(self._fs.cat_file(self._path(number))))
        except (FileNotFoundError, ValueError):
            return {}
        return note if isinstance(note, dict) else {}

    def _data(self) -> bytes:
        return json.dumps(self._note).encode() + b"\n"

    def _path(self, number: int) -> str:
        return f"{self._directory}/lock-{number:06d}"
