"""The types of options' values: numbers, and paths on this machine."""

from __future__ import annotations

import math
import re
from typing import Any

import click

from engine.units import checked_day

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/?/")
_TEMPLATE = re.compile(r"%\(\w")


class Whole(click.IntRange):
    """A whole number, and so named when the value is none."""

    name = "whole number"


class Number(click.FloatRange):
    """A finite number; click's range alone lets `nan` through."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


class LocalPath(click.types.StringParamType):
    """A path on this machine: no address of a store (`s3://…`), no output template of yt-dlp (`%(title)s`).

    Such a slip is refused before anything is made.
    """

    name = "place"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        value = value if isinstance(value, str) else str(value)
        if "\0" in value:
            self.fail("there is a NUL in it, which no path has", param, ctx)
        if _ADDRESS.search(value):
            self.fail(f"{value!r} is an address: give a directory or a file on this machine", param, ctx)
        if _TEMPLATE.search(value):
            self.fail(
                f"{value!r} is a template for yt-dlp: give a directory, files are named by id", param, ctx
            )
        if value.startswith("~"):
            self.fail(
                f"{value!r}: the shell has not replaced ~ by your home directory: leave out the quotes",
                param,
                ctx,
            )
        return value


class Day(click.types.StringParamType):
    """A day that is not in the future, as `2026-01-31`."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return checked_day(str(value))
        except ValueError as exc:
            self.fail(f"{str(value)[:40]!r}: {exc}", param, ctx)


DAY = Day()
LOCAL_PATH = LocalPath()
