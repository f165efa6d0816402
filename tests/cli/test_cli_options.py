"""How arguments are read: ids that begin with a dash, options that look like ids, values, environment."""

from __future__ import annotations

import random
import string

import click
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cli import group
from engine.cli.options.commands import SECTIONS, IdCommand
from engine.cli.options.common import inputs, queue_option
from engine.cli.options.run_options import run_options
from engine.cli.rehearse import command as rehearse
from engine.cli.run import command as run

DASHED = "-AAAAAAAAAE"


@click.command(cls=IdCommand, context_settings={"help_option_names": ["-h", "--help"]})
@inputs(required=False)
@queue_option()
@run_options(output="out", rate="0.5/s")
def probe(inputs: tuple[str, ...], root: str, **values: object) -> None:
    click.echo(
        repr((inputs, root, values["processes"], values["languages"], values["verbose"], values["output"]))
    )


def parse(*args: str, env: dict[str, str] | None = None) -> tuple[object, ...]:
    result = CliRunner(env=env).invoke(probe, list(args))
    assert result.exit_code == 0, result.output
    value: tuple[object, ...] = eval(result.output, {})
    return value


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([DASHED], {"inputs": (DASHED,)}),
        (["-q", "x", DASHED], {"inputs": (DASHED,), "root": "x"}),
        ([DASHED, "-q", "x"], {"inputs": (DASHED,), "root": "x"}),
        (["-q", DASHED, "a.txt"], {"inputs": ("a.txt",), "root": DASHED}),
        (["--queue", DASHED], {"root": DASHED}),
        ([f"--queue={DASHED}"], {"root": DASHED}),
        (["-q", "x", DASHED, DASHED], {"inputs": (DASHED, DASHED), "root": "x"}),
        (["--", DASHED, "-q"], {"inputs": (DASHED, "-q")}),
        (["--processes", "3"], {"processes": 3}),
        (["--languages", "de"], {"languages": "de"}),
        (["--ca-bundle", "x"], {"inputs": ()}),
        (["--languages", DASHED, DASHED], {"languages": DASHED, "inputs": (DASHED,)}),
        (["-v", DASHED], {"verbose": 1, "inputs": (DASHED,)}),
        (["-vv", "-p3", "a.txt"], {"verbose": 2, "processes": 3, "inputs": ("a.txt",)}),
        (["-ovideos"], {"output": "videos"}),
        (["_AAAAAAAAAE", "--AAAAAAAAE"], {"inputs": ("_AAAAAAAAAE", "--AAAAAAAAE")}),
        (["-----------"], {"inputs": ("-----------",)}),
    ],
)
def test_what_an_argument_is(args: list[str], expected: dict[str, object]) -> None:
    names = ("inputs", "root", "processes", "languages", "verbose", "output")
    found = dict(zip(names, parse(*args), strict=True))
    assert {name: found[name] for name in expected} == expected
    if "inputs" not in expected:
        assert found["inputs"] == ()


@pytest.mark.parametrize(
    "args", [["--nonsense"], ["-AAAAAAAAA"], ["-AAAAAAAAAEE"], ["--processes"], ["-p", "0"]]
)
def test_what_is_no_id_and_no_option_is_refused(args: list[str]) -> None:
    result = CliRunner().invoke(probe, args)
    assert result.exit_code == 2
    assert "\0" not in result.output


@pytest.mark.parametrize(
    ("slip", "meant"),
    [("--langauges", "--languages"), ("--ca-bunlde", "--ca-bundle"), ("--procesess", "--processes")],
)
def test_a_slip_that_is_as_long_as_an_id_is_no_video(slip: str, meant: str) -> None:
    assert len(slip) == 11
    result = CliRunner().invoke(probe, ["a.txt", slip])
    assert result.exit_code == 2
    assert f"no such option: {slip}; did you mean {meant}? A video whose id begins with -- goes after" in (
        " ".join(result.output.split())
    )
    assert parse("-q", "x", "--", slip)[0] == (slip,)
    assert parse("--languages", slip)[3] == slip


def test_ids_that_begin_with_two_dashes_are_near_no_option() -> None:
    chance = random.Random(7)
    letters = string.ascii_letters + string.digits + "-_"
    many = ["--" + "".join(chance.choices(letters, k=9)) for _ in range(300)]
    assert parse(*many)[0] == tuple(many)


def test_an_option_wins_over_the_environment() -> None:
    env = {"ENGINE_PROCESSES": "7", "ENGINE_QUEUE": "from-env", "ENGINE_LANGUAGES": "fr"}
    assert parse(env=env)[1:4] == ("from-env", 7, "fr")
    assert parse("-q", "x", "-p", "2", "-l", "de", env=env)[1:4] == ("x", 2, "de")


ids = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", min_size=11, max_size=11)
OPTIONS = {name for param in probe.params for name in param.opts}  # some have eleven characters, too


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(ids, ids.map(lambda item: "-" + item[1:])).filter(lambda item: item not in OPTIONS),
        max_size=4,
    )
)
def test_any_ids_arrive_whole_and_in_order(names: list[str]) -> None:
    assert parse("-q", "x", *names, "-p", "2")[:3] == (tuple(names), "x", 2)


@pytest.mark.parametrize("command", [run, rehearse])
def test_each_option_is_told_in_a_section(command: click.Command) -> None:
    """What is in none of them would stand below all others, and nobody meant that."""
    text = CliRunner().invoke(command, ["--help"]).output
    for section, names in SECTIONS.items():
        told = [
            param
            for param in command.params
            if isinstance(param, click.Option) and param.name in names.split()
        ]
        assert bool(told) == (f"\n{section}:\n" in text)
    others = text.partition("Other options:")[2].split("\n\n")[0].strip()
    assert others.startswith("-h, --help") or others == "--help  Show this message and exit."


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("rnu", "there is no command 'rnu'; did you mean 'run'?"),
        ("stats", "did you mean 'status'?"),
        ("xyzzy", "there is no command 'xyzzy'"),
        ("videos.txt", "Say `engine run videos.txt`"),
        ("https://youtu.be/dQw4w9WgXcQ?t=1&x=2", "Say `engine run 'https://youtu.be/dQw4w9WgXcQ?t=1&x=2'`"),
        ("dQw4w9WgXcQ", "Say `engine run dQw4w9WgXcQ`"),
    ],
)
def test_what_is_no_command(word: str, answer: str) -> None:
    result = CliRunner().invoke(group, [word])
    assert result.exit_code == 2
    assert answer in result.output
