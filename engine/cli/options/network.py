"""The options that say how requests leave: `--proxy`, `--proxies` and `--ca-bundle`."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import click

from engine.cli import say
from engine.cli.options.values import Number
from engine.errors import UsageError
from engine.inputs.video_ids import video_id
from engine.model import CONTROL_VIDEOS
from engine.network.proxies import (
    egresses,
    environment_proxy,
    parse_proxy,
    proxy_variables,
    read_proxies,
)
from engine.process import environment

F = TypeVar("F", bound=Callable[..., Any])
_WARNED = "engine.cli.options.network.warned of "
_VARIABLES = "engine.cli.options.network.variables"
_THROUGH = "engine.cli.options.network.through"

proxy_option = click.option(
    "--proxy",
    metavar="URL",
    multiple=True,
    envvar="ENGINE_PROXY",
    help="A proxy; each is an egress; repeatable.",
)
proxies_option = click.option(
    "--proxies",
    metavar="FILE",
    envvar="ENGINE_PROXIES",
    help="A file of proxies, one a line: URL, host:port or host:port:user:password.",
)


class AuthoritiesOption(click.Option):
    """`--ca-bundle`: when neither it nor a file says anything, variables that are meant for all programs count."""

    def consume_value(
        self, ctx: click.Context, opts: Mapping[str, Any]
    ) -> tuple[Any, click.core.ParameterSource]:
        value, source = super().consume_value(ctx, opts)
        named = ambient_authorities() if source is click.core.ParameterSource.DEFAULT else None
        return (os.environ[named], click.core.ParameterSource.ENVIRONMENT) if named else (value, source)


def ambient_authorities() -> str | None:
    """The variable for all programs that names certificate authorities, unless `ENGINE_CA_BUNDLE` does."""
    if os.environ.get("ENGINE_CA_BUNDLE"):
        return None
    return next((name for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE") if os.environ.get(name)), None)


ca_bundle_option = click.option(
    "--ca-bundle",
    cls=AuthoritiesOption,
    metavar="FILE",
    envvar="ENGINE_CA_BUNDLE",
    help="Certificate authorities to trust.",
)


def _ids(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """The ids in what may be ids or addresses; the built-in ones when there are none."""
    ids = [video_id(text) for text in value]
    for text, found in zip(value, ids, strict=True):
        if found is None:
            raise click.BadParameter(
                f"{text[:60]!r} is neither a video id nor an address of one.", ctx, param
            )
    return tuple(filter(None, ids)) or CONTROL_VIDEOS


control_video_option = click.option(
    "--control-video",
    "control_videos",
    metavar="ID",
    multiple=True,
    envvar="ENGINE_CONTROL_VIDEO",
    callback=_ids,
    help="A video that has captions. As long as none was fetched, it tells whether YouTube refuses captions to this "
    "address; repeatable, instead of the built-in ones.",
)


def network_options(function: F) -> F:
    """`--proxy --proxies --ca-bundle`."""
    for option in (ca_bundle_option, proxies_option, proxy_option):
        function = option(function)
    return function


def short_deadline_option(of: str) -> Callable[[F], F]:
    """`--deadline` of a command that tries something once: seconds `of` one try."""
    return click.option(
        "--deadline",
        "deadline_s",
        metavar="S",
        type=Number(0.1, 600),
        default=20.0,
        show_default=True,
        help=f"Seconds {of}.",
    )


def proxy_urls(proxy: Sequence[str], file: str | None) -> list[str]:
    """The proxies of `--proxy` and `--proxies` as URLs; without any, the one that `HTTPS_PROXY` names, if it does.

    Raises UsageError; warnings go to stderr.
    """
    variables = note_variables()
    environment.forget_secrets()  # they have been read
    found = None if proxy or file else environment_proxy(variables)
    urls = [found[0]] if found else []
    urls += [parse_proxy(text, f"--proxy {number}") for number, text in enumerate(proxy, 1)]
    if found:
        _meta()[_THROUGH] = f"through {egresses(urls)[0].name.split()[-1]}, as {found[1]} says"
    if not found and any(urlsplit(url).password for url in urls):
        warn_if_typed(
            "proxy", "put the proxy into a file of mode 600 for --proxies FILE, or into ENGINE_PROXY"
        )
    if file:
        more, warnings = read_proxies(file)
        for warning in warnings:
            say(f"warning: {warning}")
        urls += more
    if any(url.startswith("socks") for url in urls) and importlib.util.find_spec("socks") is None:
        from engine.network.sockets import NO_SOCKS

        raise UsageError(NO_SOCKS)  # before a queue is made for a run that cannot work
    return urls


def note_variables() -> dict[str, str]:
    """Keep the environment's proxy variables for this command: those with a password are forgotten soon."""
    variables: dict[str, str] = _meta().setdefault(_VARIABLES, proxy_variables())
    return variables


def through_environment() -> str:
    """`through HOST:PORT, as HTTPS_PROXY says`, when this command's proxy is the environment's; else empty."""
    return str(_meta().get(_THROUGH, ""))


def _meta() -> dict[str, Any]:
    """What belongs to the command that is being carried out."""
    ctx = click.get_current_context(silent=True)
    return ctx.meta if ctx else {}


def say_through_environment() -> None:
    """Say that the proxy of this command is the environment's, if it is."""
    if through := through_environment():
        say(through)


def warn_if_typed(name: str, instead: str) -> None:
    """Warn of a password in an option that was typed on the command line; once for each option and command."""
    ctx = click.get_current_context(silent=True)
    typed = click.core.ParameterSource.COMMANDLINE
    if (
        ctx is not None
        and ctx.get_parameter_source(name) is typed
        and ctx.meta.setdefault(_WARNED + name, True)
    ):
        ctx.meta[_WARNED + name] = False
        say(f"warning: --{name}: everyone on this machine can read a password on the command line; {instead}")


def check_authorities(ca_bundle: str | None) -> None:
    """Raise UsageError when `--ca-bundle` is given and cannot be read or holds no certificates."""
    if not ca_bundle:
        return
    if not os.access(ca_bundle, os.R_OK):
        raise UsageError(f"--ca-bundle {ca_bundle}: no such file, or it cannot be read")
    from engine.network.authorities import check

    check(ca_bundle)
