"""Chooses the wanted caption tracks of a video, or says why none fits.

Within a language, captions made by people come before generated ones, and the language itself before its variants.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from engine.model import Failure, Kind
from engine.network.answer import FailureError
from engine.youtube.languages import base, match
from engine.youtube.messages import clean
from engine.youtube.player import captions as captions_of
from engine.youtube.player import items
from engine.youtube.tracks import Track

ANY, ORIG = "any", "orig"
Captions = Literal["any", "manual", "generated"]
_KIND_OF = {"any": "captions", "manual": "captions made by people", "generated": "generated captions"}
_ORIGINAL = ".4"  # ends the id of the audio track as recorded; dubbed ones end in 3 or 10 ("en-US.10")


@dataclass(frozen=True, slots=True)
class Wanted:
    """`languages` in order of preference: codes, `any`, `orig` (the spoken language). `captions` is who made them.

    `translate` asks for captions in this language if there are any, else for a translation of the first wanted ones.
    """

    languages: tuple[str, ...] = ("en",)
    captions: Captions = "any"
    translate: str | None = None


class OnlyGeneratedError(FailureError):
    """Nothing wanted is there, and all that is listed is generated.

    Clients of phones hide some tracks that people made (youtube-transcript-api's issue 609), so another client may
    list one.
    """


class Chosen(NamedTuple):
    """A track to read. `translated_from` is the code of the captions that YouTube translates for it, or None."""

    track: Track
    translated_from: str | None = None


def choose(tracks: Sequence[Track], wanted: Wanted, spoken: str | None = None) -> Chosen:
    """The best track of the first wanted language that the video has, or its translation if one is wanted.

    A wanted `en` takes `en`, else its variants (`en-GB`, `en-US`). Old and new codes of a language are the same
    (`he` and `iw`), and so are those with the same meaning in CLDR (`zh-CN` and `zh-Hans`). `any` takes whatever
    exists, the spoken language first if it is known. Raises FailureError (no_language) that names what exists.
    """
    fitting = [t for t in tracks if _made_as(t, wanted.captions)]
    if wanted.translate is None:
        found = _first(fitting, wanted.languages, spoken)
        if found is None:
            raise _none_fits(tracks, wanted, _missing(tracks, wanted, spoken))
        return Chosen(found)
    real = _of_language(fitting, wanted.translate.lower(), spoken)
    return Chosen(real) if real else _translated(tracks, fitting, wanted, spoken)


def ranked(tracks: Sequence[Track], wanted: Wanted, spoken: str | None = None) -> list[Track]:
    """All tracks whose maker is wanted, first the one that `choose` would take.

    Raises FailureError (no_language) when there are none.
    """
    best = choose(tracks, Wanted((*wanted.languages, ANY), wanted.captions), spoken).track
    return [best, *(t for t in tracks if t is not best and _made_as(t, wanted.captions))]


def spoken_language(player: Mapping[str, Any] | None) -> str | None:
    """The code of the language spoken in a video, or None if its player answer does not tell.

    1. The language of the generated captions, if there is one: YouTube generates them from the sound. Not when an
       audio track as recorded is in another language: then they are generated from a dubbed one.
    2. For a dubbed video, or without generated captions: the language in the id of the original audio track
       (`pt-BR.4`), else of the default one.
    3. Audio tracks without ids mean that there is only one: then the language of the captions, if there is one.

    `defaultCaptionTrackIndex` does not help: it is the track shown first, which may be a translation.
    """
    renderer = captions_of(player)
    listed = [t for t in items(renderer.get("captionTracks")) if isinstance(t.get("languageCode"), str)]
    generated = {t["languageCode"] for t in listed if t.get("kind") == "asr"}
    audio = items(renderer.get("audioTracks"))
    ids = [str(a.get("audioTrackId") or "") for a in audio]
    recorded = {base(each.partition(".")[0]) for each in ids if each.endswith(_ORIGINAL)}
    if len(generated) == 1 and (not recorded or base(*generated) in recorded):
        return str(generated.pop())
    default = renderer.get("defaultAudioTrackIndex")
    if isinstance(default, int) and 0 <= default < len(ids):
        ids.insert(0, ids[default])
    ids.sort(key=lambda audio_id: not audio_id.endswith(_ORIGINAL))
    if len(audio) and ids[0]:
        return ids[0].partition(".")[0]
    languages = {t["languageCode"] for t in listed}
    return str(languages.pop()) if len(languages) == 1 else None


def named_twins(tracks: Sequence[Track], taken: Track) -> str | None:
    """What to say of further tracks in the same language and of the same maker as the one taken; None without any.

    People make several (for learners, of a director's cut), which only their names tell apart. The first in the
    player's list is taken.
    """
    twins = [
        t
        for t in tracks
        if t is not taken
        and (t.language_code, t.is_generated) == (taken.language_code, taken.is_generated)
        and t.language != taken.language
    ]
    if taken.is_generated or not twins:
        return None
    others = ", ".join(dict.fromkeys(repr(clean(t.language, 60)) for t in twins))
    return clean(f"took {clean(taken.language, 60)!r}; the video has also {others}, see --all-languages")


def _none_fits(tracks: Sequence[Track], wanted: Wanted, message: str) -> FailureError:
    failure = Failure(Kind.NO_LANGUAGE, message)
    if tracks and wanted.captions != "generated" and all(t.is_generated for t in tracks):
        return OnlyGeneratedError(failure)
    return FailureError(failure)


def _made_as(track: Track, captions: Captions) -> bool:
    return captions == "any" or track.is_generated == (captions == "generated")


def _first(tracks: Sequence[Track], languages: Iterable[str], spoken: str | None) -> Track | None:
    for language in languages:
        track = _of_language(tracks, language.lower(), spoken)
        if track is not None:
            return track
    return None


def _of_language(tracks: Sequence[Track], language: str, spoken: str | None) -> Track | None:
    if language == ANY:
        known = {spoken} if spoken else {t.language_code for t in tracks if t.is_generated}
        bases = {base(code) for code in known}
        return min(tracks, key=lambda t: (t.is_generated, base(t.language_code) not in bases), default=None)
    if language == ORIG:
        # The audio track is `pt-BR`, while the captions generated from it are `pt`.
        same = [t for t in tracks if spoken and base(t.language_code) == base(spoken)]
        return min(same, key=lambda t: (t.is_generated, t.language_code != spoken), default=None)
    fitting = [
        (t.is_generated, rank, n)
        for n, t in enumerate(tracks)
        if (rank := match(language, t.language_code)) is not None
    ]
    return tracks[min(fitting)[2]] if fitting else None


def _translated(
    tracks: Sequence[Track], fitting: Sequence[Track], wanted: Wanted, spoken: str | None
) -> Chosen:
    """The translation of the first wanted track that YouTube translates."""
    target = str(wanted.translate)
    into = {
        id(t): code
        for t in fitting
        if (code := _offered([language.language_code for language in t.translation_languages], target))
        is not None
    }
    source = _first([t for t in fitting if id(t) in into], wanted.languages, spoken)
    if source is None:
        if _first(fitting, wanted.languages, spoken) is None:
            raise _none_fits(tracks, wanted, _missing(tracks, wanted, spoken))
        message = f"no captions in {target}, and YouTube does not translate these into it; {_exists(tracks)}"
        raise FailureError(Failure(Kind.NO_LANGUAGE, clean(message)))
    return Chosen(source.translate(into[id(source)]), source.language_code)


def _offered(codes: Sequence[str], target: str) -> str | None:
    """The offered code that fits the target best: the same, else a variant (`zh-Hans` for `zh`)."""
    fits = [(rank, n) for n, code in enumerate(codes) if (rank := match(target, code)) is not None]
    return codes[min(fits)[1]] if fits else None


def _missing(tracks: Sequence[Track], wanted: Wanted, spoken: str | None) -> str:
    languages = [wanted.translate] if wanted.translate else []
    languages += (
        f"{ORIG} ({spoken or 'unknown'})" if language == ORIG else language for language in wanted.languages
    )
    return clean(f"no {_KIND_OF[wanted.captions]} in {', '.join(languages)}; {_exists(tracks)}")


def _exists(tracks: Sequence[Track]) -> str:
    shown = (f"{t.language_code} (generated)" if t.is_generated else t.language_code for t in tracks)
    return f"exists: {', '.join(dict.fromkeys(shown)) or 'none'}"
