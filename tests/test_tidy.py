"""The shape of the code: the one way to the disk and to the network, what is named where. It reads the source and
runs nothing.

That imports point down is checked by import-linter (setup.cfg), in `scripts/check`.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "engine").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))

# Who but `storage.disk` changes the disk by itself, and why that is right there.
ON_THEIR_OWN = {
    "budget/budget_file.py": {"os.open"},  # opens the file once; its records go through disk.pwrite
    "cli/__init__.py": {"os.open"},  # /dev/null in place of a closed pipe
    "cli/display/live_progress.py": {"os.open"},  # the same
    "queue/events.py": {"os.open"},  # O_APPEND: several processes, one write each, by disk.write_all
    "process/heartbeat.py": {"os.write"},  # into a pipe
    "queue/claims.py": {"os.open"},  # `inflight`, written by disk.pwrite
    "storage/locks.py": {"os.open", "os.ftruncate"},  # lock files: their notes outlive nobody
    "worker/context.py": {"os.open"},  # a log for who measures
    "run/child_run.py": {"open"},  # a pipe
    "run/worker_process.py": {"os.unlink"},  # semaphores of dead processes in shared memory
    "process/startup.py": {"os.open", "open"},  # /dev/null in place of a closed stream
}
_CHANGES = {
    f"os.{name}"
    for name in (
        "rename", "renames", "replace", "link", "symlink", "fsync", "fdatasync", "unlink", "remove", "rmdir",
        "removedirs", "mkdir", "makedirs", "truncate", "ftruncate", "write", "pwrite", "writev", "chmod",
    )
} | {"shutil.rmtree", "shutil.move", "shutil.copy", "shutil.copyfile", "shutil.copytree"}  # fmt: skip
_WRITING = ("O_WRONLY", "O_RDWR", "O_CREAT", "O_APPEND", "O_TRUNC")

LISTENS = ("page/listening.py", "page/browser.py")  # on loopback; they send no request

# Modules whose tests bear another name: what is tested is what they do together.
TESTED_ELSEWHERE = {"model": "worker/test_worker_retry_policy.py", "errors": "cli/test_cli_commands.py"}
PACKAGES = {path.parent.name for path in (ROOT / "engine").glob("*/__init__.py")}
LOOSE = {path.stem for path in (ROOT / "engine").glob("[!_]*.py")}
APART = ("tidy", "docs", "words", "review_")  # tests of no one module


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
            mode = [*node.args[1:2], *(keyword.value for keyword in node.keywords if keyword.arg == "mode")]
            if mode and not (isinstance(mode[0], ast.Constant) and set(str(mode[0].value)) <= set("rbt")):
                yield "open"
        elif isinstance(node.func, ast.Attribute) and node.func.attr in ("write_text", "write_bytes"):
            yield f".{node.func.attr}"
        elif source.startswith("os.open(") and not any(flag in source for flag in ("O_RDONLY", "O_PATH")):
            yield "os.open"  # with flags that are computed: it may be for writing


def test_one_door_to_the_disk() -> None:
    found = {short(path): set(_calls(path)) for path in MODULES if short(path) != "storage/disk.py"}
    found = {name: calls for name, calls in found.items() if calls and not name.startswith("rehearsal/")}
    assert found == ON_THEIR_OWN


@pytest.mark.parametrize(
    ("foreign", "where"),
    [
        ("loky", ("run/worker_process.py", "run/child_process.py")),
        ("requests", ("network/", "youtube/", "run/notify.py")),
        ("urllib3", ("network/", "youtube/")),
        ("yt_dlp", "youtube/"),
        ("youtube_transcript_api", "youtube/"),
        ("trustme", "rehearsal/"),
        ("numpy", ("queue/id_", "export/numbers.py")),
        ("filelock", ""),
        ("rich", ("cli/", "output/terminal.py")),
        ("click", "cli/"),
        ("python_calamine", "inputs/sheet_process.py"),
        ("openpyxl", "export/workbook_file.py"),
        ("jinja2", ("report/html.py", "page/views.py")),
        ("starlette", "page/"),
        ("uvicorn", "page/listening.py"),
        ("streamlit", ("page/streamlit_page.py", "page/streamlit_server.py")),
        (
            "sqlite3",
            ("page/", "search/", "export/database.py", "export/row_filter.py", "inputs/exported_tables.py"),
        ),
        ("apprise", "run/notify.py"),
        ("pyarrow", ("inputs/parquet.py", "inputs/exported_tables.py", "export/parquet_files.py")),
        ("fsspec", ("export/store.py", "fleet/objects.py")),
        ("distributed", ("fleet/dask_tasks.py", "fleet/dask_worker.py")),
        ("orjson", "export/"),
        ("charset_normalizer", "inputs/encodings.py"),
    ],
)
def test_where_the_libraries_are_used(foreign: str, where: str | tuple[str, ...]) -> None:
    users = [short(path) for path in MODULES if any(name.split(".")[0] == foreign for name in imports(path))]
    assert users
    assert all(user.startswith(where) for user in users), users


def test_one_door_to_the_network() -> None:
    users = {short(path) for path in MODULES if {"socket", "ssl", "http.client"} & set(imports(path))}
    assert all(
        user.startswith(("network/", "youtube/", "rehearsal/")) or user in LISTENS for user in users
    ), users


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


def test_few_modules_stand_alone() -> None:
    assert len(LOOSE) <= 6, LOOSE


def test_tests_mirror_the_package() -> None:
    doubled = [name for name, count in Counter(path.name for path in TESTS).items() if count > 1]
    assert doubled == ["conftest.py"]
    for path in TESTS:
        *directory, name = path.relative_to(ROOT / "tests").parts
        if not name.startswith("test_"):
            continue
        if directory:
            assert directory[0] in PACKAGES | {"e2e", "crash", "helpers", "bench"}, path
            assert name.startswith(f"test_{directory[0]}"), path
        else:
            stem = name.removeprefix("test_").removesuffix(".py")
            assert stem in LOOSE or stem.startswith(APART), path


def test_every_module_has_its_tests() -> None:
    there = {path.relative_to(ROOT / "tests").as_posix() for path in TESTS}
    for name in sorted(LOOSE):
        assert TESTED_ELSEWHERE.get(name, f"test_{name}.py") in there, name
    for package in sorted(PACKAGES):
        assert any(path.startswith(f"{package}/test_{package}") for path in there), package
