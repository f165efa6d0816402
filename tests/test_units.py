"""Amounts: what people write, and what is refused with the option's name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.units import parse_bytes, parse_duration_s, parse_price_per_gb


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1), ("123456", 123456), ("500M", 500 * 10**6), ("500mb", 500 * 10**6), ("50G", 50 * 10**9),
        ("1.5T", 15 * 10**11), (".5k", 500), (" 2 GB ", 2 * 10**9), ("10B", 10),
    ],
)  # fmt: skip
def test_sizes_are_decimal(text: str, size: int) -> None:
    assert parse_bytes(text, "--max-bytes") == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90), ("30m", 1800), ("8h", 28800), ("8h30m", 30600), ("1d12h", 129600), ("1.5h", 5400),
        (" 1H1M1S ", 3661),
    ],
)  # fmt: skip
def test_times(text: str, seconds: float) -> None:
    assert parse_duration_s(text, "--max-duration") == seconds


@pytest.mark.parametrize(
    ("text", "price"), [("4/GB", 4), ("4", 4), ("0.004/MB", 4), ("4000 / tb", 4), ("0", 0)]
)
def test_prices(text: str, price: float) -> None:
    assert parse_price_per_gb(text, "--price") == pytest.approx(price)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        *(
            (parse_bytes, text)
            for text in ("", "G", "-5M", "5X", "5 5M", "0", "0.1", "nan", "inf", "1e9", "٣M")
        ),
        *((parse_duration_s, text) for text in ("", "8", "h", "30m8h", "-5m", "0s", "5x", "8h 30m", "inf")),
        *((parse_price_per_gb, text) for text in ("", "4$", "$4/GB", "4/KB", "-4", "4/", "nan")),
        *((parse, "9" * 5000) for parse in (parse_bytes, parse_duration_s, parse_price_per_gb)),
    ],
)
def test_what_is_no_amount_is_refused_by_name(parse: Callable[[str, str], float], text: str) -> None:
    with pytest.raises(UsageError, match="--its-option") as caught:
        parse(text, "--its-option")
    assert len(str(caught.value)) < 200


@given(st.text(max_size=60))
def test_any_text_is_an_amount_or_a_usage_error(text: str) -> None:
    for parse in (parse_bytes, parse_duration_s, parse_price_per_gb):
        with contextlib.suppress(UsageError):
            assert parse(text, "--x") >= 0


@given(st.integers(0, 9), st.integers(0, 99), st.integers(0, 99), st.integers(1, 99))
def test_a_time_is_the_sum_of_its_parts(days: int, hours: int, minutes: int, seconds: int) -> None:
    text = f"{days}d{hours}h{minutes}m{seconds}s"
    assert parse_duration_s(text, "--x") == ((days * 24 + hours) * 60 + minutes) * 60 + seconds
