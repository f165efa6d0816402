from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import json_values
from youtube_site import player

from engine.model import Kind
from engine.youtube.messages import SESSION_LIMIT_S, clean, failure_from, kind_of
from engine.youtube.player import refusal

WORDS = [
    ("Sign in to confirm you’re not a bot", Kind.BLOCKED),
    ("Sign in to confirm you're not a bot", Kind.BLOCKED),
    ("Sign in to confirm youʼre  NOT a Bot. This helps protect our community.", Kind.BLOCKED),
    ("This content isn't available, try again later.", Kind.BLOCKED),
    ("Video unavailable. This content isn’t available, try again later.", Kind.BLOCKED),
    ("The current session has been rate-limited by YouTube for up to an hour.", Kind.BLOCKED),
    ("This video is private", Kind.PRIVATE),
    ("Private video. Sign in if you've been granted access to this video", Kind.PRIVATE),
    ("This video is only available to Music Premium members", Kind.MEMBERS_ONLY),
    (
        "This video is available to this channel's members on level: Gold (or any higher level).",
        Kind.MEMBERS_ONLY,
    ),
    ("Join this channel to get access to members-only content like this video", Kind.MEMBERS_ONLY),
    ("This video requires payment to watch.", Kind.MEMBERS_ONLY),
    ("The uploader has not made this video available in your country", Kind.REGION_BLOCKED),
    ("Video unavailable. This video is not available in your country", Kind.REGION_BLOCKED),
    (
        "Video unavailable. It contains content from X, who has blocked it in your country",
        Kind.REGION_BLOCKED,
    ),
    ("This video may be inappropriate for some users.", Kind.AGE_RESTRICTED),
    ("Sign in to confirm your age", Kind.AGE_RESTRICTED),
    ("Premieres in 14 hours", Kind.NOT_YET),
    ("This live event will begin in 3 days.", Kind.NOT_YET),
    ("We're processing this video. Check back later.", Kind.NOT_YET),
    ("This video is unavailable", Kind.UNAVAILABLE),
    ("Video unavailable", Kind.UNAVAILABLE),
    ("This video isn't available anymore", Kind.UNAVAILABLE),
    ("This video has been removed by the uploader", Kind.UNAVAILABLE),
    ("This video has been removed for violating YouTube's Terms of Service", Kind.UNAVAILABLE),
    ("This video is no longer available because the YouTube account has been terminated.", Kind.UNAVAILABLE),
    ("This live stream recording is not available.", Kind.UNAVAILABLE),
    ("An error occurred. Please try again later.", Kind.SERVER_ERROR),
    ("Custom Reason", None),
    ("The following content is not available on this app.", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "kind"), WORDS)
def test_wording(text: str, kind: Kind | None) -> None:
    assert kind_of(text) is kind


def test_a_session_limit_waits_an_hour() -> None:
    assert failure_from("This content isn't available, try again later.").retry_after_s == SESSION_LIMIT_S
    assert failure_from("Sign in to confirm you're not a bot").retry_after_s is None


CAPTURED = [
    ("youtube", None),
    ("youtube_age_restricted", Kind.AGE_RESTRICTED),
    ("youtube_request_blocked", Kind.BLOCKED),
    ("youtube_unplayable", Kind.UNKNOWN),
    ("youtube_video_unavailable", Kind.UNAVAILABLE),
    ("youtube_transcripts_disabled", None),
]


@pytest.mark.parametrize(("name", "kind"), CAPTURED)
def test_captured_answers(name: str, kind: Kind | None) -> None:
    failure = refusal(player(name)["playabilityStatus"])
    assert (failure and failure.kind) is kind


def test_a_country_in_the_finer_print_decides() -> None:
    finer = {
        "runs": [{"text": "The uploader has not made this video "}, {"text": "available in your country"}]
    }
    screen = {"playerErrorMessageRenderer": {"subreason": finer}}
    failure = refusal({"status": "UNPLAYABLE", "reason": "Video unavailable", "errorScreen": screen})
    assert failure
    assert failure.kind is Kind.REGION_BLOCKED


def test_a_status_decides_where_words_do_not() -> None:
    failure = refusal({"status": "LIVE_STREAM_OFFLINE", "reason": "Hang on"})
    assert failure
    assert failure.kind is Kind.NOT_YET


@given(json_values)
def test_any_playability_is_read(value: object) -> None:
    failure = refusal(value)
    if failure is None:
        assert isinstance(value, dict)
        assert value["status"] == "OK"
    else:
        assert len(failure.message) <= 300
        assert failure.message.isprintable()


@given(st.text(st.characters()), st.integers(1, 50))
def test_clean_is_one_printable_line(text: str, width: int) -> None:
    line = clean(text, width)
    assert len(line) <= width
    assert line.isprintable()
    line.encode()
