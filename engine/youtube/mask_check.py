"""Whether the mask changed an answer: the player asked for the needed fields only, and asked for all of them.

NewPipe masks other requests on the live site; nobody was seen masking these. So the mask has to prove itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from engine.youtube import player
from engine.youtube.metadata import read_metadata
from engine.youtube.track_choice import spoken_language
from engine.youtube.tracks import list_tracks

_LOOSE = ("view_count", "thumbnail")
# What every answer about a video that plays has: all 12 captured ones that name a video.
REQUIRED = ("videoId", "title", "lengthSeconds", "channelId", "author", "shortDescription", "isLiveContent")


def lacks(answer: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The fields that every answer has and this one lacks. A refusal needs none."""
    if not plays(answer):
        return ()
    details = player.at(answer, "videoDetails")
    return tuple(name for name in REQUIRED if details.get(name) is None)


def plays(answer: Mapping[str, Any] | None) -> bool:
    """Whether an answer does not refuse the video."""
    return bool(player.at(answer, "playabilityStatus").get("status", "OK") == "OK")


def differences(masked: Mapping[str, Any] | None, whole: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The parts of a record, by name, in which two answers about a video differ. Views rise, and the addresses of
    pictures may be signed, so of these only their being there counts."""
    one, two = (read_metadata(player.at(answer, "videoDetails")) for answer in (masked, whole))
    found = [
        field.name
        for field in fields(one)
        if field.name not in _LOOSE and getattr(one, field.name) != getattr(two, field.name)
    ]
    found += [name for name in _LOOSE if (getattr(one, name) is None) != (getattr(two, name) is None)]
    if _shown(masked) != _shown(whole):
        found.append("captions")
    elif spoken_language(masked) != spoken_language(whole):
        found.append("spoken language")
    if _status(masked) != _status(whole):
        found.append("playability")
    return tuple(found)


def _status(answer: Mapping[str, Any] | None) -> object:
    return player.at(answer, "playabilityStatus").get("status")


def _shown(answer: Mapping[str, Any] | None) -> list[tuple[object, ...]]:
    """The tracks, without their addresses, which are signed anew for each answer, and without the languages that
    YouTube translates into, which are in no record."""
    return [
        (track.language, track.language_code, track.is_generated, track.needs_token)
        for track in list_tracks(answer)
    ]
