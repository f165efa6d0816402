"""Checks whether a word is the code of a language, and finds the code that was probably meant."""

from __future__ import annotations

import difflib

from engine.errors import UsageError

SPECIAL = ("any", "orig")
_NO_LANGUAGE = frozenset({"all", "mis", "mul", "und", "zxx"})
"""Codes that stand for none or many; `all` is yt-dlp's word for every track (and the code of Allar)."""
_NO_COUNTRY = frozenset({"XA", "XB", "XX", "ZZ"})
"""Codes of countries that stand for none."""


def check_code(code: str, option: str) -> None:
    """Raise UsageError for a word that is no language's code, naming the one that was probably meant.

    The language is checked, and two letters behind it, which are a country (`en-UK` is none). Anything else there may
    be YouTube's own, as in `en-eEY6OEpapPo`.
    """
    if code.lower() in _NO_LANGUAGE:
        hint = "did you mean any (one that there is), or --all-languages (every one)?"
        raise UsageError(f"{option}: {code[:40]!r} is no single language; {hint}")
    country_fits = _country_fits(code)
    if code.lower() in SPECIAL or (country_fits and (_known(code.partition("-")[0]) or _known(code))):
        return
    meant = nearest(code) if country_fits else _other_country(code)
    hint = f"did you mean {meant}?" if meant else "write a code such as en, en-GB or zh-Hans, or any or orig"
    raise UsageError(f"{option}: {code[:40]!r} is not a language code; {hint}")


def nearest(word: str) -> str | None:
    """The code for a language's name (in any language), a country's code, or a word close to an English name."""
    import langcodes
    from langcodes.data_dicts import LANGUAGE_ALPHA3  # the languages that have codes of two letters

    name = word.strip().replace("_", "-")
    if _known(name):
        return langcodes.standardize_tag(name)
    name = name.replace("-", " ")
    country = name.upper()
    if (
        len(country) == 2
        and country not in _NO_COUNTRY
        and langcodes.Language.make(territory=country).is_valid()
    ):
        language = langcodes.Language.make(territory=country).maximize().language
        if language and language != "und":
            usual = langcodes.Language.make(language=language).maximize().territory == country
            return language if usual else f"{language}-{country}"
    try:
        return str(langcodes.find(name))
    except LookupError:
        names = {langcodes.Language.get(code).display_name().lower(): code for code in LANGUAGE_ALPHA3}
        near = difflib.get_close_matches(name.lower(), names, 1, 0.75)
        return names[near[0]] if near else None


def _country_fits(code: str) -> bool:
    """Whether what follows the language, where it is two letters, is a country's code."""
    country = code.partition("-")[2].upper()
    if len(country) != 2 or not country.isascii() or not country.isalpha():
        return True
    import langcodes

    return country not in _NO_COUNTRY and langcodes.Language.make(territory=country).is_valid()


def _other_country(code: str) -> str | None:
    """The code that was meant by one whose country does not exist: with the right country, or the language alone."""
    import langcodes

    language = code.partition("-")[0]
    if not _known(language):
        return None
    meant = str(langcodes.standardize_tag(code))
    return meant if _country_fits(meant) else language.lower()


def _known(code: str) -> bool:
    """Whether a code begins with a language that exists (ISO 639, old codes included)."""
    if code == "en":  # the default, for which most commands need not read the tables
        return True
    import langcodes

    if not code.isascii() or len(code) > 35:  # RFC 5646, 4.4.1: no code that means something is longer
        return False
    try:
        return langcodes.Language.make(language=langcodes.Language.get(code).language).is_valid()
    except (ValueError, LookupError):
        return False
