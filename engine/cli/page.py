"""`engine page`."""

from __future__ import annotations

import importlib.util
import os
import secrets
import stat

import click

from engine.cli import print_lines, say
from engine.cli.fleet.options import LedgerPlace
from engine.cli.options.commands import EngineCommand
from engine.cli.options.common import queue_option
from engine.cli.options.values import LOCAL_PATH, Whole
from engine.errors import Exit, UsageError
from engine.queue.directory import exists, open_queue, refuse_foreign
from engine.settings import check_rehearsal
from engine.storage import disk

MIN_TOKEN, MAX_TOKEN = 16, 1024
REHEARSAL_QUEUE = "rehearsal_queue"
DEFAULT = click.core.ParameterSource.DEFAULT


@click.command("page", cls=EngineCommand)
@queue_option()
@click.option(
    "--port",
    metavar="N",
    type=Whole(0, 65535),
    help="The port on 127.0.0.1 (default: the first free one from 8600 on).",
)
@click.option("--open", "open_browser", is_flag=True, help="Open the browser.")
@click.option("--read-only", is_flag=True, help="Show only: nothing can be started, changed or stopped.")
@click.option(
    "--rehearse",
    is_flag=True,
    help=f"A first try: runs fetch made-up videos, and YouTube is not asked (default queue: {REHEARSAL_QUEUE}).",
)
@click.option(
    "--token-file",
    metavar="FILE",
    type=LOCAL_PATH,
    help="A token with which a program may read /metrics; made if the file is missing.",
)
@click.option(
    "--ledger",
    metavar="LEDGER",
    type=LedgerPlace(),
    help="Show a fleet instead, by its ledger alone: a directory, or a place in a store. It changes nothing.",
)
@click.option("--streamlit", is_flag=True, help="The same as a Streamlit page, with less on it.")
def command(
    root: str,
    port: int | None,
    open_browser: bool,
    read_only: bool,
    rehearse: bool,
    token_file: str | None,
    ledger: str | None,
    streamlit: bool,
) -> int:
    """A page in the browser to start, watch and steer the batch, until ^C.

    It prints the address, which holds a token: who does not have it is refused. The page listens on 127.0.0.1 only;
    from another machine, reach it by `ssh -L 8600:127.0.0.1:8600`. It keeps no state: close it, open several, restart
    it. A run that it starts goes on without it.
    """
    if ledger is not None:
        return _fleet(ledger, port, open_browser, fits=not token_file and not streamlit and not rehearse)
    if rehearse and click.get_current_context().get_parameter_source("root") is DEFAULT:
        root = REHEARSAL_QUEUE
    refuse_foreign(root)
    if rehearse and exists(root):
        check_rehearsal(open_queue(root), True)
    _needs("streamlit" if streamlit else "page", "streamlit" if streamlit else "starlette uvicorn")
    if streamlit:
        if read_only or token_file or rehearse:
            raise UsageError("--streamlit goes with none of --read-only, --token-file, --rehearse")
        from engine.page import streamlit_server

        streamlit_server.serve(root, port=port, open_browser=open_browser, on_ready=print_lines)
        return Exit.OK
    from engine.page import server

    token = read_token(token_file) if token_file else None

    server.serve(
        root,
        port=port,
        read_only=read_only,
        rehearsal=rehearse,
        metrics_token=token,
        open_browser=open_browser,
        on_ready=_ready,
    )
    return Exit.OK


def _ready(address: str) -> None:
    print_lines(address)
    say("open this address in a browser; ^C ends the page, not the run")


def _fleet(ledger: str, port: int | None, open_browser: bool, *, fits: bool) -> int:
    """The page of a fleet, which has neither queue nor metrics."""
    given = click.get_current_context().get_parameter_source("root")
    if not fits or given is click.core.ParameterSource.COMMANDLINE:
        raise UsageError("--ledger goes with none of -q, --rehearse, --token-file and --streamlit")
    _needs("page", "starlette uvicorn")
    from engine.page import fleet_server

    fleet_server.serve(ledger, port=port, open_browser=open_browser, on_ready=_ready)
    return Exit.OK


def read_token(path: str) -> str:
    """The token in this file; a missing file is made with a new one. Raises UsageError."""
    try:
        disk.create(os.path.abspath(path), f"{secrets.token_urlsafe(24)}\n".encode())
        say(f"--token-file {path}: made, with a new token")
    except FileExistsError:
        pass
    except OSError as exc:
        raise UsageError(f"--token-file {path}: cannot be made: {exc.strerror}") from None
    if not stat.S_ISREG(os.lstat(path).st_mode):
        raise UsageError(f"--token-file {path}: not a regular file: give the file itself, not a link to it")
    data = disk.read_small(path, MAX_TOKEN)
    if data is None:
        raise UsageError(f"--token-file {path}: cannot be read, or is larger than {MAX_TOKEN} bytes")
    if stat.S_IMODE(os.lstat(path).st_mode) & 0o077:
        raise UsageError(f"--token-file {path}: other users can read it: `chmod 600 {path}`")
    token = data.decode("ascii", "replace").strip()
    if len(token) < MIN_TOKEN or not token.isprintable() or not token.isascii() or " " in token:
        raise UsageError(
            f"--token-file {path}: no token in it: write one line of {MIN_TOKEN} characters or more without blanks. "
            "Remove it, and it is made"
        )
    return token


def _needs(extra: str, modules: str) -> None:
    """Raise UsageError when what the page is made with is not installed."""
    if any(importlib.util.find_spec(name) is None for name in modules.split()):
        raise UsageError(
            f"this page needs more than is installed: pip install '.[{extra}]' in engine's directory"
        )
