"""The list of formats exists once, and all that goes by it follows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from test_output_publisher import NAME, a_record

import engine
from engine.errors import UsageError
from engine.export import ExportKind
from engine.output.formats import FORMATS, SUFFIXES, render
from engine.output.temporary import is_temporary

# A format of its own, put into the list before anything else has read it.
_ONE_MORE = """
from engine.output import formats
formats._RENDERERS["new"] = lambda record: record.video_id
formats.FORMATS = tuple(formats._RENDERERS)
formats.SUFFIXES = ("json", *formats.FORMATS)
from engine.cli.run import command
from engine.cli.options.run_options import FORMATS
from engine.output.temporary import is_temporary
from engine.verify.directory_scan import _OURS
from engine.verify.strays import is_temporary_output
(option,) = [found for found in command.params if found.name == "formats"]
print("new" in option.type.choices, FORMATS[-1], is_temporary(".dQw4w9WgXcQ.new.0a1b2c3d.tmp"),
      bool(_OURS.fullmatch("dQw4w9WgXcQ.new")), is_temporary_output("dQ/.dQw4w9WgXcQ.new.0a1b2c3d.tmp"))
"""


def test_one_more_format_is_known_everywhere() -> None:
    said = subprocess.run([sys.executable, "-c", _ONE_MORE], capture_output=True, text=True, check=True)
    assert said.stdout == "True new True True True\n"


def test_no_other_module_lists_the_formats() -> None:
    """`inputs/` names endings of files in the world; `youtube/` reads the site's own formats. A type is written
    out (the next test), and a help text tells of them."""
    listed = re.compile(r"srt\W{1,6}vtt|vtt\W{1,6}srt")
    root = Path(engine.__file__).parent
    found = {
        path.relative_to(root).as_posix() for path in root.rglob("*.py") if listed.search(path.read_text())
    }
    assert found <= {
        "inputs/filenames.py",
        "inputs/transcript_files.py",
        "export/request.py",
        "cli/export.py",
    }


def test_each_can_be_exported() -> None:
    assert set(FORMATS) < set(get_args(ExportKind))


@pytest.mark.parametrize("fmt", FORMATS)
def test_each_is_rendered(fmt: str) -> None:
    assert "Hello" in render(a_record(), fmt).decode()


def test_an_unknown_one_is_named() -> None:
    with pytest.raises(UsageError, match="no format 'doc': choose from md, txt"):
        render(a_record(), "doc")


@pytest.mark.parametrize("suffix", [*SUFFIXES])
def test_names_before_the_rename(suffix: str) -> None:
    assert is_temporary(f".{NAME}.{suffix}.0a1b2c3d.tmp")
    assert not is_temporary(f"{NAME}.{suffix}")
