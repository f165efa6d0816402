import pytest

from engine.budget import Rate, describe, parse_rate
from engine.errors import UsageError


@pytest.mark.parametrize(
    ("text", "per_s"),
    [
        ("0.5", 0.5),
        ("0.5/s", 0.5),
        (" 30/S ", 30.0),
        ("30 / s", 30.0),
        ("60/m", 1.0),
        ("1000/h", 1000 / 3600),
        (".25", 0.25),
        ("1/d", 1 / 86400),
        ("100000", 100000.0),
    ],
)
def test_a_number_is_requests_per_second(text: str, per_s: float) -> None:
    assert parse_rate(text) == Rate("fixed", per_s)


@pytest.mark.parametrize("word", ["none", "auto"])
def test_words(word: str) -> None:
    assert parse_rate(word.upper()) == Rate(word)
    assert str(parse_rate(word)) == word


@pytest.mark.parametrize(
    "text",
    ["", "fast", "-1", "0", "0/s", "1e3", "nan", "inf", "5/w", "1/2/s", "100001", "0.5/d", "٣", "9" * 400],
)
def test_anything_else_is_an_error_for_people(text: str) -> None:
    with pytest.raises(UsageError, match="--rate"):
        parse_rate(text)


def test_the_line_at_the_start_of_a_run() -> None:
    line = describe(parse_rate("0.5"), 1, videos=20_000)
    assert line == "0.5/s on 1 egress at 2 requests a video is 900 videos an hour; 20,000 take 22 h"


@pytest.mark.parametrize(
    ("videos", "takes"),
    [(1, "1 takes 4 s"), (100, "100 take 7 min"), (900, "900 take 60 min"), (10**6, "46 days")],
)
def test_the_time_is_said_in_fitting_units(videos: int, takes: str) -> None:
    assert describe(parse_rate("0.5"), 1, videos=videos).endswith(takes)


def test_egresses_multiply() -> None:
    assert "on 40 egresses at 2 requests a video is 36,000 videos an hour" in describe(parse_rate("0.5"), 40)


@pytest.mark.parametrize("word", ["none", "auto"])
def test_without_a_number_there_is_no_sum(word: str) -> None:
    assert "an hour" not in describe(parse_rate(word), 1, videos=5)
