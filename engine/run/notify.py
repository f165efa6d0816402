"""Telling someone that a run has ended or got stuck: one POST to an address, or one command.

What goes wrong here is a sentence for the caller and never ends or holds up anything. An address may hold a
secret (a chat's webhook does), so it is never shown: a `Target` shows its host, and no message quotes more.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from engine.errors import UsageError
from engine.process import environment

URL_S = 10.0  # all of a POST, from the look-up of its host's name to its answer
COMMAND_S = 60.0
_COUNTS = ("total", "pending", "in_flight", "deferred", "ok", "absent", "failed")


@dataclass(frozen=True, slots=True)
class Target:
    """Where notices go: `url` (its parts) or `command` (its words). Neither is in its repr."""

    shown: str
    url: SplitResult | None = field(default=None, repr=False)
    command: tuple[str, ...] = field(default=(), repr=False)


def parse(text: str) -> Target:
    """A target from `--notify`. Raises UsageError, quoting at most a scheme or the name of a program."""
    scheme = text.partition("://")[0].lower() if "://" in text.partition(" ")[0] else ""
    if scheme:
        return _address(text, scheme)
    try:
        words = shlex.split(text)
    except ValueError as exc:
        raise UsageError(f"--notify: this is not a command line: {str(exc).lower()}") from None
    if not words:
        raise UsageError("--notify: give an address (https://…) or a command")
    if shutil.which(words[0]) is None:
        raise UsageError(
            f"--notify: there is no program {words[0][:80]!r} to run: give its path, or an address (https://…)"
        )
    return Target(os.path.basename(words[0]), command=tuple(words))


def _address(text: str, scheme: str) -> Target:
    if scheme not in ("http", "https"):
        raise UsageError(f"--notify: an address begins with http:// or https://, not {scheme[:20]!r}")
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port
    except ValueError:
        host = None
    if not host or not text.isascii() or not text.isprintable() or " " in text:
        raise UsageError(f"--notify: not an address: it is read as {scheme}://HOST/PATH, without blanks")
    return Target(host, url=url)


def body(
    event: str, queue: str, status: Mapping[str, Any], *, code: int | None, reason: str
) -> dict[str, Any]:
    """What a notice says. `event` is `ended` or `stalled`; `queue` its directory; `code` the exit code, if any."""
    return {
        "schema_version": 1,
        "event": event,
        "state": status["state"],
        "queue": os.path.basename(os.path.abspath(queue)),
        "exit_code": code,
        "reason": reason,
        "counts": {name: status[name] for name in _COUNTS},
    }


def send(
    target: Target, notice: Mapping[str, Any], *, queue: str, ca_bundle: str | None = None
) -> str | None:
    """Tell it. Returns None, or in a sentence why nobody heard of it; never raises."""
    data = json.dumps(notice).encode()
    try:
        url = target.url
        if url is not None:
            return _within(URL_S, lambda: _post(url, data, ca_bundle)) or None
        return _run(target.command, data, {**_variables(notice), "ENGINE_QUEUE": os.path.abspath(queue)})
    except KeyboardInterrupt:
        return "interrupted"
    except Exception as exc:  # noqa: BLE001 - a notice must not change how a run ends; its text may hold the address
        return _why(exc)


def _post(url: SplitResult, data: bytes, ca_bundle: str | None) -> str:
    """POST it once, by no proxy and following nowhere. Returns what was wrong, empty when it was taken."""
    from engine.network.sockets import tls_context

    host = url.hostname or ""
    connection: http.client.HTTPConnection
    if url.scheme == "https":
        context = tls_context(ca_bundle)
        connection = http.client.HTTPSConnection(host, url.port, timeout=URL_S, context=context)
    else:
        connection = http.client.HTTPConnection(host, url.port, timeout=URL_S)
    headers = {"Content-Type": "application/json", "User-Agent": "engine"}
    if url.username is not None:
        login = f"{unquote(url.username)}:{unquote(url.password or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
    try:
        connection.request("POST", (url.path or "/") + (f"?{url.query}" if url.query else ""), data, headers)
        status = connection.getresponse().status
    finally:
        connection.close()
    return "" if 200 <= status < 300 else f"it wait_until_done {status}"


def _within(limit_s: float, act: Callable[[], str]) -> str:
    """Do it in a thread of its own and wait so long for it: a look-up of a name knows no deadline."""
    said: list[str] = []

    def run() -> None:
        try:
            said.append(act())
        except Exception as exc:  # noqa: BLE001 - becomes a sentence
            said.append(_why(exc))

    thread = threading.Thread(target=run, name="notify", daemon=True)
    thread.start()
    thread.join(limit_s)
    return said[0] if said else f"no answer in {limit_s:g} s"


def _run(command: tuple[str, ...], data: bytes, variables: dict[str, str]) -> str | None:
    """Run a command where the user stood, its words on stderr: stdout is the run's own."""
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=2,
        env={**environment.users_environment(), **variables},
        cwd=environment.users_directory(),
        start_new_session=True,
    ) as process:
        try:
            process.communicate(data, timeout=COMMAND_S)
        except subprocess.TimeoutExpired:
            _kill(process)
            return f"it took longer than {COMMAND_S:g} s and was ended"
        except BaseException:
            _kill(process)
            raise
    code = process.returncode
    return None if code == 0 else f"it ended with {code}" if code > 0 else f"signal {-code} ended it"


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _variables(notice: Mapping[str, Any]) -> dict[str, str]:
    """The notice for a command that reads no JSON."""
    values = {
        "EVENT": notice["event"],
        "STATE": notice["state"],
        "REASON": str(notice["reason"]).replace("\0", " "),
        "EXIT_CODE": "" if notice["exit_code"] is None else notice["exit_code"],
        **{name.upper(): count for name, count in notice["counts"].items()},
    }
    return {f"ENGINE_{name}": str(value) for name, value in values.items()}


def _why(exc: Exception) -> str:
    """A sentence from an error, without its text unless that is the system's own."""
    if isinstance(exc, UsageError):
        return str(exc)  # of the CA bundle
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    return type(exc).__name__
