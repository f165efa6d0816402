"""The id in what a person pasted, and why there is none."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.inputs import video_ids
from engine.inputs.video_ids import HOSTS, find, video_id, why_not

ID = "dQw4w9WgXcQ"

ACCEPTED = """\
dQw4w9WgXcQ
https://www.youtube.com/watch?v=dQw4w9WgXcQ
http://youtube.com/watch?v=dQw4w9WgXcQ
https://m.youtube.com/watch?v=dQw4w9WgXcQ&t=42s
https://music.youtube.com/watch?v=dQw4w9WgXcQ&si=abc
https://gaming.youtube.com/watch?v=dQw4w9WgXcQ
https://www.youtube.com/watch?list=PL123&v=dQw4w9WgXcQ
https://www.youtube.com/watch?list=PL123&amp;index=2&amp;v=dQw4w9WgXcQ&amp;t=1
https://www.youtube.com/watch?v=dQw4w9WgXcQ#t=10
https://www.youtube.com/watch?v=dQw4w9WgXcQ?si=abc
https://www.youtube.com/watch/?v=dQw4w9WgXcQ
https://www.youtube.com/watch?v=dQw4w9WgXcQ/
https://www.youtube.com/watch/dQw4w9WgXcQ
https://www.youtube.com/?v=dQw4w9WgXcQ
https://www.youtube.com/watch?v=%64Qw4w9WgXcQ
https://youtu.be/dQw4w9WgXcQ
https://youtu.be/dQw4w9WgXcQ?t=10
https://youtu.be/dQw4w9WgXcQ/
https://youtu.be/dQw4w9WgXcQ&feature=share
https://youtu.be/watch?v=dQw4w9WgXcQ
youtu.be/dQw4w9WgXcQ
//youtu.be/dQw4w9WgXcQ
https://www.youtube.com/shorts/dQw4w9WgXcQ
https://www.youtube.com/shorts/dQw4w9WgXcQ?feature=share
https://youtube.com/live/dQw4w9WgXcQ
https://www.youtube.com/embed/dQw4w9WgXcQ?rel=0
https://www.youtube.com/v/dQw4w9WgXcQ&fs=1
https://www.youtube.com/e/dQw4w9WgXcQ
https://www.youtube-nocookie.com/embed/dQw4w9WgXcQ
youtube-nocookie.com/embed/dQw4w9WgXcQ/
https://youtube.googleapis.com/v/dQw4w9WgXcQ
HTTPS://WWW.YouTube.COM/watch?v=dQw4w9WgXcQ
https://www.youtube.com:443/watch?v=dQw4w9WgXcQ
www.youtube.com/watch?v=dQw4w9WgXcQ
youtube.com:443/watch?v=dQw4w9WgXcQ
<https://youtu.be/dQw4w9WgXcQ>
"https://youtu.be/dQw4w9WgXcQ"
'dQw4w9WgXcQ'
“dQw4w9WgXcQ”
https://www.youtube.com/attribution_link?a=x&u=/watch%3Fv%3DdQw4w9WgXcQ%26feature%3Dshare
https://www.youtube.com/attribution_link?u=https%3A%2F%2Fyoutu.be%2FdQw4w9WgXcQ
""".splitlines()

REJECTED = {
    "": "empty",
    " \t\n": "empty",
    '""': "empty",
    "dQw4w9WgXc": "the id has 10 characters, not 11",
    "dQw4w9WgXcQQ": "the id has 12 characters, not 11",
    "https://youtu.be/dQw4w9WgXc": "the id has 10 characters, not 11",
    "https://www.youtube.com/watch?v=dQw4w9WgXcQQ": "the id has 12 characters, not 11",
    "https://www.youtube.com/watch?v=dQw4w9WgXc%20": "no id has",
    "https://evil.test/watch?v=dQw4w9WgXcQ": "host evil.test",
    "https://youtube.com.evil.test/watch?v=dQw4w9WgXcQ": "host youtube.com.evil.test",
    "https://notyoutube.com/watch?v=dQw4w9WgXcQ": "host notyoutube.com",
    "evil.test/youtube.com/watch?v=dQw4w9WgXcQ": "host evil.test",
    "https://youtube.com@127.0.0.1/watch?v=dQw4w9WgXcQ": "user name",
    "https://u:secret@youtube.com/watch?v=dQw4w9WgXcQ": "user name",
    "youtube.com@127.0.0.1/watch?v=dQw4w9WgXcQ": "user name",
    "https://evil.test\\@youtube.com/watch?v=dQw4w9WgXcQ": "host evil.test",
    "https://youtube.com:8080/watch?v=dQw4w9WgXcQ": "port 8080",
    "https:///watch?v=dQw4w9WgXcQ": "host",
    "ftp://youtube.com/watch?v=dQw4w9WgXcQ": "ftp:",
    "javascript://youtube.com/watch?v=dQw4w9WgXcQ": "javascript:",
    "https://www.youtube.com/playlist?list=PL123": "a playlist",
    "https://www.youtube.com/watch?list=PL123": "a playlist",
    "https://www.youtube.com/embed/videoseries?list=PL123": "a playlist",
    "https://www.youtube.com/embed/live_stream?channel=UC1": "a channel",
    "https://www.youtube.com/@someone/videos": "a channel",
    "https://www.youtube.com/channel/UCuAXFkgsw1L7xaCfnd5JJOw": "a channel",
    "https://www.youtube.com/": "without a video",
    "https://www.youtube.com/watch": "without a video",
    "https://www.youtube.com/watch#v=dQw4w9WgXcQ": "without a video",
    "https://www.youtube.com/results?search_query=dQw4w9WgXcQ": "without a video",
    "https://www.youtube.com/attribution_link?u=//evil.test/watch%3Fv%3DdQw4w9WgXcQ": "host evil.test",
    "https://www.youtube.com/attribution_link?u=https://evil.test/watch%3Fv%3DdQw4w9WgXcQ": "host evil.test",
    "https://youtu.be/dQw4w9WgXcQ?a=b c": "more than one word",
    "dQw4w9WgXcQ extra": "more than one word",
    "dQw4w9WgXc\u0661": "neither",
    "not/a/video": "neither",
    "../../etc/x": "host",
}


@pytest.mark.parametrize("text", ACCEPTED)
def test_accepts(text: str) -> None:
    assert video_id(text) == ID
    assert video_id(f"  {text}\r\n") == ID
    assert why_not(text) == ""


@pytest.mark.parametrize(("text", "reason"), REJECTED.items())
def test_rejects_with_a_reason(text: str, reason: str) -> None:
    assert video_id(text) is None
    assert reason in why_not(text)
    assert "secret" not in why_not(text)


def test_an_id_may_begin_with_a_dash() -> None:
    assert video_id("-dQw4w9WgXc") == "-dQw4w9WgXc"
    assert video_id("https://youtu.be/-_-_-_-_-_-") == "-_-_-_-_-_-"


@given(st.text(max_size=80))
def test_any_text_gets_an_id_or_a_reason(text: str) -> None:
    found, reason = find(text)
    assert (found is None) == bool(reason)
    assert reason.isprintable() or reason.isascii()
    assert found is None or (
        len(found) == 11 and set(found) <= set(string.ascii_letters + string.digits + "-_")
    )


ID_TEXT = st.text(string.ascii_letters + string.digits + "-_", min_size=9, max_size=13)
HOST = st.sampled_from([*HOSTS, "evil.test", "youtube.com.evil.test"])
SHAPE = st.sampled_from(["watch?v={}", "shorts/{}", "live/{}", "{}", "watch?a=b&v={}", "embed/{}"])


@example("https://", "youtube.com", "shorts/{}", "live_stream", "")
@given(
    st.sampled_from(["https://", "http://", "", "//"]),
    HOST,
    SHAPE,
    ID_TEXT,
    st.text("abv=&?#/%2 é\n", max_size=8),
)
def test_the_short_cut_agrees_with_the_long_way(
    scheme: str, host: str, shape: str, token: str, tail: str
) -> None:
    text = f"{scheme}{host}/{shape.format(token)}{tail}"
    assert find(text) == video_ids._parse(text)
    if host not in HOSTS:
        assert find(text)[0] is None


@given(HOST, SHAPE, ID_TEXT)
def test_only_eleven_characters_on_a_known_host(host: str, shape: str, token: str) -> None:
    found = video_id(f"https://{host}/{shape.format(token)}")
    if found is not None:
        assert found == token
        assert len(token) == 11
        assert host in HOSTS
