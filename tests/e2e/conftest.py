"""What the end-to-end tests share."""

from nights import _nights, night, place  # noqa: F401 - fixtures
