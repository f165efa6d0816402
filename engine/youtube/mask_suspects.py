"""Which masked answers lack something that the mask may have hidden: a process learns what answers have.

| what an answer lacks                        | then                                                             |
|---------------------------------------------|------------------------------------------------------------------|
| what every answer has (`REQUIRED`)          | asked again without the mask                                     |
| what all recent answers had                 | the same                                                         |
| what some lack, a list of keywords, say     | the same for one answer in 60, two at first, and when so many in |
|                                             | a row lack it as happens by chance once in a thousand times      |

A refusal is an answer that lacks `playable`, unless it refuses the egress.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.model import Kind
from engine.youtube import player
from engine.youtube.mask_check import plays

EVERY = 60  # answers for one that may be asked again for what some lack
AT_FIRST = 2
CHANCE = 0.001
_RECENT = 500  # answers; what lies further back fades
PLAYABLE = "playable"
# What ends up in a record, or decides which track does, and is not in all answers.
_DETAILS = ("keywords", "thumbnail", "viewCount")
_LISTS = ("captionTracks", "audioTracks", "translationLanguages")


@dataclass(slots=True)
class _Tally:
    had: int = 0
    lacked: int = 0
    in_a_row: int = 0

    def count(self, *, had: bool) -> None:
        if had:
            self.had += 1
            self.in_a_row = 0
        else:
            self.lacked += 1
            self.in_a_row += 1
        if self.had + self.lacked > _RECENT:
            self.had //= 2
            self.lacked //= 2

    @property
    def is_unlikely(self) -> bool:
        """Whether so many in a row lack it as hardly happens by chance."""
        share = (self.lacked - self.in_a_row + 1) / (self.had + self.lacked - self.in_a_row + 2)
        return self.in_a_row * math.log(share) < math.log(CHANCE)


class MaskSuspects:
    """What the answers to one way had, for the threads of a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tallies: dict[str, _Tally] = {}
        self._allowed = float(AT_FIRST)

    def masked(self, answer: Mapping[str, Any] | None) -> bool:
        """Count a masked answer; whether it is to be asked for again without the mask."""
        with self._lock:
            self._allowed = min(AT_FIRST, self._allowed + 1 / EVERY)
            found, spends = False, False
            for name, had in _parts(answer).items():
                tally = self._tallies.setdefault(name, _Tally())
                always = tally.had > 0 and not tally.lacked
                tally.count(had=had)
                if had:
                    continue
                if always:
                    found = True
                elif tally.is_unlikely:
                    found, tally.in_a_row = True, 0
                elif self._allowed >= 1:
                    found = spends = True
            self._allowed -= spends
        return found

    def whole(self, answer: Mapping[str, Any] | None) -> None:
        """Take back what the answer to the same video seemed to lack with the mask."""
        with self._lock:
            for name, had in _parts(answer).items():
                tally = self._tallies.setdefault(name, _Tally())
                if had and tally.in_a_row:
                    tally.had, tally.lacked, tally.in_a_row = tally.had + 1, max(0, tally.lacked - 1), 0


def _parts(answer: Mapping[str, Any] | None) -> dict[str, bool]:
    """Which of the parts that matter an answer has. Of what a refused video has nothing is known."""
    if not plays(answer):
        refused = player.refusal(player.at(answer, "playabilityStatus"))
        return {} if refused is None or refused.kind is Kind.BLOCKED else {PLAYABLE: False}
    details, captions = player.at(answer, "videoDetails"), player.captions(answer)
    found = {PLAYABLE: True, **{name: details.get(name) is not None for name in _DETAILS}}
    if captions:  # a video without captions has no list of them; a second client is asked about that
        found |= {name: captions.get(name) is not None for name in _LISTS}
    return found
