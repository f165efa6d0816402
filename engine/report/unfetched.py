"""Videos without a transcript that one other command gets: files of others stood in the way, or other languages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from engine.model import Kind
from engine.output.ownership import ANOTHER_QUEUE
from engine.output.terminal import printable

NAMED = 5  # languages
MAX_LANGUAGES = 1_000  # counted; a message is foreign text
_EXISTS = re.compile(r"no .{1,40}? in (.+?)(?:, and YouTube does not .+)?; exists: (.+)")


@dataclass(slots=True)
class Unfetched:
    """Rows that ended `kept` (`another`: files of another queue), and those that ended `no_language`.

    `asked` are the languages that were wanted, `languages` counts in which ones there are captions.
    """

    kept: int = 0
    another: int = 0
    no_language: int = 0
    asked: str = ""
    languages: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, rows: Iterable[dict[str, Any]]) -> Unfetched:
        found = cls()
        for row in rows:
            found.add(row)
        return found

    def add(self, row: dict[str, Any]) -> None:
        """Count a row of the manifest."""
        kind, message = row.get("kind"), row.get("message")
        message = message if isinstance(message, str) else ""
        if kind == Kind.KEPT:
            self.kept += 1
            self.another += ANOTHER_QUEUE in message
        elif kind == Kind.NO_LANGUAGE:
            self.no_language += 1
            said = _EXISTS.match(message)
            if said is None:
                return
            self.asked = said[1]
            for code in {each.removesuffix(" (generated)") for each in said[2].rstrip("…").split(", ")}:
                if code in self.languages or len(self.languages) < MAX_LANGUAGES:
                    self.languages[code] += 1

    def kept_words(self, output: str) -> str:
        """`51 videos have a transcript in transcripts/ that another queue wrote`."""
        have = "1 video has" if self.kept == 1 else f"{self.kept:,} videos have"
        where = f"{output.rstrip('/')}/"
        if self.another == self.kept:
            return f"{have} a transcript in {where} that another queue wrote"
        some = f" (another queue wrote {self.another:,} of them)" if self.another else ""
        return f"{have} a file in {where} that this queue did not write{some}"

    def language_words(self) -> str:
        """`en 40, de 12`; empty when no message tells."""
        most = self.languages.most_common(NAMED)
        more = len(self.languages) - len(most)
        return ", ".join(f"{printable(code, 20)} {count:,}" for code, count in most) + (
            f" and {more:,} more" if more else ""
        )


def closing(found: Unfetched, *, final: int, output: str, run: str) -> list[str]:
    """The sentences at the end of a run. `final`: of so many jobs in all; `run`: the command that goes on."""
    lines = []
    if found.kept:
        lines.append(
            f"{found.kept_words(output)}: `{run} --replace` fetches and replaces these, `-o NEW` in a new queue "
            "keeps both"
        )
    if found.no_language and found.no_language == final:
        asked = f" in {printable(found.asked, 60)}" if found.asked else " in the wanted languages"
        have = found.language_words()
        lines.append(
            f"no video has captions{asked}{'; they have: ' + have if have else ''}. `-l any`, or other languages, "
            "in a new queue take them: `engine report` has the command"
        )
    return lines
