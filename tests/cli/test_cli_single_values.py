"""What is given twice, and words that are slips: refused with exit 2 before anything is made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from engine.budget import parse_rate
from engine.cli import COMMANDS, group, invoke
from engine.cli.options.commands import EngineCommand, EngineGroup
from engine.errors import UsageError
from engine.youtube.language_codes import nearest


def everything(
    command: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Each command with its path, those of groups too."""
    yield path, command
    if isinstance(command, click.Group):
        ctx = click.Context(command, info_name=path[-1] if path else "engine")
        for name in command.list_commands(ctx):
            below = command.get_command(ctx, name)
            assert below is not None
            yield from everything(below, (*path, name))


ALL = list(everything(group))
TWICE = [
    (path, option)
    for path, command in ALL
    for option in command.params
    if isinstance(option, click.Option) and not option.multiple and not option.count
    if not option.is_flag or option.secondary_opts
]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    for name in [text for text in os.environ if text.startswith("ENGINE_")]:
        monkeypatch.delenv(name)


def test_each_command_is_one_that_looks() -> None:
    assert len(ALL) > len(COMMANDS) + 2
    for path, command in ALL:
        assert isinstance(command, EngineCommand | EngineGroup), path


@pytest.mark.parametrize(("path", "option"), TWICE, ids=lambda item: str(getattr(item, "name", item)))
def test_one_value_given_twice(
    path: tuple[str, ...], option: click.Option, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the same name and by another, with the same value and with others."""
    for first in option.opts:
        for second in (*option.opts, *option.secondary_opts):
            value = [] if option.is_flag else ["1"] * option.nargs
            assert invoke([*path, first, *value, second, *value]) == 2
            said = capsys.readouterr().err
            assert "is given twice" in said, said
            assert option.opts[-1] in said
    assert os.listdir() == []


def test_what_may_be_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    for args in (
        ["-l", "en", "-l", "de", "-l", "fr,en"],
        ["-f", "md", "-f", "srt", "-v", "-v", "--sequential", "--sequential"],
        ["--proxy", "a:1", "--proxy", "b:1"],
    ):
        assert invoke(["run", "no-such-file.txt", *args]) == 2
        assert "given twice" not in capsys.readouterr().err
    assert invoke(
        ["rehearse", "--videos", "1", "-q", "q", "-o", "o", "-l", "en", "-l", "de", "--limit", "1"]
    ) in (0, 4)
    capsys.readouterr()
    assert invoke(["run", "-q", "q", "-l", "de"]) == 2
    assert invoke(["rehearse", "--videos", "0", "-q", "q", "-o", "o", "-l", "de,en"]) == 2
    assert "begun with en,de, not de,en" in capsys.readouterr().err


def test_an_id_that_looks_like_options_is_none_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["seed", "--dry-run", "-q", "q", "-qqqqqqqqqq", "-qAbCdEfGh0"]) == 0
    assert "read 2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("english", "en"),
        ("German", "de"),
        ("deutsch", "de"),
        ("englsh", "en"),
        ("jp", "ja"),
        ("gb", "en-GB"),
        ("en_US", "en-US"),
        ("brazilian portuguese", "pt-BR"),
        ("xx-nonsense", None),
        ("\x1b[31m", None),
    ],
)
def test_no_language_code(word: str, code: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    assert nearest(word) == code
    for option in ("--languages", "--translate"):
        assert invoke(["run", "dQw4w9WgXcQ", option, word]) == 2
        said = capsys.readouterr().err
        assert option in said
        assert "is not a language code" in said
        if option == "--languages":
            assert (f"did you mean {code}?" in said) is (code is not None)
    assert os.listdir() == [], "something was made for a slip"


@pytest.mark.parametrize(
    "code",
    ["en", "iw", "he", "zh-Hans", "zh-TW", "es-419", "EN-gb", "en-eEY6OEpapPo", "tlh", "any", "orig", "nan"],
)
def test_language_codes(code: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["run", "no-such-file.txt", "-l", code]) == 2
    assert "no-such-file.txt" in capsys.readouterr().err


@pytest.mark.parametrize(
    "place", ["s3://bucket/x", "gs://b", "file:///tmp/x", "%(title)s", "out/%(id)s.%(ext)s", "~/x"]
)
def test_no_place_on_this_machine(
    place: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For each option that takes one, of each command."""
    for args in (
        ["run", "dQw4w9WgXcQ", "-o", place],
        ["run", "dQw4w9WgXcQ", "-q", place],
        ["rehearse", "--videos", "1", "-o", place],
        ["rehearse", "--videos", "1", "--arrivals", place],
        ["plan", "dQw4w9WgXcQ", "-o", place],
        ["doctor", "-o", place],
        ["report", "--html", place],
        *([name, "-q", place] for name in ("seed", "status", "failures", "verify", "wait")),
    ):
        assert invoke(args) == 2, args
        assert "Error: Invalid value" in capsys.readouterr().err
    monkeypatch.setenv("ENGINE_OUTPUT", place)
    assert invoke(["run", "dQw4w9WgXcQ"]) == 2
    assert os.listdir() == []


@pytest.mark.parametrize(
    ("text", "per_s"),
    [
        ("20/s", 20.0),
        ("20/sec", 20.0),
        ("30/m", 0.5),
        ("30/min", 0.5),
        ("30 / MIN", 0.5),
        ("1800/h", 0.5),
        ("1800/hour", 0.5),
        ("86400/day", 1.0),
    ],
)
def test_units_of_a_rate(text: str, per_s: float) -> None:
    assert parse_rate(text).per_s == pytest.approx(per_s)


@pytest.mark.parametrize("text", ["20/mins", "20/ho", "20/month", "1/2", "/s", "1" * 5000, "nan", "inf/s"])
def test_no_rate(text: str) -> None:
    with pytest.raises(UsageError):
        parse_rate(text)


@pytest.mark.parametrize("option", ["--deadline", "--grace"])
def test_no_number(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("nan", "inf", "-nan"):
        assert invoke(["run", "dQw4w9WgXcQ", option, text]) == 2
    assert os.listdir() == []
