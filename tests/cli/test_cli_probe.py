"""`engine probe` against the rehearsal server: each way alone dead, all dead, blocks, proxies, the queue's budget."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import COMMAND, environment
from patience import HANG_S
from warm import start

from engine.cli import COMMANDS, invoke
from engine.errors import Exit
from engine.rehearsal import Rehearsal, RehearsalSettings
from engine.youtube.probe import MAX_REQUESTS

PASSWORD = "s3cret-of-p"
ALL = ("android", "visionos", "ios", "page")


@pytest.fixture(scope="module")
def server() -> Iterator[Rehearsal]:
    with start(RehearsalSettings(latency_s=0)) as found:
        yield found


@pytest.fixture
def rehearsal(server: Rehearsal) -> Iterator[Rehearsal]:
    yield server
    server.play(replace=True)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def probed(
    capsys: pytest.CaptureFixture[str], rehearsal: Rehearsal, *more: str
) -> tuple[int, dict[str, Any]]:
    """The exit code and the JSON of a probe through the server."""
    proxy = () if "--proxies" in more else ("--proxy", rehearsal.proxy_url)
    args = ["probe", *proxy, "--ca-bundle", rehearsal.ca_bundle, "--rate", "none", "--json", *more]
    code = invoke(args)
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["exit_code"] == code
    return code, found


def results(found: dict[str, Any], egress: int = 0) -> dict[str, str]:
    return {way["way"]: way["result"] for way in found["egresses"][egress]["ways"]}


def test_all_ways_work_and_what_each_was_asked(
    rehearsal: Rehearsal, capsys: pytest.CaptureFixture[str]
) -> None:
    before = rehearsal.stats()["requests"]
    code, found = probed(capsys, rehearsal)
    sent = sum(rehearsal.stats()["requests"].values()) - sum(before.values())
    assert code == Exit.OK
    assert results(found) == dict.fromkeys(ALL, "works")
    [egress] = found["egresses"]
    assert egress["requests"] == sent <= MAX_REQUESTS
    for way in egress["ways"]:
        kinds = {each["video"]: each["kind"] for each in way["answers"]}
        kids = "unavailable" if way["way"] == "visionos" else None
        assert kinds == {
            "control": None,
            "no_captions": "no_captions",
            "kids": kids,
            "removed": "unavailable",
        }
        assert way["lacks"] == (["shows no videos made for kids"] if kids else [])
    clients = {way["way"]: way["client"] for way in egress["ways"]}
    asked = {row["client"] for row in rehearsal.arrivals() if row["kind"] in ("player", "other_client")}
    assert {clients["android"], clients["visionos"], clients["ios"]} <= asked
    assert clients["page"] is None


@pytest.mark.parametrize(
    ("scenes", "dead"),
    [
        ("400:android-21,android-22", {"android": "refused"}),
        ("400:visionos,ios", {"visionos": "refused", "ios": "refused"}),
        ("400:page", {"page": "refused"}),
        ("xpv:android", {"android": "refused", "page": "refused"}),
        ("xpe:ios", {"ios": "refused"}),
        ("gated:visionos", {"visionos": "refused"}),
        ("other_video:ios", {"ios": "refused"}),
        ("reshaped:ios", {"ios": "refused"}),
        ("not_available:visionos", {"visionos": "refused"}),
        ("soft_block:android", {"android": "no_captions", "page": "no_captions"}),
        ("bot:visionos", {"visionos": "blocked"}),
        ("odd_names", {}),
    ],
)
def test_a_way_that_is_dead_is_told_from_those_that_work(
    scenes: str, dead: dict[str, str], rehearsal: Rehearsal, capsys: pytest.CaptureFixture[str]
) -> None:
    rehearsal.play(*scenes.split(), replace=True)
    code, found = probed(capsys, rehearsal)
    assert code == Exit.OK
    assert results(found) == {**dict.fromkeys(ALL, "works"), **dead}
    for way in found["egresses"][0]["ways"]:
        if way["way"] in dead:
            assert {each["video"] for each in way["answers"]} == {"control"}, "no further request"


@pytest.mark.parametrize(
    ("scenes", "result", "code", "says"),
    [
        ("429", "blocked", Exit.ALL_BLOCKED, "YouTube refuses these addresses"),
        ("captcha", "blocked", Exit.ALL_BLOCKED, "residential"),
        ("soft_block", "no_captions", Exit.ALL_BLOCKED, "a block which does not say so"),
        ("400", "refused", Exit.ALL_BLOCKED, "pip install -U yt-dlp"),
        ("proxy407", "unreachable", Exit.NO_PROXY, "engine proxies check"),
    ],
)
def test_when_no_way_works_it_says_why(
    scenes: str,
    result: str,
    code: Exit,
    says: str,
    rehearsal: Rehearsal,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rehearsal.play(scenes, replace=True)
    args = ["probe", "--proxy", rehearsal.proxy_url, "--ca-bundle", rehearsal.ca_bundle, "--rate", "none"]
    assert invoke(args) == code
    assert says in capsys.readouterr().out
    found_code, found = probed(capsys, rehearsal)
    assert found_code == code
    assert set(results(found).values()) <= {result, "not_asked"}


def test_proxies_one_by_one_without_a_password(
    rehearsal: Rehearsal, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    port = rehearsal.address.port
    file = tmp_path / "proxies.txt"
    file.write_text(
        f"127.0.0.1:{port}:good:{PASSWORD}\n127.0.0.1:{port}:bad:{PASSWORD}\n127.0.0.1:9:x:{PASSWORD}\n"
    )
    file.chmod(0o600)
    rehearsal.play("429/bad", replace=True)
    code, found = probed(capsys, rehearsal, "--proxies", str(file))
    assert code == Exit.OK
    by_egress = [set(results(found, number).values()) for number in range(3)]
    assert by_egress == [{"works"}, {"blocked"}, {"unreachable", "not_asked"}]
    args = ["probe", "--proxies", str(file), "--ca-bundle", rehearsal.ca_bundle, "--rate", "none"]
    assert invoke(args) == Exit.OK
    told = capsys.readouterr()
    assert "1 of 3 egresses works." in told.out
    assert PASSWORD not in told.out + told.err + json.dumps(found)


def test_many_proxies_get_a_line_each(
    rehearsal: Rehearsal, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "many.txt"
    file.write_text("".join(f"127.0.0.1:{rehearsal.address.port}:u{n}:pw\n" for n in range(10)))
    file.chmod(0o600)
    rehearsal.play("429/u3", "xpv:ios/u4", replace=True)
    options = ("--rate", "none", "--ways", "android,ios", "--ca-bundle", rehearsal.ca_bundle)
    assert invoke(["probe", "--proxies", str(file), *options]) == Exit.OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["egress", "android", "ios", "bytes"]
    assert [line.split()[0] for line in lines[1:11]] == [f"p{n:03}" for n in range(1, 11)]
    assert lines[4].count("blocked") == 2
    assert "does not work" in lines[5]
    assert lines[12:14] == ["9 of 10 egresses work.", "ios works by 8 of them."]


def test_dead_proxies_alone(rehearsal: Rehearsal, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["probe", "--proxy", "http://127.0.0.1:9", "--rate", "none"]) == Exit.NO_PROXY
    assert "No proxy can be used" in capsys.readouterr().out


def test_other_videos_and_ways(rehearsal: Rehearsal, capsys: pytest.CaptureFixture[str]) -> None:
    other = {
        "control": "aaaaaaaaaa0",
        "no_captions": "aaaaaaaaaa1",
        "kids": "aaaaaaaaaa2",
        "removed": "aaaaaaaaaa4",
    }
    options = [
        part
        for name, video_id in other.items()
        for part in (f"--{name.replace('_', '-')}-video", f"https://youtu.be/{video_id}")
    ]
    code, found = probed(capsys, rehearsal, "--ways", "ios,android", *options)
    assert code == Exit.OK
    assert list(results(found)) == ["ios", "android"]
    assert {a["video"]: a["video_id"] for a in found["egresses"][0]["ways"][0]["answers"]} == other


@pytest.mark.parametrize(
    "args", [["--ways", "android,tv"], ["--ways", ","], ["--kids-video", "no id"], ["--rate", "fast"]]
)
def test_bad_options_are_named(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["probe", "--proxy", "http://127.0.0.1:9", *args]) == Exit.USAGE
    assert args[0].split("=")[0] in capsys.readouterr().err


def test_it_shares_the_budget_of_a_queue(
    rehearsal: Rehearsal, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A block that it meets is the queue's too: the next probe asks nothing, and says why."""
    assert invoke(["seed", "aaaaaaaaaa0", "-q", "q"]) == Exit.OK
    capsys.readouterr()
    assert probed(capsys, rehearsal, "-q", "q")[0] == Exit.OK
    rehearsal.play("429", replace=True)
    assert probed(capsys, rehearsal, "-q", "q")[0] == Exit.ALL_BLOCKED
    before = sum(rehearsal.stats()["requests"].values())
    code, found = probed(capsys, rehearsal, "-q", "q")
    assert code == Exit.ALL_BLOCKED
    assert sum(rehearsal.stats()["requests"].values()) == before
    assert "the queue's budget keeps it closed" in found["egresses"][0]["ways"][0]["reason"]


def test_the_table_fits_a_terminal_and_a_process_of_its_own_prints_it(rehearsal: Rehearsal) -> None:
    rehearsal.play("400:android-21,android-22", replace=True)
    command = [*COMMAND, "probe", "--proxy", rehearsal.proxy_url, "--rate", "none"]
    ended = subprocess.run(
        [*command, "--ca-bundle", rehearsal.ca_bundle],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=HANG_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert lines[1].split() == ["way", "answer", "captions", "bytes", "time", "result"]
    assert [line.split()[0] for line in lines[2:] if line.split() and line.split()[0] in ALL] == list(ALL)
    assert "A run fetches by visionos; where that does not serve a video, by ios and page." in lines
    assert "It will find that android does not work, and go on without." in lines
    assert max(map(len, lines)) <= 132


def test_one_way_alone_that_works_is_no_warning(
    rehearsal: Rehearsal, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others were not asked, so nothing is known of them."""
    args = ["probe", "--proxy", rehearsal.proxy_url, "--ca-bundle", rehearsal.ca_bundle, "--rate", "none"]
    assert invoke([*args, "--ways", "ios"]) == Exit.OK
    assert "Only one way is left" not in capsys.readouterr().out


def test_what_it_says_of_two_ways_that_hide_captions(
    rehearsal: Rehearsal, capsys: pytest.CaptureFixture[str]
) -> None:
    rehearsal.play("soft_block:android,visionos", replace=True)
    args = ["probe", "--proxy", rehearsal.proxy_url, "--ca-bundle", rehearsal.ca_bundle, "--rate", "none"]
    assert invoke(args) == Exit.OK
    assert "A run fetches by ios." in capsys.readouterr().out


def test_too_many_proxies_are_refused_as_by_the_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "many.txt"
    file.write_text("".join(f"127.0.0.1:{n}\n" for n in range(1, 1026)))
    file.chmod(0o600)
    assert invoke(["probe", "--proxies", str(file), "--rate", "none"]) == Exit.USAGE
    assert "1,025 egresses are too many; a run can use 1,024" in capsys.readouterr().err


def test_the_proxy_of_the_environment_is_used_and_that_is_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setattr("engine.youtube.probe.probe", lambda *_, **__: [])
    invoke(["probe", "--rate", "none"])
    said = capsys.readouterr().err
    assert "through 127.0.0.1:9, as HTTPS_PROXY says" in said and "4 ways by p001 127.0.0.1:9" in said


def test_the_doctor_points_to_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert "probe" in COMMANDS
    invoke(["doctor"])
    assert "engine probe" in capsys.readouterr().err
