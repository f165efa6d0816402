"""What an export is asked for: which kind, where to, and what belongs to that kind."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, cast, get_args, get_type_hints

from engine.errors import UsageError, did_you_mean
from engine.output.formats import FORMATS

ExportKind = Literal["csv", "xlsx", "parquet", "jsonl", "sqlite", "txt", "srt", "vtt", "md", "passages"]
KINDS: tuple[str, ...] = get_args(ExportKind)
TEXTS = frozenset(FORMATS)  # one file a video
TABLES = frozenset({"csv", "xlsx", "parquet", "jsonl", "sqlite"})  # one row a video

DEFAULT_NAME = "{channel:.60}/{title:.80} [{id}]"
DEFAULT_ROWS_PER_FILE = 50_000  # about 500 MB of Parquet

# The suffixes that make WHERE one file instead of a directory.
SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "csv": (".csv",),
    "xlsx": (".xlsx",),
    "jsonl": (".jsonl", ".ndjson"),
    "parquet": (".parquet",),
    "passages": (".jsonl", ".ndjson"),
    "sqlite": (".db", ".sqlite", ".sqlite3"),
}
# What people call files: a directory of that name is not what they want.
_OF_FILES = (
    *(suffix for suffixes in SUFFIXES.values() for suffix in suffixes),
    *(f".{name}" for name in FORMATS),
    *(".json", ".tsv", ".xls", ".ods", ".zip", ".gz", ".html"),
)
_TYPE_NAMES = {str: "a text", int: "a whole number", bool: "True or False"}
# Which options are for which kinds only.
_ONLY_FOR = {
    "text": TABLES,
    "rows_per_file": frozenset({"parquet"}),
    "name": TEXTS,
    "flat": TEXTS,
    "words": frozenset({"passages"}),
    "overlap": frozenset({"passages"}),
}


class ExportOptions(TypedDict, total=False):
    """The options of `engine export` by their long names; `engine export --help` says what each does.

    `text` False is `--no-text`.
    """

    text: bool
    rows_per_file: int
    name: str
    flat: bool
    words: int
    overlap: int
    where: str
    new: bool
    processes: int


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """One export, checked."""

    kind: str
    to: str
    text: bool = True
    rows_per_file: int = DEFAULT_ROWS_PER_FILE
    name: str = DEFAULT_NAME
    flat: bool = False
    words: int = 200
    overlap: int = 20
    where: str | None = None
    new: bool = False
    processes: int | None = None

    @property
    def is_file(self) -> bool:
        """Whether WHERE names one file. A directory that is there already stays one, whatever its name."""
        return self.to.lower().endswith(SUFFIXES.get(self.kind, ())) and not os.path.isdir(self.to)


def request(kind: str, to: str | None, options: ExportOptions | Mapping[str, Any]) -> ExportRequest:
    """The export asked for. Raises UsageError for what does not fit together, TypeError for an unknown option."""
    _check_kind(kind, "")
    unknown = options.keys() - ExportOptions.__annotations__.keys()
    if unknown:
        name = min(unknown)
        hint = did_you_mean(name, ExportOptions.__annotations__)
        raise TypeError(f"Batch.export has no option {name!r}{hint}")
    _check_types(options)
    for name in options:
        kinds = _ONLY_FOR.get(name)
        if kinds is not None and kind not in kinds:
            shown = "--no-text" if name == "text" else f"--{name.replace('_', '-')}"
            raise UsageError(f"{shown} is for {', '.join(k for k in KINDS if k in kinds)}, not for {kind}")
    scheme, mark, rest = (to or f"exports/{kind}").partition("://")
    found = ExportRequest(kind, f"{scheme.lower()}{mark}{rest}" if mark else scheme, **options)
    if "\0" in found.to:
        raise UsageError("there is a NUL in WHERE, which no path has")
    _refuse_name(found)
    for name, least in (("words", 1), ("overlap", 0), ("rows_per_file", 1), ("processes", 1)):
        value = getattr(found, name)
        if value is not None and value < least:
            raise UsageError(f"--{name.replace('_', '-')} must be at least {least}")
    if found.overlap >= found.words:
        raise UsageError("--overlap must be less than --words")
    if found.is_file and "rows_per_file" in options:
        raise UsageError(f"--rows-per-file: {found.to} is one file: give a directory")
    return found


def _check_types(options: Mapping[str, Any]) -> None:
    """Raise TypeError for a value that is of another type than its option. None is as if it was left out."""
    for name, wanted in get_type_hints(ExportOptions).items():
        value = options.get(name)
        whole = hasattr(value, "__index__") and not isinstance(value, bool)  # numpy's, too
        if value is not None and not (whole if wanted is int else isinstance(value, wanted)):
            raise TypeError(f"{name} must be {_TYPE_NAMES[wanted]}, not {type(value).__name__}")


def _check_kind(kind: str, where: str, meant: str = "") -> None:
    """Raise UsageError for a kind that does not exist."""
    if kind not in KINDS:
        hint = did_you_mean(kind, KINDS).rstrip("?") if not meant else ""
        raise UsageError(f"{where}no kind of export {kind!a}{hint}: {meant}choose from {', '.join(KINDS)}")


def _refuse_name(found: ExportRequest) -> None:
    """Raise UsageError for a WHERE that would become a directory and is meant as a file, or as stdout."""
    if found.to == "-":
        raise UsageError("an export does not go to stdout: give a directory or a file")
    suffix = os.path.splitext(found.to.rstrip("/"))[1].lower()
    if found.is_file or found.to.endswith("/") or suffix not in _OF_FILES or os.path.lexists(found.to):
        return
    fitting = SUFFIXES.get(found.kind)
    fits = f"a name that ends in {' or '.join(fitting)}, or " if fitting else ""
    what = "makes one file a video" if found.kind in TEXTS else f"makes no {suffix}"
    excel = "; --to xlsx -o table.xlsx makes a workbook" if suffix in (".xlsx", ".xls", ".ods") else ""
    raise UsageError(f"{found.to}: --to {found.kind} {what}: give {fits}a directory{excel}")


def parse_run_export(text: str) -> tuple[ExportKind, str | None]:
    """`KIND[:WHERE]`, as `engine run --export` takes it. Raises UsageError for an unknown kind."""
    kind, _, where = text.partition(":")
    _check_kind(kind, f"--export {text}: ", _meant(text))
    return cast(ExportKind, kind), where or None


def _meant(text: str) -> str:
    """What a name without a kind may mean: `--export table.csv` is `csv:table.csv`."""
    fits = (*SUFFIXES.items(), *((name, (f".{name}",)) for name in FORMATS))
    for kind, suffixes in fits:
        if text.lower().endswith(suffixes):
            return f"did you mean `--export {kind}:{text if kind not in TEXTS else os.path.splitext(text)[0]}`? Else "
    return ""
