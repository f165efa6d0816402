"""`--ways --fetch --mask --ytdlp-options`: what each spelling means, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from engine.cli.options.ways import MaskType, parse_ways, read_ytdlp, with_mask_values
from engine.cli.run import command
from engine.errors import UsageError
from engine.model import WAYS


@pytest.mark.parametrize(
    ("args", "means"),
    [
        ("run a.txt", ""),
        ("run --mask a.txt", "on"),
        ("run --mask on a.txt", "on"),
        ("run --mask auto a.txt", "auto"),
        ("run --mask=off a.txt", "off"),
        ("run --no-mask a.txt", "off"),
        ("run a.txt --mask", "on"),
        ("run --mask -p 3", "on"),
        ("run -- --mask", ""),
    ],
)
def test_the_mask_as_it_was_and_is_written(args: str, means: str) -> None:
    found = with_mask_values(args.split()[1:])
    given = [arg.partition("=")[2] for arg in found if arg.startswith("--mask=")]
    assert given == ([means] if means else [])
    assert "--no-mask" not in found
    assert ("a.txt" in found) == ("a.txt" in args)


@pytest.mark.parametrize(
    ("value", "means"),
    [
        ("auto", "auto"),
        ("on", "on"),
        ("OFF", "off"),
        (True, "on"),
        (False, "off"),
        ("1", "on"),
        ("no", "off"),
    ],
)
def test_a_mask_from_a_file_or_the_environment(value: Any, means: str) -> None:
    assert MaskType().convert(value, None, None) == means


def context(*args: str) -> click.Context:
    return command.make_context("run", list(args))


def test_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    where = ("-q", str(tmp_path / "q"))
    assert context(*where).params["mask"] == "auto"
    assert context(*where, "--mask", "videos.txt").params["inputs"] == ("videos.txt",)
    monkeypatch.setenv("ENGINE_MASK", "1")
    assert context(*where).params["mask"] == "on"
    for wrong in (("--mask", "--no-mask"), ("--mask=maybe",), ("--ways", "ios", "--ways", "page")):
        with pytest.raises(click.UsageError):
            context(*where, *wrong)


@pytest.mark.parametrize(
    ("text", "full", "ways"),
    [
        (None, False, WAYS),
        (None, True, ("page",)),
        ("ios", False, ("ios",)),
        (" Page, android ,page", False, ("page", "android")),
        ("page", True, ("page",)),
        ("yt-dlp,ios", False, ("yt-dlp", "ios")),
    ],
)
def test_ways(text: str | None, full: bool, ways: tuple[str, ...]) -> None:
    assert parse_ways(text, full=full) == ways


@pytest.mark.parametrize(
    ("text", "full", "words"),
    [
        ("tv", False, "there is no way 'tv'; there are android, "),
        (",", False, "name at least one"),
        ("ios", True, "is the same as --ways page"),
    ],
)
def test_ways_that_are_refused(text: str, full: bool, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        parse_ways(text, full=full)


def test_options_for_yt_dlp_need_its_way(tmp_path: Path) -> None:
    file = tmp_path / "y.conf"
    file.write_text("--extractor-args youtube:player_client=mweb\n")
    assert read_ytdlp(None, WAYS) is None
    found = read_ytdlp(str(file), WAYS)
    assert found is not None and found.extractor_args == ("youtube:player_client=mweb",)
    with pytest.raises(UsageError, match="which --ways does not name"):
        read_ytdlp(str(file), ("ios",))
