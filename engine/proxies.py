"""Reading proxies as people have them, without ever showing a password.

Forms: a URL (`http https socks5 socks5h`), `host:port`, `host:port:user:password` (as Webshare exports it).
"""

from __future__ import annotations

import os
import re
import stat
from urllib.parse import quote, unquote, urlsplit

from engine.errors import UsageError
from engine.model import EgressSpec

SCHEMES = frozenset({"http", "https", "socks5", "socks5h"})
DIRECT = EgressSpec("direct")
_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")


def parse_proxy(text: str, where: str) -> str:
    """A proxy's URL from any of the forms. Raises UsageError naming `where` and never the text itself."""
    text = text.strip()
    if "://" not in text:
        text = _from_fields(text, where)
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError:
        raise UsageError(f"{where}: not a proxy: its port is not a number") from None
    if url.scheme.lower() not in SCHEMES:
        raise UsageError(f"{where}: proxies speak http, https, socks5 or socks5h, not {url.scheme[:20]!r}")
    if not host or not _HOST.fullmatch(f"[{host}]" if ":" in host else host):
        raise UsageError(f"{where}: not a proxy: give a URL, host:port or host:port:user:password")
    if url.path not in ("", "/") or url.query or url.fragment:
        raise UsageError(f"{where}: not a proxy: something follows its port")
    shown = f"[{host}]" if ":" in host else host
    login = ""
    if url.username is not None:
        login = quote(unquote(url.username), safe="")
        if url.password is not None:
            login += ":" + quote(unquote(url.password), safe="")
        login += "@"
    return f"{url.scheme.lower()}://{login}{shown}:{port or _PORTS[url.scheme.lower()]}"


def _from_fields(text: str, where: str) -> str:
    if "@" in text:
        return "http://" + text
    fields = text.split(":", 3)
    if len(fields) == 2:
        return "http://" + text
    if len(fields) == 4:
        host, port, user, password = fields
        return f"http://{quote(user, safe='')}:{quote(password, safe='')}@{host}:{port}"
    raise UsageError(f"{where}: not a proxy: give a URL, host:port or host:port:user:password")


def read_proxies(path: str) -> tuple[list[str], list[str]]:
    """(URLs, warnings) of a file of proxies, one a line, `#` comments. Raises UsageError naming file and line."""
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            mode = os.fstat(file.fileno()).st_mode
            lines = file.read(1 << 22).splitlines()
    except OSError as exc:
        raise UsageError(f"--proxies {path}: {exc.strerror}") from None
    warnings = []
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        warnings.append(f"{path} can be read by others on this machine: chmod 600 it, it may hold passwords")
    urls = [
        parse_proxy(line, f"{path}, line {number}")
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not urls:
        raise UsageError(f"--proxies {path}: it names no proxy")
    return urls, warnings


def egresses(urls: list[str]) -> tuple[EgressSpec, ...]:
    """The egresses of a run: the proxies, each once, or the direct line when there are none."""
    specs = []
    for number, url in enumerate(dict.fromkeys(urls), 1):
        parts = urlsplit(url)
        host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
        specs.append(EgressSpec(f"p{number:03d} {host}:{parts.port}", url))
    return tuple(specs) or (DIRECT,)
