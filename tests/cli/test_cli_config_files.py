"""Values from files: which of them wins, and that an error names the file and the key."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import click
import pytest

from engine.cli.doctor import command as doctor
from engine.cli.options.config_files import PROFILES, options_of, origins
from engine.cli.options.run_options import read_options
from engine.cli.probe import command as probe
from engine.cli.rehearse import command as rehearse
from engine.cli.run import command as run
from engine.errors import UsageError

LEVELS = ("option", "variable", "profile", "queue", "user")


@pytest.fixture
def homes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """(the queue's directory, the user's)"""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    (tmp_path / "q").mkdir()
    (tmp_path / "config" / "engine").mkdir(parents=True)
    return tmp_path / "q", tmp_path / "config" / "engine"


def context(queue: Path, *args: str, command: click.Command = run) -> click.Context:
    return command.make_context(str(command.name), ["-q", str(queue), *args])


@pytest.mark.parametrize("present", list(itertools.product((False, True), repeat=len(LEVELS))))
def test_the_strongest_that_says_something_wins(
    present: tuple[bool, ...], homes: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, user = homes
    said = {name: 2 + number for number, name in enumerate(LEVELS) if present[number]}
    args = ["--threads", str(said["option"])] if "option" in said else []
    if "variable" in said:
        monkeypatch.setenv("ENGINE_THREADS", str(said["variable"]))
    text = f"threads = {said['queue']}\n" if "queue" in said else ""
    if "profile" in said:
        text += f"[profile.mine]\nthreads = {said['profile']}\n"
        args += ["--profile", "mine"]
    (queue / "engine.toml").write_text(text)
    if "user" in said:
        (user / "config.toml").write_text(f"threads = {said['user']}\n")
    found = context(queue, *args).params["threads"]
    assert found == next((said[name] for name in LEVELS if name in said), 16)


def test_a_files_profile_is_laid_over_the_built_in_one(homes: tuple[Path, Path]) -> None:
    queue, user = homes
    (queue / "engine.toml").write_text('[profile.gentle]\nrate = "9/m"\n')
    (user / "config.toml").write_text('[profile.gentle]\nrate = "8/m"\nattempts = 7\nmax_bytes = "1G"\n')
    item = context(queue, "--profile", "gentle")
    assert (item.params["rate"], item.params["attempts"], item.params["max_bytes"]) == ("9/m", 7, "1G")
    assert item.params["threads"] == PROFILES["gentle"]["threads"]
    assert {name: found.origin for name, found in origins(item).items()} == {
        "rate": f"profile gentle in {queue / 'engine.toml'}",
        "attempts": f"profile gentle in {user / 'config.toml'}",
        "max_bytes": f"profile gentle in {user / 'config.toml'}",
        "processes": "profile gentle",
        "threads": "profile gentle",
    }


@pytest.mark.parametrize("name", PROFILES)
def test_built_in_profiles_name_options_that_there_are(name: str, homes: tuple[Path, Path]) -> None:
    assert set(PROFILES[name]) <= {option.opts[-1].removeprefix("--") for option in options_of(run)}
    assert len(origins(context(homes[0], "--profile", name))) == len(PROFILES[name])


def test_values_as_toml_has_them(homes: tuple[Path, Path]) -> None:
    queue, _ = homes
    text = 'languages = ["en", "de"]\nformat = ["srt", "txt"]\nrate = 2\nmask = true\nca_bundle = "my.pem"\n'
    (queue / "engine.toml").write_text(text)
    found = context(queue).params
    assert (found["languages"], found["formats"], found["rate"]) == ("en,de", ("srt", "txt"), "2")
    assert found["mask"] == "on"
    assert found["ca_bundle"] == str(queue / "my.pem")  # beside the file that names it


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("thread = 3", "there is no 'thread'; did you mean 'threads'?"),
        ("xyzzy = 3", "there is no 'xyzzy': there are all-languages, "),
        ("limit = 3", "there is no 'limit'"),
        ('threads = "many"', "threads: 'many' is not a valid whole number"),
        ("deadline = 0", "deadline: 0.0 is not in the range"),
        ('format = ["doc"]', "format: 'doc' is not one of"),
        ("mask = 1", "mask = 1: true or false, or one of its words"),
        ("threads = true", "threads = True: not a yes or no"),
        ("rate = [", "this is not TOML"),
        ("[rate]", "rate is a table"),
        ("profile = 'night'", "profiles are tables"),
        ("[profile.night]\nthread = 1", "[profile.night] there is no 'thread'; did you mean"),
    ],
)
def test_what_is_wrong_is_said_with_its_file(text: str, words: str, homes: tuple[Path, Path]) -> None:
    for path in (homes[0] / "engine.toml", homes[1] / "config.toml"):
        path.write_text(text)
        with pytest.raises(UsageError) as told:
            context(homes[0])
        assert str(told.value).startswith(f"{path}: ")
        assert words in str(told.value)
        path.unlink()


def test_a_file_that_cannot_be_read(homes: tuple[Path, Path]) -> None:
    (homes[0] / "engine.toml").mkdir()
    with pytest.raises(UsageError, match="Is a directory"):
        context(homes[0])
    (homes[0] / "engine.toml").rmdir()
    (homes[0] / "engine.toml").write_bytes(b"rate = '\xff'")
    with pytest.raises(UsageError, match="not TOML"):
        context(homes[0])


def test_a_password_is_not_left_lying_about(homes: tuple[Path, Path]) -> None:
    path = homes[0] / "engine.toml"
    for where in ("[profile.x]\n", ""):
        path.write_text(where + 'proxy = "http://me:s3cr3t@proxy:80"\n')
        path.chmod(0o644)
        with pytest.raises(UsageError, match="chmod 600") as told:
            context(homes[0])
        assert "s3cr3t" not in str(told.value)
    path.chmod(0o600)
    assert context(homes[0]).params["proxy"] == ("http://me:s3cr3t@proxy:80",)


def test_an_unknown_profile_names_the_nearest(homes: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError, match="did you mean 'night'"):
        context(homes[0], "--profile", "nigth")


def test_a_rehearsal_knows_nothing_of_the_users_habits(homes: tuple[Path, Path]) -> None:
    queue, user = homes
    (user / "config.toml").write_text('output = "/data"\nthreads = 3\n')
    (queue / "engine.toml").write_text("attempts = 4\n")
    found = context(queue, command=rehearse).params
    assert (found["output"], found["threads"], found["attempts"]) == ("rehearsal_out", 16, 4)


@pytest.mark.parametrize(("where", "meant"), [("queue", True), ("user", False), ("profile", False)])
def test_only_the_queues_own_file_stands_up_to_what_was_frozen(
    where: str, meant: bool, homes: tuple[Path, Path]
) -> None:
    """A habit of the user's must not keep a queue from going on that was begun with something else."""
    queue, user = homes
    args: list[str] = []
    if where == "profile":
        (user / "config.toml").write_text('[profile.x]\nlanguages = "de"\n')
        args = ["--profile", "x"]
    else:
        path = queue / "engine.toml" if where == "queue" else user / "config.toml"
        path.write_text('languages = "de"\n')
    with context(queue, *args) as ctx:
        values: dict[str, Any] = {
            k: v for k, v in ctx.params.items() if k not in ("inputs", "root", "column")
        }
        assert ("languages" in read_options({**values, "column": None}).given) == meant


def test_an_error_of_typing_comes_before_a_file(homes: tuple[Path, Path]) -> None:
    (homes[0] / "engine.toml").write_text("xyzzy = 3")
    with pytest.raises(click.UsageError, match="No such option"):
        context(homes[0], "--nonsense")


def test_variables_for_all_programs_stand_below_the_files(
    homes: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, user = homes
    monkeypatch.setenv("SSL_CERT_FILE", "/ssl.pem")
    assert context(queue).params["ca_bundle"] == "/ssl.pem"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/requests.pem")
    assert context(queue).params["ca_bundle"] == "/requests.pem"
    (user / "config.toml").write_text('ca-bundle = "mine.pem"\n')
    assert context(queue).params["ca_bundle"] == str(user / "mine.pem")
    (queue / "engine.toml").write_text('ca-bundle = "queue.pem"\n')
    assert context(queue).params["ca_bundle"] == str(queue / "queue.pem")
    assert context(queue, command=probe).params["ca_bundle"] == str(queue / "queue.pem")
    monkeypatch.setenv("ENGINE_CA_BUNDLE", "/engine.pem")
    assert context(queue).params["ca_bundle"] == "/engine.pem"
    assert context(queue, "--ca-bundle", "/typed.pem").params["ca_bundle"] == "/typed.pem"


@pytest.mark.parametrize("command", [doctor, probe])
def test_what_comes_before_a_run_reads_its_files(command: click.Command, homes: tuple[Path, Path]) -> None:
    queue, _ = homes
    (queue / "engine.toml").write_text(
        'proxies = "p.txt"\nattempts = 9\n[profile.mine]\nproxy = ["h:1", "h:2"]\n'
    )
    assert context(queue, command=command).params["proxies"] == str(queue / "p.txt")
    assert context(queue, "--profile", "mine", command=command).params["proxy"] == ("h:1", "h:2")
    (queue / "engine.toml").write_text("attemps = 9\n")
    with pytest.raises(UsageError, match="did you mean 'attempts'"):
        context(queue, command=command)
