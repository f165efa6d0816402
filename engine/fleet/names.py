"""Every name in a ledger. What has another name is somebody else's and is never touched.

A share's *key* is its number in five digits or more, and from the second generation on `-` and the generation's
number: `00042`, `00042-2`.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import Self

FLEET = "fleet.json"
SUMMARY = "summary.json"
LATEST = "asked/latest.json"  # the number of the last request, so that looking for news costs one read
FORMAT = 1

_KEY = r"(\d{5,})(?:-(\d+))?"
_RANDOM = r"[0-9a-f]{16}"
OWN = re.compile(
    rf"{FLEET}|{SUMMARY}|generations/\d{{3,}}\.json|shares/{_RANDOM}/{_KEY}\.jsonl\.gz"
    rf"|holds/{_KEY}/\d{{3,}}(\.left)?\.json|parts/{_KEY}/\d{{3,}}\.\d{{4,}}\.gz|beats/{_KEY}\.json"
    rf"|done/{_KEY}\.json|groups/\d{{3,}}/(\d{{3,}}(\.left)?|beat)\.json|asked/(\d{{6,}}|latest)\.json|probe/{_RANDOM}"
)
_PART = re.compile(rf"parts/{_KEY}/(\d{{3,}})\.(\d{{4,}})\.gz")
_ASKED = re.compile(r"asked/(\d{6,})\.json")
_HOLD = re.compile(r"(\d{3,})(\.left)?\.json")


@dataclass(frozen=True, slots=True, order=True)
class ShareKey:
    """Which share: its number, and the generation that its jobs came with."""

    number: int
    generation: int = 1

    def __str__(self) -> str:
        return f"{self.number:05d}" + (f"-{self.generation}" if self.generation > 1 else "")

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The key in a text; None when it is none."""
        found = re.fullmatch(_KEY, text)
        key = cls(int(found[1]), int(found[2] or 1)) if found else None
        return key if key is not None and str(key) == text else None


@dataclass(frozen=True, slots=True, order=True)
class PartName:
    """Which part of a share: the hold that wrote it, and its number there."""

    hold: int
    number: int

    def path(self, key: ShareKey) -> str:
        return f"parts/{key}/{self.hold:03d}.{self.number:04d}.gz"


def share_of(video_id: str, shares: int) -> int:
    """The number of the share into which a video falls, the same on every machine: a range of checksums."""
    return (zlib.crc32(video_id.encode()) * shares) >> 32


def is_own(name: str) -> bool:
    """Whether the engine makes this name in a ledger."""
    return OWN.fullmatch(name) is not None


def jobs(token: str, key: ShareKey) -> str:
    return f"shares/{token}/{key}.jsonl.gz"


def generation(number: int) -> str:
    return f"generations/{number:03d}.json"


def hold(key: ShareKey, number: int) -> str:
    return f"holds/{key}/{number:03d}.json"


def left(key: ShareKey, number: int) -> str:
    return f"holds/{key}/{number:03d}.left.json"


def beat(key: ShareKey) -> str:
    return f"beats/{key}.json"


def done(key: ShareKey) -> str:
    return f"done/{key}.json"


def asked(number: int) -> str:
    return f"asked/{number:06d}.json"


def group_beat(group: int) -> str:
    return f"groups/{group:03d}/beat.json"


def group_lease(group: int, number: int) -> str:
    return f"groups/{group:03d}/{number:03d}.json"


def group_left(group: int, number: int) -> str:
    return f"groups/{group:03d}/{number:03d}.left.json"


def asked_numbers(names: list[str]) -> list[int]:
    """The numbers of the requests among these names, in order."""
    return sorted(int(match[1]) for name in names if (match := _ASKED.fullmatch(name)))


def numbered(names: list[str]) -> tuple[dict[int, str], set[int]]:
    """({number: name}, the numbers that were left) of holds or leases, whatever else is among the names."""
    found, gone = {}, set()
    for name in names:
        match = _HOLD.fullmatch(name.rpartition("/")[2])
        if match and match[2]:
            gone.add(int(match[1]))
        elif match:
            found[int(match[1])] = name
    return found, gone


def part_names(names: list[str]) -> list[PartName]:
    """The parts among these names, in order."""
    found = (match for name in names if (match := _PART.fullmatch(name)))
    return sorted(PartName(int(match[3]), int(match[4])) for match in found)
