"""The fixtures around the small site of `youtube_site`."""

from site_fixtures import authority, direct, make_client, site  # noqa: F401 - fixtures
