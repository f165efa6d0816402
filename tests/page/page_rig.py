"""A page as a real command, and a browser-less client that has entered it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import requests
from commands import Command
from patience import HANG_S, until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


class Page:
    """`engine page` on a queue, or on what `args` name (or on the default queue), on a free port.

    `get` and `do` send what a browser and the page's script send.
    """

    def __init__(self, queue: Path | None, *args: str | Path, cache: Path, **env: str) -> None:
        env = {"XDG_CACHE_HOME": str(cache), **env}
        self.command = Command(
            "page",
            *(("-q", queue) if queue else ()),
            *(("--port", "0") if "--port" not in args else ()),
            *args,
            cwd=cache.parent,
            **env,
        )
        try:
            self.address = until(self._address, HANG_S, "for the page's address")
        except BaseException:
            self.command.kill_all()
            raise
        self.origin = "http://" + urlsplit(self.address).netloc
        self.port = urlsplit(self.address).port
        self.browser = requests.Session()
        self.browser.trust_env = False

    def _address(self) -> str:
        assert self.command.live, self.command.said()
        found = re.search(r"^http://127\.0\.0\.1:[0-9]+/\?token=\S+$", self.command.said(), re.MULTILINE)
        return found[0] if found else ""

    def enter(self) -> Self:
        """Exchange the token for the cookie, as a browser that opens the address."""
        assert self.browser.get(self.address, timeout=HANG_S).status_code == 200
        return self

    def get(self, path: str, **more: Any) -> requests.Response:
        return self.browser.get(self.origin + path, timeout=HANG_S, **more)

    def do(self, verb: str, **values: Any) -> requests.Response:
        headers = {"Origin": self.origin, "X-Engine": "1"}
        return self.browser.post(f"{self.origin}/do/{verb}", json=values, headers=headers, timeout=HANG_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.browser.close()
        self.command.kill_all()
