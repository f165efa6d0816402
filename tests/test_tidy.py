"""The shape of the code: layers, the two doors, what is named where. It reads the source and runs nothing."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from engine.cli import COMMANDS
from engine.model import Kind

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "engine").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

# Bottom up. A name (a module of `engine`, or a package as a whole) imports from lower lines only.
LAYERS = (
    {"model", "clock"},
    {"errors"},
    {
        "durable",
        "processes",
        "amounts",
        "caps",
        "doubt",
        "lanes",
        "pace",
        "heartbeat",
        "shortages",
        "turns",
        "startup",
        "children",
        "cpus",
    },
    {"youtube", "render", "inputs", "budget", "rehearsal", "proxies", "queue", "kept", "companions"},
    {"marker", "ownership", "folding"},
    {
        "config",
        "verdict",
        "manifest",
        "desk",
        "known",
        "events",
        "steering",
        "tickets",
        "listings",
    },
    {"output", "output_place"},
    {"witness", "plan", "check", "notify", "sieve", "joined", "elsewhere", "destination"},
    {"attempt", "gather", "status", "retry", "verify", "failures", "resources", "doctor"},
    {"holding", "monitor", "seed", "report"},
    {"recover", "lister"},
    {"hands", "repair", "lost"},
    {"worker"},
    {"slot"},
    {"deaths", "monitored"},
    {"slots"},
    {"supervisor"},
    {"cli"},
    {"__main__"},
)

# Who but `durable` changes the disk by itself, and why that is right there.
ON_THEIR_OWN = {
    "budget/records.py": {"os.open"},  # opens the file once; its records go through durable.pwrite
    "cli/__init__.py": {"os.open"},  # /dev/null in place of a closed pipe
    "cli/progress.py": {"os.open"},  # the same
    "events.py": {"os.open"},  # O_APPEND: several processes, one write each, by durable.write_all
    "heartbeat.py": {"os.write"},  # into a pipe
    "queue/claim.py": {"os.open"},  # `inflight`, written by durable.pwrite
    "queue/lock.py": {"os.open", "os.ftruncate"},  # lock files: their notes outlive nobody
    "resources.py": {"os.open"},  # a log for who measures
    "slot.py": {"os.unlink"},  # semaphores of dead processes in shared memory
    "witness.py": {"os.open"},  # fixed-size counters, written by durable.pwrite
    "startup.py": {"os.open", "open"},  # /dev/null in place of a closed stream
    "tickets.py": {"os.open"},  # written by durable.pwrite; they end with the run
}
_CHANGES = {
    f"os.{name}"
    for name in (
        "rename", "renames", "replace", "link", "symlink", "fsync", "fdatasync", "unlink", "remove", "rmdir",
        "removedirs", "mkdir", "makedirs", "truncate", "ftruncate", "write", "pwrite", "writev", "chmod",
    )
} | {"shutil.rmtree", "shutil.move", "shutil.copy", "shutil.copyfile", "shutil.copytree"}  # fmt: skip
_WRITING = ("O_WRONLY", "O_RDWR", "O_CREAT", "O_APPEND", "O_TRUNC")

# Modules whose tests bear another name: what is tested is what they do together.
TESTED_ELSEWHERE = {
    "__init__": "cli/test_cli_commands.py",  # the version
    "__main__": "cli/test_cli_commands.py",
    "check": "e2e",
    "clock": "test_output.py",
    "errors": "cli/test_cli_commands.py",
    "hands": "test_worker.py",
    "joined": "test_gather.py",
    "manifest": "test_monitor.py",
    "model": "test_verdict.py",
    "monitored": "crash",
    "resources": "test_worker.py",
    "slot": "e2e",
}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def short(path: Path) -> str:
    return path.relative_to(ROOT / "engine").as_posix()


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, also within functions, with its full name."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute here"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(name: str) -> int:
    found = [number for number, names in enumerate(LAYERS) if name in names]
    assert len(found) == 1, f"give engine.{name} its one place in LAYERS"
    return found[0]


def unit(dotted: str) -> str:
    """`engine.queue.lock.Lock` is of `queue`."""
    return dotted.split(".")[1]


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_imports_point_down(path: Path) -> None:
    mine = path.relative_to(ROOT / "engine").parts[0].removesuffix(".py")
    if mine == "__init__":
        assert not [name for name in imports(path) if name.startswith("engine")]
        return
    for name in imports(path):
        if name.startswith("engine.") and unit(name) not in (mine, "__version__"):
            assert layer(unit(name)) < layer(mine), f"{short(path)} imports {name}"


def test_the_table_names_what_is_there_and_nothing_else() -> None:
    there = {path.relative_to(ROOT / "engine").parts[0].removesuffix(".py") for path in MODULES} - {
        "__init__"
    }
    assert set().union(*LAYERS) == there
    assert sum(map(len, LAYERS)) == len(there)


def _calls(path: Path) -> Iterator[str]:
    """What a file does to the disk by itself: `os.rename`, `open` for writing, `.write_text` …"""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            if name in _CHANGES:  # called, or handed on to be called
                yield name
        if not isinstance(node, ast.Call):
            continue
        source = ast.unparse(node)
        if source.startswith("os.open(") and any(flag in source for flag in _WRITING):
            yield "os.open"
        elif isinstance(node.func, ast.Name) and node.func.id == "open":
            mode = [*node.args[1:2], *(its.value for its in node.keywords if its.arg == "mode")]
            if mode and not (isinstance(mode[0], ast.Constant) and set(str(mode[0].value)) <= set("rbt")):
                yield "open"
        elif isinstance(node.func, ast.Attribute) and node.func.attr in ("write_text", "write_bytes"):
            yield f".{node.func.attr}"
        elif source.startswith("os.open(") and not any(flag in source for flag in ("O_RDONLY", "O_PATH")):
            yield "os.open"  # with flags that are computed: it may be for writing


def test_one_door_to_the_disk() -> None:
    found = {short(path): set(_calls(path)) for path in MODULES if short(path) != "durable.py"}
    found = {name: calls for name, calls in found.items() if calls and not name.startswith("rehearsal/")}
    assert found == ON_THEIR_OWN


@pytest.mark.parametrize(
    ("foreign", "where"),
    [
        ("loky", "slot.py"),
        ("requests", "youtube/"),
        ("urllib3", "youtube/"),
        ("yt_dlp", "youtube/"),
        ("youtube_transcript_api", "youtube/"),
        ("trustme", "rehearsal/"),
        ("numpy", "known.py"),
        ("filelock", ""),
        ("rich", "cli/"),
        ("click", "cli/"),
        ("openpyxl", "inputs/workbook.py"),
        ("pyarrow", "inputs/parquet.py"),
        ("charset_normalizer", "inputs/encodings.py"),
    ],
)
def test_where_the_libraries_are_used(foreign: str, where: str) -> None:
    users = [short(path) for path in MODULES if any(name.split(".")[0] == foreign for name in imports(path))]
    assert users
    assert all(user.startswith(where) for user in users), users


def test_one_door_to_the_network() -> None:
    users = {short(path) for path in MODULES if {"socket", "ssl", "http.client"} & set(imports(path))}
    users.remove("notify.py")  # to an address that the user names; it fetches nothing
    assert all(user.startswith(("youtube/", "rehearsal/")) for user in users), users


@pytest.mark.parametrize("word", sorted({*map(str, Kind), *COMMANDS}))
def test_the_readme_names_every_kind_and_every_command(word: str) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    if word in COMMANDS:
        assert f"engine {word}" in text
    else:
        assert re.search(rf"\b{word}\b", text), f"{word} is missing in README.md"


def test_files_are_short_and_finished() -> None:
    for path in MODULES:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, f"{short(path)}: cut it in two"
    unfinished = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "X" * 3 + r"\b")))
    for path in [*MODULES, *TESTS, *(ROOT / "scripts").iterdir()]:
        assert not unfinished.search(path.read_text(encoding="utf-8")), path


def test_every_module_says_what_it_is() -> None:
    assert [
        short(path) for path in MODULES if path.stat().st_size and not ast.get_docstring(tree(path))
    ] == []


def test_tests_mirror_the_package() -> None:
    assert [name for name, count in Counter(path.name for path in TESTS).items() if count > 1] == [
        "conftest.py"
    ]
    units = set().union(*LAYERS)
    for path in TESTS:
        *directory, name = path.relative_to(ROOT / "tests").parts
        if not name.startswith("test_"):
            continue
        if directory:
            assert directory[0] in units | {"e2e", "crash"}, path
            assert name.startswith(f"test_{directory[0]}_"), path
        else:
            stem = name.removeprefix("test_").removesuffix(".py")
            assert stem in units or stem in ("tidy", "patience") or stem.startswith("review_"), path


def test_every_module_has_its_tests() -> None:
    there = {path.relative_to(ROOT / "tests").as_posix() for path in TESTS}
    for path in sorted((ROOT / "engine").glob("*.py")):
        name = path.stem
        elsewhere = TESTED_ELSEWHERE.get(name, f"test_{name}.py")
        assert elsewhere in there or any(its.startswith(f"{elsewhere}/test_") for its in there), name
        assert name not in TESTED_ELSEWHERE or f"test_{name}.py" not in there, f"{name} has its own by now"
    for package in sorted(path.parent.name for path in (ROOT / "engine").glob("*/__init__.py")):
        assert any(re.match(rf"(?:{package}/)?test_{package}", its) for its in there), package
