"""The fixtures around the small site of `youtube_site`."""

from site_fixtures import authority, direct, make_door, site  # noqa: F401 - fixtures
