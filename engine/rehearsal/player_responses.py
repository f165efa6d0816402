"""Player answers: videos that play, with their caption tracks, refusals, and the microformat."""

from __future__ import annotations

import datetime

from engine.rehearsal.compressed_bodies import JSON, Body, dumps
from engine.rehearsal.generated_videos import Video

LANGUAGES = {
    "en": "English",
    "de": "German",
    "is": "Icelandic",
    "iw": "Hebrew",
    "cy": "Welsh",
    "en-GB": "English (United Kingdom)",
    "es-419": "Spanish (Latin America)",
    "fr": "French",
    "ja": "Japanese",
    "pt-BR": "Portuguese (Brazil)",
    "zh-Hans": "Chinese (Simplified)",
}
_TRANSLATIONS = ("de", "en", "fr", "ja", "zh-Hans")
_CATEGORIES = ("Education", "Howto & Style", "Music", "People & Blogs", "Science & Technology")
_COUNTRIES = ("AT", "CH", "DE", "FR", "GB", "IS", "JP", "US")
_FIRST = datetime.datetime(2009, 3, 1, 7, 30, tzinfo=datetime.timezone(datetime.timedelta(hours=-8)))


def track(video_id: str, language: str, *, generated: bool, po_token: bool = False) -> dict[str, object]:
    """One entry of `captionTracks`, as the site sends it to ANDROID."""
    name = LANGUAGES[language] + (" (auto-generated)" if generated else "")
    url = (
        f"https://www.youtube.com/api/timedtext?v={video_id}&caps=asr&opi=112496729&hl=en&ip=0.0.0.0&ipbits=0"
        f"&expire=4102444800&sparams=ip,ipbits,expire,v,caps,opi&signature=00.00&key=yt8"
        + ("&kind=asr" if generated else "")
        + ("&exp=xpe" if po_token else "")
        + f"&lang={language}&fmt=srv3"
    )
    found: dict[str, object] = {
        "baseUrl": url,
        "name": {"runs": [{"text": name}]},
        "vssId": ("a." if generated else ".") + language,
        "languageCode": language,
        "isTranslatable": True,
        "trackName": "",
    }
    if generated:
        found["kind"] = "asr"
    return found


def details(video: Video, *, upcoming: bool = False) -> dict[str, object]:
    """`videoDetails` of a player answer."""
    found: dict[str, object] = {
        "videoId": video.video_id,
        "title": video.title,
        "lengthSeconds": str(video.duration_s),
        "keywords": list(video.keywords),
        "channelId": video.channel_id,
        "isOwnerViewing": False,
        "shortDescription": video.description,
        "isCrawlable": True,
        "thumbnail": {
            "thumbnails": [
                {
                    "url": f"https://i.ytimg.com/vi/{video.video_id}/{name}.jpg",
                    "width": width,
                    "height": height,
                }
                for name, width, height in (("default", 120, 90), ("sddefault", 640, 480))
            ]
        },
        "allowRatings": True,
        "viewCount": str(video.view_count),
        "author": video.channel,
        "isPrivate": False,
        "isUnpluggedCorpus": False,
        "isLiveContent": upcoming,
    }
    if upcoming:
        found["isUpcoming"] = True
    return found


def playable_head(shared: dict[str, object]) -> tuple[bytes, bytes]:
    """The beginning of a player answer, with and without captions, from the fields that all videos share.

    The first ends inside `captionTracks`, the second where `videoDetails` may follow.
    """
    rest = dict(shared)
    captions = rest.pop("captions", None)
    rest.pop("videoDetails", None)
    without = dumps(rest)[:-1] + b","
    renderer: dict[str, object] = {}
    if isinstance(captions, dict):
        renderer = dict(captions.get("playerCaptionsTracklistRenderer", {}))
    renderer.pop("captionTracks", None)
    # The recorded indices point into a longer list of tracks than an invented video has. `captions_end` adds others.
    renderer.pop("audioTracks", None)
    renderer.pop("defaultAudioTrackIndex", None)
    renderer.pop("defaultTranslationSourceTrackIndices", None)
    start = dumps(renderer)[:-1] + (b"," if renderer else b"")
    return without + b'"captions":{"playerCaptionsTracklistRenderer":' + start + b'"captionTracks":[', without


SMALL_PLAYER: dict[str, object] = {
    "responseContext": {"visitorData": "rehearsal"},
    "playabilityStatus": {"status": "OK", "playableInEmbed": True},
    "streamingData": {
        "expiresInSeconds": "21540",
        "formats": [
            {
                "itag": 18,
                "url": "https://rehearsal.googlevideo.com/videoplayback?itag=18",
                "mimeType": 'video/mp4; codecs="avc1.42001E, mp4a.40.2"',
                "bitrate": 500000,
                "width": 640,
                "height": 360,
                "quality": "medium",
                "fps": 25,
                "qualityLabel": "360p",
                "audioQuality": "AUDIO_QUALITY_LOW",
                "approxDurationMs": "1200000",
                "audioSampleRate": "44100",
                "audioChannels": 2,
            }
        ],
    },
    "captions": {
        "playerCaptionsTracklistRenderer": {
            "translationLanguages": [
                {"languageCode": code, "languageName": {"runs": [{"text": LANGUAGES[code]}]}}
                for code in _TRANSLATIONS
            ]
        }
    },
}


# Playability in the site's words: (status, reason, second line of the error screen).
REFUSED: dict[str, tuple[str, str, str]] = {
    "unavailable": ("ERROR", "This video is unavailable", ""),
    "private": ("LOGIN_REQUIRED", "This video is private", ""),
    "members": (
        "UNPLAYABLE",
        "This video is available to this channel's members on level: Friend (or any higher level). Join this "
        "channel to get access to members-only content and other exclusive perks.",
        "",
    ),
    "region": (
        "UNPLAYABLE",
        "The uploader has not made this video available in your country",
        "The uploader has not made this video available in your country",
    ),
    "premiere": ("LIVE_STREAM_OFFLINE", "Premieres in 3 hours", ""),
    "kids": ("ERROR", "Video unavailable", ""),
    "not_available": ("UNPLAYABLE", "This video is not available", ""),
    "bot": ("LOGIN_REQUIRED", "Sign in to confirm you’re not a bot", "This helps protect our community. "),
    "later": ("UNPLAYABLE", "This content isn't available, try again later.", ""),
}
_AGE_REASONS = ("This video may be inappropriate for some users.", "Sign in to confirm your age")


def refusal(name: str, video: Video) -> Body:
    """A player answer that refuses the video."""
    if name == "age":
        reason = _AGE_REASONS[video.view_count % 2]
        status, second = "LOGIN_REQUIRED", ""
    else:
        status, reason, second = REFUSED[name]
    playability: dict[str, object] = {"status": status, "reason": reason}
    screen: dict[str, object] = {"reason": {"runs": [{"text": reason}]}}
    if second:
        screen["subreason"] = {"runs": [{"text": second}]}
    playability["errorScreen"] = {"playerErrorMessageRenderer": screen}
    answer: dict[str, object] = {
        "responseContext": {"visitorData": "rehearsal"},
        "playabilityStatus": playability,
    }
    # The site gives the details of a video that it only withholds.
    if name in ("age", "region", "members", "premiere"):
        answer["videoDetails"] = details(video, upcoming=name == "premiere")
    return Body(dumps(answer), JSON)


def twin(video_id: str, name: str) -> dict[str, object]:
    """One of several English tracks that people made, told apart by its name."""
    found = track(video_id, "en", generated=False)
    found["baseUrl"] = f"{found['baseUrl']}&name={name.split()[0][:8]}"
    found["name"] = {"runs": [{"text": f"{LANGUAGES['en']} - {name}"}]}
    found["vssId"] = f".en.{name}"
    found["trackName"] = name
    return found


def tracks(video: Video, fault: str | None, *, hides: bool = False) -> list[dict[str, object]]:
    """The caption tracks of a video with this fault. `hides`: asked by a client that is not shown all."""
    if fault == "no_language":
        language = "is" if video.view_count % 2 else "cy"
        return [track(video.video_id, language, generated=not video.manual)]
    if fault == "dubbed":
        return [track(video.video_id, language, generated=True) for language in ("en", "de")]
    if fault == "polyglot":
        manual = ("de", "en-GB", "es-419", "fr", "ja", "pt-BR", "zh-Hans")
        found = [track(video.video_id, language, generated=False) for language in manual]
        return [*found, track(video.video_id, "en", generated=True)]
    if fault == "twins":
        return [twin(video.video_id, name) for name in ("Director’s cut", "For learners")]
    if fault == "hidden_manual":
        return [track(video.video_id, "en", generated=g) for g in ((True,) if hides else (False, True))]
    tracks = [track(video.video_id, "en", generated=not video.manual, po_token=fault == "po_token")]
    if video.variant % 4 == 0:
        tracks.append(track(video.video_id, "de", generated=False, po_token=fault == "po_token"))
    return tracks


def captions_end(listed: list[dict[str, object]], *, dubbed: bool) -> bytes:
    """What follows `playable_head` with these tracks, up to where `videoDetails` may follow."""
    indices = list(range(len(listed)))
    audio: list[dict[str, object]] = [{"captionTrackIndices": indices, "defaultCaptionTrackIndex": 0}]
    if dubbed:
        audio = [
            {"captionTrackIndices": indices, "audioTrackId": audio_id} for audio_id in ("en-US.10", "de-DE.4")
        ]
    end = b",".join(map(dumps, listed)) + b'],"audioTracks":' + dumps(audio)
    return end + b',"defaultAudioTrackIndex":' + dumps(len(audio) - 1) + b"}},"


def listed_chapters(video: Video) -> str:
    """A description that lists the chapters of the video, as YouTube asks for it: from 0:00, at least three."""
    parts = ("Intro", "How it is made: part 1", "Q & A")
    minutes = (0, 5, 15)
    lines = [f"{m}:00 {part}" for m, part in zip(minutes, parts, strict=True)]
    return "\n".join([video.description, "", *lines, "", "Thank you"])


def around_player(*, marked: bool) -> dict[str, object]:
    """An answer of `/next`: what the watch page shows around the player. `marked`: with chapters on its bar."""
    chapters = [
        {"chapterRenderer": {"title": {"simpleText": title}, "timeRangeStartMillis": start_s * 1000}}
        for start_s, title in ((0, "Opening"), (240, "Found by YouTube"), (700, "Close"))
    ]
    bar = {
        "multiMarkersPlayerBarRenderer": {
            "markersMap": [
                {"key": "HEATSEEKER", "value": {"heatmap": {}}},
                {"key": "AUTO_CHAPTERS", "value": {"chapters": chapters if marked else []}},
            ]
        }
    }
    decorated = {"decoratedPlayerBarRenderer": {"decoratedPlayerBarRenderer": {"playerBar": bar}}}
    return {
        "responseContext": {},
        "contents": {"twoColumnWatchNextResults": {}},
        "playerOverlays": {"playerOverlayRenderer": decorated},
    }


def watch_end(video: Video) -> bytes:
    """The end of a video's watch page, with the dates as the site's own pages have them."""
    dates = microformat(video)["microformat"]["playerMicroformatRenderer"]  # type: ignore[index]
    metas = "".join(
        f'<meta itemprop="{name}" content="{dates[key]}">'
        for name, key in (("datePublished", "publishDate"), ("uploadDate", "uploadDate"))
    )
    return f"<!-- {video.video_id} -->{metas}</body></html>".encode()


def microformat(video: Video) -> dict[str, object]:
    """A player answer to WEB, of which only `microformat` and `playabilityStatus` were requested."""
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
    if video.variant % 4:  # the owner of a video can hide its likes
        renderer["likeCount"] = str(video.view_count // 40)
    return {
        "microformat": {"playerMicroformatRenderer": renderer},
        "playabilityStatus": {"status": "OK", "playableInEmbed": True},
    }
