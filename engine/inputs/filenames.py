"""The id in the name of a file that yt-dlp, youtube-dl or this program wrote.

`Title [ID].en.vtt` and `Title [ID].info.json` are yt-dlp's, `Title-ID.mp4` is youtube-dl's, `ID.md` this program's.
A title may end in a word of eleven letters, so an id is only taken from a name when it looks like none.
"""

from __future__ import annotations

import re

_VIDEO = "mp4|m4v|mkv|webm|flv|avi|mov|3gp|ts|part|ytdl|temp"
_SOUND = "mp3|m4a|aac|ogg|opus|oga|wav|flac|weba|mka"
_WORDS_OF_IT = "vtt|srt|ass|ssa|lrc|ttml|sbv|srv1|srv2|srv3|json3|md|txt"
_ABOUT_IT = "json|description|xml|nfo|url|webloc|desktop|jpg|jpeg|png|webp"
_ENDINGS = frozenset("|".join((_VIDEO, _SOUND, _WORDS_OF_IT, _ABOUT_IT)).split("|"))
"""What such names end in, in small letters."""

# Between the id and the ending: a language (`en-GB-orig`), a format (`f137`), `info`, `live_chat`, `temp`.
_MIDDLE = r"(?:\.(?:live_chat|[A-Za-z0-9]{1,8}(?:-[A-Za-z0-9]{1,8}){0,3})){0,3}"
_TAIL = rf"{_MIDDLE}\.([A-Za-z0-9]{{1,12}})"
_ID = r"([A-Za-z0-9_-]{11})"
_IN_BRACKETS = re.compile(rf"\[{_ID}\]{_TAIL}")
_LAST = re.compile(rf"(?:^|-){_ID}{_TAIL}")
_SEPARATOR = re.compile(r"[/\\]")
_FULL_NAME_CHARS = 1024
# Words (which have a vowel), numbers and sizes one after the other: `Lyric_Video`, `Part2-Final`, `1080p_60fps`.
_WORDS = re.compile(
    r"(?:[_-]*(?:[A-Z]?(?=[a-z]*[aeiouy])[a-z]{2,}|[A-Z]{2,}(?![a-z])|[0-9]+(?:p|i|k|K|bit|fps)?(?![a-zA-Z])|[0-9]{2,}))+[_-]*"
)


def is_media_name(text: str) -> bool:
    """Whether this is the name of a file of such a sort."""
    ending = text.rpartition(".")[2]
    return len(ending) < 12 and ending.lower() in _ENDINGS and "." in text and "://" not in text


def in_file_name(text: str) -> str | None:
    """The id in the name of such a file, with or without its folder; None when there is no certain one."""
    if not is_media_name(text):
        return None
    name = _SEPARATOR.split(text[-_FULL_NAME_CHARS:])[-1]
    # Ids are at the end, and a title may hold brackets and dashes: the last place is the right one.
    places = [*_IN_BRACKETS.finditer(name)] or [*_LAST.finditer(name)]
    for found in reversed(places):
        if found.end() == len(name) and found[2].lower() in _ENDINGS and _is_certain(found[1]):
            return found[1]
    return None


def _is_certain(token: str) -> bool:
    """Whether eleven characters are an id rather than a word of a title."""
    mixed = not (token.islower() or token.isupper()) and any(map(str.isalpha, token))
    return mixed and not _WORDS.fullmatch(token)
