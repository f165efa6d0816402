"""What a user gives yt-dlp's own way: plugins, a cookies file, extractor arguments. These three and nothing else.

The file has the shape of yt-dlp's configuration files, and PO-token providers are yt-dlp plugins. Nothing of it is
ever stored in a queue; cookies and arguments may be secrets.
"""

from __future__ import annotations

import io
import os
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from engine.errors import UsageError
from engine.model import YtdlpOptions
from engine.storage.option_file import read_option_file

ALLOWED = ("--cookies", "--extractor-args", "--plugin-dirs")
MAX_BYTES = 1 << 20
COOKIES_MAX_BYTES = 8 << 20


def parsed_args(options: YtdlpOptions) -> Mapping[str, Mapping[str, list[str]]]:
    """The extractor arguments as yt-dlp reads them. Imports yt-dlp if there are any. Raises UsageError."""
    if not options.extractor_args:
        return {}
    import yt_dlp

    line = [part for text in options.extractor_args for part in ("--extractor-args", text)]
    try:
        found: Mapping[str, Mapping[str, list[str]]] = yt_dlp.parse_options(line).ydl_opts["extractor_args"]
    except (SystemExit, Exception):  # noqa: BLE001 - its parser ends the program for what it cannot read
        raise UsageError(
            "--ytdlp-options: an --extractor-args is not of yt-dlp's form EXTRACTOR:NAME=VALUE"
        ) from None
    return found


def read_ytdlp_options(path: str) -> YtdlpOptions:
    """The options in a file. Relative paths in it are relative to it. Raises UsageError, which shows no value."""
    text = _text(path, MAX_BYTES)
    beside = os.path.dirname(os.path.abspath(path))
    found: dict[str, list[str]] = {name: [] for name in ALLOWED}
    for name, value in _pairs(text, path):
        found[name].append(value)
    if len(found["--cookies"]) > 1:
        raise UsageError(f"--ytdlp-options: {path} names --cookies twice")
    cookies = [_cookies(_place(value, beside)) for value in found["--cookies"]]
    plugins = tuple(_place(value, beside) for value in found["--plugin-dirs"])
    for each in plugins:
        if not os.path.isdir(each):
            raise UsageError(f"--ytdlp-options: {each} of --plugin-dirs is no directory")
    options = YtdlpOptions(tuple(found["--extractor-args"]), plugins, cookies[0] if cookies else None)
    parsed_args(options)
    return options


def _text(path: str, max_bytes: int) -> str:
    data, _ = read_option_file(path, "--ytdlp-options", max_bytes)
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise UsageError(f"--ytdlp-options {path}: cannot be read: it is no UTF-8 text") from None


def _cookies(path: str) -> str:
    """The text of a file of cookies. Imports yt-dlp. Raises UsageError, which quotes nothing of it."""
    text = _text(path, COOKIES_MAX_BYTES)
    from yt_dlp.cookies import YoutubeDLCookieJar

    try:
        YoutubeDLCookieJar(io.StringIO(text)).load(ignore_discard=True, ignore_expires=True)
    except Exception:  # noqa: BLE001 - its message quotes a line of the file
        raise UsageError(
            f"--ytdlp-options: {path} is no file of cookies as browsers' extensions export it (Netscape's format)"
        ) from None
    return text


def _place(value: str, beside: str) -> str:
    return os.path.abspath(os.path.join(beside, os.path.expanduser(value)))


def _pairs(text: str, path: str) -> Iterator[tuple[str, str]]:
    """The options and their values, in order."""
    try:
        words = shlex.split(text, comments=True)
    except ValueError as exc:
        raise UsageError(f"--ytdlp-options {path}: cannot be read: {exc}") from None
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if name not in ALLOWED:
            shown = name if name.startswith("-") else "a word that is no option"
            raise UsageError(
                f"--ytdlp-options: {path} holds {shown[:40]}; only {', '.join(ALLOWED)} are taken from it"
            )
        given: Any = value if equals else next(rest, None)
        if not given:
            raise UsageError(f"--ytdlp-options: {path} names {name} without a value")
        yield name, given
