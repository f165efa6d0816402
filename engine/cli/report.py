"""`engine report`."""

from __future__ import annotations

import json
import os
import shutil

import click

from engine.batch import Batch
from engine.cli import print_lines, say
from engine.cli.options.commands import EngineCommand
from engine.cli.options.common import json_option, queue_option
from engine.cli.options.values import LOCAL_PATH
from engine.errors import Exit, UsageError
from engine.queue.directory import open_queue
from engine.storage import disk
from engine.units import parse_price_per_gb, size

DEFAULT_PAGE = "report.html"
LARGE_BYTES = 1 << 30  # takes some seconds


@click.command("report", cls=EngineCommand)
@queue_option()
@click.option("--price", metavar="P", help="What traffic costs, as 4/GB.")
@click.option(
    "--html",
    "page_path",
    type=LOCAL_PATH,
    metavar="[FILE]",
    is_flag=False,
    flag_value=DEFAULT_PAGE,
    help=f"Write a self-contained page to FILE instead (default {DEFAULT_PAGE}; - is stdout).",
)
@json_option
def command(root: str, price: str | None, page_path: str | None, as_json: bool) -> int:
    """What became of the batch: what is done, what is not and why, cost, time, trouble, and what to type next.

    For the morning after; answers in every state of the queue, also beside a live run, and takes no lock.
    """
    from engine import report

    if page_path and as_json:
        raise UsageError("--html and --json: give one of them")
    per_gb = parse_price_per_gb(price, "--price") if price else None
    manifest_bytes = _size(open_queue(root).manifest)
    if manifest_bytes > LARGE_BYTES:
        say(f"reading {size(manifest_bytes)} of manifest.jsonl")
    found = Batch(root).report(price_per_gb=per_gb)
    if as_json:
        click.echo(json.dumps(found.to_json()))
    elif page_path == "-":
        click.echo(report.page(found), nl=False)
    elif page_path:
        _write(page_path, report.page(found))
        say(f"the report is in {page_path}")
    else:
        for line in report.words(found, shutil.get_terminal_size().columns):
            print_lines(line)
    return Exit.OK


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _write(path: str, text: str) -> None:
    """Put the page there, intact or not at all."""
    try:
        disk.publish(os.path.abspath(path), text.encode(), sync=False)
    except OSError as exc:
        if disk.is_disk_error(exc):
            raise disk.disk_error(exc, f"writing {path}") from exc
        raise UsageError(f"--html {path}: {exc.strerror}: give another file") from None
