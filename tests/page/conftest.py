"""Fixtures of the tests of the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from page_rig import CHROMIUM


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser, for all tests of a module."""
    from browser_rig import ARGS, sync_api

    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGS))
        yield browser
        browser.close()
