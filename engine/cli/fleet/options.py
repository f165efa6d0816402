"""Options that commands of `engine fleet` share: the ledger, what the plan fixes, what belongs to a machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from engine.budget import parse_rate
from engine.cli import say
from engine.cli.options import config_files
from engine.cli.options.captions import caption_source, parse_languages, parse_translation
from engine.cli.options.network import ambient_authorities, check_authorities
from engine.cli.options.run_options import run_options
from engine.cli.options.values import LOCAL_PATH
from engine.errors import UsageError
from engine.fleet.own_proxies import with_environment
from engine.fleet.share import MachineOptions
from engine.network.proxies import parse_proxy

F = TypeVar("F", bound=Callable[..., Any])

FROZEN = ("languages", "manual_only", "generated_only", "all_languages", "translate", "metadata", "formats")
MACHINE = (
    "processes", "threads", "sequential", "rate", "proxy", "proxies", "rotating", "ca_bundle", "on_block",
    "control_videos", "attempts", "deadline", "grace", "no_memory", "ways", "mask", "ytdlp_options",
)  # fmt: skip
_PATHS = ("proxies", "ca_bundle", "ytdlp_options")


class LedgerPlace(click.types.StringParamType):
    """A ledger: a directory, or an address of a store."""

    name = "ledger"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value if "://" in str(value) else LOCAL_PATH.convert(value, param, ctx)


ledger_argument = click.argument("ledger", metavar="LEDGER", type=LedgerPlace())


def work_option(function: F) -> F:
    """`--work`."""
    return click.option(
        "--work",
        metavar="DIR",
        type=LOCAL_PATH,
        default="fleet_work",
        show_default=True,
        envvar="ENGINE_FLEET_WORK",
        help="This machine's own directory, on a local disk: budget, and the queues of shares at work.",
    )(function)


def _run_params() -> dict[str, click.Option]:
    """The options of `engine run`, by the names of their parameters."""

    @run_options(output="transcripts", rate="0.5/s")
    def run() -> None: ...

    params: list[click.Parameter] = getattr(run, "__click_params__", [])
    return {str(param.name): param for param in params if isinstance(param, click.Option)}


def options_of_run(names: tuple[str, ...]) -> Callable[[F], F]:
    """These options of `engine run`, as they are there."""

    def decorate(function: F) -> F:
        params = _run_params()
        known: list[click.Parameter] = getattr(function, "__click_params__", [])
        function.__click_params__ = [*known, *(params[name] for name in reversed(names))]  # type: ignore[attr-defined]
        return function

    return decorate


def frozen_options(values: Mapping[str, Any]) -> dict[str, Any]:
    """What the plan fixes, as options of a run. Raises UsageError."""
    parse_languages(values["languages"])
    caption_source(manual_only=values["manual_only"], generated_only=values["generated_only"])
    parse_translation(values["translate"], all_languages=values["all_languages"])
    found: dict[str, Any] = {"languages": values["languages"], "metadata": values["metadata"]}
    found["format"] = list(dict.fromkeys(values["formats"]))
    for name in ("manual_only", "generated_only", "all_languages"):
        if values[name]:
            found[name] = True
    if values["translate"]:
        found["translate"] = values["translate"]
    return found


def machine_options(work: str, values: Mapping[str, Any]) -> MachineOptions:
    """What belongs to this machine: options that were given, and those of `engine.toml` in this directory.

    Everything is checked here, once, and not first by the run of a share. Raises UsageError.
    """
    ctx = click.get_current_context()
    params = _run_params()
    run: dict[str, Any] = _from_file(ctx)
    default = click.core.ParameterSource.DEFAULT
    of_file = "ca_bundle" in run and ambient_authorities() is not None and not _typed(ctx, "ca_bundle")
    for name in MACHINE:
        if name == "ca_bundle" and of_file:
            continue  # variables for all programs do not win over the machine's own file
        if ctx.get_parameter_source(name) is not default and values[name] is not None:
            run[_long(params[name])] = _plain(values[name])
    for name in _PATHS:
        if run.get(name):
            run[name] = os.path.abspath(run[name])
    if "rate" in run:
        try:
            parse_rate(str(run["rate"]))
        except ValueError as exc:
            raise UsageError(f"--rate: {exc}") from None
    for number, text in enumerate(run.get("proxy", ()), 1):
        parse_proxy(text, f"--proxy {number}")
    check_authorities(run.get("ca_bundle"))
    return MachineOptions(work, with_environment(run))


def _typed(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def _from_file(ctx: click.Context) -> dict[str, Any]:
    """The machine's options in `engine.toml` of this directory. What the plan fixes is left out, with a warning."""
    params = _run_params()
    command = click.Command("run", params=list(params.values()))
    found = config_files.collect(click.Context(command, parent=ctx), os.getcwd(), None, rehearsal=True)
    for name in sorted(found):
        if name not in MACHINE:
            say(f"warning: {found[name].origin}: {name} is not for a machine of a fleet: passed over")
    return {_long(params[name]): _plain(each.value) for name, each in found.items() if name in MACHINE}


def _long(param: click.Option) -> str:
    return next(name for name in param.opts if name.startswith("--"))[2:].replace("-", "_")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
