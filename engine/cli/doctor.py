"""`engine doctor`."""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from engine.cli import print_lines, say
from engine.cli.options.commands import BeforeRunCommand
from engine.cli.options.common import (
    json_option,
    processes_option,
    profile_option,
    queue_option,
    threads_option,
)
from engine.cli.options.network import network_options, proxy_urls, say_through_environment
from engine.cli.options.values import LOCAL_PATH
from engine.errors import Exit
from engine.network.proxies import egresses
from engine.output.terminal import printable
from engine.queue.directory import exists, open_queue
from engine.queue.marker import output_of

if TYPE_CHECKING:
    from engine.doctor import Finding

_STYLE = {"ok": "green", "warning": "yellow", "problem": "red"}


@click.command("doctor", cls=BeforeRunCommand)
@queue_option()
@profile_option()
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    type=LOCAL_PATH,
    envvar="ENGINE_OUTPUT",
    help="Where transcripts will go.",
)
@processes_option("As for the run.")
@threads_option("As for the run.")
@network_options
@json_option
def command(
    root: str,
    output: str | None,
    processes: int,
    threads: int,
    proxy: tuple[str, ...],
    proxies: str | None,
    ca_bundle: str | None,
    as_json: bool,
) -> int:
    """Check whether this machine is fit for a run, and print what to correct. Give the options of the run.

    Nothing is sent to YouTube unless proxies are given, or HTTPS_PROXY names one; then one small request through
    each. Exit code 2 when something would stop a run.
    """
    from engine.doctor import Asked, Level, examine

    urls = proxy_urls(proxy, proxies)
    say_through_environment()
    asked = Asked(
        root, output or _frozen(root), processes, threads, egresses(urls) if urls else (), ca_bundle or None
    )
    found: list[Finding] = []
    for finding in examine(asked):
        found.append(finding)
        if not as_json:
            _show(finding)
    problems = [finding for finding in found if finding.level is Level.PROBLEM]
    if as_json:
        click.echo(
            json.dumps(
                {"schema_version": 1, "fit": not problems, "findings": [asdict(each) for each in found]}
            )
        )
    elif problems:
        say(f"engine: {len(problems)} problem{'' if len(problems) == 1 else 's'} would stop a run")
    else:
        say("next: `engine probe` asks YouTube which ways work from here, with at most 30 requests")
    return Exit.USAGE if problems else Exit.OK


def _frozen(root: str) -> str:
    """The output directory that the queue has, or the one it would get."""
    return (output_of(open_queue(root)) if exists(root) else None) or "transcripts"


def _show(finding: Finding) -> None:
    width = max(60, shutil.get_terminal_size().columns)
    head = f"{finding.level:<8} {printable(finding.about):<12} "
    text = printable(finding.seen) + (f": {printable(finding.advice)}" if finding.advice else "")
    lines = textwrap.wrap(text, width - 22, break_long_words=True) or [""]
    click.echo(click.style(f"{finding.level:<8}", fg=_STYLE[finding.level]) + head[8:] + lines[0])
    for line in lines[1:]:
        print_lines(" " * 22 + line)
    sys.stdout.flush()
