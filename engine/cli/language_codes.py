"""Whether a word on the command line is a language's code, and which code was meant when it is none."""

from __future__ import annotations

import difflib

from engine.errors import UsageError

SPECIAL = ("any", "orig")


def check_code(code: str, option: str) -> None:
    """Raise UsageError for what is no language's code, naming the one that was probably meant.

    Only the language is judged: what follows it (`en-GB`, `zh-Hans`) may be YouTube's own, as in `en-eEY6OEpapPo`.
    """
    if code.lower() in SPECIAL or _known(code.partition("-")[0]) or _known(code):
        return
    meant = nearest(code)
    hint = f"did you mean {meant}?" if meant else "write a code such as en, en-GB or zh-Hans, or any or orig"
    raise UsageError(f"{option}: {code[:40]!r} is not a language code; {hint}")


def nearest(word: str) -> str | None:
    """The code of what is a language's name (in any language), a country's code, or close to an English name."""
    import langcodes
    from langcodes.data_dicts import LANGUAGE_ALPHA3  # the languages that have codes of two letters

    name = word.strip().replace("_", "-")
    if _known(name):
        return langcodes.standardize_tag(name)
    name = name.replace("-", " ")
    country = name.upper()
    if len(country) == 2 and langcodes.Language.make(territory=country).is_valid():
        language = langcodes.Language.make(territory=country).maximize().language
        if language and language != "und":
            usual = langcodes.Language.make(language=language).maximize().territory == country
            return language if usual else f"{language}-{country}"
    try:
        return str(langcodes.find(name))
    except LookupError:
        names = {langcodes.Language.get(its).display_name().lower(): its for its in LANGUAGE_ALPHA3}
        near = difflib.get_close_matches(name.lower(), names, 1, 0.75)
        return names[near[0]] if near else None


def _known(code: str) -> bool:
    """Whether a code begins with a language that there is (ISO 639, old codes included)."""
    import langcodes

    if not code.isascii() or len(code) > 35:  # RFC 5646, 4.4.1: no code that means something is longer
        return False
    try:
        return langcodes.Language.make(language=langcodes.Language.get(code).language).is_valid()
    except (ValueError, LookupError):
        return False
