"""The options that say by which ways videos are asked for: `--ways`, `--fetch`, `--mask` and `--ytdlp-options`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import click

from engine.cli.options.values import LOCAL_PATH
from engine.errors import UsageError
from engine.model import WAYS, YtdlpOptions

F = TypeVar("F", bound=Callable[..., Any])
Mask = Literal["auto", "on", "off"]
MASKS: tuple[Mask, ...] = ("auto", "on", "off")
_AS_FLAG: dict[str, Mask] = {
    **dict.fromkeys(("true", "1", "yes", "y", "t"), "on"),
    **dict.fromkeys(("false", "0", "no", "n", "f"), "off"),
}


class MaskType(click.ParamType):  # type: ignore[type-arg]
    """auto, on or off; or the yes and no that `--mask` used to take."""

    name = "mask"
    takes_bool = True  # in a file of options

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Mask:
        text = str(value).strip().lower()
        found = next((mask for mask in MASKS if mask == text), None) or _AS_FLAG.get(text)
        if found is None:
            self.fail(f"{str(value)[:40]!r} is not one of {', '.join(MASKS)}", param, ctx)
        return found

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "|".join(MASKS)


def with_mask_values(args: Sequence[str]) -> list[str]:
    """Arguments in which a bare `--mask` is `--mask=on` and `--no-mask` is `--mask=off`."""
    found: list[str] = []
    rest = list(args)
    while rest:
        arg = rest.pop(0)
        if arg == "--":
            return [*found, arg, *rest]
        if arg == "--mask":
            arg = f"--mask={rest.pop(0) if rest and rest[0] in MASKS else 'on'}"
        found.append("--mask=off" if arg == "--no-mask" else arg)
    return found


def parse_ways(text: str | None, *, full: bool = False) -> tuple[str, ...]:
    """`--ways` as names in order; `full` is `--fetch full`. Raises UsageError."""
    if text is None:
        return ("page",) if full else WAYS
    names = tuple(dict.fromkeys(name.strip().lower() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in WAYS:
            raise UsageError(f"--ways: there is no way {name[:40]!r}; there are {', '.join(WAYS)}")
    if not names:
        raise UsageError("--ways: name at least one, as in --ways android,page")
    if full and names != ("page",):
        raise UsageError("--fetch full is the same as --ways page: give one of the two")
    return names


def read_ytdlp(path: str | None, ways: Sequence[str]) -> YtdlpOptions | None:
    """What `--ytdlp-options` names. Raises UsageError."""
    if path is None:
        return None
    if "yt-dlp" not in ways:
        raise UsageError("--ytdlp-options is for the way yt-dlp, which --ways does not name")
    from engine.youtube.ytdlp_options import read_ytdlp_options

    return read_ytdlp_options(path)


def ways_options(function: F) -> F:
    """`--ways --fetch --mask --no-mask --ytdlp-options`."""
    options = [
        click.option("--ways", metavar="W,…", envvar="ENGINE_WAYS",
                     help=f"Ways to ask YouTube, in this order, of {', '.join(WAYS)}. Without this option all of "
                          "them, and yt-dlp only when nothing else works."),
        click.option("--fetch", "fetch_mode", type=click.Choice(("lean", "full")), default="lean", show_default=True,
                     envvar="ENGINE_FETCH", help="full is the same as --ways page: three requests a video."),
        click.option("--mask", type=MaskType(), envvar="ENGINE_MASK", default="auto", show_default=True,
                     help="Ask only for the fields that are needed, a tenth of the bytes. auto: as long as that "
                          "proves to change nothing. Without a value it is on."),
        click.option("--no-mask", is_flag=True, expose_value=False, help="The same as --mask off."),
        click.option("--ytdlp-options", metavar="FILE", type=LOCAL_PATH, envvar="ENGINE_YTDLP_OPTIONS",
                     help="For the way yt-dlp: a file with --plugin-dirs, --cookies and --extractor-args, as in "
                          "yt-dlp's own configuration. It is not stored in the queue."),
    ]  # fmt: skip
    for add in reversed(options):
        function = add(function)
    return function
