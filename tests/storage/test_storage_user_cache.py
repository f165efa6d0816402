"""Where the user's cache is."""

from __future__ import annotations

import pytest

from engine.storage.user_cache import user_cache


@pytest.mark.parametrize(
    ("variable", "path"),
    [
        ("/var/cache/me", "/var/cache/me/engine/x/y"),
        ("", "/home/me/.cache/engine/x/y"),
        ("relative", "/home/me/.cache/engine/x/y"),
    ],
)
def test_the_users_cache(monkeypatch: pytest.MonkeyPatch, variable: str, path: str) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", variable)
    monkeypatch.setenv("HOME", "/home/me")
    assert user_cache("x", "y") == path
