"""`engine config show`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import click

from engine.cli import print_lines
from engine.cli.options import config_files
from engine.cli.options.commands import EngineGroup
from engine.cli.options.common import json_option, profile_option, queue_option
from engine.cli.options.network import ambient_authorities
from engine.errors import Exit, NoQueueError, UsageError
from engine.network.proxies import egresses, environment_proxy, parse_proxy, proxy_variables
from engine.queue.admission import DirectoryState, inspect
from engine.queue.directory import exists, no_queue, open_queue
from engine.queue.marker import output_of
from engine.settings import Frozen

_FROZEN = "the first run of this queue, for good"


@click.group("config", cls=EngineGroup)
def command() -> None:
    """Show the options and where each value comes from."""


@command.command("show")
@queue_option()
@profile_option(expose=True)
@json_option
def show_command(root: str, profile: str | None, as_json: bool) -> int:
    """Print the options as `engine run` would take them now, and where each value comes from.

    \b
    The first of these that has a value wins:
      1  the option on the command line
      2  its variable ENGINE_<OPTION>
      3  the profile: --profile, ENGINE_PROFILE
      4  engine.toml in the queue's directory
      5  config.toml in your configuration directory
      6  for all programs: HTTPS_PROXY, REQUESTS_CA_BUNDLE, SSL_CERT_FILE
      7  the default
    """
    from engine.cli.run import command as run

    if inspect(root).state is DirectoryState.FOREIGN:
        raise NoQueueError(no_queue(root))
    args = ["-q", root] + (["--profile", profile] if profile else [])
    ctx = run.make_context("run", args)
    frozen = _frozen(root)
    found = list(_found(ctx, frozen))
    files = [config_files.queue_file(root), config_files.user_file()]
    if as_json:
        value = {
            "schema_version": 1,
            "options": {name: {"value": value, "from": origin} for name, value, origin in found},
            "files": {path: os.path.exists(path) for path in files},
        }
        click.echo(json.dumps(value))
        return Exit.OK
    wide = max(len(name) for name, _, _ in found)
    shown = [(name, _show(value), origin) for name, value, origin in found]
    room = min(40, max(len(value) for _, value, _ in shown))
    for name, text, origin in shown:
        print_lines(f"{name:<{wide}}  {text:<{room}}  {origin}")
    click.echo()
    for path in files:
        print_lines(f"{path}: {'read' if os.path.exists(path) else 'not there'}")
    return Exit.OK


def _found(ctx: click.Context, frozen: dict[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """(option, value, where from) of each option of a run."""
    for option in config_files.options_of(ctx.command):
        name, key = str(option.name), option.opts[-1].removeprefix("--")
        if name in frozen:
            yield key, frozen[name], _FROZEN
            continue
        value = ctx.params[name]
        named = None
        if name == "proxy" and not value and not ctx.params["proxies"]:
            named = environment_proxy(proxy_variables())
        if named:
            yield key, [egresses([named[0]])[0].name], named[1]
            continue
        if name == "proxy":
            value = _proxies(value)
        if name == "notify" and value:
            value = "(not shown)"  # it may be a secret address
        yield key, list(value) if isinstance(value, tuple) else value, _origin(ctx, option)


def _origin(ctx: click.Context, option: click.Option) -> str:
    source = ctx.get_parameter_source(str(option.name))
    if source is click.core.ParameterSource.ENVIRONMENT:
        if option.name == "ca_bundle" and (ambient := ambient_authorities()):
            return ambient
        names = [option.envvar] if isinstance(option.envvar, str) else list(option.envvar or ())
        return next(name for name in names if os.environ.get(name))
    if source is click.core.ParameterSource.DEFAULT_MAP:
        return config_files.origins(ctx)[str(option.name)].origin
    return "default"


def _frozen(root: str) -> dict[str, Any]:
    """What the first run froze, by the options' parameters."""
    queue = open_queue(root) if exists(root) else None
    value = queue.read_batch().get("frozen") if queue else None
    if queue and isinstance(value, dict) and "output" in value:
        value = {**value, "output": output_of(queue)}
    if not isinstance(value, dict):
        return {}
    try:
        frozen = Frozen.from_json(value)
    except (KeyError, TypeError, ValueError):
        return {}
    source = {"manual_only": frozen.captions == "manual", "generated_only": frozen.captions == "generated"}
    known = {name: value for name, value in frozen.to_json().items() if name != "captions"}
    return {**known, "languages": ",".join(frozen.languages), **source}


def _proxies(urls: tuple[str, ...]) -> list[str]:
    """The names of the proxies, which hold no password."""
    try:
        parsed = [parse_proxy(url, f"--proxy {number}") for number, url in enumerate(urls, 1)]
    except UsageError as exc:
        return [str(exc)]
    return [egress.name for egress in egresses(parsed)] if parsed else []


def _show(value: Any) -> str:
    if value is None or value == []:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return ascii(value) if isinstance(value, str) and not value.isprintable() else str(value)
