"""A newcomer's first minute: the page is opened, three links are pasted, a transcript is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from browser_rig import first_minute, needs_chromium
from warm import start as start_rehearsal

from engine.rehearsal import RehearsalSettings

pytestmark = needs_chromium


def test_two_clicks_lead_from_the_command_to_a_transcript(tmp_path: Path, chromium: Any) -> None:
    """Start, and a title. How many seconds that takes is what `scripts/bench page` says."""
    with start_rehearsal(RehearsalSettings()) as site:
        clicks, _ = first_minute(chromium, site, tmp_path)
    assert clicks == 2
