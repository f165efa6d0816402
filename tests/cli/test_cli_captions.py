"""The options for captions and metadata: what they mean, what they exclude, and what a run says of them."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from engine.budget import BudgetSettings
from engine.budget.rate import Rate
from engine.cli import group
from engine.cli.options import captions
from engine.errors import UsageError
from engine.settings import Frozen, Settings


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--manual-only", "--generated-only"), "exclude each other"),
        (("--all-languages", "--translate", "de"), "give one of them"),
        (("--translate", "any"), "'any' is not a language code"),
        (("--translate", ""), "'' is not a language code"),
        (("-l", "en,../x"), "'../x' is not a language code"),
        (("-l", "all"), "did you mean any (one that there is), or --all-languages"),
        (("-l", "en-UK"), "'en-UK' is not a language code; did you mean en-GB?"),
        (("-l", "xx"), "'xx' is not a language code; write a code such as en, en-GB"),
        (("-l", " , "), "give at least one"),
        (("--metadata", "some"), "'some'"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_made(
    args: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    with pytest.raises((UsageError, click.UsageError)) as told:
        # Should it be accepted after all, its run finds nobody at this proxy and ends.
        nobody = ["--proxy", "http://127.0.0.1:9", "--attempts", "1", "--max-duration", "1s"]
        group.main(["run", "dQw4w9WgXcQ", "-q", str(tmp_path / "q"), *nobody, *args], standalone_mode=False)
    assert words in str(told.value)
    assert not (tmp_path / "q").exists()


def test_words_of_options() -> None:
    assert captions.parse_languages(" en , de,en,orig") == ("en", "de", "orig")
    assert captions.parse_translation(" zh-Hans ", all_languages=False) == "zh-Hans"
    assert captions.parse_translation(None, all_languages=True) is None
    assert captions.caption_source(manual_only=True, generated_only=False) == "manual"
    with pytest.raises(UsageError, match="exclude"):
        captions.caption_source(manual_only=True, generated_only=True)


def test_an_ordinary_run_has_nothing_to_say() -> None:
    assert list(captions.cost_notices(Settings("q", Frozen("/out"), (), BudgetSettings(Rate("none"))))) == []
