"""Values of options that stand in files: the queue's `engine.toml`, the user's `config.toml`, and profiles.

An option wins over its ENGINE_ variable, which wins over the profile, then the queue's file, the user's file, and the
default. The keys are the long names of the options of `engine run`:

    rate = "2/s"
    languages = ["en", "de"]
    proxies = "~/proxies.txt"

    [profile.gentle]
    rate = "0.1/s"

What is found becomes click's default map. Each value is first checked by its own option, so that an error can name
the file. A rehearsal reads the queue's file only.
"""

from __future__ import annotations

import difflib
import math
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import click

from engine.budget import memory, parse_rate
from engine.cli.options import captions
from engine.cli.options.toml_file import read_toml
from engine.errors import UsageError
from engine.run import notify
from engine.units import parse_bytes, parse_duration_s

QUEUE_FILE = "engine.toml"
USER_FILE = "config.toml"
# What `--profile` knows without any file. A file's [profile.NAME] of the same name overrides it key by key.
PROFILES: dict[str, dict[str, Any]] = {
    "gentle": {"rate": "0.25/s", "processes": 1, "threads": 4},
    "night": {"rate": "auto", "max-duration": "10h", "progress": "plain"},
}
_NOT_IN_FILES = {"root", "profile", "limit", "column", "replace", "output_lost"}
_PATHS = {"budget", "proxies", "output", "ca-bundle", "ca_bundle", "ytdlp-options", "ytdlp_options"}
_FOUND = "engine.cli.options.config_files"


@dataclass(frozen=True, slots=True)
class FoundValue:
    """A value, and where it stands."""

    value: Any
    origin: str
    of_the_queue: bool = False


def queue_file(root: str) -> str:
    """The path of the queue's `engine.toml`."""
    return os.path.join(root, QUEUE_FILE)


def user_file() -> str:
    """The path of the user's `config.toml`."""
    return os.path.join(click.get_app_dir("engine"), USER_FILE)


def memory_file() -> str:
    """The path of what past nights learnt of each egress's limit."""
    return os.path.join(click.get_app_dir("engine"), memory.FILE)


def apply(
    ctx: click.Context,
    root: str,
    profile: str | None,
    *,
    rehearsal: bool,
    command: click.Command | None = None,
) -> None:
    """Make what the files say the defaults of this context's options. `command`: whose options may be in the files.

    Raises UsageError, naming the file and the key, for a file that cannot be read, an unknown key, or a bad value.
    """
    found = collect(ctx, root, profile, rehearsal=rehearsal, command=command)
    ctx.meta[_FOUND] = found
    ctx.default_map = {name: each.value for name, each in found.items()}


def origins(ctx: click.Context) -> Mapping[str, FoundValue]:
    """What `apply` found, by the option's parameter."""
    found: Mapping[str, FoundValue] = ctx.meta.get(_FOUND, {})
    return found


def collect(
    ctx: click.Context,
    root: str,
    profile: str | None,
    *,
    rehearsal: bool,
    command: click.Command | None = None,
) -> dict[str, FoundValue]:
    """All values of the files; of one that stands in several, the one that wins."""
    known_to = command or ctx.command
    options = {option.opts[-1].removeprefix("--"): option for option in options_of(known_to)}
    sources = [(queue_file(root), True)] + ([] if rehearsal else [(user_file(), False)])
    result: dict[str, FoundValue] = {}
    profiles: dict[str, dict[str, FoundValue]] = {
        name: {key: FoundValue(value, f"profile {name}") for key, value in values.items()}
        for name, values in PROFILES.items()
    }
    for path, of_the_queue in reversed(sources):
        table = _read(path, must=of_the_queue)
        for name, values in _tables(path, table.pop("profile", {})).items():
            known = profiles.setdefault(name, {})
            for key, value in values.items():
                option = _known(path, key, options, f"[profile.{name}] ")
                found = FoundValue(_checked(ctx, option, value, path, key), f"profile {name} in {path}")
                known[key.replace("_", "-")] = found
        for key, value in table.items():
            option = _known(path, key, options)
            result[option.name or key] = FoundValue(
                _checked(ctx, option, value, path, key), path, of_the_queue
            )
    if profile:
        if profile not in profiles:
            raise UsageError(f"--profile {profile}: there is none of that name{_nearest(profile, profiles)}")
        for key, found in profiles[profile].items():
            if key in options:  # a built-in one may name what this command does not have
                result[options[key].name or key] = found
    return result


def options_of(command: click.Command) -> Iterable[click.Option]:
    """The options of a run that a file may set: those with an ENGINE_ variable, without those of one command only."""
    for param in command.params:
        if isinstance(param, click.Option) and param.envvar and param.name not in _NOT_IN_FILES:
            yield param


def _read(path: str, *, must: bool) -> dict[str, Any]:
    """What a file holds; nothing when it is not there. Raises UsageError naming the file."""
    read = read_toml(path, must=must)
    if read is None:
        return {}
    table, mode = read
    if mode & (stat.S_IRGRP | stat.S_IROTH) and _has_password(table):
        raise UsageError(f"{path}: it holds a proxy's password and others may read it: chmod 600 {path}")
    return table


def _has_password(table: Mapping[str, Any]) -> bool:
    profiles = table.get("profile")
    inner = list(profiles.values()) if isinstance(profiles, dict) else []
    return any("@" in str(each.get("proxy")) for each in [table, *inner] if isinstance(each, dict))


def _tables(path: str, value: object) -> dict[str, dict[str, Any]]:
    if not isinstance(value, dict) or not all(isinstance(each, dict) for each in value.values()):
        raise UsageError(
            f"{path}: profiles are tables, as in [profile.gentle]; to choose one, give --profile"
        )
    return value


def _known(path: str, key: str, options: Mapping[str, click.Option], where: str = "") -> click.Option:
    option = options.get(key.replace("_", "-"))
    if option is None:
        raise UsageError(f"{path}: {where}there is no {key!r}{_nearest(key.replace('_', '-'), options)}")
    return option


def _nearest(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), 1, 0.5)
    return f"; did you mean {near[0]!r}?" if near else f": there are {', '.join(sorted(names))}"


def _checked(ctx: click.Context, option: click.Option, value: Any, path: str, key: str) -> Any:
    """The value as its option takes it. Raises UsageError naming file and key, with the option's own message."""
    where = f"{path}: {key}"
    several = value if isinstance(value, list) else [value]
    for each in several:
        _check_type(option, each, where)
    if isinstance(value, list) and not option.multiple:
        raise UsageError(f"{where} takes one value, not a list")
    if option.multiple:
        value = several
    is_path = isinstance(value, str) and key in _PATHS
    if is_path:
        value = os.path.expanduser(value)
    try:
        cast = option.type_cast_value(ctx, value)
        if option.name in _MEANINGS:
            _MEANINGS[option.name](",".join(cast) if isinstance(cast, tuple) else str(cast))
    except click.BadParameter as exc:
        raise UsageError(f"{where}: {exc.message}") from None
    except UsageError as exc:
        raise UsageError(f"{where}: {exc}") from None
    return os.path.join(os.path.dirname(path), value) if is_path else value


def _check_type(option: click.Option, value: Any, where: str) -> None:
    """Raise UsageError for a TOML type that no option takes (a date, a table), or that this one does not take."""
    shown = repr(value) if isinstance(value, str | bool | int | float) else str(value)
    shown = shown if len(shown) <= _SHOWN_CHARS else shown[:_SHOWN_CHARS] + "…"
    if isinstance(value, dict):
        raise UsageError(f"{where} is a table; it must be a value")
    if isinstance(value, list):
        raise UsageError(f"{where}: a list in a list")
    if not isinstance(value, str | bool | int | float):
        raise UsageError(f"{where} = {shown}: a {type(value).__name__} is no value for it")
    if getattr(option.type, "takes_bool", False):
        if not isinstance(value, bool | str):
            raise UsageError(f"{where} = {shown}: true or false, or one of its words")
    elif option.is_flag != isinstance(value, bool):
        raise UsageError(f"{where} = {shown}: {'true or false' if option.is_flag else 'not a yes or no'}")
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{where} = {shown}: not a number that it can have")
    if isinstance(value, float) and isinstance(option.type, click.IntRange):
        raise UsageError(f"{where} = {shown}: it must be a whole number")
    if isinstance(value, str) and "\0" in value:
        raise UsageError(f"{where}: there is a NUL in it")


def _amount(read: Callable[[str, str], object], option: str) -> Callable[[str], object]:
    return lambda text: read(text, option)


_SHOWN_CHARS = 60
# What the text of an option must mean, for those that click takes as text. Checked here, while the file is known.
_MEANINGS: dict[str | None, Callable[[str], object]] = {
    "rate": parse_rate,
    "languages": captions.parse_languages,
    "translate": lambda text: captions.parse_translation(text, all_languages=False),
    "max_bytes": _amount(parse_bytes, "max-bytes"),
    "max_duration": _amount(parse_duration_s, "max-duration"),
    "notify": notify.parse,
}
