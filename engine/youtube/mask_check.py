"""Whether the mask changed an answer: the player asked for the needed fields only, and asked for all of them.

NewPipe masks other requests on the live site; nobody was seen masking these. So the mask has to prove itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from engine.youtube import player
from engine.youtube.metadata import read_metadata
from engine.youtube.track_choice import spoken_language
from engine.youtube.tracks import list_tracks

# What every answer about a video that plays has: all 12 captured ones that name a video.
REQUIRED = ("videoId", "title", "lengthSeconds", "channelId", "author", "shortDescription", "isLiveContent")


def lacks(answer: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The fields that every answer has and this one lacks. A refusal needs none."""
    if player.at(answer, "playabilityStatus").get("status", "OK") != "OK":
        return ()
    details = player.at(answer, "videoDetails")
    return tuple(name for name in REQUIRED if name not in details)


def differences(masked: Mapping[str, Any] | None, whole: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The parts of a record, by name, in which two answers about a video differ. Views rise, so they do not count."""
    one, two = (
        replace(read_metadata(player.at(answer, "videoDetails")), view_count=None)
        for answer in (masked, whole)
    )
    found = [field.name for field in fields(one) if getattr(one, field.name) != getattr(two, field.name)]
    if _views(masked) != _views(whole):
        found.append("view_count")
    if _shown(masked) != _shown(whole):
        found.append("captions")
    elif spoken_language(masked) != spoken_language(whole):
        found.append("spoken language")
    if _status(masked) != _status(whole):
        found.append("playability")
    return tuple(found)


def _views(answer: Mapping[str, Any] | None) -> bool:
    return "viewCount" in player.at(answer, "videoDetails")


def _status(answer: Mapping[str, Any] | None) -> object:
    return player.at(answer, "playabilityStatus").get("status")


def _shown(answer: Mapping[str, Any] | None) -> list[tuple[object, ...]]:
    """The tracks, without their addresses, which are signed anew for each answer, and without the languages that
    YouTube translates into, which are in no record."""
    return [
        (track.language, track.language_code, track.is_generated, track.needs_token)
        for track in list_tracks(answer)
    ]
