"""Which channels, playlists and searches are recognised, and that one source has one name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.inputs import find_source, read, source_of, takeout_history, video_id
from engine.inputs.line import rejected
from engine.inputs.sources import Source

UC = "UCxqPAgubo4coVn9Lx1FuKcg"
PL = "PLBB231211A4F62143"
VIDEO = "dQw4w9WgXcQ"
SITE = "https://www.youtube.com"


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("@Handle.name_1", "channel", "@handle.name_1"),
        ("@handle/shorts", "channel", "@handle/shorts"),
        ("@Tĥéo-ラジオ", "channel", "@tĥéo-ラジオ"),
        ("@อนุรักน์โชคชัย", "channel", "@อนุรักน์โชคชัย"),
        ("@हिन्दीचैनल", "channel", "@हिन्दीचैनल"),
        ("@தமிழ்சேனல்", "channel", "@தமிழ்சேனல்"),
        ("@বাংলাচ্যানেল/shorts", "channel", "@বাংলাচ্যানেল/shorts"),
        ("@നമസ്കാരം", "channel", "@നമസ്കാരം"),
        ("@ሰላም", "channel", "@ሰላም"),
        ("@Cafe\u0301Mu\u0308sic", "channel", "@cafémüsic"),
        ("@नेपा\u200dली", "channel", "@नेपा\u200dली"),
        ("@handle\u200d", "channel", "@handle"),
        ("@al·lots", "channel", "@al·lots"),
        ("@漢字", "channel", "@漢字"),
        ("@" + "ก\u0e48" * 30, "channel", "@" + "ก\u0e48" * 30),
        (f"{SITE}/@%E0%B8%AD%E0%B8%99%E0%B8%B8/videos", "channel", "@อนุ/videos"),
        ("@%E0%B8%AD%E0%B8%99%E0%B8%B8", "channel", "@อนุ"),
        (f"{SITE}/c/%E0%A4%B9%E0%A4%BF%E0%A4%A8%E0%A5%8D%E0%A4%A6%E0%A5%80", "channel", "c/हिन्दी"),
        (f"{SITE}/c/Tie%CC%82%CC%81ng", "channel", "c/Tiếng"),
        (f"{SITE}/@handle", "channel", "@handle"),
        (f"{SITE}/@handle/", "channel", "@handle"),
        (f"{SITE}/@handle/featured", "channel", "@handle"),
        (f"{SITE}/@handle/streams?view=0#top", "channel", "@handle/streams"),
        ("m.youtube.com/@handle/videos", "channel", "@handle/videos"),
        (f"{SITE}/%40handle", "channel", "@handle"),
        (UC, "channel", UC),
        (f"{SITE}/channel/{UC}", "channel", UC),
        (f"{SITE}/channel/{UC}/videos", "channel", f"{UC}/videos"),
        (f"{SITE}/c/Some.Name", "channel", "c/Some.Name"),
        (f"{SITE}/user/name/shorts", "channel", "user/name/shorts"),
        (PL, "playlist", PL),
        (f"UU{UC[2:]}", "playlist", f"UU{UC[2:]}"),
        (f"{SITE}/playlist?list={PL}", "playlist", PL),
        (f"{SITE}/watch?list={PL}", "playlist", PL),
        (f"{SITE}/embed/videoseries?list={PL}", "playlist", PL),
        (f"music.youtube.com/playlist?list={PL}&amp;si=x", "playlist", PL),
        ("search:how  to make bread # 2", "search", "search:how to make bread # 2"),
        ("search: words", "search", "search:words"),
        (f"{SITE}/results?search_query=how+to+make%20bread", "search", "search:how to make bread"),
        ("@handle  # the good one", "channel", "@handle"),
        (f'"{SITE}/@handle"', "channel", "@handle"),
    ],
)
def test_what_is_a_source(text: str, kind: str, name: str) -> None:
    assert find_source(text) == Source(kind, name)
    assert find_source(name) == Source(kind, name) or "/" in name, "its name names it"


@pytest.mark.parametrize(
    "text",
    [
        VIDEO,
        f"{SITE}/watch?v={VIDEO}",
        f"{SITE}/watch?v={VIDEO}&list={PL}",
        f"https://youtu.be/{VIDEO}?list={PL}",
        f"{SITE}/shorts/{VIDEO}",
        f"{SITE}/playlist?list=WL",
        f"{SITE}/watch?list=RD{VIDEO}",
        f"{SITE}/playlist",
        f"{SITE}/feed/trending",
        f"{SITE}/@handle/playlists",
        f"{SITE}/@handle/videos/more",
        f"{SITE}/@ab",
        f"{SITE}/channel/UCshort",
        "@" + "ก\u0e48" * 31,
        "@\u0e48กกก",
        "@name!",
        "@a/b/c",
        "@a@b",
        f"https://example.com/@handle?list={PL}",
        f"https://www.youtube.com.example.com/@handle?list={PL}",
        "https://user:secret@www.youtube.com/@handle",
        "ftp://www.youtube.com/@handle",
        "a@handle.com",
        "@two words",
        "search:",
        "search: ",
        "search:" + "x" * 201,
        "search:bell\x07",
        "",
        "@",
        "https://[",
    ],
)
def test_what_is_none(text: str) -> None:
    assert find_source(text) is None


@given(
    st.text(max_size=60) | st.from_regex(r"(https://www\.youtube\.com/)?@[a-z./?=&%#]{0,20}", fullmatch=True)
)
def test_it_never_raises_and_a_video_stays_a_video(text: str) -> None:
    found = find_source(text)
    assert found is None or found.kind == "search" or video_id(text) is None
    assert found is None or found.name.isprintable()


def test_one_on_the_command_line_is_no_missing_file() -> None:
    (line,) = read("@handle")
    assert (line.text, line.video_id) == ("@handle", None)
    (line,) = read("@handle/playlists")
    assert "3 to 30 letters" in (line.reason or "")


def test_what_a_history_tells_of_is_no_source() -> None:
    url = f"{SITE}/@handle"
    assert source_of(rejected("list.txt", 1, url, "no video")) == Source("channel", "@handle")
    seen = takeout_history.element({"title": "Visited a channel", "titleUrl": url}, "watch-history.json", 1)
    assert seen.video_id is None
    assert source_of(seen) is None
