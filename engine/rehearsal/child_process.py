"""Starts a rehearsal server in a child process, and controls it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from dataclasses import asdict
from typing import Any, Self

from engine.errors import UsageError
from engine.process import environment
from engine.rehearsal.scenarios import parse_scenario
from engine.rehearsal.settings import Address, RehearsalSettings


class Rehearsal:
    """A running rehearsal server. Leaving the context ends it, and so does the end of this process."""

    def __init__(self, process: subprocess.Popen[bytes], address: Address) -> None:
        self._process = process
        self.address = address

    @property
    def proxy_url(self) -> str:
        """What to give as `--proxy`."""
        return self.address.proxy_url

    def proxy_url_as(self, egress: str, password: str = "rehearsal") -> str:
        """The proxy as another egress: a user name of its own."""
        return f"http://{egress}:{password}@127.0.0.1:{self.address.port}"

    @property
    def ca_bundle(self) -> str:
        """What to give as `--ca-bundle`."""
        return self.address.ca

    @property
    def pid(self) -> int:
        return self._process.pid

    def stats(self, *, videos: bool = False) -> dict[str, Any]:
        """Counts of what has arrived; with `videos` also by video (of the last 100,000 requests)."""
        return self._control("/__stats?videos=1" if videos else "/__stats")

    def arrivals(self) -> list[dict[str, Any]]:
        """The last 100,000 requests in their order: {t, kind, video_id, egress, status, scene}."""
        found: list[dict[str, Any]] = self._control("/__log")["arrivals"]
        return found

    def play(self, *texts: str, replace: bool = False) -> list[str]:
        """Play more scenarios (with `replace`, only these) from now on. Their FROM-TO count from now.

        Returns all that are set. Raises UsageError for one that cannot be parsed.
        """
        for text in texts:
            parse_scenario(text)
        body = json.dumps({"scenes": texts, "replace": replace}).encode()
        found: list[str] = self._control("/__scene", body)["scenes"]
        return found

    def _control(self, path: str, body: bytes | None = None) -> dict[str, Any]:
        # Imported here because it loads ssl, which importers of this package may not need.
        from http.client import HTTPConnection, HTTPException

        connection = HTTPConnection("127.0.0.1", self.address.control_port, timeout=30)
        try:
            connection.request("GET" if body is None else "POST", path, body=body)
            found: dict[str, Any] = json.loads(connection.getresponse().read())
        except (OSError, HTTPException, ValueError) as exc:
            raise UsageError(f"The rehearsal server (pid {self.pid}) does not answer: {exc}") from exc
        finally:
            connection.close()
        return found

    def stop(self) -> None:
        """End the server. May be called twice."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start(settings: RehearsalSettings | None = None) -> Rehearsal:
    """Start a rehearsal server as a child process and wait until it listens.

    Use it as a context manager. Raises UsageError when it cannot start (port in use, unknown scenario), with the
    reason.
    """
    settings = settings or RehearsalSettings()
    for text in settings.scenarios:
        parse_scenario(text)
    process = subprocess.Popen(
        [sys.executable, "-m", "engine.rehearsal"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment.environment(),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(asdict(settings)).encode() + b"\n")
            process.stdin.flush()
        ready = json.loads(process.stdout.readline() or b'{"error": "It ended without a message."}')
        if "error" in ready:
            raise UsageError(f"The rehearsal server did not start. {ready['error']}")
    except BaseException:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
        raise
    return Rehearsal(process, Address(**ready))
