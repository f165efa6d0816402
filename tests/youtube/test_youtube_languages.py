"""Codes that mean the same language, and codes that must not be mixed up."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.youtube.languages import NEAR_VARIANT, SAME_CODE, SAME_LANGUAGE, VARIANT, base, match

SAME = [
    ("he", "iw"), ("id", "in"), ("yi", "ji"), ("jv", "jw"), ("no", "nb"), ("fil", "tl"), ("ro", "mo"),
    ("sh", "sr-Latn"), ("zh-Hans", "zh-CN"), ("zh-Hans", "zh"), ("zh-Hant", "zh-TW"), ("cmn", "zh"),
    ("cmn-Hans", "zh-CN"), ("yue", "yue-Hant"), ("sr", "sr-Cyrl"), ("zsm", "ms"), ("EN", "en"), ("eng", "en"),
    ("iw-IL", "he-IL"),
]  # fmt: skip
WIDER = [
    ("en", "en-GB"), ("pt", "pt-PT"), ("es", "es-419"), ("fr", "fr-CA"), ("zh", "zh-TW"), ("zh", "zh-HK"),
    ("zh-Hant", "zh-HK"), ("sr", "sr-Latn"), ("de", "de-AT"), ("en", "en-eEY6OEpapPo"),
    ("he", "iw-eEY6OEpapPo"), ("he", "iw-IL"), ("en", "en-US"), ("pt", "pt-BR"), ("zh", "zh-CN"),
    ("no", "nb-SJ"), ("uz", "uz-Cyrl"), ("zh-HK", "zh-Hant"),
]  # fmt: skip
OTHER = [
    ("en", "de"), ("en", "cy"), ("en", "ta"), ("en", "und"), ("en", "zxx"), ("en", "enm"), ("en", "english"),
    ("zh-Hans", "zh-Hant"), ("zh-CN", "zh-TW"), ("zh-TW", "zh-HK"), ("zh", "yue"), ("yue", "zh-HK"),
    ("sr-Latn", "sr"), ("pt-PT", "pt-BR"), ("pt-BR", "pt-PT"), ("en-GB", "en-US"), ("en-GB", "en"),
    ("pt-PT", "pt"), ("es-MX", "es-419"), ("no", "nn"), ("no", "da"), ("hr", "sr-Latn"), ("id", "ms"),
    ("in", "it"), ("mni-Mtei", "mni-Beng"), ("ko", "kok"), ("en-eEY6OEpapPo", "en"), ("tl", "tlh"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "two"), SAME)
def test_the_same_language_by_either_code(one: str, two: str) -> None:
    assert match(one, two) in (SAME_CODE, SAME_LANGUAGE)
    assert match(two, one) in (SAME_CODE, SAME_LANGUAGE)
    assert base(one) == base(two)


@pytest.mark.parametrize(
    ("wanted", "offered"), [("pt-BR", "pt"), ("en-US", "en"), ("zh-CN", "zh"), ("iw-IL", "he")]
)
def test_a_country_s_code_takes_the_plain_one_where_cldr_says_it_means_that_country(
    wanted: str, offered: str
) -> None:
    assert match(wanted, offered) == SAME_LANGUAGE


@pytest.mark.parametrize(("wanted", "offered"), WIDER)
def test_a_language_takes_its_variants(wanted: str, offered: str) -> None:
    assert match(wanted, offered) in (NEAR_VARIANT, VARIANT)


@pytest.mark.parametrize(("wanted", "offered"), OTHER)
def test_another_language_or_country_is_not_taken(wanted: str, offered: str) -> None:
    assert match(wanted, offered) is None


def test_the_very_code_comes_before_the_same_language_before_variants() -> None:
    ranks = [match("zh", code) for code in ("zh", "zh-Hans", "zh-CN", "zh-Hant")]
    assert ranks == sorted(ranks) == [SAME_CODE, SAME_LANGUAGE, NEAR_VARIANT, VARIANT]


codes = st.sampled_from(sorted({*itertools.chain(*SAME, *WIDER, *OTHER)})) | st.text(
    "abehiwnz-HTxt19", max_size=50
)


@given(codes, codes)
def test_any_code_has_an_answer(one: str, two: str) -> None:
    assert (match(one, two) == SAME_CODE) == (one.lower() == two.lower())
    assert match(one, one) == SAME_CODE
    if match(one, two) == SAME_LANGUAGE:
        assert match(two, one) is not None
    if match(one, two) is not None:
        assert base(one) == base(two) or two.lower().startswith(one.lower() + "-")
