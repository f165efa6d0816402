"""Options about captions that commands share, what those about captions and metadata mean, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeVar

import click

from engine.errors import UsageError
from engine.settings import Settings
from engine.youtube.language_codes import check_code, nearest

F = TypeVar("F", bound=Callable[..., Any])


def languages_option(help: str) -> Callable[[F], F]:
    """`-l/--languages`, as many values."""
    return click.option(
        "-l",
        "--languages",
        metavar="L,…",
        multiple=True,
        default=("en",),
        show_default=True,
        envvar="ENGINE_LANGUAGES",
        help=help,
    )


def source_options(function: F) -> F:
    """`--manual-only` and `--generated-only`."""
    for option in (
        click.option("--generated-only", is_flag=True, help="Only generated captions."),
        click.option("--manual-only", is_flag=True, help="Only captions written by people."),
    ):
        function = option(function)
    return function


def parse_languages(text: str) -> tuple[str, ...]:
    """`--languages` as codes in order, each once. Raises UsageError."""
    codes = tuple(dict.fromkeys(code.strip() for code in text.split(",") if code.strip()))
    for code in codes:
        if not _is_code(code):
            meant = nearest(code)
            hint = f"; did you mean {meant}?" if meant else " such as en, en-GB, any or orig"
            raise UsageError(f"--languages: {code[:40]!r} is not a language code{hint}")
        check_code(code, "--languages")
    if not codes:
        raise UsageError("--languages: give at least one, as in -l en,de")
    return codes


def parse_translation(text: str | None, *, all_languages: bool) -> str | None:
    """`--translate` as a code. Raises UsageError."""
    if text is None:
        return None
    code = text.strip()
    if not _is_code(code) or code.lower() in ("any", "orig"):
        raise UsageError(f"--translate: {text!r} is not a language code such as en or zh-Hans")
    check_code(code, "--translate")
    if all_languages:
        raise UsageError(
            "--all-languages takes the captions there are, --translate makes others: give one of them"
        )
    return code


def caption_source(*, manual_only: bool, generated_only: bool) -> Literal["any", "manual", "generated"]:
    """`--manual-only` and `--generated-only` as one word. Raises UsageError."""
    if manual_only and generated_only:
        raise UsageError(
            "--manual-only and --generated-only exclude each other: leave both out to take either"
        )
    return "manual" if manual_only else "generated" if generated_only else "any"


def cost_notices(settings: Settings) -> Iterator[str]:
    """Sentences for the start of a run about options that cost more or are untried."""
    frozen = settings.frozen
    if frozen.metadata == "full":
        yield (
            f"--metadata full: up to {settings.requests_per_video} requests a video; "
            "a video whose metadata cannot be fetched is tried again and fails in the end"
        )
    if frozen.all_languages:
        yield "--all-languages: each further track of a video is one more request"
    if frozen.translate is not None:
        yield (
            f"warning: --translate {frozen.translate}: YouTube refuses nearly all translated captions (429); "
            "a refused video fails at once as `translation_refused`, and the run goes on"
        )
    if settings.mask == "on":
        yield "warning: --mask on: nothing checks whether it changes the answers; auto does"


def _is_code(text: str) -> bool:
    return bool(text) and all(part.isalnum() for part in text.split("-"))
