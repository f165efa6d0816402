"""Telling someone that a run has ended or is stuck: one POST to an address, a message by apprise, or one command.

What goes wrong here becomes a sentence for the caller; it never ends or delays anything. An address may hold a secret
(a chat's webhook does), so it is never shown: a `Target` shows its host or scheme, and no message quotes more.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from engine.errors import UsageError
from engine.output.terminal import printable
from engine.process import environment
from engine.process.threads import start_thread

URL_S = 10.0  # for all of a POST, name look-up included
SERVICE_S = 30.0  # for a message by apprise, which takes some requests and a process
COMMAND_S = 60.0
_SEND = (
    "import apprise, json, sys; told = json.load(sys.stdin); "
    "sys.exit(not apprise.Apprise([told.pop('servers')]).notify(**told))"
)
_FINAL = ("ok", "absent", "failed")
_COUNTS = ("total", "pending", "in_flight", "deferred", "ok", "absent", "failed")


@dataclass(frozen=True, slots=True)
class Target:
    """Where notices go: a `url`, a `service` of apprise's or a `command` (its words); none of them is in the repr."""

    shown: str
    url: str = field(default="", repr=False)
    service: str = field(default="", repr=False)
    command: tuple[str, ...] = field(default=(), repr=False)
    holds_password: bool = False


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
    if not text.isascii() or not text.isprintable() or " " in text:
        raise UsageError("--notify: not an address: it holds blanks, or characters that are not ASCII")
    if scheme not in ("http", "https"):
        return _service(text, scheme[:20])
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port
    except ValueError:
        host = None
    if not host:
        raise UsageError(f"--notify: not an address: it is read as {scheme}://HOST/PATH")
    return Target(host, url=text, holds_password=bool(url.password))


def _service(text: str, scheme: str) -> Target:
    """An address of one of the services that apprise knows, such as discord://, tgram:// or mailto://."""
    logging.getLogger("apprise").disabled = True  # it quotes addresses
    try:
        import apprise
    except ImportError:
        raise UsageError(
            f"--notify: an address begins with http:// or https://. For {scheme!r} and other services install one "
            "more package: pip install '.[notify]' in engine's directory"
        ) from None
    if not apprise.Apprise().add(text):
        raise UsageError(
            f"--notify: apprise cannot read this address of {scheme!r}: see its page on that service"
        )
    return Target(scheme, service=text, holds_password=True)


def body(
    event: str,
    queue: str,
    status: Mapping[str, Any],
    *,
    code: int | None,
    reason: str,
    before: Mapping[str, Any] | None = None,
    titles: Sequence[str] | None = None,
    sources: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """What a notice says. `event` is `ended` or `stalled`; `queue` its directory; `code` the exit code, if any.

    `before`: the status when the run began; what has become final since then is new. `titles` of some
    of that, and how much of it each of the `sources` brought; None: not known, and not said.
    """
    old = before if before is not None else status
    more = {} if titles is None else {"new_titles": list(titles), "new_sources": dict(sources or {})}
    return {
        "schema_version": 1,
        "event": event,
        "state": status["state"],
        "queue": os.path.basename(os.path.abspath(queue)),
        "exit_code": code,
        "reason": reason,
        "counts": {name: status[name] for name in _COUNTS},
        "new": {name: max(0, status[name] - old[name]) for name in _FINAL},
        **more,
    }


def send(
    target: Target, notice: Mapping[str, Any], *, queue: str, ca_bundle: str | None = None
) -> str | None:
    """Send a notice. Returns None, or in a sentence why it did not arrive; never raises."""
    data = json.dumps(notice).encode()
    try:
        if target.url:
            return _within(URL_S, lambda: _post(target.url, data, ca_bundle)) or None
        if target.service:
            return _to_service(target.service, notice)
        return _run(target.command, data, {**_variables(notice), "ENGINE_QUEUE": os.path.abspath(queue)})
    except KeyboardInterrupt:
        return "interrupted"
    except Exception as exc:  # noqa: BLE001 - a notice must not change how a run ends; its text may hold the address
        return _why(exc)


def _post(url: str, data: bytes, ca_bundle: str | None) -> str:
    """POST it once, by no proxy and following no redirect. Returns what was wrong, empty when it was taken."""
    import requests

    headers = {"Content-Type": "application/json", "User-Agent": "engine"}
    with requests.Session() as session:
        session.trust_env = False
        with session.post(
            url,
            data,
            headers=headers,
            timeout=URL_S,
            allow_redirects=False,
            stream=True,
            verify=ca_bundle or True,
        ) as answer:
            return "" if answer.ok and not answer.is_redirect else f"it answered {answer.status_code}"


def _to_service(address: str, notice: Mapping[str, Any]) -> str | None:
    """Tell a service of apprise's, in a child: a process that ends waits for threads, and its may hang."""
    title, text = words(notice)
    kind = "success" if notice["exit_code"] == 0 else "warning"
    told = {"servers": address, "title": title, "body": text, "notify_type": kind}
    try:
        child = subprocess.run(
            [sys.executable, "-c", _SEND],
            input=json.dumps(told).encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # its log quotes addresses
            env=environment.environment(),
            timeout=SERVICE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {SERVICE_S:g} s"
    return None if child.returncode == 0 else "the service did not take it"


def words(notice: Mapping[str, Any]) -> tuple[str, str]:
    """A notice for people: its title and its text."""
    counts = notice["counts"]
    left = counts["total"] - counts["ok"] - counts["absent"] - counts["failed"]
    code = "" if notice["exit_code"] is None else f", exit code {notice['exit_code']}"
    new = ", ".join(f"{count:,} {name}" for name, count in notice["new"].items() if count)
    lines = [
        f"{counts['ok']:,} ok, {counts['absent']:,} absent, {counts['failed']:,} failed, {left:,} left{code}",
        f"new in this run: {new or 'nothing'}",
        str(notice["reason"]),
        *(f"- {printable(title)}" for title in notice.get("new_titles", ())),
    ]
    return f"engine: {notice['queue']} {notice['event']} ({notice['state']})", "\n".join(filter(None, lines))


def _within(limit_s: float, act: Callable[[], str]) -> str:
    """Do it in a thread of its own, and wait no longer than this: a name look-up has no deadline of its own."""
    said: list[str] = []

    def run() -> None:
        try:
            said.append(act())
        except Exception as exc:  # noqa: BLE001 - becomes a sentence
            said.append(_why(exc))

    try:
        thread = start_thread(run, name="notify")
    except (RuntimeError, MemoryError) as exc:
        return str(exc)
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
        **{f"NEW_{name.upper()}": count for name, count in notice["new"].items()},
    }
    if "new_titles" in notice:
        values["NEW_TITLES"] = "\n".join(map(printable, notice["new_titles"]))
        values["NEW_SOURCES"] = ", ".join(f"{printable(s)} {n}" for s, n in notice["new_sources"].items())
    return {f"ENGINE_{name}": str(value) for name, value in values.items()}


def _why(exc: Exception) -> str:
    """A word for an error: the system's, which may be its cause, else its class. Its text may hold the address."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return type(exc).__name__
