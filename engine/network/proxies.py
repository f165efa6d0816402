"""Reads proxies in the forms that providers export, without ever showing a password.

Forms: a URL (`http https socks5 socks5h`), `host:port`, `host:port:user:password` (as Webshare exports it),
`user:password@host:port`.
"""

from __future__ import annotations

import os
import re
import stat
from urllib.parse import SplitResult, quote, unquote_to_bytes, urlsplit

from engine.errors import UsageError
from engine.model import EgressSpec
from engine.storage.option_file import read_option_file

SCHEMES = frozenset({"http", "https", "socks5", "socks5h"})
DIRECT = EgressSpec("direct")
MAX_BYTES = 4 << 20
_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_ADDRESS = rf"(?:{_HOST.pattern}):[0-9]+"
_FIELDS = re.compile(rf"(?P<address>{_ADDRESS}):(?P<user>[^:]*):(?P<password>.*)")
_PLAIN = re.compile(rf"(?:.*@)?{_ADDRESS}")


def parse_proxy(text: str, where: str) -> str:
    """The URL of a proxy in any of the forms. Raises UsageError, which names `where` and never shows the text."""
    text = text.strip()
    if not text.isprintable():
        raise UsageError(f"{where}: not a proxy: it contains characters that no address has")
    if not _SCHEME.match(text):
        text = _from_fields(text, where)
    try:
        url = urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError:
        host, port = None, 0
    if port == 0:
        raise UsageError(f"{where}: not a proxy: its port is not a number from 1 to 65535")
    if url.scheme.lower() not in SCHEMES:
        raise UsageError(f"{where}: proxies speak http, https, socks5 or socks5h, not {url.scheme[:20]!r}")
    if not host or not _HOST.fullmatch(f"[{host}]" if ":" in host else host):
        raise UsageError(f"{where}: not a proxy: give a URL, host:port or host:port:user:password")
    if url.path not in ("", "/") or url.query or url.fragment:
        raise UsageError(f"{where}: not a proxy: something follows its port")
    shown = f"[{host}]" if ":" in host else host
    login = ""
    if url.username is not None:
        login = ":".join(quote(part, safe="") for part in _login(url, where)) + "@"
    return f"{url.scheme.lower()}://{login}{shown}:{port or _PORTS[url.scheme.lower()]}"


def _login(url: SplitResult, where: str) -> list[bytes]:
    """User and password (if there is one) as bytes. Raises UsageError if the protocol cannot transmit them."""
    parts = [unquote_to_bytes(part) for part in (url.username or "", url.password) if part is not None]
    if url.scheme.lower().startswith("socks"):
        if any(len(part) > 255 for part in parts):
            raise UsageError(f"{where}: SOCKS takes users and passwords of at most 255 bytes")
        if any(part.decode("utf-8", "replace").encode() != part for part in parts):
            raise UsageError(f"{where}: user or password is not UTF-8, which SOCKS requires")
    elif b":" in parts[0]:
        raise UsageError(f"{where}: the user contains a colon, which a proxy reads as its end")
    return parts


def _from_fields(text: str, where: str) -> str:
    """A URL from `host:port`, `host:port:user:password` or `user:password@host:port`."""
    fields, plain = _FIELDS.fullmatch(text), _PLAIN.fullmatch(text)
    if fields and plain:
        # The part after the @ would be shown as the host, but it may be the end of a password.
        raise UsageError(f"{where}: this has two readings: write it as http://user:password@host:port")
    if fields:
        user, password = quote(fields["user"], safe=""), quote(fields["password"], safe="")
        return f"http://{user}:{password}@{fields['address']}"
    if plain:
        return "http://" + text
    raise UsageError(f"{where}: not a proxy: give a URL, host:port or host:port:user:password")


def read_proxies(path: str) -> tuple[list[str], list[str]]:
    """(URLs, warnings) of a file with one proxy a line and `#` comments. Raises UsageError with file and line."""
    data, mode = read_option_file(path, "--proxies", MAX_BYTES)
    lines = _lines(data, path)
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


def _lines(data: bytes, path: str) -> list[str]:
    """The lines of a UTF-8 file. Raises UsageError that names the first line in another encoding.

    Guessing would change a password, and the proxy would refuse it for no visible reason.
    """
    lines = []
    for number, raw in enumerate(data.splitlines(), 1):
        try:
            lines.append(raw.decode("utf-8"))
        except UnicodeDecodeError:
            raise UsageError(f"{path}, line {number}: not UTF-8: save the file as UTF-8") from None
    return lines


_VARIABLES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")  # the first that is set counts


def proxy_variables() -> dict[str, str]:
    """The environment's variables that name proxies, and hosts that need none."""
    return {name: os.environ[name] for name in (*_VARIABLES, "no_proxy", "NO_PROXY") if os.environ.get(name)}


def environment_proxy(variables: dict[str, str], host: str = "www.youtube.com") -> tuple[str, str] | None:
    """(URL, name of the variable) of the proxy that these variables name for a host; None without one.

    Raises UsageError, which names the variable and never shows the text.
    """
    name = next((name for name in _VARIABLES if name in variables), None)
    if name is None:
        return None
    from requests.utils import should_bypass_proxies  # what most commands do without

    excluded = variables.get("no_proxy") or variables.get("NO_PROXY") or ""
    if should_bypass_proxies(f"https://{host}/", excluded):
        return None
    return parse_proxy(variables[name], name), name


def egresses(urls: list[str], *, rotating: bool = False) -> tuple[EgressSpec, ...]:
    """The egresses of a run: each proxy once, or the direct connection if there are none.

    `rotating`: each proxy is a gateway, and every connection through it leaves by another address.
    """
    specs = []
    for number, url in enumerate(dict.fromkeys(urls), 1):
        parts = urlsplit(url)
        host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
        specs.append(EgressSpec(f"p{number:03d} {host}:{parts.port}", url, rotating))
    return tuple(specs) or (DIRECT,)
