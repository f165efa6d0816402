"""Python, the packages and the clock."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Iterator
from datetime import date
from importlib import metadata

from engine.doctor.finding import Finding, ok, problem, warning
from engine.queue.directory import Queue, exists
from engine.storage.timestamps import seconds, utc
from engine.youtube.clients import CLIENTS, installed_table, newest, release_date

OLD_DAYS = 60  # days after which yt-dlp has usually fallen behind the site
OLD_TABLE_DAYS = 365  # of the table of clients
PYTHON = (3, 11)
_MINIMUM = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*>=\s*([0-9.]+)")


def python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < PYTHON:
        yield problem("python", version, f"install Python {'.'.join(map(str, PYTHON))} or newer")
    else:
        yield ok("python", f"{version}, {sys.executable}")


def packages() -> Iterator[Finding]:
    """What engine needs is there in versions that are new enough; yt-dlp not too old."""
    try:
        needed = [text for text in metadata.requires("engine") or () if "extra ==" not in text]
    except metadata.PackageNotFoundError:
        yield warning("packages", "engine itself is not installed here", "pip install . in its directory")
        return
    good = []
    for text in needed:
        found = _MINIMUM.match(text)
        name, least = (found[1], found[2]) if found else (re.split(r"[^A-Za-z0-9._-]", text)[0], "")
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield problem(name, "missing", f"pip install '{text}'")
            continue
        if least and _numbers(version) < _numbers(least):
            yield problem(name, f"{version}, needed is {least} or newer", f"pip install -U {name}")
        elif name == "yt-dlp":
            yield age(version, date.fromtimestamp(time.time()))
        else:
            good.append(f"{name} {version}")
    yield ok("packages", ", ".join(good))


def age(version: str, today: date) -> Finding:
    """Of yt-dlp, whose version is the day of its release."""
    try:
        year, month, day = map(int, version.split(".")[:3])
        days = (today - date(year, month, day)).days
    except ValueError:
        return warning(
            "yt-dlp", f"{version}, which is no date", "pip install -U yt-dlp, unless that is on purpose"
        )
    if days > OLD_DAYS:
        return warning("yt-dlp", f"{version}, {days} days old", "the site changes: pip install -U yt-dlp")
    return ok("yt-dlp", f"{version}, {max(0, days)} days old")


def clients(today: date | None = None) -> Iterator[Finding]:
    """The installed yt-dlp still has each client of the engine's own table, and the table is not old."""
    today = today or date.fromtimestamp(time.time())
    known, version = installed_table()
    missing = [client.way for client in CLIENTS if client.way not in known]
    if missing and version:
        yield warning(
            "clients",
            f"yt-dlp {version} no longer has {', '.join(missing)}, so the engine's own versions are used",
            "look for a newer engine",
        )
        return
    dated = min(client.dated for client in newest(known, dated=release_date(version), source=version))
    days = (today - dated).days
    if days > OLD_TABLE_DAYS:
        yield warning("clients", f"read {days} days ago; YouTube refuses old ones", "pip install -U yt-dlp")
    else:
        yield ok("clients", f"{', '.join(client.way for client in CLIENTS)}, read {max(0, days)} days ago")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def clock(root: str, now: float | None = None) -> Iterator[Finding]:
    """The clock is not behind what is known to have happened: yt-dlp's release, the queue's own files."""
    now = time.time() if now is None else now
    known: list[tuple[float, str]] = []
    with contextlib.suppress(metadata.PackageNotFoundError, ValueError):
        year, month, day = map(int, metadata.version("yt-dlp").split(".")[:3])
        known.append((seconds(f"{year}-{month:02}-{day:02}T00:00:00+14:00") or 0.0, "yt-dlp was released"))
    if exists(root):
        with contextlib.suppress(OSError):
            known.append((os.stat(Queue(root).events).st_mtime, "the queue was last worked on"))
    for at, what in known:
        if at > now + 60:
            yield problem("clock", f"it says {utc(now)}, but {what} at {utc(at)}", "set the clock (NTP)")
            return
    yield ok("clock", utc(now))
