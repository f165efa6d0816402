"""Says which language codes mean the same language: old and new codes, scripts and regions, by CLDR's tables.

YouTube writes `iw` for Hebrew, others `he`; `zh-CN` is `zh-Hans` and `zh-TW` is `zh-Hant`. The tables are those of
`langcodes`. Two rules are left out on purpose: related languages (for CLDR, English may replace Welsh), and taking
one country's variant for another's (`en-GB` is not `en-US`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

MAX_CHARS = 35  # RFC 5646, 4.4.1: room for any code that means something
SAME_CODE, SAME_LANGUAGE, NEAR_VARIANT, VARIANT = range(4)
_SPELLINGS = {"nb": "no"}  # CLDR: Norwegian means Bokmål


@dataclass(frozen=True, slots=True)
class _Meaning:
    """The parts of a code. `script` and `region` are as written, the `full_` ones include the likely defaults."""

    language: str
    script: str | None
    region: str | None
    full_script: str | None
    full_region: str | None
    has_more: bool  # a variant, or the name that YouTube gives to a second track of a language


def match(wanted: str, offered: str) -> int | None:
    """How well an offered code fits a wanted one, 0 best; None when it is another language.

    0 the same code, 1 another code for the same language, 2 a variant in the wanted language's usual script, 3 any
    other variant.
    """
    wanted, offered = wanted.lower(), offered.lower()
    if wanted == offered:
        return SAME_CODE
    want, have = _meaning(wanted), _meaning(offered)
    if want is None or have is None:
        return VARIANT if offered.startswith(wanted + "-") else None
    if want.language != have.language or want.has_more:
        return None
    same_script = want.full_script == have.full_script
    if same_script and want.full_region == have.full_region:
        narrower = have.region is not None and want.region is want.script is None
        return NEAR_VARIANT if have.has_more or narrower else SAME_LANGUAGE
    if want.region is None:
        if want.script is None or same_script:
            return NEAR_VARIANT if same_script else VARIANT
    elif same_script and have.region is None and have.script is not None:
        return VARIANT  # zh-HK: zh-Hant is written for all regions
    return None


def base(code: str) -> str:
    """The language without script and region, as a current code."""
    found = _meaning(code.lower())
    return found.language if found else code.lower().partition("-")[0]


@lru_cache(maxsize=1024)
def _meaning(code: str) -> _Meaning | None:
    """The parts of a code in lower case; None when it is not a language code."""
    from langcodes import Language, standardize_tag  # late: its tables are a few megabytes

    parts = code[:MAX_CHARS].replace("_", "-").split("-")
    if not 2 <= len(parts[0]) <= 3 or not parts[0].isascii():
        return None
    kept = len(parts)
    while kept:
        try:
            tag = Language.get(standardize_tag("-".join(parts[:kept]), macro=True))
            full = tag.maximize()
        except (ValueError, LookupError, AttributeError):
            kept -= 1  # `en-eEY6OEpapPo`: YouTube's name for one of several tracks
            continue
        language = _SPELLINGS.get(str(tag.language), str(tag.language))
        if language == "und" or tag.language is None:
            return None
        has_more = kept < len(parts) or bool(tag.variants or tag.extensions or tag.private or tag.extlangs)
        return _Meaning(language, tag.script, tag.territory, full.script, full.territory, has_more)
    return None
