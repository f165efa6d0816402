"""What the page's buttons do: each takes the values that the script sent, returns a sentence (or the fields of the
answer with the sentence as `say`), and raises errors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engine.batch import Batch
from engine.budget import parse_rate
from engine.errors import UsageError
from engine.model import Kind
from engine.page.launch import Launcher, at_once
from engine.units import parse_duration_s

Action = Callable[[Mapping[str, Any]], "str | dict[str, Any]"]


class Actions:
    """The buttons of one page."""

    def __init__(self, batch: Batch, launcher: Launcher) -> None:
        self.batch, self.launcher = batch, launcher
        self.by_name: dict[str, Action] = {
            "pause": self.pause,
            "resume": self.resume,
            "stop": self.stop,
            "stop-now": self.stop_now,
            "set": self.set,
            "check": self.check,
            "start": launcher.start,
            "retry": self.retry,
            "replace": self.replace,
            "verify": self.verify,
        }

    def pause(self, wanted: Mapping[str, Any]) -> str:
        self.batch.pause()
        return "paused: what is in flight finishes"

    def resume(self, wanted: Mapping[str, Any]) -> str:
        self.batch.resume()
        return "it goes on"

    def stop(self, wanted: Mapping[str, Any]) -> str:
        self.batch.stop()
        return "it finishes what is in flight and ends"

    def stop_now(self, wanted: Mapping[str, Any]) -> str:
        self.batch.stop(now=True)
        return "it ends at once; what was in flight is fetched again next time"

    def set(self, wanted: Mapping[str, Any]) -> str:
        """Move the live run: `at_once` videos in all (one process), one after the other, or another rate."""
        rate = wanted.get("rate")
        if rate is not None:
            if not isinstance(rate, str):
                raise UsageError("a rate is a text such as 0.5/s")
            word = rate.strip().lower()
            fixed = parse_rate(word).kind == "fixed" and "/" not in word
            settings = self.batch.set(rate=f"{word}/s" if fixed else word)
            return f"the rate is {settings.rate if settings else word}"
        threads = 1 if wanted.get("sequential") is True else at_once(wanted)
        self.batch.set(processes=1, threads=threads)
        return "one after the other" if threads == 1 else f"{threads} at once"

    def check(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        preview = self.launcher.preview(wanted)
        return {"say": "\n".join(preview.lines), "encoding": preview.encoding}

    def retry(self, wanted: Mapping[str, Any]) -> str:
        older_than = wanted.get("older_than") or None
        older_than_s = parse_duration_s(str(older_than), "older than") if older_than else None
        return self.launcher.retry(str(wanted.get("kinds") or ""), older_than_s, wanted)

    def replace(self, wanted: Mapping[str, Any]) -> str:
        """Fetch what another batch's files stood in the way of, over those files."""
        return self.launcher.retry(Kind.KEPT, None, {**wanted, "replace": True})

    def verify(self, wanted: Mapping[str, Any]) -> str:
        audit = self.batch.verify()
        if audit.ok:
            return "no damage found: every job is in one place, and every transcript is what its row says"
        raise UsageError(f"{len(audit.problems):,} problems: `engine verify` names them and says what to do")
