"""Values of options that stand in files: the queue's `engine.toml`, the user's `config.toml`, and profiles.

An option wins over its ENGINE_ variable, that over the profile, the profile over the queue's file, that over the
user's, and that over the default. The keys are the long names of the options of `engine run`:

    rate = "2/s"
    languages = ["en", "de"]
    proxies = "~/proxies.txt"

    [profile.gentle]
    rate = "0.1/s"

click does the rest: what is found here is its default map, after each value has passed its option's own checks,
so that an error can name the file. A rehearsal has a world of its own and reads its queue's file alone.
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

from engine.budget import parse_rate
from engine.cli import captions
from engine.cli.toml_file import read_toml
from engine.errors import UsageError
from engine.run import notify
from engine.units import parse_bytes, parse_duration_s

QUEUE_FILE = "engine.toml"
USER_FILE = "config.toml"
# What `--profile` knows without any file. A file's [profile.NAME] of the same name is laid over it.
PROFILES: dict[str, dict[str, Any]] = {
    "gentle": {"rate": "0.25/s", "processes": 1, "threads": 4},
    "night": {"rate": "auto", "max-duration": "10h", "progress": "plain"},
}
_NOT_IN_FILES = {"root", "profile", "limit", "column", "replace", "output_lost"}
_FOUND = "engine.cli.defaults"


@dataclass(frozen=True, slots=True)
class Found:
    """A value, and where it stands."""

    value: Any
    origin: str
    of_the_queue: bool = False


def queue_file(root: str) -> str:
    return os.path.join(root, QUEUE_FILE)


def user_file() -> str:
    return os.path.join(click.get_app_dir("engine"), USER_FILE)


def apply(ctx: click.Context, root: str, profile: str | None, *, rehearsal: bool) -> None:
    """Make what the files say the defaults of this context's options.

    Raises UsageError, naming the file and the key, for what cannot be read, is not known, or is no such value.
    """
    found = collect(ctx, root, profile, rehearsal=rehearsal)
    ctx.meta[_FOUND] = found
    ctx.default_map = {name: its.value for name, its in found.items()}


def origins(ctx: click.Context) -> Mapping[str, Found]:
    """What `apply` found, by the option's parameter."""
    found: Mapping[str, Found] = ctx.meta.get(_FOUND, {})
    return found


def collect(ctx: click.Context, root: str, profile: str | None, *, rehearsal: bool) -> dict[str, Found]:
    """All values of the files, the stronger laid over the weaker."""
    options = {its.opts[-1].removeprefix("--"): its for its in options_of(ctx.command)}
    sources = [(queue_file(root), True)] + ([] if rehearsal else [(user_file(), False)])
    result: dict[str, Found] = {}
    profiles: dict[str, dict[str, Found]] = {
        name: {key: Found(value, f"profile {name}") for key, value in values.items()}
        for name, values in PROFILES.items()
    }
    for path, of_the_queue in reversed(sources):
        table = _read(path, must=of_the_queue)
        for name, values in _tables(path, table.pop("profile", {})).items():
            laid = profiles.setdefault(name, {})
            for key, value in values.items():
                option = _known(path, key, options, f"[profile.{name}] ")
                found = Found(_checked(ctx, option, value, path, key), f"profile {name} in {path}")
                laid[key.replace("_", "-")] = found
        for key, value in table.items():
            option = _known(path, key, options)
            result[option.name or key] = Found(_checked(ctx, option, value, path, key), path, of_the_queue)
    if profile:
        if profile not in profiles:
            raise UsageError(f"--profile {profile}: there is none of that name{_nearest(profile, profiles)}")
        for key, its in profiles[profile].items():
            if key in options:  # a built-in one may name what this command does not have
                result[options[key].name or key] = its
    return result


def options_of(command: click.Command) -> Iterable[click.Option]:
    """The options of a run that a file may set: those with an ENGINE_ variable, but for what is of one command."""
    for its in command.params:
        if isinstance(its, click.Option) and its.envvar and its.name not in _NOT_IN_FILES:
            yield its


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
    return any("@" in str(its.get("proxy")) for its in [table, *inner] if isinstance(its, dict))


def _tables(path: str, value: object) -> dict[str, dict[str, Any]]:
    if not isinstance(value, dict) or not all(isinstance(its, dict) for its in value.values()):
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
    """The value as its option takes it. Raises UsageError naming the file and the key, in the option's own words."""
    where = f"{path}: {key}"
    several = value if isinstance(value, list) else [value]
    for each in several:
        _check_type(option, each, where)
    if isinstance(value, list) and not option.multiple:
        raise UsageError(f"{where} takes one value, not a list")
    if option.multiple:
        value = several
    is_path = isinstance(value, str) and key in ("proxies", "output", "ca-bundle", "ca_bundle")
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
    """Raise UsageError for what no option takes (a date, a table), or this one does not: TOML has types."""
    shown = repr(value) if isinstance(value, str | bool | int | float) else str(value)
    shown = shown if len(shown) <= _SHOWN_CHARS else shown[:_SHOWN_CHARS] + "…"
    if isinstance(value, dict):
        raise UsageError(f"{where} is a table; it must be a value")
    if isinstance(value, list):
        raise UsageError(f"{where}: a list in a list")
    if not isinstance(value, str | bool | int | float):
        raise UsageError(f"{where} = {shown}: a {type(value).__name__} is no value for it")
    if option.is_flag != isinstance(value, bool):
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
# Of options that are read as text, what the text must be: said with the file's name while that is known.
_MEANINGS: dict[str | None, Callable[[str], object]] = {
    "rate": parse_rate,
    "languages": captions.languages,
    "translate": lambda text: captions.translation(text, all_languages=False),
    "max_bytes": _amount(parse_bytes, "max-bytes"),
    "max_duration": _amount(parse_duration_s, "max-duration"),
    "notify": notify.parse,
}
