"""How `engine seed --preview` shows the first lines of input as they are understood."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from engine.inputs import Line, source_of
from engine.inputs.rejects import without_password
from engine.output.terminal import columns, printable

MAX_VALUE_CHARS = 60


def to_lines(lines: Iterable[Line]) -> Iterator[str]:
    """For people: each input by name, below it a line for each of its lines, cut to the terminal's width."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    file = None
    shown = list(lines)
    for line in shown:
        if line.file != file:
            file = line.file
            yield _end(printable(file), width)
            if words := _columns([each for each in shown if each.file == file]):
                yield printable(words, width)
        head = f"{line.line:>7,}  {line.video_id or '-':11}  "
        text = printable(_understood(line), max(20, width - len(head)) if width else None)
        yield f"{head}{text}".rstrip()


def to_json(line: Line) -> dict[str, Any]:
    """The same for programs: what would be seeded, listed (`source`) or rejected."""
    source = source_of(line)
    return {
        "file": line.file,
        "line": line.line,
        "video_id": line.video_id,
        "source": source.name if source else None,
        "input": line.input,
        "reason": None if source else line.reason,
    }


def _end(text: str, width: int | None) -> str:
    """The end of a path that is too long: what tells one from another in a zip."""
    if width is None or columns(text) <= width:
        return text
    while columns(text) >= width:
        text = text[1:]
    return f"…{text}"


def _columns(lines: list[Line]) -> str:
    """Which column of a table holds the videos, and which others go along; nothing for what is no table."""
    column = next((line.column for line in lines if line.column), "")
    kept = list(dict.fromkeys(name for line in lines for name in line.input))
    return f"column {column}; kept: {', '.join(kept) or 'none'}" if column else ""


def _understood(line: Line) -> str:
    if source := source_of(line):
        return f"{source.kind} {source.name}: to be listed"
    if line.reason is not None:
        return f"rejected: {line.reason}: {without_password(line.text)[:MAX_VALUE_CHARS]!r}"
    return "; ".join(f"{name}={_value(value)}" for name, value in line.input.items())


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MAX_VALUE_CHARS else text[: MAX_VALUE_CHARS - 1] + "…"
