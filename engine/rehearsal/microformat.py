"""What the player tells the WEB client of a video beside its details: dates, category, likes, countries."""

from __future__ import annotations

import datetime

from engine.rehearsal.generated_videos import Video

_CATEGORIES = ("Education", "Howto & Style", "Music", "People & Blogs", "Science & Technology")
_COUNTRIES = ("AT", "CH", "DE", "FR", "GB", "IS", "JP", "US")
_FIRST = datetime.datetime(2009, 3, 1, 7, 30, tzinfo=datetime.timezone(datetime.timedelta(hours=-8)))


def microformat(video: Video) -> dict[str, object]:
    """A player answer of which only `microformat` and `playabilityStatus` were asked for."""
    uploaded = _FIRST + datetime.timedelta(days=video.view_count % 5000)
    renderer: dict[str, object] = {
        "title": {"simpleText": video.title},
        "description": {"simpleText": video.description},
        "lengthSeconds": str(video.duration_s),
        "ownerChannelName": video.channel,
        "externalChannelId": video.channel_id,
        "externalVideoId": video.video_id,
        "isFamilySafe": True,
        "availableCountries": list(_COUNTRIES[: 1 + video.variant % len(_COUNTRIES)]),
        "isUnlisted": False,
        "viewCount": str(video.view_count),
        "category": _CATEGORIES[video.variant % len(_CATEGORIES)],
        "publishDate": (uploaded + datetime.timedelta(hours=5)).isoformat(),
        "uploadDate": uploaded.isoformat(),
    }
    if video.variant % 4:  # whoever made the video may hide them
        renderer["likeCount"] = str(video.view_count // 40)
    return {
        "microformat": {"playerMicroformatRenderer": renderer},
        "playabilityStatus": {"status": "OK", "playableInEmbed": True},
    }
