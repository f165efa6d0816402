"""The pages and the code say the same, and the pages can be read: README.md, docs/ and queue_dir/README.md."""

from __future__ import annotations

import ast
import itertools
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path

import click
import pytest
from commands import COMMAND, environment

import engine
from engine.cli import COMMANDS, group
from engine.cli.options import config_files
from engine.errors import Exit
from engine.model import Kind, Metadata
from engine.monitor.status import empty
from engine.queue.directory import Queue
from engine.report import kind_help

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = sorted(path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)
PAGES = [README, *DOCS]
APART = [ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md")]
LINKED = [*PAGES, *APART, ROOT / "queue_dir" / "README.md", ROOT / "tests" / "README.md"]
SOURCES = sorted((ROOT / "engine").rglob("*.py"))

MAX_README_LINES, MAX_README_WORDS = 160, 1300
MAX_SENTENCE_WORDS = 40

# Options in the pages that are other programs' or scripts'.
FOREIGN = {"--flat-playlist", "--long", "--user", "--what", "--array", "--wrap", "--requeue", "--host"}
COMPARED = ROOT / "docs" / "howto" / "moving-over.md"  # its tables have the other program's options first
SHARED = {"plan": "run", "rehearse": "run"}  # this command takes all options of that one
IDS = [path.relative_to(ROOT).as_posix() for path in PAGES]


@cache
def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def docs(name: str) -> str:
    return text(ROOT / "docs" / f"{name}.md")


# ── what the code has ──────────────────────────────────────────────────────────────────────────────────


def commands() -> Iterator[tuple[str, click.Command]]:
    """Each command with its words, as in `proxies check`."""
    ctx = click.Context(group)
    for name in COMMANDS:
        command = group.get_command(ctx, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {inner}", value) for inner, value in command.commands.items())


ALL = dict(commands())


def options(name: str) -> set[str]:
    """Every spelling of every option of a command."""
    return {
        spelling
        for param in ALL[name].params
        if isinstance(param, click.Option)
        for spelling in (*param.opts, *param.secondary_opts)
    }


def literals(pattern: str) -> set[str]:
    """What a pattern finds in the string literals of engine/, docstrings included."""
    return {
        found
        for path in SOURCES
        for node in ast.walk(ast.parse(text(path)))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        for found in re.findall(pattern, node.value)
    }


def events() -> set[str]:
    """The names that the code gives to `events.emit`, and those that the report explains."""
    found = set(kind_help.EVENTS)
    for path in SOURCES:
        for node in ast.walk(ast.parse(text(path))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("events.emit", "emit"):
                name = node.args[1]
                values = [name.body, name.orelse] if isinstance(name, ast.IfExp) else [name]
                found |= {str(value.value) for value in values if isinstance(value, ast.Constant)}
    return found


# ── what the pages have ────────────────────────────────────────────────────────────────────────────────


def sections(page: str) -> dict[str, str]:
    """The text under each heading of any level, its subsections included."""
    found: dict[str, str] = {}
    lines = page.splitlines()
    heads = [(at, len(line) - len(line.lstrip("#"))) for at, line in enumerate(lines) if _is_head(line)]
    for at, level in heads:
        end = next((later for later, other in heads if later > at and other <= level), len(lines))
        found[lines[at].lstrip("# ")] = "\n".join(lines[at + 1 : end])
    return found


def _is_head(line: str) -> bool:
    return re.match(r"#{1,6} ", line) is not None


def first_cells(section: str) -> str:
    return "\n".join(line.split(" | ")[0] for line in section.splitlines() if line.startswith("|"))


def coded(section: str) -> list[str]:
    """What stands in backticks, in a row of a table or in a sentence."""
    return re.findall(r"`([^`\n]+)`", section)


def spellings(section: str) -> set[str]:
    """Options in backticks: `-q/--queue DIR`, `--mask/--no-mask`."""
    return {
        found
        for code in coded(section)
        for found in re.findall(r"(?<![\w@.-])--?[a-zA-Z][a-z-]*", code.replace("/", " "))
    }


def anchors(path: Path) -> set[str]:
    """The anchors that a page's headings have, as GitHub and MyST make them."""
    heads = [line.lstrip("# ") for line in _without_blocks(text(path)).splitlines() if _is_head(line)]
    plain = [re.sub(r"[^\w\- ]", "", head.replace("`", "").lower()) for head in heads]
    return {head.strip().replace(" ", "-") for head in plain}


def _without_blocks(page: str) -> str:
    return re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text(path), flags=re.MULTILINE | re.DOTALL)


def sentences(page: str) -> Iterator[str]:
    """The prose: no tables, blocks or headings; what stands in backticks is one word."""
    prose = re.sub(r"^( {4}.*|\|.*|#+ .*)$", "", _without_blocks(page), flags=re.MULTILINE)
    prose = re.sub(r"`[^`]+`", "code", prose)
    prose = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", prose)
    prose = re.sub(r"^\s*([-*]|\d+\.) ", "\n\n", prose, flags=re.MULTILINE)
    for paragraph in re.split(r"\n\s*\n", prose):
        yield from re.split(r"(?<=[.!?])[)*]*\s+", " ".join(paragraph.split()))


# ── sizes and links ────────────────────────────────────────────────────────────────────────────────────


def test_the_readme_is_short() -> None:
    assert len(text(README).splitlines()) <= MAX_README_LINES
    assert len(text(README).split()) <= MAX_README_WORDS


@pytest.mark.parametrize("path", [*PAGES, *APART], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_sentence_is_long(path: Path) -> None:
    long = [found for found in sentences(text(path)) if len(found.split()) > MAX_SENTENCE_WORDS]
    assert long == []


@pytest.mark.parametrize("path", PAGES, ids=IDS)
def test_each_page_can_be_built(path: Path) -> None:
    """One title, no HTML; and the index names every page."""
    page = _without_blocks(text(path))
    assert len(re.findall(r"^# ", page, flags=re.MULTILINE)) == 1
    assert re.findall(r"<[a-z/!][^>]*>", re.sub(r"`[^`]*`", "", page)) == []
    place = path.relative_to(ROOT / "docs" if path != README else ROOT).as_posix()
    assert place in ("README.md", "index.md") or f"({place})" in docs("index")


@pytest.mark.parametrize("path", LINKED, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(path: Path) -> None:
    links = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", _without_blocks(text(path)))
    for link in links:
        if link.startswith("https://"):
            continue
        place, _, anchor = link.partition("#")
        target = (path.parent / place).resolve() if place else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_pages_name_only_what_is_there() -> None:
    """Modules in backticks, as in `worker/retry_policy.py`, and scripts."""
    for path in PAGES:
        for code in coded(text(path)):
            if re.fullmatch(r"[a-z_/]+\.py", code):
                assert (ROOT / "engine" / code).exists() or (ROOT / code).exists(), (path.name, code)
            if code.startswith("scripts/"):
                assert (ROOT / code.split()[0]).exists(), (path.name, code)


def test_every_script_is_documented() -> None:
    table = sections(docs("contributing"))["Scripts"]
    there = {f"scripts/{path.name}" for path in (ROOT / "scripts").iterdir()}
    assert there == {code for code in coded(first_cells(table)) if code.startswith("scripts/")}


def test_every_file_of_a_queue_is_documented_and_exists() -> None:
    page = text(ROOT / "queue_dir" / "README.md")
    tree = sections(page)["Tree"]
    there = {
        str(value._name) for value in vars(Queue).values() if isinstance(value, type(vars(Queue)["manifest"]))
    }
    named = set(re.findall(r"[a-z_]+(?:\.(?:jsonl|json|csv|path|u64|lock))?", tree))
    assert there - named == set()
    assert {name for name in named if name.endswith((".lock", ".csv"))} - there == set()


def test_the_layers_are_those_that_are_checked() -> None:
    table = sections(docs("how-it-works"))["The layers"]
    packages = {path.parent.name for path in (ROOT / "engine").glob("*/__init__.py")}
    named = set(re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE))
    assert packages - named == set()
    assert named - packages <= {"batch"}


# ── commands and options ───────────────────────────────────────────────────────────────────────────────


def test_every_command_has_its_section() -> None:
    heads = {
        head.removeprefix("engine ") for head in sections(docs("commands")) if head.startswith("engine ")
    }
    assert heads == set(ALL)


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_option_of_a_command_is_in_its_section(name: str) -> None:
    own = options(name) - (options(SHARED[name]) if name in SHARED else set())
    section = sections(docs("commands"))[f"engine {name}"]
    assert own - spellings(section) == set()


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_section_lists_only_options_of_its_command(name: str) -> None:
    section = first_cells(sections(docs("commands"))[f"engine {name}"])
    assert spellings(section) - options(name) == set()


@pytest.mark.parametrize("path", PAGES, ids=IDS)
def test_every_option_that_a_page_names_exists(path: Path) -> None:
    there = {option for name in ALL for option in options(name)} | {"--help", "-h", "--version"}
    page = text(path)
    if path == COMPARED:
        page = re.sub(r"^\| .*? \| ", "", page, flags=re.MULTILINE)
    named = {option for option in spellings(page) if option.startswith("--")}
    named = {option for option in named if not option.endswith("-")}  # `--max-…`
    assert named - there - FOREIGN == set()


@pytest.mark.parametrize("name", ["run", "plan", "rehearse"])
def test_the_defaults_are_those_of_the_code(name: str) -> None:
    """Numbers and words in the column of defaults, where an option has one."""
    section = sections(docs("commands"))[f"engine {name}"]
    rows = [
        line.split(" | ") for line in section.splitlines() if line.startswith("| `") and line.count(" | ") > 1
    ]
    by_option = {option: row[1].strip("` ") for row in rows for option in spellings(row[0])}
    for param in ALL[name].params:
        default = getattr(param, "default", None)
        if isinstance(param, click.Option) and type(default) in (int, float, str) and not param.is_flag:
            documented = by_option.get(param.opts[-1])
            said = default if isinstance(default, str) else f"{default:g}"
            assert documented is None or " " in documented or documented == said, param.opts


# ── words that other programs rely on ──────────────────────────────────────────────────────────────────


def test_every_kind_is_documented_with_its_status() -> None:
    rows = re.findall(r"^\| (absent|failed) \| `(\w+)` \|", docs("states-and-kinds"), flags=re.MULTILINE)
    assert sorted(rows) == sorted((str(kind.status), str(kind)) for kind in Kind)


def test_every_exit_code_is_documented() -> None:
    table = first_cells(sections(docs("commands"))["Exit codes"])
    assert {int(code) for code in re.findall(r"\d+", table)} == {*map(int, Exit), 129, 130, 143}


def test_every_event_is_documented() -> None:
    table = first_cells(sections(docs("files-and-json"))["events.jsonl"])
    named = set(re.findall(r"`([a-z_]+)`", table)) - {"egress"}
    made_now = events()
    assert "start" in made_now  # `emit` is still called so
    assert made_now - named == set()
    made = literals(r"^[a-z_]+$") | {
        f"{helper}_{end}" for helper in ("monitor", "lister") for end in ("died", "silent")
    }
    assert named - made == set()


def test_every_field_is_documented() -> None:
    page = sections(docs("files-and-json"))
    assert set(empty()) - set(coded(page["engine status --json"])) == set()
    assert {field.name for field in fields(Metadata)} - set(coded(page["The record"])) == set()


def test_every_setting_is_documented() -> None:
    """The keys of engine.toml, the profiles, and the variables."""
    page = sections(docs("settings"))
    keys = {option.opts[-1].removeprefix("--") for option in config_files.options_of(ALL["run"])}
    rows = [line for line in page["engine.toml and config.toml"].splitlines() if line.startswith("|")]
    named = {code for row in rows for code in coded(row)}
    assert keys - named == set()
    assert {f"--{key}" for key in named - keys} == set()
    assert set(config_files.PROFILES) <= set(coded(page["Profiles"]))


def test_every_variable_is_documented_and_exists() -> None:
    variable = r"\bENGINE_[A-Z_]*[A-Z]\b"
    made = literals(variable)
    by_rule = {f"ENGINE_{option.strip('-').replace('-', '_').upper()}" for option in options("run")}
    by_rule |= {f"ENGINE_{name.upper()}" for name in empty()}  # of --notify
    named = {found for path in PAGES for found in re.findall(variable, text(path))}
    assert made - by_rule - named == set()
    assert named - by_rule - made <= {
        *("ENGINE_EVENT", "ENGINE_EXIT_CODE", "ENGINE_NEW_OK", "ENGINE_NEW_TITLES", "ENGINE_NEW_SOURCES")
    }


def test_every_method_of_batch_is_documented() -> None:
    public = {name for name in vars(engine.Batch) if not name.startswith("_")}
    assert public - {code.partition("(")[0] for code in coded(docs("library"))} == set()


# ── what one can type ──────────────────────────────────────────────────────────────────────────────────


def typed(block: str) -> Iterator[list[str]]:
    """The `engine` commands of a block, as a shell splits them, without the word `engine`."""
    for line in block.splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars=";&|<>")
        words.whitespace_split = True
        for operator, group_of in itertools.groupby(words, lambda word: not word.strip(";&|<>")):
            command = list(group_of)
            at = next((at for at, word in enumerate(command) if word.split("/")[-1] == "engine"), None)
            if at is not None and not operator:
                yield command[at + 1 :]


def lines_typed() -> list[tuple[str, list[str]]]:
    return [
        (path.name, args)
        for path in PAGES
        for language in ("sh", "crontab")
        for block in blocks(path, language)
        for args in typed(block)
    ]


def test_every_command_in_the_pages_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Command, options and the form of their values, without doing anything."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for folder in (
        "subtitles",
        "saved",
        "exports",
        "old-transcripts",
        "out_0",
    ):  # `import` wants one that is there
        (tmp_path / folder).mkdir()
    lines = lines_typed()
    assert len(lines) > 20
    for page, args in lines:
        if args == ["--version"]:
            continue
        name = next(name for size in (2, 1) if (name := " ".join(args[:size])) in ALL)
        rest = args[len(name.split()) :]
        try:
            ALL[name].make_context(f"engine {name}", rest)
        except click.ClickException as exc:
            raise AssertionError(f"{page}: engine {' '.join(args)}: {exc.format_message()}") from None


@pytest.mark.parametrize("path", PAGES, ids=IDS)
def test_every_example_can_be_read(path: Path) -> None:
    for language, read in (("python", ast.parse), ("json", json.loads), ("toml", tomllib.loads)):
        for block in blocks(path, language):
            read(block)


@pytest.mark.timeout(300)
def test_the_first_run_does_what_the_readme_says(tmp_path: Path) -> None:
    """The block that begins with a rehearsal, word by word."""
    (block,) = (found for found in blocks(README, "sh") if found.startswith("engine rehearse"))
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    (bin_directory / "engine").write_text(f'#!/bin/sh\nexec {shlex.join(COMMAND)} "$@"\n')
    (bin_directory / "engine").chmod(0o755)
    shell = shutil.which("sh") or sys.exit("no sh")
    done = subprocess.run(
        [shell, "-ec", block],
        cwd=tmp_path,
        env=environment(PATH=f"{bin_directory}:/usr/bin:/bin", HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    picture = next(block for block in blocks(README, "") if "engine status" in block)
    pictured = [line.split() for line in picture.splitlines() if re.match("│ +(ok|290|why|━)", line)]
    assert len(pictured) == 4
    shown = [line.replace("━", "").split() for line in done.stdout.splitlines()]
    for words in pictured:
        assert [word for word in words if word.strip("━")] in shown
    assert "no damage found" in done.stdout
    for line in re.findall(r"^(rehearsal_\w+/\S+)  ", text(README), flags=re.MULTILINE):
        assert (tmp_path / line).exists(), line
