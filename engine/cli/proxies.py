"""`engine proxies check`."""

from __future__ import annotations

import json
import sys

import click

from engine.cli import print_lines
from engine.cli.options.commands import EngineGroup
from engine.cli.options.common import json_option
from engine.cli.options.network import (
    check_authorities,
    network_options,
    proxy_urls,
    say_through_environment,
    short_deadline_option,
)
from engine.errors import Exit, UsageError
from engine.network.proxies import egresses


@click.group("proxies", cls=EngineGroup)
def command() -> None:
    """Try the proxies before a run."""


@command.command("check")
@network_options
@short_deadline_option("for each proxy")
@json_option
def check_command(
    proxy: tuple[str, ...], proxies: str | None, ca_bundle: str | None, deadline_s: float, as_json: bool
) -> int:
    """Send one small request to YouTube through each proxy, all at once, and print the results.

    Exit codes: 0 all work; 3 some do not; 12 none does.
    """
    from engine.youtube.proxy_check import Checked, check

    urls = proxy_urls(proxy, proxies)
    say_through_environment()
    if not urls:
        raise UsageError("which proxies? Name them with --proxy URL or --proxies FILE")
    check_authorities(ca_bundle)
    results: list[Checked] = check(egresses(urls), ca_bundle=ca_bundle, deadline_s=deadline_s)
    if as_json:
        rows = [
            {
                "name": each.name,
                "ok": each.failure is None,
                "kind": each.failure.kind if each.failure else None,
                "message": each.failure.message if each.failure else None,
                "ms": round(1000 * each.elapsed_s),
            }
            for each in results
        ]
        click.echo(json.dumps({"schema_version": 1, "proxies": rows}))
    else:
        width = max(len(each.name) for each in results)
        for each in results:
            result = f"{each.failure.kind}: {each.failure.message}" if each.failure else "ok"
            print_lines(f"{each.name:<{width}}  {1000 * each.elapsed_s:6.0f} ms  {result}")
    sys.stdout.flush()
    bad = sum(each.failure is not None for each in results)
    return Exit.OK if not bad else Exit.NO_PROXY if bad == len(results) else Exit.SOME_FAILED
