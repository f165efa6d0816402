"""Which of the user's columns go along with a video."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator

from engine.inputs.line import Line


class Keep:
    """`all`, `none`, or names with commas between them, quoted as in a CSV where they hold one; case does not
    matter. ValueError for an empty list."""

    def __init__(self, text: str) -> None:
        self._all = text.strip().casefold() == "all"
        try:
            names = next(csv.reader([text], skipinitialspace=True), [])
        except csv.Error as exc:  # a line feed outside quotes
            raise ValueError(str(exc).partition(" - ")[0]) from None
        self._wanted = {name.strip().casefold(): name.strip() for name in names if name.strip()}
        if not self._wanted:
            raise ValueError("give all, none, or names of columns with commas between them")
        if text.strip().casefold() == "none":
            self._wanted = {}
        self._met: set[str] = set()

    def of(self, lines: Iterable[Line]) -> Iterator[Line]:
        """The lines with the columns that are kept."""
        if self._all:
            yield from lines
            return
        for line in lines:
            if line.input:
                kept = {name: value for name, value in line.input.items() if name.casefold() in self._wanted}
                self._met.update(map(str.casefold, kept))
                line.input = kept
            yield line

    def missed(self) -> list[str]:
        """The names that no line had, so far."""
        return [] if self._all else [name for key, name in self._wanted.items() if key not in self._met]
