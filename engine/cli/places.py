"""Directories and files as options take them: what is a slip for a path is refused before anything is made."""

from __future__ import annotations

import re
from typing import Any

import click

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/?/")
_TEMPLATE = re.compile(r"%\(\w")


class Place(click.types.StringParamType):
    """A path on this machine: no address of a store (`s3://…`), no output template of yt-dlp (`%(title)s`)."""

    name = "place"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        value = value if isinstance(value, str) else str(value)
        if "\0" in value:
            self.fail("there is a NUL in it, which no path has", param, ctx)
        if _ADDRESS.search(value):
            self.fail(f"{value!r} is an address: give a directory or a file of this machine", param, ctx)
        if _TEMPLATE.search(value):
            self.fail(
                f"{value!r} is a template as yt-dlp takes it: give a directory, files are named by id",
                param,
                ctx,
            )
        if value.startswith("~"):
            self.fail(
                f"{value!r}: the shell has not put a home in place of ~: leave out the quotes", param, ctx
            )
        return value


PLACE = Place()
